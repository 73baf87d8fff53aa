"""Draws prompts and a picture in their joint space: figure 4 of ALFA, 2404.09654.

The paper does not say how its plane was made. Here it is the one in which the prompts vary most
(principal components), so that nothing but their embeddings decides where a prompt lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

from blemish.errors import InputError
from blemish.report.bars import DARK, PAPER
from blemish.report.letters import font, wrapped
from blemish.types import Image

_FINE = 3
"""Everything is drawn so many times as large, and shrunk: edges come out smooth."""
_SIDE, _EDGE, _TEXT, _DOT = 580, 20, 17, 6
"""Pixels: of a panel, around it, of letters, and half of a mark's width."""
_FRAME = (170, 176, 182)
_COLOURS = ((0, 114, 178), (213, 94, 0))
"""Of normal and abnormal prompts: blue and vermilion are told apart with any kind of eyes."""
_NAMES = (("normal, dropped", "normal, kept"), ("abnormal, dropped", "abnormal, kept"))
_Place = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane in which some points vary most.

    Attributes:
        centre: (D,) float64, the mean of the points.
        axes: (2, D) float64, across and up, of length 1 and at right angles; the coordinate of each
            that is largest without its sign is positive, so that the same points give the same
            plane.
        shares: (2,) float64, what part of the points' variance lies along each axis, in [0, 1].
    """

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    shares: NDArray[np.float64]

    def places(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Points (N, D) projected onto the plane: (N, 2) float64, across and up from the centre."""
        return np.asarray((points - self.centre) @ self.axes.T)


def plane(points: NDArray[np.floating]) -> Plane:
    """Fit the plane of points (N, D), at least two of them.

    Raises:
        InputError: there are fewer points or dimensions than two.
    """
    if points.ndim != 2 or min(points.shape) < 2:
        raise InputError(f"Points of shape {points.shape} span no plane; expected (N, D) from 2.")
    centre = points.mean(axis=0, dtype=np.float64)
    _, strengths, axes = np.linalg.svd(points - centre, full_matrices=False)
    axes = axes[:2]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    variance = strengths**2
    total = variance.sum() or 1.0
    return Plane(centre, axes * np.where(largest < 0, -1.0, 1.0), variance[:2] / total)


def space(
    embeddings: NDArray[np.float32],
    image: NDArray[np.float32],
    abnormal: NDArray[np.bool_],
    kept: NDArray[np.bool_],
) -> Image:
    """Draw all prompts beside those that were kept, each time with the picture.

    Args:
        embeddings: (P, D) float32, the prompts.
        image: (D,) float32, the picture.
        abnormal: (P,) bool, True where a prompt speaks for an anomaly.
        kept: (P,) bool, True where it takes part in the decision.

    Returns:
        (H, W, 3) uint8 RGB: two panels of one scale, legend and caption. The plane is that of all
        prompts. Colour tells the sides apart, and so does the mark: disc and triangle are kept,
        plus and cross dropped, the picture is a star.
    """
    found = plane(embeddings)
    points = np.vstack((found.places(embeddings), found.places(image[None])))
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    across, up = np.ptp(points, axis=0)
    reach = max(across, up) or 1.0
    air = 6 * _DOT
    high = round((_SIDE - air) * max(0.5, up / reach)) + air
    at = (points - centre) / reach * (1, -1) * (_SIDE - air) + (_SIDE / 2, high / 2)
    width, line = 2 * _SIDE + 3 * _EDGE, round(_TEXT * 1.4)
    lines = wrapped(_caption(found, len(embeddings)), font(_TEXT), width - 2 * _EDGE)
    top = _EDGE + line
    under = top + high + _EDGE
    size = width, under + line + _EDGE // 2 + line * len(lines) + _EDGE
    sheet = Pillow.new("RGB", (size[0] * _FINE, size[1] * _FINE), PAPER)
    pen = ImageDraw.Draw(sheet)
    titles = f"All {len(kept)} prompts", f"The {kept.sum()} that were kept"
    for number, (title, shown) in enumerate(zip(titles, (kept | True, kept), strict=True)):
        left = _EDGE + number * (_SIDE + _EDGE)
        _write(pen, (left, _EDGE / 2), title)
        right, bottom = (left + _SIDE) * _FINE - 1, (top + high) * _FINE - 1
        frame = left * _FINE, top * _FINE, right, bottom
        pen.rectangle(frame, outline=_FRAME, width=_FINE)
        places = [(left + x, top + y) for x, y in at]
        for index in sorted(np.flatnonzero(shown), key=kept.__getitem__):  # kept ones on top
            _mark(pen, places[index], bool(abnormal[index]), bool(kept[index]))
        _star(pen, places[-1])
    _legend(pen, under, abnormal, kept)
    for number, text in enumerate(lines):
        _write(pen, (_EDGE, under + _EDGE / 2 + line * (number + 1)), text)
    return np.asarray(sheet.resize(size, Pillow.Resampling.BOX))


def _caption(found: Plane, count: int) -> str:
    return (
        f"The plane in which the embeddings of all {count} prompts vary most (principal "
        f"components): it shows {found.shares.sum():.0%} of their variance. The picture is "
        "projected onto it. Both panels have one scale."
    )


def _legend(
    pen: ImageDraw.ImageDraw, y: float, abnormal: NDArray[np.bool_], kept: NDArray[np.bool_]
) -> None:
    """Marks with their names and counts, in one line."""
    x = float(_EDGE + _DOT)
    for side in (False, True):
        for sort in (True, False):
            count = int(((abnormal == side) & (kept == sort)).sum())
            _mark(pen, (x, y + _TEXT * 0.6), side, sort)
            text = f"{_NAMES[side][sort]} ({count})"
            _write(pen, (x + 2 * _DOT, y), text)
            x += 7 * _DOT + font(_TEXT).getlength(text)
    _star(pen, (x, y + _TEXT * 0.6))
    _write(pen, (x + 2.5 * _DOT, y), "the picture")


def _write(pen: ImageDraw.ImageDraw, at: _Place, text: str) -> None:
    where = at[0] * _FINE, at[1] * _FINE
    pen.text(where, text, font=font(_TEXT * _FINE), fill=DARK)


def _mark(pen: ImageDraw.ImageDraw, at: _Place, abnormal: bool, kept: bool) -> None:
    """Disc or triangle of a kept prompt, plus or cross of a dropped one; normal ones first."""
    x, y = at[0] * _FINE, at[1] * _FINE
    size, colour = _DOT * _FINE, _COLOURS[abnormal]
    if not kept:
        a, b = (size * 0.7, size * 0.7) if abnormal else (size, 0.0)
        for dx, dy in ((a, b), (-b, a)):
            pen.line((x - dx, y - dy, x + dx, y + dy), fill=colour, width=round(size * 0.35))
    elif abnormal:
        wide, low = size * 1.3, size
        corners = [(x, y - wide), (x + wide, y + low), (x - wide, y + low)]
        pen.polygon(corners, fill=colour, outline=PAPER, width=_FINE)
    else:
        pen.ellipse((x - size, y - size, x + size, y + size), colour, PAPER, _FINE)


def _star(pen: ImageDraw.ImageDraw, at: _Place) -> None:
    """The picture's mark: five points, dark with a white rim."""
    turns = np.arange(10) * np.pi / 5 - np.pi / 2
    reach = np.where(np.arange(10) % 2, 0.85, 2.0) * _DOT
    corners = [
        ((at[0] + r * np.cos(t)) * _FINE, (at[1] + r * np.sin(t)) * _FINE)
        for r, t in zip(reach, turns, strict=True)
    ]
    pen.polygon(corners, fill=DARK)
    pen.line([*corners, corners[0]], fill=PAPER, width=_FINE, joint="curve")
