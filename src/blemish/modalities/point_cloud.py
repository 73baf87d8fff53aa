"""Point clouds: looked at through depth pictures from several sides, scores carried to the points.

CPMF (arXiv 2303.13194) does so with features: the part is turned, each view is drawn as a picture,
and each point gets the mean of what its pixels say over the views. Here any detector judges the
pictures. Where CPMF's words leave a choice, or where we chose otherwise:

- The views are CPMF's 27 by default (`_views`); the drawing is ours (`_render`): orthographic, with
  hidden points left out of a view's say. CPMF keeps them.
- The table under a part is taken away as in CPMF's preprocessing, where the rim of a sensor's grid
  shows one (`_background`).
- A point that no view shows takes the score of the nearest point that one does, to a pixel.
- Each cloud is brought to the same size in the picture, by its own bounding sphere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from blemish.errors import InputError
from blemish.modalities import _background, _render
from blemish.modalities._cloud_files import is_cloud, read_cloud
from blemish.modalities._ply import Points, write_ply
from blemish.modalities._render import Projection, Scene
from blemish.modalities._shares import shares
from blemish.modalities._views import VIEWS, ViewSet
from blemish.modalities.recording import Carried, Judged, Modality, combine
from blemish.types import Sample

__all__ = ["Cloud", "CloudOptions", "is_cloud", "open_cloud", "write_ply"]

FAR = 3.0
"""Points farther from the middle than this times the 99th percentile are strays (flying pixels): no
view shows them, since the part would be a speck beside them."""
HUGE = 1e100
"""Coordinates beyond this are no measurement; their squares could not be added."""
GAPS = 1.4
"""Radius of a point's disc, in gaps between points: random points of 1.4 leave no hole in a
surface of 100,000."""


class CloudOptions(BaseModel):
    """How a point cloud becomes views.

    Attributes:
        views: "cpmf" (27, 15 degrees to all sides), "tilted" (9, 30 degrees), "around" (10, for a
            part scanned from all sides) or "front" (1).
        size: side of a view in pixels; 224 as in CPMF.
        axes: "camera" where x points right, y down and z away from the sensor; "viewer" where x
            points right, y up and z towards it, as MeshLab and CloudCompare show a file at first;
            None takes "camera" for an xyz TIFF and "viewer" for PLY and PCD.
        background: "remove" takes a table away that the rim of a sensor's grid shows; "keep".
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    views: ViewSet = "cpmf"
    size: int = Field(default=224, ge=32, le=2048)
    axes: Literal["camera", "viewer"] | None = None
    background: Literal["remove", "keep"] = "remove"


def open_cloud(
    path: str | Path, options: CloudOptions | None = None, *, id: str, class_name: str
) -> Cloud:
    """Read a point cloud from an xyz TIFF, a PLY or a PCD file.

    Args:
        path: the file; its first bytes decide what it is.
        options: how it becomes views.
        id: of the recording, such as its path.
        class_name: what the part is called.

    Raises:
        InputError: the file is missing, damaged, no point cloud, or nothing was measured.
        MissingExtraError: a PCD file, and pypcd4 is not installed.
    """
    options = options or CloudOptions()
    file = read_cloud(path)
    exact = file.points.astype(np.float64)
    # A sensor writes NaN or zeros where it saw nothing; MVTec 3D-AD zeros.
    usable = np.isfinite(exact).all(axis=1) & (np.abs(exact) < HUGE).all(axis=1)
    empty = usable & ~exact.any(axis=1)
    unusable = int((~usable).sum())
    usable &= ~empty
    if not usable.any():
        raise InputError(
            f"{path} has {len(exact):,} points, and none was measured: {unusable:,} are not "
            f"finite and {int(empty.sum()):,} are (0, 0, 0). Record it again."
        )
    exact[~usable] = np.nan
    behind = np.zeros(len(exact), np.bool_)
    if options.background == "remove" and file.grid:
        behind = _background.table(exact, file.grid)
    part = np.flatnonzero(usable & ~behind)
    axes = options.axes or ("camera" if file.format == "TIFF" else "viewer")
    scene, drawn = _scene(exact, part, options.size, axes)
    about = {
        "format": file.format,
        "points": len(exact),
        "not finite": unusable,
        "at (0, 0, 0)": int(empty.sum()),
        "background": int(behind.sum()),
        "strays": len(part) - len(drawn),
        "drawn": len(drawn),
        "views": len(VIEWS[options.views]),
        "options": {**options.model_dump(), "axes": axes},
    }
    points = file.points.copy()
    points[~usable] = np.nan
    return Cloud(id, class_name, options, about, points, drawn, scene)


class Cloud:
    """An open point cloud; a `Recording`.

    Attributes:
        about: how many points came, what became of them, and the options.
        points: (P, 3) float32 or float64 in the file's order, unit and axes; NaN where nothing
            was measured.
    """

    modality: Modality = "point-cloud"

    def __init__(
        self,
        id: str,
        class_name: str,
        options: CloudOptions,
        about: Mapping[str, Any],
        points: Points,
        drawn: NDArray[np.intp],
        scene: Scene,
    ) -> None:
        """Take a read cloud; use `open_cloud`.

        Args:
            id: of the recording.
            class_name: what the part is called.
            options: how it becomes views.
            about: see the class.
            points: see the class.
            drawn: (N,) intp, which of the points are drawn.
            scene: the drawn points, (N, 3).
        """
        self.id, self.class_name, self.options, self.about = id, class_name, options, about
        self.points, self._drawn, self._scene = points, drawn, scene

    def samples(self) -> Iterator[Sample]:
        """One sample a view, in the order of the set, drawn while they are asked for."""
        for name, projection in self._views():
            picture = _render.draw(self._scene, projection)
            yield Sample(picture, self.class_name, domain="depth", id=name)

    def back(self, judged: Iterable[Judged]) -> Carried:
        """Scores of the views, carried to the points.

        `Inspection.points` is (P,) float32 in [0, 1] in the file's order: the mean over the views
        that show a point, of the score at its pixel; views without a score do not count. Points
        that no such view shows take the nearest one's. 0 for the background, for strays, for points
        without a measurement, and where no view has a score.

        Raises:
            InputError: not every view came.
        """
        total, count = np.zeros(len(self._drawn)), np.zeros(len(self._drawn), np.int32)
        carried = combine(self.id, self._adding(judged, total, count))
        points = self._scores(total, count)
        return replace(carried, inspection=replace(carried.inspection, points=points))

    def _views(self) -> Iterator[tuple[str, Projection]]:
        for number, view in enumerate(VIEWS[self.options.views], 1):
            yield f"view {number}: {view.name}", _render.project(self._scene, view.rotation)

    def _adding(
        self, judged: Iterable[Judged], total: NDArray[np.float64], count: NDArray[np.int32]
    ) -> Iterator[Judged]:
        """Pass on what was judged, and add each view's scores to the points that it shows."""
        came, size = iter(judged), self.options.size
        for name, projection in self._views():
            pair = next(came, None)
            if pair is None:
                raise InputError(f"Nothing came for {name} of {self.id}; expected every view.")
            if pair[1].score is not None:
                seen = projection.visible
                pixel = _render.view_pixel(self._scene, projection)[seen]
                total[seen] += shares(pair[1], 0, size, size).ravel()[pixel]
                count[seen] += 1
            yield pair

    def _scores(self, total: NDArray[np.float64], count: NDArray[np.int32]) -> NDArray[np.float32]:
        scores = np.zeros(len(self.points), np.float32)
        seen = np.flatnonzero(count)
        if len(seen):
            mean = total / np.maximum(count, 1)
            unseen = np.flatnonzero(count == 0)
            mean[unseen] = mean[seen[_nearest(self._scene.points, seen, unseen)]]
            scores[self._drawn] = mean
        return scores


def _scene(
    points: NDArray[np.float64], part: NDArray[np.intp], size: int, axes: str
) -> tuple[Scene, NDArray[np.intp]]:
    """The part's points, centred and scaled for views of a size, and which points they are."""
    there = points[part]
    away = np.linalg.norm(there - np.median(there, axis=0), axis=1)
    near = away <= FAR * np.quantile(away, 0.99)
    there = there[near]
    # In float64 first: coordinates of a map leave float32 no digits for the part itself.
    there -= (there.max(axis=0) + there.min(axis=0)) / 2
    radius = float(np.linalg.norm(there, axis=1).max()) or 1.0
    there *= _render.FILLED * size / radius
    if axes == "camera":
        there *= (1, -1, -1)
    scaled = there.astype(np.float32)
    return Scene(scaled, size, _disc(scaled)), part[near]


def _disc(points: NDArray[np.float32]) -> int:
    """Radius of the disc that closes the gaps between points (N, 3), in their unit."""
    from scipy.spatial import cKDTree

    # Points closer than a pixel, or equal, close no gap.
    apart = points[_one_a_cube(points, 1)[0]]
    some = apart[:: max(1, len(apart) // 2000)]
    fourth = cKDTree(apart).query(some, k=[min(5, len(apart))])[0]
    return int(np.clip(np.ceil(GAPS * np.quantile(fourth, 0.95)), 1, _render.WIDEST))


def _nearest(
    points: NDArray[np.float32], seen: NDArray[np.intp], unseen: NDArray[np.intp]
) -> NDArray[np.intp]:
    """(U,) intp, which of the seen points is the nearest of each unseen one, to about a pixel."""
    from scipy.spatial import cKDTree

    # A million points on the far side take a minute and a half; one for each pixel a second.
    first, _ = _one_a_cube(points[seen], 2)
    asked, cube = _one_a_cube(points[unseen], 2)
    found = cKDTree(points[seen[first]]).query(points[unseen[asked]])[1]
    return np.asarray(first[found[cube]], np.intp)


def _one_a_cube(
    points: NDArray[np.float32], side: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first point in each cube of space that has any, and the cube of each point."""
    x, y, z = (np.floor(points / side).astype(np.int64) + 2**20).T
    cube = x << 42 | y << 21 | z
    _, first, number = np.unique(cube, return_index=True, return_inverse=True)
    return first, number
