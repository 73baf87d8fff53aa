"""From the statements of a reply to its verdict."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from blemish.prompts._vqa_told import Statement, Told
from blemish.types import Reason, Verdict

_NEAR = 20  # statements among which "this" looks for what it means
Settled = tuple[Verdict, Reason, str]


def settle(told: Told, judged: Sequence[int]) -> Settled:
    """The verdict of a reply, why it is unsure, and the same in words.

    An explicit conclusion outweighs what stands before it; else any finding is anomalous, else
    any doubt is unsure, else what is said to be well is normal.
    """
    about = [s for s in told.statements if not s.images or s.images & set(judged)]
    if told.statements and not about:
        return "unsure", "unparsed", "the reply speaks of another image than the one that is judged"
    if not about:
        return "unsure", "unparsed", "the reply says neither that the part is normal nor anomalous"
    _look_back(about)
    _describe(about)
    conclusion = _conclusion(about, told)
    if conclusion:
        return _concluded(about, conclusion, told)
    says = {statement.says for statement in about}
    if "anomalous" in says:
        return _found(about, told)
    if "hedged" in says:
        return "unsure", "hedged", "the reply says only that something may be anomalous"
    if "normal" not in says:
        return "unsure", "hedged", "the reply praises the part and does not answer"
    left = _not_covered(about, told)
    if left:
        return "unsure", "hedged", f"the reply does not say whether region {left[0]} is normal"
    if _unread(about, told):
        return "unsure", "hedged", "the reply calls some things normal and leaves others open"
    if told.open_turn:
        return "unsure", "hedged", "the reply says that all is well and ends in an open remark"
    return "normal", "", ""


def _unread(about: Sequence[Statement], told: Told) -> bool:
    """Whether what was not understood may outweigh that pieces are normal or rules are met."""
    well = [s for s in about if s.says == "normal" and s.claim.whole]
    if well:
        return well[-1].claim.limited
    left = told.unread or any(s.claim.partly for s in about)
    odd = told.odd or any(s.claim.limited for s in about)
    return odd or (left and not any(s.claim.denies for s in about))


def _not_covered(about: Sequence[Statement], told: Told) -> list[int]:
    """Regions that a reply names and says nothing of, where it says "normal" of regions only."""
    well = [s for s in about if s.says == "normal"]
    if not all(s.regions for s in well):
        return []
    return sorted(told.regions - {n for s in well for n in s.regions})


def _look_back(about: Sequence[Statement]) -> None:
    """Let "this may be a defect" and "they are no defects" bear on what stands before."""
    done = 0  # up to here everything was borne on already
    for at, statement in enumerate(about):
        claim = statement.claim
        if not claim.back or statement.says == "anomalous":
            continue
        for earlier in about[done:at] if claim.plural else _near(about, at):
            if earlier.says == "anomalous" and not earlier.concludes:
                earlier.says = statement.says
        done = at if claim.plural else done


def _describe(about: Sequence[Statement]) -> None:
    """Let what is only dark or bright be a description where all is said to be well after it."""
    well = [at for at, s in enumerate(about) if s.says == "normal" and s.claim.whole]
    for statement in about[: well[-1] if well else 0]:
        if statement.claim.weak and statement.says == "anomalous":
            statement.says = "praise"


def _near(about: Sequence[Statement], at: int) -> list[Statement]:
    """The statements of the last sentence before number `at` that says something firmly."""
    sentence, found = -1, list[Statement]()
    for earlier in reversed(about[max(0, at - _NEAR) : at]):
        if earlier.says == "hedged":
            continue
        sentence = earlier.sentence if sentence < 0 else sentence
        if earlier.sentence != sentence or about[at].sentence - sentence > 2:
            break
        found.append(earlier)
    return found


def _conclusion(about: Sequence[Statement], told: Told) -> list[Statement]:
    """The statements of the last sentence that concludes, by its words or by its place."""
    marked = [
        s
        for s in about
        if s.concludes
        and (s.claim.whole or s.says == "anomalous")
        and (s.named or s.sentence != about[0].sentence or s.sentence == about[-1].sentence)
    ]
    if marked:
        last = marked[-1].sentence
        return [s for s in about if s.sentence == last and s.concludes]
    last = about[-1].sentence
    ending = [s for s in about if s.sentence == last]
    if (len(about) > len(ending) and last == told.last) or len(ending) > 1:
        decided = ending[-1]
        if decided.claim.whole and decided.says == "normal" and not decided.claim.excepted:
            return [decided]
    return []


def _concluded(about: Sequence[Statement], conclusion: list[Statement], told: Told) -> Settled:
    says = {s.says for s in conclusion}
    turned = [s for s in conclusion if s.claim.turned]
    if turned and turned[-1].claim.whole and not any(s.claim.excepted for s in conclusion):
        says = {turned[-1].says}
    if "anomalous" in says:
        return "anomalous", "", ""
    if "hedged" in says and "normal" not in says:
        return "unsure", "hedged", "the reply concludes that something may be anomalous"
    if "normal" not in says:
        return "unsure", "hedged", "the reply concludes with praise and does not answer"
    end = about.index(conclusion[-1])
    turns = _Turns(about, told)
    concluding = {id(statement) for statement in conclusion}
    for at, finding in enumerate(about):
        if finding.says != "anomalous" or id(finding) in concluding:
            continue
        if finding.claim.excepted or (at > end and turns.between(end, at)):
            return "anomalous", "", ""
        opening = finding.claim.whole and about[end].concludes
        opening = opening and finding.sentence == about[0].sentence
        if not opening and not turns.between(*sorted((at, end))):
            words = "the reply finds something and concludes that all is well"
            return "unsure", "contradicted", words
    if conclusion[-1].claim.limited:
        return "unsure", "hedged", "the reply concludes that all is well but for something"
    return "normal", "", ""


def _found(about: Sequence[Statement], told: Told) -> Settled:
    """Anomalous findings without a conclusion."""
    turns = _Turns(about, told)
    last = {"anomalous": -1, "normal": -1}
    for at, statement in enumerate(about):
        if statement.says == "normal" and not statement.claim.whole:
            continue
        other = last["normal" if statement.says == "anomalous" else "anomalous"]
        against = statement.says in last and other >= 0 and not statement.claim.excepted
        if against and not about[other].claim.excepted and not turns.between(other, at):
            words = "the reply says both that all is well and that it is not"
            return "unsure", "contradicted", words
        last[statement.says] = at
    return "anomalous", "", ""


class _Turns:
    """Where "but", "however" or the like leads from one statement to another."""

    def __init__(self, about: Sequence[Statement], told: Told) -> None:
        self._about = about
        self._sentences = sorted(told.turns | {s.sentence for s in about if s.claim.turned})

    def between(self, first: int, second: int) -> bool:
        """Whether a turn stands between two statements, by their numbers in order."""
        one, other = self._about[first], self._about[second]
        if other.claim.turned or other.claim.excepted or one.claim.conceded:
            return True
        behind = bisect_right(self._sentences, one.sentence)
        return behind < len(self._sentences) and self._sentences[behind] <= other.sentence
