"""Reads what AnomalyGPT's language model wrote: whether there is an anomaly, where, how many.

The reader of free text (vqa_answer) understands the sentences. On top of it a small model's habits
are held against each other: an answer that begins with one word and goes on with the other, a "no"
that names a place or leaves something open, and an answer that was cut off come to "unclear".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from blemish.places import POSITIONS
from blemish.prompts._vqa_where import CARDINALS, places
from blemish.prompts.vqa_answer import Reading, read_where
from blemish.prompts.vqa_answer import read as read_text

# At the beginning of a sentence, or alone between commas.
_BEGINS = re.compile(r"(?:(?:^|[.!?\n])\W*|,\s*(?=\w+\s*(?:[.,!?]|$)))(yes|no)\b", re.IGNORECASE)
_NO = re.compile(r"^\W*no\b\W*", re.IGNORECASE)
_CLAUSE = re.compile(r"(?<=[,;.!?])\s+")
_DENIES = re.compile(r"\bno|n['’]?t\b|\bwithout\b|\bfree\b|\bneither\b", re.IGNORECASE)
_WHOLE = re.compile(r".*[.!?](?=\s|$)", re.DOTALL)
_DENIED = re.compile(
    r"\bnot (?:(?:located|found|visible) )?(?:at|in|on|near|the)\b[^.;]*?(?=,|\bbut\b|[.;]|$)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Told:
    """What an answer says.

    Attributes:
        verdict: "yes" where it says that there is an anomaly, "no" that there is none, else
            "unclear".
        places: words of `blemish.places.POSITIONS` in their order, each once; () unless "yes".
        number: of anomalies; 0 for "no", None where it gives none or several.
    """

    verdict: Literal["yes", "no", "unclear"]
    places: tuple[str, ...] = ()
    number: int | None = None


def read(
    answer: str, *, asked: str = "Is there any anomaly in the image?", ended: str = "stop"
) -> Told:
    """What a generated answer says.

    Args:
        answer: as the language model wrote it; what stands behind "###" is not part of it.
        asked: the question, which decides what a bare "yes" means.
        ended: "length" where the answer was cut off; then only what it had finished counts.

    >>> read("Yes, there are two anomalies, at the top left and the right of the image.")
    Told(verdict='yes', places=('top left', 'right'), number=2)
    >>> read("No, there is an anomaly at the top.").verdict
    'unclear'
    """
    text = answer.partition(data()["format"]["end"])[0]
    if ended == "length":
        text = _finished(text)
    reading = _understood(text, asked)
    if reading.verdict == "unsure" or not _agrees(text, asked, reading):
        return Told("unclear")
    if reading.verdict == "normal":
        return Told("no", number=0) if _denies_all(text, asked) else Told("unclear")
    return Told("yes", _places(text, asked), _number(text))


@cache
def data() -> dict[str, Any]:
    """anomalygpt.json."""
    text = files("blemish.prompts").joinpath("anomalygpt.json").read_text("utf-8")
    return dict(json.loads(text))


def taught(answer: str) -> str:
    """An answer to the first question, as far as its words are those of the answers to learn from.

    A small model may go on with words of its own, which nothing in picture or map supports.

    >>> taught("Yes, there is an anomaly in the image, at the top left, which a person made.")
    'Yes, there is an anomaly in the image, at the top left.'
    >>> taught("Yes, a scratch.")
    'Yes, a scratch.'
    """
    clauses = _CLAUSE.split(answer.strip())
    known = _words()
    for number, clause in enumerate(clauses):
        if not {*re.findall(r"[a-z]+", clause.lower())} <= known:
            kept = " ".join(clauses[:number]).rstrip(" ,;.")
            return f"{kept}." if len(kept.split()) > 1 else answer
    return answer


@cache
def _words() -> frozenset[str]:
    """Of all answers to the first question."""
    texts = [one for some in data()["answers"]["presence"].values() for one in some]
    texts += [*POSITIONS, *CARDINALS, *data()["places"].values(), "and"]
    return frozenset(re.findall(r"[a-z]+", " ".join(texts).lower()))


def _finished(text: str) -> str:
    """The part of a text that no next word can change: its whole sentences, else its clauses.

    "No." alone is not such a part: what it denies was still to come.
    """
    whole = _WHOLE.match(text)
    if whole and not _NO.sub("", whole[0]):
        return ""
    clause = re.match(r"\W*yes\b.*(?=,)", text, re.DOTALL | re.IGNORECASE)
    return whole[0] if whole else clause[0] if clause else ""


def _understood(text: str, asked: str) -> Reading:
    return read_where(read_text(text, asked=asked), text)


def _agrees(text: str, asked: str, reading: Reading) -> bool:
    """Whether each yes or no that stands by itself says what the whole says."""
    return all(
        read_text(f"{word}.", asked=asked).verdict == reading.verdict
        for word in _BEGINS.findall(text)
    )


def _denies_all(text: str, asked: str) -> bool:
    """Whether an answer that reads as normal denies every anomaly.

    It does not where it denies nothing ("OK."), where what follows on "No" says nothing of the kind
    ("No, I have no idea"), where it names a place, or where it speaks of other anomalies.
    """
    rest = _NO.sub("", text)
    words = "|".join(data()["reading"]["left open"])
    return (
        bool(_DENIES.search(text) or _BEGINS.search(text))
        and (not rest or read_text(rest, asked=asked).verdict == "normal")
        and not places(text)
        and not re.search(rf"\b(?:{words})\b", text.lower())
    )


def _places(text: str, asked: str) -> tuple[str, ...]:
    """The places of anomalies, without those that are denied: "not at the top but at the left"."""
    everywhere = "|".join(data()["reading"]["everywhere"])
    if re.search(rf"\b(?:{everywhere})\b", text.lower()):
        return POSITIONS
    named = _understood(_DENIED.sub("", text), asked).places
    return tuple(place for place in POSITIONS if place in named)


def _number(text: str) -> int | None:
    """How many anomalies a text speaks of, where it says so once or always the same."""
    words, cardinals = data()["reading"], "|".join(CARDINALS)
    counted = re.finditer(
        rf"(?:\b(?P<inexact>{'|'.join(words['inexact'])}) )?"
        rf"\b(?P<number>an?|the|\d{{1,4}}|{cardinals})"
        rf"(?: (?!(?:{cardinals})\b)[a-z-]+)?? (?P<noun>{'|'.join(words['anomalies'])})\b",
        text.lower(),
    )
    found = set()
    for one in counted:
        if one["inexact"]:
            return None
        if one["number"] in CARDINALS:
            found.add(CARDINALS.index(one["number"]) + 1)
        elif one["number"].isdigit():
            found.add(int(one["number"]))
        elif not one["noun"].endswith("s"):
            found.add(1)
    return found.pop() if len(found) == 1 and 0 not in found else None
