"""An encoder that encodes the same pictures once, however many detectors and seeds ask for them."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from blemish.types import Encoder, Features, Image

MOST_BYTES = 2 * 10**9
"""Of remembered features; the call that was not asked for longest goes first. A call is the
runner's batch: 8 pictures at 448 px are 25 MB with the default encoder and two layers."""


class Remembering:
    """Gives what its encoder gave before to the same call.

    What is remembered is the whole call, not each picture: an encoder's last bits, and in 8 bits
    more than that, depend on the pictures that share a batch. A call that differs in one picture
    is encoded anew, so that results are the same to the bit as without.

    Args:
        encoder: asked where a call is new; its other attributes are passed on.
        most_bytes: of features to keep.
    """

    def __init__(self, encoder: Encoder, most_bytes: int = MOST_BYTES) -> None:
        self._encoder = encoder
        self._most_bytes = most_bytes
        self._calls: OrderedDict[str, list[Features]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self.name, self.fingerprint = encoder.name, encoder.fingerprint
        self.default_layers = encoder.default_layers
        self.default_size = encoder.default_size

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_encoder"], name)

    def encode(
        self, images: Sequence[Image], *, layers: Sequence[int], size: int
    ) -> list[Features]:
        """See `blemish.types.Encoder`."""
        key = _key(images, layers, size)
        with self._lock:
            known = self._calls.get(key)
            if known is not None:
                self._calls.move_to_end(key)
                return list(known)
        found = self._encoder.encode(images, layers=layers, size=size)
        with self._lock:
            self._keep(key, found)
        return list(found)

    def _keep(self, key: str, found: list[Features]) -> None:
        size = _bytes(found)
        if size > self._most_bytes or key in self._calls:
            return
        self._calls[key] = found
        self._bytes += size
        while self._bytes > self._most_bytes:
            _, oldest = self._calls.popitem(last=False)
            self._bytes -= _bytes(oldest)


def _key(images: Sequence[Image], layers: Sequence[int], size: int) -> str:
    digest = hashlib.sha256(f"{list(layers)} {size}".encode())
    for image in images:
        digest.update(str(image.shape).encode())
        digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _bytes(found: Sequence[Features]) -> int:
    return sum(
        f.class_token.nbytes + sum(tokens.nbytes for tokens in f.patches.values()) for f in found
    )
