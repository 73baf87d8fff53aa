"""Reads the three answers of the abnormal prompt generator of IAD-GPT.

| what came                                            | what becomes of it                       |
|------------------------------------------------------|------------------------------------------|
| keywords as bullets, numbers, a table, JSON, one a   | each a keyword; what explains it and     |
| line, or between commas                              | what stands around the list is left out  |
| articles, capitals, "etc.", the same in the plural   | left out                                 |
| a keyword of more than five words, "defect", "other" | no keyword                               |
| more than twelve keywords                            | the first twelve                         |
| "Cracks: The anomalous hinge ..." for "crack"        | "crack: an abnormal hinge ..."           |
| a sentence about another class, or in no such form   | asked again                              |
| a refusal, another language, thoughts aloud          | asked again                              |

The words are data (apg.json).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from blemish.classes import named
from blemish.prompts import _described
from blemish.prompts.answers import Unreadable, refuses, spoken, without_echo
from blemish.prompts.vqa_answer import foreign

MOST = 12
"""Keywords of a class."""
_LEAST = 2
"""Keywords of an answer; among fewer no kind of anomaly can be told from another."""
_PARAGRAPH = 8
"""Words of a description."""
_LONGEST = 5
"""Words of a keyword."""
_EXPLAINS = re.compile(r"\s*(?::|\s[-–—]\s|\()")
_LISTS = re.compile(r"[,;•]|\s(?:and|or)\s")
_BEFORE = r"(?:^|[\n\t.:;!?|{\[(,\"'“*_•)>-])[ \"'“*_`|]{0,8}"
_BEHIND = r"[\"'”*_` ]*(?::|\s[-–—]\s|\|)[\"'“*_`| ]*"
_FORM = (
    r"(?:(?:an?|the|any|some)\s+)?(?:abnormal|anomalous|defective)\s+"
    r"(?:(?:image|photo|picture)\s+of\s+(?:(?:an?|the)\s+)?)?(?:{names})\b(?!-)"
)


@cache
def data() -> dict[str, Any]:
    """apg.json."""
    return dict(json.loads(files("blemish.prompts").joinpath("apg.json").read_text("utf-8")))


def subject(class_name: str) -> str:
    """What a prompt says of its keyword begins with this.

    >>> subject("metal nut"), subject("leather"), subject("capsules")
    ('an abnormal metal nut', 'an abnormal leather', 'abnormal capsules')
    """
    several = not named(class_name).article and class_name.endswith("s")
    return f"{'' if several else 'an '}abnormal {class_name}"


def read_paragraph(text: str, *, asked: str, ended: str) -> str:
    """What an anomalous part may look like, in the reply's words.

    Raises:
        Unreadable: it says nothing; its text says why.
    """
    text = _said(text, asked, ended)
    if foreign(text):
        raise Unreadable("it is not in English")
    if len(text.split()) < _PARAGRAPH:
        raise Unreadable(f"it has fewer than {_PARAGRAPH} words")
    return text


def read_keywords(text: str, *, asked: str, ended: str) -> tuple[str, ...]:
    r"""The kinds of anomaly that a reply names, distinct and in its order, at most `MOST`.

    Raises:
        Unreadable: there are fewer than two.

    >>> read_keywords("The keywords are: Cracks, a tear, crack, etc.", asked="", ended="stop")
    ('cracks', 'tear')
    >>> read_keywords("Sure!\n1. **Crack**: a thin line\n2. Tear", asked="", ended="stop")
    ('crack', 'tear')
    """
    found: dict[str, str] = {}
    for piece in _pieces(_said(text, asked, ended)):
        if keyword := _keyword(piece):
            found.setdefault(_stem(keyword), keyword)
    if len(found) < _LEAST:
        few = f"no keyword but '{next(iter(found.values()))}'" if found else "no keyword"
        raise Unreadable(f"it holds {few}; one a line of one to three words was expected")
    if foreign(". ".join(found.values())):
        raise Unreadable("it is not in English")
    return tuple(found.values())[:MOST]


def read_sentences(
    text: str, class_name: str, keywords: Sequence[str], *, asked: str, ended: str
) -> dict[str, str]:
    """The prompts of those keywords that a reply answers in the fixed form.

    Raises:
        Unreadable: the reply as a whole says nothing.

    >>> said = "1. Cracks: An abnormal leather may have cracks in its surface."
    >>> read_sentences(said, "leather", ["crack", "tear"], asked="", ended="stop")
    {'crack': 'crack: an abnormal leather may have cracks in its surface'}
    """
    text = _said(text, asked, ended)
    either = "|".join(rf"{re.escape(_stem(one))}(?:e?s)?" for one in sorted(keywords, key=_longest))
    parts = re.split(f"{_BEFORE}({either}){_BEHIND}", text, flags=re.IGNORECASE)
    own = {_stem(one): one for one in keywords}
    found: dict[str, str] = {}
    for mark, behind in zip(parts[1::2], parts[2::2], strict=True):
        keyword, sentence = own.get(_stem(mark)), _sentence(behind, class_name)
        if sentence and keyword:
            found.setdefault(keyword, f"{keyword}: {sentence}")
    return found


def _said(text: str, asked: str, ended: str) -> str:
    """A reply without thoughts aloud, the question, and what it broke off at.

    Raises:
        Unreadable: nothing is left, or it is a refusal.
    """
    if ended == "refused":
        raise Unreadable("the endpoint says that the model refused", "refused")
    text = without_echo(spoken(text), asked).strip()
    text = _described.finished(text) if ended == "length" else text
    if refuses(text.lower()):
        raise Unreadable("the model refused to answer", "refused")
    if not text:
        raise Unreadable("it says nothing")
    return text


def _pieces(text: str) -> Iterator[str]:
    """What may be keywords: the points of a list, else what stands between commas."""
    found = [line for line in _described.lines(text, "abnormal") if not line.heading]
    listed = [line.text for line in found if line.listed]
    if len(listed) >= _LEAST:
        yield from listed
        return
    for line in found:
        before, _, behind = line.text.partition(":")
        introduced = behind and re.search(data()["introduces"], before.lower())
        yield from _LISTS.split(behind if introduced else line.text)


def _keyword(piece: str) -> str:
    """A keyword as prompts give it; "" where a piece is none."""
    words = _EXPLAINS.split(piece.strip(_described.EDGES))[0]
    words = re.sub(r"^(?:and|or|an?|the) ", "", words.strip(_described.EDGES), flags=re.IGNORECASE)
    none = _described.is_chatter(words) or words.casefold() in data()["no keywords"]
    letters = sum(sign.isalpha() for sign in words)
    good = letters >= 3 and len(words.split()) <= _LONGEST and "?" not in piece
    return _described.small(" ".join(words.split())) if good and not none else ""


def _sentence(text: str, class_name: str) -> str:
    """What stands behind a keyword, in the fixed form; "" where it says something else."""
    text = text.strip().partition("\n")[0].strip(_described.EDGES + "|}]*_")
    names = "|".join(_any_spaces({class_name, named(class_name).plural}))
    form = _FORM.replace("{names}", names)
    if begun := re.match(form, text, re.IGNORECASE):
        rest = text[begun.end() :].strip()
    else:
        rest = text if text.partition(" ")[0].lower() in _described.data()["continues"] else ""
    if len(rest.split()) < 2 or foreign(rest):
        return ""
    return _described.short(f"{subject(class_name)} {_described.small(rest)}")


def _any_spaces(names: Iterable[str]) -> list[str]:
    escaped = (r"[\s_-]+".join(map(re.escape, name.split())) for name in names)
    return sorted(escaped, key=_longest)


def _longest(text: str) -> int:
    return -len(text)


def _stem(keyword: str) -> str:
    """A keyword as it is compared with others: in small letters and the singular."""
    words = " ".join(keyword.casefold().split())
    return re.sub(r"(?<=ch)es$|(?<=sh)es$|(?<=[sx])es$|(?<=[^s])s$", "", words)
