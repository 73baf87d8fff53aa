"""Reading what a language model wrote, leniently in form and never by guessing.

What every answer has in common, for the readers that stand beside the prompts: `plain` text,
`scores`, numbers of regions, JSON, refusals, and replies that name nothing. What can be read in
two ways raises `Unreadable`. The words of each language are data (answers.json).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Literal

Problem = Literal["", "refused", "unparsed"]

LONGEST = 30_000
"""Characters of a reply that is read; an answer to these prompts has a few hundred."""
_MOST_REGIONS = 10_000  # of one range, so that "1-999999999" costs nothing
_MOST_BROKEN = 20  # places in one reply at which something looks like JSON and is none
_WIDE = {0xFF01 + i: 0x21 + i for i in range(94)} | {
    0x3000: " ", 0x00A0: " ", 0x202F: " ", 0x2212: "-", 0x2019: "'", 0x3002: ".",
}  # fmt: skip
_SCORE = re.compile(r"[-+]?(?:(?!0[0-9])[0-9]+(?:[.,][0-9]+)?|[.,][0-9]+)(?:\s*%)?")
_TAIL = re.compile(r" ?[.,] ?[0-9]|\w|\s*[-–~/]\s*\.?[0-9]")


_OPENS = re.compile(r'[\[{]|"(?=\s*[\[{])')


class Unreadable(Exception):
    """A reply that says nothing, or may say two things; its text tells a person why."""

    def __init__(self, words: str, problem: Problem = "unparsed") -> None:
        super().__init__(words)
        self.problem: Problem = problem


@cache
def words(part: str) -> str:
    """The alternatives of one part of answers.json, as a regular expression without groups."""
    found = _data()[part]
    lists = found.values() if isinstance(found, dict) else [found]
    return f"(?:{'|'.join(entry for some in lists for entry in some)})"


@cache
def _data() -> dict[str, Any]:
    return dict(json.loads(files("blemish.prompts").joinpath("answers.json").read_text("utf-8")))


def object_schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    """JSON schema of an object that has these properties, all of them and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def spoken(text: str) -> str:
    """The reply without what a model thought aloud in front, with full-width signs made plain.

    Raises:
        Unreadable: nothing is left, or it is longer than any answer.
    """
    text = text.rpartition("</think>")[2] if "</think>" in text else text
    if "<think>" in text:
        raise Unreadable("the model thought aloud and did not come to an answer")
    if len(text) > LONGEST:
        raise Unreadable(f"the reply has {len(text)} characters, more than any answer")
    text = text.translate(_WIDE).strip()
    if not text:
        raise Unreadable("the reply is empty")
    return text


def without_echo(text: str, asked: str) -> str:
    r"""The reply without sentences of the question, which some models repeat.

    Args:
        text: as `spoken` gives it.
        asked: the question; its sentences of 20 characters or more are taken out.

    >>> without_echo("Ignore what is\n normal. region 2: 0.8", "Score it! Ignore what is normal.")
    ' region 2: 0.8'
    """
    for echo in _echoes(asked):
        text = echo.sub("", text)
    return text


@lru_cache(64)
def _echoes(asked: str) -> tuple[re.Pattern[str], ...]:
    sentences = re.split(r"(?<=[.!?])\s+|\n", asked.translate(_WIDE))
    return tuple(loosely(sentence) for sentence in sentences if len(sentence) >= 20)


def loosely(text: str) -> re.Pattern[str]:
    """A pattern for a text in whatever case, its lines broken anywhere."""
    return re.compile(r"\s+".join(map(re.escape, text.split())), re.IGNORECASE)


def score(text: str, repaired: list[str]) -> tuple[float, int]:
    """The score that a text begins with, and how many characters it takes.

    Args:
        text: `0.9`, `.9`, `0,9` and `90 %` are read; 9, high, 0.7-0.9, 9/10 and 1.2 are not, nor
            is `0.` at the end of a text, of which the rest may be missing.
        repaired: gets a note of what was read leniently.

    Raises:
        Unreadable: there is no score, or it lies outside 0 to 1.

    >>> score("0,75; region 4", [])
    (0.75, 4)
    """
    found = _SCORE.match(text)
    if not found or _TAIL.match(text, found.end()):
        raise Unreadable(f"'{' '.join(text[:20].split())}' stands where a score should be")
    written = found[0]
    if written == "0" and text[found.end() :].rstrip() == ".":
        raise Unreadable("the reply ends with '0.', as if it were cut off")
    value = float(written.rstrip("%").strip().replace(",", "."))
    if "," in written:
        repaired.append(f"decimal comma: {written}")
    if "%" in written:
        repaired.append(f"percent: {written}")
        value /= 100
    if not 0 <= value <= 1:
        raise Unreadable(f"the score {written} lies outside 0 to 1")
    return abs(value), found.end()


def numbers(text: str, repaired: list[str]) -> list[int]:
    """The numbers of regions that a text such as "3", "3, 4 and 7" or "3-5" stands for.

    Raises:
        Unreadable: a range runs backwards or has no end.
    """
    kept: list[int] = []
    parts = re.findall(rf"[0-9]+|{words('to')}", text)
    until = False
    for part in parts:
        if not part.isdigit():
            until = True
        elif until:
            first, last = kept[-1], int(part)
            if not first < last <= first + _MOST_REGIONS:
                raise Unreadable(f"the range of regions '{text.strip()}' cannot be")
            repaired.append(f"range: {text.strip()}")
            kept += range(first + 1, last + 1)
            until = False
        else:
            kept.append(int(part))
    return kept


def sentences(text: str) -> list[str]:
    """The sentences of a plain text, without what only introduces an answer.

    A question keeps its mark and a label its colon, so that neither is taken for a statement.

    >>> sentences("answer: none. is it normal? normal: none")
    ['none', 'is it normal? normal: none']
    """
    edge = " ,|-–—()[]{}"
    parts = (s.strip(edge) for s in re.split(r"[.;\n]+|(?<=\w)!+", text))
    parts = (re.sub(rf"^{words('fillers')} ?(?::|$)", "", s).strip(edge + ":") for s in parts)
    return [s for s in parts if s]


def says_nothing(sentence: str) -> bool:
    """Whether a sentence says in so many words that no region is anomalous."""
    return re.fullmatch(words("nothing"), sentence) is not None


def refuses(text: str) -> bool:
    """Whether a plain text is a refusal to answer."""
    return re.search(words("refusals"), text) is not None


def json_values(text: str, repaired: list[str]) -> Iterator[tuple[Any, int, int]]:
    """Every JSON object or list in a text, with where it begins and ends.

    Values inside a code fence, inside a string (encoded twice) and with trailing commas are
    found too. A key that comes twice in one object, NaN and Infinity make a value no JSON.
    """
    start, broken = 0, 0
    while broken < _MOST_BROKEN and (opens := _OPENS.search(text, start)):
        start = opens.start()
        end = _closing(text, start)
        value = _loaded(text[start:end], repaired) if end else None
        if isinstance(value, dict | list):
            yield value, start, end
            start = end
        else:
            broken += 1
            start += 1


def _closing(text: str, start: int) -> int:
    """The index behind the bracket or quotation mark that closes the one at `start`, or 0."""
    depth, inside = 0, False
    for place in re.compile(r'\\.|["\[\]{}]', re.DOTALL).finditer(text, start):
        sign = place[0]
        if sign == '"':
            inside = not inside
        elif not inside and sign in ("[", "{"):
            depth += 1
        elif not inside and sign in ("]", "}"):
            depth -= 1
        if depth <= 0 and not inside:
            return place.end()
    return 0


def _loaded(text: str, repaired: list[str]) -> Any:
    """The value of a JSON text, encoded up to three times; None where it is not JSON."""
    value: Any = text
    for depth in range(3):
        before = value
        commas = re.sub(r'("(?:[^"\\]|\\.)*")|,(?=\s*[\]}])', r"\1", before)
        try:
            value = json.loads(commas, object_pairs_hook=_once, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, str):
            repaired += ["JSON in a string"] * (depth > 0)
            repaired += ["trailing comma"] * (commas != before)
            return value
    return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
