"""Uploads that are ZIP archives become the files in them, within limits that are checked first.

Entries become uploads whose names are text and never paths, and each is unpacked when it is read.
Hidden files and folders, and those that macOS and Windows add, are left out; every other file is
kept, so that one that is no picture fails by its name.
"""

from __future__ import annotations

import contextlib
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath, PureWindowsPath
from typing import IO

from blemish.errors import InputError
from blemish.service import room
from blemish.service.types import Incoming, Sent
from blemish.settings import settings

_START, _ENTRY, _EMPTY = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_SLACK = 2**20
"""Bytes up to which any ratio is fine: a small file of one colour is no attack."""
_IN_MEMORY = 2**23
"""Bytes of an entry above which it is unpacked onto the disk."""


@dataclass(frozen=True)
class Limits:
    """What the archives of one request may become.

    Attributes:
        entries: files and folders in all of them.
        size: bytes of all their files together.
        ratio: times of its own size that a file or a whole archive may have.
    """

    entries: int = 2000
    size: int = 2 * 2**30
    ratio: float = 100.0


@dataclass
class _Held:
    """What the archives of a request hold so far."""

    entries: int = 0
    size: int = 0


def unpacked(uploads: Iterable[Sent], limits: Limits) -> tuple[Sent, ...]:
    """The uploads, with the files of an archive in its place.

    Raises:
        InputError: an archive is broken, encrypted, over a limit, or holds a link or a name that
            leads out of it; that an entry's content is broken, it says when it is read.
        OutputError: an entry is read, and the disk of temporary files is full.
    """
    found: list[Sent] = []
    held = _Held()
    for upload in uploads:
        # Stays open as long as entries may be wanted; the server closes what it has on the disk.
        file = upload.open().__enter__()
        packed = file.read(4) in (_START, _EMPTY)
        found += _entries(upload.name, file, limits, held) if packed else [upload]
    return tuple(found)


def _entries(name: str, file: IO[bytes], limits: Limits, held: _Held) -> list[Incoming]:
    # Counted before anything is made of them: an index of millions of entries takes gigabytes. A
    # stored archive inside has entries of its own, hence twice.
    file.seek(0)
    size, count = _measured(file)
    if count > 2 * limits.entries:
        raise _over(name, f"more than {limits.entries} entries")
    with _sound(name):
        archive = zipfile.ZipFile(file)
        wanted = _wanted(name, archive.infolist(), size, limits, held)
    return [Incoming(info.filename, partial(_entry, name, archive, info)) for info in wanted]


def _measured(file: IO[bytes]) -> tuple[int, int]:
    """A file's bytes, and how many of its places look like the index entry of an archive."""
    size, count, end = 0, 0, b""
    while piece := file.read(2**20):
        size += len(piece)
        count += (end + piece).count(_ENTRY)
        end = piece[1 - len(_ENTRY) :]
    return size, count


@contextlib.contextmanager
def _entry(name: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    """An archive's entry, unpacked onto the disk where it is large, and whole."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
        with _sound(name), archive.open(info) as packed:
            shutil.copyfileobj(packed, spool)
            spool.seek(0)  # writes what is left to the disk
        yield spool


@contextlib.contextmanager
def _sound(name: str) -> Iterator[None]:
    try:
        yield
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
        *(ValueError, OSError),
    ) as cause:
        if full := room.lacking(cause):
            raise full from cause
        raise InputError(f"The archive {name!r} is broken: {cause}. Pack it again.") from cause


def _wanted(
    name: str, infos: list[zipfile.ZipInfo], size: int, limits: Limits, held: _Held
) -> list[zipfile.ZipInfo]:
    """The entries to read; zipfile reads no more of each than `file_size` says."""
    every = "in all archives of a request"
    held.entries += len(infos)
    if held.entries > limits.entries:
        raise _over(name, f"{len(infos)} entries; expected at most {limits.entries} {every}")
    total = sum(info.file_size for info in infos)
    held.size += total
    if held.size > limits.size:
        raise _over(name, f"{total} bytes of files; expected at most {limits.size} {every}")
    if total > max(limits.ratio * size, _SLACK):
        raise _over(name, f"files {total / size:.0f} times its size")
    for info in infos:
        _check(name, info, limits)
    files = [info for info in infos if not info.is_dir() and not _hidden(info.filename)]
    if not files:
        raise InputError(f"The archive {name!r} holds no file. Put pictures into it.")
    return files


def _check(name: str, info: zipfile.ZipInfo, limits: Limits) -> None:
    entry = f"The archive {name!r} holds {info.filename[:200]!r}"
    path = PureWindowsPath(info.filename)  # splits at both / and \
    if path.anchor or ".." in path.parts or PurePosixPath(info.filename).is_absolute():
        raise InputError(f"{entry}, which leads out of it. Pack the pictures' folder again.")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(f"{entry}, which is a link or a device. Pack the pictures themselves.")
    if info.flag_bits & 1:
        raise InputError(f"{entry}, which is encrypted. Pack it without a password.")
    if info.compress_type not in _METHODS:
        raise InputError(f"{entry}, compressed in a way that is not read. Pack it as plain ZIP.")
    if info.file_size > settings().max_bytes:
        raise _over(name, f"a file of {info.file_size} bytes; expected {settings().max_bytes}")
    if info.file_size > max(limits.ratio * info.compress_size, _SLACK):
        raise _over(name, f"a file {info.file_size // max(info.compress_size, 1)} times its size")


def _hidden(name: str) -> bool:
    parts = PureWindowsPath(name.casefold()).parts  # splits at both / and \
    return (
        parts[:1] == ("__macosx",)
        or parts[-1:] in (("thumbs.db",), ("desktop.ini",))
        or any(part.startswith(".") for part in parts)
    )


def _over(name: str, what: str) -> InputError:
    return InputError(f"The archive {name!r} holds {what}. Send fewer pictures at a time.")
