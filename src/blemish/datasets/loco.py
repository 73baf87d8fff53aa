"""MVTec LOCO AD: logical and structural defects, and from which area a defect counts as found.

In a category's folder, one mask for each defect of a picture:

    {train,validation}/good/000.png
    test/{good,logical_anomalies,structural_anomalies}/000.png
    ground_truth/{logical_anomalies,structural_anomalies}/000/000.png
    defects_config.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from blemish.datasets.layout import Layout, read_text
from blemish.datasets.model import Dataset, Item, Problem, Saturation
from blemish.datasets.mvtec import WITH_VALIDATION
from blemish.datasets.tree import Tree, categories, looks_like, read_tree
from blemish.errors import DatasetError
from blemish.images import read_mask
from blemish.types import Mask

_CONFIG = "defects_config.json"
_TREE = Tree(
    "mvtec-loco",
    splits=WITH_VALIDATION,
    mask_folders=True,
    signs=(_CONFIG, "test/logical_anomalies", "test/structural_anomalies"),
)


def regions(
    item: Item, saturations: Mapping[str, Mapping[int, Saturation]]
) -> list[tuple[Mask, int]]:
    """The defects of a picture, each with the area from which it counts as found (sPRO).

    Bergmann et al., "Beyond Dents and Scratches" (2022): a defect is one mask file, its pixel
    value names it; the area is `int(threshold * pixels)` for a relative threshold, else
    `min(threshold, pixels)`.

    Args:
        item: of a data set of MVTec LOCO.
        saturations: `Dataset.saturations`.

    Returns:
        For each mask file: (H, W) bool, True on the defect, and the saturation area in pixels.

    Raises:
        ImageError: a mask cannot be read.
        DatasetError: a mask holds none or several values, or one that the set does not name.
    """
    known = saturations.get(item.category, {})
    found = []
    for path in item.masks if item.label == "anomalous" else ():
        stored = read_mask(path)
        values = [int(value) for value in np.unique(stored) if value]
        if len(values) != 1 or values[0] not in known:
            raise DatasetError(
                f"The mask {path} holds the pixel values {values}; expected 0 and one of those "
                f"that the {_CONFIG} of {item.category} names: {sorted(known) or 'none'}. Unpack "
                "the category again."
            )
        mask = stored == values[0]
        pixels, saturation = int(mask.sum()), known[values[0]]
        threshold = saturation.threshold
        area = threshold * pixels if saturation.relative else min(threshold, pixels)
        found.append((mask, int(area)))
    return found


def _read(root: Path) -> Dataset:
    dataset = read_tree(root, _TREE)
    saturations, problems = {}, list(dataset.problems)
    for folder in categories(root, _TREE):
        name = folder.resolve().name
        if (folder / _CONFIG).is_file():
            saturations[name] = _saturations(folder / _CONFIG)
        else:
            message = "Says from which area a defect counts as found: no sPRO without. Unpack it."
            problems.append(Problem("missing", f"{name}/{_CONFIG}", message))
    return replace(dataset, saturations=saturations, problems=tuple(problems))


def _saturations(path: Path) -> dict[int, Saturation]:
    try:
        return {
            int(row["pixel_value"]): Saturation(
                str(row["defect_name"]),
                float(row["saturation_threshold"]),
                bool(row["relative_saturation"]),
            )
            for row in json.loads(read_text(path))
        }
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path} is not as published ({error!r}); expected a list of defect_name, pixel_value, "
            "saturation_threshold and relative_saturation. Unpack it again."
        ) from error


LAYOUT = Layout(
    "MVTec LOCO, <category>/test/{logical,structural}_anomalies",
    lambda root: looks_like(root, _TREE),
    _read,
)
