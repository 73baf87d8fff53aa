"""A data set is found by looking at its folder, never by a flag."""

from __future__ import annotations

from pathlib import Path

from blemish.datasets import (
    dagm,
    kolektor,
    loco,
    magnetic_tiles,
    medical,
    meta_json,
    mvtec,
    real_iad,
    solar_cells,
    visa,
)
from blemish.datasets.layout import Layout, folders
from blemish.datasets.model import Dataset
from blemish.errors import DatasetError

LAYOUTS: tuple[Layout, ...] = (
    mvtec.MVTEC_AD_2,
    mvtec.MVTEC_3D_AD,
    loco.LAYOUT,
    real_iad.LAYOUT,
    visa.RAW,
    visa.REORGANISED,
    dagm.LAYOUT,
    kolektor.LAYOUT,
    magnetic_tiles.LAYOUT,
    solar_cells.LAYOUT,
    mvtec.BTAD,
    mvtec.MVTEC_AD,
    mvtec.MPDD,
    *medical.LAYOUTS,
    *meta_json.LAYOUTS,
    mvtec.ANY_GOOD,
    mvtec.ANY_OK,
)
"""Most specific first: the first that fits is taken."""

_WRAPPERS = 3
"""Folders that hold nothing but one folder, as archives unpack, are looked into this deep."""


def open_dataset(path: str | Path) -> Dataset:
    """Open a data set; no picture is read before it is asked for.

    Args:
        path: the folder that holds its categories, or one category, or an archive's outer folder.

    Raises:
        DatasetError: no such folder, a layout that is not known, or lists that are damaged.
    """
    root = Path(path)
    if not root.is_dir():
        reason = "is a file; unpack it first" if root.exists() else "does not exist"
        raise DatasetError(f"{root} {reason}. Expected the folder of a data set.")
    for folder in _unwrapped(root):
        for layout in LAYOUTS:
            if layout.looks_like(folder):
                return layout.read(folder)
    looked_for = "\n".join(f"  - {layout.name}" for layout in LAYOUTS)
    raise DatasetError(
        f"{root} looks like no data set that blemish knows. Looked for\n{looked_for}\n"
        "Name the folder that holds the categories, sort your pictures into train/good, test/good "
        "and test/<defect>, or name them by patterns: blemish.datasets.folder.open_folder."
    )


def _unwrapped(root: Path) -> list[Path]:
    """The folder, and those inside it as long as there is only one."""
    found = [root]
    while len(found) <= _WRAPPERS and len(inside := folders(found[-1])) == 1:
        found += inside
    return found
