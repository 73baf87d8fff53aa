"""What a layout is, and the few ways of looking at a folder that all layouts share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from blemish.datasets.model import Dataset
from blemish.errors import DatasetError
from blemish.images import IMAGE_SUFFIXES


@dataclass(frozen=True)
class Layout:
    """One way in which a data set lies on disk.

    Attributes:
        name: what it is called where nothing fits: "MVTec AD".
        looks_like: whether a folder has this layout; looks at names only, with few listings.
        read: the data set of a folder that looks like it; opens no picture.
    """

    name: str
    looks_like: Callable[[Path], bool]
    read: Callable[[Path], Dataset]


def folders(root: Path) -> list[Path]:
    """The folders directly below, sorted by name; hidden ones and `__MACOSX` left out.

    A folder that is not there has none.
    """
    return sorted(Path(entry) for entry in _entries(root) if entry.is_dir())


def pictures(folder: Path) -> list[Path]:
    """The picture files directly inside, sorted by name; hidden ones left out.

    A folder that is not there has none.
    """
    return sorted(
        Path(entry)
        for entry in _entries(folder)
        if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and entry.is_file()
    )


def by_stem(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Files by their name without its ending; more than one where two share a stem."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(path.stem, []).append(path)
    return found


def read_text(path: Path) -> str:
    """The text of a list that a data set brings along.

    Raises:
        DatasetError: it cannot be read, or is no UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{path} cannot be read as text ({error}). It lists what the data set holds: copy it "
            "again from where it came."
        ) from error


def listed(root: Path, name: str, source: Path) -> Path:
    """The path that a list names, which must lie below its data set.

    Args:
        root: what the name is relative to.
        name: as listed.
        source: the list, for the error message.

    Raises:
        DatasetError: the name is absolute or climbs out of the folder.
    """
    path = Path(name.replace("\\", "/"))
    if not name or path.is_absolute() or ".." in path.parts:
        raise DatasetError(
            f"{source} lists {name!r}; expected the path of a file below {root}. Correct the list."
        )
    return root / path


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from (e for e in entries if not e.name.startswith((".", "__MACOSX")))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise DatasetError(
            f"{folder} cannot be listed: {error.strerror}. Check the disk and the permissions."
        ) from error
