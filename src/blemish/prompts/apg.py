"""The abnormal prompt generator of IAD-GPT (section III.A): kinds of anomaly, a prompt for each.

A language model describes an anomalous part in a paragraph, takes keywords from it, and answers
each in the fixed form "keyword: an abnormal {class} ..."; figure 3 shows the dialogue. Prompts lie
in the same files and in the same bank as ALFA's (`generated`), with style "apg": `descriptors` are
the keywords, and `abnormal` has the prompt of each in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from blemish.prompts._apg_reading import (
    data,
    read_keywords,
    read_paragraph,
    read_sentences,
    subject,
)
from blemish.prompts._asked import Query, answered, useless
from blemish.prompts._stored import Generated
from blemish.prompts.answers import Unreadable
from blemish.prompts.contrast import called
from blemish.types import ChatModel, Message

__all__ = ["generate", "kinds", "ranked", "subject"]

_TOLD = 3
"""Kinds that an answer names."""
_Read = TypeVar("_Read", str, tuple[str, ...])


def generate(class_name: str, model: ChatModel) -> Generated:
    """Have a language model name a class's kinds of anomaly, with a prompt for each.

    An answer that cannot be used is asked for at most twice more, with what was wrong: nine
    questions at most. The model is shown its own answers as they were read: the description, and
    the bare keywords. A keyword that has no sentence in the fixed form at the end is left out.

    Args:
        class_name: such as "metal nut".
        model: any chat model; it gets no picture.

    Raises:
        ChatError: the model gave no answer, or none that can be used to one of the three questions.
    """
    name = called(class_name)
    dialogue = _Dialogue(model, name)
    try:
        dialogue.turn("describe", read_paragraph)
        keywords = dialogue.turn("extract", read_keywords)
        prompts = _prompts(dialogue, keywords)
    except Unreadable as problem:
        wanted = f"{dialogue.wanted} of what is abnormal about the class '{name}'"
        said = dialogue.queries[-1].reply
        raise useless(model, wanted, said, str(problem)) from problem
    return Generated(
        class_name=name,
        style="apg",
        normal=(),
        abnormal=tuple(prompts.values()),
        descriptors=tuple(prompts),
        made_by=model.name,
        fingerprint=model.fingerprint,
        queries=tuple(dialogue.queries),
    )


def kinds(prompts: Generated) -> dict[str, str]:
    """The keyword that each prompt stands for, by prompt, in their order.

    Args:
        prompts: of style "apg".

    >>> said = ("crack: an abnormal cup has a crack", "chip: an abnormal cup has a chipped rim")
    >>> list(kinds(Generated("cup", "apg", (), said, ("crack", "chip"))).values())
    ['crack', 'chip']
    """
    return dict(zip(prompts.abnormal, prompts.descriptors, strict=True))


def ranked(found: Sequence[tuple[str, float]]) -> str:
    """What is said of the kind of an anomaly: the best three, those below 1 % left out.

    Args:
        found: each kind with its share, 0 to 1, in any order.

    >>> ranked([("tear", 0.25), ("crack", 0.7), ("stain", 0.046), ("hole", 0.004)])
    'Of 4 kinds, "crack" fits best (70%), then "tear" (25%), "stain" (5%).'
    >>> ranked([])
    'No kinds of anomaly are known for this part.'
    """
    words = data()["ranked"]
    best, *others = sorted(found, key=lambda one: -one[1]) or [("", 0.0)]
    if len(found) < 2:
        return str(words["one" if found else "none"].format(kind=best[0]))
    said = words["first"].format(number=len(found), kind=best[0], share=f"{best[1]:.0%}")
    more = [words["next"].format(kind=k, share=f"{p:.0%}") for k, p in others if p >= 0.01]
    return f"{said}{words['then'].format(kinds=', '.join(more[: _TOLD - 1])) if more else ''}."


class _Dialogue:
    """The conversation with a model about a class, and all that was asked and answered in it."""

    def __init__(self, model: ChatModel, class_name: str) -> None:
        self.queries: list[Query] = []
        self.class_name, self.wanted = class_name, ""
        self._model, self._told = model, list[Message]()

    def turn(self, kind: str, read: Callable[..., _Read]) -> _Read:
        """Ask one of the three questions; raises Unreadable of its last answer."""
        name, self.wanted = self.class_name, data()["wanted"][kind]
        asked = data()[kind].replace("{class}", name).replace("{subject}", subject(name))
        found = answered(
            self._model, asked, read, self.queries, again=_again, before=tuple(self._told)
        )
        said = found if isinstance(found, str) else "\n".join(found)
        self._told += [Message("user", asked), Message("assistant", said)]
        return found


def _prompts(dialogue: _Dialogue, keywords: tuple[str, ...]) -> dict[str, str]:
    """The prompts of the keywords that are answered in the end."""
    found: dict[str, str] = {}

    def read(text: str, *, asked: str, ended: str) -> tuple[str, ...]:
        name = dialogue.class_name
        new = read_sentences(text, name, keywords, asked=asked, ended=ended)
        found.update({**new, **found})
        if missing := [one for one in keywords if one not in found]:
            form = f"'keyword: {subject(name)} ...'"
            raise Unreadable(f"it says nothing in the form {form} for {', '.join(missing)}")
        return tuple(found.values())

    try:
        dialogue.turn("answer", read)
    except Unreadable:
        if not found:
            raise
    return {one: found[one] for one in keywords if one in found}


def _again(why: str) -> str:
    return str(data()["again"].format(why=why))
