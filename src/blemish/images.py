"""Pictures as cameras and phones give them, read into (H, W, 3) uint8 RGB.

The rules, the same for every picture so that two pictures of equal parts stay comparable:

- PNG, JPEG, TIFF, BMP, WebP and GIF; the first bytes decide, never the name.
- The first frame of an animation, the first page of a TIFF.
- The EXIF orientation is applied: rows and columns are those that a viewer shows.
- 16-bit samples, grey or colour, keep their upper byte; 12-bit packed TIFF its upper 8 bits. The
  range is that of the file's bit depth, never the picture's own minimum and maximum. A 12-bit
  camera that stores 0 to 4095 in 16 bits therefore comes out dark: let it scale to 16 bits.
- Floating point TIFF: 0 to 1 becomes 0 to 255, rounded; NaN and values outside are refused.
- Signed and 32-bit integers are refused: no range is stated that would make them grey values.
- Grey and 1-bit become three equal channels; palettes are looked up.
- Transparency lies over white.
- CMYK and YCbCr by Pillow's formulas, LAB by LittleCMS into sRGB. Other colour profiles are not
  applied: the detector sees the numbers that the camera wrote.
- A picture that is cut short or broken is refused, as is one above the limits of `settings`.
"""

from __future__ import annotations

import hashlib
import io
import logging
import stat
import threading
import warnings
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageFile, ImageOps, UnidentifiedImageError

from blemish.errors import ImageError, InputError
from blemish.settings import settings
from blemish.types import Image

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jfif", ".tif", ".tiff", ".bmp", ".webp", ".gif"}
)
"""Endings, in lower case, by which pictures are found in a folder."""

_READABLE = "PNG, JPEG, TIFF, BMP, WebP or GIF"
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
)
_OTHERS = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"8BPS", "a Photoshop document"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"ply\n", "a point cloud"),
)
# TIFF tags.
_BITS, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 258, 262, 284, 339
_SIGNED = 2

# Pillow's warnings can only be silenced for the whole process, so one thread decodes at a time.
_DECODING = threading.Lock()
_WARNED: list[str] = []
_log = logging.getLogger(__name__)


def read_image(path: str | Path) -> Image:
    """Read one picture.

    Args:
        path: a file in one of the formats of IMAGE_SUFFIXES, whatever its name.

    Returns:
        (H, W, 3) uint8 RGB in the shown orientation.

    Raises:
        ImageError: the file is missing, empty, too large, broken or no picture.
    """
    return decode_image(read_bytes(path), str(path))


def read_bytes(path: str | Path) -> bytes:
    """The content of a file that `decode_image` could be given.

    Raises:
        ImageError: no such file, no regular file, empty, over `max_bytes` or not readable.
    """
    limit = settings().max_bytes
    with _open(path) as file:
        # One byte more than allowed, for a file that grew since it was measured.
        data: bytes = _quoting(path, lambda: file.read(limit + 1))
    return data


def content_hash(path: str | Path) -> str:
    """The sha256 of a file's content in hexadecimal, which names a picture whatever its path.

    Raises:
        ImageError: as `read_bytes`.
    """
    with _open(path) as file:
        digest: str = _quoting(path, lambda: hashlib.file_digest(file, "sha256").hexdigest())
    return digest


def decode_image(data: bytes, name: str) -> Image:
    """Decode one picture from memory.

    Args:
        data: the content of a picture file.
        name: what an error message calls the picture, such as its path.

    Returns:
        (H, W, 3) uint8 RGB in the shown orientation.

    Raises:
        ImageError: the data is empty, too large, broken or no picture.
    """
    image: Image = _decoded(data, name, lambda picture: _rgb(picture, name))
    return image


def suffix_of(data: bytes) -> str:
    """The ending that a picture's first bytes stand for, such as ".png"; "" for what is none.

    >>> suffix_of(b"GIF89a...")
    '.gif'
    """
    kind = _kind(data)
    return f".{kind.lower()}" if kind else ""


def read_mask(path: str | Path) -> NDArray[np.uint16]:
    """Read the truth of a picture's pixels: the values as stored, 0 where nothing is wrong.

    A palette gives its indices, several channels their largest value. A JPEG (HyperKvasir) is cut
    at half its range, because compression leaves faint traces beside every edge.

    Args:
        path: a file in one of the formats of IMAGE_SUFFIXES.

    Returns:
        (H, W) uint16, the stored values.

    Raises:
        ImageError: the file is missing, empty, too large, broken or no picture.
    """
    mask: NDArray[np.uint16] = _decoded(read_bytes(path), str(path), _stored)
    return mask


def _stored(picture: PIL.Image.Image) -> NDArray[np.uint16]:
    values = np.asarray(picture if picture.mode != "1" else picture.convert("L"))
    if values.ndim == 3:
        # Transparency says where a picture is drawn, not where a part is broken.
        channels = [i for i, band in enumerate(picture.getbands()) if band != "A"]
        values = values[:, :, channels].max(axis=2)
    if picture.format == "JPEG":
        values = np.where(values > 127, values, 0)
    return np.asarray(values, np.uint16)


def _decoded(data: bytes, name: str, convert: Callable[[PIL.Image.Image], Any]) -> Any:
    """Check, open and decode a picture, and convert it while its decoder's guards are up."""
    _check_size(len(data), name)
    kind = _kind(data)
    if not kind:
        raise ImageError(
            f"{name} is no picture that blemish reads: it begins like {_description(data)}. "
            f"Expected {_READABLE}."
        )
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ImageError(
            f"{name} was not read: this program has set PIL.ImageFile.LOAD_TRUNCATED_IMAGES, with "
            "which half a picture passes for a whole one. Set it back to False."
        )
    # Broken files make Pillow raise nearly anything: OSError, ValueError, SyntaxError, EOFError,
    # struct.error, zlib.error, MemoryError, OverflowError, KeyError, ...
    try:
        with _DECODING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PIL.Image.open(io.BytesIO(data), formats=[kind]) as picture:
                _check_header(picture, name)
                picture.load()
                ImageOps.exif_transpose(picture, in_place=True)
                return convert(picture)
    except ImageError:
        raise
    except PIL.Image.DecompressionBombError:
        raise ImageError(_too_many_pixels(name)) from None
    except UnidentifiedImageError:
        reason = "its header is damaged or of an unusual sort"
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise ImageError(
        f"{name} is a {kind} file that cannot be decoded: {reason}. If it is cut short or damaged, "
        "copy it again from where it came; otherwise save it anew as 8-bit PNG."
    )


def resize(image: Image, height: int, width: int) -> Image:
    """Resize with Pillow's bicubic filter, whose support grows when it shrinks (antialiased).

    Bicubic is what DINOv2 and CLIP were trained and published with.

    Args:
        image: (H, W, 3) uint8 RGB.
        height: in pixels, at least 1.
        width: in pixels, at least 1.

    Returns:
        (height, width, 3) uint8 RGB, a new array.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError(
            f"An image of shape {image.shape} and dtype {image.dtype} came; expected (H, W, 3) "
            "uint8 RGB with at least one pixel."
        )
    if height < 1 or width < 1:
        raise InputError(f"Size {height} x {width} came; expected a height and width of 1 or more.")
    resized = PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BICUBIC)
    return np.array(resized)


def _open(path: str | Path) -> BufferedReader:
    """Open a regular file of an allowed size."""
    path = Path(path)
    # Before open, because opening a named pipe would wait for its writer.
    status = _quoting(path, path.stat)
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{path} is a folder; expected one picture file ({_READABLE}).")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{path} is a device or a pipe; expected a picture file ({_READABLE}).")
    _check_size(status.st_size, str(path))
    file: BufferedReader = _quoting(path, lambda: path.open("rb"))
    return file


def _quoting(path: str | Path, act: Callable[[], Any]) -> Any:
    """Do something to a file; what the system says against it becomes an ImageError."""
    try:
        return act()
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist. Check the path and its spelling.") from None
    except PermissionError:
        raise ImageError(
            f"{path} may not be read by this account. Give the account permission to read it."
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it.
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path} could not be read: {reason}. Check the path and disk.") from None


def _check_size(size: int, name: str) -> None:
    """Refuse an empty file and one over the limit."""
    if not size:
        raise ImageError(f"{name} is empty (0 bytes). Copy it again from where it came.")
    limit = settings().max_bytes
    if size > limit:
        raise ImageError(
            f"{name} has more than {limit:,} bytes, the limit for a picture file. Save it smaller, "
            "or set BLEMISH_MAX_BYTES higher."
        )


def _kind(data: bytes) -> str:
    """Pillow's name of the format that the first bytes show, or ""."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), "")


def _description(data: bytes) -> str:
    """What a file that is no picture looks like, in words."""
    if data[4:8] == b"ftyp":
        if data[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis"):
            return "an HEIC or AVIF photo (set the phone to JPEG, or convert it)"
        return "an MP4 or QuickTime video"
    if data[:4] == b"RIFF":
        return "a sound or an AVI video"
    for magic, what in _OTHERS:
        if data.startswith(magic):
            return what
    start = data[:512]
    if b"\0" not in start and sum(byte >= 32 or byte in b"\t\r\n" for byte in start) == len(start):
        return "a text"
    return f"unknown data ({data[:8].hex(' ')})"


def _too_many_pixels(name: str, size: str = "") -> str:
    return (
        f"{name} has more than the {settings().max_pixels:,} pixels allowed{size}; it was not "
        "decoded. Save it smaller, or set BLEMISH_MAX_PIXELS higher."
    )


def _check_header(picture: PIL.Image.Image, name: str) -> None:
    """Refuse, before anything is decoded, what is too large or what Pillow would read wrongly."""
    if picture.width * picture.height > settings().max_pixels:
        raise ImageError(_too_many_pixels(name, f" ({picture.width:,} x {picture.height:,})"))
    tags = getattr(picture, "tag_v2", {})
    if picture.mode == "I" or _SIGNED in tags.get(_SAMPLE_FORMAT, ()):
        raise ImageError(
            f"{name} holds signed or 32-bit integers, for which no range is stated. Save it as "
            "8-bit or 16-bit unsigned grey or RGB, or as floating point from 0 to 1."
        )
    if tags.get(_PLANAR) == 2 and max(tags.get(_BITS, (1,))) > 8 and len(picture.getbands()) > 1:
        # Pillow reads these without an error and mixes up the samples.
        raise ImageError(
            f"{name} stores 16-bit colours in separate planes, which cannot be read. Save it with "
            "interleaved samples (PLANARCONFIG_CONTIG) or as PNG."
        )


def _rgb(picture: PIL.Image.Image, name: str) -> Image:
    """Convert a decoded picture of any mode."""
    if picture.mode == "F" or picture.mode.startswith("I;16"):
        grey = _grey(picture, name)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if picture.has_transparency_data:
        layer = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        opaque = PIL.Image.new("RGB", picture.size, "white")
        opaque.paste(layer, mask=layer)
        return np.array(opaque)
    # Converting copies even where nothing changes, and a picture may fill a quarter of a GB.
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _warn_of_12_bits(name: str) -> None:
    """Once a program: a folder of such pictures needs no thousand lines."""
    if not _WARNED:
        _WARNED.append(name)
        _log.warning(
            "%s has 16 bits but uses at most 12 of them, so that it comes out dark. Let the camera "
            "or its driver scale to 16 bits. Further pictures like it are not mentioned.",
            name,
        )


def _grey(picture: PIL.Image.Image, name: str) -> NDArray[np.uint8]:
    """(H, W) uint8 of a picture with one 16-bit or floating point sample a pixel."""
    tags = getattr(picture, "tag_v2", {})
    samples = np.asarray(picture)
    grey: NDArray[np.uint8]
    if picture.mode == "F":
        if not (np.isfinite(samples).all() and samples.min() >= 0 and samples.max() <= 1):
            raise ImageError(
                f"{name} holds floating point values from {np.nanmin(samples):g} to "
                f"{np.nanmax(samples):g}{', and NaN' if np.isnan(samples).any() else ''}; "
                "expected 0 to 1. Divide by the largest value that the camera can give."
            )
        scaled = samples * 255
        grey = np.rint(scaled, out=scaled).astype(np.uint8)
    else:
        bits = tags.get(_BITS, (16,))[0]
        if bits == 16 and 256 <= samples.max() < 4096:
            _warn_of_12_bits(name)
        grey = (samples >> (bits - 8)).astype(np.uint8)
    # Pillow inverts TIFFs whose white is 0 at 8 bits only.
    return 255 - grey if tags.get(_PHOTOMETRIC) == 0 else grey
