"""Questions of many threads to one model, which answers several in one pass."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from blemish.types import Message, Reply


@dataclass(frozen=True, eq=False)
class Question:
    """One question, with the arguments of `ChatModel.chat`, and its answer once there is one."""

    messages: Sequence[Message]
    schema: Mapping[str, Any] | None
    logprobs: int
    attempt: int
    answer: Future[Reply] = field(default_factory=Future)

    @property
    def kind(self) -> tuple[int, int]:
        """What the questions of one pass have in common: log-probabilities and pictures."""
        return self.logprobs, sum(len(message.images) for message in self.messages)


class Together:
    """Lets one thread at a time to the model; it answers for those that wait as well.

    Nobody waits for a batch to fill: a question that finds the model free is asked at once, and
    those that come meanwhile are the next batch.

    Args:
        answer: puts an answer, or the error, into each of some questions of one kind.
        most: questions a pass.

    Attributes:
        most: as given; may be lowered on the way.
        turn: held by whoever uses the model.
    """

    def __init__(self, answer: Callable[[Sequence[Question]], None], most: int) -> None:
        self.most = most
        self.turn = threading.Lock()
        self._answer = answer
        self._waiting: list[Question] = []
        self._guard = threading.Lock()

    def ask(self, questions: Sequence[Question]) -> list[Reply]:
        """The answers, in order.

        Raises:
            ChatError: the first question that got none. The others were asked too.
        """
        with self._guard:
            self._waiting += questions
        try:
            for question in questions:
                with self.turn:
                    if not question.answer.done():
                        self._answer(self._drawn(question))
        finally:  # after Ctrl-C nobody would read the answers
            self._forget(questions)
        return [question.answer.result() for question in questions]

    def _drawn(self, first: Question) -> list[Question]:
        """A question, which may have been drawn in vain before, with others of its kind."""
        with self._guard:
            others = [q for q in self._waiting if q is not first and q.kind == first.kind]
        some = [first, *others[: self.most - 1]]
        self._forget(some)
        return some

    def _forget(self, questions: Sequence[Question]) -> None:
        with self._guard:
            self._waiting = [q for q in self._waiting if q not in questions]
