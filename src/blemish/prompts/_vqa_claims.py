"""What a sentence claims: that something is anomalous, normal, or only possibly anomalous.

A sentence is cut into clauses. In each, words turn what follows: "no crack" is normal, "not normal"
anomalous, "might be a crack" hedged; "should be straight" and "to check for cracks" claim nothing.
How far such a word reaches is decided here; which words these are is data (vqa_answer.json).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from blemish.prompts._vqa_clauses import Clause, clauses
from blemish.prompts._vqa_scope import Says, State, read
from blemish.prompts._vqa_words import Unit, words


@dataclass
class Claim:
    """What one clause says.

    Attributes:
        says: see `Says`; "praise" is a good word that does not answer the question.
        start: of the clause in the sentence.
        end: of the clause, exclusive.
        whole: it is about the part as a whole, not about a piece or a place of it.
        back: it speaks of what stands before: "this may be a defect", "they are no defects".
        plural: of everything that stands before.
        turned: "but" or the like stands before it in its sentence.
        excepted: it is what "except for" takes out.
        conceded: it is granted: "although there is a mark".
    """

    says: Says
    start: int
    end: int
    whole: bool = False
    back: bool = False
    plural: bool = False
    turned: bool = False
    excepted: bool = False
    conceded: bool = False


def claims(units: Sequence[Unit]) -> list[Claim]:
    """What the clauses of a sentence claim, in order.

    >>> from blemish.prompts._vqa_words import units
    >>> [c.says for c in claims(units("No cracks or dents, but the cap might be bent."))]
    ['normal', 'hedged']
    """
    found: list[Claim] = []
    before: State | None = None
    parts = clauses(units)
    label: Claim | None = None
    conditional = any(unit.kind == "whether" and unit.text.startswith("if") for unit in units)
    for clause in parts:
        if clause.relative and before and before.used:
            continue  # "no crack that would matter": it speaks of what does not exist
        state = State()
        if clause.relative and before:
            state.hedge, state.unknown = before.hedge, before.unknown
            state.cause = before.cause
        if clause.relative == "restricting" and before:
            state.negated_at = min(before.negated_at, 0)  # "nothing that looks wrong"
        for at in range(len(clause.units)):
            read(state, clause, at)
        claim = _claim(state, clause)
        if label and clause.units[0].text == ":":
            claim = _labelled(label, claim, state, clause)
            if claim:
                found.remove(label)
        if claim and conditional:
            claim = _conditional(claim, clause.units)
        ends = clause is parts[-1] and clause.excepted and not claim
        if ends and found and found[-1].says == "normal":  # "all pins are straight but one"
            claim = Claim("hedged", clause.units[0].start, clause.units[-1].end, excepted=True)
        label = claim if clause is parts[0] and not state.verb else None
        if claim:
            found.append(claim)
        before = state
    if {"if", "otherwise"} <= {unit.text for unit in units}:
        return [Claim("hedged", units[0].start, units[-1].end, whole=True, back=True, plural=True)]
    if not any(claim.says in ("anomalous", "hedged") for claim in found):
        return _unlike_required(parts) or found
    return found


def _labelled(label: Claim, claim: Claim | None, state: State, clause: Clause) -> Claim | None:
    """What stands behind "Holes:" or "Defects:", if it says anything of its own."""
    answer = {unit.text for unit in clause.units}
    if not claim and label.says in ("anomalous", "normal") and (state.negated or "false" in answer):
        says: Says = "normal" if label.says == "anomalous" else "anomalous"
        return replace(label, says=says, end=clause.units[-1].end)
    return claim if label.says == "anomalous" else None


def _conditional(claim: Claim, units: Sequence[Unit]) -> Claim:
    """Leaves open what "if it has to be whole, this would be a defect" leaves open."""
    if claim.says == "anomalous" and any(unit.text.startswith("would") for unit in units):
        return replace(claim, says="hedged", back=True)
    return claim


def _unlike_required(parts: Sequence[Clause]) -> list[Claim]:
    """A turn between what is and what has to be: "there is one, but there should be two"."""
    doubts = any(unit.kind in ("hedge", "unknown") for clause in parts for unit in clause.units)
    if doubts or not parts or parts[0].turned or not parts[-1].turned:
        return []
    for clause in parts:
        few = any(unit.kind == "few" for unit in clause.units)
        beside = {unit.text for unit in clause.units} & words("caution")
        if (clause.should or few) and not beside:
            start, end = parts[0].units[0].start, parts[-1].units[-1].end
            return [Claim("anomalous", start, end)]
    return []


def _claim(state: State, clause: Clause) -> Claim | None:
    """What a clause says, by the gravest of its terms."""
    units = clause.units
    says = {term.says for term in state.terms}
    texts = {unit.text for unit in units}
    start, end = units[0].start, units[-1].end
    conceded = units[0].text in words("concede")
    if state.unknown and _doubts_defect(units, texts):
        says = {"hedged"}
    if not says:
        return None
    order: tuple[Says, ...] = ("anomalous", "hedged", "normal", "praise")
    worst = next(each for each in order if each in says)
    few = units[0].text == "only" or any(unit.kind == "few" for unit in units)
    if worst == "normal" and few:
        worst = "hedged"  # "only one of the rules is met"
    back = state.retracts or bool(texts & words("back"))
    if worst == "hedged":
        back = state.unknown or (back and state.doubts_defect)
    return Claim(
        worst, start, end,
        whole=_whole(state, units, worst, texts),
        back=back or (bool(clause.relative) and worst == "hedged" and state.doubts_defect),
        plural=bool(texts & words("plural")),
        turned=clause.turned,
        excepted=clause.excepted,
        conceded=conceded,
    )  # fmt: skip


def _doubts_defect(units: Sequence[Unit], texts: set[str]) -> bool:
    """Whether what is unknown is if there is a defect at all; not its cause or what else is."""
    if any(unit.kind == "aim" for unit in units) or texts & words("aim"):
        return not texts & words("other")
    return not texts & (words("matter") | words("other"))


def _whole(state: State, units: Sequence[Unit], says: Says, texts: set[str]) -> bool:
    """Whether a clause speaks of the whole part."""
    names = {word for unit in units for word in unit.text.split()}
    if texts & words("other") or ("rule" in names and not names & words("all")):
        return False
    decisive = [term for term in state.terms if term.says == says]
    kinds = {term.kind for term in decisive}
    if says == "anomalous":
        return not kinds & {"defect", "spot", "compared"}
    if says != "normal":
        return True
    first = decisive[0].at
    if "generic" in kinds:
        after = [unit.text for unit in units[decisive[-1].at + 1 :]]
        placed = bool(set(after) & {"on", "in", "at", "with", "of", "along", "around", "near"})
        return not placed or bool(set(after) & words("whole"))
    subject = {word for unit in units[:first] for word in unit.text.split()}
    if kinds & {"good whole"}:
        return bool(subject & words("whole")) or bool(names & words("all")) or first <= 1
    return bool(names & words("all")) and bool(kinds & {"good", "praise"})
