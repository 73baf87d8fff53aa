"""Asks a language model for the prompts of a class, in the words of ALFA (arXiv 2404.09654)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from blemish.errors import ChatError
from blemish.prompts._described import Label, data, read_descriptors, read_prompts
from blemish.prompts.answers import Unreadable
from blemish.types import ChatModel, Message

FURTHER = 2
"""Further questions where an answer holds nothing that can be used."""
_Texts = tuple[str, ...]


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
        found, why = _answered(model, _question(label, name, consistent), read, queries)
        if why:
            raise _useless(model, label, name, queries[-1].reply, why)
        return found

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
    descriptors, _ = _answered(model, asked, read_descriptors, queries)
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


def _answered(
    model: ChatModel,
    asked: str,
    read: Callable[..., tuple[str, ...]],
    queries: list[Query],
) -> tuple[tuple[str, ...], str]:
    """What an answer holds, and why it holds nothing after the last further question."""
    why = ""
    for attempt in range(1 + FURTHER):
        # The descriptors' question ends with the first mark of the list, which must stay last.
        question = f"{data()['again']} {asked}" if attempt else asked
        reply = model.chat([Message("user", question)], attempt=attempt)
        # Half of a surrogate pair, which a garbled reply may hold, is nothing that can be kept.
        text = reply.text.encode("utf-8", "replace").decode()
        queries.append(Query(question, text))
        try:
            return read(text, asked=question, ended=reply.ended), ""
        except Unreadable as problem:
            why = str(problem)
    return (), why


def _useless(model: ChatModel, label: Label, name: str, said: str, why: str) -> ChatError:
    came = f"'{' '.join(said.split())[:120]}'" if said.strip() else "an empty reply"
    return ChatError(
        f"{model.name} gave no description of what is {label} about the class '{name}': {why}. "
        f"The last answer was {came}. Take a larger model, or write the prompts by hand; "
        "docs/prompts.md shows the file."
    )
