"""A reply as sentences: lists, headings, tables, abbreviations and Markdown understood."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from blemish.prompts._vqa_words import data

_FENCE = re.compile(r"^[ \t]*```[\w-]*[ \t]*$", re.MULTILINE)
_ITEM = re.compile(
    r"\s*(?:[-*•·▪‣–—][ \t]+|\(?\d{1,2}[.)](?!\d)[ \t]*|\(?[a-z]\)[ \t]+|#+[ \t]*\d{1,2}[.)][ \t]+)"
)
_HEADING = re.compile(r"\s*#+[ \t]+")
_MARKUP = re.compile(r"\*\*|__|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)|[\"“”„«»「」『』`]")
_INLINE_ITEM = re.compile(r"(?<=[.:;!?])\s+(?=\(?\d{1,2}[.)]\s+[A-Z\"'(])")
_END = re.compile(r"[.!?。！？]+[)\]'’]*(?=\s|$)\s*|(?<=[。！？])")
_LONGEST_LINE = 1_000  # a line that is put together from broken ones
_LAST_WORD = re.compile(r"([\w.]+)$")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of a reply.

    Attributes:
        text: without Markdown, list sign and quotation marks.
        paragraph: number of the paragraph that it stands in, list items counting as their own.
        item: stands in a list.
        heads: ends in a colon with its line: what follows belongs under it.
        under: text of the heading or of the line with a colon that it stands under.
    """

    text: str
    paragraph: int
    item: bool = False
    heads: bool = False
    under: str = ""


def sentences(text: str) -> list[Sentence]:
    """The sentences of a reply, in order.

    >>> [s.text for s in sentences("It is 3.5 mm wide, approx. 2 times more. Good: 1. Yes. 2. No.")]
    ['It is 3.5 mm wide, approx. 2 times more.', 'Good:', 'Yes.', 'No.']
    """
    found: list[Sentence] = []
    paragraph, under, listed = 0, "", False
    for line in _lines(text):
        if not line.strip():
            paragraph += 1
            if listed:
                under = ""
            continue
        for part in _INLINE_ITEM.split(line):
            mark = _ITEM.match(part)
            item = bool(mark)
            heading = bool(_HEADING.match(part))
            plain = _plain(part[mark.end() :] if mark else part)
            if not plain:
                continue
            if heading or (listed and not item):
                under = ""
            listed = item
            paragraph += item
            heads = heading or (plain.endswith(":") and not item)
            for each in _split(plain):
                found.append(Sentence(each, paragraph, item, heads and each[-1] == ":", under))
            if heads:
                under, listed = found[-1].text, False
    return found


def _plain(line: str) -> str:
    return " ".join(_MARKUP.sub("", _HEADING.sub("", line)).split())


def _lines(text: str) -> Iterator[str]:
    """The lines, with those joined that were broken in mid-sentence, and tables as text."""
    kept = ""
    head: list[str] = []
    for line in _FENCE.sub("", text).split("\n"):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.count("|") > 1 and len(cells) > 1:
            if all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                continue
            if not head:
                head = cells
                continue
            yield kept
            kept = _row(head, cells)
            continue
        head = []
        goes_on = re.match(r"\s*[a-z(]", line) and not _ITEM.match(line)
        if kept and goes_on and kept[-1] not in ".!?:;" and len(kept) < _LONGEST_LINE:
            kept = f"{kept} {line.strip()}"
        else:
            yield kept
            kept = line.rstrip()
        if not line.strip():
            yield ""
    yield kept


def _row(head: list[str], cells: list[str]) -> str:
    """A row of a table as a list item: "Region 3: crack, anomalous"."""
    first = cells[0] if not cells[0].isdigit() else f"{head[0]} {cells[0]}"
    return f"- {first}: {', '.join(cell for cell in cells[1:] if cell)}"


def _split(text: str) -> Iterator[str]:
    """The sentences of a text in one line."""
    start = 0
    for end in _END.finditer(text):
        before = _LAST_WORD.search(text, max(start, end.start() - 20), end.start())
        word = before[1].lower() if before else ""
        stop = text[end.start()] == "." and end.end() < len(text)
        if stop and _abbreviated(word, text[end.end()]):
            continue
        if text[start : end.end()].strip(" .!?"):
            yield text[start : end.end()].strip()
            start = end.end()
    if text[start:].strip(" .!?"):
        yield text[start:].strip()


def _abbreviated(word: str, follows: str) -> bool:
    """Whether a full stop behind a word belongs to it, by the sign that comes next."""
    if word == "no":
        return follows.isdigit()
    short = word in _abbreviations() or (len(word) == 1 and word.isalpha())
    return short and (not follows.isupper() or word in ("dr", "mr", "mrs", "prof", "fig"))


@cache
def _abbreviations() -> frozenset[str]:
    return frozenset(data()["abbreviations"])
