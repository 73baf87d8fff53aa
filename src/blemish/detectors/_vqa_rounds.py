"""A conversation about one sample: the question, then further ones for what is missing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from blemish.prompts import vqa
from blemish.prompts.vqa_answer import Reading
from blemish.types import ChatModel, Message, Reason, Reply, Token, Verdict

ALTERNATIVES = 20
"""Tokens to ask for where "yes" is weighed against "no"."""
_NAMES_RULE = re.compile(r"\b(?:rule|requirement|criterion|standard)s?\W{0,3}(?:no\.? ?|#)?[0-9]")
_COUNTS = re.compile(r"\b(?:[0-9]+|one|two|three|four|five|six|seven|eight|nine|ten)\b", re.I)


@dataclass(frozen=True, eq=False)
class Round:
    """One question with its reply and what was understood.

    Attributes:
        kind: "" for the first question, else what was missing.
        asked: its text.
        reply: as the model gave it.
        reading: what it says.
    """

    kind: str
    asked: str
    reply: Reply
    reading: Reading


@dataclass(frozen=True)
class Conclusion:
    """What a conversation says.

    Attributes:
        verdict: of the rounds together; "unsure" where they differ.
        reason: why it is unsure.
        words: the same for a person.
        score: in [0, 1]; None where nothing was said that could be one.
        regions: numbers of marked regions that are called anomalous.
        places: position words for anomalies.
        reasons: the anomalous findings, in the model's words.
    """

    verdict: Verdict
    reason: Reason
    words: str
    score: float | None
    regions: tuple[int, ...]
    places: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What a conversation is to end with.

    Attributes:
        places: where an anomaly lies, in numbers or words.
        marked: the places have numbers.
        rules: how many rules a normal part obeys; 0 where none are given.
        counts: a rule has a number in it.
        closed: a closing question to be answered yes or no, for its probabilities.
        follow_ups: further questions at most; the closing one is not among them.
    """

    places: bool
    marked: bool
    rules: int
    counts: bool
    closed: bool
    follow_ups: int

    @classmethod
    def of(cls, task: str, rules: Sequence[str], closed: bool, follow_ups: int) -> Wanted:
        """What a task wants; time series have no place words that anyone would trust."""
        counts = task == "logical" and any(_COUNTS.search(rule) for rule in rules)
        marked = task.endswith("localisation")
        return cls(task != "time-series", marked, len(rules), counts, closed, follow_ups)


def converse(
    model: ChatModel,
    first: Message,
    read: Callable[[Reply, str, str], Reading],
    wanted: Wanted,
    attempt: int = 0,
    schema: dict[str, object] | None = None,
) -> list[Round]:
    """Ask, and ask again for what is missing; each kind of further question once at most.

    Args:
        model: is asked.
        first: the first question.
        read: understands a reply to a question of a kind.
        wanted: what is to be known at the end.
        attempt: tells repeated conversations apart.
        schema: that the first answer is held to.
    """
    said = [first]
    reply = model.chat(said, schema=schema, attempt=attempt)
    rounds = [Round("", first.text, reply, read(reply, first.text, ""))]

    def further(kind: vqa.FollowUp, logprobs: int = 0) -> Round:
        asked = vqa.follow_up(kind, marked=wanted.marked)
        # An empty turn is refused by many chat templates.
        said.append(Message("assistant", rounds[-1].reply.text.strip() or "..."))
        said.append(Message("user", asked))
        reply = model.chat(said, logprobs=logprobs, attempt=attempt)
        return Round(kind, asked, reply, read(reply, asked, kind))

    while len(rounds) <= wanted.follow_ups and (kind := _missing(rounds, wanted)):
        rounds.append(further(kind))
    if wanted.closed and conclude(rounds).reason != "refused":
        rounds.append(further("verdict", ALTERNATIVES))
    return rounds


def _missing(rounds: Sequence[Round], wanted: Wanted) -> vqa.FollowUp | None:
    """What to ask for next: a verdict before a place, a place before a rule, then a recount.

    A part that is called normal piece by piece only is asked about as a whole.
    """
    asked = {one.kind for one in rounds}
    so_far = conclude(rounds)
    if so_far.reason == "refused":
        return None
    whole = any(one.reading.whole for one in rounds)
    open_ = {
        # The closing question is the same one, and comes anyway.
        "verdict": not wanted.closed
        and (so_far.verdict == "unsure" or (so_far.verdict == "normal" and not whole)),
        "where": wanted.places
        and so_far.verdict == "anomalous"
        and not (so_far.regions or so_far.places),
        "rule": wanted.rules > 1
        and so_far.verdict == "anomalous"
        and not any(_NAMES_RULE.search(one.reply.text.lower()) for one in rounds),
        "count": wanted.counts and so_far.verdict == "normal",
    }
    kinds: tuple[vqa.FollowUp, ...] = ("verdict", "where", "rule", "count")
    return next((kind for kind in kinds if open_[kind] and kind not in asked), None)


def conclude(rounds: Sequence[Round]) -> Conclusion:
    """What the rounds say together.

    The first round that is sure gives the verdict; a later one that is sure of the opposite makes
    it "unsure". Places and reasons come from all rounds. A closing question adds its probability.
    """
    readings = [one.reading for one in rounds]
    sure = [reading for reading in readings if reading.verdict != "unsure"]
    verdicts = {reading.verdict for reading in sure}
    reason: Reason = ""
    words = ""
    verdict: Verdict = sure[0].verdict if sure else "unsure"
    if len(verdicts) > 1:
        verdict, reason = "unsure", "contradicted"
        words = "asked again, the model turned its answer round"
    elif not sure:
        reason, words = readings[0].reason, readings[0].words
    stated = [reading.score for reading in readings if reading.score is not None]
    weighed = [p for one in rounds if (p := yes(one.reply.tokens)) is not None]
    by_verdict = {"anomalous": 1.0, "normal": 0.0}
    hedged = 0.5 if reason in ("hedged", "contradicted") else None
    score = [*weighed[-1:], *stated[-1:], by_verdict.get(verdict, hedged)][0]
    return Conclusion(verdict, reason, words, score, *_pooled(readings))


def together(conclusions: Sequence[Conclusion], threshold: float) -> Conclusion:
    """Repeated conversations as one: where they differ, by the mean of their scores.

    At least half of them must have a score; the others count for nothing.
    """
    first = conclusions[0]
    if len(conclusions) == 1:
        return first
    scores = [one.score for one in conclusions if one.score is not None]
    verdicts = {one.verdict for one in conclusions}
    verdict, reason, words = first.verdict, first.reason, first.words
    score = fmean(scores) if scores else None
    if 2 * len(scores) < len(conclusions):
        lost = next(one for one in conclusions if one.score is None)
        verdict, reason, words, score = "unsure", lost.reason, lost.words, None
    elif len(verdicts) > 1:
        assert score is not None
        verdict = "anomalous" if score >= threshold else "normal"
        reason = words = ""
        share = sum(one.verdict == verdict for one in conclusions) / len(conclusions)
        if share <= 0.6:
            verdict, reason = "unsure", "contradicted"
            words = f"asked {len(conclusions)} times, the model gave different answers"
    return Conclusion(verdict, reason, words, score, *_pooled(conclusions))


def yes(tokens: Sequence[Token]) -> float | None:
    """The probability of "yes" against "no" at the first token that is either; None without.

    >>> round(yes([Token("Yes", -0.1, {"Yes": -0.1, "No": -2.4})]), 2)
    0.91
    """
    for token in tokens:
        others = {token.text: token.logprob, **token.others}
        mass = {"yes": 0.0, "no": 0.0}
        for text, logprob in others.items():
            word = text.strip().strip(".,!*\"'").lower()
            if word in mass:
                mass[word] += math.exp(min(logprob, 0.0))
        if sum(mass.values()) and token.text.strip().strip(".,!*\"'").lower() in mass:
            return mass["yes"] / sum(mass.values())
    return None


def _pooled(
    said: Sequence[Reading | Conclusion],
) -> tuple[tuple[int, ...], tuple[str, ...], tuple[str, ...]]:
    """Regions, places and reasons of all of them, each once."""
    return (
        tuple(dict.fromkeys(number for one in said for number in one.regions)),
        tuple(dict.fromkeys(place for one in said for place in one.places)),
        tuple(dict.fromkeys(cause for one in said for cause in one.reasons)),
    )
