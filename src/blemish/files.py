"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

PIECE = 2**20
"""Bytes of a file that are in the memory at a time."""


def install(path: Path, data: bytes | IO[bytes], *, sync: bool = True) -> None:
    """Write a file through a scratch file beside it; its folder is made if need be.

    A process that is killed meanwhile leaves the scratch file, ".writing-...", behind, and the file
    as it was.

    Args:
        path: of the file; one that is there is replaced.
        data: its content, or where it is read from, to the end; that need not fit into the memory.
        sync: wait until it is on the disk; without, a power cut may leave a part of it.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(io.BytesIO(data) if isinstance(data, bytes) else data, file, PIECE)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        raise
