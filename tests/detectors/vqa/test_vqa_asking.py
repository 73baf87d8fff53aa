"""What `vqa` shows and asks, and what it asks further."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from blemish.detectors.vqa import VQA
from blemish.errors import InputError, OptionError, ReferencesError
from blemish.llms.scripted import Scripted
from blemish.prompts import vqa
from blemish.types import Example, Image, Sample

Make = Callable[..., VQA]
SAYS_NOTHING = "No, there are no anomalies or defects in the image."


def flat(level: int, size: tuple[int, int] = (90, 120)) -> Image:
    return np.full((*size, 3), level, np.uint8)


def asked(detector: VQA) -> list[Any]:
    model = detector.language_model
    assert isinstance(model, Scripted)
    return [messages[-1] for messages in model.asked]


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (
            "naive",
            "Please determine whether the image contains anomalies or defects. If yes, give a "
            "specific reason.",
        ),
        (
            "class",
            "Please determine whether the image given about the bottle contains anomalies or "
            "defects. If yes, give a specific reason.",
        ),
        (
            "expertise",
            "Please determine whether the image given about the bottle contains anomalies or "
            "defects. If yes, give a specific reason. Normally, the image given should depict "
            "clear and identifiable bottles. It may have defects such as broken parts, "
            "contaminations.",
        ),
    ],
)
def test_zero_shot_asks_as_figure_2_does(make: Make, part: Sample, prompt: str, text: str) -> None:
    detector = make([SAYS_NOTHING], prompt=prompt)
    detector.predict([part])
    (message,) = asked(detector)
    assert message.text == text
    assert [image.tolist() for image in message.images] == [part.image.tolist()]


def test_one_shot_shows_the_reference_first(make: Make, part: Sample) -> None:
    good = Sample(flat(9), "bottle")
    detector = make([SAYS_NOTHING], prompt="naive").fit([good, Sample(flat(8), "bottle")])
    found = detector.predict([part])[0]
    (message,) = asked(detector)
    assert message.text == (
        "The first image is normal. Please determine whether the second image contains anomalies "
        "or defects. If yes, give a specific reason."
    )
    assert len(message.images) == 2
    assert (message.images[0] == 9).all()
    assert (message.images[1] == part.image).all()
    assert found.evidence["prompt"]["setting"] == "one-shot"


def test_more_references_only_where_they_are_wanted(make: Make, part: Sample) -> None:
    good = [Sample(flat(level), "bottle") for level in (7, 8, 9)]
    for wanted in (0, 2, 20):
        detector = make([SAYS_NOTHING], references=wanted).fit(good)
        detector.predict([part])
        assert len(asked(detector)[0].images) == min(wanted, 3) + 1


def test_own_references_replace_the_detector_s(make: Make, part: Sample) -> None:
    detector = make([SAYS_NOTHING]).fit([Sample(flat(9), "bottle")])
    detector.predict([replace(part, references=(Sample(flat(5), "bottle"),))])
    assert (asked(detector)[0].images[0] == 5).all()


def test_localisation_shows_the_picture_and_the_marked_one(make: Make, part: Sample) -> None:
    detector = make([SAYS_NOTHING], task="industrial-localisation", regions="grid", cells=4)
    detector.predict([part])
    (message,) = asked(detector)
    assert message.text.startswith(
        "The first image needs to be inspected. The second image contains its corresponding marks."
    )
    plain, marked = message.images
    assert (plain == part.image).all()
    assert marked.shape == (768, 768, 3)
    assert (marked == 255).all(2).sum() > 6 * 700  # three lines each way


@pytest.mark.parametrize(
    ("domain", "views", "standards", "task"),
    [
        ("industrial", 1, "", "industrial"),
        ("industrial", 1, "1. Two screws. 2. One nut.", "logical"),
        ("medical", 1, "", "medical"),
        ("depth", 1, "", "point-cloud"),
        ("scene", 1, "", "traffic"),
        ("scene", 2, "", "pedestrian"),
        ("signal", 1, "", "time-series"),
    ],
)
def test_the_task_follows_from_the_sample(
    make: Make, domain: Any, views: int, standards: str, task: str
) -> None:
    sample = Sample([flat(1)] * views, "widget", standards=standards, domain=domain)
    detector = make([SAYS_NOTHING])
    (found,) = detector.predict([sample])
    assert found.evidence["prompt"]["task"] == task
    assert len(asked(detector)[0].images) == views


def test_the_prompt_is_the_richest_that_there_are_words_for(make: Make) -> None:
    for name, standards, prompt in (
        ("object", "", "naive"),
        ("widget", "", "class"),
        ("widget", "Normally it is round.", "expertise"),
        ("bottle", "", "expertise"),
    ):
        detector = make([SAYS_NOTHING])
        sample = Sample(flat(1), name, standards=standards)
        assert detector.predict([sample])[0].evidence["prompt"]["prompt"] == prompt
        assert (standards or name) in asked(detector)[0].text or prompt == "naive"


def test_auxiliary_data_and_feedback_are_told_as_data(make: Make, part: Sample) -> None:
    scratch = Example(Sample(flat(2), "bottle"), "anomalous", kind="scratch")
    glare = Example(Sample(flat(3), "bottle"), "normal", kind="glare")
    other = Example(Sample(flat(4), "cable"), "anomalous", kind="bent wire")
    good = Example(Sample(flat(5), "bottle"), "normal")
    detector = make([SAYS_NOTHING], references=5).fit([], [scratch, glare, other, good])
    detector.predict([replace(part, auxiliary={"torque": "4.1 Nm"})])
    (message,) = asked(detector)
    assert '"torque" is "4.1 Nm"' in message.text
    assert 'Confirmed as anomalous: "scratch"' in message.text
    assert 'Rejected, since it is normal: "glare"' in message.text
    assert "bent wire" not in message.text
    assert [int(image[0, 0, 0]) for image in message.images[:-1]] == [5]


def test_no_more_findings_are_told_than_wanted_the_latest_first_of_all(
    make: Make, part: Sample
) -> None:
    told = [Example(Sample(flat(n), "bottle"), "anomalous", kind=f"kind{n}") for n in range(5)]
    for wanted in (0, 2):
        detector = make([SAYS_NOTHING], feedback=wanted).fit([], told)
        detector.predict([part])
        text = asked(detector)[0].text
        assert [f"kind{n}" in text for n in range(5)] == [n >= 5 - wanted for n in range(5)]


def test_what_is_missing_is_asked_for(make: Make, part: Sample) -> None:
    said = ["Yes, the bottle has a crack.", "It lies at the top left."]
    detector = make(said, follow_ups=3)
    (found,) = detector.predict([part])
    assert [message.text for message in asked(detector)][1:] == [vqa.follow_up("where")]
    assert [region.position for region in found.regions] == ["top left"]
    talk = found.evidence["conversations"][0]
    assert [(one["asks_for"], one["reply"]) for one in talk] == [
        ("verdict", said[0]),
        ("where", said[1]),
    ]
    conversation = detector.language_model.asked[1]  # type: ignore[attr-defined]
    assert [message.role for message in conversation] == ["user", "assistant", "user"]
    assert conversation[1].text == said[0]


def test_marks_are_asked_for_by_number(make: Make, part: Sample) -> None:
    said = ["Yes, there is a crack.", "It lies in region 6."]
    detector = make(said, follow_ups=1, task="industrial-localisation", regions="grid", cells=4)
    (found,) = detector.predict([part])
    assert asked(detector)[1].text == vqa.follow_up("where", marked=True)
    assert found.evidence["marks"] == [6]
    (region,) = found.regions
    assert region.box == (30, 22, 60, 45)  # the second of four columns and rows


def test_a_broken_rule_is_asked_for_and_a_count_again(make: Make, part: Sample) -> None:
    rules = replace(part, standards="1. It has two screws. 2. It has one nut.")
    detector = make(["Yes, a screw is missing at the left."], follow_ups=1)
    with pytest.raises(Exception, match="script"):
        detector.predict([rules])
    assert asked(detector)[-1].text == vqa.follow_up("rule")
    normal = "All rules are met. The image contains no anomalies."
    again = ["In conclusion, the numbers agree; there are no anomalies.", "No, there are three."]
    detector = make([normal, again[0]], follow_ups=5)
    (found,) = detector.predict([rules])
    assert [message.text for message in asked(detector)][1:] == [vqa.follow_up("count")]
    assert found.verdict == "normal"


def test_what_is_normal_piece_by_piece_is_asked_about_as_a_whole(make: Make, part: Sample) -> None:
    detector = make(["The cap is intact and the label is straight.", "No."], follow_ups=1)
    (found,) = detector.predict([part])
    assert [message.text for message in asked(detector)][1:] == [vqa.follow_up("verdict")]
    assert (found.verdict, found.reason) == ("normal", "")
    detector = make([SAYS_NOTHING], follow_ups=1)
    assert detector.predict([part])[0].verdict == "normal"
    assert len(asked(detector)) == 1


def test_further_questions_are_bounded(make: Make, part: Sample) -> None:
    detector = make(lambda messages: "It may be a defect, depending on the use.", follow_ups=5)
    (found,) = detector.predict([part])
    assert len(asked(detector)) == 2  # each kind of further question once at most
    assert (found.verdict, found.reason, found.score) == ("unsure", "hedged", 0.5)


def test_a_refusal_is_not_argued_with(make: Make, part: Sample) -> None:
    detector = make(["I'm sorry, I can't provide a medical diagnosis."], follow_ups=5)
    (found,) = detector.predict([replace(part, domain="medical")])
    assert len(asked(detector)) == 1
    assert (found.verdict, found.reason, found.score) == ("unsure", "refused", None)


@pytest.mark.parametrize(
    ("sample", "options", "error", "words"),
    [
        (Sample([flat(1)] * 2), {"task": "medical-localisation"}, InputError, "has 2 views"),
        (
            Sample(flat(1), "bolt", references=[Sample(flat(2), "nut", id="n.png")], id="b.png"),
            {},
            ReferencesError,
            "n.png shows a nut, and b.png is a bolt",
        ),
        (Sample(flat(1), standards="  \n "), {}, OptionError, "standards"),
        (
            Sample(flat(1), standards="1. It has two screws. 2. It has three screws."),
            {},
            OptionError,
            "two screws",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(
    make: Make, sample: Sample, options: Any, error: type[Exception], words: str
) -> None:
    detector = make([], **options)
    with pytest.raises(error, match=words):
        detector.predict([sample])
    assert asked(detector) == []


def test_sam_needs_a_segmenter() -> None:
    from blemish.detectors._vqa_options import VQAOptions

    with pytest.raises(OptionError, match="segmenter"):
        VQA(language_model=Scripted([]), options=VQAOptions.model_validate({"regions": "sam"}))


def test_json_is_asked_for_with_its_schema(make: Make, part: Sample) -> None:
    seen: list[Any] = []

    class Model(Scripted):
        def chat(self, messages: Any, **how: Any) -> Any:
            seen.append(how.get("schema"))
            return super().chat(messages, **how)

    said = '{"verdict": "anomalous", "score": 0.8, "findings": [{"what": "crack", "where": "top '
    said += 'left", "region": null}]}'
    detector = make(Model([said]), answer="json")
    (found,) = detector.predict([part])
    assert seen == [vqa.schema()]
    assert asked(detector)[0].text.endswith("Without any anomaly the list is empty.")
    assert (found.verdict, found.score) == ("anomalous", 0.8)
    assert [region.position for region in found.regions] == ["top left"]
