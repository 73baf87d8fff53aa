"""Do places come back from views exactly? A detector that sees a plain mark judges recordings.

Films show a red square in some frames. A series rises above three quarters of its panel in some
rows. A ball of points has caps; where a view shows them follows from geometry alone, without the
code that draws. A place counts as found from a score of 0.5.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import made_recordings as made
import numpy as np
from carried_back import head, opened, point_scores, row, span_scores
from scipy.spatial.transform import Rotation

from blemish.modalities._plot import Layout
from blemish.modalities._views import VIEWS, View, ViewSet
from blemish.modalities.recording import Recording
from blemish.types import Inspection, Sample

LOOKED: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("every frame", {"every": 0.04}),
    ("every frame, in windows of 2", {"every": 0.04, "window": 2, "step": 1}),
    ("every 0.2 s", {"every": 0.2}),
    ("every 1 s", {}),
)
PLOTTED: Sequence[tuple[int, Mapping[str, Any]]] = (
    (1, {}),
    (1, {"overlap": 0.5}),
    (1, {"window": 900}),
    (8, {}),
)
VIEWED: Sequence[tuple[bool, ViewSet]] = (
    (True, "cpmf"),
    (True, "tilted"),
    (True, "front"),
    (False, "around"),
)
CAPS = (((0.0, 0.0, 1.0), 0.25), ((0.6, 0.5, 0.62), 0.12), ((-0.9, 0.1, 0.42), 0.25))
"""Direction and radius in radians; the last one comes near the rim of half a ball."""


class Trip(NamedTuple):
    """A recording with a plain mark: who sees the mark, and what is true of each place."""

    name: str
    recording: Recording
    look: Callable[[Sample], made.Flags]
    """Marked pixels of a sample's last view."""
    truth: made.Flags
    scores: Callable[[Inspection], made.Array]
    far: Callable[[made.Flags], str]
    """How far the farthest of some wrong places is from the edge of the truth."""


def round_trip(args: argparse.Namespace, folder: Path) -> None:
    head("recording", "places", "defective", "precision", "recall", "wrong", "off at most")
    for trip in chain(films(folder), series(folder), balls(folder)):
        judged = ((s, perfect(s, trip.look)) for s in trip.recording.samples())
        found = trip.scores(trip.recording.back(judged).inspection) >= 0.5
        hit, wrong = int((found & trip.truth).sum()), found != trip.truth
        shares = hit / max(int(found.sum()), 1), hit / int(trip.truth.sum())
        off = trip.far(wrong) if wrong.any() else "0"
        row(trip.name, len(found), int(trip.truth.sum()), *shares, int(wrong.sum()), off)


def perfect(sample: Sample, look: Callable[[Sample], made.Flags]) -> Inspection:
    marks = [look(Sample(view, id=sample.id)) for view in sample.images]
    bad = any(mark.any() for mark in marks)
    maps = tuple(mark.astype(np.float32) for mark in marks)
    verdict: Any = "anomalous" if bad else "normal"
    return Inspection(sample.id, verdict, "calibration", score=float(bad), maps=maps)


def stretches(count: int, lengths: Sequence[int]) -> made.Flags:
    """True in stretches of these lengths, one in each equal share of the whole."""
    chance, flags = np.random.default_rng(0), np.zeros(count, np.bool_)
    room = count // len(lengths)
    for number, length in enumerate(lengths):
        start = number * room + chance.integers(1, room - length - 1)
        flags[start : start + length] = True
    return flags


def far_in_time(truth: made.Flags, step: float, wrong: made.Flags) -> str:
    """From the far side of a wrong place to where the truth changes."""
    edges = np.flatnonzero(np.diff(truth)) + 1
    sides = np.flatnonzero(wrong)[:, None, None] + np.array([0, 1])
    return f"{np.abs(sides - edges[:, None]).max(axis=2).min(axis=1).max() * step:.2f} s"


def films(folder: Path) -> Iterator[Trip]:
    """60 s of 25 frames a second."""
    flags, path = stretches(1500, (1, 2, 10, 25, 60, 130)), folder / "a.mp4"
    plain = np.random.default_rng(0).integers(60, 120, (180, 320, 3), np.uint8)
    marked = plain.copy()
    marked[60:100, 100:140] = (230, 20, 20)
    made.write_film(path, (marked if flag else plain for flag in flags), 25)
    scores = partial(span_scores, times=np.arange(len(flags)) / 25)
    for words, options in LOOKED:
        recording = opened(path, "video", **options)
        far = partial(far_in_time, flags, 1 / 25)
        yield Trip(f"video, {words}: frames", recording, red, flags, scores, far)


def red(sample: Sample) -> made.Flags:
    view = sample.image
    return np.asarray((view[..., 0] > 150) & (view[..., 1:] < 90).all(axis=2))


def series(folder: Path) -> Iterator[Trip]:
    """A row a second; of eight channels the seventh has the mark."""
    from pyarrow import csv, table

    flags, path = stretches(100_000, (1, 5, 60, 600, 3600)), folder / "a.csv"
    random = np.random.default_rng(0)
    names = [f"channel {number}" for number in range(1, 9)]
    columns = {name: random.uniform(0.15, 0.25, len(flags)) for name in names}
    columns["channel 7"] += 0.6 * flags
    csv.write_csv(table({"time [s]": np.arange(len(flags)), **columns}), path)
    scores = partial(span_scores, times=np.arange(0.5, len(flags)))
    for count, options in PLOTTED:
        chosen = names if count == 8 else names[6:7]
        limits = {name: (0.0, 1.0) for name in chosen}
        recording = opened(path, "time-series", channels=chosen, limits=limits, **options)
        layout = Layout(640, 1024, 4 if count == 8 else 1)
        plots, rows = recording.about["plots"], recording.about["window"]
        words = f"{count} of 8 channels, {plots} plots{' that overlap' * ('overlap' in options)}"
        name = f"series, {words}, {rows / layout.columns:.2f} s a column"
        far = partial(far_in_time, flags, 1)
        yield Trip(f"{name}: seconds", recording, partial(high, layout), flags, scores, far)


def high(layout: Layout, sample: Sample) -> made.Flags:
    """Pixels more than half covered by the line, which is blue, above three quarters of a panel."""
    view = sample.image.astype(np.int16)
    above = np.zeros(view.shape[:2], np.bool_)
    for top, bottom in layout.rows:
        above[top : top + (bottom - top) // 4] = True
    return np.asarray(above & (view[..., 2] - view[..., 0] > 45))


def balls(folder: Path) -> Iterator[Trip]:
    """100,000 points, all round or its front half."""
    for half, views in VIEWED:
        path = folder / "a.ply"
        points = made.ball(path, 100_000, half=half)
        named = {f"view {n}: {view.name}": view for n, view in enumerate(VIEWS[views], 1)}
        rays = Rays(half, named)
        recording = opened(path, "point-cloud", views=views)
        far = partial(far_on_ball, points, rays.scale)
        name = f"{'half a' if half else 'a'} ball, {views} ({len(named)} views): points"
        yield Trip(name, recording, rays.capped, beyond(points) <= 0, point_scores, far)


class Rays(NamedTuple):
    """What is seen through the middle of each pixel of a view of a unit ball or its half z >= 0."""

    half: bool
    views: Mapping[str, View]
    size: int = 224

    @property
    def scale(self) -> float:
        """Pixels a unit: the bounding sphere takes 94 % of the view."""
        return float(0.94 * self.size / 2 / np.hypot(1, 0.5 * self.half))

    def capped(self, sample: Sample) -> made.Flags:
        """Pixels whose ray meets a cap first."""
        view = self.views[sample.id]
        angles = (view.above, view.left, view.turned)
        turn = Rotation.from_euler("XYZ", angles, degrees=True).as_matrix()
        down, right = (np.mgrid[: self.size, : self.size] + 0.5 - self.size / 2) / self.scale
        # The view's middle is that of the points' box, half a unit up in half a ball.
        middle = turn @ (0, 0, -0.5 * self.half)
        x, y = right - middle[0], -down - middle[1]
        # A pixel on the outline may have its middle beside the ball.
        from_axis = np.maximum(np.hypot(x, y), 1)
        x, y, touched = x / from_axis, y / from_axis, (from_axis - 1) * self.scale < 0.71
        z = np.sqrt(np.maximum(1 - x**2 - y**2, 0))
        front, back = (np.stack([x, y, sign * z], axis=2) @ turn for sign in (1, -1))
        first = (front[..., 2] >= 0) | (not self.half)
        second = back[..., 2] >= 0  # the hollow of half a ball
        met = np.where(first[..., None], front, back)
        return np.asarray(touched & (first | second) & (beyond(met) <= 0))


def beyond(points: made.Array) -> made.Array:
    """Radians from the nearest cap's outline to points (..., 3) on the ball; negative inside."""
    each = [
        np.arccos(np.clip(points @ (np.array(at) / np.linalg.norm(at)), -1, 1)) - radius
        for at, radius in CAPS
    ]
    return np.asarray(np.min(each, axis=0))


def far_on_ball(points: made.Array, scale: float, wrong: made.Flags) -> str:
    return f"{np.abs(beyond(points[wrong])).max() * scale:.2f} pixels"
