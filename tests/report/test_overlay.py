from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from blemish.errors import InputError
from blemish.report.overlay import heatmap_layer, outlines, overlay, place_labels
from blemish.types import Image, Region

GREY, GREEN, BLACK, WHITE = (128, 128, 128), (30, 110, 60), (0, 0, 0), (255, 255, 255)


def flat(height: int, width: int, colour: tuple[int, int, int] = GREY) -> Image:
    return np.full((height, width, 3), colour, np.uint8)


def level(height: int, width: int, score: float) -> NDArray[np.float32]:
    return np.full((height, width), score, np.float32)


def box_region(x0: int, y0: int, x1: int, y1: int, label: int = 1) -> Region:
    return Region(label, (x0, y0, x1, y1), np.ones((y1 - y0, x1 - x0), np.bool_), 0.9, "centre")


def picture_of(drawn: Image, height: int, width: int) -> Image:
    """The overlay without its strip."""
    return drawn[:height, :width]


@pytest.mark.parametrize("score", [0.0, 0.2, 0.39])
def test_a_good_part_is_not_painted(score: float) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (640, 640, 3), dtype=np.uint8)
    # The map's own range must not matter: its highest value is still a good one.
    scores = level(640, 640, 0.0)
    scores[100:200] = score
    assert (picture_of(overlay(image, scores, []), 640, 640) == image).all()


def test_alpha_is_fixed_at_the_operating_point_and_rises() -> None:
    alpha = heatmap_layer(np.linspace(0, 1, 101, dtype=np.float32)[None])[0, :, 3].astype(int)
    assert not alpha[:41].any()
    assert alpha[50] == pytest.approx(0.25 * 255, abs=2)
    assert alpha[100] == pytest.approx(0.55 * 255, abs=1)
    assert (np.diff(alpha) >= 0).all()


def test_colours_keep_their_order_without_hue() -> None:
    painted = heatmap_layer(np.linspace(0.41, 1, 60, dtype=np.float32)[None])[0, :, :3] / 255.0
    linear = np.where(painted <= 0.04045, painted / 12.92, ((painted + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(luminance) > -1e-3).all()
    assert luminance[-1] > 5 * luminance[0]


@pytest.mark.parametrize("colour", [GREY, GREEN, BLACK, WHITE, (40, 60, 140), (170, 110, 60)])
def test_heat_is_seen_on_any_part_and_lets_its_texture_through(
    colour: tuple[int, int, int],
) -> None:
    image = flat(640, 640, colour)
    image[::2] = np.clip(image[::2].astype(int) + 20, 0, 235)
    rows = picture_of(overlay(image, level(640, 640, 0.9), []), 640, 640).astype(int)
    assert np.abs(rows - image).max(axis=2).min() > 25
    texture = np.abs(image[0].astype(int) - image[1]).max()
    assert np.abs(rows[0, 0] - rows[1, 0]).max() > 0.4 * texture


@pytest.mark.parametrize("bad", [level(4, 4, np.nan), np.zeros((4, 4, 1), np.float32)])
def test_a_map_that_is_none_is_refused(bad: NDArray[np.float32]) -> None:
    with pytest.raises(InputError, match=r"expected \(H, W\)"):
        heatmap_layer(bad)


@pytest.mark.parametrize("colour", [GREY, GREEN, BLACK, WHITE])
def test_an_outline_has_a_bright_and_a_dark_line_outside_of_its_region(
    colour: tuple[int, int, int],
) -> None:
    drawn = overlay(flat(640, 640, colour), None, [box_region(300, 300, 360, 340)])
    assert (drawn[300:340, 300:360] == colour).all()
    near = drawn[340:352, 300:360].reshape(-1, 3)  # below: the number stands above
    assert (near > 230).all(axis=1).any()
    assert (near < 40).all(axis=1).any()


@pytest.mark.parametrize(
    ("height", "width", "want"),
    [
        (60, 100, (384, 640)),
        (480, 640, (480, 640)),
        (2000, 3000, (1333, 2000)),
        (800, 100, (800, 100)),
        (1, 1, (640, 640)),
        (1, 5000, (1, 2000)),
    ],
)
def test_small_pictures_grow_and_large_ones_shrink(
    height: int, width: int, want: tuple[int, int]
) -> None:
    image = flat(height, width)
    assert overlay(image, None, []).shape == (*want, 3)
    drawn = overlay(image, level(height, width, 0.3), [], "normal 0.30")
    assert drawn.dtype == np.uint8
    tall = want[0] > want[1]
    assert drawn.shape[0] == want[0] if tall else drawn.shape[1] == want[1]
    assert drawn.shape[1] > want[1] if tall else drawn.shape[0] > want[0]
    assert (picture_of(drawn, *want) == 128).all(), "the strip lies over the part"


def test_the_strip_shows_the_scale_from_unpainted_to_yellow() -> None:
    drawn = overlay(flat(640, 640), level(640, 640, 0), [])
    strip = drawn[640:].astype(int)
    yellow = (strip[..., 0] > 180) & (strip[..., 1] > 160) & (strip[..., 2] < 130)
    violet = (strip[..., 2] - strip[..., 1] > 40) & (strip[..., 0] > strip[..., 1])
    assert yellow.any()
    assert violet.any()
    assert np.nonzero(yellow)[1].min() > np.nonzero(violet)[1].min()


def test_one_marked_pixel_of_a_huge_picture_is_outlined() -> None:
    drawn = overlay(flat(2000, 3000), None, [box_region(1500, 1000, 1501, 1001)])
    assert (drawn[655:680, 985:1015] > 230).all(axis=2).any()


def test_a_hairline_of_a_huge_picture_keeps_its_length() -> None:
    hairline = Region(1, (0, 0, 80, 80), np.eye(80, dtype=np.bool_), 0.9, "centre")
    (shape,) = outlines(hairline, 0.25, grow=2)
    assert np.ptp(shape, axis=0) == pytest.approx((23, 23), abs=1)


def test_line_width_follows_the_size_of_the_picture() -> None:
    def white(side: int) -> int:
        third = side // 3
        region = box_region(third, third, 2 * third, 2 * third)
        row = overlay(flat(side, side), None, [region])[side // 2, : side // 2]
        return int((row > 230).all(axis=1).sum())

    assert white(2000) >= 2 * white(640) >= 4


def test_outlines_follow_holes_and_the_scale() -> None:
    ring = np.ones((40, 40), np.bool_)
    ring[10:30, 10:30] = False
    region = Region(1, (100, 50, 140, 90), ring, 0.9, "centre")
    shapes = outlines(region, 2.0, grow=2)
    assert len(shapes) == 2
    outer = max(shapes, key=lambda shape: int(np.ptp(shape[:, 0])))
    assert outer.min(axis=0) == pytest.approx((200 - 2, 100 - 2), abs=1)
    assert outer.max(axis=0) == pytest.approx((280 + 1, 180 + 1), abs=1)


def test_labels_stay_inside_apart_and_off_small_regions() -> None:
    rng = np.random.default_rng(3)
    corners = rng.integers(0, 390, (25, 2)).tolist()
    regions = [box_region(x, y, x + 10, y + 10, i + 1) for i, (x, y) in enumerate(corners)]
    spots = place_labels(regions, 1.0, [(20.0, 14.0)] * 25, 400, 400)
    placed = [spot for spot in spots if spot]
    assert len(placed) >= 23
    canvas = np.zeros((400, 400), int)
    for x0, y0, x1, y1 in placed:
        assert 0 <= x0 < x1 <= 400
        assert 0 <= y0 < y1 <= 400
        canvas[int(np.ceil(y0)) : int(y1), int(np.ceil(x0)) : int(x1)] += 1
    assert canvas.max() == 1
    for region in regions:
        x0, y0, x1, y1 = region.box
        assert canvas[y0:y1, x0:x1].mean() <= 0.2


@pytest.mark.parametrize("corner", [(0, 0), (390, 0), (0, 390), (390, 390)])
def test_a_region_in_a_corner_has_its_label(corner: tuple[int, int]) -> None:
    x, y = corner
    spots = place_labels([box_region(x, y, x + 10, y + 10)], 1.0, [(20.0, 14.0)], 400, 400)
    assert spots[0]


def test_a_region_over_the_whole_picture_has_its_label_and_no_room_means_none() -> None:
    whole = box_region(0, 0, 400, 400)
    assert place_labels([whole], 1.0, [(20.0, 14.0)], 400, 400)[0]
    assert place_labels([box_region(0, 0, 10, 10)], 1.0, [(20.0, 14.0)], 10, 10) == [None]
    assert place_labels([box_region(0, 0, 24, 16)], 1.0, [(20.0, 14.0)], 24, 16) == [None]


def test_the_same_picture_is_drawn_twice_and_the_input_is_left_alone() -> None:
    image = flat(300, 200)
    image.flags.writeable = False
    scores = level(300, 200, 0.7)
    regions = [box_region(10, 10, 60, 40)]
    assert (overlay(image, scores, regions, "a") == overlay(image, scores, regions, "a")).all()
    assert (image == 128).all()
