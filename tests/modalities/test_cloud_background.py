"""The table under a part, and a camera's axes: made grids of a sensor that looks down on a disc."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from blemish.modalities._background import table
from blemish.modalities.point_cloud import Cloud, CloudOptions, open_cloud
from blemish.types import Inspection

Array = NDArray[np.float64]


def scored(cloud: Cloud) -> NDArray[np.bool_]:
    """Which points have a score where every view is found anomalous."""
    found = [(s, Inspection(s.id, "anomalous", "calibration", score=1.0)) for s in cloud.samples()]
    scores = cloud.back(found).inspection.points
    assert scores is not None
    return np.asarray(scores == 1)


def plate(bump: float, *, tilt: float = 0.0) -> tuple[Array, NDArray[np.bool_]]:
    """A sensor's grid (80 x 100) over a disc of a height on a table, and where the disc is."""
    y, x = np.mgrid[0:80, 0:100].astype(float)
    disc = (y - 40) ** 2 + (x - 50) ** 2 < 25**2
    z = 300 - np.where(disc, bump, 0) + tilt * x + np.random.default_rng(0).normal(0, 0.1, x.shape)
    return np.stack([x, y, z], axis=2).reshape(-1, 3), disc.ravel()


@pytest.mark.parametrize("tilt", [0.0, 0.5])
def test_the_table_is_taken_away_and_the_part_is_not(tilt: float, tmp_path: Path) -> None:
    points, disc = plate(10, tilt=tilt)
    points[::50] = 0
    tifffile.imwrite(
        tmp_path / "a.tiff", points.reshape(80, 100, 3).astype(np.float32), photometric="rgb"
    )
    cloud = open_cloud(tmp_path / "a.tiff", CloudOptions(views="front"), id="a", class_name="disc")
    measured = points.any(axis=1)
    np.testing.assert_array_equal(scored(cloud), disc & measured)
    assert cloud.about["background"] == (~disc & measured).sum()
    kept = CloudOptions(views="front", background="keep")
    cloud = open_cloud(tmp_path / "a.tiff", kept, id="a", class_name="disc")
    np.testing.assert_array_equal(scored(cloud), measured)


def test_a_sheet_that_fills_the_view_is_no_table() -> None:
    points, _ = plate(0.3)  # next to nothing stands out
    assert not table(points, (80, 100)).any()
    y, x = np.mgrid[0:80, 0:100].astype(float)
    bent = np.stack([x, y, 300 + (x - 50) ** 2 / 25], axis=2).reshape(-1, 3)
    assert not table(bent, (80, 100)).any()
    assert not table(np.full((8000, 3), np.nan), (80, 100)).any()


def test_axes_of_a_camera_are_turned_to_the_viewer(tmp_path: Path) -> None:
    """In a camera's axes the nearer half has the lower z, and rows grow with y."""
    points, disc = plate(10)
    xyz = np.where(disc[:, None], points, 0).reshape(80, 100, 3).astype(np.float32)
    xyz[:40] = 0  # only the lower half of the disc
    tifffile.imwrite(
        tmp_path / "a.tiff", np.where(xyz.any(axis=2, keepdims=True), xyz, 0), photometric="rgb"
    )
    cloud = open_cloud(tmp_path / "a.tiff", id="a", class_name="disc")
    first = next(iter(cloud.samples())).image[:, :, 0] > 0
    assert first[:112].any(axis=0).sum() > first[112:].any(axis=0).sum()  # its straight edge is up
