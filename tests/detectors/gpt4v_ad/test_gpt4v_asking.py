"""What GPT-4V-AD shows to a language model, and how it asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blemish.detectors._gpt4v_ad_options import GPT4VADOptions
from blemish.detectors.gpt4v_ad import GPT4VAD
from blemish.errors import BudgetError, ChatError, ReferencesError
from blemish.llms.scripted import Scripted
from blemish.regions.division import SIDE, superpixel, working
from blemish.regions.marks import draw
from blemish.regions.preprocessing import preprocessed
from blemish.types import (
    Example,
    Image,
    Mask,
    Message,
    Sample,
)

Build = Callable[..., GPT4VAD]
Asked = Callable[..., Message]


def test_the_model_sees_the_marked_picture_and_the_document_s_question(
    detector: Build, asked: Asked, part: Sample
) -> None:
    ready = detector(["none"])
    ready.predict([part])
    message = asked(ready)
    assert message.text.startswith("This is an image of metal nut. The image has different")
    (picture,) = message.images
    assert picture.shape == (SIDE, SIDE, 3)
    changed = (picture != working(part.image)).any(2).mean()
    assert 0.005 < changed < 0.1  # outlines and numbers; the pixels of the part stay visible


def test_no_file_name_and_no_metadata_gets_into_the_question(detector: Build, part: Sample) -> None:
    defect = Example(
        Sample(255 - part.image, "metal_nut", id="SECRET.png"), "anomalous",
        np.ones((96, 160), bool), kind="SECRET_crack",
    )  # fmt: skip
    ready = detector(["none"], references=1, examples=1).fit([renamed(part)], [defect])
    ready.predict([part])
    assert "SECRET" not in "".join(m.text for m in ready.language_model.asked[0])  # type: ignore


def renamed(sample: Sample) -> Sample:
    return Sample(sample.image // 2, sample.class_name, id="line_4/SECRET_reference.png")


def test_views_are_asked_one_by_one_and_the_highest_counts(detector: Build, part: Sample) -> None:
    square = np.full((50, 50, 3), 90, np.uint8)
    both = Sample([part.image, square], "nut", id="two")

    def rule(messages: Sequence[Message]) -> str:
        return "none" if messages[0].images[0].std() > 25 else "region 16: 0.8"

    found = detector(rule).predict([both])[0]
    assert [m.shape for m in found.maps] == [(96, 160), (50, 50)]
    assert (found.score, [r.view for r in found.regions]) == (0.8, [1])
    assert found.usage.model_calls == 2


def test_results_come_in_order_though_many_are_asked_at_once(detector: Build) -> None:
    together = threading.Barrier(12, timeout=20)

    def rule(messages: Sequence[Message]) -> str:
        together.wait()
        return f"region 1: {round(float(messages[0].images[0].mean()) / 255, 2)}"

    samples = [Sample(np.full((64, 64, 3), 20 * i, np.uint8), id=str(i)) for i in range(12)]
    found = detector(rule).predict(samples)
    assert [f.id for f in found] == [s.id for s in samples]
    scores = [f.score or 0.0 for f in found]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0]


def test_one_failing_call_lets_the_others_finish(detector: Build, part: Sample) -> None:
    done = []

    def rule(messages: Sequence[Message]) -> str:
        if messages[0].images[0].mean() < 50:
            raise ChatError("the endpoint hangs")
        done.append(1)
        return "none"

    dark = Sample(np.zeros((64, 64, 3), np.uint8), id="dark")
    with pytest.raises(ChatError, match="hangs"):
        detector(rule).predict([dark, *[part] * 9])
    assert len(done) == 9


def test_a_budget_that_is_used_up_is_told_before_any_other_error(
    detector: Build, attempts: type[Any], part: Sample
) -> None:
    model = attempts(ChatError("hangs"), BudgetError("used up"), "none")
    with pytest.raises(BudgetError):
        detector(model, repeats=3).predict([part])
    assert len(model.calls) == 3


def test_only_the_json_prompt_sends_a_schema(
    detector: Build, attempts: type[Any], part: Sample
) -> None:
    model = attempts('{"image_score": 0.9, "regions": []}')
    found = detector(model, prompt="json", image_score=True).predict([part])[0]
    assert found.score == 0.9
    assert set(model.calls[0]["schema"]["properties"]) == {"image_score", "regions"}
    plain = attempts("none")
    detector(plain).predict([part])
    assert plain.calls[0] == {"attempt": 0, "schema": None, "logprobs": 0}


@pytest.mark.parametrize("name", ["contrast", "grey"])
def test_preprocessing_changes_the_pictures_and_neither_regions_nor_marks(
    name: str, detector: Build, asked: Asked, good: list[Sample], broken: Sample
) -> None:
    pictures = []
    for chosen in ("none", name):
        options = {"regions": "superpixel", "preprocessing": chosen, "references": 1}
        ready = detector(["none"], **options).fit(good[:1])
        found = ready.predict([broken])[0]
        assert found.evidence["preprocessing"]["name"] == chosen
        assert bool(found.evidence["preprocessing"]["steps"]) == (chosen != "none")
        pictures.append(asked(ready).images)
    marks = superpixel(broken.image)
    (_, plain), (reference, shown) = pictures
    np.testing.assert_array_equal(plain, draw(broken.image, marks))
    prepared = preprocessed(working(broken.image), name)
    np.testing.assert_array_equal(shown, draw(prepared, marks))  # the same regions, legible
    np.testing.assert_array_equal(reference, preprocessed(working(good[0].image), name))


def test_boxes_are_asked_for_on_the_preprocessed_picture(
    detector: Build, asked: Asked, part: Sample
) -> None:
    ready = detector(["none"], regions="boxes", preprocessing="grey")
    ready.predict([part])
    np.testing.assert_array_equal(asked(ready).images[0], preprocessed(part.image, "grey"))


@pytest.mark.parametrize("name", ["superpixel", "sam"])
def test_every_division_is_asked_about(name: str, broken: Sample) -> None:
    options = GPT4VADOptions.model_validate({"regions": name})
    model = Scripted(lambda messages: "region 1: 0.9")
    ready = GPT4VAD(language_model=model, segmenter=Halves(), options=options)
    found = ready.predict([broken])[0]
    regions = found.evidence["views"][0]["regions"]
    assert regions["method"] == name
    assert regions["count"] == 2 if name == "sam" else 30 < regions["count"] < 90
    assert found.verdict == "anomalous"


class Halves:
    """Stands in for SAM: two quarters of the picture, or nothing."""

    name = "halves"

    def __init__(self, count: int = 2) -> None:
        self.count = count
        self.fingerprint = f"halves:{count}"

    def masks(self, image: Image) -> NDArray[np.bool_]:
        masks = np.zeros((2, *image.shape[:2]), bool)
        masks[0, :300, :300] = True
        masks[1, 400:700, 400:700] = True
        return masks[: self.count]


def test_a_picture_without_regions_leaves_nothing_to_decide_on(part: Sample) -> None:
    model = Scripted([])
    options = GPT4VADOptions.model_validate({"regions": "sam"})
    ready = GPT4VAD(language_model=model, segmenter=Halves(0), options=options)
    found = ready.predict([part])[0]
    assert (found.verdict, found.reason, found.score) == ("unsure", "nothing to decide on", None)
    assert model.asked == []


def test_references_and_examples_are_shown_in_front(
    detector: Build, asked: Asked, part: Sample
) -> None:
    light, dark = (Sample(np.full((40, 40, 3), v, np.uint8), id=str(v)) for v in (200, 30))
    mask: Mask = np.zeros((40, 40), bool)
    mask[:5, :5] = True
    feedback = [Example(dark, "anomalous", mask), Example(part, "normal")]
    ready = detector(["none"], references=2, examples=1)
    with pytest.raises(ReferencesError, match="2 normal pictures are to be shown, and 0 came"):
        ready.predict([part])
    fitted = ready.fit([light, light], feedback)
    fitted.predict([Sample(part.image, "nut")])
    message = asked(fitted)
    assert [round(float(p.mean())) for p in message.images[:3]] == [
        200,
        round(part.image.mean()),
        30,
    ]
    assert message.images[0].shape == (SIDE, SIDE, 3)
    assert len(message.images) == 4
    assert "Image 3 shows an anomalous nut, as an example; the anomaly lies at: top left." in (
        message.text
    )
    assert fitted.fingerprint != ready.fingerprint
    assert [r["id"] for r in fitted.references] == ["200", "30", part.id]


def test_a_sample_s_own_references_replace_the_detector_s(
    detector: Build, asked: Asked, part: Sample
) -> None:
    light, dark = (Sample(np.full((40, 40, 3), v, np.uint8), id=str(v)) for v in (200, 30))
    ready = detector(["none"], references=1).fit([light])
    ready.predict([Sample(part.image, references=[dark])])
    assert asked(ready).images[0].mean() == 30


def test_a_heat_map_is_shown_beside_the_picture(
    detector: Build, asked: Asked, fixed: type[Any], part: Sample
) -> None:
    ready = detector(["region 4: 0.9"], fixed(0.9, (0, 0, 80, 48)), heat="image")
    found = ready.predict([part])[0]
    heat = asked(ready).images[1]
    assert "Image 2 is a heat map" in asked(ready).text
    red = heat[..., 0].astype(int) - heat[..., 1]
    assert red[: SIDE // 2, : SIDE // 2].min() > 150
    assert (red[SIDE // 2 + 1 :, SIDE // 2 + 1 :] == 0).all()
    assert found.verdict == "anomalous"
    assert found.evidence["map_source"]["name"] == "fixed"


def test_only_the_other_detector_s_regions_are_asked_about(
    detector: Build, fixed: type[Any], part: Sample
) -> None:
    source = fixed(0.9, (0, 0, 80, 48), (100, 60, 140, 90))
    ready = detector(["region 2: 0.8"], source, heat="regions")
    found = ready.predict([part])[0]
    assert found.evidence["views"][0]["regions"] == {"method": "regions", "count": 2}
    assert [r.box for r in found.regions] == [(100, 60, 140, 90)]
    assert detector(["region 3: 0.8"], source, heat="regions").predict([part])[0].reason == (
        "unparsed"
    )


def test_numbers_are_kept_off_small_regions_where_that_is_asked_for(
    detector: Build, asked: Asked, fixed: type[Any], part: Sample
) -> None:
    source = fixed(0.9, (70, 40, 74, 43))
    shown = []
    for avoid in (False, True):
        ready = detector(["none"], source, heat="regions", avoid_small=avoid)
        ready.predict([part])
        shown.append(asked(ready).images[0])
    inside = np.s_[325:340, 340:350]  # of the working size
    original = working(part.image)[inside]
    assert (shown[0][inside] != original).any()
    np.testing.assert_array_equal(shown[1][inside], original)
