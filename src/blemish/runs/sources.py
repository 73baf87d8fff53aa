"""From what a user names (files, folders, globs) to the items of a run: pictures and recordings."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from blemish.errors import ImageError, InputError
from blemish.images import IMAGE_SUFFIXES, content_hash
from blemish.modalities.find import CLOUD_SUFFIXES, modality_of
from blemish.modalities.recording import Modality
from blemish.modalities.time_series import SERIES_SUFFIXES
from blemish.modalities.video import VIDEO_SUFFIXES
from blemish.runs.folder import is_run

Source = str | Path | Sequence[str | Path]
_MAGIC = re.compile(r"[*?[]")
_BOTH = frozenset({".tif", ".tiff", ".gif"})
"""Endings of pictures whose content may be a recording."""
_LOOKED_AT = 15
"""Files of a folder of such endings that are opened to see what they are."""
_ENDINGS: Mapping[Modality | None, frozenset[str]] = {
    None: IMAGE_SUFFIXES,
    "video": VIDEO_SUFFIXES | {".gif"},
    "point-cloud": CLOUD_SUFFIXES | {".tif", ".tiff"},
    "time-series": SERIES_SUFFIXES,
}
_CALLED: Mapping[Modality | None, str] = {
    None: "picture",
    "video": "video and no frame of one",
    "point-cloud": "point cloud",
    "time-series": "time series",
}
_Found = tuple[Path, Modality | None]


@dataclass(frozen=True)
class Item:
    """One picture or recording to inspect.

    Attributes:
        id: its path below the source, with "/" between folders; unique within a run.
        path: the file, or a folder of frames.
        modality: of a recording; None for a picture.
    """

    id: str
    path: Path
    modality: Modality | None = None

    def sha256(self) -> str:
        """Of its content; of a folder of frames, of their names and contents.

        Raises:
            ImageError: it cannot be read.
        """
        if self.modality is None:
            return content_hash(self.path)
        try:
            if not self.path.is_dir():
                with self.path.open("rb") as file:  # however large a video is
                    return hashlib.file_digest(file, "sha256").hexdigest()
            frames = sorted(self.path.iterdir())
        except OSError as cause:
            reason = cause.strerror or cause
            raise ImageError(f"{self.path} could not be read: {reason}.") from cause
        whole = hashlib.sha256()
        for frame in frames:
            if _ends(frame, None) and frame.is_file():
                whole.update(f"{frame.name}\0{content_hash(frame)}\n".encode("utf-8", "replace"))
        return whole.hexdigest()


def find(source: Source, modality: Modality | None = None) -> list[Item]:
    """What a source names, in natural order ("2.png" before "10.png").

    A file that is named directly is what its ending and content say. In folders and globs pictures
    are looked for, and recordings only where there is no picture, or where `modality` is given: a
    table beside pictures is more likely to hold labels.

    Args:
        source: a file, a folder (searched with its folders below, by the endings of files; hidden
            files and the folders of finished runs are left out), a glob, or several.
        modality: take everything as this, and look for nothing else. Of videos, a folder that holds
            none is a folder of frames, and so is each folder in it that holds pictures.

    Raises:
        InputError: it does not exist, or holds nothing of the kind.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    if not sources:
        raise InputError("No source came; name a picture, a folder of pictures, or a glob.")
    found: dict[Path, tuple[Path, Modality | None]] = {}
    for one in sources:
        root, files = _expanded(str(one), modality)
        found.update({file: found.get(file, (root, kind)) for file, kind in files})
    base = _common([root for root, _ in found.values()])
    items = {(name := _printable(file, base)): Item(name, file, found[file][1]) for file in found}
    if len(items) < len(found):
        raise InputError(
            f"Two file names in {base} cannot be told apart, because they hold bytes that are not "
            "UTF-8. Rename them."
        )
    return [items[name] for name in sorted(items, key=_natural)]


def called(count: int, modalities: Iterable[Modality | None]) -> str:
    """How many there are of what, in words.

    >>> called(2, [None])
    '2 pictures'
    >>> called(1, ["point-cloud"])
    '1 point cloud'
    >>> called(3, ["video", None])
    '3 files'
    """
    names: dict[Modality | None, str] = {None: "picture", "point-cloud": "point cloud"}
    kinds = set(modalities)
    if kinds == {"time-series"}:
        return f"{count} time series"
    name = "file"
    if len(kinds) == 1:
        kind = kinds.pop()
        name = names.get(kind, str(kind))
    return f"{count} {name}{'s' * (count != 1)}"


def _expanded(source: str, modality: Modality | None) -> tuple[Path, list[_Found]]:
    """The folder that ids are relative to, and the files."""
    path = Path(os.path.abspath(os.path.expanduser(source)))
    expected = f"expected files that end in {', '.join(sorted(_ENDINGS[modality]))}."
    if path.is_dir():
        if is_run(path):
            raise InputError(
                f"{source} is the folder of a finished run, not of pictures. Name the pictures "
                "to inspect."
            )
        files = _chosen(list(_files(path)), modality)
        if not files:
            raise InputError(f"The folder {source} holds no {_CALLED[modality]}; {expected}")
        return _root(path, files), files
    if path.exists():
        return path.parent, [(path, modality or modality_of(path))]
    if not _MAGIC.search(source):
        raise InputError(f"{source} does not exist. Check the path and its spelling.")
    matches = [Path(match) for match in glob.glob(str(path), recursive=True)]
    files = _chosen([m for m in matches if m.is_file()], modality)
    if not files:
        raise InputError(
            f"The pattern {source} matches {len(matches)} files and folders, none of them a "
            f"{_CALLED[modality]}; {expected}"
        )
    return _root(Path(*path.parts[: _first_magic(path)]), files), files


def _root(folder: Path, files: Sequence[_Found]) -> Path:
    """What ids are relative to: a folder, unless it is itself a video."""
    return folder.parent if any(file == folder for file, _ in files) else folder


def _chosen(files: Sequence[Path], modality: Modality | None) -> list[_Found]:
    """The pictures among files, or the recordings."""
    if modality is None:
        pictures = [file for file in files if _ends(file, None)]
        kind = _kind(pictures)
        if pictures and kind is None:
            return [(file, None) for file in pictures]
        endings = frozenset[str]().union(*_ENDINGS.values())
        there = [file for file in files if file.suffix.lower() in endings]
        # A damaged one among good ones is one of them.
        kinds = [(file, modality_of(file) or kind) for file in there]
        return [(file, known) for file, known in kinds if known]
    found = [file for file in files if _ends(file, modality)]
    if modality == "video":
        found = [file for file in found if modality_of(file)]  # one picture may be a GIF too
        found = found or sorted({file.parent for file in files if _ends(file, None)})
    return [(file, modality) for file in found]


def _kind(pictures: Sequence[Path]) -> Modality | None:
    """What most of some pictures really are, by their endings and the content of a few."""
    if any(file.suffix.lower() not in _BOTH for file in pictures):
        return None
    few = [modality_of(file) for file in pictures[:: max(1, len(pictures) // _LOOKED_AT)]]
    kind, count = Counter(few).most_common(1)[0] if few else (None, 0)
    return kind if 2 * count > len(few) else None


def _ends(file: Path, modality: Modality | None) -> bool:
    return file.suffix.lower() in _ENDINGS[modality]


def _first_magic(path: Path) -> int:
    """How many parts of a glob come before the first wildcard."""
    return next(i for i, part in enumerate(path.parts) if _MAGIC.search(part))


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=_unsearchable):
        here = Path(parent)
        folders[:] = [f for f in folders if not f.startswith(".") and not is_run(here / f)]
        yield from (here / name for name in files if not name.startswith("."))


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
