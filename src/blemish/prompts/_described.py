"""Descriptions out of what a language model wrote: the list in it, without what stands around it.

| what came                                        | what becomes of it                          |
|--------------------------------------------------|---------------------------------------------|
| bullets, numbers, a table, JSON, one a line      | each a description; what stands around them |
|                                                  | is left out                                 |
| one paragraph                                    | each sentence a description                 |
| a description that does not begin as asked       | gets the beginning                          |
| preambles, advice, closing words, questions      | left out                                    |
| what speaks of the other side ("a normal ...")   | left out, and all below such a heading      |
| more than 40 words                               | cut where a sentence or clause ends         |
| the last line of a reply that was cut off        | left out                                    |
| a refusal, another language, thoughts aloud      | nothing can be read; the error says which   |

The words are data (generated.json).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from blemish.prompts.answers import Unreadable, json_values, refuses, spoken, without_echo
from blemish.prompts.vqa_answer import foreign

Label = Literal["normal", "abnormal"]
LONGEST = 40
"""Words of a description: about 60 tokens, where CLIP reads 77."""
_LONGEST_SIGNS = 300
_OTHER: dict[Label, Label] = {"normal": "abnormal", "abnormal": "normal"}
_MARK = re.compile(
    r"\s*(?:>\s*)*(?:[-+•·▪◦●–—‣]\s*(?:\[[ xX]?\]\s*)?|\*(?!\*)\s*|\(?\d{1,3}[.):\]](?!\d)\s*"
    r"|\(?[a-z][.)]\s+)"
)
_BOLD = re.compile(r"\*\*|__|(?<!\w)[*_`]|[*_`](?!\w)")
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])[\"”’)]?\s+(?=[\"“‘(]?[A-ZÀ-Þ])")
_CLAUSE_ENDS = re.compile(r"[,;:]? (?:–|—|-) |[,;:]\s+|\s+\(")
_WRAPPED = re.compile(r"\n[ \t]+(?=[a-z])(?![a-z][.)])")
EDGES = " \t\"“”„«»‘’'`,;.!…"
_NEXT_NUMBER = re.compile(r"(?<=[.!?;,])\s+\(?\d{1,3}[.)]?$")
_TABLE_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*")


@dataclass(frozen=True)
class Line:
    text: str
    listed: bool
    heading: bool


@cache
def data() -> dict[str, Any]:
    """The wordings, and the words that tell a description from what stands around it."""
    return dict(json.loads(files("blemish.prompts").joinpath("generated.json").read_text("utf-8")))


def read_prompts(
    text: str, label: Label, class_name: str, *, asked: str, ended: str, consistent: bool
) -> tuple[str, ...]:
    r"""The prompts for one side, distinct and in the reply's order.

    Args:
        text: the reply.
        label: the side that was asked about.
        class_name: as the question called it.
        asked: the question; what the reply repeats of it is left out.
        ended: how the reply ended: "stop", "length" or "refused".
        consistent: each prompt begins with "A normal image of" or "An abnormal image of".

    Raises:
        Unreadable: there is none; its text says why.

    >>> said = "Sure! Here are two:\n- An abnormal image of cup with a crack.\n- A chipped rim."
    >>> read_prompts(said, "abnormal", "cup", asked="", ended="stop", consistent=True)
    ('An abnormal image of cup with a crack', 'An abnormal image of cup: a chipped rim')
    """
    beginning = data()["beginning"][label]
    found = []
    for begun, words in _descriptions(text, label, asked, ended):
        if begun:
            found.append(short(f"{beginning} {words}"))
        elif consistent:
            continues = words.split()[0].lower() in data()["continues"]
            found.append(
                short(f"{beginning} {class_name}{'' if continues else ':'} {small(words)}")
            )
        else:
            found.append(short(words))
    bare = f"{beginning} {class_name}".casefold()
    return _distinct(prompt for prompt in found if prompt.casefold() != bare)


def read_descriptors(text: str, *, asked: str, ended: str) -> tuple[str, ...]:
    r"""What an anomaly may look like, distinct and in the reply's order.

    The question ends with the mark of a first point, so the reply may go on with it.

    Raises:
        Unreadable: there is none.

    >>> read_descriptors(" Cracks\n- **Dents**: hollows in the metal.", asked="", ended="stop")
    ('cracks', 'dents: hollows in the metal')
    """
    first = text.lstrip().partition("\n")[0]
    point = not (_MARK.match(first) or is_chatter(first) or _SENTENCE_ENDS.search(first))
    if first and point and first.rstrip()[-1:] != ":":
        text = f"- {text.lstrip()}"
    found = _descriptions(text, "abnormal", asked, ended)
    return _distinct(small(short(words)) for _, words in found)


def _descriptions(text: str, label: Label, asked: str, ended: str) -> list[tuple[bool, str]]:
    """Each description, without the beginning that was asked for and whether it had it."""
    if ended == "refused":
        raise Unreadable("the endpoint says that the model refused", "refused")
    text = _WRAPPED.sub(" ", without_echo(spoken(text), asked))
    text = finished(text) if ended == "length" else text
    pieces = list(_pieces(_of_side(lines(text, label), label), label))
    in_list = any(line.listed or _rest(line.text, label) is not None for line in pieces)
    found = []
    for line in pieces:
        rest = _rest(line.text, label)
        # Where there is a list, or lines that begin as asked, other lines stand around it.
        if (rest is None and in_list and not line.listed) or refuses(line.text.lower()):
            continue
        words = _description(line.text, label) if rest is None else rest.strip(EDGES)
        if words:
            found.append((rest is not None, words))
    if not found and refuses(text.lower()):
        raise Unreadable("the model refused to answer", "refused")
    if found and foreign(". ".join(words for _, words in found)):
        raise Unreadable("the reply is not in English")
    return found


def finished(text: str) -> str:
    """A reply that was cut off, without its last line; of a single line, without its sentence."""
    before, _, last = text.rstrip().rpartition("\n")
    return before if before.strip() else " ".join(_SENTENCE_ENDS.split(last)[:-1])


def lines(text: str, label: Label) -> Iterator[Line]:
    """The lines of a reply, JSON and tables among them, without marks."""
    values = [_strings(value) for value, _, _ in json_values(text, [])]
    if strings := [line for some in values for line in some]:
        yield from strings
        return
    column: int | None = None
    rows = text.split("\n")
    for row, below in zip(rows, [*rows[1:], ""], strict=True):
        cells = [cell.strip() for cell in row.strip().strip("|").split("|")]
        if row.count("|") < 2 or "|" not in row.strip()[:1] + row.strip()[-1:]:
            yield _line(row)
        elif "|" in below and _TABLE_RULE.fullmatch(below):
            own = [i for i, cell in enumerate(cells) if _is_heading_of(cell, label)]
            column = own[0] if len(own) == 1 else None
        elif not _TABLE_RULE.fullmatch(row):
            named = column is not None and column < len(cells)
            cell = cells[column] if named and column is not None else max(cells, key=len)
            yield Line(_BOLD.sub("", cell), listed=True, heading=False)


def _strings(value: Any) -> Iterator[Line]:
    """The texts of a JSON value; a key with texts below it is their heading."""
    if isinstance(value, str):
        yield Line(value, listed=True, heading=False)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield Line(key, listed=False, heading=True)
            yield from _strings(one)


def _line(row: str) -> Line:
    listed = bool(_MARK.match(row)) and not set(row.strip()) <= set("-*=_ ")
    text = (_MARK.sub("", row, count=1) if listed else row).strip()
    whole = re.fullmatch(r"#+ .*|\*\*[^*]+\*\*:?|```.*", text)
    text = _BOLD.sub("", text.lstrip("#> ")).strip()
    return Line(text, listed, text.endswith(":") or bool(whole and not listed))


def _of_side(lines: Iterable[Line], label: Label) -> Iterator[Line]:
    """Without headings, and without what stands below a heading of the other side."""
    left_out = False
    for line in lines:
        if line.heading:
            # A long one introduces the whole answer: "what tells a normal bottle from ...:"
            if len(line.text.split()) <= 6:
                own, other = (_is_heading_of(line.text, one) for one in (label, _OTHER[label]))
                left_out = other if own != other else left_out
        elif not left_out:
            yield line


def _pieces(lines: Iterable[Line], label: Label) -> Iterator[Line]:
    """A point of a list each, else a sentence; what begins as asked is a piece of its own."""
    for line in lines:
        pieces: list[str] = []
        for text in _SENTENCE_ENDS.split(line.text):
            if pieces and line.listed and _rest(text, label) is None:
                pieces[-1] += f" {text}"
            else:
                pieces.append(text)
        for text in pieces:
            yield Line(_NEXT_NUMBER.sub("", text.strip()), line.listed, heading=False)


def _rest(text: str, label: Label) -> str | None:
    """What stands behind the beginning that was asked for, or one like it; None without one."""
    found = _at_start(data()["near beginning"][label], text)
    return text.lstrip(EDGES)[found:].strip() if found else None


def _description(text: str, label: Label) -> str:
    """A piece that does not begin as asked, as a description; "" where it is none."""
    text = text.strip(EDGES)
    found = _at_start(data()["look for"], text)
    text = text[found:]
    about_other = _at_start(data()["other side"][label], text)
    letters = [sign for sign in text if sign.isalpha()]
    foreign = sum(ord(letter) > 0x24F for letter in letters) * 3 > len(letters)
    none = about_other or foreign or len(letters) < 3 or text[-1:] in (":", "?")
    return "" if none or is_chatter(text) else text


def is_chatter(text: str) -> bool:
    return bool(_at_start(data()["chatter"], text))


def _is_heading_of(text: str, label: Label) -> bool:
    return bool(re.search(data()["heading"][label], text.lower()))


def _at_start(patterns: Sequence[str], text: str) -> int:
    """How many characters of a text fit one of these patterns, from its start."""
    found = _compiled(tuple(patterns)).match(text.lstrip(EDGES))
    return found.end() if found else 0


@cache
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


def short(prompt: str) -> str:
    """A prompt that CLIP can read whole, cut where a sentence or a clause ends; "" without one."""
    prompt = " ".join(prompt.split())
    places = [len(prompt)]
    for ends in (_SENTENCE_ENDS, _CLAUSE_ENDS):
        places += reversed([end.start() for end in ends.finditer(prompt, 0, _LONGEST_SIGNS)])
    cuts = (prompt[:place].strip(EDGES) for place in places)
    return next(
        (cut for cut in cuts if len(cut.split()) <= LONGEST and len(cut) <= _LONGEST_SIGNS), ""
    )


def small(words: str) -> str:
    """The words without a capital at their beginning; abbreviations keep it."""
    return words[0].lower() + words[1:] if words[1:2].islower() or words[1:2] == " " else words


def _distinct(prompts: Iterable[str]) -> tuple[str, ...]:
    unique: dict[str, str] = {}
    for prompt in prompts:
        if prompt:
            unique.setdefault(prompt.casefold(), prompt)
    if not unique:
        raise Unreadable("the reply holds no description")
    return tuple(unique.values())
