"""Each data set is recognised by looking, and read as its miniature's table says."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from blemish.datasets.find import LAYOUTS, open_dataset
from blemish.errors import DatasetError

NAMES = [
    *("mvtec-ad", "visa", "visa-1cls", "visa-flat", "mvtec-loco", "mvtec-3d-ad", "mvtec-ad-2"),
    *("btad", "mpdd", "real-iad", "kolektor-sdd2", "dagm", "magnetic-tiles", "solar-cells"),
    *("one", "several"),
]


def test_every_miniature_is_tested(layouts: ModuleType) -> None:
    assert list(layouts.MINIATURES) == NAMES


@pytest.mark.parametrize("key", NAMES)
def test_a_set_is_recognised_and_read(key: str, layouts: ModuleType, tmp_path: Path) -> None:
    miniature = layouts.MINIATURES[key]
    dataset = open_dataset(miniature.write(tmp_path / key))
    assert dataset.name == miniature.name
    assert dataset.root == tmp_path / key / miniature.inside
    assert dataset.problems == ()
    assert {
        item.id: (
            *(item.category, item.split, item.label, item.kind),
            tuple(path.relative_to(dataset.root).as_posix() for path in item.masks),
        )
        for item in dataset.items
    } == miniature.rows
    assert [item.id for item in dataset.items] == sorted(miniature.rows)
    assert all(item.path == dataset.root / item.id for item in dataset.items)
    assert dataset.pixels == (key != "solar-cells")
    assert dataset.domain == "industrial"


@pytest.mark.parametrize("key", NAMES)
def test_no_picture_is_opened(key: str, layouts: ModuleType, tmp_path: Path) -> None:
    root = layouts.MINIATURES[key].write(tmp_path / key)
    before = open_dataset(root).items
    for path in root.rglob("*"):
        # KolektorSDD2 tells its labels by the pixels of its masks, and by nothing else.
        if path.suffix.lower() in (".png", ".jpg", ".bmp") and not path.stem.endswith("_GT"):
            path.write_bytes(b"no picture")
    after = open_dataset(root)
    assert after.items == before
    assert after.problems == ()


@pytest.mark.parametrize("key", ["mvtec-ad", "visa", "visa-1cls", "dagm"])
def test_an_archives_outer_folders_are_looked_through(
    key: str, layouts: ModuleType, tmp_path: Path
) -> None:
    miniature = layouts.MINIATURES[key]
    root = miniature.write(tmp_path / "downloads" / "unpacked" / key)
    (tmp_path / "downloads" / "licence.txt").write_text("free")
    dataset = open_dataset(tmp_path / "downloads")
    assert dataset.name == miniature.name
    assert dataset.root == root / miniature.inside


@pytest.mark.parametrize(
    ("key", "category"),
    [("mvtec-ad", "screw"), ("mvtec-loco", "pushpins"), ("mvtec-3d-ad", "bagel"), ("btad", "01")],
)
def test_one_category_of_a_known_set_keeps_its_ids(
    key: str, category: str, layouts: ModuleType, tmp_path: Path
) -> None:
    root = layouts.MINIATURES[key].write(tmp_path)
    whole, one = open_dataset(root), open_dataset(root / category)
    assert one.name == key
    assert one.categories == (category,)
    assert one.items == whole.select(category)


def test_a_relative_path_finds_the_category_of_a_folder(
    layouts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(layouts.MINIATURES["one"].write(tmp_path / "hinge"))
    assert open_dataset(".").categories == ("hinge",)


def test_categories_of_two_sets_make_neither(layouts: ModuleType, tmp_path: Path) -> None:
    layouts.MINIATURES["mvtec-ad"].write(tmp_path)
    layouts.MINIATURES["mpdd"].write(tmp_path)
    assert open_dataset(tmp_path).name == "folder"


def test_a_tree_of_ok_and_ko_that_is_not_btad(layouts: ModuleType, tmp_path: Path) -> None:
    layouts.MINIATURES["btad"].write(tmp_path)
    (tmp_path / "01").rename(tmp_path / "valve")
    dataset = open_dataset(tmp_path)
    assert dataset.name == "folder"
    assert [len(dataset.select(label=label)) for label in ("normal", "anomalous")] == [2, 1]


def test_further_files_of_a_picture(layouts: ModuleType, tmp_path: Path) -> None:
    dataset = open_dataset(layouts.MINIATURES["mvtec-3d-ad"].write(tmp_path))
    for item in dataset.items:
        kind = item.path.parents[1]
        assert item.also == {"xyz": kind / "xyz" / "000.tiff"}


def test_views_of_one_part_belong_together(layouts: ModuleType, tmp_path: Path) -> None:
    dataset = open_dataset(layouts.MINIATURES["real-iad"].write(tmp_path))
    parts = sorted((item.path.stem.split("_")[1], item.part) for item in dataset.items)
    assert [number for number, _ in parts] == ["0001", "0001", "0002"]
    assert parts[0][1] == parts[1][1] != parts[2][1]


def test_masks_of_one_picture_are_laid_over_each_other(layouts: ModuleType, tmp_path: Path) -> None:
    dataset = open_dataset(layouts.MINIATURES["mvtec-loco"].write(tmp_path))
    item = next(item for item in dataset.items if item.kind == "logical_anomalies")
    layouts.draw_mask(item.masks[1], 254, (layouts.HEIGHT, layouts.WIDTH))
    mask = item.mask(item.image())
    assert mask is not None
    assert mask.sum() == layouts.HEIGHT * layouts.WIDTH / 4


def test_without_the_published_split_a_fixed_one_is_used(
    layouts: ModuleType, tmp_path: Path
) -> None:
    root = layouts.MINIATURES["visa"].write(tmp_path)
    (root / "split_csv" / "1cls.csv").unlink()
    for n in range(3, 20):
        layouts.draw(root / f"candle/Data/Images/Normal/{n:04}.JPG")
    dataset = open_dataset(root)
    assert [problem.where for problem in dataset.problems] == ["split_csv/1cls.csv"]
    assert [len(dataset.select(split=split)) for split in ("train", "test")] == [18, 3]
    # The two highest of `printf 0:candle/Data/Images/Normal/00NN.JPG | sha256sum`.
    tested = [item.path.stem for item in dataset.select(split="test", label="normal")]
    assert tested == TESTED_CANDLES


def test_of_many_magnetic_tiles_80_are_tested(tmp_path: Path) -> None:
    (tmp_path / "MT_Free" / "Imgs").mkdir(parents=True)
    for n in range(450):
        (tmp_path / "MT_Free" / "Imgs" / f"{n}.jpg").write_bytes(b"")
    dataset = open_dataset(tmp_path)
    assert [len(dataset.select(split=split)) for split in ("train", "test")] == [370, 80]


TESTED_CANDLES = ["0000", "0002"]


def test_what_fits_nothing_is_told_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").write_bytes(b"")
    (tmp_path / "more").mkdir()
    with pytest.raises(DatasetError, match="looks like no data set") as caught:
        open_dataset(tmp_path)
    assert all(layout.name in str(caught.value) for layout in LAYOUTS)


def test_a_path_that_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        open_dataset(tmp_path / "nowhere")
    (tmp_path / "mvtec.tar.xz").write_bytes(b"")
    with pytest.raises(DatasetError, match="is a file; unpack it first"):
        open_dataset(tmp_path / "mvtec.tar.xz")


def test_a_layout_without_pictures(layouts: ModuleType, tmp_path: Path) -> None:
    root = layouts.MINIATURES["mpdd"].write(tmp_path)
    for path in root.rglob("*.png"):
        path.unlink()
    with pytest.raises(DatasetError, match="no picture was found"):
        open_dataset(root)


@pytest.mark.parametrize(
    ("key", "path", "text", "message"),
    [
        ("visa", "split_csv/1cls.csv", "image,label\n", "has no column mask, object, split"),
        ("visa", "split_csv/1cls.csv", "object,split,label,image,mask\ncandle,train,normal,../x,\n",
         "expected the path of a file below"),
        ("real-iad", "realiad_jsons/realiad_jsons/switch.json", "{", "not as Real-IAD publishes"),
        ("real-iad", "realiad_jsons/realiad_jsons/switch.json", '{"meta": {}}', "not as Real-IAD"),
        ("solar-cells", "elpv_dataset/data/labels.csv", "images/a.png 2 mono\n", "the line"),
        ("mvtec-loco", "pushpins/defects_config.json", '[{"pixel_value": 1}]', "not as published"),
    ],
)  # fmt: skip
def test_a_damaged_list_is_named(
    key: str, path: str, text: str, message: str, layouts: ModuleType, tmp_path: Path
) -> None:
    root = layouts.MINIATURES[key].write(tmp_path)
    (root / path).write_text(text)
    with pytest.raises(DatasetError, match=message) as caught:
        open_dataset(root)
    assert Path(path).name in str(caught.value)
