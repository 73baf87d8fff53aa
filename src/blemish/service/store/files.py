"""Pictures, maps and overlays as files named by their content: written once, whole, for good."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from blemish.errors import NotFoundError, OutputError, SavedError
from blemish.files import install

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SCRATCH = ".writing-*"
_ABANDONED = 24 * 3600.0


class Files:
    """A folder of files by the SHA-256 of their content.

    The same content is kept once. All methods may be called from any thread and process at once.

    Args:
        folder: of the files; it is made if need be.

    Raises:
        OutputError: it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes) -> str:
        """Keep content, and return its name; when this returns it is on the disk.

        Raises:
            OutputError: it cannot be written; nothing is kept then.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path(sha256)
        with _writing(self.folder):
            # A file that was damaged is mended by the next one who brings its content.
            if _content(path) != data:
                made = not path.parent.exists()
                install(path, data)
                if made:
                    _sync(self.folder)
            # Else another thread may have renamed it a moment ago, and not come so far yet.
            _sync(path.parent)
        return sha256

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
        for scratch in self.folder.glob(f"*/{_SCRATCH}"):
            with contextlib.suppress(OSError):
                if scratch.stat().st_mtime < before:
                    scratch.unlink()
                    gone += 1
        return gone


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


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
