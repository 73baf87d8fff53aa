"""ALFA beside its equations written out in loops, its switches, and what it says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import blemish
from blemish import build
from blemish.detectors import _anomaly_prompts
from blemish.detectors._aligner import transformation
from blemish.detectors._windows import association
from blemish.detectors.alfa import ALFA, ALFAOptions
from blemish.errors import ChatError, OptionError, SavedError
from blemish.llms.scripted import Scripted
from blemish.prompts import contrast, generated
from blemish.types import Sample

NAME = "bottle"
Doubles = NDArray[np.float64]


@pytest.fixture
def part(broken: Sample) -> Sample:
    image = broken.image.copy()
    image[42:70, 42:70] = 0
    return blemish.Sample(image, class_name=NAME, id="p")


@pytest.fixture
def alfa(captions: Any) -> Callable[..., ALFA]:
    def build(model: Any = None, **options: Any) -> ALFA:
        return ALFA(encoder=captions, language_model=model, options=ALFAOptions(**options))

    return build


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where prompts are kept."""
    monkeypatch.setattr(_anomaly_prompts, "settings", lambda: SimpleNamespace(cache=tmp_path))
    return tmp_path / "prompts"


def of_bank() -> tuple[list[str], list[str]]:
    written, templates = generated.bank(NAME), contrast.alfa(NAME)
    assert written
    return [*templates.normal, *written.normal], [*templates.abnormal, *written.abnormal]


def unit(row: Any) -> Doubles:
    return np.asarray(row, np.float64) / np.linalg.norm(row)


def by_the_equations(encoder: Any, image: Any, scales: tuple[int, ...]) -> tuple[float, Doubles]:
    """S_G and the averaged map of S_L, equations 2 to 4 and 10 to 12."""
    sides = [[unit(encoder.encode_text([t])[0]) for t in side] for side in of_bank()]
    whole = encoder.joint([image])
    picture = unit(whole.embeddings[0])
    near = [[float(picture @ t) for t in side] for side in sides]
    texts = []
    for mine, other, embedded in ((0, 1, sides[0]), (1, 0, sides[1])):
        chosen = [
            t
            for t, d in zip(embedded, near[mine], strict=True)
            if d < min(near[other]) or d > max(near[other])
        ]
        texts.append(unit(sum(chosen or embedded)))

    def share(one: Doubles, both: list[Doubles]) -> float:
        powers = [np.exp(encoder.logit_scale * float(one @ text)) for text in both]
        return float(powers[1] / sum(powers))

    side = whole.patches.shape[1]
    seen = whole.values[0].astype(np.float64) @ encoder.value_projection
    maps = []
    for scale in scales:
        windows = encoder.windows([image], scale, values=True)
        inverse, count = np.zeros((side, side)), np.zeros((side, side))
        for number, (top, left) in enumerate(windows.places):
            alone = windows.values[0][number].astype(np.float64) @ encoder.value_projection
            matrix = transformation(seen[windows.rows[number]], alone)
            local = [unit(text @ matrix) for text in texts]
            score = share(unit(windows.embeddings[0][number]), local)
            inverse[top : top + scale, left : left + scale] += 1 / score
            count[top : top + scale, left : left + scale] += 1
        maps.append(count / inverse)
    return share(picture, texts), np.asarray(len(maps) / sum(1 / m for m in maps))


@pytest.mark.parametrize("scales", [(2,), (2, 3), (2, 3, 4)])
def test_it_follows_the_equations(
    alfa: Any, captions: Any, part: Sample, scales: tuple[int, ...], bilinear: Any
) -> None:
    (found,) = alfa(scales=scales).predict([part])
    whole, places = by_the_equations(captions, part.image, scales)
    assert found.evidence["whole_picture"] == pytest.approx(whole, rel=1e-4)
    assert found.raw_score == pytest.approx((whole + places.max()) / 2, rel=1e-4)
    expected = bilinear(places, *part.image.shape[:2])
    assert found.anomaly_map == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_a_memory_bank_is_added_to_the_map(
    alfa: Any, captions: Any, part: Sample, good: list[Sample], bilinear: Any
) -> None:
    known = [blemish.Sample(g.image, class_name=NAME, id=g.id) for g in good[:2]]
    fitted = alfa().fit(known)
    (found,) = fitted.predict([part])
    (before,) = alfa().predict([part])
    view, memory = fitted._see([part.image])[0], fitted._memory
    unlike = association(view, memory.banks)
    places = alfa()._found(alfa()._words(NAME), view).map + unlike
    assert fitted._found(fitted._words(NAME), view).map == pytest.approx(places, abs=1e-5)
    assert found.evidence["highest_place"] == pytest.approx(float(places.max()), abs=1e-5)
    score = (before.evidence["whole_picture"] + places.max()) / 2
    assert found.raw_score == pytest.approx(float(score), abs=1e-5)
    carried = places * memory.scale
    assert found.anomaly_map == pytest.approx(bilinear(carried, *part.image.shape[:2]), abs=1e-4)
    assert fitted.calibration.bound == 1.5
    assert found.evidence["whole_picture"] == before.evidence["whole_picture"]
    assert found.decided_by == "calibration"


def test_parts_of_the_score(alfa: Any, part: Sample, raw: Any) -> None:
    (both,) = alfa().predict([part])
    assert raw(alfa(map_score=False), part) == both.evidence["whole_picture"]
    assert raw(alfa(class_score=False), part) == both.evidence["highest_place"]
    with pytest.raises(OptionError, match=r"^The options of alfa: class_score or map_"):
        build.load("alfa", encoder=object(), class_score=False, map_score=False)


def test_prompts_by_source(alfa: Any, part: Sample) -> None:
    written, templates = generated.bank(NAME), contrast.alfa(NAME)
    assert written

    def counts(**options: Any) -> dict[tuple[str, str], int]:
        prompts = alfa(**options).explain(part).prompts
        found: dict[tuple[str, str], int] = {}
        for p in prompts:
            found[p.source, p.label] = found.get((p.source, p.label), 0) + 1
        return found

    template = {("template", "normal"): 72, ("template", "abnormal"): 72}
    model = {
        ("written", "normal"): len(written.normal),
        ("written", "abnormal"): len(written.abnormal),
    }
    assert counts() == template | model
    assert counts(llm_prompts=False) == template
    assert counts(template_prompts=False) == model
    assert set(counts(most_prompts=5).values()) == {5}
    alone = counts(template_prompts=False, llm_prompts=False, contextual_scoring=False)
    assert alone == {("template", "normal"): len(templates.normal)}


def test_normal_prompts_alone_are_one_class(alfa: Any, captions: Any, part: Sample) -> None:
    off: dict[str, Any] = {"template_prompts": False, "llm_prompts": False}
    detector = alfa(**off, contextual_scoring=False, aligner=False, map_score=False)
    (found,) = detector.predict([part])
    text = unit(sum(captions.encode_text([t])[0] for t in contrast.alfa(NAME).normal))
    away = (1 - float(unit(captions.embed([part.image])[0]) @ text)) / 2
    assert found.raw_score == pytest.approx(away, rel=1e-5)
    assert (found.verdict, found.reason, found.score) == ("unsure", "nothing to decide on", None)
    assert "give pictures of normal ones" in found.explanation
    with pytest.raises(OptionError, match="leaves normal prompts alone"):
        build.load("alfa", encoder=object(), **off)


def test_the_aligner_changes_the_map_and_can_be_switched_off(
    alfa: Any, captions: Any, part: Sample
) -> None:
    with_it, without = (alfa(aligner=a).predict([part])[0] for a in (True, False))
    assert with_it.evidence["whole_picture"] == without.evidence["whole_picture"]
    assert np.abs(with_it.anomaly_map - without.anomaly_map).max() > 1e-3
    stiff = alfa(ridge=1e9).predict([part])[0]
    assert stiff.anomaly_map == pytest.approx(without.anomaly_map, abs=1e-5)


def test_contextual_scoring_keeps_what_lies_outside(alfa: Any, part: Sample) -> None:
    found = alfa().explain(part)
    near = {
        label: [p.similarity for p in found.prompts if p.label == label]
        for label in ("normal", "abnormal")
    }
    for prompt in found.prompts:
        other = near["abnormal" if prompt.label == "normal" else "normal"]
        outside = not min(other) <= prompt.similarity <= max(other)
        assert prompt.kept == outside
        assert (prompt.score > 0) == outside
        assert ("outside the" in prompt.why) == outside
    assert {p.kept for p in found.prompts} == {True, False}
    plain = alfa(contextual_scoring=False).explain(part)
    assert all(p.kept and p.why == "contextual scoring is off" for p in plain.prompts)
    assert plain.inspection.raw_score != found.inspection.raw_score


def test_a_duplicate_and_the_order_change_nothing(
    alfa: Any, part: Sample, tmp_path: Path, raw: Any
) -> None:
    written = generated.bank(NAME)
    assert written
    expected = raw(alfa(), part)
    file = tmp_path / "bottle.json"
    twice = (*written.abnormal[::-1], contrast.alfa(NAME).abnormal[0])  # one of the template's
    generated.write(replace(written, normal=written.normal[::-1], abnormal=twice), file)
    assert raw(alfa(prompts=str(file)), part) == pytest.approx(expected, rel=1e-6)


def test_the_five_best_descriptors_explain(alfa: Any, captions: Any, part: Sample) -> None:
    found = alfa().explain(part)
    written = generated.bank(NAME)
    assert written
    picture = unit(captions.embed([part.image])[0])
    cosines = {
        d: float(picture @ unit(captions.encode_text([f"a photo of a bottle with {d}"])[0]))
        for d in written.descriptors
    }
    order = sorted(cosines, key=lambda d: -cosines[d])
    assert [text for text, _ in found.descriptors] == order
    shown = found.inspection.evidence["descriptors"]
    assert [d["text"] for d in shown] == order[:5]
    assert [d["similarity"] for d in shown] == pytest.approx([cosines[d] for d in order[:5]])
    assert f"Most like it of what an anomaly may be: {order[0]} (" in found.inspection.explanation
    json.dumps(found.inspection.evidence)


def test_a_normal_part_is_not_told_what_it_may_have(alfa: Any, good: list[Sample]) -> None:
    plain = np.full_like(good[0].image, 128)
    (found,) = alfa().predict([blemish.Sample(plain, class_name=NAME, id="p")])
    assert found.verdict == "normal"
    assert "Most like it" not in found.explanation


def asked(messages: Any) -> str:
    kind = "abnormal" if "abnormal" in messages[-1].text else "normal"
    if "descriptions for distinguishing" in messages[-1].text:
        return "a chipped rim\n- a cloudy spot"
    return "\n".join(f"- An image of a bottle whose {kind} look is number {i}" for i in range(4))


def test_a_language_model_is_asked_once_and_a_person_may_edit(
    alfa: Any, part: Sample, folder: Path
) -> None:
    questions: list[Any] = []

    def said(messages: Any) -> str:
        questions.append(messages)
        return asked(messages)

    model = Scripted(said)
    first = alfa(model)
    found = first.explain(part)
    assert {p.text for p in found.prompts if p.source == "language model"}
    assert [d for d, _ in found.descriptors]
    count = len(questions)
    again = alfa(model)
    assert again.predict([part])[0].raw_score == found.inspection.raw_score
    assert (len(questions), again.fingerprint) == (count, first.fingerprint)
    (file,) = folder.glob("*.json")
    kept = json.loads(file.read_text("utf-8"))
    assert kept["made_by"] == model.name
    assert kept["queries"][0]["asked"].startswith("How to identify an abnormal bottle")
    kept["abnormal"] = ["An abnormal image of a bottle that a person described"]
    file.write_text(json.dumps(kept), "utf-8")
    edited = alfa(model)
    assert edited.fingerprint != first.fingerprint
    texts = {p.text for p in edited.explain(part).prompts}
    assert "An abnormal image of a bottle that a person described" in texts


def test_a_model_that_refuses_ends_in_words(alfa: Any, part: Sample, folder: Path) -> None:
    with pytest.raises(ChatError, match="gave no description"):
        alfa(Scripted(lambda messages: "I'm sorry, I can't help with that.")).predict([part])
    assert not list(folder.glob("*.json"))


def test_a_class_without_prompts_ends_in_words(alfa: Any, broken: Sample) -> None:
    hinge = blemish.Sample(broken.image, class_name="left hinge", id="h")
    with pytest.raises(OptionError, match="The bank has no prompts for the class 'left hinge'"):
        alfa().predict([hinge])
    assert alfa(llm_prompts=False).predict([hinge])[0].raw_score is not None
    with pytest.raises(OptionError, match="and others were asked for"):
        alfa(syntactic_consistency=False).predict([replace_class(broken, NAME)])


def replace_class(sample: Sample, name: str) -> Sample:
    return blemish.Sample(sample.image, class_name=name, id="p")


def test_prompts_from_a_folder_and_a_path_that_is_not_there(
    alfa: Any, part: Sample, tmp_path: Path, raw: Any
) -> None:
    written = generated.bank(NAME)
    assert written
    generated.write(written, tmp_path / "some.json")
    assert raw(alfa(prompts=str(tmp_path)), part) == pytest.approx(raw(alfa(), part))
    with pytest.raises(OptionError, match="has no prompts"):
        alfa(prompts=str(tmp_path)).predict([replace_class(part, "screw")])
    with pytest.raises(OptionError, match="names no file and no folder"):
        alfa(prompts=str(tmp_path / "none.json"))


def test_a_text_for_both_states_is_left_out(captions: Any) -> None:
    templates = contrast.Prompts(("a plate", "both"), ("a broken plate", "both"))
    found = _anomaly_prompts.assembled("plate", templates, None, captions.encode_text)
    assert found.texts == ("a plate", "a broken plate")
    assert found.abnormal.tolist() == [False, True]


def test_of_several_views_the_one_that_decides_is_explained(
    alfa: Any, part: Sample, good: list[Sample], captions: Any
) -> None:
    pair = blemish.Sample([good[0].image, part.image], class_name=NAME, id="pair")
    found = alfa().explain(pair)
    assert found.image == pytest.approx(captions.embed([part.image])[0])
    assert found.inspection.raw_score == alfa().predict([part])[0].raw_score


def test_prompts_are_scored_without_windows(
    alfa: Any, part: Sample, captions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = alfa().explain(part).prompts
    monkeypatch.setattr(type(captions), "windows", None)
    assert alfa().scored(part) == expected


def test_a_saved_detector_refuses_other_prompts(
    alfa: Any, good: list[Sample], captions: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "encoder", lambda name, **settings: captions)
    written = generated.bank(NAME)
    assert written
    file = tmp_path / "bottle.json"
    generated.write(written, file)
    known = [blemish.Sample(g.image, class_name=NAME, id=g.id) for g in good[:2]]
    alfa(prompts=str(file)).fit(known).save(tmp_path / "saved")
    assert blemish.load(tmp_path / "saved", device="cpu").name == "alfa"
    generated.write(replace(written, normal=written.abnormal, abnormal=written.normal), file)
    with pytest.raises(SavedError, match="was saved with prompts"):
        blemish.load(tmp_path / "saved", device="cpu")


def test_prompts_for_a_class_are_gathered_before_any_picture_is_encoded(
    alfa: Any, broken: Sample, captions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(captions), "joint", None)
    hinge = blemish.Sample(broken.image, class_name="left hinge", id="h")
    for use in (alfa().predict, alfa().fit):
        with pytest.raises(OptionError, match="The bank has no prompts for the class"):
            use([hinge])
