"""The accumulator beside the exact functions, in any order and from any machine."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from blemish.errors import InputError, OptionError, OutputError, SavedError, UndefinedMetricError
from blemish.metrics import pixels
from blemish.metrics.overlap import au_pro
from blemish.metrics.pixels import Counts, PixelAccumulator
from blemish.metrics.ranking import auroc, average_precision, f1_max
from blemish.types import Mask

Maps = list[NDArray[Any]]


def filled(maps: Maps, masks: list[Mask]) -> PixelAccumulator:
    total = PixelAccumulator()
    for values, mask in zip(maps, masks, strict=True):
        total.add(values, mask)
    return total


def ranked(maps: Maps, masks: list[Mask]) -> dict[str, float]:
    labels = np.concatenate([mask.ravel() for mask in masks])
    scores = np.concatenate([values.ravel() for values in maps])
    return {
        "auroc": auroc(labels, scores),
        "average_precision": average_precision(labels, scores),
        "f1_max": f1_max(labels, scores)[0],
        "au_pro": au_pro(maps, masks),
    }


def figures(total: PixelAccumulator) -> tuple[float, ...]:
    return (
        total.auroc(),
        total.average_precision(),
        *total.f1_max(),
        *(total.au_pro(limit) for limit in (0.05, 0.3, 1.0)),
    )


def assert_exact(maps: Maps, masks: list[Mask]) -> None:
    total, truth = filled(maps, masks), ranked(maps, masks)
    for name in ("auroc", "average_precision"):
        assert getattr(total, name)() == pytest.approx(truth[name], abs=1e-12)
    labels = np.concatenate([mask.ravel() for mask in masks])
    scores = np.concatenate([values.ravel() for values in maps])
    assert total.f1_max() == pytest.approx(f1_max(labels, scores), abs=1e-12)
    for limit in (0.01, 0.3, 1.0):
        assert total.au_pro(limit) == pytest.approx(au_pro(maps, masks, limit), abs=1e-11)


@pytest.mark.parametrize("seed", range(6))
def test_float16_maps_give_the_exact_figures(seed: int, make: Any) -> None:
    maps, masks = make(seed, images=6, side=40, levels=(5, 3000)[seed % 2])
    assert_exact(maps, masks)
    assert_exact([values.astype(np.float32) for values in maps], masks)


PIXEL = st.tuples(st.sampled_from([0, 0x8000]), st.integers(0, 0x7BFF), st.booleans())


@settings(max_examples=50, deadline=None)
@given(st.lists(PIXEL, min_size=10, max_size=10))
def test_any_float16_is_kept_in_order(drawn: list[tuple[int, int, bool]]) -> None:
    """Negative numbers, both zeros, the smallest and the largest."""
    drawn += [(0, 0, True), (0x8000, 0, False)]
    bits = np.array([sign | size for sign, size, _ in drawn], np.uint16)
    mask = np.array([anomalous for _, _, anomalous in drawn]).reshape(3, 4)
    assert_exact([bits.view(np.float16).reshape(3, 4)], [mask])


def test_every_float16_has_a_place_of_its_own() -> None:
    values = np.arange(65_536, dtype=np.uint16).view(np.float16)
    values = np.unique(values[np.isfinite(values)])
    for mask in (np.zeros(values.size, np.bool_), np.ones(values.size, np.bool_)):
        total = PixelAccumulator()
        total.add(values[None], mask[None])
        (places,) = np.nonzero(total._normal + total._anomalous)
        np.testing.assert_array_equal(pixels._VALUE[places], values)


def test_au_pro_is_what_the_loops_say(make: Any, au_pro_by_loops: Any) -> None:
    maps, masks = make(11)
    found = filled(maps, masks).au_pro(0.3)
    assert found == pytest.approx(au_pro_by_loops(maps, masks, 0.3), abs=1e-11)


def test_merging_in_any_order_is_exact_to_the_bit(make: Any) -> None:
    maps, masks = make(5, images=5, side=30)
    whole = figures(filled(maps, masks))
    for order in itertools.permutations(range(5)):
        parts = [filled([maps[i]], [masks[i]]) for i in order]
        left = ((parts[0] + parts[1]) + (parts[2] + parts[3])) + parts[4]
        assert figures(left) == whole
        assert left.counts == filled(maps, masks).counts
    assert figures(sum(parts, PixelAccumulator())) == whole


def test_merging_leaves_both_as_they_were(make: Any) -> None:
    maps, masks = make(5)
    one, two = filled(maps[:2], masks[:2]), filled(maps[2:], masks[2:])
    before = figures(one), figures(two)
    one + two
    assert (figures(one), figures(two)) == before


@pytest.mark.parametrize("area", [1, 3, 7, 1_000_003, 2**24])
def test_a_region_adds_up_to_exactly_one(area: int) -> None:
    """Shares are cut off downwards by less than 2**-42, and never leave int64."""
    rng = np.random.default_rng(area)
    steps = np.unique(np.append(rng.integers(1, area + 1, 50), area))
    areas = np.full(steps.size, area)
    parts = pixels._part(steps, areas)
    assert parts.tolist() == [2**42 * int(step) // area for step in steps]
    assert parts[-1] == 2**42


def test_every_region_of_an_image_adds_up_to_exactly_one() -> None:
    """3, 7 and 1 pixels of different scores: cutting off each share by itself would lose some."""
    mask = np.zeros((5, 8), np.bool_)
    mask[0, :3] = mask[2, :7] = mask[4, 0] = True
    total = filled([np.arange(40, dtype=np.float16).reshape(5, 8)], [mask])
    assert total.counts.regions == 3
    assert int(total._regions.sum()) == 3 * 2**42


def test_counts_say_what_went_in(make: Any) -> None:
    maps, masks = make(2)
    corner = np.zeros_like(masks[0])
    corner[0, 0] = corner[1, 1] = corner[5, 5] = True
    total = filled([maps[0], maps[0].astype(np.float32)], [masks[0], corner])
    assert total.counts == Counts(2, 1, 288, 3, 2)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_rounding_stays_within_its_bounds(seed: int, scale: float, make: Any) -> None:
    """Scores so close together that float16 ties many of them."""
    maps, masks = make(seed, images=5, side=32, levels=20_000, dtype=np.float32)
    maps = [np.float32(scale) * (1 + values / 8) for values in maps]
    total, truth = filled(maps, masks), ranked(maps, masks)
    rounded = ranked([values.astype(np.float16) for values in maps], masks)
    bounds = total.rounding_bounds()
    for name, exact in truth.items():
        found = getattr(total, name)()
        found = found[0] if name == "f1_max" else found
        assert found == pytest.approx(rounded[name], abs=1e-11)
        assert abs(found - exact) <= getattr(bounds, name) + 1e-11
        assert 0 <= getattr(bounds, name) < 0.05
    assert bounds.auroc > 0
    exact_bounds = filled([values.astype(np.float16) for values in maps], masks).rounding_bounds()
    assert exact_bounds == pixels.RoundingBounds(0.0, 0.0, 0.0, 0.0)


def test_the_worst_order_reaches_the_bounds() -> None:
    """All pixels tie in float16; before, every anomalous one was on top, or at the bottom."""
    mask = np.zeros((4, 4), np.bool_)
    mask[0, :2] = True
    for sign in (1, -1):
        values = (np.arange(16, 0, -1).reshape(4, 4) * sign * 1e-7 + 1).astype(np.float32)
        total, truth = filled([values], [mask]), ranked([values], [mask])
        bounds = total.rounding_bounds()
        assert abs(total.auroc() - truth["auroc"]) == pytest.approx(bounds.auroc)
        if sign == 1:
            assert truth["au_pro"] - total.au_pro() == pytest.approx(bounds.au_pro)
            assert truth["f1_max"] - total.f1_max()[0] == pytest.approx(bounds.f1_max)


def test_the_bound_of_average_precision_holds_downwards() -> None:
    """Two normal pixels among many anomalous ones, on top of them before rounding tied all."""
    mask = np.ones((4, 4), np.bool_)
    mask[0, :2] = False
    values = (np.arange(16, 0, -1).reshape(4, 4) * 1e-7 + 1).astype(np.float32)
    total, exact = filled([values], [mask]), ranked([values], [mask])["average_precision"]
    above = 1 - total.average_precision()
    assert above < total.average_precision() - exact <= total.rounding_bounds().average_precision


def test_memory_does_not_grow(make: Any) -> None:
    maps, masks = make(0)
    total = filled(maps * 3, masks * 3)
    arrays = [v for v in vars(total).values() if isinstance(v, np.ndarray)]
    assert sum(a.nbytes for a in arrays) == 3 * 65_536 * 8
    assert not any(isinstance(v, list | dict) for v in vars(total).values())


def test_one_class_only_is_undefined(make: Any) -> None:
    maps, masks = make(0)
    good, empty = filled(maps[:1], masks[:1]), PixelAccumulator()
    full = filled(maps[:1], [~masks[0]])
    for total, only in ((good, "normal"), (empty, "anomalous"), (full, "anomalous")):
        for figure in (total.auroc, total.average_precision, total.f1_max, total.au_pro):
            with pytest.raises(UndefinedMetricError, match=f"are {only}"):
                figure()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named_and_nothing_changes(
    dtype: Any, bad: float, make: Any
) -> None:
    maps, masks = make(4)
    total = filled(maps, masks)
    before, counts = figures(total), total.counts
    wrong = maps[1].astype(dtype)
    wrong[3, 7] = bad
    with pytest.raises(InputError, match=rf"Map 4\[3, 7\] is {bad}"):
        total.add(wrong, masks[1])
    with pytest.raises(InputError, match=r"bottle/crack/3\.png\[3, 7\]"):
        total.add(wrong, masks[1], "bottle/crack/3.png")
    assert (figures(total), total.counts) == (before, counts)


@pytest.mark.parametrize("value", [65_520.0, -70_000.0, 1e30])
def test_a_value_beyond_float16_is_named_with_advice(value: float) -> None:
    values = np.ones((2, 3), np.float32)
    values[1, 2] = value
    with pytest.raises(InputError, match=r"Map 0\[1, 2\].*65,504.*Divide all maps"):
        PixelAccumulator().add(values, np.zeros((2, 3), np.bool_))
    values[1, 2] = 65_519.0  # rounds to the largest float16
    PixelAccumulator().add(values, np.zeros((2, 3), np.bool_))


def test_what_does_not_fit_is_refused() -> None:
    total, mask = PixelAccumulator(), np.zeros((3, 3), np.bool_)
    with pytest.raises(InputError, match=r"mask of Map 0 has shape \(3, 3\)"):
        total.add(np.ones((3, 4)), mask)
    with pytest.raises(InputError, match="dtype uint8"):
        total.add(np.ones((3, 3)), mask.astype(np.uint8))
    with pytest.raises(InputError, match=r"expected \(H, W\) float"):
        total.add(np.ones((1, 3, 3)), mask)
    with pytest.raises(OptionError, match="limit"):
        total.au_pro(0.0)


def test_more_regions_than_can_be_counted_exactly_are_refused() -> None:
    half, other = PixelAccumulator(), PixelAccumulator()
    half._counts, other._counts = Counts(regions=2**20), Counts(regions=2**20)
    with pytest.raises(InputError, match="2097152 regions are too many"):
        half + other


def test_big_endian_and_strided_maps_are_read_as_they_are(make: Any) -> None:
    maps, masks = make(6)
    swapped: Maps = [values.astype(">f2") for values in maps]
    turned = [values.T for values in swapped]
    assert figures(filled(swapped, masks)) == figures(filled(maps, masks))
    assert figures(filled(turned, [m.T for m in masks])) == figures(filled(maps, masks))


def test_a_saved_accumulator_comes_back_whole(tmp_path: Path, make: Any) -> None:
    maps, masks = make(8)
    first, second = filled(maps[:2], masks[:2]), filled(maps[2:], masks[2:])
    first.save(tmp_path / "a.npz")
    found = PixelAccumulator.load(tmp_path / "a.npz")
    assert found.counts == first.counts
    assert figures(found + second) == figures(filled(maps, masks))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_damaged_or_foreign_file_is_refused(
    tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(SavedError, match="does not exist"):
        PixelAccumulator.load(path)
    filled(*make(8)).save(path)
    whole = path.read_bytes()
    for broken in (b"", b"nothing", whole[: len(whole) // 2], whole[:200] + b"x" + whole[201:]):
        path.write_bytes(broken)
        with pytest.raises(SavedError, match="damaged"):
            PixelAccumulator.load(path)
    np.savez(path, normal=np.zeros(3))
    with pytest.raises(SavedError, match="damaged"):
        PixelAccumulator.load(path)
    monkeypatch.setattr(pixels, "_FORMAT", 2)
    path.write_bytes(whole)
    with pytest.raises(SavedError, match=r"format 1; this version reads 2"):
        PixelAccumulator.load(path)


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        PixelAccumulator().save(tmp_path / "missing" / "a.npz")
