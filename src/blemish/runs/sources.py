"""From what a user names (files, folders, globs) to the pictures of a run."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from blemish.errors import ImageError, InputError, ReferencesError
from blemish.images import IMAGE_SUFFIXES, read_image
from blemish.runs.folder import is_run
from blemish.types import Sample

Source = str | Path | Sequence[str | Path]
_MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True)
class Item:
    """One picture file to inspect.

    Attributes:
        id: its path below the source, with "/" between folders; unique within a run.
        path: the file.
    """

    id: str
    path: Path


def find(source: Source) -> list[Item]:
    """The picture files that a source names, in natural order ("2.png" before "10.png").

    Args:
        source: a file, a folder (searched with its folders below, by the endings of pictures;
            hidden files and the folders of finished runs are left out), a glob, or several.

    Raises:
        InputError: it does not exist, or holds no picture.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    if not sources:
        raise InputError("No source came; name a picture, a folder of pictures, or a glob.")
    found: dict[Path, Path] = {}
    for one in sources:
        root, files = _expanded(str(one))
        found.update({file: found.get(file, root) for file in files})
    base = _common(list(found.values()))
    items = {_printable(file, base): file for file in found}
    if len(items) < len(found):
        raise InputError(
            f"Two file names in {base} cannot be told apart, because they hold bytes that are not "
            "UTF-8. Rename them."
        )
    return [Item(name, items[name]) for name in sorted(items, key=_natural)]


def references(source: Source, class_name: str = "object") -> list[Sample]:
    """Read pictures of normal parts, in natural order.

    A broken one is an error, not a gap: with fewer references every verdict would be another.

    Raises:
        ReferencesError: a picture cannot be read.
        InputError: the source does not exist, or holds no picture.
    """
    samples = []
    for item in find(source):
        try:
            samples.append(Sample(read_image(item.path), class_name, id=str(item.path)))
        except ImageError as cause:
            raise ReferencesError(
                f"A reference cannot be used: {cause} Replace it or take it out, so that it is "
                "plain which normal parts were compared with."
            ) from cause
    return samples


def _expanded(source: str) -> tuple[Path, list[Path]]:
    """The folder that ids are relative to, and the files."""
    path = Path(os.path.abspath(os.path.expanduser(source)))
    if path.is_dir():
        if is_run(path):
            raise InputError(
                f"{source} is the folder of a finished run, not of pictures. Name the pictures "
                "to inspect."
            )
        files = list(_pictures(path))
        if not files:
            raise InputError(
                f"The folder {source} holds no picture; expected files that end in "
                f"{', '.join(sorted(IMAGE_SUFFIXES))}."
            )
        return path, files
    if path.exists():
        return path.parent, [path]
    if not _MAGIC.search(source):
        raise InputError(f"{source} does not exist. Check the path and its spelling.")
    matches = [Path(match) for match in glob.glob(str(path), recursive=True)]
    files = [m for m in matches if m.suffix.lower() in IMAGE_SUFFIXES and m.is_file()]
    if not files:
        raise InputError(
            f"The pattern {source} matches {len(matches)} files and folders, none of them a "
            f"picture; expected files that end in {', '.join(sorted(IMAGE_SUFFIXES))}."
        )
    plain = [part for part in path.parts[: _first_magic(path)]]
    return Path(*plain), files


def _first_magic(path: Path) -> int:
    """How many parts of a glob come before the first wildcard."""
    return next(i for i, part in enumerate(path.parts) if _MAGIC.search(part))


def _pictures(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=_unsearchable):
        here = Path(parent)
        folders[:] = [f for f in folders if not f.startswith(".") and not is_run(here / f)]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield here / name


def _unsearchable(error: OSError) -> None:
    raise InputError(
        f"The folder {error.filename} cannot be searched: {error.strerror}. Give this account "
        "permission to read it, or move it out of the source."
    ) from error


def _common(roots: Sequence[Path]) -> Path | None:
    """The deepest folder that holds all roots; None where there is none (two Windows drives)."""
    try:
        return Path(os.path.commonpath(roots))
    except ValueError:
        return None


def _printable(file: Path, base: Path | None) -> str:
    name = (file.relative_to(base) if base else file).as_posix()
    return os.fsencode(name).decode("utf-8", "replace")


def _natural(name: str) -> tuple[list[str | int], str]:
    # Splitting at a group gives texts at even places and numbers at odd ones.
    pieces = re.split(r"([0-9]+)", name.casefold())
    return [int(p) if i % 2 else p for i, p in enumerate(pieces)], name
