"""Converted weights that are a folder of several files: kept in the cache, and known by a sum."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from blemish.errors import WeightsError
from blemish.weights._sources import digest, scratch_beside

_SUM = ".sha256"
"""Hidden, so that it is no part of what it is a sum of."""


def digest_folder(folder: Path) -> str:
    """The sha256 over the names and contents of a folder's files, hidden ones left out."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file() and p.name[0] != "."):
        total.update(f"{path.name} {digest(path)}\n".encode())
    return total.hexdigest()


def kept_folder(target: Path, source: str, make: Callable[[Path], None]) -> Path:
    """A folder of the cache, made unless it is there, whole and of this source.

    Args:
        target: where it is kept.
        source: what it was made from, and how.
        make: fills an empty folder.

    Raises:
        WeightsError: the cache cannot be written.
    """
    if _whole(target, source):
        return target
    with scratch_beside(target) as scratch:
        made = scratch / "made"
        made.mkdir()
        try:
            make(made)
            (made / _SUM).write_text(f"{source} {digest_folder(made)}", encoding="utf-8")
            if target.exists() and not _whole(target, source):
                os.replace(target, scratch / "outdated")
            os.replace(made, target)
        except OSError as error:
            if not _whole(target, source):  # else another process was first
                raise WeightsError(
                    f"{target} cannot be written: {error.strerror or error}. Make room there, or "
                    "set BLEMISH_CACHE to another folder."
                ) from error
    return target


def _whole(target: Path, source: str) -> bool:
    try:
        said = (target / _SUM).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return said.startswith(source.encode()) and said == f"{source} {digest_folder(target)}".encode()
