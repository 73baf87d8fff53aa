"""What a sentence claims: that something is anomalous, normal, or only possibly anomalous.

A sentence is cut into clauses. In each, words turn what follows: "no crack" is normal, "not normal"
anomalous, "might be a crack" hedged; "should be straight" and "to check for cracks" claim nothing.
How far such a word reaches is decided here; which words these are is data (vqa_answer.json).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from blemish.prompts._vqa_clauses import SIGNS, Clause, clauses
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
        denies: it says that there are no defects of some kind.
        weak: it is a finding only in that something is dark, bright or of a colour.
        back: it speaks of what stands before: "this may be a defect", "they are no defects".
        plural: of everything that stands before.
        turned: "but" or the like stands before it in its sentence.
        excepted: it is what "except for" takes out.
        conceded: it is granted: "although there is a mark".
        partly: another clause of its sentence was not understood.
        limited: the same, and that clause takes something out: "but the rest ...", "except ...".
    """

    says: Says
    start: int
    end: int
    whole: bool = False
    denies: bool = False
    weak: bool = False
    back: bool = False
    plural: bool = False
    turned: bool = False
    excepted: bool = False
    conceded: bool = False
    partly: bool = False
    limited: bool = False


def claims(units: Sequence[Unit], before: Says | None = None) -> list[Claim]:
    """What the clauses of a sentence claim, in order.

    Args:
        units: of the sentence.
        before: what was said last, which "the other is not" turns round.

    >>> from blemish.prompts._vqa_words import units
    >>> [c.says for c in claims(units("No cracks or dents, but the cap might be bent."))]
    ['normal', 'hedged']
    """
    found: list[Claim] = []
    parts = clauses(units)
    label: Claim | None = None
    partly = limited = False
    for clause, state in _states(parts):
        said = found[-1].says if found else before
        claim = _claim(state, clause) or _elliptic(state, clause, said)
        if label and clause.units[0].text == ":":
            claim = _labelled(label, claim, state, clause)
            if claim:
                found.remove(label)
        if claim:
            claim = _conditional(claim, clause.units, units)
        elif clause is parts[-1] and clause.excepted and found and found[-1].says == "normal":
            # "all pins are straight but one"
            claim = Claim("hedged", clause.units[0].start, clause.units[-1].end, excepted=True)
        elif not (clause.relative or clause.should or state.skip):
            partly |= state.verb or clause.turned
            limited |= _limits(clause, parts)
        label = claim if clause is parts[0] and not state.verb else None
        if claim:
            found.append(claim)
            limited &= not claim.turned
    texts = {unit.text for unit in units}
    if "if" in texts and texts & {"otherwise", "if not"}:
        return [Claim("hedged", units[0].start, units[-1].end, whole=True, back=True, plural=True)]
    if not any(claim.says in ("anomalous", "hedged") for claim in found):
        found = _unlike_required(parts) or found
    partly &= not texts & words("rules")  # "the cap is red, so rule 1 is met"
    return [replace(claim, partly=partly, limited=limited) for claim in found]


def _limits(clause: Clause, parts: Sequence[Clause]) -> bool:
    """Whether a clause begins as one that takes something out of what is normal."""
    texts = {unit.text for unit in clause.units}
    conceded = clause.units[0].text in words("concede") and clause is parts[0]
    pointing = clause.excepted and texts & words("back")  # "apart from that"
    limits = clause.turned or clause.excepted
    return limits and not (conceded or pointing or texts & words("caution"))


def _states(parts: Sequence[Clause]) -> Iterator[tuple[Clause, State]]:
    """The clauses that may claim something, read, each with what the one before lends it."""
    last: State | None = None
    for clause in parts:
        if clause.relative and last and last.used:
            continue  # "no crack that would matter": it speaks of what does not exist
        state = State()
        if clause.relative and last:
            state.hedge, state.unknown = last.hedge, last.unknown
            state.cause = last.cause
        if clause.relative == "restricting" and last:
            state.negated_at = min(last.negated_at, 0)  # "nothing that looks wrong"
        for at in range(len(clause.units)):
            read(state, clause, at)
        last = state
        yield clause, state


def _elliptic(state: State, clause: Clause, before: Says | None) -> Claim | None:
    """Read "the second is not" as the opposite of what was said before."""
    units = [unit for unit in clause.units if unit.text not in SIGNS and unit.kind != "turn"]
    ends = [unit.kind for unit in units[-2:]] == ["verb", "not"] and units[-1].text == "not"
    if not ends or state.unknown or state.hedge or before not in ("anomalous", "normal"):
        return None
    says: Says = "normal" if before == "anomalous" else "anomalous"
    return Claim(says, units[0].start, units[-1].end, turned=clause.turned)


def _labelled(label: Claim, claim: Claim | None, state: State, clause: Clause) -> Claim | None:
    """What stands behind "Holes:" or "Defects:", if it says anything of its own."""
    answer = {unit.text for unit in clause.units}
    if not claim and label.says in ("anomalous", "normal") and (state.negated or "false" in answer):
        says: Says = "normal" if label.says == "anomalous" else "anomalous"
        return replace(label, says=says, end=clause.units[-1].end)
    return claim if label.says == "anomalous" else None


def _conditional(claim: Claim, units: Sequence[Unit], sentence: Sequence[Unit]) -> Claim:
    """Leaves open what "if it has to be whole, this would be a defect" leaves open."""
    would = claim.says == "anomalous" and any(unit.text.startswith("would") for unit in units)
    if would and any(unit.kind == "whether" and unit.text.startswith("if") for unit in sentence):
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
        return _vague(state, clause)
    order: tuple[Says, ...] = ("anomalous", "hedged", "normal", "praise")
    worst = next(each for each in order if each in says)
    few = units[0].text == "only" or any(unit.kind == "few" for unit in units)
    few = few or (units[0].text in words("several") and not texts.isdisjoint(words("rules")))
    if few and worst == "praise" and any(unit.kind == "present" for unit in units):
        worst = "anomalous"  # "only two of the three are present"
    if worst == "normal" and few:
        worst = "hedged"  # "only one of the rules is met"
    points = bool(texts & words("back")) and not clause.excepted and worst != "praise"
    decisive = {term.kind for term in state.terms if term.says == worst}
    if worst == "normal" and decisive <= {"good", "praise"}:
        points &= bool(texts & words("meant"))  # "it is intact" takes back no scratch
    back = state.retracts or points
    if worst == "hedged":
        doubts = state.doubts_defect or bool(texts & words("innocent"))
        back = state.unknown or (points and doubts)
    if texts & words("quality") and worst in ("normal", "anomalous"):
        worst = "praise" if worst == "normal" else "hedged"  # of the photograph
    return Claim(
        worst, start, end,
        whole=_whole(state, units, worst, texts) and not (clause.excepted and worst == "normal"),
        denies=worst == "normal" and bool(decisive & {"defect", "generic", "compared", "spot"}),
        weak=decisive == {"spot"},
        back=back or (bool(clause.relative) and worst == "hedged" and state.doubts_defect),
        plural=bool(texts & words("plural")),
        turned=clause.turned,
        excepted=clause.excepted,
        conceded=conceded,
    )  # fmt: skip


def _vague(state: State, clause: Clause) -> Claim | None:
    """What a clause without a known word still says by its form.

    "There might be some lint" is hedged, also where lint is not known. "This is only the shadow of
    the lamp" takes back what stands before, and "it may be a shadow" leaves it open.
    """
    units = clause.units
    texts = {unit.text for unit in units}
    start, end = units[0].start, units[-1].end
    points = not clause.relative and bool({unit.text for unit in units[:3]} & words("back"))
    innocent = any(unit.text in words("innocent") for unit in units)
    if state.skip or clause.should:
        return None
    if _may_exist(units) or (state.hedge and not state.cause and points and innocent):
        return Claim("hedged", start, end, whole=True, back=points, plural=points)
    if points and state.verb and not state.negated and (innocent or texts & words("merely")):
        return Claim("praise", start, end, back=True)
    return None


def _may_exist(units: Sequence[Unit]) -> bool:
    """There might be, perhaps there is."""
    pairs = [{one.kind, one.text, other.kind, other.text} for one, other in pairwise(units)]
    return any({"hedge", "there"} <= pair for pair in pairs)


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
