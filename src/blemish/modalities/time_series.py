"""Time series: tables become plots, and scores in a plot are carried back to stretches of time.

Reads CSV (separated by comma, semicolon or tab; decimal point or comma; with titles or without;
UTF-8, UTF-16 or Windows-1252) and Parquet. The time is a column of ISO 8601 times, of numbers in
the file's own unit, or the row's number from 1. Rows that are not in order of time are sorted. An
empty or infinite cell is a gap in the line, and so is a step of more than ten usual ones.

From a plot back to time: the columns of pixels inside a panel divide the window's time evenly, and
a column's score is the highest of its pixels inside any panel. Scores outside the panels, on
numbers and names, are ignored. Where windows overlap, the higher score counts. Spans are in
seconds since the first row where the file has a clock, else in the file's own numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from blemish.errors import OptionError, nearest
from blemish.modalities._plot import PANELS, Layout, Limits, Plotter, clock, limits
from blemish.modalities._series import Series, read_series
from blemish.modalities._shares import shares
from blemish.modalities._spans import highest, in_words
from blemish.modalities._table import read_table
from blemish.modalities.recording import Carried, Judged, Modality, Recording, combine
from blemish.types import Inspection, Sample, Verdict

SERIES_SUFFIXES = frozenset({".csv", ".tsv", ".parquet", ".pq"})
"""Endings, in lower case, of files that are time series."""

ROWS = 20_000
"""Rows of a plot unless the options say otherwise: about twenty for each column of pixels."""

_DIGITS = 4
"""Decimals of a span's score: a day of spans must not fill pages with digits."""


class SeriesOptions(BaseModel):
    """How a series becomes plots.

    Attributes:
        time: title of the column that holds the time; looked for where it is not given.
        channels: titles of the columns to draw; all that hold numbers where it is not given.
        window: rows in a plot; a longer series is cut into several.
        overlap: share of a window that the next one shows again.
        width: of a plot in pixels.
        height: of a plot in pixels.
        limits: by channel, the values at the bottom and the top of its panel; the series' own
            lowest and highest where they are not given; what lies beyond is drawn along the edge.
            Plots of two files can be held against each other only with the same limits
            (`about["limits"]` of the first).
        bare: draw the lines alone, without numbers, names and grid, for a detector that compares
            pictures and would take another hour for an anomaly.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    time: str | None = None
    channels: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    window: Annotated[int, Field(ge=2)] | None = None
    overlap: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    width: Annotated[int, Field(ge=256, le=4096)] = 1024
    height: Annotated[int, Field(ge=400, le=4096)] = 640
    limits: Mapping[str, Limits] | None = None
    bare: bool = False


def open_series(path: str | Path, options: SeriesOptions, *, id: str, class_name: str) -> Recording:
    """Open a table of channels over time.

    Args:
        path: of a CSV or Parquet file; the content decides which, never the name.
        options: how it becomes plots.
        id: of the recording in the results.
        class_name: what is measured, as prompts call it.

    Raises:
        InputError: no such file, no table, fewer than two rows, or a cell that cannot be used.
        OptionError: the file has no such column.
        MissingExtraError: pyarrow or matplotlib is not installed.
    """
    series = read_series(Path(path), read_table(Path(path)), options.time, options.channels)
    for name in options.limits or ():
        if name not in series.channels:
            raise OptionError(
                f"Limits are given for {name!r}, which {path} has not. "
                f"{nearest(name, series.channels)}"
            )
    return _TimeSeries(series, options, id, class_name)


@dataclass(frozen=True)
class _Plot:
    """One plot: rows of the series, time at its edges, and which group of channels."""

    rows: slice
    start: float
    end: float
    group: int


class _TimeSeries:
    """A recording of plots: for each window of time one for every `PANELS` channels."""

    modality: Modality = "time-series"

    def __init__(self, series: Series, options: SeriesOptions, id: str, class_name: str) -> None:
        self._series = series
        self._options = options
        self._id = id
        self._class_name = class_name
        given = options.limits or {}
        scale = {name: given.get(name) or limits(v) for name, v in series.channels.items()}
        # Groups of almost the same size, so that panels are alike.
        parts = np.array_split(np.arange(len(scale)), -(-len(scale) // PANELS))
        self._groups = [
            {name: scale[name] for name in np.array(list(scale), object)[part]} for part in parts
        ]
        self._layouts = [Layout(options.height, options.width, len(g)) for g in self._groups]
        self._plots: dict[str, _Plot] = {}
        for plot in self._windows():
            name = self._name(plot)
            # Clock times are rounded, and rows may repeat them.
            rows = f", rows {plot.rows.start + 1} to {plot.rows.stop}"
            self._plots[name + rows * (name in self._plots)] = plot
        self.about: Mapping[str, Any] = {
            **series.about,
            "limits": {name: list(pair) for name, pair in scale.items()},
            "window": min(options.window or ROWS, len(series.times)),
            "plots": len(self._plots),
        }

    def _windows(self) -> Iterator[_Plot]:
        """All as long as each other; the last one may therefore overlap more."""
        times = self._series.times
        size = min(self._options.window or ROWS, len(times))
        step = max(1, round(size * (1 - self._options.overlap)))
        for first in (*range(0, len(times) - size, step), len(times) - size):
            after = first + size
            start = float(times[first])
            end = float(times[after]) if after < len(times) else self._series.end
            if end <= start:  # All rows repeat one time.
                end = start + self._series.step
            for group in range(len(self._groups)):
                yield _Plot(slice(first, after), start, end, group)

    def _name(self, plot: _Plot) -> str:
        """What a person calls a plot."""
        last = float(self._series.times[plot.rows.stop - 1])
        name = f"{self._say(plot.start)} to {self._say(last)}"
        if len(self._groups) > 1:
            group = list(self._groups[plot.group])
            name += f", {group[0]} to {group[-1]}"
        return name

    def _say(self, time: float) -> str:
        """What a person calls a time."""
        series = self._series
        if series.time is None:
            return f"row {time:.0f}"
        if series.start is None:
            digits = min(max(0, math.ceil(-math.log10(series.step))), 9)
            return f"{time:.{digits}f} {series.unit}".strip()
        moment = clock(series.start, time).replace(tzinfo=None)
        said = moment.isoformat(" ", "milliseconds" if series.step < 1 else "seconds")
        return said if series.end >= 86_400 else said[11:]

    def samples(self) -> Iterator[Sample]:
        """The plots, drawn while they are asked for: window by window, in each all channels."""
        plotters: dict[int, Plotter] = {}
        for name, plot in self._plots.items():
            if plot.group not in plotters:
                group, layout = self._groups[plot.group], self._layouts[plot.group]
                plotters[plot.group] = Plotter(self._series, group, layout, self._options.bare)
            image = plotters[plot.group].draw(plot.rows, plot.start, plot.end)
            yield Sample(image, self._class_name, domain="signal", id=name)

    def back(self, judged: Iterable[Judged]) -> Carried:
        """What was found, with a span for each column of pixels or more."""
        parts: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        verdicts: dict[Verdict, list[_Plot]] = {"normal": [], "unsure": [], "anomalous": []}

        def noted() -> Iterator[Judged]:
            for sample, found in judged:
                plot = self._plots[sample.id]
                verdicts[found.verdict].append(plot)
                parts.append(self._part(plot, found))
                yield sample, found

        carried = combine(self._id, noted())
        whole = carried.inspection
        spans = highest(parts)
        words, where = whole.explanation, ""
        if whole.verdict != "normal":
            high = [(start, end) for start, end, score in spans if score >= 0.5]
            plots = verdicts[whole.verdict]
            where = in_words(high or [(plot.start, plot.end) for plot in plots], self._say)
            words = f"{words} {'Found' if whole.verdict == 'anomalous' else 'Unsure'} {where}."
        found = replace(whole, spans=spans, explanation=words.strip())
        return replace(carried, inspection=found, where=where)

    def _part(
        self, plot: _Plot, found: Inspection
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(N + 1,) times and (N,) scores of the columns of one plot."""
        layout = self._layouts[plot.group]
        marked = shares(found, 0, layout.height, layout.width)
        inside = marked[:, layout.left : layout.left + layout.columns]
        scores = np.max([inside[top:bottom].max(axis=0) for top, bottom in layout.rows], axis=0)
        edges = np.linspace(plot.start, plot.end, layout.columns + 1)
        return edges, np.round(scores.astype(np.float64), _DIGITS)
