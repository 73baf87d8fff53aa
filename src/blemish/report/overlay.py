"""Draws what a detector found onto the picture: heatmap, outlines, numbers, colour scale.

The scale is fixed. 0.5 is the operating point and always has the same colour, so a good part stays
unpainted however its own map varies. Where a defect raised the scores of the whole picture, 0.5 is
where its regions begin (`blemish.runs.pictures.painted`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from blemish.errors import InputError
from blemish.types import AnomalyMap, Image, Region

SMALLEST, LARGEST = 640, 2000
"""Overlays are brought to this range of long sides, in pixels: text is legible on a 100 px crop,
and a 12 megapixel photo does not cost a second to write."""

Box = tuple[float, float, float, float]
_WHITE, _DARK, _PAPER = (255, 255, 255), (16, 16, 16), (250, 250, 250)


def overlay(
    image: Image, scores: AnomalyMap | None, regions: Sequence[Region], caption: str = ""
) -> Image:
    """Draw heatmap, outlines and region numbers on a picture, and a colour scale beside it.

    Args:
        image: (H, W, 3) uint8 RGB.
        scores: (h, w) float32 calibrated map in [0, 1], 0.5 at the operating point, stretched
            over the image; None paints no heat and leaves the scale out.
        regions: what to outline, in pixels of `image`.
        caption: a few words in the strip, such as the verdict and its score.

    Returns:
        (H', W', 3) uint8 RGB: the picture with its long side brought to between 640 and 2,000
        pixels, and the strip below it, or to the right of a picture taller than wide.
    """
    import cv2

    height, width = render_size(image.shape[0], image.shape[1], SMALLEST, LARGEST)
    scale = max(height, width) / max(image.shape[:2])
    shrink_or_grow = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = cv2.resize(image, (width, height), interpolation=shrink_or_grow)
    if scores is not None:
        steps = cv2.resize(_steps(scores), (width, height), interpolation=cv2.INTER_LINEAR)
        if steps.max() > 102:  # a score of 0.4, up to which nothing is painted
            paint, alpha = np.split(_palette(), (3,), axis=1)
            laid = np.rint(paint * (alpha / 255)).astype(np.uint8)[:, None]
            left = np.repeat(255 - alpha, 3, axis=1)[:, None]
            through = cv2.multiply(canvas, cv2.applyColorMap(steps, left), scale=1 / 255)
            canvas = cv2.add(through, cv2.applyColorMap(steps, laid))

    line = max(2, round(max(height, width) / 400))
    halo = line + 2 * max(2, line // 2)
    clear = halo // 2 + 2  # far enough out that even the halo's soft edge leaves the region free
    shapes = [shape for region in regions for shape in outlines(region, scale, grow=clear)]
    shapes = [np.clip(shape, 0, (width - 1, height - 1)) for shape in shapes]
    for colour, thickness in ((_DARK, halo), (_WHITE, line)):
        cv2.polylines(canvas, shapes, True, colour, thickness, cv2.LINE_AA)

    picture = Pillow.fromarray(canvas)
    _draw_numbers(picture, regions, scale)
    if scores is None and not caption:
        return np.asarray(picture)
    return np.asarray(_with_strip(picture, caption, with_scale=scores is not None))


def heatmap_layer(scores: AnomalyMap) -> NDArray[np.uint8]:
    """Colour a calibrated map for laying over its picture.

    Args:
        scores: (H, W) float32 in [0, 1], 0.5 at the operating point.

    Returns:
        (H, W, 4) uint8 RGBA, straight alpha: 0 up to a score of 0.4, 64 at 0.5, 140 at 1.

    Raises:
        InputError: the map is not two-dimensional or holds NaN.
    """
    return _palette()[_steps(scores)]


def _steps(scores: AnomalyMap) -> NDArray[np.uint8]:
    """Scores (H, W) as rows of the palette."""
    if scores.ndim != 2 or np.isnan(scores).any():
        raise InputError(
            f"The score map has shape {scores.shape}{' and holds NaN' * (scores.ndim == 2)}; "
            "expected (H, W) float32 in [0, 1]."
        )
    return np.asarray(np.rint(np.clip(scores, 0, 1) * 255), np.uint8)


def render_size(height: int, width: int, smallest: int, largest: int) -> tuple[int, int]:
    """Height and width with the long side brought into a range and the aspect ratio kept.

    >>> render_size(60, 100, 640, 2000), render_size(2000, 3000, 640, 2000)
    ((384, 640), (1333, 2000))
    """
    longest = max(height, width)
    scale = min(max(longest, smallest), largest) / longest
    return max(1, round(height * scale)), max(1, round(width * scale))


def outlines(region: Region, scale: float, grow: int) -> list[NDArray[np.int32]]:
    """Closed outlines of a region in a picture scaled by `scale`.

    The line runs `grow` pixels outside of the region, so that it never covers a small one.

    Returns:
        One (N, 2) int32 array of x, y pixels for each outer edge and each hole; it may lie up to
        `grow` pixels outside of the picture.
    """
    import cv2

    x0, y0, x1, y1 = region.box
    left, top = round(x0 * scale), round(y0 * scale)
    width = max(1, round(x1 * scale) - left)
    height = max(1, round(y1 * scale) - top)
    marked = region.mask.astype(np.float32)
    if scale < 1:  # a pixel counts when any part of it is marked: thin scratches survive
        inside = cv2.resize(marked, (width, height), interpolation=cv2.INTER_AREA) > 0
    else:
        inside = cv2.resize(marked, (width, height), interpolation=cv2.INTER_LINEAR) >= 0.5
    margin = grow + 1
    padded = np.pad(np.asarray(inside, np.uint8), margin)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))
    found, _ = cv2.findContours(
        cv2.dilate(padded, disc), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE, offset=(-margin, -margin)
    )
    return [
        (cv2.approxPolyDP(shape, 0.7, True)[:, 0] + (left, top)).astype(np.int32) for shape in found
    ]


def place_labels(
    regions: Sequence[Region],
    scale: float,
    sizes: Sequence[tuple[float, float]],
    width: float,
    height: float,
) -> list[Box | None]:
    """Find a free spot for the number of each region.

    Args:
        regions: in pixels of the picture before it was scaled.
        scale: what the picture was scaled by.
        sizes: width and height in pixels of each label.
        width: of the scaled picture, in pixels.
        height: of the scaled picture, in pixels.

    Returns:
        For each region the XYXY box of its label in the scaled picture, near the region, clear of
        other labels, and over at most a tenth of any region's box; None where no such spot is
        near: that region goes without its number.
    """
    boxes = np.array([region.box for region in regions], np.float64).reshape(-1, 4) * scale
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    placed: list[Box | None] = []
    taken = np.empty((0, 4))
    for (x0, y0, x1, y1), (w, h) in zip(boxes, sizes, strict=True):
        corners = [
            (x, y)
            for step in (0.2, 1.2, 2.4)
            for y in (y0 - h * (1 + step), y1 + h * step, y0, y1 - h, (y0 + y1 - h) / 2)
            for x in (x0, x1 - w, (x0 + x1 - w) / 2, x1 + w * step, x0 - w * (1 + step))
        ]
        low = np.array(corners)
        spots = np.hstack((low, low + np.array((w, h))))
        inside = (low >= 0).all(1) & (spots[:, 2:] <= (width, height)).all(1)
        hidden = (_shared(spots, boxes) / areas).max(1)
        free = inside & (hidden <= 0.1) & (_shared(spots, taken) == 0).all(1)
        if not free.any():
            placed.append(None)
            continue
        spot = spots[np.argmin(np.where(free, hidden, np.inf))]  # the nearest of the best
        taken = np.vstack((taken, spot))
        left, top, right, bottom = spot.tolist()
        placed.append((left, top, right, bottom))
    return placed


def _shared(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area that each of (N, 4) boxes has in common with each of (M, 4), as (N, M)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(2))


@cache
def _palette() -> NDArray[np.uint8]:
    """(256, 4) uint8 RGBA for scores 0 to 1.

    Violet, magenta, red, yellow: hardly any part is violet or magenta, so that what is near the
    limit stands out on grey metal, wood, green boards and blue cells alike. The lightness rises
    all the way, so that the order survives every kind of colour blindness and a grey print.
    """
    score = np.linspace(0, 1, 256)
    anchors = np.array([(90, 0, 170), (190, 0, 170), (255, 60, 110), (255, 235, 60)])
    colour = [np.interp(score, (0.4, 0.55, 0.75, 1), channel) for channel in anchors.T]
    alpha = 255 * np.interp(score, (0.4, 0.5, 1), (0, 0.25, 0.55))
    return np.asarray(np.rint(np.stack([*colour, alpha], axis=1)), np.uint8)


def _draw_numbers(picture: Pillow.Image, regions: Sequence[Region], scale: float) -> None:
    """Write each region's number near it."""
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=max(picture.size) / 42)
    texts = [str(region.label) for region in regions]
    em = font.getbbox("0")
    high = (em[3] - em[1]) * 1.9
    sizes = [(max(high, font.getlength(text) + high * 0.6), high) for text in texts]
    spots = place_labels(regions, scale, sizes, *picture.size)
    for text, spot in zip(texts, spots, strict=True):
        if spot:
            draw.rounded_rectangle(spot, high / 5, fill=_DARK, outline=_WHITE)
            middle = ((spot[0] + spot[2]) / 2, (spot[1] + spot[3]) / 2)
            draw.text(middle, text, font=font, fill=_WHITE, anchor="mm")


def _with_strip(picture: Pillow.Image, caption: str, *, with_scale: bool) -> Pillow.Image:
    """Add the strip with caption and colour scale: below, or to the right of a tall picture."""
    width, height = picture.size
    tall = height > width
    em = max(picture.size) / 42
    font = ImageFont.load_default(size=em)
    deep = round(em * (8 if tall else 3.2))
    sheet = Pillow.new("RGB", (width + deep, height) if tall else (width, height + deep), _PAPER)
    sheet.paste(picture, (0, 0))
    draw = ImageDraw.Draw(sheet)
    left, top = (width + em, em) if tall else (em, height + em)
    for row, text in enumerate(caption.split() if tall else [caption]):
        draw.text((left, top + row * em * 1.3), text, font=font, fill=_DARK)
    if not with_scale:
        return sheet

    layer = heatmap_layer(np.linspace(0, 1, 256, dtype=np.float32)[None])
    bar = Pillow.new("RGBA", (256, 1), (160, 160, 160, 255))
    bar.alpha_composite(Pillow.fromarray(layer))
    long = round(min(max(width, height) * 0.45, em * 20))
    thick = round(em * 0.9)
    x, y = (left, height - em - long) if tall else (width - em - long, height + em * 0.5)
    across, down = (thick, long) if tall else (long, thick)
    turned = bar.transpose(Pillow.Transpose.ROTATE_90) if tall else bar
    sheet.paste(turned.resize((across, down)), (round(x), round(y)))
    draw.rectangle((x, y, x + across, y + down), outline=_DARK)
    for score, text, anchor in ((0.0, "0", "la"), (0.5, "0.5 limit", "ma"), (1.0, "1", "ra")):
        if tall:
            at_x, at_y = x + thick, y + long * (1 - score)
            draw.line((at_x, at_y, at_x + em * 0.3, at_y), fill=_DARK)
            draw.text((at_x + em * 0.6, at_y), text, font=font, fill=_DARK, anchor="lm")
        else:
            at_x, at_y = x + long * score, y + thick
            draw.line((at_x, at_y, at_x, at_y + em * 0.3), fill=_DARK)
            draw.text((at_x, at_y + em * 0.4), text, font=font, fill=_DARK, anchor=anchor)
    return sheet
