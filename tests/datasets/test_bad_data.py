"""What is wrong with a data set on disk is told, and nothing is guessed."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import pytest

from blemish.datasets.check import check
from blemish.datasets.find import open_dataset
from blemish.datasets.model import Dataset
from blemish.errors import DatasetError, ImageError


@pytest.fixture
def root(layouts: ModuleType, tmp_path: Path) -> Path:
    """A miniature of MVTec AD: bottle with broken_large, screw with thread_top."""
    folder: Path = layouts.MINIATURES["mvtec-ad"].write(tmp_path)
    return folder


def problems(dataset: Dataset) -> list[tuple[str, str]]:
    return [(problem.what, problem.where) for problem in dataset.problems]


def masks_of(dataset: Dataset, item_id: str) -> list[str]:
    (item,) = (item for item in dataset.items if item.id == item_id)
    return [path.name for path in item.masks]


@pytest.mark.parametrize(("split", "loss"), [("train", "nothing can be learned"),
                                             ("test", "no AUROC is defined")])  # fmt: skip
def test_a_category_without_good(root: Path, split: str, loss: str) -> None:
    shutil.rmtree(root / "screw" / split / "good")
    dataset = open_dataset(root)
    assert problems(dataset) == [("missing", f"screw/{split}/good")]
    assert loss in dataset.problems[0].message
    assert dataset.categories == ("bottle", "screw")


def test_a_category_with_no_good_at_all_is_still_there(root: Path) -> None:
    shutil.rmtree(root / "screw" / "train")
    shutil.rmtree(root / "screw" / "test" / "good")
    dataset = open_dataset(root)
    assert problems(dataset) == [("missing", "screw/train/good"), ("missing", "screw/test/good")]
    assert len(dataset.select("screw")) == 2


def test_an_image_without_its_mask(root: Path) -> None:
    (root / "bottle/ground_truth/broken_large/001_mask.png").unlink()
    dataset = open_dataset(root)
    assert problems(dataset) == [("unpaired", "bottle/test/broken_large/001.png")]
    assert masks_of(dataset, "bottle/test/broken_large/000.png") == ["000_mask.png"]
    assert masks_of(dataset, "bottle/test/broken_large/001.png") == []


def test_a_mask_without_its_image(root: Path) -> None:
    (root / "bottle/test/broken_large/000.png").unlink()
    dataset = open_dataset(root)
    assert problems(dataset) == [("unpaired", "bottle/ground_truth/broken_large/000_mask.png")]
    # By position, the first mask would now belong to the second picture.
    assert masks_of(dataset, "bottle/test/broken_large/001.png") == ["001_mask.png"]


def test_masks_of_a_kind_that_has_no_pictures(root: Path) -> None:
    shutil.rmtree(root / "bottle/test/broken_large")
    assert problems(open_dataset(root)) == [
        ("unpaired", f"bottle/ground_truth/broken_large/00{n}_mask.png") for n in range(2)
    ]


def test_no_masks_at_all_is_told_once(root: Path) -> None:
    for category in ("bottle", "screw"):
        shutil.rmtree(root / category / "ground_truth")
    dataset = open_dataset(root)
    assert problems(dataset) == [
        ("missing", "bottle/ground_truth/broken_large"),
        ("missing", "screw/ground_truth/thread_top"),
    ]
    assert "None of 2 anomalous pictures has a mask" in dataset.problems[0].message
    assert not dataset.pixels


def test_two_pictures_with_one_stem(root: Path, layouts: ModuleType) -> None:
    layouts.draw(root / "bottle/test/broken_large/000.jpg")
    layouts.draw(root / "screw/train/good/001.bmp")
    dataset = open_dataset(root)
    # Without its picture, the mask is left over.
    assert problems(dataset) == [
        ("odd", "bottle/test/broken_large/000"),
        ("unpaired", "bottle/ground_truth/broken_large/000_mask.png"),
        ("odd", "screw/train/good/001"),
    ]
    assert "000.jpg, 000.png" in dataset.problems[0].message
    taken = {item.id for item in dataset.items}
    assert not taken & {
        *("bottle/test/broken_large/000.jpg", "bottle/test/broken_large/000.png"),
        *("screw/train/good/001.bmp", "screw/train/good/001.png"),
    }


def test_two_masks_for_one_picture(root: Path, layouts: ModuleType) -> None:
    layouts.draw_mask(root / "bottle/ground_truth/broken_large/000.png")
    dataset = open_dataset(root)
    assert problems(dataset) == [("odd", "bottle/test/broken_large/000.png")]
    assert masks_of(dataset, "bottle/test/broken_large/000.png") == []


def test_a_mask_of_another_size(root: Path, layouts: ModuleType) -> None:
    layouts.draw_mask(root / "screw/ground_truth/thread_top/001_mask.png", size=(5, 7))
    found = [p for p in check(root).problems if p.what != "count"]
    assert [(p.what, p.where) for p in found] == [
        ("size", "screw/ground_truth/thread_top/001_mask.png")
    ]
    assert "The mask has 7 x 5 pixels, its picture screw/test/thread_top/001.png 16 x 12" in (
        found[0].message
    )
    (item,) = (i for i in open_dataset(root).items if i.id == "screw/test/thread_top/001.png")
    with pytest.raises(DatasetError, match="never resized"):
        item.mask(item.image())


def test_a_corrupt_picture_and_a_corrupt_mask(root: Path) -> None:
    broken = root / "bottle/test/broken_large/000.png"
    broken.write_bytes(broken.read_bytes()[:40])
    (root / "bottle/ground_truth/broken_large/001_mask.png").write_bytes(b"not a picture")
    dataset = open_dataset(root)
    assert dataset.problems == ()
    found = [p for p in check(root).problems if p.what != "count"]
    assert [(p.what, p.where) for p in found] == [
        ("unreadable", "bottle/test/broken_large/000.png"),
        ("unreadable", "bottle/ground_truth/broken_large/001_mask.png"),
    ]
    (item,) = (i for i in dataset.items if i.path == broken)
    with pytest.raises(ImageError, match="cannot be decoded"):
        item.image()


def test_files_that_are_listed_but_not_there(layouts: ModuleType, tmp_path: Path) -> None:
    gone = {
        "visa": "candle/Data/Images/Normal/0001.JPG",
        "real-iad": "realiad_512/switch/OK/S0001/switch_0001_OK_C1_2023.jpg",
        "solar-cells": "elpv_dataset/data/images/cell0002.png",
    }
    for key, path in gone.items():
        root = layouts.MINIATURES[key].write(tmp_path / key)
        (root / path).unlink()
        inside = layouts.MINIATURES[key].inside
        assert problems(open_dataset(root)) == [
            ("missing", Path(path).relative_to(inside).as_posix())
        ]


@pytest.mark.parametrize(
    ("key", "mask", "told"),
    [
        ("visa", "candle/Data/Masks/Anomaly/000.png", "candle/Data/Images/Anomaly/000.JPG"),
        ("real-iad", "realiad_512/switch/NG/BX/S0002/switch_0002_BX_C1_2023_mask.png",
         "realiad_512/switch/NG/BX/S0002/switch_0002_BX_C1_2023.jpg"),
        ("mvtec-3d-ad", "bagel/test/crack/gt/000.png", "bagel/test/crack/gt"),
        ("magnetic-tiles", "MT_Crack/Imgs/exp2_num_7.png", "MT_Crack/Imgs/exp2_num_7.jpg"),
        ("kolektor-sdd2", "test/11_GT.png", "test/11.png"),
    ],
)  # fmt: skip
def test_a_lost_mask_in_other_layouts(
    key: str, mask: str, told: str, layouts: ModuleType, tmp_path: Path
) -> None:
    root = layouts.MINIATURES[key].write(tmp_path)
    (root / mask).unlink()
    dataset = open_dataset(root)
    assert [where for _, where in problems(dataset)] == [told]


def test_truth_that_cannot_be_read_leaves_no_label(layouts: ModuleType, tmp_path: Path) -> None:
    root = layouts.MINIATURES["kolektor-sdd2"].write(tmp_path)
    (root / "test/11_GT.png").write_bytes(b"not a picture")
    dataset = open_dataset(root)
    assert problems(dataset) == [("unreadable", "test/11_GT.png")]
    assert [i.label for i in dataset.items if i.id == "test/11.png"] == [None]


def test_a_category_that_no_list_names(layouts: ModuleType, tmp_path: Path) -> None:
    root = layouts.MINIATURES["real-iad"].write(tmp_path)
    layouts.draw(root / "realiad_512/zipper/OK/S0001/zipper_0001_OK_C1_2023.jpg")
    assert problems(open_dataset(root)) == [("missing", "realiad_512/zipper")]
    shutil.rmtree(root / "realiad_jsons")
    with pytest.raises(DatasetError, match="not the JSON files"):
        open_dataset(root)


def test_a_lost_point_cloud(layouts: ModuleType, tmp_path: Path) -> None:
    root = layouts.MINIATURES["mvtec-3d-ad"].write(tmp_path)
    (root / "bagel/test/crack/xyz/000.tiff").unlink()
    dataset = open_dataset(root)
    assert problems(dataset) == [("missing", "bagel/test/crack/xyz/000.tiff")]
    assert [dict(item.also) for item in dataset.items if item.kind == "crack"] == [{}]
