"""Scores of numbered regions out of a reply: the JSON in it first, then its text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from blemish.prompts import answers
from blemish.prompts.answers import Unreadable
from blemish.prompts.markdown import plain, without_tables

_NUMBER_KEYS = ("number", "region", "region number", "region id", "id", "label")
_SCORE_KEYS = ("score", "anomaly score")
_LIST_KEYS = ("regions", "anomalous regions", "anomalies")
_IMAGE_KEYS = ("image score", "image anomaly score", "overall anomaly score")


@dataclass
class Found:
    """What a reply holds, before it is settled whether it makes sense together.

    Attributes:
        scores: region number and score, as often as they came.
        image: scores of the whole image.
        mentioned: regions that are named, with a score or without.
        empty: a list of regions that has none.
        repaired: what was read leniently.
    """

    scores: list[tuple[int, float]] = field(default_factory=list)
    image: list[float] = field(default_factory=list)
    mentioned: set[int] = field(default_factory=set)
    empty: bool = False
    repaired: list[str] = field(default_factory=list)


def read_text(text: str, found: Found) -> str:
    """Take scores out of a plain text; returns what is left, a line break for each.

    Raises:
        Unreadable: something else stands where a score should be.
    """
    column = rf"{answers.words('region')}(?: (?:#|no\.?|nr\.?|number|id))?"
    text = without_tables(text, column, answers.words("score column"))
    text = _take(text, _image_head(), found)
    return _take(text, region_head(), found)


def _take(text: str, head: re.Pattern[str], found: Found) -> str:
    kept, start = [], 0
    for named in head.finditer(text):
        if named.start() < start:
            continue
        regions = (
            answers.numbers(named["numbers"], found.repaired)
            if "numbers" in head.groupindex
            else None
        )
        found.mentioned.update(regions or ())
        separator = between().match(text, named.end())
        if separator is None:
            continue
        try:
            value, taken = answers.score(
                text[separator.end() : separator.end() + 40], found.repaired
            )
        except Unreadable:
            if re.search(rf"[:=|→>]|{answers.words('score column')}", separator[0]):
                raise
            continue
        if regions is None:
            found.image.append(value)
        else:
            found.scores += [(number, value) for number in regions]
        kept.append(text[start : named.start()])
        start = separator.end() + taken
    return "\n".join([*kept, text[start:]])


@cache
def region_head() -> re.Pattern[str]:
    region, joined = answers.words("region"), f"{answers.words('to')}|{answers.words('and')}"
    # Not the whole part of a decimal number or of a percentage.
    number = r"(?:#|no\.? ?|nr\.? ?|number |id |nummer |编号)?[0-9]{1,6}(?![.,]?[0-9]|\s?%)"
    more = rf"(?:\s?(?:{joined})\s?(?:{region}\s?)?{number})*"
    return re.compile(rf"(?<![a-zà-ÿ]){region}\s?(?P<numbers>{number}{more})")


@cache
def _image_head() -> re.Pattern[str]:
    return re.compile(rf"(?<![a-zà-ÿ]){answers.words('image score')}")


@cache
def between() -> re.Pattern[str]:
    """What may stand between a region and its score; a dash only first, or it is a minus."""
    note = r"(?:\((?![^()]*normal)[^()0-9]{0,80}\)\s?)?"
    word = rf"(?:[:=|→(\[]|->|(?<![a-zà-ÿ]){answers.words('between')}(?![a-zà-ÿ]))\s*"
    return re.compile(rf"\s*{note}(?:[-–—]\s+(?:{word})*|(?:{word})+)")


def read_json(text: str, found: Found) -> str:
    """Take scores out of the JSON in a reply; returns the text around it and inside it.

    Raises:
        Unreadable: JSON of a known form with a region or score that is none.
    """
    kept, start = [], 0
    for value, begins, ends in answers.json_values(text, found.repaired):
        extra = _value(value, found)
        if extra is not None:
            kept += [text[start:begins], *extra]
            start = ends
    return "\n".join([*kept, text[start:]]) if kept else text


def _value(value: Any, found: Found) -> list[str] | None:
    """Take the scores of a JSON value; returns what else it says, None for another form."""
    if isinstance(value, list):
        if not value or not all(isinstance(v, dict) and _of(v, _SCORE_KEYS) for v in value):
            return None
        return [text for entry in value for text in _entry(entry, found)]
    if _of(value, _LIST_KEYS):
        return _listed(value, found)
    if _of(value, _SCORE_KEYS) and _of(value, _NUMBER_KEYS):
        return _entry(value, found)
    if any(region_head().fullmatch(key.lower()) for key in value) or _of(value, _IMAGE_KEYS):
        return _keyed(value, found)
    return None


def _listed(value: Mapping[str, Any], found: Found) -> list[str]:
    name, *others = _of(value, _LIST_KEYS)
    listed = value[name]
    if others or not isinstance(listed, list | dict):
        raise Unreadable(f"'{name}' holds {str(listed)[:40]}; expected one list of regions")
    found.empty |= not listed
    if isinstance(listed, dict):
        left = _keyed(listed, found)
    elif all(isinstance(entry, dict) for entry in listed):
        left = [text for entry in listed for text in _entry(entry, found)]
    else:
        raise Unreadable(f"'{name}' lists {str(listed)[:40]}; expected a number and score each")
    return left + _keyed({k: v for k, v in value.items() if k != name}, found, strict=True)


def _entry(entry: Mapping[str, Any], found: Found) -> list[str]:
    """One region as an object with its number and score."""
    number, score = _of(entry, _NUMBER_KEYS), _of(entry, _SCORE_KEYS)
    if len(number) != 1 or len(score) != 1:
        raise Unreadable(f"{str(dict(entry))[:60]} is no region with its score")
    _add(entry[number[0]], entry[score[0]], found)
    return _said({k: v for k, v in entry.items() if k not in (*number, *score)})


def _keyed(value: Mapping[str, Any], found: Found, *, strict: bool = False) -> list[str]:
    """Regions or the image as keys, scores as values; `strict` takes no bare number for a key."""
    left = {}
    for key, score in value.items():
        if _of({key: 0}, _IMAGE_KEYS):
            found.image.append(_score(score, found))
        elif (not strict and key.isdigit()) or region_head().fullmatch(key.lower()):
            _add(key, score, found)
        else:
            left[key] = score
    return _said(left)


def _add(number: Any, score: Any, found: Found) -> None:
    text = str(int(number) if isinstance(number, float) and number.is_integer() else number)
    named = re.fullmatch(rf"(?:{answers.words('region')}\s?)?(?P<numbers>.*)", text.lower())
    if not named or not region_head().fullmatch(f"region {named['numbers']}"):
        raise Unreadable(f"'{text[:40]}' stands where the number of a region should be")
    value = _score(score, found)
    found.scores += [(n, value) for n in answers.numbers(named["numbers"], found.repaired)]


def _score(score: Any, found: Found) -> float:
    text = str(score).strip().lower()
    if isinstance(score, bool) or (isinstance(score, float) and not 0 <= score <= 1):
        raise Unreadable(f"the score {text[:20]} is no number from 0 to 1")
    if isinstance(score, float):
        return abs(score)
    value, taken = answers.score(text, found.repaired)
    if taken < len(text):
        raise Unreadable(f"'{text[:40]}' stands where a score should be")
    return value


def _said(left: Mapping[str, Any]) -> list[str]:
    """What the other keys of an object say, as text that is read like the rest."""
    texts = []
    for key, value in left.items():
        if isinstance(value, str) and re.fullmatch(answers.words("note"), _plainly(key)):
            texts.append(plain(value))
        elif value not in (None, "", [], {}):
            texts.append(f"{key} {value}")
    return [text for text in texts if text]


def _of(value: Mapping[str, Any], keys: tuple[str, ...]) -> list[str]:
    return [key for key in value if _plainly(key) in keys]


def _plainly(key: str) -> str:
    return re.sub(r"[\s_-]+", " ", key.lower()).strip()
