"""The reader of boxes, the document's first attempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.prompts import boxes
from blemish.prompts.gpt4v_ad import question

ASKED = question("hazelnut", asks="boxes")


@pytest.mark.parametrize(
    "text",
    [
        "region 1: 0.5, 0.25, 0.2, 0.1; region 2: 0.7, 0.3, 0.1, 0.2.",
        "**Region 1**: (0.5, 0.25, 0.2, 0.1)\nRegion 2: [.7, .3, .1, .2]",
        "Region 1: 50%, 25%, 20%, 10%\n- region 2: 70 %, 30 %, 10 %, 20 %",
        f"{ASKED} region 1: 0.5, 0.25, 0.2, 0.1; region 2: 0.7, 0.3, 0.1, 0.2.",
    ],
)
def test_boxes_are_read(text: str) -> None:
    answer = boxes.parse(text, 60, 100, asked=ASKED)
    assert answer.problem == ""
    assert answer.boxes == {
        1: pytest.approx((0.5, 0.25, 0.2, 0.1)),
        2: pytest.approx((0.7, 0.3, 0.1, 0.2)),
    }
    assert answer.scores == {1: 1.0, 2: 1.0}


def test_a_box_beyond_the_edge_is_noted() -> None:
    answer = boxes.parse("region 1: 0.05, 0.5, 0.2, 0.1", 100, 100)
    assert answer.boxes == {1: (0.05, 0.5, 0.2, 0.1)}
    assert answer.repaired == ("box beyond the edge: 0.05, 0.5, 0.2, 0.1",)


def test_saying_that_there_is_none_is_an_answer() -> None:
    assert not boxes.parse("No anomalies.", 100, 100).problem
    assert boxes.parse("I'm sorry, I cannot help.", 100, 100).problem == "refused"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("region 1: 0.5, 0.5, 0.2", "a box should be"),
        ("region 1: 0.5, 0.5, 0.2, 0.2, 0.9", "a box should be"),
        ("region 1: x: 0.5, y: 0.5, w: 0.2, h: 0.2", "a box should be"),
        ("region 1: 0.9", "a box should be"),
        ("region 1: 0.5, 0.7, 0.2, 0.1", "outside the picture"),
        ("region 1: 50, 50, 20, 20", "outside the picture"),
        ("region 1: 50%, 0.5, 0.2, 0.1", "outside the picture"),
        ("region 1: -0.5, 0.5, 0.2, 0.1", "a box should be"),
        ("region 1: 0.5, 0.5, 0, 0.1", "empty"),
        ("region 1: 0.5, 0.5, 2, 0.1", "larger than the picture"),
        ("region 1: 0.5, 0.5, 0.2, 0.2; region 1: 0.5, 0.5, 0.2, 0.3", "two boxes"),
        ("region 1: 0.5, 0.5, 0.2, 0.2; region 3: 0.7, 0.3, 0.1, 0.2", "the example"),
        ("region 1: 0.5, 0.5, 0.2, 0.2. No anomalies.", "says that there are none"),
        ("", "empty"),
        (ASKED, "repeats the question"),
    ],
)
def test_what_is_no_box_is_unparsed(text: str, words: str) -> None:
    answer = boxes.parse(text, 60, 100, asked=ASKED)
    assert (answer.problem, answer.boxes, answer.scores) == ("unparsed", {}, {})
    assert words in answer.words


@given(st.text(alphabet="region 0123456789.:;,%-()[]"))
def test_any_text_gives_boxes_inside_the_picture_or_a_problem(text: str) -> None:
    answer = boxes.parse(text, 60, 100)
    assert answer.problem or answer.boxes or "none" in text or "no region" in text
    for x, y, w, h in answer.boxes.values():
        assert 0 <= x <= 1
        assert 0 <= y <= 0.6
        assert w > 0
        assert h > 0
