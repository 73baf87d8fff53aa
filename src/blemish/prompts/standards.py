"""What normal looks like, in words: a bank for known classes, and checks of what a user writes.

The bank is data (standards.json). What the document arXiv 2311.02782 prints for a class stands
there word for word with its figures; the rest is written for this project in its manner.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files

from blemish.errors import OptionError

# "1." or "2)" at the beginning of a line or behind the end of a rule; not the "1." of "1.5".
_NUMBERED = re.compile(r"(?:^|(?<=[.;:!?] ))\(?(\d{1,2})[.)]\s(?=\S)", re.MULTILINE)
_BULLET = re.compile(r"^[-*•]\s(?=\S)", re.MULTILINE)
_ENDS = (".", "!", "?", "。", "！", "？")
_NUMBERS = (
    "one", "two", "three", "four", "five", "six",
    "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
# A number, and what is counted up to the next word that begins another part of the sentence.
_COUNT = re.compile(
    rf"(?<![\w.,])({'|'.join(_NUMBERS)}|\d+)\s+((?:(?!(?:{'|'.join(_NUMBERS)}|and|or|to|of|in|on|"
    r"at|by|for|from|with|without|per|that|which|must|should|are|is|has|have|mm|cm|m|inch|degrees?)\b)"
    r"[a-z][a-z'-]*\s?)+)"
)
# "One screw is long" says nothing about how many screws there are; "two screws are there" does.
_OF_SOME = re.compile(
    r"\s*(?:is|are|has|have|must|should)\b(?!\s+(?:be\s+)?(?:present|there|required|needed)\b)"
)
# Where a count holds for a part only, or is a limit, two counts can stand side by side.
_PARTIAL = re.compile(
    r"\b(?:each|every|per|either|another|other|least|most|more|less|fewer|up to|between|"
    r"left|right|top|bottom|upper|lower|middle|cent(?:er|re)|front|back|inside|outside|"
    r"first|second|third|fourth)\b"
)


@cache
def _bank() -> dict[str, str]:
    text = files("blemish.prompts").joinpath("standards.json").read_text("utf-8")
    rows = json.loads(text)["standards"]
    return {name.casefold(): str(row["text"]) for row in rows for name in row["names"]}


def standards_of(class_name: str) -> str:
    """The bank's standards for a class; "" where it has none.

    Args:
        class_name: as prompts speak of it or as its folder is called: "metal nut", "metal_nut".

    >>> standards_of("screw_bag")[:40]
    '1. Includes two screws, two nuts, and tw'
    >>> standards_of("left hinge")
    ''
    """
    return _bank().get(" ".join(class_name.replace("_", " ").split()).casefold(), "")


def rules(text: str) -> tuple[str, ...]:
    """The rules of a text that numbers them or lists them with dashes; () for other texts.

    >>> rules("1. Two nuts; 2. One screw of 1.5 cm.")
    ('Two nuts', 'One screw of 1.5 cm.')
    >>> rules("Normally, the image given should show a nut.")
    ()
    """
    return _parts(text)[1]


def _parts(text: str) -> tuple[str, tuple[str, ...]]:
    """What stands before the first rule, and the rules."""
    lines = [line for spread in text.splitlines() if (line := " ".join(spread.split()))]
    text = "\n".join(lines)
    marks = _in_order(text) or list(_BULLET.finditer(text))
    if not marks:
        return "", ()
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    found = [text[mark.end() : end] for mark, end in zip(marks, ends, strict=True)]
    kept = (" ".join(one.split()).rstrip(";").rstrip() for one in found)
    before = " ".join(text[: marks[0].start()].split())
    return before, tuple(rule for rule in kept if rule)


def _in_order(text: str) -> list[re.Match[str]]:
    """The marks 1, 2, 3 and so on of a text that begins with a 1; repeated numbers count too."""
    marks: list[re.Match[str]] = []
    for mark in _NUMBERED.finditer(text):
        if int(mark[1]) in ((int(marks[-1][1]), int(marks[-1][1]) + 1) if marks else (1,)):
            marks.append(mark)
    return marks


def checked(standards: str) -> str:
    r"""Standards as a prompt takes them: on one line, with a full stop, each rule once.

    Raises:
        OptionError: there are none, or two rules give different counts for the same thing.

    >>> checked("1. Two nuts.\n2. One bolt.\n3. two nuts")
    '1. Two nuts. 2. One bolt.'
    """
    text = " ".join(standards.split())
    if not any(sign.isalpha() for sign in text):
        raise OptionError(
            "The standards are empty. Write what a normal part looks like, such as 'Normally, the "
            "image given should show a whole nut. It may have defects such as cracks.', or rules "
            "with numbers, such as '1. It has two screws. 2. One screw is long, one is short.'"
        )
    before, listed = _parts(standards)
    unique: dict[str, str] = {}
    for rule in listed:
        unique.setdefault(rule.rstrip(".").casefold(), rule)
    once = list(unique.values())
    if once and rules(text) != tuple(once):
        numbered = (f"{number}. {_ended(rule)}" for number, rule in enumerate(once, 1))
        text = " ".join([before, *numbered]).strip()
    _agree(once or re.split(r"(?<=[.!?;])\s+", text))
    return _ended(text)


def _ended(text: str) -> str:
    return text if text.endswith(_ENDS) else f"{text}."


def _agree(statements: list[str]) -> None:
    """Raise OptionError where two statements count the same thing differently."""
    counted: dict[str, tuple[int, str]] = {}
    for statement in statements:
        text = statement.lower()
        if _PARTIAL.search(text):
            continue
        for found in _COUNT.finditer(text):
            if _OF_SOME.match(text, found.end()):
                continue
            number, what = found[1], found[2].strip()
            count = int(number) if number.isdigit() else _NUMBERS.index(number) + 1
            before, said = counted.setdefault(what.removesuffix("s"), (count, statement))
            if before != count and said != statement:
                raise OptionError(
                    f"The standards contradict each other about the {what}: '{said}' and "
                    f"'{statement}'. Keep the one that holds."
                )
