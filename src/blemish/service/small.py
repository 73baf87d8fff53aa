"""Small pictures of those in the store, so that a page of fifty decodes none of them.

What is in this folder is made again when it is gone: it may be deleted at any time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from blemish.files import install
from blemish.images import decode_image
from blemish.service import heat
from blemish.types import Image

SIDE = 256
"""Longest side in pixels; what pages show in lists."""
_START, _END = b"\xff\xd8", b"\xff\xd9"


class Small:
    """A folder of JPEG files, each named by the content that it is a small picture of."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, sha256: str, image: Image) -> bytes:
        """Make the small picture of a file's content (H, W, 3) uint8, and keep it if that goes."""
        made = heat.jpeg(image, SIDE)
        with contextlib.suppress(OSError):  # a full disk is the business of others
            install(self._path(sha256), made, sync=False)
        return made

    def get(self, sha256: str, side: int) -> bytes | None:
        """The small picture, its longest side at most `side`; None where it is to be made."""
        try:
            kept = self._path(sha256).read_bytes()
        except OSError:
            return None
        if not (kept.startswith(_START) and kept.endswith(_END)):  # a power cut left a part of it
            return None
        return kept if side >= SIDE else heat.jpeg(decode_image(kept, sha256), side)

    def names(self) -> Iterator[str]:
        """Of what there are small pictures."""
        for path in self._folder.glob("??/*.jpg"):
            yield path.stem

    def drop(self, sha256: str) -> None:
        """Delete one, if it is there."""
        with contextlib.suppress(OSError):
            self._path(sha256).unlink()

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / f"{sha256}.jpg"
