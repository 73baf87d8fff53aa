"""What AnomalyGPT (arXiv 2308.15366) is asked and taught to answer: section 3.3, tables 6 and 7.

All wordings are data (anomalygpt.json). `prompt` and `turn` are what the language model gets,
`pairs` what it is trained on, `read` what its answers say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from blemish.classes import named
from blemish.errors import InputError, OptionError, nearest
from blemish.places import POSITIONS
from blemish.prompts._anomalygpt_files import Pair, descriptions, dialogue
from blemish.prompts._anomalygpt_marked import Marked, marked
from blemish.prompts._anomalygpt_reading import Told, data, read, taught
from blemish.prompts._vqa_where import CARDINALS
from blemish.prompts.contrast import called
from blemish.types import Example, Mask

__all__ = [
    "DECIDING", "QA", "STOP", "TOPICS", "Marked", "Pair", "Slots", "Told", "answer", "description",
    "descriptions", "dialogue", "marked", "pairs", "prompt", "questions", "read", "reply", "taught",
    "turn",
]  # fmt: skip

DECIDING = ("Yes", "No")
"""First words of an answer to the question whether there is an anomaly."""
STOP = str(data()["format"]["end"])
"""Where the model begins another turn, its answer is over."""
TOPICS: tuple[str, ...] = tuple(data()["questions"])
"""What questions are about. "beyond" is what a map of anomalies cannot tell."""


@dataclass(frozen=True)
class Slots:
    """The texts of a turn about a picture, around its embeddings.

    Attributes:
        before: the image embedding.
        between: the image embedding and the prompt embeddings.
        after: the prompt embeddings; the model goes on with its answer.
    """

    before: str
    between: str
    after: str


@dataclass(frozen=True)
class QA:
    """A question about one picture, and the answer to learn.

    Attributes:
        about: one of TOPICS.
        question: without the description of the picture.
        answer: in words that `read` understands.
        description: of the picture, for `prompt`; "" where it is left out.
    """

    about: str
    question: str
    answer: str
    description: str = ""


def description(class_name: str, own: Mapping[str, str] | None = None) -> str:
    """What the picture shows and how it should look, in the form of tables 6 and 7.

    Args:
        class_name: as prompts speak of it or as its folder is called: "metal nut", "metal_nut".
        own: a user's, as `descriptions` reads them; they go before the project's, "" is allowed.

    >>> description("hazelnut")
    'This is a photo of a hazelnut for anomaly detection, which should have a closed brown shell, \
and have no damage, dirt, scratch, hole, crack or missing piece.'
    """
    name = called(class_name).casefold()
    if own and name in own:
        return own[name]
    words, row = data()["description"], _classes().get(name, {})
    said = words["known" if row else "unknown"].format(
        shown=_shown(class_name), should=row.get("should"), flaws=words["flaws"]
    )
    return str(said) if row else f"{said} {named(called(class_name)).description}".strip()


def prompt(question: str, description: str = "") -> Slots:
    r"""A turn that shows a picture, in the form of section 3.3.

    Args:
        question: of a person; marks of the format are taken out of it.
        description: see `description`; "" leaves it out.

    Raises:
        OptionError: the question is empty.

    >>> prompt("Where is it?")
    Slots(before='### Human: <Img>', between='</Img> ', after='Where is it?\n### Assistant:')
    """
    form = data()["format"]
    said = f"{_plain(description)} {_asked(question)}".strip()
    before = form["human"] + form["image"]
    return Slots(before, form["after image"], said + form["assistant"])


def turn(question: str) -> str:
    r"""A later turn of the same conversation, without a picture of its own.

    >>> turn("Where is it?")
    '### Human: Where is it?\n### Assistant:'
    """
    form = data()["format"]
    return str(form["human"] + _asked(question) + form["assistant"])


def reply(text: str) -> str:
    r"""An answer that was given, as it stands in a conversation before the next turn.

    >>> reply("Yes, at the top.")
    ' Yes, at the top.\n'
    """
    return f" {_plain(text)}\n"


def questions(about: str = "presence") -> tuple[str, ...]:
    """The wordings of a question; of "presence" the first is the document's.

    Raises:
        OptionError: it is about none of TOPICS.
    """
    if about not in TOPICS:
        raise OptionError(f"There is no question about '{about}'. {nearest(about, TOPICS)}")
    return tuple(data()["questions"][about])


def answer(
    mask: Mask | Marked,
    rng: np.random.Generator | None = None,
    about: str = "presence",
    kind: str = "",
) -> str:
    """An answer that is true of a mask, in one of its wordings.

    Args:
        mask: (H, W) bool, True where anomalous; or what `marked` found in it.
        rng: draws the wording; None takes the first.
        about: one of TOPICS except "object".
        kind: of the anomaly, such as "scratch" or a data set's "bent_wire"; "" where unknown.

    Raises:
        InputError: it is no such mask.
        OptionError: there is no such answer.

    >>> mask = np.zeros((90, 90), dtype=bool)
    >>> answer(mask)
    'No, there are no anomalies in the image.'
    """
    if about not in TOPICS or about == "object":
        raise OptionError(f"A mask answers no question about '{about}'. {nearest(about, TOPICS)}")
    found = mask if isinstance(mask, Marked) else marked(mask)
    words, larger = data()["answers"], data()["answers"]["larger"]
    if about == "beyond":
        return _drawn(words[about], rng).format(larger=larger)
    amount = "none" if not found.number else "one" if found.number == 1 else "several"
    said = _kind(kind)
    if about == "kind" and found.number and not said:
        amount = "not given"
    return _drawn(words[about][amount], rng).format(
        where=_where(found.places),
        number=_number(found.number),
        size=next(word for most, word in data()["sizes"] if found.share <= most),
        shape=data()["shapes"]["long" if found.long else "compact"],
        kind=said,
        larger=larger,
    )


def pairs(
    example: Example, rng: np.random.Generator, own: Mapping[str, str] | None = None
) -> list[QA]:
    """What to teach about one picture: a question and answer of each topic, presence first.

    Every second picture on average comes without its description, since users may omit it; what
    is in the picture is asked only where the description says so.

    Args:
        example: a picture with its mask; a normal one needs none.
        rng: draws wordings.
        own: a user's descriptions, see `description`.

    Raises:
        InputError: label and mask contradict each other.
    """
    found, name = marked(_truth(example)), example.sample.class_name
    about_it = description(name, own) if rng.random() < 0.5 else ""
    kind = example.kind if example.label == "anomalous" else ""
    taught = []
    for about in TOPICS:
        asked = _drawn(questions(about), rng)
        if about != "object":
            taught.append(QA(about, asked, answer(found, rng, about, kind), about_it))
        elif about_it:
            taught.append(QA(about, asked, shown(name, rng), about_it))
    return taught


def shown(class_name: str, rng: np.random.Generator | None = None) -> str:
    """An answer to what is in the image; see `answer` for `rng`.

    >>> shown("bottle")
    'The image shows a bottle.'
    """
    return _drawn(data()["answers"]["object"], rng).format(shown=_shown(class_name))


def version() -> int:
    """Of the words: goes up whenever one changes on which a verdict may depend.

    Detectors are saved with it, and those of another version are refused.
    """
    return int(data()["version"])


def _truth(example: Example) -> Mask:
    mask = example.mask
    if example.label == "normal" and mask is None:
        return np.zeros(example.sample.image.shape[:2], np.bool_)
    if mask is None or mask.any() != (example.label == "anomalous"):
        came = "no mask" if mask is None else f"{int(mask.sum())} marked pixels"
        raise InputError(
            f"The picture {example.sample.id or '(without a name)'} is {example.label} and has "
            f"{came}; expected a mask that marks the anomalies of an anomalous one, and nothing "
            "on a normal one. Correct the label or the mask, or leave the picture out."
        )
    return mask


@cache
def _classes() -> dict[str, dict[str, Any]]:
    """The rows of the data by every name of their class, the first of which `named` knows."""
    rows = data()["description"]["classes"]
    return {name.casefold(): row for row in rows for name in row["names"]}


def _shown(class_name: str) -> str:
    """Such as "a metal nut" or "four candles"."""
    name = called(class_name)
    row = _classes().get(name.casefold(), {"names": [name]})
    return str(row.get("shown") or named(row["names"][0]).with_article)


def _where(places: Sequence[str]) -> str:
    words = data()["places"]
    if len(places) == len(POSITIONS):
        return str(words["everywhere"])
    *before, last = (f"the {place}" for place in places or ("",))
    listed = f"{', '.join(before)} and {last}" if before else last
    return str(words["in"].format(places=listed))


def _number(number: int) -> str:
    return CARDINALS[number - 1] if 0 < number <= len(CARDINALS) else str(number)


def _kind(kind: str) -> str:
    """A data set's name of a defect in words; "" where it says nothing of its kind."""
    words, name = data()["kinds"], " ".join(kind.replace("_", " ").replace("-", " ").split())
    if name.lower() in words["say nothing"] or not any(sign.isalpha() for sign in name):
        return ""
    return str(words["words"].get(name.lower(), name))


def _drawn(wordings: Sequence[str], rng: np.random.Generator | None) -> str:
    return wordings[int(rng.integers(len(wordings))) if rng else 0]


def _asked(question: str) -> str:
    said = _plain(question)
    if not said:
        raise OptionError("The question is empty. Ask one, such as 'Where is the anomaly?'.")
    return said


def _plain(text: str) -> str:
    """On one line, and without the marks by which the model tells turns and pictures apart."""
    form = data()["format"]
    for mark in (form["end"], form["image"], form["after image"].strip()):
        text = text.replace(mark, " ")
    return " ".join(text.split())
