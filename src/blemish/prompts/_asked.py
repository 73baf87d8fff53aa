"""Asks a language model, again where an answer cannot be used; the questions of ALFA.

ALFA is arXiv 2404.09654.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from blemish.errors import ChatError
from blemish.prompts._described import Label, data, read_descriptors, read_prompts
from blemish.prompts.answers import Unreadable
from blemish.types import ChatModel, Message

FURTHER = 2
"""Further questions where an answer holds nothing that can be used."""
_Texts = tuple[str, ...]
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Query:
    """A question to a language model and its reply."""

    asked: str
    reply: str


def ask(
    model: ChatModel, name: str, consistent: bool
) -> tuple[_Texts, _Texts, _Texts, tuple[Query, ...]]:
    """Normal and abnormal prompts, descriptors, and what was asked for them.

    Raises:
        ChatError: the model gave no answer, or none with a description for one of the sides.
    """
    queries: list[Query] = []

    def side(label: Label) -> _Texts:
        read = partial(read_prompts, label=label, class_name=name, consistent=consistent)
        try:
            return answered(model, _question(label, name, consistent), read, queries, again=_again)
        except Unreadable as problem:
            raise _useless(model, label, name, queries[-1].reply, str(problem)) from problem

    abnormal, normal = side("abnormal"), side("normal")
    both = set(map(folded, normal)) & set(map(folded, abnormal))
    normal, abnormal = (
        tuple(text for text in prompts if folded(text) not in both)
        for prompts in (normal, abnormal)
    )
    if not (normal and abnormal):
        label: Label = "abnormal" if normal else "normal"
        raise _useless(model, label, name, queries[-1].reply, "both answers say the same")
    asked = data()["descriptors"].replace("{class}", name)
    try:
        descriptors = answered(model, asked, read_descriptors, queries, again=_again)
    except Unreadable:
        descriptors = ()
    return normal, abnormal, descriptors, tuple(queries)


def folded(text: str) -> str:
    """A prompt as it is compared with others: in small letters, one space at a time."""
    return " ".join(text.split()).casefold()


def _question(label: Label, name: str, consistent: bool) -> str:
    words = data()
    parts = [words["question"][label]]
    if consistent:
        parts.append(words["consistency"][label] + ".")
    return " ".join([*parts, words["form"]]).replace("{class}", name)


def _again(_: str) -> str:
    return str(data()["again"])


def answered(
    model: ChatModel,
    asked: str,
    read: Callable[..., _Read],
    queries: list[Query],
    *,
    again: Callable[[str], str],
    before: Sequence[Message] = (),
) -> _Read:
    """What an answer holds; where it holds nothing that can be used, the model is asked again.

    Args:
        model: any chat model.
        asked: the question.
        read: of a reply's text, with keywords `asked` and `ended`; raises Unreadable.
        queries: gets each question and its reply.
        again: what stands before a further question, from what was wrong with the last answer.
        before: the conversation so far.

    Raises:
        Unreadable: of the last answer, after `FURTHER` further questions.
        ChatError: the model gave none.
    """
    why = ""
    for attempt in range(1 + FURTHER):
        # The descriptors' question ends with the first mark of the list, which must stay last.
        question = f"{again(why)} {asked}" if attempt else asked
        reply = model.chat([*before, Message("user", question)], attempt=attempt)
        # Half of a surrogate pair, which a garbled reply may hold, is nothing that can be kept.
        text = reply.text.encode("utf-8", "replace").decode()
        queries.append(Query(question, text))
        try:
            return read(text, asked=question, ended=reply.ended)
        except Unreadable as problem:
            why = str(problem)
    raise Unreadable(why)


def _useless(model: ChatModel, label: Label, name: str, said: str, why: str) -> ChatError:
    return useless(model, f"description of what is {label} about the class '{name}'", said, why)


def useless(model: ChatModel, wanted: str, said: str, why: str) -> ChatError:
    """The error of a model that gave nothing of what was wanted; `said` is its last answer."""
    came = f"'{' '.join(said.split())[:120]}'" if said.strip() else "an empty reply"
    return ChatError(
        f"{model.name} gave no {wanted}: {why}. The last answer was {came}. Take a larger model, "
        "or write the prompts by hand; docs/prompts.md shows the file."
    )
