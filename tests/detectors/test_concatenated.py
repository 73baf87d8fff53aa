"""Descriptors of joined layers and their neighbours, against plain loops in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blemish.detectors import _concatenated
from blemish.detectors._concatenated import ConcatenatedOptions, grid_of, joined, nearest
from blemish.types import Encoder, Features, Sample

Enlarge = Callable[[NDArray[Any], int, int], NDArray[np.float64]]
SIDE = 112


def averaged(patches: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Each patch's mean over the size x size patches around it, the outermost repeated."""
    padded = np.pad(patches.astype(np.float64), [(size // 2,) * 2] * 2 + [(0, 0)], "edge")
    mean = np.empty(patches.shape)
    for y in range(patches.shape[0]):
        for x in range(patches.shape[1]):
            mean[y, x] = padded[y : y + size, x : x + size].mean((0, 1))
    return mean


@pytest.mark.parametrize("layers", [(1, 2), (2, 1), (2,)])
@pytest.mark.parametrize("pooling", [1, 3])
@pytest.mark.parametrize("grid", [None, (5, 11)])
def test_layers_are_averaged_interpolated_and_put_side_by_side(
    layers: tuple[int, ...],
    pooling: int,
    grid: tuple[int, int] | None,
    cells: Encoder,
    good: list[Sample],
    bilinear: Enlarge,
) -> None:
    (features,) = cells.encode([good[0].image], layers=layers, size=SIDE)
    rows, columns = grid or grid_of(features, layers)
    channels = []
    for k in layers:
        mean = averaged(features.patches[k], pooling)
        channels += [bilinear(mean[..., c], rows, columns) for c in range(mean.shape[-1])]
    expected = np.stack(channels, -1).reshape(rows * columns, -1)
    found = joined(features, layers, (rows, columns), pooling)
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, abs=1e-6)


def test_layers_of_many_channels_are_interpolated(bilinear: Enlarge) -> None:
    random = np.random.default_rng(0)
    coarse = random.normal(size=(2, 3, 1300)).astype(np.float32)
    features = Features(coarse[0, 0], {1: np.zeros((4, 6, 1), np.float32), 2: coarse})
    found = joined(features, (1, 2), (4, 6)).reshape(4, 6, -1)
    assert found[..., 1 + 1299] == pytest.approx(bilinear(coarse[..., 1299], 4, 6), abs=1e-6)


def test_the_grid_is_that_of_the_finest_layer() -> None:
    patches = {
        k: np.zeros((*g, 2), np.float32) for k, g in {1: (4, 9), 2: (7, 6), 3: (2, 3)}.items()
    }
    assert grid_of(Features(np.zeros(2, np.float32), patches), (3, 1, 2)) == (7, 6)
    assert grid_of(Features(np.zeros(2, np.float32), patches), (3, 1)) == (4, 9)


@pytest.mark.parametrize("at_once", [1, 50, 2**22])
def test_the_nearest_row_whatever_is_held_at_a_time(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_concatenated, "_AT_ONCE", at_once)
    random = np.random.default_rng(3)
    queries, bank = (random.normal(5, 1, (n, 6)).astype(np.float32) for n in (20, 70))
    queries[4] = bank[33]
    away, rows = nearest(queries, bank)
    every = [[float(np.sqrt(((q - b) ** 2).sum())) for b in bank.astype(float)] for q in queries]
    assert away == pytest.approx(np.min(every, axis=1), rel=1e-5)
    assert rows.tolist() == np.argmin(every, axis=1).tolist()
    assert away[4] == 0


def test_top_replaces_the_papers_image_score() -> None:
    maps = [np.array([[1, 2], [3, 4]], np.float32), np.zeros((2, 2), np.float32)]
    papers, highest = (ConcatenatedOptions.model_validate({"top": share}) for share in (0, 0.5))
    assert papers.image_score(maps, 9.5) == 9.5
    assert highest.image_score(maps, 9.5) == 3.5
