"""`padim` on a stand-in encoder: scipy's Mahalanobis distance a position, and what it promises."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import mahalanobis

from blemish.detectors import padim
from blemish.detectors._concatenated import joined
from blemish.detectors.padim import PaDiM, left_out_distances
from blemish.synthesis.procedural import make_part
from blemish.types import Detector, Encoder, Inspection, Sample

One = Callable[[Detector, Sample], Inspection]
State = Callable[[Detector, Path], dict[str, NDArray[Any]]]
Enlarge = Callable[[NDArray[Any], int, int], NDArray[np.float64]]
Make = Callable[..., PaDiM]
SIDE = 112


@pytest.fixture
def make(published: Make) -> Make:
    """Builds the detector at the stand-in encoder's size, with options."""
    return partial(published, "padim")


def descriptors(
    cells: Encoder, sample: Sample, grid: tuple[int, int] = (8, 8)
) -> NDArray[np.float64]:
    (features,) = cells.encode(sample.images[:1], layers=(1, 2), size=SIDE)
    return joined(features, (1, 2), grid).astype(np.float64)


def distances(normal: NDArray[np.float64], part: NDArray[np.float64]) -> NDArray[np.float64]:
    """One position after the other; `normal` (n, P, D), `part` (P, D)."""
    away = []
    for place in range(len(part)):
        here = normal[:, place]
        covariance = np.cov(here, rowvar=False) if len(here) > 1 else np.zeros((here.shape[1],) * 2)
        inverse = np.linalg.inv(covariance + 0.01 * np.eye(here.shape[1]))
        away.append(mahalanobis(part[place], here.mean(axis=0), inverse))
    return np.array(away)


@pytest.mark.parametrize("count", [1, 2, 6])
@pytest.mark.parametrize("positions", [7, 256])
def test_each_position_has_the_mahalanobis_distance(
    count: int,
    positions: int,
    make: Make,
    cells: Encoder,
    good: list[Sample],
    broken: Sample,
    bilinear: Enlarge,
    monkeypatch: pytest.MonkeyPatch,
    one: One,
) -> None:
    monkeypatch.setattr(padim, "_POSITIONS", positions)
    normal = np.stack([descriptors(cells, s) for s in good[:count]])
    plain = distances(normal, descriptors(cells, broken)).reshape(8, 8)
    found = one(make(sigma=0).fit(good[:count]), broken)
    assert found.maps[0] == pytest.approx(bilinear(plain, SIDE, SIDE), rel=1e-4)
    assert found.raw_score == found.maps[0].max()


def test_channels_are_drawn_by_the_seed(
    make: Make,
    cells: Encoder,
    good: list[Sample],
    broken: Sample,
    tmp_path: Path,
    one: One,
    state: State,
) -> None:
    states = [state(make(seed=s, channels=7).fit(good[:3]), tmp_path / str(s)) for s in (0, 1)]
    drawn = states[0]["channels"]
    assert len(set(drawn.tolist())) == 7
    assert drawn.tolist() != states[1]["channels"].tolist()
    assert state(make(channels=100).fit(good[:3]), tmp_path)["channels"].tolist() == [*range(26)]
    normal = np.stack([descriptors(cells, s)[:, drawn] for s in good[:3]])
    plain = distances(normal, descriptors(cells, broken)[:, drawn])
    found = one(make(seed=0, channels=7, sigma=0, top=1).fit(good[:3]), broken)
    assert found.raw_score == pytest.approx(plain.mean(), rel=1e-3)


def test_the_mean_of_the_references_has_nothing_odd(
    make: Make, good: list[Sample], one: One
) -> None:
    found = one(make().fit(good[:1]), good[0])
    assert (found.raw_score, found.maps[0].max()) == (0, 0)


def test_leaving_out_by_update_is_leaving_out_by_fitting_anew() -> None:
    random = np.random.default_rng(1)
    tokens = random.normal(3, 2, (4, 9, 5))
    owner = np.array([0, 0, 1, 2, 3, 3, 3, 4, 5])
    found = left_out_distances(tokens, owner)
    for picture in range(9):
        normal = tokens[:, owner != owner[picture]].transpose(1, 0, 2)
        expected = distances(normal, tokens[:, picture])
        assert found[:, picture] == pytest.approx(expected, rel=1e-9)


def test_pictures_of_another_aspect_are_compared_on_the_commonest_grid(
    make: Make, cells: Encoder, good: list[Sample], bilinear: Enlarge, one: One
) -> None:
    wide = [make_part("brushed", s, size=(80, 160)).sample for s in (50, 51)]
    detector = make(sigma=0).fit([wide[0], *good[:2]])
    normal = np.stack([descriptors(cells, s) for s in (wide[0], *good[:2])])
    plain = distances(normal, descriptors(cells, wide[1])).reshape(8, 8)
    found = one(detector, wide[1])
    assert found.evidence == {**found.evidence, "grid": [8, 8], "references": 3}
    assert found.maps[0].shape == (80, 160)
    sized = bilinear(plain, SIDE, SIDE)
    assert found.raw_score == pytest.approx(sized.max(), rel=1e-4)
