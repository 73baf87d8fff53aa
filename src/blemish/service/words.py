"""What people said of verdicts, and what follows from it. No store and no detector in here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from blemish.service.types import InspectionRow, Rates, Says
from blemish.types import Verdict

Truth = Literal["", "good", "defective"]


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
        if not true:
            continue
        count[true] += number
        if verdict == "unsure":
            count["unsure"] += number
        elif (verdict, true) == ("anomalous", "good"):
            count["overkill"] += number
        elif (verdict, true) == ("normal", "defective"):
            count["missed"] += number
    return Rates(inspected=sum(judged.values()), **count)
