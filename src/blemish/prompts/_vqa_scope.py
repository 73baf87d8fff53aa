"""How far a word reaches in its clause: "not", "might", "should", "to check for".

Each clause is read once from left to right. A word that turns others sets the `State`; a word that
says something becomes a `Term` with what the state makes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from blemish.prompts._vqa_around import (
    ahead,
    denied,
    has_new_subject,
    is_aside,
    is_judged_good,
    is_kind,
    is_spot,
)
from blemish.prompts._vqa_clauses import Clause
from blemish.prompts._vqa_words import Unit, words

Says = Literal["anomalous", "normal", "hedged", "praise"]

_BAD = frozenset({"defect", "generic", "compared", "spot"})
_TERMS = _BAD | {"good", "good whole", "praise"}
_REACH = 6  # units from "not" to the word of praise that it turns
_REACH_BAD = 16  # the same to a word for a defect: "no visible signs on any part of the ..."


@dataclass
class Term:
    """A word that says something.

    Attributes:
        says: what, as its clause turns it.
        kind: of its unit.
        at: place of its unit in the clause.
        subject: no verb stands before it.
    """

    says: Says
    kind: str
    at: int
    subject: bool


@dataclass
class State:
    """How the words read so far in a clause bear on the next.

    Attributes:
        negated_at: place of the "not" that still reaches, or -1.
        used: a "not" has turned a word.
        hedge: "might" or the like came.
        cause: the doubt is about what a finding comes from.
        skip: kind of a word because of which nothing is claimed; "" for none.
        unknown: "cannot be determined" or the like came.
        verb: a verb came.
        retracts: the subject was found to be no defect.
        terms: what says something.
    """

    negated_at: int = -1
    used: bool = False
    hedge: bool = False
    cause: bool = False
    skip: str = ""
    unknown: bool = False
    verb: bool = False
    retracts: bool = False
    terms: list[Term] = field(default_factory=list)

    @property
    def negated(self) -> bool:
        return self.negated_at >= 0

    @property
    def doubts_defect(self) -> bool:
        """Whether a word for a defect as such, or for its absence, is among what is said."""
        return any(term.kind not in ("defect", "spot", "compared") for term in self.terms)


def read(state: State, clause: Clause, at: int) -> None:
    """Let one unit bear on the state."""
    unit = clause.units[at]
    kind = unit.kind
    if unit.text in words("decision"):
        state.unknown = state.unknown or state.negated
    elif unit.text in words("function") and denied(clause.units, at):
        if not state.skip and not state.terms:
            state.terms.append(Term(_sure(state, "anomalous"), "defect", at, False))
            state.used = True
    elif unit.text in words("part"):
        _part(state, clause.units, at)
    elif kind == "shape":
        if state.negated:
            _term(state, clause, at, "praise")  # "not straight"; "round" alone describes
    elif is_judged_good(clause.units, at):
        _term(state, clause, at, "good whole")
    elif kind in _TERMS or is_spot(clause.units, at):
        _term(state, clause, at, kind if kind in _TERMS else "spot")
    elif kind == "not":
        doubled = state.negated and not state.used and unit.text in words("takes away")
        state.negated_at, state.used = -1 if doubled else at, False  # "is not free of"
    elif kind == "lack":
        if ahead(clause.units, at, _BAD):
            state.negated_at, state.used = at, False
        else:
            _term(state, clause, at, "defect")
    elif kind == "verb":
        _verb(state, joined=at > 0 and clause.units[at - 1].text in ("and", ","))
    elif kind == "hedge":
        if not is_aside(clause.units, at):
            _hedge(state, ahead(clause.units, at, {"cause"}))
    elif kind == "cause":
        state.cause = True
    elif kind == "unknown":
        state.unknown = True
    elif kind == "present":
        _present(state, clause, at)
    elif kind in ("whether", "seek", "seeming"):
        state.skip = kind
    elif kind == "should":
        weak = unit.text.startswith(("would", "normal", "usual")) or ahead(
            clause.units, at, {"not"}
        )
        state.skip, clause.should = kind, not weak
        if not state.verb:
            state.terms.clear()  # "a normal part should be": the subject claims nothing
    elif unit.text == "," and state.skip == "whether":
        state.skip = ""


def _sure(state: State, says: Says) -> Says:
    return "hedged" if state.unknown or state.hedge else says


def _part(state: State, units: Sequence[Unit], at: int) -> None:
    """Read "there is no cap", but not "no cap is missing", "no cap damage", "no loose cap"."""
    before = [unit.text for unit in units[max(0, at - 2) : at]]
    lacks = state.negated and not state.used and set(before) & {"no", "without"}
    joined = bool(set(before) & (words("other") | words("joining")))
    if lacks and not joined and not state.skip and not ahead(units, at, {"should"}):
        state.terms.append(Term(_sure(state, "anomalous"), "part", at, False))


def _verb(state: State, joined: bool) -> None:
    """A verb ends the reach of a "not" that has turned a word, or that has a verb of its own."""
    if state.used or joined:
        state.negated_at = -1
    if state.hedge and any(term.says == "hedged" for term in state.terms):
        state.hedge = False
    if state.skip == "seek":
        state.skip = ""
    state.verb = True


def _hedge(state: State, of_cause: bool) -> None:
    if state.negated and not state.used:
        return  # "no possible defects"
    state.hedge = True
    if not state.verb and not of_cause:
        for term in state.terms:
            term.says = "hedged"


def _present(state: State, clause: Clause, at: int) -> None:
    """Read "scratches are not visible", "the screw is not present", "the screw is in place"."""
    text = clause.units[at].text
    if ahead(clause.units, at, _TERMS):
        return  # "does not present an anomaly"
    subjects = [term for term in state.terms if term.subject and term.kind != "part"]
    if state.negated and not state.used:
        if subjects:
            for term in subjects:
                term.says = "normal"
            state.used = True
        elif text in ("present", "there", "in place") and not state.skip:
            state.terms.append(Term("anomalous", "defect", at, False))
            state.used = True
    elif text in ("present", "in place") and not state.terms and not state.skip:
        says: Says = "hedged" if state.hedge or state.unknown else "praise"
        state.terms.append(Term(says, "praise", at, False))


def _term(state: State, clause: Clause, at: int, kind: str) -> None:
    """Take a word that says something as a term, turned by what stands before it."""
    if state.skip or _unasserted(state, clause.units, at, kind):
        return
    bad = kind in _BAD
    says: Says | None = "anomalous" if bad else "praise" if kind == "praise" else "normal"
    if bad and at + 1 < len(clause.units) and clause.units[at + 1].text == "free":
        says = "normal"
    elif state.negated:
        says = _turned(state, clause, at, kind)
    if state.cause and state.hedge and not state.unknown and bad:
        return  # "which could indicate an infection" doubts the cause, not the finding
    if says:
        state.terms.append(Term(_sure(state, says), kind, at, not state.verb))


def _turned(state: State, clause: Clause, at: int, kind: str) -> Says | None:
    """What a word says behind a "not"; None for nothing."""
    far = at - state.negated_at
    if state.terms and state.terms[-1].kind == "part":
        part = state.terms[-1].at
        if part + 1 == at or any(unit.kind == "verb" for unit in clause.units[part:at]):
            state.terms.pop()  # "no cap is missing"
    if kind not in _BAD:
        taken = clause.units[state.negated_at].text in words("takes away")
        if state.used or taken or far > _REACH:
            return None
        state.used = True
        return "anomalous"
    if far > _REACH_BAD or has_new_subject(clause.units[state.negated_at : at]):
        return "anomalous"
    names = [term for term in state.terms if term.kind == "spot" or kind == "generic"]
    subject = bool(names) and names == state.terms and all(term.subject for term in names)
    if state.verb and not state.used and subject:
        state.retracts = True
        state.terms.clear()  # "the dark line is not a crack"
    state.used = True
    return "normal"


def _unasserted(state: State, units: Sequence[Unit], at: int, kind: str) -> bool:
    """Whether a word claims nothing: "any defects", "checked for defects", "like a normal one"."""
    before = [unit.text for unit in units[max(0, at - 3) : at]]
    if kind == "spot" and before[-1:] and before[-1] in words("definite"):
        turned = state.negated or any(unit.kind in ("not", "hedge") for unit in units[at:])
        return not turned  # "the bright line of the membrane" describes
    if kind == "good whole" and is_kind(units, at):
        state.skip = "should"  # "a normal bottle has a smooth rim" speaks of all bottles
        return True
    if kind == "good whole" and before[-1:] in (["a"], ["an"], ["the"]):
        return bool({*before[-2:-1]} & {"to", "with", "from", "than", "like", "of", "for", "as"})
    if state.negated or kind not in _BAD:
        return False
    if before[-1:] and before[-1] in words("of the kind"):
        return True  # "natural roughness"
    if units[at].text in words("process") and before[-1:] and before[-1] in words("well"):
        return True  # "well exposed"
    if units[at].text in words("also parts") and set(before) & words("definite"):
        return any(unit.kind in ("good", "good whole", "praise") for unit in units)
    return bool({"any", "either"} & set(before[-2:])) or before[-1:] == ["for"]
