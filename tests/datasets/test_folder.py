"""Any tree by patterns: what is normal, what is not, and which mask belongs to which."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType

import pytest

from blemish.datasets.folder import open_folder
from blemish.datasets.model import Dataset
from blemish.errors import DatasetError


def masks(dataset: Dataset) -> dict[str, list[str]]:
    return {
        item.id: [path.relative_to(dataset.root).as_posix() for path in item.masks]
        for item in dataset.select(label="anomalous")
    }


@pytest.fixture
def root(layouts: ModuleType, tmp_path: Path) -> Path:
    """Ten good parts, two kinds of defects with equal file names, masks beside."""
    folder = tmp_path / "gasket"
    for n in range(10):
        layouts.draw(folder / f"ok/{n}.png")
    for kind in ("dent", "cut"):
        for n in range(2):
            layouts.draw(folder / f"bad/{kind}/{n}.jpg")
            layouts.draw_mask(folder / f"truth/{kind}/{n}_mask.png")
    return folder


def test_patterns_say_what_is_what(root: Path) -> None:
    dataset = open_folder(root, normal="ok/*.png", abnormal="bad/**/*.jpg", masks="truth/*/*.png")
    assert (dataset.name, dataset.categories, dataset.problems) == ("folder", ("gasket",), ())
    assert len(dataset.select(label="normal")) == 10
    assert {i.kind for i in dataset.select(label="normal")} == {"good"}
    assert [i.kind for i in dataset.select(label="anomalous")] == ["cut", "cut", "dent", "dent"]
    assert masks(dataset) == {
        f"bad/{kind}/{n}.jpg": [f"truth/{kind}/{n}_mask.png"]
        for kind in ("cut", "dent")
        for n in range(2)
    }


def test_half_of_few_normal_ones_are_for_training(root: Path) -> None:
    dataset = open_folder(root, normal="ok/*.png")
    ranked = sorted(
        (f"ok/{n}.png" for n in range(10)),
        key=lambda i: hashlib.sha256(f"0:{i}".encode()).hexdigest(),
    )
    assert {item.id for item in dataset.select(split="train")} == set(ranked[:5])
    assert {item.id for item in dataset.select(split="test")} == set(ranked[5:])


def test_at_most_64_are_drawn_for_training(tmp_path: Path) -> None:
    for n in range(200):
        (tmp_path / f"{n}.png").write_bytes(b"")
    dataset = open_folder(tmp_path, normal="*.png")
    assert len(dataset.select(split="train")) == 64
    assert len(dataset.select(split="test")) == 136


def test_a_pattern_for_training(root: Path) -> None:
    dataset = open_folder(root, normal="ok/*.png", train="ok/[0-3].png")
    assert [item.id for item in dataset.select(split="train")] == [f"ok/{n}.png" for n in range(4)]
    assert len(dataset.select(split="test")) == 6


def test_masks_that_lie_among_the_pictures(layouts: ModuleType, tmp_path: Path) -> None:
    for name in ("ok_1.png", "ng_1.png", "ng_2.png"):
        layouts.draw(tmp_path / name)
    layouts.draw_mask(tmp_path / "ok_1_mask.png", 0)
    layouts.draw_mask(tmp_path / "ng_1_mask.png")
    dataset = open_folder(tmp_path, normal="ok_*.png", abnormal="ng_*.png", masks="*_mask.png")
    assert masks(dataset) == {"ng_1.png": ["ng_1_mask.png"], "ng_2.png": []}
    (normal,) = dataset.select(label="normal")
    assert [path.name for path in normal.masks] == ["ok_1_mask.png"]
    assert [(p.what, p.where) for p in dataset.problems] == [("unpaired", "ng_2.png")]


def test_nothing_is_paired_where_two_would_fit(root: Path, layouts: ModuleType) -> None:
    layouts.draw_mask(root / "truth/cut/1.png")
    dataset = open_folder(root, normal="ok/*", abnormal=["bad/*/*"], masks=["truth/*/*"])
    assert masks(dataset)["bad/cut/1.jpg"] == []
    assert masks(dataset)["bad/cut/0.jpg"] == ["truth/cut/0_mask.png"]
    assert ("odd", "bad/cut/1.jpg") in [(p.what, p.where) for p in dataset.problems]


def test_a_mask_that_two_pictures_claim_is_given_to_none(root: Path) -> None:
    (root / "truth/cut/0_mask.png").rename(root / "truth/0_mask.png")
    (root / "truth/dent/0_mask.png").unlink()
    dataset = open_folder(root, normal="ok/*", abnormal="bad/*/*", masks="truth/**/*.png")
    assert masks(dataset)["bad/cut/0.jpg"] == masks(dataset)["bad/dent/0.jpg"] == []
    assert [(p.what, p.where) for p in dataset.problems] == [("odd", "truth/0_mask.png")]


def test_two_pictures_with_one_stem(root: Path, layouts: ModuleType) -> None:
    layouts.draw(root / "ok/3.jpg")
    dataset = open_folder(root, normal="ok/*")
    assert len(dataset.items) == 9
    assert [(p.what, p.where) for p in dataset.problems] == [("odd", "ok/3")]


def test_a_mask_without_its_picture(root: Path) -> None:
    (root / "bad/dent/0.jpg").unlink()
    dataset = open_folder(root, normal="ok/*", abnormal="bad/*/*", masks="truth/*/*")
    assert [(p.what, p.where) for p in dataset.problems] == [("unpaired", "truth/dent/0_mask.png")]


def test_what_cannot_be_meant_is_refused(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"14 pictures|10 pictures"):
        open_folder(root, normal="**/*.png", abnormal="ok/*.png")
    with pytest.raises(DatasetError, match=r"No picture below .* fits the pattern 'okay/\*'"):
        open_folder(root, normal="okay/*")
    with pytest.raises(DatasetError, match="cannot be used"):
        open_folder(root, normal="/etc/*")
    with pytest.raises(DatasetError, match="is no folder"):
        open_folder(root / "nowhere", normal="*")
