"""`patchcore` on a stand-in encoder: the paper's rules in plain loops, and what it promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blemish.detectors import patchcore
from blemish.detectors._concatenated import joined
from blemish.detectors.patchcore import PatchCore, reweighted
from blemish.types import Detector, Encoder, Inspection, Sample

One = Callable[[Detector, Sample], Inspection]
State = Callable[[Detector, Path], dict[str, NDArray[Any]]]
Enlarge = Callable[[NDArray[Any], int, int], NDArray[np.float64]]
Make = Callable[..., PatchCore]
SIDE = 112


@pytest.fixture
def make(published: Make) -> Make:
    """Builds the detector at the stand-in encoder's size, with options."""
    return partial(published, "patchcore")


def descriptors(cells: Encoder, sample: Sample) -> NDArray[np.float64]:
    (features,) = cells.encode(sample.images[:1], layers=(1, 2), size=SIDE)
    return joined(features, (1, 2), (8, 8), pooling=3).astype(np.float64)


def distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def test_map_and_score_are_the_papers(
    make: Make, cells: Encoder, good: list[Sample], broken: Sample, bilinear: Enlarge, one: One
) -> None:
    bank = np.concatenate([descriptors(cells, s) for s in good[:2]])
    patches = descriptors(cells, broken)
    away = [[distance(p, m) for m in bank] for p in patches]
    plain = np.array([min(row) for row in away])
    # Equations 6 and 7: the patch farthest from its entry m*, and the nine entries around m*.
    test = int(plain.argmax())
    star = away[test].index(min(away[test]))
    around = sorted(range(len(bank)), key=lambda m: distance(bank[star], bank[m]))[:9]
    factor = 1 - math.exp(plain[test]) / sum(math.exp(away[test][m]) for m in around)

    found = one(make(sigma=0).fit(good[:2]), broken)
    assert found.raw_score == pytest.approx(factor * plain[test], rel=1e-5)
    assert found.maps[0] == pytest.approx(bilinear(plain.reshape(8, 8), SIDE, SIDE), abs=1e-5)
    assert found.evidence["nearest_reference"] == good[star // 64].id


def test_a_reference_has_nothing_odd(make: Make, good: list[Sample], one: One) -> None:
    detector = make().fit([Sample([good[0].image, good[1].image]), good[2]])
    for sample in good[:3]:  # each view of a reference is known
        found = one(detector, sample)
        assert (found.raw_score, found.maps[0].max()) == (0, 0)
        assert found.verdict == "normal"


@pytest.mark.parametrize(("share", "kept"), [(0.1, 20), (0.5, 96), (1, 192)])
def test_the_coreset_keeps_a_share_of_the_patches(
    share: float, kept: int, make: Make, good: list[Sample], tmp_path: Path, state: State
) -> None:
    arrays = state(make(coreset=share).fit(good[:3]), tmp_path)
    assert arrays["tokens"].shape == (kept, 26)
    assert arrays["owner"].shape == (kept,)


def test_the_coreset_is_bounded(
    make: Make, good: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    monkeypatch.setattr(patchcore, "MOST", 17)
    assert len(state(make(coreset=0.5).fit(good[:3]), tmp_path)["owner"]) == 17


def test_each_reference_keeps_a_patch_so_that_any_may_be_left_out(
    make: Make, good: list[Sample], tmp_path: Path, state: State
) -> None:
    # Nearly plain pictures, whose patches the search for far ones leaves alone, beside noise.
    plain = [Sample(np.full((SIDE, SIDE, 3), 100 + i, np.uint8)) for i in range(2)]
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    detector = make(coreset=0.02).fit([*plain, Sample(noise)])
    assert set(state(detector, tmp_path)["owner"].tolist()) == {0, 1, 2}
    assert detector.calibration is not None
    assert detector.calibration.n == 3


def test_the_seed_chooses_the_coreset(
    make: Make, good: list[Sample], broken: Sample, one: One
) -> None:
    first, again, other = (
        one(make(coreset=0.05, seed=s).fit(good[:3]), broken).maps[0] for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_patch_counts_less_where_its_entry_is_among_many_like_it() -> None:
    patch = np.array([3.0, 0.0], np.float32)
    crowd = np.zeros((20, 2), np.float32)
    lonely = np.concatenate([crowd[:1], np.tile(np.array([-9, 0], np.float32), (19, 1))])
    # nine equal distances; one of 3 beside eight of 12
    assert reweighted(patch, crowd, 0) == pytest.approx(8 / 9)
    assert reweighted(patch, lonely, 0) == pytest.approx(
        1 - math.exp(3) / (math.exp(3) + 8 * math.exp(12))
    )
    assert reweighted(patch, crowd[:2], 0) == pytest.approx(1 / 2)
    assert reweighted(patch, crowd[:1], 0) == 1


def test_far_patches_do_not_overflow_the_weight() -> None:
    bank = np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)
    assert reweighted(np.array([5e4, 0], np.float32), bank, 1) == pytest.approx(
        1 - 1 / (1 + math.e)
    )
