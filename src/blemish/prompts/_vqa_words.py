"""Words of a sentence with what each is known for: the phrases of vqa_answer.json.

A sentence becomes a list of `Unit`s. A unit is the longest known phrase at its place, or one word
without a kind, or a sign. All word lists are data; here is only how they are looked up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?|[,;:()/✓✔✅✗✘❌]|(?<=\s)[-–—]+(?=\s)|—")
_MOST = 6  # words of the longest phrase that is looked for
_LONGEST_BEGINNING = 16
_SHORTENED = {"can't": "can not", "cannot": "can not", "won't": "will not", "shan't": "shall not"}
_IS = {"it's", "there's", "that's", "what's", "here's", "he's", "she's", "everything's"}


@dataclass(frozen=True, slots=True)
class Unit:
    """A phrase, a word or a sign.

    Attributes:
        kind: a key of "phrases" in vqa_answer.json; "" for a word that stands in none.
        text: its words in small letters, one space between.
        start: where it begins in the sentence.
        end: where it ends, exclusive.
    """

    kind: str
    text: str
    start: int
    end: int


@cache
def data() -> dict[str, Any]:
    """vqa_answer.json."""
    text = files("blemish.prompts").joinpath("vqa_answer.json").read_text("utf-8")
    return dict(json.loads(text))


@cache
def words(part: str) -> frozenset[str]:
    """The entries of a list of "phrases" or "classes", their alternatives written out."""
    entries = data()["phrases"].get(part) or data()["classes"][part]
    return frozenset(" ".join(way) for entry in entries for way in _ways(entry))


def units(sentence: str) -> list[Unit]:
    """The phrases, words and signs of a sentence, in order.

    >>> [(u.kind, u.text) for u in units("It isn't free of scratches.")]
    [('back', 'it'), ('verb', 'is'), ('defect', 'not free of'), ('defect', 'scratches')]
    """
    parts = list(_words(sentence.lower()))
    found, at = [], 0
    while at < len(parts):
        kind, count = _longest([word for word, _, _ in parts[at : at + _MOST]])
        taken = parts[at : at + count]
        text = " ".join(word for word, _, _ in taken)
        found.append(Unit(kind, text, taken[0][1], taken[-1][2]))
        at += count
    return found


def _words(text: str) -> Iterator[tuple[str, int, int]]:
    for word in _WORD.finditer(text):
        written, start, end = word[0], *word.span()
        if written in _SHORTENED:
            written = _SHORTENED[written]
        elif written in _IS:
            written = f"{written[:-2]} is"
        elif written.endswith("n't"):
            written = f"{written[:-3]} not"
        elif written.endswith(("'m", "'re", "'ve", "'ll", "'d")):
            written = written.replace("'d", " would").replace("'", " ")
        elif written.endswith("'s"):
            written = written[:-2]
        for each in written.split():
            yield each, start, end


def _longest(ahead: Sequence[str]) -> tuple[str, int]:
    """The kind of the longest known phrase at the beginning of some words, and its words."""
    exact, begins, counts = _index()
    word = ahead[0]
    for count in range(min(len(ahead), counts.get(word, 0)), 0, -1):
        kind = exact.get(" ".join(ahead[:count]))
        if kind:
            return kind, count
    for length in range(min(len(word), _LONGEST_BEGINNING), 2, -1):
        kind = begins.get(word[:length])
        if kind:
            return kind, 1
    return "", 1


@cache
def _index() -> tuple[dict[str, str], dict[str, str], dict[str, int]]:
    """Kinds of whole phrases; of beginnings of words; words of the longest phrase by its first.

    Where two lists have a phrase, the first one wins.
    """
    exact: dict[str, str] = {}
    begins: dict[str, str] = {}
    counts: dict[str, int] = {}
    for kind, entries in data()["phrases"].items():
        for entry in entries:
            for way in _ways(entry):
                if way[-1].endswith("*"):
                    begins.setdefault(way[-1][:-1], kind)
                else:
                    exact.setdefault(" ".join(way), kind)
                    counts[way[0]] = max(counts.get(way[0], 0), len(way))
    return exact, begins, counts


def _ways(entry: str) -> Iterator[tuple[str, ...]]:
    """An entry with its alternatives written out, each as its words."""
    return product(*(word.split("|") for word in entry.replace("-", " ").split()))
