"""What stands around a word in its clause."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

from blemish.prompts._vqa_clauses import SIGNS
from blemish.prompts._vqa_words import Unit, words


def denied(units: Sequence[Unit], at: int) -> bool:
    """Whether "not" or "never" stands right before a word: "does not quite reach"."""
    before = [unit for unit in units[max(0, at - 2) : at] if unit.text not in words("quite")]
    return bool(before) and before[-1].text in words("never")


def is_aside(units: Sequence[Unit], at: int) -> bool:
    """Whether a doubt stands between commas: "a foreign body, presumably plastic, lies"."""
    after = [unit.text for unit in units[at + 1 : at + 5]]
    named = bool(after) and at > 0 and units[at - 1].text == "," and "," in after
    return named and not any(unit.kind == "verb" for unit in units[at : at + 1 + after.index(",")])


def is_judged_good(units: Sequence[Unit], at: int) -> bool:
    """Whether "fine" ends "I consider the part fine"; elsewhere a weave is fine, or a line."""
    ends = at + 1 == len(units) and units[at].text in ("fine", "good", "well")
    return ends and any(
        unit.kind == "verb" and unit.text.split()[-1] in words("judging") for unit in units[:at]
    )


def has_new_subject(units: Sequence[Unit]) -> bool:
    """Whether "the" begins a new subject behind "no ...": "with no cap the bottle is cracked"."""
    for before, unit in pairwise(units[1:]):
        bare = not before.kind and before.text not in words("joining") and before.text not in SIGNS
        if unit.text == "the" and bare:
            return True
    return False


def is_kind(units: Sequence[Unit], at: int) -> bool:
    """Whether "normal" begins the subject of a clause: "a normal bottle has a rim"."""
    first = at == 0 or (at == 1 and units[0].text in ("a", "an"))
    named = at + 1 < len(units) and units[at + 1].kind in ("", "whole")
    return first and named and any(unit.kind == "verb" for unit in units[at + 2 : at + 5])


def is_spot(units: Sequence[Unit], at: int) -> bool:
    """A bright area, a dark spot: a shade with the word for a spot soon behind it."""
    kind = units[at].kind
    if kind not in ("shade", "colour"):
        return False
    wanted = {"blob", "stretch"} if kind == "shade" else {"blob"}
    for unit in units[at + 1 : at + 6]:
        if unit.kind in wanted:
            return True
        if unit.kind in ("verb", "not", "turn", "should", "hedge") or unit.text in (
            "of",
            "in",
            "and",
        ):
            return False
    return False


def ahead(units: Sequence[Unit], at: int, kinds: Collection[str]) -> bool:
    for unit in units[at + 1 : at + 5]:
        if unit.kind in kinds:
            return True
        if unit.text in SIGNS or unit.kind == "verb":
            return False
    return False
