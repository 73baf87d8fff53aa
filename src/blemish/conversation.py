"""Dialogues about inspected parts: a conversation as a value, and the protocol of who answers.

A conversation is plain data that grows by new values, so that it can be kept, cut or taken up
anywhere; only a `Speaker` needs models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from blemish.errors import InputError
from blemish.types import Inspection, Sample


@dataclass(frozen=True)
class Turn:
    """One question of a conversation, and its answer.

    Attributes:
        question: as a person asked it.
        answer: None until it is answered.
        part: the index in the conversation's parts of the one that it is about.
    """

    question: str
    answer: str | None = None
    part: int = 0


@dataclass(frozen=True, eq=False)
class Conversation:
    """A dialogue about inspected parts; `show`, `ask` and `answered` make new ones of it.

    Attributes:
        parts: each sample that was shown, with what a detector found on it.
        turns: questions and answers, the oldest first; all but the last are answered.
        references: normal parts to compare with, for speakers that look at pictures.

    Raises:
        InputError: an empty question, one about a part that was not shown, or one that follows on
            another without an answer.
    """

    parts: tuple[tuple[Sample, Inspection], ...] = ()
    turns: tuple[Turn, ...] = ()
    references: tuple[Sample, ...] = ()

    def __post_init__(self) -> None:
        for name in ("parts", "turns", "references"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for turn in self.turns:
            if not turn.question.strip():
                raise InputError("The question is empty. Ask one, such as 'Where is the anomaly?'.")
            if not 0 <= turn.part < len(self.parts):
                raise InputError(
                    f"A question is about part {turn.part}, and {len(self.parts)} were shown; "
                    "expected an index from 0. Show a part first, with what was found on it: "
                    "conversation.show(sample, inspection)."
                )
        if left := [turn.question for turn in self.turns[:-1] if turn.answer is None]:
            raise InputError(
                f"The question {left[0]!r} has no answer, and another follows. Give it one with "
                "answered(text), or go on from the conversation before it."
            )

    @property
    def asked(self) -> Turn:
        """The question that waits for its answer. Raises InputError where none does."""
        if not self.turns or self.turns[-1].answer is not None:
            raise InputError("No question is open. Ask one first: conversation.ask(question).")
        return self.turns[-1]

    def show(self, sample: Sample, inspection: Inspection) -> Conversation:
        """With one more part."""
        return replace(self, parts=(*self.parts, (sample, inspection)))

    def ask(self, question: str, part: int | None = None) -> Conversation:
        """With a question that waits for its answer.

        Args:
            question: of a person.
            part: index of the part that it is about; the one shown last where None.
        """
        about = len(self.parts) - 1 if part is None else part
        return replace(self, turns=(*self.turns, Turn(question, None, about)))

    def answered(self, text: str) -> Conversation:
        """With the answer to the open question."""
        return replace(self, turns=(*self.turns[:-1], replace(self.asked, answer=text)))


@runtime_checkable
class Speaker(Protocol):
    """Answers questions about inspected parts."""

    name: str

    def reply(self, conversation: Conversation) -> Iterator[str]:
        """The answer to the open question piece by piece; closing the iterator ends it.

        No model is asked before the first piece is.

        Raises:
            InputError: no question is open.
            OptionError: the question is longer than the speaker can read.
            ChatError: no answer could be had.
        """
        ...
