"""What image encoders share: the size an image is brought to, and batches of equal sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from blemish.errors import OptionError
from blemish.types import Features, Image

Grid = tuple[int, int]
"""Rows and columns of cells."""


def grid_of(image: Image, size: int, cell: int) -> Grid:
    """Whole cells of `cell` pixels that keep an image's aspect ratio and the area of size x size.

    Args:
        image: (H, W, 3) uint8 RGB.
        size: in pixels, at least `cell`.
        cell: side in pixels.
    """
    height, width = image.shape[:2]
    scale = size / (cell * (height * width) ** 0.5)
    most = (size // cell) ** 2  # of a side, for pictures as thin as a line
    rows, columns = (min(max(1, round(s * scale)), most) for s in (height, width))
    return rows, columns


def checked(name: str, layers: Sequence[int], depth: int, size: int, cell: int) -> tuple[int, ...]:
    """The layers in order, each once. Raises OptionError for a layer or size that is not there."""
    wanted = tuple(sorted(set(layers)))
    if not wanted or wanted[0] < 1 or wanted[-1] > depth:
        raise OptionError(f"Layers {list(layers)} came; {name} has 1 to {depth}.")
    if size < cell:
        raise OptionError(f"Size {size} came; {name} needs at least {cell} pixels.")
    return wanted


def check_dtype(name: str, dtype: str, device: str, offered: Sequence[str]) -> None:
    """Raise OptionError for a dtype that the encoder does not offer on this device."""
    if dtype not in offered:
        raise OptionError(
            f"{name} has no dtype '{dtype}' on {device}; it has {', '.join(offered)}."
        )


def in_batches(
    images: Sequence[Image],
    grids: Sequence[Grid],
    batch_size: int,
    run: Callable[[list[Image], Grid], list[Features]],
) -> list[Features]:
    """Encode images of any sizes in batches of one grid each, and give them back in order."""
    groups: dict[Grid, list[int]] = {}
    for index, grid in enumerate(grids):
        groups.setdefault(grid, []).append(index)
    found: dict[int, Features] = {}
    for grid, members in groups.items():
        for start in range(0, len(members), batch_size):
            batch = members[start : start + batch_size]
            found.update(zip(batch, run([images[i] for i in batch], grid), strict=True))
    return [found[i] for i in range(len(images))]
