"""`patchcore` on a stand-in encoder: the paper's rules in plain loops, and what it promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from blemish.detectors import patchcore
from blemish.detectors._concatenated import joined
from blemish.detectors.patchcore import PatchCore, PatchCoreOptions, reweighted
from blemish.synthesis.procedural import make_part
from blemish.types import Encoder, Inspection, Sample

Enlarge = Callable[[NDArray[Any], int, int], NDArray[np.float64]]
Facts = Callable[[Inspection], tuple[Any, ...]]
Make = Callable[..., PatchCore]
SIDE = 112


@pytest.fixture
def make(cells: Encoder) -> Make:
    """Builds the detector; no coreset and the encoder's size unless asked for."""

    def build(seed: int = 0, **options: Any) -> PatchCore:
        checked = PatchCoreOptions(**{"size": SIDE, "coreset": 1, **options})
        return PatchCore(encoder=cells, options=checked, seed=seed)

    return build


def one(detector: PatchCore, sample: Sample) -> Inspection:
    (found,) = detector.predict([sample])
    return found


def raw(detector: PatchCore, sample: Sample) -> float:
    score = one(detector, sample).raw_score
    assert score is not None
    return score


def saved(detector: PatchCore, folder: Path) -> dict[str, NDArray[Any]]:
    detector.save(folder)
    return dict(load_file(folder / "state.safetensors"))


def descriptors(cells: Encoder, sample: Sample) -> NDArray[np.float64]:
    (features,) = cells.encode(sample.images[:1], layers=(1, 2), size=SIDE)
    return joined(features, (1, 2), (8, 8), pooling=3).astype(np.float64)


def distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def test_map_and_score_are_the_papers(
    make: Make, cells: Encoder, good: list[Sample], broken: Sample, bilinear: Enlarge
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


def test_a_stained_part_is_found_where_the_stain_is(make: Make, good: list[Sample]) -> None:
    example = make_part("brushed", 103, defect="stain", size=(SIDE, SIDE))
    assert example.mask is not None
    detector = make(layers=(1,)).fit(good)
    found = one(detector, example.sample)
    assert found.maps[0][example.mask].mean() > 2 * found.maps[0][~example.mask].mean()
    assert example.mask[np.unravel_index(int(found.maps[0].argmax()), (SIDE, SIDE))]


def test_a_reference_has_nothing_odd(make: Make, good: list[Sample]) -> None:
    detector = make().fit(good[:3])
    for sample in good[:3]:
        found = one(detector, sample)
        assert (found.raw_score, found.maps[0].max()) == (0, 0)
        assert found.verdict == "normal"


def test_the_order_of_the_references_changes_nothing_without_a_coreset(
    make: Make, good: list[Sample], broken: Sample
) -> None:
    first, second = (make().fit(some) for some in (good[:4], good[3::-1]))
    assert one(first, broken).maps[0] == pytest.approx(one(second, broken).maps[0], abs=1e-6)
    assert raw(first, broken) == pytest.approx(raw(second, broken), rel=1e-5)
    assert first.calibration is not None
    assert second.calibration is not None
    assert first.calibration.location == pytest.approx(second.calibration.location, abs=1e-5)


def test_it_is_calibrated_on_each_reference_against_the_others(
    make: Make, good: list[Sample]
) -> None:
    known = [*good[:3], Sample([good[4].image, good[5].image])]
    rest = [[s for s in known if s is not one] for one in known]
    scores = [raw(make().fit(some), own) for some, own in zip(rest, known, strict=True)]
    calibration = make().fit(known).calibration
    assert calibration is not None
    assert calibration.n == 4
    assert calibration.location == pytest.approx(np.log(scores).mean(), abs=1e-5)


@pytest.mark.parametrize(("share", "kept"), [(0.1, 20), (0.5, 96), (1, 192)])
def test_the_coreset_keeps_a_share_of_the_patches(
    share: float, kept: int, make: Make, good: list[Sample], tmp_path: Path
) -> None:
    state = saved(make(coreset=share).fit(good[:3]), tmp_path)
    assert state["tokens"].shape == (kept, 26)
    assert state["owner"].shape == (kept,)


def test_the_coreset_is_bounded(
    make: Make, good: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patchcore, "MOST", 17)
    assert len(saved(make(coreset=0.5).fit(good[:3]), tmp_path)["owner"]) == 17


def test_each_reference_keeps_a_patch_so_that_any_may_be_left_out(
    make: Make, good: list[Sample], tmp_path: Path
) -> None:
    # Nearly plain pictures, whose patches the search for far ones leaves alone, beside noise.
    plain = [Sample(np.full((SIDE, SIDE, 3), 100 + i, np.uint8)) for i in range(2)]
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    detector = make(coreset=0.02).fit([*plain, Sample(noise)])
    assert set(saved(detector, tmp_path)["owner"].tolist()) == {0, 1, 2}
    assert detector.calibration is not None
    assert detector.calibration.n == 3


def test_the_seed_chooses_the_coreset(make: Make, good: list[Sample], broken: Sample) -> None:
    first, again, other = (
        one(make(coreset=0.05, seed=s).fit(good[:3]), broken).maps[0] for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_part_is_as_odd_as_its_oddest_view(
    make: Make, good: list[Sample], broken: Sample
) -> None:
    detector = make().fit([Sample([good[0].image, good[1].image]), good[2]])
    views = [good[5], broken, good[6]]
    found = one(detector, Sample([v.image for v in views]))
    assert found.raw_score == max(raw(detector, v) for v in views)
    assert raw(detector, good[1]) == 0  # the second view of a reference is known too


def test_the_image_score_takes_the_map_where_top_asks_for_it(
    make: Make, good: list[Sample], broken: Sample
) -> None:
    found = one(make(top=1).fit(good[:3]), broken)
    assert found.raw_score == pytest.approx(found.maps[0].mean(), rel=1e-5)
    assert found.raw_score != raw(make().fit(good[:3]), broken)


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
