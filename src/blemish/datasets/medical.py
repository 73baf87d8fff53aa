"""The medical sets of document 001: pictures sorted by diagnosis, and pictures with outlines.

| set | below its folder | normal | masks |
|---|---|---|---|
| Chest X-ray | `{train,val,test}/{NORMAL,PNEUMONIA}` | `NORMAL` | none |
| OCT2017 | `{train,val,test}/{NORMAL,CNV,DME,DRUSEN}` | `NORMAL` | none |
| Head CT | `labels.csv` and `head_ct/head_ct/000.png` | 0 in `hemorrhage` | none |
| Brain MRI | `{yes,no}` | `no` | none |
| ISIC 2017 | `ISIC-2017_{Training,Validation,Test_v2}_{Data,Part1_GroundTruth}` | none | yes |
| ISIC 2016 | `ISBI2016_ISIC_Part1_{Training,Test}_{Data,GroundTruth}` | none | yes |
| HyperKvasir | `labeled-images`, `segmented-images/{images,masks}` | see below | polyps only |
| EndoTect | `EndoTect*/{images,masks}`, the test set of its segmentation task | none | yes |
| MOOD | `{brain,abdom}/{*_train,toy,toy_label}`, exported as pictures | see below | yes |

The folder "OCT2017 " may keep its trailing space. What some archives hold twice (`chest_xray` in
itself, brain MRI in `brain_tumor_dataset`) is read once, from the upper place.

Readings taken where the sets leave them open:

- A set without categories has one, of the set's name.
- Where a set has no splits, half of its normal pictures are for training, those with the lowest
  sha256 of their ids (`pairing.drawn`); everything else is for testing.
- ISIC asks what a lesion is, not whether there is one: every picture is anomalous, its outline is
  the truth in pixels, and figures per picture are undefined. The diagnosis in
  `*_Part3_GroundTruth.csv`, where it lies there, is the kind.
- HyperKvasir: anatomical landmarks and a well cleaned bowel (`bbps-2-3`) are normal, pathological
  findings anomalous. Poorly cleaned bowels and dyed, treated tissue are neither and left out. A
  segmented picture is a copy of a labelled polyp; it is an item of its own only where no labelled
  one has its name.
- MOOD comes as volumes (`.nii.gz`), which are not read here. Exported slices may lie in folders of
  any depth; `toy_label/pixel`, or `toy_label`, holds the masks under the slices' own paths, and
  only of slices that are anomalous: a slice of `toy` without a mask is normal.

Checked in public code that reads these sets: the folders above, the header "id, hemorrhage" with
its space, the superpixel pictures that lie among ISIC 2017's. From memory: HyperKvasir's names
under `quality-of-mucosal-views`. No whole set was at hand.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from blemish.datasets.layout import Layout, pictures
from blemish.datasets.model import Dataset, Item, Split
from blemish.datasets.outlined import (
    half_trained,
    is_endotect,
    is_hyper_kvasir,
    is_isic,
    is_mood,
    medical_item,
    read_endotect,
    read_hyper_kvasir,
    read_isic,
    read_mood,
    rows,
    unwrapped,
)
from blemish.datasets.pairing import Notes, assemble
from blemish.errors import DatasetError

_SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
_DISEASES = {"chest-x-ray": ("PNEUMONIA",), "oct2017": ("CNV", "DME", "DRUSEN")}


def _is_by_disease(name: str, root: Path) -> bool:
    return any((root / split / kind).is_dir() for split in _SPLITS for kind in _DISEASES[name])


def _read_by_disease(name: str, root: Path) -> Dataset:
    notes = Notes(root)
    items: list[Item] = []
    for split_name, split in _SPLITS.items():
        if not (root / split_name).is_dir():
            continue
        for kind in ("NORMAL", *_DISEASES[name]):
            folder = root / split_name / kind
            if not folder.is_dir():
                notes.add("missing", folder, "a folder of this set. Unpack the set anew.")
            disease = "" if kind == "NORMAL" else kind
            items += [medical_item(root, path, name, split, disease) for path in pictures(folder)]
    return assemble(name, notes, items, domain="medical")


def _is_head_ct(root: Path) -> bool:
    return (root / "labels.csv").is_file() and (root / "head_ct").is_dir()


def _read_head_ct(root: Path) -> Dataset:
    notes = Notes(root)
    table, folder = root / "labels.csv", unwrapped(root / "head_ct")
    bleeds: dict[str, bool] = {}
    for line, row in rows(table, ("id", "hemorrhage")):
        if not row["id"].isdecimal() or row["hemorrhage"] not in ("0", "1"):
            raise DatasetError(
                f"Line {line} of {table} gives the id {row['id']!r} and the hemorrhage "
                f"{row['hemorrhage']!r}; expected a whole number and 0 or 1. Unpack the set anew."
            )
        bleeds[f"{int(row['id']):03d}"] = row["hemorrhage"] == "1"
    found = notes.by_stem(pictures(folder))
    for stem in sorted(set(found) - set(bleeds)):
        notes.add("unpaired", found[stem], "labels.csv has no line for it, so it is left out.")
    for stem in sorted(set(bleeds) - set(found)):
        notes.add("missing", folder / f"{stem}.png", "labels.csv names it. Unpack the set anew.")
    kinds = {found[stem]: "hemorrhage" if bleeds[stem] else "" for stem in set(found) & set(bleeds)}
    return assemble("head-ct", notes, half_trained("head-ct", root, kinds), domain="medical")


def _is_brain_mri(root: Path) -> bool:
    return (root / "yes").is_dir() and (root / "no").is_dir()


def _read_brain_mri(root: Path) -> Dataset:
    kinds = {path: "" for path in pictures(root / "no")}
    kinds |= {path: "tumor" for path in pictures(root / "yes")}
    return assemble(
        "brain-mri", Notes(root), half_trained("brain-mri", root, kinds), domain="medical"
    )


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "chest X-ray",
        partial(_is_by_disease, "chest-x-ray"),
        partial(_read_by_disease, "chest-x-ray"),
    ),
    Layout(
        "OCT2017",
        partial(_is_by_disease, "oct2017"),
        partial(_read_by_disease, "oct2017"),
    ),
    Layout("head CT", _is_head_ct, _read_head_ct),
    Layout("brain MRI", _is_brain_mri, _read_brain_mri),
    Layout("ISIC 2017", partial(is_isic, "isic-2017"), partial(read_isic, "isic-2017")),
    Layout("ISIC 2016", partial(is_isic, "isic-2016"), partial(read_isic, "isic-2016")),
    Layout("HyperKvasir", is_hyper_kvasir, read_hyper_kvasir),
    Layout("EndoTect", is_endotect, read_endotect),
    Layout("MOOD", is_mood, read_mood),
)
"""The medical sets, each recognised by names that no other set has."""
