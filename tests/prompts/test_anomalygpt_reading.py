"""Answers as small language models write them, held against what a person reads in them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish.places import POSITIONS
from blemish.prompts.anomalygpt import Told, read

UNCLEAR, NO = Told("unclear"), Told("no", (), 0)
ANSWERS: dict[str, Told] = {
    "Yes.": Told("yes"),
    "yes": Told("yes"),
    "No.": NO,
    "OK": UNCLEAR,
    "No": NO,
    " No, there are no anomalies in the image.\n### Human: Sure? Yes, there is one.": NO,
    "Yes, there is an Anomaly in the image, at the bottom of the image.": Told(
        "yes", ("bottom",), 1
    ),
    "The anomaly is at the left of the image.": Told("yes", ("left",), 1),
    "At the top left.": Told("yes", ("top left",)),
    "Yes, there are several anomalies in the image, at the top and the left.": Told(
        "yes", ("top", "left")
    ),
    "Yes, there are 3 anomalies, in the upper right corner and in the middle.": Told(
        "yes", ("top right", "centre"), 3
    ),
    "Yes, I see one small anomaly at the centre.": Told("yes", ("centre",), 1),
    "Yes, there are at least two anomalies, at the top.": Told("yes", ("top",)),
    "Yes, there are one or two anomalies at the top.": Told("yes", ("top",)),
    "Yes, there is an anomaly. There are two anomalies at the top.": Told("yes", ("top",)),
    "Yes, there is one anomaly. Yes, there is one anomaly.": Told("yes", (), 1),
    "Yes, there is an anomaly all over the image.": Told("yes", POSITIONS, 1),
    "Yes, the anomaly is not at the top left but at the bottom right.": Told(
        "yes", ("bottom right",), 1
    ),
    "Yes, there are no anomalies in the image.": UNCLEAR,
    "No, there is an anomaly in the image, at the top left of the image.": UNCLEAR,
    "No, there are no anomalies in the image, at the top left of the image.": UNCLEAR,
    "No, there are no anomalies in the image. Yes, there is one anomaly at the left.": UNCLEAR,
    "No, there are no anomalies besides the one at the top.": UNCLEAR,
    "No, there are no other anomalies in the image.": UNCLEAR,
    "No, no further defects, but a scratch.": UNCLEAR,
    "No, I cannot tell.": UNCLEAR,
    "No, it is not normal.": UNCLEAR,
    "No, it is not in good condition.": UNCLEAR,
    "No, this is not the normal shape.": UNCLEAR,
    "Yes, there is an anomaly at the top. It is dark over the whole part.": Told(
        "yes", POSITIONS, 1
    ),
    "Yes, there is an anomaly at the top. The whole image is blurry.": Told("yes", ("top",), 1),
    "No, nothing is right.": UNCLEAR,
    "No, there is": UNCLEAR,
    "No, I have no idea.": UNCLEAR,
    "No, sorry.": UNCLEAR,
    "No, I can't help with that.": UNCLEAR,
    "No, the capital of France is Paris.": UNCLEAR,
    "Yes, no.": UNCLEAR,
    "Yes, there is no doubt, an anomaly is at the top.": Told("yes", ("top",), 1),
    "Yes, it is normal.": UNCLEAR,
    "No doubt there is an anomaly in the image.": UNCLEAR,
    "No no no no no no no": UNCLEAR,
    "Maybe.": UNCLEAR,
    "The image shows a metal nut.": UNCLEAR,
    "The capital of France is Paris.": UNCLEAR,
    "": UNCLEAR,
    " \n": UNCLEAR,
    "###": UNCLEAR,
    "\x00\ufffd": UNCLEAR,
    "Nein, es gibt keine Anomalien im Bild.": UNCLEAR,
}
CUT: dict[str, Told] = {
    "Yes, there is an anomaly in the image, at the bottom": Told("yes", (), 1),
    "Yes, there is an anomaly at the left. It is": Told("yes", ("left",), 1),
    "No, there are no": UNCLEAR,
    "No, there are no anomalies in the image, at": UNCLEAR,
    "No": UNCLEAR,
    "No. There is an": UNCLEAR,
    "No, there are no anomalies in the image. There": NO,
}
POSITIVE = (
    "Yes, there is an anomaly in the image, at the {} of the image.",
    "There is an anomaly at the {}.",
    "The anomaly is at the {} of the image.",
    "There are two anomalies, at the {}.",
    "One defect can be seen at the {} of the image.",
)
NEGATIVE = (
    "No, there are no anomalies in the image.",
    "No.",
    "No, the image shows no anomaly.",
    "There is no anomaly in the image.",
    "The image shows a metal nut.",
    "Thank you.",
)


@pytest.mark.parametrize(("answer", "told"), ANSWERS.items())
def test_answers_are_read_as_a_person_reads_them(answer: str, told: Told) -> None:
    assert read(answer) == told


@pytest.mark.parametrize(("answer", "told"), CUT.items())
def test_of_an_answer_cut_off_only_what_is_finished_counts(answer: str, told: Told) -> None:
    assert read(answer, ended="length") == told


def test_the_question_decides_what_yes_means() -> None:
    assert read("Yes.", asked="Is the part normal?") == NO
    assert read("No.", asked="Is the part normal?").verdict == "yes"
    assert read("No, there is an anomaly.", asked="Is the part normal?").verdict == "yes"


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(POSITIVE),
    st.sampled_from(POSITIONS),
    st.lists(st.sampled_from(NEGATIVE), max_size=3),
    st.integers(0, 3),
    st.sampled_from(["stop", "length"]),
)
def test_a_find_is_never_read_as_no(
    positive: str, place: str, others: list[str], at: int, ended: str
) -> None:
    """Whatever stands around it: words never lower a find."""
    said = [*others[:at], positive.format(place), *others[at:]]
    assert read(" ".join(said), ended=ended).verdict != "no"


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["stop", "length"]))
def test_any_text_is_read(text: str, ended: str) -> None:
    told = read(text, ended=ended)
    assert told.verdict != "no" or "no" in text.lower()
    assert (told.verdict == "yes") or not told.places
