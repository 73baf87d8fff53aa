"""Miniatures of the data sets: a table of what each picture is, from which its tree is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL.Image

HEIGHT, WIDTH = 12, 16
ROW = tuple[str, str, str | None, str, tuple[str, ...]]
"""Category, split, label, kind and masks of a picture."""


def draw(path: Path, value: int = 90, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """A grey picture with one brighter quarter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(size, value, np.uint8)
    pixels[: size[0] // 2, : size[1] // 2] += 60
    PIL.Image.fromarray(pixels).save(path)
    return path


def draw_mask(path: Path, value: int = 255, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """A mask whose upper left quarter has a value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(size, np.uint8)
    pixels[: size[0] // 2, : size[1] // 2] = value
    PIL.Image.fromarray(pixels).save(path)
    return path


@dataclass(frozen=True)
class Miniature:
    """A small data set.

    Attributes:
        name: that it is to be recognised as.
        rows: path below `inside` to what the picture is.
        inside: the folder, below the one that is opened, to which ids are relative.
        texts: further files.
        extra: further pictures that are no items: their masks or what is left out.
        mask_value: of the pixels in masks.
    """

    name: str
    rows: Mapping[str, ROW]
    inside: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    mask_value: int = 255

    def write(self, root: Path) -> Path:
        """Write the tree; returns the folder to open."""
        for path, (_, _, label, _, masks) in self.rows.items():
            draw(root / self.inside / path)
            for mask in masks:
                value = 0 if label == "normal" else self.mask_value
                draw_mask(root / self.inside / mask, value)
        for path in self.extra:
            draw(root / path)
        for path, text in self.texts.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        return root


def _tree(category: str, defect: str, ending: str = "_mask", suffix: str = "png") -> dict[str, ROW]:
    """One category laid out like MVTec AD: three to train, one good, two with a defect."""
    rows: dict[str, ROW] = {
        f"{category}/train/good/00{n}.{suffix}": (category, "train", "normal", "good", ())
        for n in range(3)
    }
    rows[f"{category}/test/good/000.{suffix}"] = (category, "test", "normal", "good", ())
    for n in range(2):
        mask = f"{category}/ground_truth/{defect}/00{n}{ending}.png"
        rows[f"{category}/test/{defect}/00{n}.{suffix}"] = (
            *(category, "test", "anomalous", defect),
            (mask,),
        )
    return rows


def _visa_raw() -> Miniature:
    place = "candle/Data/Images"
    rows: dict[str, ROW] = {
        f"{place}/Normal/0000.JPG": ("candle", "test", "normal", "good", ()),
        f"{place}/Normal/0001.JPG": ("candle", "train", "normal", "good", ()),
        f"{place}/Normal/0002.JPG": ("candle", "train", "normal", "good", ()),
        f"{place}/Anomaly/000.JPG": (
            *("candle", "test", "anomalous", "bad"),
            ("candle/Data/Masks/Anomaly/000.png",),
        ),
    }
    lines = ["object,split,label,image,mask"]
    for path, (category, split, label, _, masks) in rows.items():
        word = "normal" if label == "normal" else "anomaly"
        lines.append(f"{category},{split},{word},{path},{''.join(masks)}")
    lines.append("pcb1,train,normal,pcb1/Data/Images/Normal/0000.JPG,")
    return Miniature(
        "visa", rows, texts={"split_csv/1cls.csv": "\n".join(lines) + "\n"}, mask_value=1
    )


def _loco() -> Miniature:
    rows: dict[str, ROW] = {
        "pushpins/train/good/000.png": ("pushpins", "train", "normal", "good", ()),
        "pushpins/validation/good/000.png": ("pushpins", "validation", "normal", "good", ()),
        "pushpins/test/good/000.png": ("pushpins", "test", "normal", "good", ()),
    }
    for kind, masks in (("logical_anomalies", 2), ("structural_anomalies", 1)):
        rows[f"pushpins/test/{kind}/005.png"] = (
            *("pushpins", "test", "anomalous", kind),
            tuple(f"pushpins/ground_truth/{kind}/005/00{n}.png" for n in range(masks)),
        )
    config = [
        {
            "defect_name": "missing_pushpin",
            "pixel_value": 255,
            "saturation_threshold": 20,
            "relative_saturation": False,
        },
        {
            "defect_name": "broken",
            "pixel_value": 254,
            "saturation_threshold": 0.33,
            "relative_saturation": True,
        },
    ]
    return Miniature("mvtec-loco", rows, texts={"pushpins/defects_config.json": json.dumps(config)})


def _mvtec_3d() -> Miniature:
    rows: dict[str, ROW] = {}
    texts = {}
    for split, kind in (
        *(("train", "good"), ("validation", "good")),
        *(("test", "good"), ("test", "crack")),
    ):
        place = f"bagel/{split}/{kind}"
        masks = (f"{place}/gt/000.png",) if split == "test" else ()
        label = "normal" if kind == "good" else "anomalous"
        rows[f"{place}/rgb/000.png"] = ("bagel", split, label, kind, masks)
        texts[f"{place}/xyz/000.tiff"] = "stands in for a point cloud"
    return Miniature("mvtec-3d-ad", rows, texts=texts)


def _mvtec_ad_2() -> Miniature:
    place = "vial"
    mask = f"{place}/test_public/ground_truth/bad/001_regular_mask.png"
    rows: dict[str, ROW] = {
        f"{place}/train/good/000_regular.png": ("vial", "train", "normal", "good", ()),
        f"{place}/validation/good/000_regular.png": ("vial", "validation", "normal", "good", ()),
        f"{place}/test_public/good/000_regular.png": ("vial", "test", "normal", "good", ()),
        f"{place}/test_public/bad/001_regular.png": ("vial", "test", "anomalous", "bad", (mask,)),
        f"{place}/test_private/000_regular.png": ("vial", "test", None, "test_private", ()),
        f"{place}/test_private_mixed/000_mixed.png": (
            *("vial", "test", None, "test_private_mixed"),
            (),
        ),
    }
    return Miniature("mvtec-ad-2", rows)


def _btad() -> Miniature:
    rows: dict[str, ROW] = {
        "01/train/ok/0000.bmp": ("01", "train", "normal", "good", ()),
        "01/test/ok/0001.bmp": ("01", "test", "normal", "good", ()),
        "01/test/ko/0000.bmp": (
            *("01", "test", "anomalous", "ko"),
            ("01/ground_truth/ko/0000.png",),
        ),
    }
    return Miniature("btad", rows)


def _real_iad() -> Miniature:
    place = "realiad_512/switch"
    normal = "OK/S0001/switch_0001_OK_C{}_2023.jpg"
    broken = "NG/BX/S0002/switch_0002_BX_C1_2023"
    rows: dict[str, ROW] = {
        f"{place}/{normal.format(1)}": ("switch", "train", "normal", "good", ()),
        f"{place}/{normal.format(2)}": ("switch", "test", "normal", "good", ()),
        f"{place}/{broken}.jpg": (
            *("switch", "test", "anomalous", "BX"),
            (f"{place}/{broken}_mask.png",),
        ),
    }

    def entry(kind: str, path: str, mask: str | None = None) -> dict[str, str | None]:
        known = {"category": "switch", "anomaly_class": kind}
        return {**known, "image_path": path, "mask_path": mask}

    content = {
        "meta": {"prefix": "switch/", "normal_class": "OK"},
        "train": [entry("OK", normal.format(1))],
        "test": [entry("OK", normal.format(2)), entry("BX", f"{broken}.jpg", f"{broken}_mask.png")],
    }
    single_view = {**content, "train": [], "test": []}
    texts = {
        "realiad_jsons/realiad_jsons/switch.json": json.dumps(content),
        "realiad_jsons/realiad_jsons/toy.json": "of a category that is not here",
        "realiad_jsons/realiad_jsons_sv/switch.json": json.dumps(single_view),
    }
    return Miniature("real-iad", rows, texts=texts, extra=(f"realiad_256/switch/{broken}.jpg",))


def _kolektor() -> Miniature:
    rows: dict[str, ROW] = {}
    for split in ("train", "test"):
        for stem, label, kind in (("10", "normal", "good"), ("11", "anomalous", "bad")):
            path, mask = f"{split}/{stem}.png", f"{split}/{stem}_GT.png"
            rows[path] = ("kolektor-sdd2", split, label, kind, (mask,))
    return Miniature("kolektor-sdd2", rows)


def _dagm() -> Miniature:
    rows: dict[str, ROW] = {}
    for folder, split in (("Train", "train"), ("Test", "test")):
        place = f"Class1/{folder}"
        rows[f"{place}/0001.PNG"] = ("Class1", split, "normal", "good", ())
        rows[f"{place}/0002.PNG"] = (
            *("Class1", split, "anomalous", "bad"),
            (f"{place}/Label/0002_label.PNG",),
        )
    return Miniature("dagm", rows, texts={"Class1/Train/Label/Labels.txt": "1"})


def _magnetic_tiles() -> Miniature:
    name = "magnetic-tiles"
    rows: dict[str, ROW] = {}
    # Of fourteen good tiles a fifth is tested: those of the lowest sha256 of "0:" and the id, which
    # `printf 0:MT_Free/Imgs/exp1_num_N.jpg | sha256sum` gives.
    for n in range(14):
        stem = f"MT_Free/Imgs/exp1_num_{n}"
        split = "test" if n in TESTED_TILES else "train"
        rows[f"{stem}.jpg"] = (name, split, "normal", "good", (f"{stem}.png",))
    stem = "MT_Crack/Imgs/exp2_num_7"
    rows[f"{stem}.jpg"] = (name, "test", "anomalous", "crack", (f"{stem}.png",))
    return Miniature(name, rows)


TESTED_TILES = (7, 13)


def _solar_cells() -> Miniature:
    rows: dict[str, ROW] = {}
    for kind, n in (("mono", 1), ("poly", 5)):
        path = f"images/cell000{n}.png"
        rows[path] = (kind, "test", "normal", "good", ())
        rows[f"images/cell000{n + 1}.png"] = (kind, "test", "anomalous", "bad", ())
    lines = [
        f"{path}  {float(label == 'anomalous')}   {kind}"
        for path, (kind, _, label, _, _) in rows.items()
    ]
    unsure = ("images/cell0003.png", "images/cell0007.png")
    lines += [f"{unsure[0]}  0.3333333333333333   mono", f"{unsure[1]}  0.6666666666666666   poly"]
    inside = "elpv_dataset/data"
    return Miniature(
        "solar-cells",
        rows,
        inside=inside,
        texts={f"{inside}/labels.csv": "\n".join(lines) + "\n"},
        extra=tuple(f"{inside}/{path}" for path in unsure),
    )


def _one_category() -> Miniature:
    """Without a folder for the category, which is then named like the folder that is opened."""
    rows = {
        path.removeprefix("lamp/"): (
            *("one", *row[1:4]),
            tuple(mask.removeprefix("lamp/") for mask in row[4]),
        )
        for path, row in _tree("lamp", "dull").items()
    }
    return Miniature("folder", rows)


MINIATURES: dict[str, Miniature] = {
    "mvtec-ad": Miniature(
        "mvtec-ad", _tree("bottle", "broken_large") | _tree("screw", "thread_top")
    ),
    "visa": _visa_raw(),
    "visa-1cls": Miniature(
        "visa",
        _tree("pcb1", "bad", "", "JPG"),
        inside="1cls",
        texts={"2cls_highshot/readme.txt": "another split"},
    ),
    "visa-flat": Miniature("visa", _tree("pcb1", "bad", "", "JPG")),
    "mvtec-loco": _loco(),
    "mvtec-3d-ad": _mvtec_3d(),
    "mvtec-ad-2": _mvtec_ad_2(),
    "btad": _btad(),
    "mpdd": Miniature("mpdd", _tree("tubes", "anomalous")),
    "real-iad": _real_iad(),
    "kolektor-sdd2": _kolektor(),
    "dagm": _dagm(),
    "magnetic-tiles": _magnetic_tiles(),
    "solar-cells": _solar_cells(),
    "one": _one_category(),
    "several": Miniature("folder", _tree("lamp", "dull") | _tree("bottle", "broken_large")),
}
"""Each is to be written into a folder of its key's name."""
