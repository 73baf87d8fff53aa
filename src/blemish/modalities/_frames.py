"""Frames of a moving picture, one after the other, and which of them are taken.

Videos are read in `_film`; here are animated GIFs and folders of frames.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from blemish.errors import ImageError, InputError
from blemish.images import IMAGE_SUFFIXES, read_image
from blemish.settings import settings
from blemish.types import Image

EXACT = 5e-4
"""Seconds by which a frame's time may fall short: Matroska keeps whole milliseconds."""
SMALL = (36, 64)
"""Height and width in pixels at which two frames are compared."""

_UNTIMED = 0.1
"""Seconds of a GIF frame that states 10 ms or less, as browsers show it."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame that need not be turned into a picture.

    Attributes:
        time: in seconds since the video's start.
        image: makes its picture, (H, W, 3) uint8 RGB as shown.
        small: makes (36, 64) uint8, its brightness seen from far.
    """

    time: float
    image: Callable[[], Image]
    small: Callable[[], NDArray[np.uint8]]


class Pick(Protocol):
    """Decides which frames are taken."""

    due: float
    """Seconds; frames before it are not taken."""

    def takes(self, frame: Frame) -> bool:
        """Whether this frame is taken; frames come in the order of their times."""
        ...


class ByTime:
    """Takes the first frame at or after each multiple of `every` seconds."""

    def __init__(self, every: float) -> None:
        self.due = 0.0
        self._every = every

    def takes(self, frame: Frame) -> bool:
        """Whether its time has come."""
        if frame.time < self.due - EXACT:
            return False
        self.due = (math.floor((frame.time + EXACT) / self._every) + 1) * self._every
        return True


class ByScene:
    """Takes the first frame and each one that differs from the last one taken.

    Held against the last one taken, not against the one before, a slow fade is seen as well as a
    cut. The difference is the mean of absolute differences of brightness, from 0 to 1.
    """

    def __init__(self, threshold: float) -> None:
        self.due = -math.inf
        self._threshold = threshold
        self._last: NDArray[np.int16] | None = None

    def takes(self, frame: Frame) -> bool:
        """Whether another scene began."""
        small = frame.small().astype(np.int16)
        last = self._last
        if last is not None and np.abs(small - last).mean() / 255 <= self._threshold:
            return False
        self._last = small
        return True


class Source(Protocol):
    """Where frames come from."""

    about: Mapping[str, Any]
    """What is known before the first frame is decoded, as JSON values."""
    end: float
    """Seconds at which the last frame ends; certain once `frames` has been gone through."""

    def frames(self, pick: Pick) -> Iterator[Frame]:
        """The frames from `pick.due` on, which moves on while they are asked for.

        Raises:
            ImageError: the file is damaged.
        """
        ...


class Gif:
    """An animated GIF: frames put together as a viewer shows them, transparency over white."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            width, height = struct.unpack("<HH", file.read(10).ljust(10, b"\0")[6:])
            file.seek(max(0, path.stat().st_size - 64))
            ending = file.read().rstrip(b"\0")
        check_size(path, height, width)
        if not ending.endswith(b";"):
            raise ImageError(
                f"{path} is cut short: a GIF ends with a mark that is missing here. Copy it again "
                "from where it came."
            )
        self._path = path
        self.about: Mapping[str, Any] = {"kind": "GIF", "height": height, "width": width}
        self.end = 0.0

    def frames(self, pick: Pick) -> Iterator[Frame]:
        """The frames from `pick.due` on."""
        index, time, self.end = 0, 0.0, 0.0
        # Broken files make Pillow raise nearly anything.
        try:
            with PIL.Image.open(self._path, formats=["GIF"]) as picture:
                while True:
                    picture.load()
                    seconds = picture.info.get("duration", 0) / 1000
                    seconds = seconds if seconds > 0.01 else _UNTIMED
                    self.end = time + seconds
                    if time >= pick.due - EXACT:
                        yield _shown(time, partial(_over_white, picture))
                    index, time = index + 1, self.end
                    picture.seek(index)
        except EOFError:
            if not self.end:
                raise ImageError(f"{self._path} is a GIF that holds no frame.") from None
        except InputError:
            raise
        except Exception as error:
            raise ImageError(
                f"{self._path} is a GIF that is damaged from {time:.2f} s on: {error}. Copy it "
                "again from where it came."
            ) from error


class Folder:
    """Picture files in natural order, shown at a fixed rate; each may have its own size."""

    def __init__(self, path: Path, rate: float) -> None:
        names = (file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        self._files = sorted((file for file in names if file.is_file()), key=_natural)
        if not self._files:
            raise ImageError(
                f"{path} is a folder without pictures. Expected the frames of a video as PNG, "
                "JPEG, TIFF, BMP, WebP or GIF files, such as 0001.png."
            )
        self._rate = rate
        self.end = len(self._files) / rate
        self.about: Mapping[str, Any] = {
            "kind": "folder of frames",
            "frames": len(self._files),
            "frames_per_second": rate,
        }

    def frames(self, pick: Pick) -> Iterator[Frame]:
        """The frames from `pick.due` on; the other files are not opened."""
        for index, file in enumerate(self._files):
            time = index / self._rate
            if time >= pick.due - EXACT:
                yield _shown(time, partial(read_image, file))


def check_size(path: Path, height: int, width: int) -> None:
    """Refuse frames that are larger than a picture may be, before they are turned into one."""
    limit = settings().max_pixels
    if height * width > limit:
        raise ImageError(
            f"{path} has frames of {width:,} x {height:,} pixels; at most {limit:,} pixels are "
            "allowed. Save it smaller, or set BLEMISH_MAX_PIXELS higher."
        )


def _shown(time: float, image: Callable[[], Image]) -> Frame:
    """A frame whose picture costs the same from near and from far."""

    def small() -> NDArray[np.uint8]:
        grey = PIL.Image.fromarray(image()).convert("L")
        return np.asarray(grey.resize(SMALL[::-1], PIL.Image.Resampling.BOX))

    return Frame(time, image, small)


def _over_white(picture: PIL.Image.Image) -> Image:
    if not picture.has_transparency_data:
        return np.array(picture.convert("RGB"))
    layer = picture.convert("RGBA")
    opaque = PIL.Image.new("RGB", picture.size, "white")
    opaque.paste(layer, mask=layer)
    return np.array(opaque)


def _natural(file: Path) -> tuple[list[str | int], str]:
    """Orders frame_2.png before frame_10.png."""
    # Splitting at a group gives texts at even places and numbers at odd ones.
    pieces = re.split(r"([0-9]+)", file.name.casefold())
    return [int(p) if i % 2 else p for i, p in enumerate(pieces)], file.name
