"""The table as a picture: figures against shots, and accuracy against the threshold."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from blemish.benchmark.averages import Cell, Row
from blemish.benchmark.table import Table, shots_order, shots_words

_WIDE, _HIGH, _ACROSS = 4.6, 3.4, 3
"""Inches of a panel, and panels in a row."""
HEADLINE = ("image_auroc", "pixel_auroc", "au_pro", "spro", "accuracy", "unsure")
"""What a free combination is plotted by; a protocol says itself."""
_MOST = 24
"""Panels of one picture: more could not be read, and the table has them all."""


def draw(table: Table) -> bytes | None:
    """The plot as PNG; None where there is nothing to draw.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    from blemish.benchmark.table_files import extra

    figures, curves = _panels(table), _curves(table.cells)
    count = len(figures) + len(curves)
    if not count:
        return None
    matplotlib = extra("matplotlib.figure", "plot.png")
    extra("matplotlib.backends.backend_agg", "plot.png")
    across = min(count, _ACROSS)
    down = -(-count // across)
    sheet = matplotlib.Figure(figsize=(_WIDE * across, _HIGH * down + 0.6), layout="constrained")
    axes = list(sheet.subplots(down, across, squeeze=False).flat)
    methods = list(dict.fromkeys(row.method for _, rows in figures for row in rows))
    for place, (title, rows) in zip(axes, figures, strict=False):
        _shots(place, title, rows, methods)
    for place, (title, cells) in zip(axes[len(figures) :], curves, strict=False):
        _thresholds(place, title, cells)
    for place in axes[count:]:
        place.axis("off")
    _legend(sheet, axes[: len(figures)])
    held = io.BytesIO()
    sheet.savefig(held, format="png", dpi=150)
    return held.getvalue()


def _panels(table: Table) -> list[tuple[str, list[Row]]]:
    """A panel for each data set and metric of which ours has a mean."""
    from blemish.benchmark.table_layout import name, title

    panels: dict[tuple[str, str], list[Row]] = {}
    for row in table.averaged:
        if row.level == "mean":
            panels.setdefault((row.data, row.metric), []).append(row)
    if table.protocol is None:
        panels = {key: rows for key, rows in panels.items() if key[1] in HEADLINE} or panels
    return [
        (f"{title(data)}: {name(metric)}" + (f" [{rows[0].unit}]" if rows[0].unit else ""), rows)
        for (data, metric), rows in panels.items()
        if any(row.ours is not None for row in rows)
    ][:_MOST]


def _curves(cells: Sequence[Cell]) -> list[tuple[str, list[Cell]]]:
    """A panel for each data set, method, number of shots and seed that has curves."""
    from blemish.benchmark.table_layout import title

    panels: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.get("curve"):
            about = cell["cell"]
            where = f"{title(about['data'])}: {about['method']}"
            how = f"{shots_words(about['shots'])}, seed {about['seed']}"
            panels.setdefault(f"{where}\n{how}", []).append(cell)
    return list(panels.items())[:_MOST]


def _shots(place: Any, title: str, rows: Sequence[Row], methods: Sequence[str]) -> None:
    """Figures against shots: ours as a line with its spread, published ones dashed."""
    shots = sorted({row.shots for row in rows}, key=shots_order)
    series: list[tuple[str, str, list[tuple[int, float, float]], dict[str, Any]]] = []
    for number, method in enumerate(methods):
        own = [row for row in rows if row.method == method]
        colour = f"C{number % 10}"
        ours = [(row.shots, row.ours, row.spread) for row in own]
        printed = [(row.shots, row.published, row.published_spread) for row in own]
        dashed = {"linestyle": "--", "marker": "D", "markerfacecolor": "none"}
        for label, found, look in (
            (method, ours, {"marker": "o"}),
            (f"{method}, published", printed, dashed),
        ):
            points = [(shots.index(s), v, spread or 0.0) for s, v, spread in found if v is not None]
            if points:
                series.append((label, colour, points, look))
    # Beside each other, so that none hides another's spread.
    step = 0.4 / max(len(series), 8)
    for number, (label, colour, points, look) in enumerate(series):
        shift = (number - (len(series) - 1) / 2) * step
        at, values, spreads = zip(*((a + shift, v, s) for a, v, s in points), strict=True)
        place.errorbar(at, values, spreads, color=colour, capsize=3, label=label, **look)
    place.set_title(title, fontsize=10)
    place.set_xticks(range(len(shots)), [shots_words(one) for one in shots])
    place.set_xlim(-0.5, len(shots) - 0.5)
    place.grid(axis="y", alpha=0.3)


def _thresholds(place: Any, title: str, cells: Sequence[Cell]) -> None:
    """Accuracy against the raw score above which a picture is called anomalous."""
    for number, cell in enumerate(cells):
        thresholds, accuracies = zip(*cell["curve"], strict=True)
        place.step(
            thresholds,
            [100 * accuracy for accuracy in accuracies],
            where="post",
            color=f"C{number % 10}",
            linestyle=("-", "--", ":")[number // 10 % 3],
            label=cell["cell"]["category"],
        )
    place.set_title(title, fontsize=10)
    place.set_xlabel("threshold on the raw score")
    place.set_ylabel("accuracy [%]")
    place.grid(alpha=0.3)
    place.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def _legend(sheet: Any, places: Sequence[Any]) -> None:
    """One legend for all panels of figures, below them."""
    found: dict[str, Any] = {}
    for place in places:
        handles, labels = place.get_legend_handles_labels()
        found.update(zip(labels, handles, strict=True))
    if found:
        across = max(1, min(len(found), 4))
        sheet.legend(
            found.values(), found.keys(), loc="outside lower center", ncols=across, fontsize=9
        )
