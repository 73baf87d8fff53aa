"""An encoder that encodes the same pictures once, however many detectors and seeds ask for them."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from blemish.types import Encoder, Features, Image

MOST_BYTES = 4 * 10**9
"""Of remembered features; the call that was not asked for longest goes first. A call is the
runner's batch: 8 pictures at 448 px are 25 MB with the default encoder and two layers. With CLIP
ViT-B/16+ a picture and its windows are 13 MB, and those of a category of VisA 2.5 GB: where one
round over its pictures did not fit, the next would find none of them."""


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
        self._calls: OrderedDict[str, Any] = OrderedDict()
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
        return list(self._known("encode", images, layers=list(layers), size=size))

    def embed(self, images: Sequence[Image]) -> Any:
        """See `blemish.encoders.clip.Clip`, as for the next two; other encoders have none."""
        return self._known("embed", images)

    def joint(self, images: Sequence[Image], **how: Any) -> Any:
        """See `embed`."""
        return self._known("joint", images, **how)

    def windows(self, images: Sequence[Image], scale: int, **how: Any) -> Any:
        """See `embed`. With values, so that one call serves all."""
        return self._known("windows", images, scale, **{**how, "values": True})

    def _known(self, method: str, images: Sequence[Image], *about: Any, **how: Any) -> Any:
        key = _key(images, [method, *about, *sorted(how.items())])
        with self._lock:
            if key in self._calls:
                self._calls.move_to_end(key)
                return self._calls[key]
        found = getattr(self._encoder, method)(images, *about, **how)
        with self._lock:
            self._keep(key, found)
        return found

    def _keep(self, key: str, found: Any) -> None:
        size = _bytes(found)
        if size > self._most_bytes or key in self._calls:
            return
        self._calls[key] = found
        self._bytes += size
        while self._bytes > self._most_bytes:
            _, oldest = self._calls.popitem(last=False)
            self._bytes -= _bytes(oldest)


def _key(images: Sequence[Image], about: Sequence[Any]) -> str:
    digest = hashlib.sha256(repr(about).encode())
    for image in images:
        digest.update(str(image.shape).encode())
        digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _bytes(found: Any) -> int:
    """Of the arrays in what an encoder gave."""
    if found is None:
        return 0
    if isinstance(found, np.ndarray):
        return found.nbytes
    if isinstance(found, list | tuple):
        return sum(map(_bytes, found))
    return sum(map(_bytes, (found if isinstance(found, Mapping) else vars(found)).values()))
