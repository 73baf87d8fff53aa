"""NSA: what is promised about pixels, masks, labels, sizes, places, edges and bad input."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from blemish.errors import InputError
from blemish.synthesis.cutpaste import cutpaste
from blemish.synthesis.nsa import Parameters, Synthetic, nsa, parameters
from blemish.synthesis.procedural import KINDS, make_part
from blemish.types import Image

SURFACE = Parameters(background=None, slope=1 / 3, onset=7)
ONE = SURFACE.model_copy(update={"patches": 1, "resize": (1.0, 1.0)})
WHOLE = ONE.model_copy(update={"half_height": (0.5, 0.5), "half_width": (0.5, 0.5)})


def rough(seed: int, size: tuple[int, int] = (128, 128), blur: float = 1.5) -> Image:
    """Blobs of strong contrast, so that any patch is seen."""
    noise = np.random.default_rng(seed).normal(size=(*size, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), blur)
    return np.asarray(np.clip(128 + 50 * soft / soft.std(), 0, 255), np.uint8)


def disc(seed: int, background: int) -> tuple[Image, NDArray[np.bool_]]:
    """A rough disc on a plain background, and where it is."""
    y, x = np.mgrid[:128, :128]
    part = np.hypot(x - 64, y - 64) < 40
    dull = (rough(seed) // 3 + (20 if background > 128 else 130)).astype(np.uint8)
    return np.where(part[..., None], dull, np.uint8(background)), part


def many(count: int, image: Image, source: Image, p: Parameters, seed: int = 0) -> list[Synthetic]:
    rng = np.random.default_rng(seed)
    return [nsa(image, [source], rng, p) for _ in range(count)]


def change(made: Synthetic, image: Image) -> NDArray[np.float64]:
    return np.asarray(np.abs(made.image.astype(float) - image).mean(axis=2))


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_changes_within_its_mask_and_nowhere_else(kind: str) -> None:
    good, other = (make_part(kind, seed, size=(128, 96)).sample.image for seed in (1, 2))
    p = parameters("procedural", kind)
    for seed in range(5):
        made = nsa(good, [other], np.random.default_rng(seed), p)
        assert made.image.dtype == np.uint8
        assert made.mask.dtype == np.bool_
        assert made.label.dtype == np.float32
        assert made.mask.shape == made.label.shape == made.image.shape[:2] == (128, 96)
        differs = change(made, good)
        assert differs[~made.mask].max() == 0
        assert (differs[made.mask] > 1).mean() > 0.8  # the rest are grains that a median closed
        assert made.label[~made.mask].max() == 0
        assert made.label.max() <= 1
        assert (made.label >= 0.5).sum() >= 0.0005 * made.mask.size
        inside = np.zeros_like(made.mask)
        for x0, y0, x1, y1 in made.boxes:
            inside[y0:y1, x0:x1] = True
        assert not (made.mask & ~inside).any()


def test_the_same_seed_gives_the_same_bytes_and_touches_no_input() -> None:
    good, other = rough(0), rough(1)
    before = good.tobytes(), other.tobytes()
    first, again, next_one = (
        nsa(good, [other], np.random.default_rng(s), SURFACE) for s in (5, 5, 6)
    )
    assert first.image.tobytes() == again.image.tobytes()
    assert first.label.tobytes() == again.label.tobytes()
    assert first.boxes == again.boxes != next_one.boxes
    assert (good.tobytes(), other.tobytes()) == before


def test_half_sides_follow_the_gamma_distribution() -> None:
    boxes = [made.boxes[0] for made in many(300, rough(0), rough(1), ONE)]
    halves = [side / 2 / 128 for x0, y0, x1, y1 in boxes for side in (x1 - x0, y1 - y0)]
    wanted = stats.gamma(2, loc=0.03, scale=0.05)
    blurred = np.array(halves) + np.random.default_rng(0).uniform(-1, 1, 600) / 512  # whole pixels
    inner = blurred[(blurred > 0.07) & (blurred < 0.38)]
    low, high = wanted.cdf(0.07), wanted.cdf(0.38)
    fit = stats.kstest(inner, lambda v: (wanted.cdf(v) - low) / (high - low))
    assert fit.pvalue > 0.01
    assert len(inner) / 600 == pytest.approx(high - low, abs=0.03)
    assert max(halves) <= 0.4 + 1 / 256


def test_sides_stay_within_the_bounds_of_the_class() -> None:
    p = Parameters(half_height=(0.1, 0.15), half_width=(0.2, 0.3), background=None)
    for made in many(60, rough(0), rough(1), p):
        for x0, y0, x1, y1 in made.boxes:
            assert 25 <= y1 - y0 <= 39
            assert 51 <= x1 - x0 <= 77


def test_resizing_is_normal_around_one_cut_to_its_range_and_keeps_the_shape() -> None:
    fixed = {"gamma": (1e8, 1e-9, 0.05), "resize": (0.5, 1.5)}  # half sides of 0.15
    boxes = [m.boxes[0] for m in many(200, rough(0), rough(1), ONE.model_copy(update=fixed))]
    sides = np.array([(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes])
    assert (sides[:, 0] == sides[:, 1]).all()
    factors = sides[:, 0] / (0.3 * 128)
    assert factors.min() == pytest.approx(0.5, abs=0.02)
    assert factors.max() == pytest.approx(1.5, abs=0.02)
    assert (factors < 0.52).mean() == pytest.approx(stats.norm.cdf(-1), abs=0.07)
    assert factors.mean() == pytest.approx(1, abs=0.06)


def test_the_number_of_patches_is_one_and_a_coin_for_each_further_one() -> None:
    image, source = (rough(seed, (64, 64)) for seed in (0, 1))
    counts = [len(m.boxes) for m in many(300, image, source, SURFACE)]
    assert set(counts) == {1, 2, 3}
    shares = [counts.count(n) / 300 for n in (1, 2, 3)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.08)


def test_patches_land_all_over_a_surface() -> None:
    small = ONE.model_copy(update={"half_height": (0.1, 0.1), "half_width": (0.1, 0.1)})
    boxes = np.array([m.boxes[0] for m in many(200, rough(0), rough(1), small)])
    for start in (boxes[:, 0], boxes[:, 1]):  # uniform from 0 to the last place with room
        assert stats.kstest(start / (128 - 26), "uniform").pvalue > 0.01


def test_a_patch_keeps_its_own_gradients_and_the_pictures_edges() -> None:
    """Poisson's equation: what the result and the patch differ by has no curvature within."""
    side = 48
    image, source = ((rough(s, (side, side)) // 3 + 80).astype(np.uint8) for s in (1, 2))
    made = nsa(image, [source], np.random.default_rng(0), WHOLE)
    assert made.boxes == ((0, 0, side, side),)
    assert made.mask[5:-5, 5:-5].mean() > 0.95

    def curvature(before: Image) -> float:
        bent = cv2.Laplacian(before.astype(np.float32) - source, cv2.CV_32F)
        return float(np.abs(bent[5:-5, 5:-5]).mean())

    assert curvature(made.image) < 2  # whole grey levels leave about 1.3
    assert curvature(image) > 10
    for edge in (np.s_[:2], np.s_[-2:], np.s_[:, :2], np.s_[:, -2:]):
        assert np.array_equal(made.image[edge], image[edge])


def test_mixed_gradients_keep_the_texture_that_normal_ones_wipe_out() -> None:
    image, source = rough(3), np.full((128, 128, 3), 128, np.uint8)
    y, x = np.mgrid[:128, :128]
    source[np.hypot(x - 64, y - 64) < 15] = 255
    kept = {}
    for mode in ("normal", "mixed"):
        p = WHOLE.model_copy(update={"mode": mode})
        made = nsa(image, [source], np.random.default_rng(0), p)
        away = np.s_[10:30, 10:118]
        kept[mode] = cv2.Laplacian(made.image[away], cv2.CV_32F).std()
    original = cv2.Laplacian(image[10:30, 10:118], cv2.CV_32F).std()
    assert kept["normal"] < 0.2 * original
    assert kept["mixed"] > 0.8 * original


def test_edges_are_smoother_than_those_of_cutpaste() -> None:
    image = (rough(1, blur=3) // 4 + 20).astype(np.uint8)
    source = (rough(2, blur=3) // 4 + 150).astype(np.uint8)

    def step(made: Synthetic) -> float:
        x0, y0, x1, y1 = made.boxes[0]
        whole = np.pad(made.image.astype(float), ((1, 1), (1, 1), (0, 0)), "edge")
        rows = np.abs(np.diff(whole[:, x0 + 1 : x1 + 1], axis=0))[[y0, y1]]
        columns = np.abs(np.diff(whole[y0 + 1 : y1 + 1], axis=1))[:, [x0, x1]]
        return float(np.concatenate([rows.ravel(), columns.ravel()]).mean())

    blended = [step(made) for made in many(30, image, source, ONE)]
    rng = np.random.default_rng(0)
    cut = [step(cutpaste(image, source, rng, ONE)) for _ in range(30)]
    assert np.median(blended) < 4
    assert np.median(blended) < np.median(cut) / 5


@pytest.mark.parametrize("background", [230, 20])
@pytest.mark.parametrize("how", ["estimated", "stated"])
def test_patches_of_an_object_lie_on_the_object(background: int, how: str) -> None:
    (image, part), (source, _) = disc(1, background), disc(2, background)
    told = "estimated" if how == "estimated" else (background, 30)
    p = ONE.model_copy(update={"object_share": 0.8, "overlap": 0.5, "half_height": (0.05, 0.2)})
    knows = p.model_copy(update={"background": told, "half_width": (0.05, 0.2)})
    blind = p.model_copy(update={"half_width": (0.05, 0.2)})

    def on_part(made: Synthetic) -> float:
        x0, y0, x1, y1 = made.boxes[0]
        return float(part[y0:y1, x0:x1].mean())

    shares = [on_part(made) for made in many(60, image, source, knows)]
    assert min(shares) > 0.35  # half of what shows eight tenths of part or more
    assert min(on_part(made) for made in many(60, image, source, blind)) < 0.1


def test_a_patch_that_would_lie_beside_the_part_is_not_pasted() -> None:
    left, right = (np.full((64, 64, 3), 230, np.uint8) for _ in range(2))
    left[8:56, 4:30] = rough(1, (48, 26)) // 3
    right[8:56, 34:60] = rough(2, (48, 26)) // 3
    p = WHOLE.model_copy(update={"background": (230, 30)})
    assert nsa(left, [left[::-1]], np.random.default_rng(0), p).mask.any()
    with pytest.raises(InputError, match="no place on the part has room"):
        nsa(left, [right], np.random.default_rng(0), p)


def test_every_patch_shows() -> None:
    image, source = (make_part("board", seed, size=(128, 128)).sample.image for seed in (1, 2))
    for made in many(60, image, source, ONE):
        x0, y0, x1, y1 = made.boxes[0]
        assert (made.label[y0:y1, x0:x1] >= 0.5).mean() >= 0.1


def test_what_a_patch_changes_too_faintly_to_see_is_taken_back() -> None:
    y, x = np.mgrid[:128, :128]
    image, source = (np.full((128, 128, 3), 90, np.uint8) for _ in range(2))
    source[np.hypot(x - 35, y - 64) < 26] += 80
    faint = np.hypot(x - 100, y - 64) < 15
    source[faint] += 4  # of seven that a label of 0.5 needs
    made = nsa(image, [source], np.random.default_rng(0), WHOLE)
    assert made.mask[64, 35]
    assert made.image[64, 35, 0] == pytest.approx(170, abs=3)
    assert not made.mask[faint].any()
    assert (made.image[faint] == 90).all()


def test_background_is_not_pasted_over_background() -> None:
    image, part = disc(1, 230)
    source, _ = disc(2, 230)
    grain = rough(3).astype(int) // 12 - 10  # seen, yet within the tolerance of the background
    source = np.where(source > 200, source + grain, source).astype(np.uint8)
    p = WHOLE.model_copy(update={"background": (230, 30), "object_share": 0.05})
    made = nsa(image, [source], np.random.default_rng(0), p)
    assert made.mask[part].any()
    around = cv2.dilate(part.view(np.uint8), np.ones((5, 5))) > 0
    assert not made.mask[~around].any()
    blind = nsa(image, [source], np.random.default_rng(0), WHOLE)
    assert blind.mask[~around].mean() > 0.5


def test_a_surface_is_not_taken_for_an_object() -> None:
    """An estimated background changes nothing where the picture has none."""
    for kind in ("woven", "brushed", "wood", "cast"):
        good, other = (make_part(kind, s, size=(128, 128)).sample.image for s in (1, 2))
        p = parameters("procedural", kind)
        told = p.model_copy(update={"background": "estimated"})
        made, same = (nsa(good, [other], np.random.default_rng(0), q) for q in (p, told))
        assert np.array_equal(made.image, same.image)


def test_labels_grow_with_the_change_as_the_logistic_function_says() -> None:
    image, source = rough(1, blur=8), rough(2, blur=8)
    p = ONE.model_copy(update={"slope": 0.2, "onset": 12.0, "half_height": (0.1, 0.4)})
    for made in many(10, image, source, p.model_copy(update={"half_width": (0.1, 0.4)})):
        (x0, y0, x1, y1), smooth = made.boxes[0], median(change(made, image), 11)
        inner = np.s_[y0 + 6 : y1 - 6, x0 + 6 : x1 - 6]  # whose windows lie in the patch
        expected = np.where(made.mask, 1 / (1 + np.exp(-0.2 * (smooth - 12))), 0)
        assert np.abs(made.label - expected)[inner].max() < 0.06  # half a level, and grains


def median(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Of the size x size pixels around each."""
    windows = np.pad(values, size // 2, "edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(windows, (size, size)), axis=(2, 3))


@pytest.mark.parametrize("size", [(16, 16), (16, 80), (33, 17)])
def test_tiny_pictures_work_and_smaller_ones_are_refused(size: tuple[int, int]) -> None:
    made = many(3, rough(1, size, 1), rough(2, (20, 30), 1), SURFACE)
    assert all(m.mask.any() for m in made)
    with pytest.raises(InputError, match="15 x 16 pixels; patches need 16"):
        nsa(rough(1, (16, 15)), [], np.random.default_rng(0), SURFACE)


def test_a_one_coloured_picture_takes_structure_from_a_source() -> None:
    plain = np.full((64, 64, 3), 90, np.uint8)
    made = nsa(plain, [plain, rough(1)], np.random.default_rng(1), SURFACE)
    assert made.mask.any()
    with pytest.raises(InputError, match="No patch changed the picture visibly"):
        nsa(plain, [], np.random.default_rng(0), SURFACE)
    with pytest.raises(InputError, match="expected \\(H, W, 3\\) uint8"):
        nsa(plain, [plain[..., 0]], np.random.default_rng(0), SURFACE)


def test_a_grey_picture_stays_grey() -> None:
    image, source = (np.repeat(rough(s)[..., :1], 3, axis=2) for s in (1, 2))
    made = nsa(image, [source], np.random.default_rng(0), SURFACE)
    assert (made.image == made.image[..., :1]).all()


def test_without_sources_patches_come_from_the_picture_itself() -> None:
    image = rough(1)
    alone, named = (nsa(image, s, np.random.default_rng(2), SURFACE) for s in ([], [image]))
    assert np.array_equal(alone.image, named.image)
