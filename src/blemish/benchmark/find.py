"""The data sets that a protocol runs on, found in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blemish.datasets.find import open_dataset
from blemish.datasets.layout import folders
from blemish.datasets.model import Dataset
from blemish.errors import DatasetError


def datasets(data: Path, wanted: Sequence[str]) -> dict[str, Dataset]:
    """The data sets that a protocol names, by name.

    Args:
        data: one of them, or the folder that holds them directly below.
        wanted: their names; none where the protocol runs on whatever `data` is.

    Raises:
        DatasetError: one is not there.
    """
    if not data.is_dir():
        raise DatasetError(f"--data {data} is no folder. Name the one that holds the data sets.")
    if not wanted:
        opened = open_dataset(data)
        return {opened.name: opened}
    here: dict[str, Dataset] = {}
    for folder in (data, *folders(data)):
        try:
            opened = open_dataset(folder)
        except DatasetError:
            continue
        # The folder itself comes first: what lies in it are its categories, not other sets.
        here.setdefault(opened.name, opened)
        if folder == data and opened.name in wanted:
            break
    missing = [name for name in wanted if name not in here]
    if missing:
        what = ", ".join(f"{name} in {one.root}" for name, one in here.items())
        raise DatasetError(
            f"{data} does not hold {', '.join(missing)}, which the protocol runs on. Found: "
            f"{what or 'no data set'}. Give --data the folder that holds "
            f"{'them' if len(missing) > 1 else 'it'}; `blemish datasets check` says what a folder "
            "is taken for."
        )
    return {name: here[name] for name in wanted}
