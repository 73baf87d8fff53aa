"""Scores as expected values over the tokens that the model weighed, in place of written ones."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from blemish.types import Token

ALTERNATIVES = 10
"""Tokens to ask for at each place: as many as there are digits."""
_SCORE = r"(?P<score>[01]?\.[0-9]+|[01])(?![0-9%]|[.,][0-9])"
_WRITTEN = (
    re.compile(rf"region (?P<region>[0-9]+)\"?: ?{_SCORE}", re.IGNORECASE),
    re.compile(rf"\"number\"\s*:\s*(?P<region>[0-9]+)\s*,\s*\"score\"\s*:\s*{_SCORE}"),
)
_IMAGE = re.compile(rf"(?:image anomaly score|\"image_score\")\s*:\s*{_SCORE}", re.IGNORECASE)
_NUMBER = re.compile(r"[01]?\.[0-9]*|[01](?![0-9])")


def expected_scores(
    tokens: Sequence[Token], scores: Mapping[int, float], image_score: float | None
) -> tuple[dict[int, float], float | None] | None:
    """The scores of an answer as expected values.

    At each token of a written number, what was chosen and the alternatives that go on with it to a
    number from 0 to 1 share the probability; other alternatives are left out. The value of a branch
    is the number as far as it goes: where "0", ".", "9" was written, "1" in place of "0" counts
    as 1, and "8" in place of "9" as 0.8.

    Args:
        tokens: of the reply, with alternatives.
        scores: as they were read from the reply.
        image_score: as it was read.

    Returns:
        The same with expected values; None where the reply has no tokens, or is not written so
        plainly that every score can be found in them.
    """
    text = "".join(token.text for token in tokens)
    places: dict[int, re.Match[str]] = {}
    for pattern in _WRITTEN:
        places |= {int(m["region"]): m for m in pattern.finditer(text)}
    image = _IMAGE.search(text)
    plainly = {number: float(place["score"]) for number, place in places.items()}
    written = float(image["score"]) if image else None
    if not tokens or plainly != dict(scores) or written != image_score:
        return None
    found = {number: _expected(tokens, *places[number].span("score")) for number in scores}
    return found, _expected(tokens, *image.span("score")) if image else None


def _expected(tokens: Sequence[Token], start: int, end: int) -> float:
    """The expected value of the number that stands at text[start:end]."""
    total, reached, before, place = 0.0, 1.0, "", 0
    for token in tokens:
        begins, place = place, place + len(token.text)
        if place <= start or begins >= end:
            continue
        lead = token.text[: max(0, start - begins)]
        own = token.text[len(lead) : end - begins]
        weights = {}
        for other, logprob in token.others.items():
            value = _value(before, other[len(lead) :]) if other.startswith(lead) else None
            if other != token.text and value is not None:
                weights[other] = (_probability(logprob), value)
        chosen = _probability(token.logprob)
        mass = chosen + sum(weight for weight, _ in weights.values())
        total += reached * sum(weight * value for weight, value in weights.values()) / mass
        reached *= chosen / mass
        before += own
    return total + reached * float(before)


def _value(before: str, other: str) -> float | None:
    """The number from 0 to 1 that a token makes of what stands before it, or None."""
    found = _NUMBER.match(before + other)
    if not found or found.end() == len(before) or found[0] == "." or float(found[0]) > 1:
        return None
    return float(found[0])


def _probability(logprob: float) -> float:
    return max(math.exp(min(logprob, 0.0)), 1e-12)  # some endpoints write -9999 for none
