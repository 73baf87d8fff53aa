"""Sheets that show what a training has learnt so far: a row a part, pictures and words."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

from blemish.files import install
from blemish.images import resize
from blemish.report.letters import font, wrapped
from blemish.runs.folder import writing
from blemish.types import Image

FOLDER = "samples"
SHOWN = 4
"""Parts on a sheet: the first ones of the training, each time the same."""
SHEETS = 5
"""How many a training leaves."""
_TILE, _WORDS, _EDGE, _LETTERS = 200, 460, 12, 15
"""In pixels: sides of pictures, width of the words beside them, margins, height of letters."""

Row = tuple[Sequence[Image], Sequence[str]]
"""Pictures of one size, each (H, W, 3) uint8 RGB; and what was asked, what is right, what it says.

All rows of a sheet have equally many pictures.
"""


def due(step: int, steps: int) -> bool:
    """Whether a sheet is to be written after a step.

    >>> [step for step in range(1, 13) if due(step, 12)]
    [2, 4, 6, 8, 10, 12]
    """
    return step % max(1, steps // SHEETS) == 0


def write(folder: Path, step: int, rows: Sequence[Row]) -> None:
    """Write a step's sheet into a training's folder.

    Raises:
        OutputError: it cannot be written.
    """
    held = io.BytesIO()
    Pillow.fromarray(np.concatenate([_drawn(*row) for row in rows])).save(held, format="PNG")
    with writing(folder):
        install(folder / FOLDER / f"step-{step:06d}.png", held.getvalue())


def grey(scores: NDArray[np.bool_] | NDArray[np.float32]) -> Image:
    """(H, W, 3) uint8 of values (H, W) in [0, 1]."""
    return np.repeat(np.rint(255 * scores[..., None].astype(np.float32)).astype(np.uint8), 3, 2)


def _drawn(tiles: Sequence[Image], words: Sequence[str]) -> Image:
    """(H, W, 3) uint8 RGB."""
    scale = _TILE / max(tiles[0].shape[:2])
    height, across = (max(1, round(side * scale)) for side in tiles[0].shape[:2])
    left = len(tiles) * (_TILE + _EDGE) + _EDGE
    page = Pillow.new("RGB", (left + _WORDS + _EDGE, _TILE + _EDGE), "white")
    for place, tile in enumerate(tiles):
        picture = Pillow.fromarray(resize(tile, height, across))
        page.paste(picture, (_EDGE + place * (_TILE + _EDGE), _EDGE))
    draw, letters, y = ImageDraw.Draw(page), font(_LETTERS), _EDGE
    for name, text in zip(("asked", "right", "says"), words, strict=True):
        for line in wrapped(f"{name}: {text}", letters, _WORDS)[:4]:
            draw.text((left, y), line, "black", letters)
            y += _LETTERS + 3
        y += 6
    return np.asarray(page)
