"""How well a line does by what people said of its verdicts: values and arithmetic, no store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from blemish.service.types import Feedback, InspectionRow, Says
from blemish.types import Verdict

Truth = Literal["", "good", "defective"]
"""What a part is; "" where nobody said."""


@dataclass(frozen=True)
class Change:
    """One inspection that comes out otherwise in another version.

    Attributes:
        inspection: its id.
        name: of the file.
        before, after: verdicts.
        score_before, score_after: calibrated scores, or None.
        truth: what feedback says the part is; "" where nobody said.
    """

    inspection: str
    name: str
    before: Verdict
    after: Verdict
    score_before: float | None = None
    score_after: float | None = None
    truth: Truth = ""


@dataclass(frozen=True)
class Rates:
    """How often verdicts were wrong, where a person said what the part is, and how often unsure.

    Attributes:
        inspected: how many inspections.
        good: of how many parts is it known that they are good.
        defective: of how many that they are defective.
        overkill: good parts with the verdict "anomalous".
        missed: defective parts with the verdict "normal".
        unsure: of all that was inspected, how many have the verdict "unsure"; they are neither
            overkill nor missed, whatever the part is.
    """

    inspected: int = 0
    good: int = 0
    defective: int = 0
    overkill: int = 0
    missed: int = 0
    unsure: int = 0

    @property
    def overkill_rate(self) -> float | None:
        """`overkill` by `good`; None where no part is known to be good."""
        return self.overkill / self.good if self.good else None

    @property
    def miss_rate(self) -> float | None:
        """`missed` by `defective`; None where no part is known to be defective."""
        return self.missed / self.defective if self.defective else None

    @property
    def unsure_rate(self) -> float | None:
        """`unsure` by `inspected`; None where nothing was inspected."""
        return self.unsure / self.inspected if self.inspected else None


@dataclass(frozen=True)
class Comparison:
    """Two versions on the same kept history.

    Attributes:
        line: its name.
        before, after: version numbers; `after` is 0 for one that does not exist yet (a preview).
        looked_at: how many inspections were judged by both, the newest of the history.
        left_out: how many could not be judged, or are older than those looked at.
        changes: those whose verdict differs.
        rates_before, rates_after: of what both judged.
        cases: labelled defects that `after` does not find, by inspection id.
        alarms_before, alarms_after: the share of further good parts that each is expected to call
            anomalous, by its calibration; None where it has none.
    """

    line: str
    before: int
    after: int
    looked_at: int = 0
    left_out: int = 0
    changes: tuple[Change, ...] = ()
    rates_before: Rates = field(default_factory=Rates)
    rates_after: Rates = field(default_factory=Rates)
    cases: tuple[str, ...] = ()
    alarms_before: float | None = None
    alarms_after: float | None = None


@dataclass(frozen=True)
class Health:
    """How well a line does by what people said of its verdicts.

    Attributes:
        line: its name.
        versions: by version number, in order.
        days: by day in UTC, such as "2026-03-31", in order; days without inspections are left out.
        waiting: feedback that would teach the current version something; see `Station.apply`.
    """

    line: str
    overall: Rates = field(default_factory=Rates)
    versions: tuple[tuple[int, Rates], ...] = ()
    days: tuple[tuple[str, Rates], ...] = ()
    waiting: tuple[Feedback, ...] = ()


def true_of(verdict: Verdict, says: Says | None) -> Truth:
    """What a part is, by what was said of a verdict; "" where that does not tell.

    >>> true_of("anomalous", "right"), true_of("anomalous", "good"), true_of("unsure", "right")
    ('defective', 'good', '')
    """
    if says == "right":
        known: dict[Verdict, Truth] = {"normal": "good", "anomalous": "defective", "unsure": ""}
        return known[verdict]
    return says or ""


def truth(row: InspectionRow) -> Truth:
    """What a part is, by the last word on its inspection."""
    return true_of(row.verdict, row.feedback[0].says if row.feedback else None)


def rates(judged: Mapping[tuple[Verdict, Truth], int]) -> Rates:
    """How often verdicts were wrong.

    Args:
        judged: how many inspections have which verdict, on parts that are what.
    """
    count = {"good": 0, "defective": 0, "overkill": 0, "missed": 0, "unsure": 0}
    for (verdict, true), number in judged.items():
        if verdict == "unsure":
            count["unsure"] += number
        if not true:
            continue
        count[true] += number
        if (verdict, true) == ("anomalous", "good"):
            count["overkill"] += number
        elif (verdict, true) == ("normal", "defective"):
            count["missed"] += number
    return Rates(inspected=sum(judged.values()), **count)
