"""Reads what a model wrote about an image in free text, or in the JSON that was asked for.

How a reply is understood:

| what came                                                | how it is read                        |
|----------------------------------------------------------|---------------------------------------|
| "there is", "shows", "seems to be" a defect              | anomalous, also where its cause is    |
|                                                          | doubted ("which could indicate ...")  |
| "there might be", "depending on the use",                | hedged: unsure                        |
| "cannot be determined", praise that does not answer      |                                       |
| "In conclusion", "Thus", "Overall", the last sentence    | outweighs what stands before          |
| a defect, then "the part is normal" without any turn     | contradicted: unsure                  |
| "there are four where six are required", "red" for       | anomalous                             |
| "must be green", "does not reach", "there is no cap"     |                                       |
| "this is only a shadow", "it may be a shadow"            | takes back or leaves open what stands |
|                                                          | before                                |
| "no defects", "both rules are met", "within limits"      | normal, if nothing above holds        |
| the same of pieces or rules only, next to a sentence or  | hedged                                |
| a clause that says something not understood              |                                       |
| "I can't provide a medical diagnosis" and no finding     | refused: unsure                       |
| empty, cut off before a conclusion, an echo of the       | unparsed: unsure                      |
| question, another language, another image than the       |                                       |
| judged one, a region that is not marked, anything else   |                                       |

Nothing is ever normal without words that say so. The words are data (vqa_answer.json).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from functools import cache
from typing import Literal

from blemish.prompts import _vqa_where as where
from blemish.prompts._vqa_json import read_json
from blemish.prompts._vqa_reading import Finding, Reading
from blemish.prompts._vqa_statements import told
from blemish.prompts._vqa_text import sentences
from blemish.prompts._vqa_told import Asked, Told
from blemish.prompts._vqa_verdict import settle
from blemish.prompts._vqa_words import data
from blemish.prompts.answers import Unreadable, refuses, spoken, without_echo
from blemish.types import Reason, Verdict

__all__ = ["Finding", "Reading", "read", "read_where"]

_DENIES = re.compile(r"\b(?:no|not|none|nothing|neither|nor|without|cannot)\b|n't\b|[?]")
_QUOTED = re.compile(
    r"(\b(?:reads?|reading|says?|saying|written|writing|text|words?|label|sticker|sign|print|printed"
    r"|imprint|caption|note|warning|inscription|stamped)\b[^.\n\"“”'‘’]{0,40})"
    r"(?:\"[^\"\n]{2,300}\"|“[^”\n]{2,300}”|(?<![\w])['‘][^'’\n]{2,300}['’](?!\w))"
)


def read(
    text: str,
    *,
    asked: str = "",
    ended: str = "stop",
    marks: Collection[int] = (),
    images: int = 1,
    judged: Collection[int] = (1,),
) -> Reading:
    """What a reply says of the judged image.

    Args:
        text: the reply.
        asked: the question; what the reply repeats of it is left out, and it decides what a bare
            "yes" means.
        ended: how the reply ended: "stop", "length" or "refused".
        marks: numbers of the regions that were drawn.
        images: how many images were shown.
        judged: which of them the question is about, counted from 1.

    >>> reading = read("No dents. However, there is a scratch at the lower left.")
    >>> reading.verdict, reading.places
    ('anomalous', ('bottom left',))
    """
    repaired: list[str] = []
    if ended == "refused":
        return Reading("unsure", "refused", "the endpoint says that the model refused")
    try:
        text = spoken(text)
        answer = read_json(text, marks, repaired)
        if answer is None:
            question = Asked(_yes(asked), tuple(sorted(marks)), images, tuple(judged))
            answer = _read_text(text, asked, ended, question, repaired)
    except Unreadable as problem:
        return Reading("unsure", "unparsed", str(problem))
    return _against_score(answer)


def read_where(reading: Reading, text: str, marks: Collection[int] = ()) -> Reading:
    """An answer to the question where an anomaly is, which may name no more than the place.

    Args:
        reading: what `read` took from it.
        text: the reply.
        marks: numbers of the regions that were drawn.

    Returns:
        The reading, with a finding for the places of each sentence that denies nothing, where
        `read` could make nothing of it.

    >>> read_where(read("At the top left."), "At the top left.").places
    ('top left',)
    """
    if reading.reason != "unparsed" or not text.strip():
        return reading
    found = []
    for sentence in (one.text for one in sentences(text)):
        regions = where.regions(sentence, bool(marks)) if marks else ()
        places = where.places(sentence)
        if not set(regions) <= set(marks):
            return reading
        if (regions or places) and not _DENIES.search(sentence.lower()):
            found.append(Finding(sentence, "anomalous", regions, places))
    return Reading("anomalous", findings=tuple(found)) if found else reading


def _read_text(text: str, asked: str, ended: str, question: Asked, repaired: list[str]) -> Reading:
    text = without_echo(_QUOTED.sub(r"\1 …", text.replace("\\n", "\n")), asked)
    if not any(letter.isalpha() for letter in text):
        raise Unreadable("the reply only repeats the question")
    score = where.score(text, repaired)
    if score is None and foreign(text):
        raise Unreadable("the reply is not in English")
    said = told(sentences(text), question)
    verdict, reason, words = settle(said, question.judged)
    if re.search(data()["contradicting rules"], text.lower()):
        verdict, reason, words = "unsure", "contradicted", "the rules contradict each other"
    unclear = not any(
        s.says == "anomalous" or (s.says == "normal" and s.claim.whole) for s in said.statements
    )
    if unclear and (re.search(data()["refusals"], text.lower()) or refuses(text.lower())):
        return Reading("unsure", "refused", "the model refused to answer")
    if ended == "length" and not any(s.concludes for s in said.statements):
        raise Unreadable("the reply was cut off before a conclusion")
    findings = _findings(said, question)
    if question.marks:
        for number in (n for finding in findings for n in finding.regions):
            if number not in question.marks:
                raise Unreadable(f"region {number} is not marked")
    if not said.statements and score is not None:
        verdict, reason, words = _by_score(score)
    whole = any(
        found.says == "normal" and re.search(data()["of the whole"], found.words.lower())
        for found in findings
    )
    return Reading(verdict, reason, words, findings, score, tuple(repaired), whole)


def _by_score(score: float) -> tuple[Verdict, Reason, str]:
    """A score that stands alone; a low one is no statement that the part is normal."""
    if score > 0.5:
        return "anomalous", "", ""
    return "unsure", "hedged", "the reply states a low score and says nothing of the part"


def _findings(said: Told, question: Asked) -> tuple[Finding, ...]:
    judged = set(question.judged)
    return tuple(
        Finding(s.words, s.says, s.regions if question.marks else (), s.places)
        for s in said.statements
        if s.says != "praise" and (not s.images or s.images & judged)
    )


def _against_score(reading: Reading) -> Reading:
    """A stated score on the far side of the verdict contradicts it."""
    score = reading.score
    if score is None or reading.verdict == "unsure":
        return reading
    if (reading.verdict == "normal" and score > 0.5) or (
        reading.verdict == "anomalous" and score < 0.2
    ):
        words = f"the reply says {reading.verdict} and states a score of {score:g}"
        return replace(reading, verdict="unsure", reason="contradicted", words=words)
    return reading


def _yes(asked: str) -> Literal["normal", "anomalous"]:
    """What "yes" means: normal only where the question asks for that and not for anomalies."""
    questions = asked.lower()
    normal = re.search(data()["asks for normal"], questions)
    return (
        "normal"
        if normal and not re.search(data()["asks for anomalies"], questions)
        else "anomalous"
    )


def foreign(text: str) -> bool:
    """Whether a text is not English: by its script, or by the small words that it uses."""
    letters = [letter for letter in text if letter.isalpha()]
    if sum(ord(letter) > 0x24F for letter in letters) * 3 > len(letters):
        return True
    english, others = _small_words()
    words = re.findall(r"[^\W\d_]+", text.lower())
    of_english = sum(word in english for word in words)
    of_others = sum(word in others for word in words)
    if of_others > of_english:
        return True
    accented = any(ord(letter) > 0x7F for letter in letters)
    return not of_english and len(words) >= 3 and accented


@cache
def _small_words() -> tuple[frozenset[str], frozenset[str]]:
    languages = data()["languages"]
    english = frozenset(languages["en"])
    return english, frozenset(languages["others"]) - english
