"""Rates over time as a drawing within the page: no script, and colours by the style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date

from markupsafe import Markup

from blemish.service.pages.render import texts
from blemish.service.quality import Rates

_WIDTH, _HEIGHT = 480, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 10, 10, 26
_DAYS = 90
"""How many days back are drawn."""
_POOLED = 7
"""Days that a point counts together: of one day people often say one thing, and 1 of 1 is 100 %."""
Days = Sequence[tuple[str, Rates]]


def rates(days: Days) -> Markup:
    """Overkill and miss rate as SVG, a point a day; empty where the truth of no part is known.

    Args:
        days: in order, as in `Health.days`.
    """
    told = [(date.fromisoformat(day), of) for day, of in days if of.good or of.defective]
    if not told:
        return Markup("")
    last = told[-1][0]
    pooled = [(day, _week(told, day)) for day, _ in told if (last - day).days < _DAYS]
    first = pooled[0][0]
    series = {
        "overkill": [(day, of.overkill_rate, of.overkill, of.good) for day, of in pooled],
        "miss": [(day, of.miss_rate, of.missed, of.defective) for day, of in pooled],
    }
    most = top(max(rate or 0.0 for several in series.values() for _, rate, _, _ in several))
    parts = [_grid(most), _dates(first, last)]
    # The dashed line lies over the solid one, and squares around discs: where both rates are the
    # same, both are seen.
    for name, several in series.items():
        points = []
        for day, rate, wrong, known in several:
            if rate is not None:
                away = (day - first).days / (last - first).days if last > first else 0.5
                points.append((_x(away), _y(rate / most), _said(name, day, wrong, known)))
        parts.append(_line(name, points))
    said = texts()["line"]["chart_alt"].format(first=first, last=last)
    return Markup(
        '<svg class="chart" role="img" viewBox="0 0 {} {}" aria-label="{}">{}</svg>'
    ).format(_WIDTH, _HEIGHT, said, Markup("").join(parts))


def _week(told: Sequence[tuple[date, Rates]], day: date) -> Rates:
    """The counts of a day and the six before it, together."""
    some = [of for then, of in told if 0 <= (day - then).days < _POOLED]
    return Rates(
        good=sum(of.good for of in some),
        defective=sum(of.defective for of in some),
        overkill=sum(of.overkill for of in some),
        missed=sum(of.missed for of in some),
    )


def top(rate: float) -> float:
    """Where the axis ends: the next of 5, 10, 20, 50 and 100 %.

    >>> top(0.0), top(0.07), top(0.3)
    (0.05, 0.1, 0.5)
    """
    return next(end for end in (0.05, 0.1, 0.2, 0.5, 1.0) if rate <= end or math.isclose(end, 1))


def _x(share: float) -> float:
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(share: float) -> float:
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)


def _said(name: str, day: date, wrong: int, known: int) -> str:
    words = texts()["line"]
    return f"{day}: {words[name]} {words['rate_of'].format(wrong=wrong, all=known)}"


def _grid(most: float) -> Markup:
    lines = [
        Markup(
            '<path class="grid" d="M{} {}H{}"/><text x="{}" y="{}" text-anchor="end">{:g} %</text>'
        ).format(
            _LEFT,
            _y(share),
            _WIDTH - _RIGHT,
            _LEFT - 8,
            _y(share) + 4,
            100 * most * share,
        )
        for share in (0, 0.5, 1)
    ]
    return Markup("").join(lines)


def _dates(first: date, last: date) -> Markup:
    ends = [(0.0, "start", first), (1.0, "end", last)] if last > first else [(0.5, "middle", last)]
    return Markup("").join(
        Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
            _x(share), _HEIGHT - 8, anchor, day
        )
        for share, anchor, day in ends
    )


def _line(name: str, points: Sequence[tuple[float, float, str]]) -> Markup:
    """A line with a sign at each day: discs or open squares; colour alone says nothing to many."""
    way = "M" + "L".join(f"{x} {y}" for x, y, _ in points) if len(points) > 1 else ""
    signs = [
        Markup('<circle class="{}" cx="{}" cy="{}" r="3"><title>{}</title></circle>').format(
            name, x, y, said
        )
        if name == "overkill"
        else Markup(
            '<rect class="{}" x="{}" y="{}" width="10" height="10"><title>{}</title></rect>'
        ).format(name, round(x - 5, 1), round(y - 5, 1), said)
        for x, y, said in points
    ]
    drawn = Markup('<path class="line {}" d="{}"/>').format(name, way) if way else Markup("")
    return drawn + Markup("").join(signs)
