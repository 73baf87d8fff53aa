"""MVTec LOCO: each defect with the area from which it counts as found."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from blemish.datasets.find import open_dataset
from blemish.datasets.loco import regions
from blemish.datasets.model import Dataset, Item, Saturation
from blemish.errors import DatasetError


@pytest.fixture
def dataset(layouts: ModuleType, tmp_path: Path) -> Dataset:
    return open_dataset(layouts.MINIATURES["mvtec-loco"].write(tmp_path))


def of_kind(dataset: Dataset, kind: str) -> Item:
    return dataset.select(split="test")[[i.kind for i in dataset.select(split="test")].index(kind)]


def test_the_config_becomes_saturations(dataset: Dataset) -> None:
    assert dataset.saturations == {
        "pushpins": {
            255: Saturation("missing_pushpin", 20.0, False),
            254: Saturation("broken", 0.33, True),
        }
    }


def test_one_region_for_each_mask_with_its_area(dataset: Dataset, layouts: ModuleType) -> None:
    item = of_kind(dataset, "logical_anomalies")
    layouts.draw_mask(item.masks[1], 254)
    quarter = layouts.HEIGHT // 2 * layouts.WIDTH // 2
    assert quarter == 48
    found = regions(item, dataset.saturations)
    assert [area for _, area in found] == [20, 15]  # min(20, 48) and int(0.33 * 48 = 15.84)
    for mask, _ in found:
        assert mask.dtype == np.bool_
        assert mask.shape == (layouts.HEIGHT, layouts.WIDTH)
        assert mask.sum() == quarter
        assert mask[0, 0]


def test_an_absolute_area_is_at_most_the_defects(dataset: Dataset, layouts: ModuleType) -> None:
    item = of_kind(dataset, "structural_anomalies")
    layouts.draw_mask(item.masks[0], 255, (4, 6))
    ((_, area),) = regions(item, dataset.saturations)
    assert area == 6


def test_a_normal_picture_has_no_regions(dataset: Dataset) -> None:
    assert regions(of_kind(dataset, "good"), dataset.saturations) == []


@pytest.mark.parametrize("value", [0, 7])
def test_a_mask_that_the_config_does_not_name(
    value: int, dataset: Dataset, layouts: ModuleType
) -> None:
    item = of_kind(dataset, "structural_anomalies")
    layouts.draw_mask(item.masks[0], value)
    with pytest.raises(DatasetError, match=r"expected 0 and one of .*\[254, 255\]"):
        regions(item, dataset.saturations)


def test_a_mask_of_two_values(dataset: Dataset, layouts: ModuleType) -> None:
    import PIL.Image

    item = of_kind(dataset, "structural_anomalies")
    pixels = np.zeros((layouts.HEIGHT, layouts.WIDTH), np.uint8)
    pixels[0, 0], pixels[5, 5] = 254, 255
    PIL.Image.fromarray(pixels).save(item.masks[0])
    with pytest.raises(DatasetError, match=r"\[254, 255\]; expected 0 and one"):
        regions(item, dataset.saturations)


def test_a_missing_config_is_a_problem(layouts: ModuleType, tmp_path: Path) -> None:
    root = layouts.MINIATURES["mvtec-loco"].write(tmp_path)
    (root / "pushpins" / "defects_config.json").unlink()
    dataset = open_dataset(root)
    assert [(p.what, p.where) for p in dataset.problems] == [
        ("missing", "pushpins/defects_config.json")
    ]
    with pytest.raises(DatasetError, match="names: none"):
        regions(of_kind(dataset, "structural_anomalies"), dataset.saturations)
