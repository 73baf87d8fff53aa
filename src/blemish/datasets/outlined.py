"""The medical sets whose findings are outlined, and how any medical picture becomes an item.

`medical.py` states their layouts, and the readings taken.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from blemish.datasets.layout import folders, pictures, read_text
from blemish.datasets.model import Dataset, Item, Split
from blemish.datasets.pairing import Notes, assemble, below, drawn
from blemish.errors import DatasetError

_ISIC: dict[str, dict[str, Split]] = {
    "isic-2017": {
        "ISIC-2017_Training": "train",
        "ISIC-2017_Validation": "validation",
        "ISIC-2017_Test_v2": "test",
    },
    "isic-2016": {"ISBI2016_ISIC_Part1_Training": "train", "ISBI2016_ISIC_Part1_Test": "test"},
}
_TRACTS = ("lower-gi-tract", "upper-gi-tract")
_MOOD_PARTS = ("abdom", "brain")


def is_isic(name: str, root: Path) -> bool:
    """Whether any part of this ISIC challenge lies here."""
    return any((root / f"{prefix}_Data").is_dir() for prefix in _ISIC[name])


def read_isic(name: str, root: Path) -> Dataset:
    """ISIC 2017 or 2016, by its name."""
    notes = Notes(root)
    items: list[Item] = []
    for prefix, split in _ISIC[name].items():
        truth = f"{prefix}_GroundTruth" if name == "isic-2016" else f"{prefix}_Part1_GroundTruth"
        kinds = _diagnoses(root / f"{prefix}_Part3_GroundTruth.csv")
        # ISIC 2017's second task put a picture of superpixels beside each picture.
        found = notes.by_stem(
            path
            for path in pictures(unwrapped(root / f"{prefix}_Data"))
            if not path.stem.endswith("_superpixels")
        )
        outlines = notes.masks(pictures(unwrapped(root / truth)))
        if found and not outlines:
            message = f"The outlines of {len(found)} pictures. Unpack them into this folder."
            notes.add("missing", root / truth, message)
        endings = ("_segmentation", "_Segmentation")
        masks = notes.pair(found, outlines, endings=endings, expected=bool(outlines))
        items += [
            medical_item(root, path, name, split, kinds.get(stem, "lesion"), masks[stem])
            for stem, path in found.items()
        ]
    return assemble(name, notes, items, domain="medical")


def _diagnoses(table: Path) -> dict[str, str]:
    """The diagnosis of each picture of ISIC 2017's third task; none without its table."""
    named = ("melanoma", "seborrheic_keratosis")
    kinds: dict[str, str] = {}
    if not table.is_file():
        return kinds
    for line, row in rows(table, ("image_id", *named)):
        try:
            present = [kind for kind in named if float(row[kind])]
        except ValueError:
            raise DatasetError(
                f"Line {line} of {table} does not give 0 or 1 for {' and '.join(named)}. "
                "Download the table anew."
            ) from None
        kinds[row["image_id"]] = present[0] if present else "nevus"
    return kinds


def is_hyper_kvasir(root: Path) -> bool:
    """Whether labelled or segmented pictures of HyperKvasir lie here."""
    labelled = any((root / "labeled-images" / tract).is_dir() for tract in _TRACTS)
    return labelled or (root / "segmented-images" / "masks").is_dir()


def read_hyper_kvasir(root: Path) -> Dataset:
    """HyperKvasir, with or without its segmented pictures."""
    notes = Notes(root)
    items: list[Item] = []
    for tract in _TRACTS:
        kinds = dict(_findings(root / "labeled-images" / tract))
        items += half_trained(tract, root, {path: k for path, k in kinds.items() if k != "polyps"})
    labelled = root / "labeled-images" / _TRACTS[0] / "pathological-findings" / "polyps"
    polyps = notes.by_stem(pictures(labelled))
    segmented = notes.by_stem(pictures(root / "segmented-images" / "images"))
    outlines = notes.masks(pictures(root / "segmented-images" / "masks"))
    # Not every labelled polyp was outlined, but every segmented picture must have been.
    masks = notes.pair({**segmented, **polyps}, outlines, endings=("",), expected=False)
    for stem in sorted(set(segmented) - set(outlines)):
        notes.add("unpaired", segmented[stem], "segmented-images/masks lacks its mask.")
    items += [
        medical_item(root, path, _TRACTS[0], "test", "polyps", masks[stem])
        for stem, path in {**segmented, **polyps}.items()
    ]
    return assemble("hyper-kvasir", notes, items, domain="medical")


def _findings(tract: Path) -> Iterator[tuple[Path, str]]:
    """The labelled pictures that are clearly healthy or not, each with its finding or ""."""
    for group in folders(tract):
        for folder in folders(group):
            if group.name == "pathological-findings":
                yield from ((path, folder.name) for path in pictures(folder))
            elif group.name == "anatomical-landmarks" or folder.name == "bbps-2-3":
                yield from ((path, "") for path in pictures(folder))


def is_endotect(root: Path) -> bool:
    """Whether this is the test set of EndoTect's segmentation task, which only its name tells."""
    named = root.resolve().name.lower().startswith("endotect")
    return named and (root / "images").is_dir() and (root / "masks").is_dir()


def read_endotect(root: Path) -> Dataset:
    """EndoTect's test set."""
    notes = Notes(root)
    found = notes.by_stem(pictures(root / "images"))
    masks = notes.pair(found, notes.masks(pictures(root / "masks")), endings=("",))
    items = [
        medical_item(root, path, "endotect", "test", "polyps", masks[stem])
        for stem, path in found.items()
    ]
    return assemble("endotect", notes, items, domain="medical")


def is_mood(root: Path) -> bool:
    """Whether a training folder of MOOD lies here."""
    return any((root / part / f"{part}_train").is_dir() for part in _MOOD_PARTS)


def read_mood(root: Path) -> Dataset:
    """MOOD's slices; DatasetError where there are only volumes."""
    notes = Notes(root)
    items: list[Item] = []
    for part in _MOOD_PARTS:
        training = _slices(notes, root / part / f"{part}_train")
        items += [medical_item(root, path, part, "train") for path in training.values()]
        truth = root / part / "toy_label"
        drawn_slices = _slices(notes, truth / "pixel" if (truth / "pixel").is_dir() else truth)
        outlines = {stem: (path,) for stem, path in drawn_slices.items()}
        found = _slices(notes, root / part / "toy")
        masks = notes.pair(found, outlines, endings=("",), expected=False)
        for stem, path in found.items():
            kind = "anomaly" if masks[stem] else ""
            items.append(medical_item(root, path, part, "test", kind, masks[stem]))
    if not items:
        raise DatasetError(
            f"{root} holds MOOD without a single picture; its volumes (.nii.gz) are not read. "
            "Export slices as PNG into the same folders, masks only of those that are anomalous."
        )
    return assemble("mood", notes, items, domain="medical")


def _slices(notes: Notes, folder: Path) -> dict[str, Path]:
    """Pictures at any depth by their path below the folder, without its ending."""
    found = {path.stem: path for path in notes.by_stem(pictures(folder)).values()}
    for inner in folders(folder):
        deeper = _slices(notes, inner)
        found |= {f"{inner.name}/{stem}": path for stem, path in deeper.items()}
    return found


def medical_item(
    root: Path,
    path: Path,
    category: str,
    split: Split,
    disease: str = "",
    masks: tuple[Path, ...] = (),
) -> Item:
    """A picture; normal where it shows no disease."""
    if not disease:
        return Item(below(root, path), path, category, split, "normal")
    return Item(below(root, path), path, category, split, "anomalous", disease, masks)


def half_trained(category: str, root: Path, kinds: dict[Path, str]) -> list[Item]:
    """Pictures with their disease or "", half of the normal ones for training."""
    normal = [path for path, disease in kinds.items() if not disease]
    training = drawn(normal, len(normal) // 2, root)
    return [
        medical_item(root, path, category, "train" if path in training else "test", disease)
        for path, disease in kinds.items()
    ]


def rows(table: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines of a table with their number, names and values stripped of blanks."""
    lines = [[cell.strip() for cell in row] for row in csv.reader(read_text(table).splitlines())]
    header = lines[0] if lines else []
    if not set(columns) <= set(header):
        raise DatasetError(
            f"{table} has the columns {', '.join(header) or 'none'}; expected "
            f"{', '.join(columns)}. Unpack the set anew."
        )
    for number, row in enumerate(lines[1:], start=2):
        if row:
            yield number, dict.fromkeys(header, "") | dict(zip(header, row, strict=False))


def unwrapped(folder: Path) -> Path:
    """The folder of the same name inside, where an archive was unpacked into its own name."""
    inner = folder / folder.name
    return inner if inner.is_dir() else folder
