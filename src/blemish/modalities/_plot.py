"""Plots of a series for a reader, with panels whose place in the picture is exact.

Every channel has a panel of its own, one below the other, over the same time: channels differ in
unit and size, and a reader who is asked about one of them must not untangle lines. All windows of a
recording have the same panels and the same scale, so that they can be held against each other.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.modalities._series import GAP, Series
from blemish.modalities._table import extra
from blemish.types import Image

Limits = tuple[float, float]
"""The values at the bottom and at the top of a panel."""

PANELS = 6
"""Channels in one plot."""
_DPI = 100
_LEFT, _RIGHT, _ABOVE, _BELOW = 76, 30, 26, 46
"""Pixels around the panels; `_ABOVE` is the height of each panel's title."""
_TICKS, _DATES = 7, (4, 8)
"""Marks of time at most, and, for clock times, at least and at most."""
_LINE, _GREY, _PALE = "#1f4e79", "#555555", "#e3e3e3"


@dataclass(frozen=True)
class Layout:
    """Where the panels are: columns `left` to `left + columns`, rows (top, bottom) of each."""

    height: int
    width: int
    panels: int

    @property
    def left(self) -> int:
        """The first column of every panel."""
        return _LEFT

    @property
    def columns(self) -> int:
        """Pixels of time."""
        return self.width - _LEFT - _RIGHT

    @property
    def rows(self) -> tuple[tuple[int, int], ...]:
        """(top, bottom) of each panel in pixels, the bottom exclusive."""
        each = (self.height - _BELOW) // self.panels
        return tuple((i * each + _ABOVE, (i + 1) * each - 4) for i in range(self.panels))


def limits(values: NDArray[np.float64]) -> Limits:
    """Lowest and highest value with a twentieth of air; around a value that never changes, some."""
    if np.isnan(values).all():
        return -1.0, 1.0
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    air = (high - low) / 20 or max(abs(high) / 10, 0.5)
    return low - air, high + air


class Plotter:
    """Draws windows of some channels of a series; one figure is used for all of them."""

    def __init__(
        self, series: Series, scale: Mapping[str, Limits], layout: Layout, bare: bool = False
    ) -> None:
        """Prepare a figure.

        Args:
            series: to draw windows of.
            scale: the channels of the plot, in order, and the range of each one's panel.
            layout: of the panels, one for each of them.
            bare: draw the lines only: no numbers, names, frame or grid.
        """
        self._series = series
        self._layout = layout
        self._bare = bare
        # What lies beyond is drawn along the edge: left out, it would look like no value at all.
        self._edges = {
            name: (low + (high - low) / layout.height, high - (high - low) / layout.height)
            for name, (low, high) in scale.items()
        }
        # Matplotlib as it comes, whatever the user's own settings are.
        with extra("matplotlib.style").context("default", after_reset=True), _steady():
            size = layout.width / _DPI, layout.height / _DPI
            figure = extra("matplotlib.figure").Figure(size, dpi=_DPI)
            self._canvas = extra("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
            self._panels = {
                name: self._panel(figure, i, name, scale[name]) for i, name in enumerate(scale)
            }
            # What all windows share is drawn once; it takes longer than the lines.
            self._canvas.draw()
        self._empty = self._canvas.copy_from_bbox(figure.bbox)

    def _panel(self, figure: Any, index: int, name: str, scale: Limits) -> tuple[Any, Any, Any]:
        """An empty panel; its horizontal unit is the pixel."""
        layout = self._layout
        top, bottom = layout.rows[index]
        axes = figure.add_axes(
            (
                layout.left / layout.width,
                1 - bottom / layout.height,
                layout.columns / layout.width,
                (bottom - top) / layout.height,
            )
        )
        axes.set_xlim(0, layout.columns)
        axes.set_ylim(*scale)
        (line,) = axes.plot([], [], color=_LINE, linewidth=0.9, solid_joinstyle="round")
        (alone,) = axes.plot([], [], color=_LINE, linestyle="", marker="o", markersize=2)
        for artist in (line, alone, axes.xaxis):
            artist.set_animated(True)  # Drawn for each window.
        if self._bare:
            axes.set_axis_off()
            return axes, line, alone
        axes.xaxis.get_major_ticks(2 * _TICKS)
        axes.set_axisbelow(True)
        axes.grid(color=_PALE, linewidth=0.7)
        axes.spines[:].set_color("#bbbbbb")
        axes.tick_params(colors=_GREY, labelsize=9, length=0, pad=5)
        ticks = _round_ticks(*scale, 2 if bottom - top < 90 else 4)
        axes.set_yticks(ticks, _labels(ticks))
        title = name if len(name) <= 80 else name[:79] + "…"
        axes.set_title(title, loc="left", fontsize=10, color="black", pad=5, parse_math=False)
        return axes, line, alone

    def draw(self, rows: slice, start: float, end: float) -> Image:
        """Draw the rows of one window.

        Args:
            rows: of the series.
            start: time at the left edge of the panels, at most the first row's.
            end: time at their right edge, after the last row.

        Returns:
            (H, W, 3) uint8 RGB, of the layout's size.
        """
        series, columns = self._series, self._layout.columns
        times = series.times[rows]
        place = (times - start) / (end - start) * columns
        far = np.diff(times) > GAP * series.step
        self._canvas.restore_region(self._empty)
        renderer = self._canvas.get_renderer()
        with _steady():
            if not self._bare:
                self._mark_time(start, end)
            for name, (axes, line, alone) in self._panels.items():
                values = np.clip(series.channels[name][rows], *self._edges[name])
                x, y = decimated(place, values, far, columns)
                line.set_data(x, y)
                single = _alone(y)
                alone.set_data(x[single], y[single])
                for artist in (line, alone) if self._bare else (axes.xaxis, line, alone):
                    artist.draw(renderer)
        drawn = np.asarray(self._canvas.buffer_rgba())[:, :, :3]
        return np.ascontiguousarray(drawn, dtype=np.uint8)

    def _mark_time(self, start: float, end: float) -> None:
        """Put the time under the lowest panel; its grid goes through all of them."""
        ticks, words, title = _time_ticks(self._series, start, end)
        at = (ticks - start) / (end - start) * self._layout.columns
        *upper, (lowest, _, _) = self._panels.values()
        for axes, _, _ in upper:
            axes.set_xticks(at, [""] * len(at))
        lowest.set_xticks(at, words)
        lowest.set_xlabel(title, fontsize=10, color=_GREY, parse_math=False)


@contextmanager
def _steady() -> Iterator[None]:
    """Draws every point where it is, and a letter that the font lacks as a box."""
    with warnings.catch_warnings(), extra("matplotlib").rc_context({"path.simplify": False}):
        warnings.simplefilter("ignore")
        yield


def decimated(
    place: NDArray[np.float64],
    values: NDArray[np.float64],
    far: NDArray[np.bool_],
    columns: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is drawn of one channel: NaN breaks the line.

    Where there are many more rows than pixels, each column of pixels keeps its first, lowest,
    highest and last value, at its centre, so that a spike of one row stays visible.

    Args:
        place: (N,) float64, horizontal place of each row in pixels from 0 to below `columns`.
        values: (N,) float64, NaN where there is none.
        far: (N - 1,) bool, where the time from one row to the next is a gap.
        columns: pixels of the panel.
    """
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return np.empty(0), np.empty(0)
    jumps = np.concatenate([[0], np.cumsum(far)])
    x, y = place[known], values[known]
    starts = np.arange(len(known))
    if len(values) > 4 * columns:
        column = np.floor(x).astype(np.int64)
        starts = np.flatnonzero(np.diff(column, prepend=-1))
        ends = np.append(starts[1:], len(known)) - 1
        lowest, highest = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
        y = np.stack([y[starts], lowest, highest, y[ends]], axis=1).ravel()
        x = np.repeat(column[starts] + 0.5, 4)
        before, after, each = known[ends[:-1]], known[starts[1:]], 4
    else:
        before, after, each = known[:-1], known[1:], 1
    broken = (after - before > 1) | (jumps[after] > jumps[before])
    at = (np.flatnonzero(broken) + 1) * each
    return np.insert(x, at, np.nan), np.insert(y, at, np.nan)


def _alone(y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Points without a neighbour on either side, of which a line shows nothing."""
    gap = np.isnan(np.concatenate([[np.nan], y, [np.nan]]))
    single: NDArray[np.bool_] = ~gap[1:-1] & gap[:-2] & gap[2:]
    return single


def _time_ticks(
    series: Series, start: float, end: float
) -> tuple[NDArray[np.float64], list[str], str]:
    """Round times in the series' unit, their labels, and the title of the axis."""
    if series.start is None:
        ticks = _round_ticks(start, end, _TICKS)
        return ticks, _labels(ticks), series.time or "row"
    dates = extra("matplotlib.dates")
    zone = series.start.tzinfo
    first, last = (clock(series.start, time) for time in (start, end))
    locator = dates.AutoDateLocator(tz=zone, minticks=_DATES[0], maxticks=_DATES[1])
    days = np.asarray(locator.tick_values(first, last))
    zero = dates.date2num(series.start)
    ticks = (days - zero) * 86_400
    inside = (ticks >= start) & (ticks <= end)
    formatter = dates.ConciseDateFormatter(locator, tz=zone)
    words = formatter.format_ticks(days[inside])
    title = " ".join(part for part in (formatter.get_offset(), series.start.strftime("%Z")) if part)
    return ticks[inside], words, f"{series.time}, {title}" if title else str(series.time)


def clock(start: datetime, seconds: float) -> datetime:
    """The instant some seconds after the start of a series."""
    return start + timedelta(seconds=seconds)


def _round_ticks(low: float, high: float, count: int) -> NDArray[np.float64]:
    """Round numbers from low to high, at most `count` + 1 of them."""
    ticker = extra("matplotlib.ticker").MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10])
    ticks = np.asarray(ticker.tick_values(low, high))
    return ticks[(ticks >= low) & (ticks <= high)]


def _labels(ticks: NDArray[np.float64]) -> list[str]:
    """The numbers with as many decimals as tell them apart."""
    largest = float(np.abs(ticks).max(initial=0))
    if largest and not 1e-4 <= largest < 1e10:
        return [f"{tick:g}" for tick in ticks]
    step = float(np.diff(ticks).min()) if len(ticks) > 1 else largest
    digits = next((d for d in range(12) if math.isclose(round(step, d), step, rel_tol=1e-6)), 12)
    return [f"{tick:.{digits}f}" for tick in ticks + 0.0]
