"""How good verdicts, calibrated scores and repeated answers are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike

from blemish.errors import InputError, OptionError, UndefinedMetricError
from blemish.metrics import _checks
from blemish.types import Verdict


@dataclass(frozen=True)
class VerdictFigures:
    """What a plant sees of verdicts, each in [0, 1].

    "unsure" is never right: it counts against accuracy, balanced accuracy, recall and F1, and
    `coverage` stands beside them. It is neither overkill nor a miss, and not in precision, since
    nothing was called anomalous.

    Attributes:
        accuracy: share of parts whose verdict is right.
        coverage: share of parts that got a verdict other than "unsure".
        balanced_accuracy: mean of recall and the share of good parts called normal; None without
            a good or without a defective part.
        precision: share of defective parts among those called anomalous; None where none was.
        recall: share of defective parts called anomalous; None without a defective part.
        f1: 2 TP / (defective parts + parts called anomalous); None without a defective part.
        overkill: share of good parts called anomalous; None without a good part.
        miss: share of defective parts called normal; None without a defective part.
        unsure: share of parts called "unsure".
    """

    accuracy: float
    coverage: float
    balanced_accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    overkill: float | None
    miss: float | None
    unsure: float


def verdict_figures(labels: ArrayLike, verdicts: Sequence[Verdict]) -> VerdictFigures:
    """Count verdicts against the truth.

    Args:
        labels: (N,) bool or 0 and 1, True where anomalous.
        verdicts: N times "normal", "anomalous" or "unsure".

    Raises:
        UndefinedMetricError: nothing came.
        InputError: a verdict is unknown, or there are not as many as labels.

    >>> found = verdict_figures([1, 1, 0, 0], ["anomalous", "unsure", "normal", "anomalous"])
    >>> found.accuracy, found.coverage, found.recall, found.overkill, found.miss
    (0.5, 0.75, 0.5, 0.5, 0.0)
    """
    truth = _checks.labels_of(labels)
    if len(verdicts) != truth.size:
        raise InputError(f"{truth.size} labels came with {len(verdicts)} verdicts.")
    for number, verdict in enumerate(verdicts):
        if verdict not in get_args(Verdict):
            raise InputError(
                f"verdicts[{number}] is {verdict!r}; expected one of {get_args(Verdict)}."
            )
    said = np.asarray(verdicts)
    called, passed = said == "anomalous", said == "normal"
    defective, good = int(truth.sum()), int((~truth).sum())
    hits, passes = int((called & truth).sum()), int((passed & ~truth).sum())
    recall, spared = _share(hits, defective), _share(passes, good)
    return VerdictFigures(
        accuracy=(hits + passes) / truth.size,
        coverage=float((called | passed).mean()),
        balanced_accuracy=None if recall is None or spared is None else (recall + spared) / 2.0,
        precision=_share(hits, int(called.sum())),
        recall=recall,
        f1=_share(2 * hits, defective + int(called.sum())) if defective else None,
        overkill=_share(int((called & ~truth).sum()), good),
        miss=_share(int((passed & truth).sum()), defective),
        unsure=float((said == "unsure").mean()),
    )


def expected_calibration_error(labels: ArrayLike, scores: ArrayLike, bins: int = 15) -> float:
    """How far scores are from the frequencies they promise (Guo et al., ICML 2017).

    A score is taken as the probability of "anomalous": in each of the equal-width bins (from, to]
    its mean is compared with the share of anomalous samples, weighted by the bin's samples.

    Args:
        labels: (N,) bool or 0 and 1, True where anomalous.
        scores: (N,) float in [0, 1].
        bins: how many, at least 1; 0 belongs to the first.

    Returns:
        In [0, 1], 0 is best.

    Raises:
        UndefinedMetricError: nothing came.
        InputError: a score is outside [0, 1] or NaN, or shapes do not fit.

    >>> round(expected_calibration_error([0, 1, 1, 1], [0.1, 0.9, 0.9, 0.9]), 6)
    0.1
    """
    if bins < 1:
        raise OptionError(f"{bins} bins were asked for; expected at least 1.")
    truth = _checks.labels_of(labels)
    values = _checks.scores_of(scores, truth.size)
    outside = np.flatnonzero((values < 0.0) | (values > 1.0))
    if outside.size:
        raise InputError(
            f"scores[{outside[0]}] is {values[outside[0]]}; expected calibrated scores in [0, 1]."
        )
    place = np.searchsorted(np.linspace(0.0, 1.0, bins + 1)[1:-1], values, "left")
    gaps = np.bincount(place, weights=values - truth)
    return float(np.abs(gaps).sum() / truth.size)


@dataclass(frozen=True)
class Agreement:
    """How much repeated answers agree.

    Attributes:
        pairwise: share of pairs of answers to one item that are equal, mean over items, in [0, 1].
        kappa: Fleiss' kappa, that share corrected for chance, at most 1; None where every answer
            to every item is the same, so that chance alone explains it.
    """

    pairwise: float
    kappa: float | None


def agreement(answers: Sequence[Sequence[Hashable]]) -> Agreement:
    """Compare answers to the same item with each other (Fleiss, Psychological Bulletin 1971).

    Args:
        answers: per item its answers, such as verdicts; two or more, as many for every item.

    Raises:
        UndefinedMetricError: no item came, or one answer an item.
        InputError: an item has another number of answers than the first.

    >>> agreement([["yes", "yes"], ["no", "no"], ["yes", "no"], ["no", "yes"]])
    Agreement(pairwise=0.5, kappa=0.0)
    """
    if not answers or len(answers[0]) < 2:
        raise UndefinedMetricError("Agreement needs at least one item with two or more answers.")
    repeats = len(answers[0])
    for number, item in enumerate(answers):
        if len(item) != repeats:
            raise InputError(
                f"Item {number} has {len(item)} answers, the first has {repeats}; kappa needs as "
                "many for every item. Put 'unsure' where an answer could not be used."
            )
    equal = sum(n * (n - 1) for item in answers for n in Counter(item).values())
    pairwise = equal / (len(answers) * repeats * (repeats - 1))
    totals = Counter(answer for item in answers for answer in item)
    if len(totals) == 1:
        return Agreement(pairwise, None)
    chance = sum((n / (len(answers) * repeats)) ** 2 for n in totals.values())
    return Agreement(pairwise, (pairwise - chance) / (1.0 - chance))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
