"""Pictures read ahead of the detector, in batches that fit into the memory."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from blemish.errors import BlemishError, OptionError
from blemish.images import decode_image, read_bytes
from blemish.runs.context import Context
from blemish.runs.sources import Item
from blemish.types import Failure, Sample

BATCH = 8
PIXELS = 48_000_000
"""A batch ends at this many pictures or pixels: large ones must fit into the memory."""
_AHEAD = 4
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Read:
    """A picture file that was read, or why it could not be.

    Attributes:
        item: the file.
        sha256: of its content; "" where even that could not be had.
        sample: the picture, or the failure.
        seconds: what reading took.
    """

    item: Item
    sha256: str
    sample: Sample | Failure
    seconds: float


def batches(items: Sequence[Item], context: Context, most: int = BATCH) -> Iterator[list[Read]]:
    """Read pictures in order, a few ahead in a thread, in batches of at most so many."""
    with ThreadPoolExecutor(1, "read") as pool:
        waiting: deque[Future[Read]] = deque()
        try:
            left = iter(items)
            batch: list[Read] = []
            pixels = 0
            for _ in items:
                while len(waiting) < _AHEAD and (item := next(left, None)):
                    waiting.append(pool.submit(_read, item, context))
                batch.append(waiting.popleft().result())
                sample = batch[-1].sample
                pixels += sample.image.size // 3 if isinstance(sample, Sample) else 0
                if len(batch) == most or pixels >= PIXELS:
                    yield batch
                    batch, pixels = [], 0
            if batch:
                yield batch
        finally:
            for future in waiting:
                future.cancel()


def failure(item_id: str, error: Exception, size: str = "") -> Failure:
    """What went wrong with one picture, in words; `size` is that of a picture that was read."""
    _log.debug("%s failed", item_id, exc_info=error)
    name = type(error).__name__
    if isinstance(error, BlemishError):
        text = str(error)
    elif isinstance(error, MemoryError) or "memory" in str(error).lower():
        text = (
            f"There is not enough memory for {item_id} ({size or 'while it was read'}). Inspect "
            "it at a smaller --size, or on a machine with more memory."
        )
    else:
        reason = (str(error).splitlines() or [""])[0]
        text = (
            f"{item_id} could not be inspected because of an error that was not foreseen "
            f"({name}: {reason}). Run again with --debug to see where."
        )
    return Failure(item_id, name, text)


def _read(item: Item, context: Context) -> Read:
    begun = time.perf_counter()
    sha256 = ""
    sample: Sample | Failure
    try:
        data = read_bytes(item.path)
        sha256 = hashlib.sha256(data).hexdigest()
        image = decode_image(data, str(item.path))
        sample = context.sample(image, item.id)
    except OptionError:  # a setting that no picture could be read with
        raise
    except Exception as error:
        sample = failure(item.id, error)
    return Read(item, sha256, sample, time.perf_counter() - begun)
