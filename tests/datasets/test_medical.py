"""The medical sets, each from a miniature of its own tree."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from blemish.datasets.find import open_dataset
from blemish.datasets.medical import LAYOUTS
from blemish.datasets.model import Dataset
from blemish.errors import DatasetError


def put(root: Path, *names: str, mask: bool = False) -> None:
    """Pictures of 8 x 6 pixels; masks are white in a quarter."""
    pixels = np.full((6, 8), 0 if mask else 90, np.uint8)
    if mask:
        pixels[:3, :4] = 255
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels).save(root / name)


def opened(root: Path) -> Dataset:
    """Read as a user reads it, and recognised by one medical layout alone."""
    dataset = open_dataset(root)
    assert len([layout for layout in LAYOUTS if layout.looks_like(dataset.root)]) == 1
    assert dataset.domain == "medical"
    assert [item.id for item in dataset.items] == sorted(item.id for item in dataset.items)
    for item in dataset.items:
        assert item.path == dataset.root / item.id
        assert item.image().shape == (6, 8, 3)
    return dataset


def rows(dataset: Dataset) -> dict[str, tuple[str, str | None, str]]:
    return {item.id: (item.split, item.label, item.kind) for item in dataset.items}


def half(ids: list[str]) -> set[str]:
    """The ids that the stated rule puts into training."""
    ranked = sorted(ids, key=lambda name: hashlib.sha256(f"0:{name}".encode()).hexdigest())
    return set(ranked[: len(ids) // 2])


@pytest.mark.parametrize("inside", ["", "chest_xray"])
def test_chest_x_ray_keeps_its_splits(tmp_path: Path, inside: str) -> None:
    root = tmp_path / inside
    put(root, "train/NORMAL/a.jpeg", "train/PNEUMONIA/p.jpeg", "test/NORMAL/b.jpeg")
    put(root, "test/PNEUMONIA/q.jpeg", "val/NORMAL/c.jpeg", "val/PNEUMONIA/r.jpeg")
    # Kaggle's archive holds the whole set a second time.
    put(root, "chest_xray/train/NORMAL/a.jpeg", "__MACOSX/train/NORMAL/a.jpeg")
    dataset = opened(tmp_path)
    assert (dataset.name, dataset.root, dataset.pixels) == ("chest-x-ray", root, False)
    assert dataset.categories == ("chest-x-ray",)
    assert dataset.problems == ()
    assert rows(dataset) == {
        "test/NORMAL/b.jpeg": ("test", "normal", "good"),
        "test/PNEUMONIA/q.jpeg": ("test", "anomalous", "PNEUMONIA"),
        "train/NORMAL/a.jpeg": ("train", "normal", "good"),
        "train/PNEUMONIA/p.jpeg": ("train", "anomalous", "PNEUMONIA"),
        "val/NORMAL/c.jpeg": ("validation", "normal", "good"),
        "val/PNEUMONIA/r.jpeg": ("validation", "anomalous", "PNEUMONIA"),
    }


def test_references_are_never_ill(tmp_path: Path) -> None:
    put(tmp_path, *(f"train/NORMAL/{i}.jpeg" for i in range(3)))
    put(tmp_path, *(f"train/PNEUMONIA/{i}.jpeg" for i in range(9)), "test/NORMAL/a.jpeg")
    references = opened(tmp_path).references("chest-x-ray", 3, 0)
    assert {item.label for item in references} == {"normal"}


def test_oct_is_found_below_its_folder_with_a_space(tmp_path: Path) -> None:
    root = tmp_path / "OCT2017 "
    kinds = ("NORMAL", "CNV", "DME", "DRUSEN")
    put(root, *(f"{split}/{kind}/1.jpeg" for split in ("train", "test") for kind in kinds))
    dataset = opened(tmp_path)
    assert (dataset.name, dataset.root) == ("oct2017", root)
    assert len(dataset.items) == 8
    assert {item.kind for item in dataset.select(label="anomalous")} == {"CNV", "DME", "DRUSEN"}
    assert dataset.problems == ()


def test_a_missing_class_is_noted(tmp_path: Path) -> None:
    put(tmp_path, "train/CNV/1.jpeg", "train/DME/1.jpeg", "train/DRUSEN/1.jpeg")
    (problem,) = opened(tmp_path).problems
    assert (problem.what, problem.where) == ("missing", "train/NORMAL")


def head_ct(root: Path, lines: list[str]) -> None:
    put(root, *(f"head_ct/head_ct/{i:03d}.png" for i in range(6)))
    (root / "labels.csv").write_text("\n".join(["id, hemorrhage", *lines]) + "\n", "utf-8")


def test_head_ct_takes_its_labels_from_the_table(tmp_path: Path) -> None:
    head_ct(tmp_path, ["0,1", "1,0", "2,0", "3, 0", "4,0", "5,1"])
    dataset = opened(tmp_path)
    assert (dataset.name, dataset.pixels, dataset.problems) == ("head-ct", False, ())
    assert {item.path.stem for item in dataset.select(label="anomalous")} == {"000", "005"}
    assert {item.kind for item in dataset.select(label="anomalous")} == {"hemorrhage"}
    assert {item.split for item in dataset.select(label="anomalous")} == {"test"}
    normal = [f"head_ct/head_ct/{i:03d}.png" for i in range(1, 5)]
    assert {item.id for item in dataset.select(split="train")} == half(normal)


def test_head_ct_names_what_is_on_one_side_only(tmp_path: Path) -> None:
    head_ct(tmp_path, ["0,1", "1,0", "2,0", "3,0", "4,0", "7,0"])
    dataset = opened(tmp_path)
    assert len(dataset.items) == 5
    assert [(p.what, p.where) for p in dataset.problems] == [
        ("unpaired", "head_ct/head_ct/005.png"),
        ("missing", "head_ct/head_ct/007.png"),
    ]


@pytest.mark.parametrize("line", ["1,2", "one,0", "1", ",0"])
def test_a_wrong_line_of_the_table_is_named(tmp_path: Path, line: str) -> None:
    head_ct(tmp_path, ["0,1", line])
    with pytest.raises(DatasetError, match="Line 3"):
        opened(tmp_path)


def test_a_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    head_ct(tmp_path, ["0,1"])
    (tmp_path / "labels.csv").write_text("id,label\n0,1\n", "utf-8")
    with pytest.raises(DatasetError, match="id, label; expected id, hemorrhage"):
        opened(tmp_path)


def test_brain_mri_is_read_once(tmp_path: Path) -> None:
    for folder in ("", "brain_tumor_dataset/"):
        put(tmp_path, *(f"{folder}no/{i} no.jpeg" for i in range(5)), f"{folder}yes/Y1.jpg")
    dataset = opened(tmp_path)
    assert (dataset.name, dataset.pixels) == ("brain-mri", False)
    assert len(dataset.items) == 6
    assert [item.kind for item in dataset.select(label="anomalous")] == ["tumor"]
    normal = [f"no/{i} no.jpeg" for i in range(5)]
    assert {item.id for item in dataset.select(split="train")} == half(normal)
    # The lower copy alone is the same set, with the same ids.
    assert rows(opened(tmp_path / "brain_tumor_dataset")) == rows(dataset)


def isic_2017(root: Path) -> None:
    put(root, *(f"ISIC-2017_Training_Data/ISIC_000000{i}.jpg" for i in range(3)))
    put(root, "ISIC-2017_Training_Data/ISIC_0000000_superpixels.png")
    truth = "ISIC-2017_Training_Part1_GroundTruth"
    put(root, *(f"{truth}/ISIC_000000{i}_segmentation.png" for i in range(3)), mask=True)
    # Unpacked into a folder of its own name.
    put(root, "ISIC-2017_Test_v2_Data/ISIC-2017_Test_v2_Data/ISIC_0000009.jpg")
    put(root, "ISIC-2017_Test_v2_Part1_GroundTruth/ISIC_0000009_segmentation.png", mask=True)
    (root / "ISIC-2017_Training_Part3_GroundTruth.csv").write_text(
        "image_id,melanoma,seborrheic_keratosis\n"
        "ISIC_0000000,0.0,0.0\nISIC_0000001,1.0,0.0\nISIC_0000002,0.0,1.0\n",
        "utf-8",
    )


def test_every_picture_of_isic_2017_is_anomalous_in_pixels(tmp_path: Path) -> None:
    isic_2017(tmp_path)
    dataset = opened(tmp_path)
    assert (dataset.name, dataset.pixels, dataset.problems) == ("isic-2017", True, ())
    assert [(item.path.stem, item.split, item.kind) for item in dataset.items] == [
        ("ISIC_0000009", "test", "lesion"),
        ("ISIC_0000000", "train", "nevus"),
        ("ISIC_0000001", "train", "melanoma"),
        ("ISIC_0000002", "train", "seborrheic_keratosis"),
    ]
    assert dataset.select(label="normal") == ()
    for item in dataset.items:
        mask = item.mask(item.image())
        assert mask is not None
        assert mask.sum() == 12


def test_isic_pairs_by_name(tmp_path: Path) -> None:
    isic_2017(tmp_path)
    truth = tmp_path / "ISIC-2017_Training_Part1_GroundTruth"
    (truth / "ISIC_0000001_segmentation.png").rename(truth / "ISIC_0000007_segmentation.png")
    dataset = opened(tmp_path)
    masks = {item.path.stem: [path.name for path in item.masks] for item in dataset.items}
    assert masks["ISIC_0000000"] == ["ISIC_0000000_segmentation.png"]
    assert masks["ISIC_0000001"] == []
    assert masks["ISIC_0000002"] == ["ISIC_0000002_segmentation.png"]
    assert [(p.what, Path(p.where).stem) for p in dataset.problems] == [
        ("unpaired", "ISIC_0000001"),
        ("unpaired", "ISIC_0000007_segmentation"),
    ]


def test_isic_without_its_outlines_says_so_once(tmp_path: Path) -> None:
    put(tmp_path, "ISIC-2017_Test_v2_Data/ISIC_1.jpg", "ISIC-2017_Test_v2_Data/ISIC_2.jpg")
    (problem,) = opened(tmp_path).problems
    assert problem.where == "ISIC-2017_Test_v2_Part1_GroundTruth"


def test_isic_2017_names_a_wrong_diagnosis(tmp_path: Path) -> None:
    isic_2017(tmp_path)
    table = tmp_path / "ISIC-2017_Training_Part3_GroundTruth.csv"
    table.write_text("image_id,melanoma,seborrheic_keratosis\nISIC_0000000,no,0.0\n", "utf-8")
    with pytest.raises(DatasetError, match="Line 2"):
        opened(tmp_path)


def test_isic_2016_writes_its_masks_with_a_capital(tmp_path: Path) -> None:
    put(tmp_path, "ISBI2016_ISIC_Part1_Test_Data/ISIC_0000003.jpg")
    put(
        tmp_path,
        "ISBI2016_ISIC_Part1_Test_GroundTruth/ISIC_0000003_Segmentation.png",
        mask=True,
    )
    dataset = opened(tmp_path)
    assert (dataset.name, dataset.pixels, dataset.problems) == ("isic-2016", True, ())
    (item,) = dataset.items
    assert (item.split, item.label, item.kind, len(item.masks)) == (
        "test",
        "anomalous",
        "lesion",
        1,
    )


def hyper_kvasir(root: Path) -> None:
    lower, upper = "labeled-images/lower-gi-tract", "labeled-images/upper-gi-tract"
    put(root, *(f"{lower}/anatomical-landmarks/cecum/c{i}.jpg" for i in range(4)))
    put(root, *(f"{lower}/quality-of-mucosal-views/bbps-2-3/b{i}.jpg" for i in range(2)))
    put(root, f"{lower}/quality-of-mucosal-views/impacted-stool/s.jpg")
    put(root, f"{lower}/therapeutic-interventions/dyed-lifted-polyps/d.jpg")
    put(root, f"{lower}/pathological-findings/polyps/p1.jpg")
    put(root, f"{lower}/pathological-findings/polyps/p2.jpg")
    put(root, f"{upper}/anatomical-landmarks/z-line/z.jpg")
    put(root, f"{upper}/pathological-findings/barretts/u.jpg")
    put(root, "segmented-images/images/p1.jpg", "segmented-images/images/p3.jpg")
    put(root, "segmented-images/masks/p1.jpg", "segmented-images/masks/p3.jpg", mask=True)


def test_hyper_kvasir_has_healthy_views_and_findings(tmp_path: Path) -> None:
    hyper_kvasir(tmp_path)
    dataset = opened(tmp_path)
    assert (dataset.name, dataset.pixels, dataset.problems) == ("hyper-kvasir", True, ())
    assert dataset.categories == ("lower-gi-tract", "upper-gi-tract")
    normal = dataset.select("lower-gi-tract", label="normal")
    assert {item.path.stem for item in normal} == {"c0", "c1", "c2", "c3", "b0", "b1"}
    training = {item.id for item in dataset.select("lower-gi-tract", "train")}
    assert training == half([item.id for item in normal])
    ill = {item.path.stem: item for item in dataset.select(label="anomalous")}
    assert {stem: item.kind for stem, item in ill.items()} == {
        "p1": "polyps",
        "p2": "polyps",
        "p3": "polyps",
        "u": "barretts",
    }
    assert ill["p1"].id.startswith("labeled-images")  # not once more as a segmented picture
    mask = ill["p1"].mask(ill["p1"].image())
    assert mask is not None
    assert mask[0, 0]
    assert not mask[5, 7]
    assert ill["p2"].mask(ill["p2"].image()) is None


def test_hyper_kvasir_names_a_segmented_picture_without_its_mask(tmp_path: Path) -> None:
    hyper_kvasir(tmp_path)
    (tmp_path / "segmented-images/masks/p3.jpg").rename(tmp_path / "segmented-images/masks/x.jpg")
    assert {(p.what, p.where) for p in opened(tmp_path).problems} == {
        ("unpaired", "segmented-images/images/p3.jpg"),
        ("unpaired", "segmented-images/masks/x.jpg"),
    }


def test_endotect_is_known_by_its_name(tmp_path: Path) -> None:
    root = tmp_path / "EndoTect_2020_Segmentation_Test_Dataset"
    put(root, "images/a.jpg", "images/b.jpg")
    put(root, "masks/a.jpg", "masks/b.jpg", mask=True)
    dataset = opened(tmp_path)
    assert (dataset.name, dataset.root, dataset.problems) == ("endotect", root, ())
    assert {(item.split, item.label, item.kind) for item in dataset.items} == {
        ("test", "anomalous", "polyps")
    }
    assert [item.masks for item in dataset.items] == [
        (root / "masks/a.jpg",),
        (root / "masks/b.jpg",),
    ]
    other = tmp_path / "polyps"
    root.rename(other)
    assert not [layout for layout in LAYOUTS if layout.looks_like(other)]


@pytest.mark.parametrize("truth", ["toy_label/pixel", "toy_label"])
def test_mood_takes_exported_slices(tmp_path: Path, truth: str) -> None:
    put(tmp_path, "brain/brain_train/00000/080.png", "abdom/abdom_train/1.png")
    put(tmp_path, "brain/toy/toy_0/080.png", "brain/toy/toy_1/080.png")
    put(tmp_path, f"brain/{truth}/toy_1/080.png", mask=True)
    dataset = opened(tmp_path)
    assert (dataset.name, dataset.pixels, dataset.problems) == ("mood", True, ())
    assert dataset.categories == ("abdom", "brain")
    assert rows(dataset) == {
        "abdom/abdom_train/1.png": ("train", "normal", "good"),
        "brain/brain_train/00000/080.png": ("train", "normal", "good"),
        "brain/toy/toy_0/080.png": ("test", "normal", "good"),
        "brain/toy/toy_1/080.png": ("test", "anomalous", "anomaly"),
    }
    assert dataset.items[3].masks == (tmp_path / f"brain/{truth}/toy_1/080.png",)


def test_mood_as_volumes_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "brain/brain_train").mkdir(parents=True)
    (tmp_path / "brain/brain_train/00000.nii.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(DatasetError, match="Export slices as PNG"):
        opened(tmp_path)


def test_other_folders_are_left_to_other_layouts(tmp_path: Path) -> None:
    put(tmp_path, "bottle/train/good/000.png", "bottle/test/broken/000.png")
    assert not [layout for layout in LAYOUTS if layout.looks_like(tmp_path)]
    assert not [layout for layout in LAYOUTS if layout.looks_like(tmp_path / "nowhere")]


def test_an_empty_tree_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "yes").mkdir()
    (tmp_path / "no").mkdir()
    with pytest.raises(DatasetError, match="no picture"):
        opened(tmp_path)
