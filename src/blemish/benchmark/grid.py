"""Draws the grid of `blemish figure`: legible at the width of an A4 page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

from blemish.benchmark.figure import Line
from blemish.report.letters import font, wrapped
from blemish.report.overlay import outlines
from blemish.types import AnomalyMap, Image, Mask, Region

_WIDE, _DPI = 2000, 300
_GAP, _SIDE = 14, 108
"""Pixels between cells, and for the rows' titles."""
_TEXT, _SMALL = 36, 30
"""Pixels: 8.6 and 7.2 points."""
_TALLEST = 1.3
"""Height of a cell by its width; a taller picture is narrower than its cell."""
_BLACK, _GREY, _PAPER = (20, 20, 20), (120, 120, 120), (255, 255, 255)
_TRUTH = (0, 230, 118)


def draw(titles: Sequence[str], lines: Sequence[Line], rule: str) -> bytes:
    """The grid as PNG.

    Args:
        titles: of the methods.
        lines: the rows.
        rule: how the rows were chosen, for the foot.
    """
    wide = (_WIDE - _SIDE - _GAP * (len(titles) + 2)) // (len(titles) + 2)
    ranges = [_range(lines, place) for place in range(len(titles))]
    heads = [
        [line for part in title.split("\n") for line in wrapped(part, font(_TEXT), wide)]
        for title in ("image", "truth", *titles)
    ]
    for head, span in zip(heads[2:], ranges, strict=True):
        head += [f"raw {span[0]:.3g} to {span[1]:.3g}"] if span else []
    top = max(map(len, heads)) * round(_TEXT * 1.25) + 2 * _GAP
    highs = [
        round(min(line.image.shape[0] / line.image.shape[1], _TALLEST) * wide) for line in lines
    ]
    foot = wrapped(rule, font(_SMALL), _WIDE - 2 * _GAP)
    calibrated = any(own for line in lines for own in line.calibrated)
    deep = round(_SMALL * 1.3) * len(foot) + (130 if calibrated else 0) + 2 * _GAP
    sheet = Pillow.new("RGB", (_WIDE, top + sum(highs) + _GAP * len(highs) + deep), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for place, head in enumerate(heads):
        x = _SIDE + _GAP + place * (wide + _GAP) + wide / 2
        y = top - _GAP - len(head) * round(_TEXT * 1.25)
        _text(pen, (x, y), head, _TEXT, centred=True)
    y = top
    for line, high in zip(lines, highs, strict=True):
        _row_title(sheet, line.title, y, high)
        cells = [line.image, _outlined(line.image, line.truth, line.why, (wide, high))]
        cells += [_painted(heat, span) for heat, span in zip(line.maps, ranges, strict=True)]
        for place, cell in enumerate(cells):
            fitted = _fitted(cell, wide, high, line.image.shape)
            x = _SIDE + _GAP + place * (wide + _GAP) + (wide - fitted.width) // 2
            sheet.paste(fitted, (x, y + (high - fitted.height) // 2))
        y += high + _GAP
    _text(pen, (_GAP, y + _GAP), foot, _SMALL)
    if calibrated:
        _scale(sheet, y + _GAP + round(_SMALL * 1.3) * len(foot) + _GAP, raw=any(ranges))
    held = io.BytesIO()
    sheet.save(held, "PNG", dpi=(_DPI, _DPI), optimize=True)
    return held.getvalue()


def _range(lines: Sequence[Line], place: int) -> tuple[float, float] | None:
    """Lowest and highest raw value of a column that has no calibration; None for one that has."""
    heats = [line.maps[place] for line in lines if not line.calibrated[place]]
    shown = [heat for heat in heats if heat is not None]
    if not shown:
        return None
    return min(float(h.min()) for h in shown), max(float(h.max()) for h in shown)


def _painted(heat: AnomalyMap | None, span: tuple[float, float] | None) -> Image | str:
    if heat is None:
        return "no map"
    if span:
        heat = (heat - span[0]) / max(span[1] - span[0], 1e-12)
    steps = np.rint(np.clip(heat, 0, 1) * 255).astype(np.uint8)
    return np.asarray(_palette()[steps])


def _outlined(image: Image, truth: Mask | None, why: str, cell: tuple[int, int]) -> Image | str:
    """The picture with the truth outlined, at the cell's size so that lines have one width."""
    import cv2

    if truth is None:
        return why
    scale = min(cell[0] / image.shape[1], cell[1] / image.shape[0])
    width, height = (max(1, round(side * scale)) for side in image.shape[1::-1])
    shrink_or_grow = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = cv2.resize(image, (width, height), interpolation=shrink_or_grow)
    if truth.any():
        region = Region(1, (0, 0, truth.shape[1], truth.shape[0]), truth, 1.0, "centre")
        # Outside of the defect, which stays visible.
        shapes = [np.clip(s, 0, (width - 1, height - 1)) for s in outlines(region, scale, grow=6)]
        for colour, thickness in ((_BLACK, 7), (_TRUTH, 3)):
            cv2.polylines(canvas, shapes, True, colour, thickness, cv2.LINE_AA)
    return np.asarray(canvas, np.uint8)


def _fitted(cell: Image | str, wide: int, high: int, shape: tuple[int, ...]) -> Pillow.Image:
    """A cell's picture in its place, with the photo's aspect ratio; words on grey for none."""
    if isinstance(cell, str):
        blank = Pillow.new("RGB", (wide, high), (236, 236, 236))
        _text(
            ImageDraw.Draw(blank), (wide / 2, high / 2 - _SMALL / 2), [cell], _SMALL, centred=True
        )
        return blank
    scale = min(wide / shape[1], high / shape[0])
    size = (max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale)))
    way = Pillow.Resampling.LANCZOS if size[0] < cell.shape[1] else Pillow.Resampling.BICUBIC
    return Pillow.fromarray(cell).resize(size, way)


def _row_title(sheet: Pillow.Image, title: str, y: int, high: int) -> None:
    """Write a row's title from bottom to top beside it."""
    texts = [wrapped(text, font(_TEXT), high)[0] for text in title.split("\n")]
    tile = Pillow.new("RGB", (high, _SIDE), _PAPER)
    pen = ImageDraw.Draw(tile)
    above = (_SIDE - len(texts) * round(_TEXT * 1.25)) / 2
    for place, text in enumerate(texts):
        at = (high / 2, above + place * round(_TEXT * 1.25))
        _text(pen, at, [text], _TEXT, centred=True, colour=_GREY if place else _BLACK)
    sheet.paste(tile.transpose(Pillow.Transpose.ROTATE_90), (_GAP // 2, y))


def _scale(sheet: Pillow.Image, y: int, *, raw: bool) -> None:
    """The colour scale of calibrated maps."""
    long, thick = 560, 34
    x = _GAP + 4
    bar = np.repeat(_palette()[None, np.arange(256)], 2, axis=0)
    sheet.paste(Pillow.fromarray(bar).resize((long, thick)), (x, y))
    pen = ImageDraw.Draw(sheet)
    for score, text, anchor in ((0.0, "0", "la"), (0.5, "0.5", "ma"), (1.0, "1", "ra")):
        at = x + long * score
        pen.line((at, y + thick, at, y + thick + 8), fill=_BLACK, width=2)
        pen.text((at, y + thick + 10), text, font=font(_SMALL), fill=_BLACK, anchor=anchor)
    words = "Calibrated score, one scale for every picture; 0.5 is the operating point."
    words += " Raw: one scale for the column." if raw else ""
    lines = wrapped(words, font(_SMALL), _WIDE - x - long - 4 * _GAP)
    _text(pen, (x + long + 2 * _GAP, y - 4), lines, _SMALL)


def _text(
    pen: ImageDraw.ImageDraw,
    at: tuple[float, float],
    lines: Sequence[str],
    size: int,
    *,
    centred: bool = False,
    colour: tuple[int, int, int] = _BLACK,
) -> None:
    for place, line in enumerate(lines):
        y = at[1] + place * round(size * 1.25)
        pen.text((at[0], y), line, font=font(size), fill=colour, anchor="ma" if centred else "la")


@cache
def _palette() -> NDArray[np.uint8]:
    """(256, 3) uint8 RGB for scores 0 to 1: the hues of overlays, dark below the limit.

    The lightness rises all the way, so that the order survives a grey print.
    """
    anchors = np.array([(8, 8, 26), (52, 12, 108), (190, 0, 170), (255, 90, 110), (255, 235, 60)])
    score = np.linspace(0, 1, 256)
    colour = [np.interp(score, (0, 0.4, 0.55, 0.75, 1), channel) for channel in anchors.T]
    return np.asarray(np.rint(np.stack(colour, axis=1)), np.uint8)
