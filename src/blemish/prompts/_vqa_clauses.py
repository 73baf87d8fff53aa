"""A sentence cut into clauses: where a turn, a new subject or "which" begins one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from blemish.prompts._vqa_words import Unit, words

_ENDS = frozenset(";:()—–-")
SIGNS = frozenset(",;:()/—-–")


@dataclass
class Clause:
    """Some units of a sentence, and what leads to them.

    Attributes:
        units: what it consists of.
        relative: "adding" for ", which ...", "restricting" for "that ..."; else "".
        turned: "but" or the like stands before it in its sentence.
        excepted: it is what "except for" takes out.
        should: it says what has to be; set while it is read.
    """

    units: list[Unit] = field(default_factory=list)
    relative: Literal["", "adding", "restricting"] = ""
    turned: bool = False
    excepted: bool = False
    should: bool = False


def clauses(units: Sequence[Unit]) -> list[Clause]:
    """The clauses of a sentence, at least one unit in each."""
    found = [Clause()]
    turned = False
    for at, unit in enumerate(units):
        turned = turned or unit.kind == "turn"
        if unit.kind in ("turn", "except"):
            found.append(Clause(turned=turned, excepted=unit.kind == "except"))
        elif unit.kind == "because" or unit.text in _ENDS or _concluding(units, at):
            found.append(Clause(turned=turned))
        elif at and _relative(units, at):
            restricts = unit.text == "that" or units[at - 1].text != ","
            relative: Literal["adding", "restricting"] = "restricting" if restricts else "adding"
            found.append(Clause(relative=relative, turned=turned, excepted=found[-1].excepted))
        elif unit.text == "," and [before.kind for before in units[at - 2 : at]] == ["verb", "not"]:
            found.append(Clause(turned=turned))  # "the third is not, for it is cracked"
        elif unit.text in (",", "and") and subject_follows(units, at + 1):
            found.append(Clause(turned=turned))
        found[-1].units.append(unit)
    return [clause for clause in found if clause.units]


def _concluding(units: Sequence[Unit], at: int) -> bool:
    """Whether a word leads to a conclusion; in "I cannot reach a conclusion" it does not."""
    named = at and (units[at - 1].kind == "not" or units[at - 1].text in ("a", "an", "any"))
    return units[at].kind == "conclude" and not (named and units[at].text in words("decision"))


def _relative(units: Sequence[Unit], at: int) -> bool:
    text = units[at].text
    if text == "that":
        following = units[at + 1].kind if at + 1 < len(units) else ""
        return following in ("verb", "hedge", "not", "good", "defect")
    return text in ("which", "who", "whose")


def subject_follows(units: Sequence[Unit], at: int) -> bool:
    """Whether a new subject with its verb begins here, behind a comma or "and"."""
    if at + 1 < len(units) and units[at].text in ("and", "or", "so", "with"):
        at += 1
    if at >= len(units):
        return False
    first = units[at].text.split()[0]
    if first not in words("starters"):
        return False
    if first in words("pronouns"):
        return True
    for unit in units[at + 1 : at + 9]:
        if unit.kind in ("verb", "hedge", "should") or unit.text.startswith(("is ", "are ")):
            return True
        if unit.text in SIGNS or unit.kind in ("turn", "except"):
            return False
    return False
