"""From raw scores to a score, a verdict and an operating point, learnt from normal parts only.

The rule. A detector's raw scores of normal parts are taken as log-normal. From the n scores that
the references themselves get (each left out of the bank it is judged by) follow a location and a
scale, the scale drawn towards a prior, since three references say little about spread. The
chance that a further normal part scores at least `raw` is then the upper tail of Student's
t-distribution (the normal-inverse-chi-squared predictive distribution; Gelman et al., Bayesian
Data Analysis, 3rd ed., section 3.3):

    p(raw) = T_df((log raw - location) / (scale * sqrt(1 + 1/n)) upwards),   df = n - 1 + PRIOR_DF

Raw scores with an upper end, such as probabilities, are taken as logistic-normal: the logarithm of
their odds stands in for that of the score, with a prior of its own.

The calibrated score is a / (a + p), where a is the false alarm target: 0.5 where a normal part
would be called anomalous with chance a, and towards 1 as normal parts get ever less likely to
score so high. Moving the operating point changes a and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from blemish.errors import InputError, OptionError, SavedError
from blemish.types import DecidedBy, Reason, Verdict

FALSE_ALARMS = 0.05
"""Default target: five normal parts in a hundred score above the operating point."""
UNSURE = (0.4, 0.6)
"""Calibrated scores inside this band give the verdict "unsure": a chance of a normal part scoring
so high between 2/3 and 3/2 of the false alarm target."""
PRIOR_SCALE = 0.12
PRIOR_DF = 8.0
"""Prior of the scale of log scores, and its weight in references."""
COPIES_SHIFT = 0.10
COPIES_SCALE = 0.45
COPIES_DF = 21.0
"""What changed copies of one reference say of further parts: those score higher by this logarithm,
give or take this scale, over 22 references. These and the prior come from procedural parts
(docs/measurements.md)."""
LEFT_OUT_SHIFT = 0.5
"""A reference that is left out of a memory bank of n scores higher than a further good part does,
which has all n to be like, by this logarithm over n (made-up parts, the map's maximum)."""
RISE, RISE_SCALE = 1.0, 0.7
"""The logarithm by which anomalous parts score higher than normal ones, and its spread (made-up
parts)."""
MOST_ALARMS = 0.2
"""A missed defect that one further good part in five would outdo moves no operating point: past
that nobody would look at a line's findings any more (chosen by reason)."""
ODDS_PRIOR_SCALE = 1.0
ODDS_COPIES_SHIFT = 0.5
ODDS_COPIES_SCALE = 1.5
"""The same for log-odds: chosen by reason, since no detector with such scores could be measured."""
_ABOVE = UNSURE[1] / (1 - UNSURE[1])
"""By how much the target exceeds the chance of a score where the band ends upwards."""
_SMALLEST = 1e-6  # a raw score of zero has no logarithm


class OperatingPoint(Protocol):
    """What turns raw scores and maps into scores in [0, 1], verdicts and regions."""

    @property
    def decided_by(self) -> DecidedBy:
        """Who decides, for inspections."""
        ...

    @property
    def rule(self) -> str:
        """One sentence: what it was made from."""
        ...

    @property
    def threshold(self) -> float:
        """The raw score where the score is 0.5."""
        ...

    @overload
    def score(self, raw: float) -> float: ...
    @overload
    def score(self, raw: NDArray[np.floating[Any]]) -> NDArray[np.float32]: ...
    def score(self, raw: float | NDArray[np.floating[Any]]) -> float | NDArray[np.float32]:
        """The score in [0, 1] of a raw score, or of every pixel of a map; 0.5 at the threshold."""
        ...

    def verdict(self, raw: float) -> tuple[Verdict, Reason]:
        """The verdict on a raw score, with the reason where it is unsure."""
        ...


@dataclass(frozen=True)
class Probability:
    """The operating point of raw scores that are probabilities, where no normal part is known.

    They are their own scores, and one half decides, with the same band as a calibration's.
    """

    decided_by: ClassVar[DecidedBy] = "probability"
    rule: ClassVar[str] = "the probability of an anomaly against one half; no normal part is known"
    threshold: ClassVar[float] = 0.5

    @overload
    def score(self, raw: float) -> float: ...
    @overload
    def score(self, raw: NDArray[np.floating[Any]]) -> NDArray[np.float32]: ...
    def score(self, raw: float | NDArray[np.floating[Any]]) -> float | NDArray[np.float32]:
        """The raw score itself, or the raw map."""
        if isinstance(raw, np.ndarray):
            return np.asarray(np.clip(raw, 0, 1), np.float32)
        return min(max(float(raw), 0.0), 1.0)

    def verdict(self, raw: float) -> tuple[Verdict, Reason]:
        """The verdict on a raw score, with the reason where it is unsure."""
        return _verdict(self.score(raw))


@dataclass(frozen=True)
class Calibration:
    """The operating point of a fitted detector.

    Attributes:
        location: mean of the natural logarithm of the normal raw scores.
        scale: their standard deviation, drawn towards the prior.
        n: how many normal scores it was made from.
        df: degrees of freedom of the predictive t-distribution.
        false_alarms: the target a, the share of normal parts that may score above 0.5.
        rule: one sentence for reports: what it was made from.
        bound: the upper end of the raw scores, whose log-odds are then what is normal; None for
            scores without one.
        corrected: whether `left_out` made it.
    """

    decided_by: ClassVar[DecidedBy] = "calibration"

    location: float
    scale: float
    n: int
    df: float
    false_alarms: float = FALSE_ALARMS
    rule: str = ""
    bound: float | None = None
    corrected: bool = False

    def __post_init__(self) -> None:
        check_false_alarms(self.false_alarms)
        values = (self.location, self.scale, self.df)
        if not all(map(math.isfinite, values)) or self.scale <= 0 or self.df <= 0 or self.n < 1:
            raise InputError(
                f"Calibration with location {self.location}, scale {self.scale}, n {self.n} and "
                f"df {self.df}; expected finite numbers, all but the location above 0."
            )

    @classmethod
    def from_normals(
        cls,
        raw: Sequence[float],
        *,
        false_alarms: float = FALSE_ALARMS,
        rule: str = "",
        bound: float | None = None,
    ) -> Calibration:
        """Learn from the raw scores of normal parts.

        Args:
            raw: at least one raw score, each >= 0, higher is more anomalous.
            false_alarms: target share of normal parts above the operating point, in (0, 0.5].
            rule: what the scores are, for reports.
            bound: their upper end, where they have one.

        Raises:
            InputError: no score, or one that is not finite.
        """
        logs = _logs(raw, bound)
        prior = PRIOR_SCALE if bound is None else ODDS_PRIOR_SCALE
        n = len(logs)
        squares = float(((logs - logs.mean()) ** 2).sum())
        df = n - 1 + PRIOR_DF
        scale = math.sqrt((PRIOR_DF * prior**2 + squares) / df)
        return cls(float(logs.mean()), scale, n, df, false_alarms, rule, bound)

    @classmethod
    def from_copies(
        cls,
        raw: Sequence[float],
        *,
        false_alarms: float = FALSE_ALARMS,
        rule: str = "",
        bound: float | None = None,
    ) -> Calibration:
        """Learn from the raw scores of changed copies of the only reference.

        Copies are more like their original than another good part is, so the location is raised
        and the scale is one that was measured, not the copies' own.
        """
        shift, scale = COPIES_SHIFT, COPIES_SCALE
        if bound is not None:
            shift, scale = ODDS_COPIES_SHIFT, ODDS_COPIES_SCALE
        location = float(_logs(raw, bound).mean()) + shift
        return cls(location, scale, len(raw), COPIES_DF, false_alarms, rule, bound)

    @classmethod
    def from_mixed(
        cls, raw: Sequence[float], *, false_alarms: float = FALSE_ALARMS, rule: str = ""
    ) -> Calibration:
        """Learn from a folder in which most parts are normal, but some are not.

        Location and scale come from the median and from the lower half only (the median minus the
        16th percentile), which defective parts do not reach while they are in the minority.
        """
        logs = _logs(raw)
        n = len(logs)
        median, low = np.quantile(logs, [0.5, 0.1587])
        df = n - 1 + PRIOR_DF
        scale = math.sqrt((PRIOR_DF * PRIOR_SCALE**2 + (n - 1) * (median - low) ** 2) / df)
        return cls(float(median), scale, n, df, false_alarms, rule)

    @property
    def threshold(self) -> float:
        """The raw score at the operating point, where the calibrated score is 0.5."""
        from scipy.special import stdtrit

        at = self.location + stdtrit(self.df, 1 - self.false_alarms) * self._wide
        return float(_raw(at, self.bound))

    @property
    def alarms(self) -> float:
        """The share of further normal parts that are expected to get the verdict "anomalous".

        As `left_out` has them: it is what `finding` keeps to `MOST_ALARMS`, and less than the
        target, since some parts above the operating point are unsure.
        """
        from scipy.special import stdtr, stdtrit

        at = self.location + stdtrit(self.df, 1 - self.false_alarms / _ABOVE) * self._wide
        return float(stdtr(self.df, (self.left_out().location - at) / self._wide))

    @property
    def _wide(self) -> float:
        return self.scale * math.sqrt(1 + 1 / self.n)

    @overload
    def score(self, raw: float) -> float: ...
    @overload
    def score(self, raw: NDArray[np.floating[Any]]) -> NDArray[np.float32]: ...
    def score(self, raw: float | NDArray[np.floating[Any]]) -> float | NDArray[np.float32]:
        """The calibrated score in [0, 1] of a raw score, or of every pixel of a raw map.

        Args:
            raw: a raw score, or a map (H, W) float.

        Returns:
            A float, or (H, W) float32; rises with `raw`, 0.5 at the operating point.
        """
        score = self.false_alarms / (self.false_alarms + self._chance(raw))
        return score.astype(np.float32) if isinstance(raw, np.ndarray) else float(score)

    def _chance(self, raw: Any) -> NDArray[np.float64]:
        """The chance that a further normal part scores at least so high, p of the module."""
        from scipy.special import stdtr

        standard = (_standing(raw, self.bound) - self.location) / self._wide
        return np.asarray(stdtr(self.df, -standard))

    def verdict(self, raw: float) -> tuple[Verdict, Reason]:
        """The verdict on a raw image score, with the reason where it is unsure."""
        return _verdict(self.score(raw))

    def moved(self, false_alarms: float) -> Calibration:
        """The same calibration with another operating point; nothing is fitted anew."""
        return replace(self, false_alarms=false_alarms)

    def left_out(self) -> Calibration:
        """The same calibration, of references that were each left out of a memory bank of all.

        Once corrected, it stays as it is.
        """
        if self.corrected:
            return self
        return replace(self, location=self.location - LEFT_OUT_SHIFT / self.n, corrected=True)

    def even(self) -> Calibration:
        """The same calibration, where both errors are alike: normal parts above, others below.

        Anomalous scores are taken to lie `RISE`, give or take `RISE_SCALE`, above the normal ones:
        the fewer references say how normal parts spread, the more false alarms that takes.
        """
        from scipy.special import stdtr

        at = RISE / (self._wide + math.hypot(RISE_SCALE, self._wide))
        return self.moved(float(stdtr(self.df, -at)))

    def finding(self, missed: Sequence[float]) -> Calibration:
        """The same calibration, moved as far as it takes to call these parts anomalous.

        One that could be found only by calling more than `MOST_ALARMS` of the further normal parts
        anomalous (as `left_out` has them) is not: they look the same to the detector.

        Args:
            missed: raw scores of parts that a person calls defective.
        """
        if not len(missed):
            return self
        scores = np.asarray(missed, np.float64)
        # Where the score leaves the band upwards, and a hair more, for rounding.
        targets = 1.01 * _ABOVE * self._chance(scores)
        within = targets[(self.left_out()._chance(scores) <= MOST_ALARMS) & (targets <= 0.5)]
        if not within.size or within.max() <= self.false_alarms:
            return self
        said = f"{self.rule}; lowered until {within.size} of {len(missed)} missed defects are found"
        return replace(self, false_alarms=float(within.max()), rule=said)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as written to detector.json and run.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """The calibration that `to_json` wrote. Raises SavedError if it is damaged."""
        try:
            return cls(**values)
        except (TypeError, InputError, OptionError) as cause:
            raise SavedError(
                f"The saved calibration {dict(values)} cannot be used ({cause}). Fit the detector "
                "again, or restore its folder."
            ) from cause


def _verdict(score: float) -> tuple[Verdict, Reason]:
    if not math.isfinite(score):
        return "unsure", "nothing to decide on"
    if UNSURE[0] <= score <= UNSURE[1]:
        return "unsure", "inside the band"
    return ("anomalous" if score > UNSURE[1] else "normal"), ""


def check_false_alarms(value: float) -> float:
    """Return the target if it is one, or raise OptionError."""
    if not 0 < value <= 0.5:
        raise OptionError(
            f"The false alarm target is {value}; expected a share above 0 and at most 0.5, such "
            "as 0.05 for five good parts in a hundred."
        )
    return value


def _standing(raw: Any, bound: float | None) -> NDArray[np.float64]:
    """What is normal of raw scores: their logarithms, or those of their odds."""
    if bound is None:
        return np.asarray(np.log(np.maximum(raw, _SMALLEST)), np.float64)
    share = np.clip(np.asarray(raw, np.float64) / bound, _SMALLEST, 1 - _SMALLEST)
    return np.asarray(np.log(share / (1 - share)))


def _raw(standing: Any, bound: float | None) -> Any:
    """The raw scores of `_standing`."""
    return np.exp(standing) if bound is None else bound / (1 + np.exp(-np.asarray(standing)))


def _logs(raw: Sequence[float], bound: float | None = None) -> NDArray[np.float64]:
    scores = np.asarray(raw, np.float64)
    if scores.size == 0 or not np.isfinite(scores).all():
        raise InputError(
            f"Calibration needs at least one finite score of a normal part; got {scores.size} "
            f"scores, {int((~np.isfinite(scores)).sum())} of them not finite."
        )
    return _standing(scores, bound)
