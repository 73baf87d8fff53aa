"""The interchange file is read as the field writes it, and written so that it reads the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from blemish.datasets.meta_json import LAYOUTS, read, write
from blemish.datasets.model import Dataset, Item
from blemish.errors import DatasetError, OutputError


def entry(path: str, mask: str = "", anomaly: int = 0, kind: str = "good") -> dict[str, object]:
    return {
        "img_path": path,
        "mask_path": mask,
        "cls_name": "bottle",
        "specie_name": kind,
        "anomaly": anomaly,
    }


def tree(root: Path) -> dict[str, dict[str, list[dict[str, object]]]]:
    """Three pictures and a mask on disk, and the file's content that names them."""
    for name in ("a.png", "b.png", "c.png", "masks/c.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.full((4, 5), 255, np.uint8)).save(root / name)
    return {
        "train": {"bottle": [entry("a.png")]},
        "test": {"bottle": [entry("b.png"), entry("c.png", "masks/c.png", 1, "broken")]},
    }


def opened(root: Path, meta: object) -> Dataset:
    (root / "meta.json").write_text(json.dumps(meta), "utf-8")
    (layout,) = LAYOUTS
    assert layout.looks_like(root)
    return layout.read(root)


def test_each_entry_becomes_an_item(tmp_path: Path) -> None:
    dataset = opened(tmp_path, tree(tmp_path))
    assert (dataset.name, dataset.root, dataset.pixels) == ("meta-json", tmp_path, True)
    assert dataset.problems == ()
    assert dataset.items == (
        Item("a.png", tmp_path / "a.png", "bottle", "train", "normal"),
        Item("b.png", tmp_path / "b.png", "bottle", "test", "normal"),
        Item(
            "c.png",
            tmp_path / "c.png",
            "bottle",
            "test",
            "anomalous",
            "broken",
            (tmp_path / "masks/c.png",),
        ),
    )
    mask = dataset.items[2].mask(dataset.items[2].image())
    assert mask is not None
    assert mask.all()


def test_what_was_written_reads_the_same(tmp_path: Path) -> None:
    meta = tree(tmp_path)
    dataset = opened(tmp_path, meta)
    assert write(dataset) == meta
    assert write(dataset, tmp_path / "meta.json") == meta
    assert json.loads((tmp_path / "meta.json").read_text("utf-8")) == meta
    assert read(tmp_path) == dataset


def test_a_file_without_a_validation_split_has_train_and_test(tmp_path: Path) -> None:
    item = Item("a.png", tmp_path / "a.png", "bottle", "validation", "normal")
    meta = write(Dataset("x", tmp_path, (item,)))
    assert meta == {"train": {}, "test": {}, "validation": {"bottle": [entry("a.png")]}}


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_the_names_of_the_validation_split(tmp_path: Path, name: str) -> None:
    meta = tree(tmp_path)
    meta[name] = meta.pop("train")
    assert opened(tmp_path, meta).items[0].split == "validation"


def test_a_folder_for_a_mask_is_none(tmp_path: Path) -> None:
    meta = tree(tmp_path)
    meta["test"]["bottle"][1]["mask_path"] = "masks"
    dataset = opened(tmp_path, meta)
    assert dataset.items[2].masks == ()
    assert not dataset.pixels


def test_absolute_paths_are_taken_and_give_no_absolute_id(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "set").mkdir()
    outside, inside = str(tmp_path / "a.png"), str(tmp_path / "set/b.png")
    (tmp_path / "b.png").rename(inside)
    meta = {"train": {"bottle": [entry(outside)]}, "test": {"bottle": [entry(inside)]}}
    dataset = opened(tmp_path / "set", meta)
    assert {str(item.path) for item in dataset.items} == {outside, inside}
    assert {item.id for item in dataset.items} == {outside.lstrip("/"), "b.png"}
    assert dataset.problems == ()


def test_what_the_file_names_but_is_not_there_is_noted(tmp_path: Path) -> None:
    meta = tree(tmp_path)
    (tmp_path / "b.png").unlink()
    (tmp_path / "masks/c.png").unlink()
    dataset = opened(tmp_path, meta)
    assert len(dataset.items) == 3
    assert [p.what for p in dataset.problems] == ["missing", "missing"]
    assert "['test'] ['bottle'] [0]" in dataset.problems[0].message
    assert "masks/c.png" in dataset.problems[1].message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"anomaly": 2}, "anomaly"),
        ({"anomaly": "1"}, "anomaly"),
        ({"img_path": None}, "img_path"),
        ({"cls_name": "cable"}, "stands under 'bottle'"),
        ({"img_path": "a.png"}, "as an entry before it"),
        ({"img_path": "../a.png"}, r"\.\./a\.png"),
        ({"mask_path": "..\\a.png"}, "expected a path below"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, change: dict[str, object], said: str) -> None:
    meta = tree(tmp_path)
    meta["test"]["bottle"][1].update(change)
    with pytest.raises(DatasetError, match=rf"\['test'\] \['bottle'\] \[1\].*{said}"):
        opened(tmp_path, meta)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    meta = tree(tmp_path)
    del meta["train"]["bottle"][0]["anomaly"]
    with pytest.raises(DatasetError, match=r"\['train'\] \['bottle'\] \[0\] \['anomaly'\]"):
        opened(tmp_path, meta)


def test_a_folder_without_the_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "meta.json").mkdir()
    assert not LAYOUTS[0].looks_like(tmp_path)


def test_an_unknown_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'exam'"):
        opened(tmp_path, {"exam": {}})


@pytest.mark.parametrize("text", ["", "[]", '{"test": {"bottle": [', "\0"])
def test_a_file_that_is_no_such_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "meta.json").write_text(text, "utf-8")
    with pytest.raises(DatasetError, match=r"meta\.json"):
        read(tmp_path)


def test_a_file_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no picture"):
        opened(tmp_path, {"train": {}, "test": {"bottle": []}})


def test_what_the_file_cannot_say_is_refused(tmp_path: Path) -> None:
    secret = Item("a.png", tmp_path / "a.png", "bottle", "test", None)
    with pytest.raises(DatasetError, match=r"a\.png has no label"):
        write(Dataset("x", tmp_path, (secret,)))
    masks = (tmp_path / "1.png", tmp_path / "2.png")
    many = replace(secret, label="anomalous", masks=masks)
    with pytest.raises(DatasetError, match=r"a\.png has 2 masks"):
        write(Dataset("x", tmp_path, (many,)))


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    dataset = opened(tmp_path, tree(tmp_path))
    with pytest.raises(OutputError, match="nowhere"):
        write(dataset, tmp_path / "nowhere" / "meta.json")
