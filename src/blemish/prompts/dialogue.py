"""Talking about an inspection: what a question is about, what evidence can say, what is told.

Wordings, patterns and word lists are data (dialogue.json). What a question is about is decided by
rule, before any model is asked:

| a question                               | is about          | who answers            |
|------------------------------------------|-------------------|------------------------|
| in another language                      | "foreign"         | a fixed sentence       |
| about this part, of a known topic        | the topic         | the model, checked     |
| whether this part is good                | "presence"        | the map, by rule       |
| of what kind an anomaly is               | "kind"            | a ranking, if there is |
| what is in the picture, of a named class | "object"          | a fixed sentence       |
| about this part, anything else           | "beyond"          | a fixed sentence       |
| about no part: small talk, general terms | "general"         | the model, marked so   |

Where a question is about several things, one of them beyond the evidence, it is beyond.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from blemish.places import POSITIONS, positions
from blemish.prompts import anomalygpt as prompts
from blemish.prompts import apg, vqa_answer
from blemish.prompts._dialogue_topics import Asked, about, data, language
from blemish.prompts._vqa_where import places
from blemish.prompts.anomalygpt import Marked, Told, marked
from blemish.prompts.contrast import called
from blemish.types import Inspection, Mask, Sample, Verdict

__all__ = [
    "Asked", "Finding", "about", "by_rule", "correction", "explain", "finding", "found", "language",
    "objection", "own_words", "preface", "question", "references", "rules",
]  # fmt: skip

_MAPPED = ("presence", "place", "number", "appearance")
"""Topics on which the map itself has an answer."""
_LISTED, _NAMED = 12, 60
"""Places and letters of a class's name that a chat model is told at most."""


@dataclass(frozen=True)
class Finding:
    """What an inspection says, for words to be held against.

    Attributes:
        verdict: of the inspection.
        reason: why it is unsure.
        marked: its regions, counted and placed as answers are taught.
        touched: words of all cells that they touch.
        explanation: of the inspection.
        kinds: what its detector says of the kind of an anomaly; "" for one that never can.
    """

    verdict: Verdict
    reason: str
    marked: Marked
    touched: frozenset[str]
    explanation: str
    kinds: str = ""


def by_rule(asked: Asked, finding: Finding, class_name: str) -> str | None:
    """The answer that needs no language model; None where one is to be asked.

    What is in the picture is what the person called it: a map knows nothing of that.
    """
    if asked.about == "foreign":
        return str(_says()["foreign"].format(language=asked.language))
    if asked.about == "beyond":
        return prompts.answer(finding.marked, about="beyond")
    if asked.about == "object":
        return prompts.shown(class_name)
    if asked.about == "presence" and finding.verdict == "unsure":
        return own_words(finding)
    if asked.turned:
        return _turned(own_words(finding))
    if asked.about == "kind" and finding.kinds and finding.verdict != "normal":
        doubt = own_words(finding) if finding.verdict == "unsure" else ""
        return f"{doubt} {finding.kinds}".strip()
    return None


def preface(asked: Asked) -> str:
    """What stands before an answer that is the language model's own; "" before any other."""
    return str(_says()["own words"]) if asked.about == "general" else ""


def finding(sample: Sample, inspection: Inspection) -> Finding:
    """What an inspection says of a sample; regions of all views together."""
    masks = [_mask(view, n, inspection) for n, view in enumerate(sample.images)]
    seen = [marked(mask) for mask in masks]
    largest = max(seen, key=lambda one: one.share)
    together = Marked(
        sum(one.number for one in seen),
        tuple(place for place in POSITIONS if any(place in one.places for one in seen)),
        largest.share,
        largest.long,
    )
    touched = frozenset(place for mask in masks for place in positions(mask))
    verdict, reason = inspection.verdict, inspection.reason
    evidence = inspection.evidence
    kinds = apg.ranked(evidence["kinds"]) if "kinds" in evidence else evidence.get("no_kinds", "")
    return Finding(verdict, reason, together, touched, inspection.explanation, kinds)


def own_words(finding: Finding, about: str = "presence") -> str:
    """What the map says on one of its topics; on another, whether there is an anomaly."""
    topic = about if about in _MAPPED else "presence"
    if finding.verdict == "normal":
        return prompts.answer(Marked(), about=topic)
    if finding.verdict == "anomalous" and finding.marked.number:
        return prompts.answer(finding.marked, about=topic)
    if finding.verdict == "anomalous":
        return finding.explanation or "The part as a whole is anomalous."
    lies = _says()["odd"].format(places=", ".join(finding.marked.places))
    said = lies if finding.marked.places else finding.explanation
    return str(_says()["unsure"].format(reason=finding.reason, finding=said)).strip()


def correction(answer: str, question: str, asked: Asked, finding: Finding) -> str:
    """What has to follow on AnomalyGPT's answer: the map's own words where they differ; else "".

    An answer about the presence, place, number or appearance of anomalies has to say what the map
    says: the verdict, no place that the map leaves free, each place of a place question, the
    number of a number question. On other topics it must not deny the verdict.
    """
    if asked.about == "general":
        return ""
    told = prompts.read(answer, asked=question)
    if told.verdict == "yes" and not told.places:  # "Yes" to "Is it at the top?"
        named = tuple(place for place in POSITIONS if place in places(question))
        told = Told("yes", named, told.number)
    wrong = _denies(told, finding) or bool(finding.touched and set(told.places) - finding.touched)
    if asked.about in _MAPPED:
        wrong = wrong or told.verdict == "unclear"
    if asked.about == "place" and finding.verdict != "normal":
        wrong = wrong or bool(set(finding.marked.places) - set(told.places))
    if asked.about == "number" and finding.verdict == "anomalous":
        wrong = wrong or told.number != finding.marked.number
    words = own_words(finding, asked.about)
    return str(_says()["contradicted"].format(finding=words)) if wrong else ""


def objection(
    answer: str,
    question: str,
    finding: Finding,
    *,
    images: int = 1,
    judged: Collection[int] = (1,),
    ended: Literal["stop", "length", "refused"] = "stop",
) -> str:
    """What has to follow on any chat model's answer that contradicts the finding; else "".

    Args:
        answer: of the chat model, in free words.
        question: that it answers.
        finding: of the detector, which words never lower.
        images: that were shown.
        judged: those of the part that the question is about, from 1.
        ended: how the answer ended.
    """
    reading = vqa_answer.read(answer, asked=question, images=images, judged=judged, ended=ended)
    says: dict[Verdict, Literal["yes", "no", "unclear"]]
    says = {"anomalous": "yes", "normal": "no", "unsure": "unclear"}
    told = Told(says[reading.verdict], reading.places)
    elsewhere = bool(told.places and finding.touched) and not finding.touched & set(told.places)
    if not _denies(told, finding) and not elsewhere:
        return ""
    return str(_says()["lowered"].format(finding=own_words(finding)))


def rules() -> str:
    """What a chat model is told before everything else."""
    return str(data()["chat"]["rules"])


def references(number: int) -> str:
    """What stands before so many pictures of good parts."""
    return str(data()["chat"]["references"].format(number=number))


def found(number: int, name: str, inspection: Inspection, pictures: int) -> str:
    """What a chat model is told of a part.

    Args:
        number: of the part in the conversation, from 1.
        name: what it is called.
        inspection: of a detector.
        pictures: of the part that follow: 2 where one of them is with the map, 1, or 0.
    """
    says = data()["chat"]
    shown = ("not shown", "without map", "pictures")[pictures]
    score, regions = inspection.score, inspection.regions
    listed = [says["place"].format(position=r.position, score=r.score) for r in regions[:_LISTED]]
    places = says["marked"].format(number=len(regions), places=", ".join(listed))
    told = says["part"].format(
        number=number,
        name=_plainly(name),
        pictures=says[shown],
        verdict=inspection.verdict,
        reason=says["reason"].format(reason=inspection.reason) if inspection.reason else "",
        score="" if score is None else says["score"].format(score=score),
        decided_by=inspection.decided_by,
        marked=places if regions else says["nothing marked"],
        words=says["words"].format(words=inspection.explanation) if inspection.explanation else "",
    )
    return str(told).strip()


def question(asked: str, part: int, parts: int) -> str:
    """A person's question; of several parts it says which one is meant, by its number from 1."""
    return asked if parts < 2 else str(data()["chat"]["about"].format(number=part, question=asked))


def explain() -> str:
    """What a chat model is asked where it only explains a verdict."""
    return str(data()["chat"]["explain"])


def _plainly(name: str) -> str:
    """A class's name on one line, of a bounded length: it may come from a folder or a form."""
    return " ".join(called(name).split())[:_NAMED] or "object"


def _denies(told: Told, finding: Finding) -> bool:
    """Whether words say another verdict than the finding; of an unsure one, that all is normal."""
    if finding.verdict == "normal":
        return told.verdict == "yes"
    return told.verdict == "no"


def _turned(words: str) -> str:
    """What the map says of the presence of anomalies, as the answer to whether the part is good."""
    begin, comma, rest = words.partition(", ")
    other = {"Yes": "No", "No": "Yes"}.get(begin)
    return f"{other}{comma}{rest}" if other else f"No. {words}"


def _mask(view: Any, number: int, inspection: Inspection) -> Mask:
    mask = np.zeros(view.shape[:2], np.bool_)
    for region in inspection.regions:
        if region.view == number:
            x0, y0, x1, y1 = region.box
            mask[y0:y1, x0:x1] |= region.mask
    return mask


def _says() -> dict[str, str]:
    return dict(data()["says"])
