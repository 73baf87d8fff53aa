"""The made recordings of the benchmarks: what is said to be true of them is in the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray


@pytest.fixture(scope="module")
def made(module: Callable[[Path], ModuleType]) -> ModuleType:
    return module(Path(__file__).parents[1] / "benchmarks" / "made_recordings.py")


def film(path: Path) -> NDArray[np.int16]:
    with av.open(str(path)) as opened:
        return np.stack([f.to_ndarray(format="gray") for f in opened.decode(video=0)]).astype(
            np.int16
        )


@pytest.mark.parametrize("defect", ["dent", "bump", "groove"])
def test_the_points_that_a_defect_moves_are_those_that_are_told(
    made: ModuleType, defect: str, tmp_path: Path
) -> None:
    told, part = made.ring(tmp_path / "a.tiff", 3, 4, defect, side=200)
    none, same_part = made.ring(tmp_path / "b.tiff", 3, 4, side=200)
    bad, good = (tifffile.imread(tmp_path / f"{name}.tiff").reshape(-1, 3) for name in "ab")
    moved = np.linalg.norm(bad.astype(np.float64) - good, axis=1)
    close = np.abs(moved - 0.2) < 1e-3  # the file's 32 bits
    np.testing.assert_array_equal((moved > 0.2)[~close], told[~close])
    np.testing.assert_array_equal(part, same_part)
    assert told.sum() > 50
    assert not none.any()
    assert (good[part] != 0).any(axis=1).all()


@pytest.mark.parametrize("defect", ["spike", "missed cycle", "weak cycle", "shift", "noise"])
def test_the_rows_that_a_defect_changes_are_those_that_are_told(
    made: ModuleType, defect: str, tmp_path: Path
) -> None:
    told = made.cycles(tmp_path / "a.csv", 3, 4, defect, rows=8000)
    assert not made.cycles(tmp_path / "b.csv", 3, 4, rows=8000).any()
    bad, good = (np.loadtxt(tmp_path / f"{name}.csv", delimiter=",", skiprows=1) for name in "ab")
    assert bad.shape == (8000, 3)
    np.testing.assert_array_equal(bad[:, 0], good[:, 0])
    # Four standard deviations of the noise of each channel.
    changed = np.asarray((np.abs(bad - good)[:, 1:] > (0.32, 0.6)).any(axis=1))
    if defect == "noise":
        assert not changed[~told].any()
        assert changed[told].mean() > 0.3
    else:
        assert (changed != told).sum() <= 4  # the file's three decimals
    assert 20 < told.sum() < 4000


@pytest.mark.parametrize("defect", ["foreign object", "fallen part", "hole", "haze"])
def test_the_frames_that_show_a_defect_are_those_that_are_told(
    made: ModuleType, defect: str, tmp_path: Path
) -> None:
    size = {"seconds": 6, "height": 180}
    told = made.belt(tmp_path / "a.mp4", 4, 4, defect, **size)
    assert not made.belt(tmp_path / "b.mp4", 4, 4, **size).any()
    bad, good = film(tmp_path / "a.mp4"), film(tmp_path / "b.mp4")
    assert len(told) == len(bad) == 60
    # At this height a defect counts from 25 pixels; the codec blurs its edges.
    shows = (np.abs(bad - good) > 15).sum(axis=(1, 2))
    assert told[shows > 100].all()
    assert not told[shows < 25].any()
    assert told.any()
    assert not told.all()
