"""Conversations are values: what grows them, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from blemish.conversation import Conversation, Turn
from blemish.errors import InputError
from blemish.types import Inspection, Sample

SAMPLE = Sample(np.zeros((9, 9, 3), np.uint8), id="a")
FOUND = Inspection("a", "normal", "calibration")


def test_each_step_is_a_new_value() -> None:
    empty = Conversation()
    shown = empty.show(SAMPLE, FOUND)
    asked = shown.ask("Where?")
    done = asked.answered("Nowhere.")
    assert (empty.parts, shown.turns, asked.turns) == ((), (), (Turn("Where?", None, 0),))
    assert done.turns == (Turn("Where?", "Nowhere.", 0),)
    assert done.parts == ((SAMPLE, FOUND),)


def test_a_question_is_about_the_part_shown_last_or_the_one_it_names() -> None:
    two = Conversation().show(SAMPLE, FOUND).show(SAMPLE, FOUND)
    assert two.ask("Where?").asked.part == 1
    assert two.ask("Where?", 0).asked.part == 0


def test_a_kept_conversation_comes_back_from_its_turns() -> None:
    rows = [{"question": "Where?", "answer": "Nowhere.", "part": 0}]
    again = Conversation(((SAMPLE, FOUND),), [Turn(**row) for row in rows])  # type: ignore[arg-type]
    assert again.ask("Sure?").turns[0].answer == "Nowhere."


@pytest.mark.parametrize("question", ["", " \n"])
def test_an_empty_question_is_refused(question: str) -> None:
    with pytest.raises(InputError, match="The question is empty"):
        Conversation().show(SAMPLE, FOUND).ask(question)


def test_what_does_not_follow_is_refused() -> None:
    with pytest.raises(InputError, match="Show a part first"):
        Conversation().ask("Where?")
    one = Conversation().show(SAMPLE, FOUND)
    with pytest.raises(InputError, match="about part 1, and 1 were shown"):
        one.ask("Where?", 1)
    with pytest.raises(InputError, match="'Where\\?' has no answer"):
        one.ask("Where?").ask("How many?")
    with pytest.raises(InputError, match="No question is open"):
        one.answered("Nowhere.")
    with pytest.raises(InputError, match="No question is open"):
        _ = one.ask("Where?").answered("Nowhere.").asked
