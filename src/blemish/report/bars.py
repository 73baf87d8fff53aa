"""Draws how similar descriptions are to a picture, as bars beside it: figure 6 of 2404.09654."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from blemish.report.letters import font, wrapped
from blemish.types import Image

TITLE = "Descriptions of an anomaly, by similarity"
PAPER, DARK = (255, 255, 255), (16, 16, 16)
_BAR, _TRACK = (0, 114, 178), (226, 230, 234)
_WIDE, _EDGE, _NUMBER = 26, 1.2, 3.2
"""Widths in ems: of the bars' part of the sheet, of its edge, and of the number behind a bar."""
_LINES = 4
"""Lines up to which a description is written out."""


def beside(picture: Image, rows: Sequence[tuple[str, float]], title: str = TITLE) -> Image:
    """Draw a bar for each description, to the right of a picture; below one that is very wide.

    Args:
        picture: (H, W, 3) uint8 RGB, at the size at which it is to be shown.
        rows: descriptions with their similarities, from top to bottom.
        title: what stands above them.

    Returns:
        (H', W', 3) uint8 RGB, the picture at its top left. The bars start at 0, and their lengths
        are in proportion to the similarities.
    """
    height, width = picture.shape[:2]
    em = max(height, width) / 42  # as large as the letters of an overlay
    below = width > 2 * height
    panel = _panel(rows, title, em, width if below else round(em * _WIDE))
    left, top = (0, height) if below else (width, 0)
    size = max(width, left + panel.width), max(height, top + panel.height)
    sheet = Pillow.new("RGB", size, PAPER)
    sheet.paste(Pillow.fromarray(picture), (0, 0))
    sheet.paste(panel, (left, top))
    return np.asarray(sheet)


def spans(values: Sequence[float]) -> list[tuple[float, float]]:
    """Where the bars of some values lie on a track from 0 to 1: start and length of each.

    They start at the left, unless a value is negative: then 0 lies further right, and bars of
    negative values end there.

    >>> spans([0.4, 0.2]), spans([0.375, -0.125])
    ([(0.0, 1.0), (0.0, 0.5)], [(0.25, 0.75), (0.0, 0.25)])
    """
    low, high = min(0.0, *values), max(0.0, *values)
    whole = high - low or 1.0
    return [((min(value, 0.0) - low) / whole, abs(value) / whole) for value in values]


def _panel(rows: Sequence[tuple[str, float]], title: str, em: float, width: int) -> Pillow.Image:
    """Title, descriptions, bars and numbers."""
    letters, large = font(round(em)), font(round(em * 1.2))
    edge, step = em * _EDGE, em * 1.3
    room = width - 2 * edge
    track = room - em * _NUMBER
    head = wrapped(title, large, room)
    texts = [_shortened(wrapped(text, letters, room), letters, room) for text, _ in rows]
    each = em * 2.2  # bar and air
    deep = 2 * edge + step * (1.2 * len(head) + sum(map(len, texts))) + each * len(rows)
    panel = Pillow.new("RGB", (width, round(deep)), PAPER)
    pen = ImageDraw.Draw(panel)
    y = edge
    for line in head:
        pen.text((edge, y), line, font=large, fill=DARK)
        y += step * 1.2
    y += em / 2
    lengths = spans([similarity for _, similarity in rows]) if rows else []
    for lines, (_, similarity), (start, length) in zip(texts, rows, lengths, strict=True):
        for line in lines:
            pen.text((edge, y), line, font=letters, fill=DARK)
            y += step
        low, high = round(y + em * 0.15), round(y + em * 0.85)
        pen.rectangle((round(edge), low, round(edge + track) - 1, high), fill=_TRACK)
        left, right = round(edge + start * track), round(edge + (start + length) * track)
        if right > left:
            pen.rectangle((left, low, right - 1, high), fill=_BAR)
        where = (width - edge, (low + high) / 2)
        pen.text(where, f"{similarity:.3f}", font=letters, fill=DARK, anchor="rm")
        y += each
    return panel


def _shortened(lines: list[str], letters: ImageFont.FreeTypeFont, wide: float) -> list[str]:
    """The first lines of a long text, with dots for the rest."""
    if len(lines) <= _LINES:
        return lines
    last = lines[_LINES - 1]
    while letters.getlength(f"{last} …") > wide:
        last = last.rpartition(" ")[0] or last[:-1]
    return [*lines[: _LINES - 1], f"{last} …"]
