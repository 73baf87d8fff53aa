"""Pictures, maps and overlays as files named by their content: written once, whole, for good.

A file goes when no row names it any more. What is put for rows that are yet to come is held until
they are there (`Files.held`), so that nobody finds it without a name in between.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import queue
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from blemish.errors import NotFoundError, OutputError, SavedError
from blemish.files import PIECE, install

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SCRATCH = ".writing-"
_ABANDONED = 24 * 3600.0
Put = Callable[[bytes | IO[bytes]], str]


class Files:
    """A folder of files by the SHA-256 of their content.

    The same content is kept once. All methods may be called from any thread at once, and all but
    `drop` from any process.

    Args:
        folder: of the files; it is made if need be.

    Attributes:
        folder: of the files.
        loose: names of files that may have no row, for whoever calls `drop`.

    Raises:
        OutputError: it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loose: queue.SimpleQueue[set[str]] = queue.SimpleQueue()
        self._changing = threading.Lock()
        self._held: Counter[str] = Counter()
        self._dropping: set[str] = set()
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes | IO[bytes]) -> str:
        """Keep content, and return its name; when this returns it is on the disk.

        Args:
            data: the content, or where it is read from, to the end.

        Raises:
            OutputError: it cannot be written; nothing is kept then.
        """
        with self.held() as put:
            return put(data)

    @contextlib.contextmanager
    def held(self) -> Iterator[Put]:
        """Gives a `put` whose files are not dropped before the end, when rows name them."""
        mine: list[str] = []
        try:
            yield lambda data: self._put(data, mine)
        except BaseException:
            self.loose.put(set(mine))  # their rows may never come
            raise
        finally:
            with self._changing:
                self._held.subtract(mine)
                self._held += Counter()  # takes away those of which none is left

    def _put(self, data: bytes | IO[bytes], mine: list[str]) -> str:
        source = io.BytesIO(data) if isinstance(data, bytes) else data
        with _writing(self.folder):
            sha256 = sha256_of(source)
            path = self.path(sha256)
            with self._changing:
                self._held[sha256] += 1
                mine.append(sha256)
                self._dropping.discard(sha256)
            # A file that was damaged is mended by the next one who brings its content.
            if not _is_whole(path):
                made = not path.parent.exists()
                source.seek(0)
                install(path, source)
                if made:
                    _sync(self.folder)
            # Else another thread may have renamed it a moment ago, and not come so far yet.
            _sync(path.parent)
        return sha256

    def drop(self, names: Iterable[str], named: Callable[[set[str]], set[str]]) -> set[str]:
        """Delete those files that no row names, and that nobody is putting; which ones.

        Args:
            names: of files that may go.
            named: which of some names the rows name, asked when this has begun.
        """
        with self._changing:
            going = {name for name in names if not self._held[name]}
            self._dropping |= going
        gone = set()
        try:
            kept = named(going)
            for name in going - kept:
                with self._changing:
                    if name in self._dropping:  # else somebody has put it meanwhile
                        with contextlib.suppress(OSError):
                            self.path(name).unlink()
                            gone.add(name)
        finally:
            with self._changing:
                self._dropping -= going
        return gone

    def names(self) -> Iterator[str]:
        """The names of all files."""
        for path in self.folder.glob("??/*"):
            if _SHA256.fullmatch(path.name):
                yield path.name

    def path(self, sha256: str) -> Path:
        """Where content of this name lies, or would lie.

        Raises:
            NotFoundError: it is no name of a file, such as "../../etc/passwd".
        """
        if not _SHA256.fullmatch(sha256):
            raise NotFoundError(
                f"No file is called {sha256[:80]!r}; expected the 64 hexadecimal digits of a "
                "SHA-256 in lower case."
            )
        return self.folder / sha256[:2] / sha256

    def read(self, sha256: str) -> bytes:
        """Content by its name, checked against it.

        Raises:
            NotFoundError: there is no such file.
            SavedError: the disk gives back something else than was kept, or nothing.
        """
        path = self.path(sha256)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"The station keeps no file {sha256}.") from None
        except OSError as cause:
            raise SavedError(
                f"The file {sha256} cannot be read: {cause.strerror or cause}. Check the disk and "
                "this account's permissions."
            ) from cause
        if hashlib.sha256(data).hexdigest() != sha256:
            raise SavedError(
                f"The file {sha256} is damaged: its content is not what was kept. Check the disk, "
                "and bring the file back from a backup, or upload the same picture again."
            )
        return data

    def tidy(self) -> int:
        """Delete what writers that were killed left half done a day ago or more; how many."""
        before, gone = time.time() - _ABANDONED, 0
        for scratch in self.folder.glob(f"*/{_SCRATCH}*"):
            with contextlib.suppress(OSError):
                if scratch.stat().st_mtime < before:
                    scratch.unlink()
                    gone += 1
        return gone


def sha256_of(file: IO[bytes]) -> str:
    """The hash of a file from where it stands, in hexadecimal digits."""
    digest = hashlib.sha256()
    while piece := file.read(PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _is_whole(path: Path) -> bool:
    """Whether a file is there, with the content that its name says."""
    try:
        with path.open("rb") as file:
            return sha256_of(file) == path.name
    except OSError:
        return False


def _sync(folder: Path) -> None:
    """Wait until names in a folder are on the disk; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn what the system says against writing into an OutputError."""
    try:
        yield
    except OSError as cause:
        raise OutputError(
            f"The station cannot write to its folder {folder.name!r}: {cause.strerror or cause}. "
            "Nothing was kept of this request. Make room, or give this account the permission to "
            "write, and send it again."
        ) from cause
