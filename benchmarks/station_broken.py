"""Pictures that are made to break readers, each drawn from a source of chance."""

from __future__ import annotations

import io
import random
import struct
import zlib
from functools import cache

import numpy as np
import PIL.Image

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
MODES = {
    "PNG": ("RGB", "L", "P", "RGBA", "I;16", "1"),
    "JPEG": ("RGB", "L", "CMYK"),
    "TIFF": ("RGB", "L", "CMYK", "F", "I;16"),
    "BMP": ("RGB", "L", "1"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("P", "L"),
}
Draw = random.Random
Named = tuple[str, bytes]


@cache
def valid(form: str, mode: str, seed: int = 0) -> bytes:
    """A picture of this format that can be read."""
    numbers = np.random.default_rng(seed)
    side = (40 + 8 * (seed % 5), 60)
    if mode in ("F", "I;16"):
        values = numbers.random(side) if mode == "F" else numbers.integers(0, 65535, side)
        image = PIL.Image.fromarray(values.astype(np.float32 if mode == "F" else np.uint16))
    else:
        image = PIL.Image.fromarray(numbers.integers(0, 255, (*side, 3), np.uint8)).convert(mode)
    held = io.BytesIO()
    image.save(held, form, **({"exif": _exif(seed)} if form in ("JPEG", "PNG", "WEBP") else {}))
    return held.getvalue()


def _exif(seed: int) -> bytes:
    exif = PIL.Image.Exif()
    exif[0x0112] = seed % 9
    return exif.tobytes()


def any_valid(draw: Draw) -> Named:
    form = draw.choice(FORMATS)
    return f"part.{form.lower()}", valid(form, draw.choice(MODES[form]), draw.randrange(5))


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG, with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, *chunks: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) + chunk(b"IEND", b"")


def truncated(draw: Draw) -> Named:
    name, data = any_valid(draw)
    return name, data[: draw.randrange(len(data))]


def flipped(draw: Draw) -> Named:
    name, data = any_valid(draw)
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 10, 100))):
        out[draw.randrange(len(out))] ^= 1 << draw.randrange(8)
    return name, bytes(out)


def lying(draw: Draw) -> Named:
    """The header says another size, depth or length than the rest has."""
    size = draw.choice((0, 1, 7, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1))
    form = draw.choice(("PNG", "BMP", "GIF", "TIFF", "JPEG", "WEBP"))
    if form == "PNG":
        depth, colour = draw.choice((1, 8, 16, 3, 255)), draw.choice((0, 2, 3, 4, 6, 5, 255))
        body = chunk(b"IDAT", zlib.compress(draw.randbytes(100)))
        return "lies.png", png(size, draw.choice((1, 40, size)), depth, colour, body)
    out = bytearray(valid(form, "RGB" if form != "GIF" else "P"))
    at = {"BMP": 18, "GIF": 6, "TIFF": 4, "WEBP": 4}.get(form)
    if at is None:
        at = out.find(b"\xff\xc0") + 5
    width = 2 if form in ("GIF", "JPEG") else 4
    out[at : at + width] = (size % 256**width).to_bytes(width, draw.choice(("little", "big")))
    return f"lies.{form.lower()}", bytes(out)


def bomb(draw: Draw) -> Named:
    """Little that becomes much: whole pictures just under the limits, and headers far above."""
    kind = draw.randrange(5)
    side = draw.choice((8000, 8192, 8193, 13_000, 30_000, 65_000))
    rows = min(side, 8192)
    if kind == 0:
        return "bomb.png", png(side, side, 8, 2, chunk(b"IDAT", _zeros(rows * (3 * side + 1))))
    if kind == 1:
        return "bomb.png", png(side, side, 1, 0, chunk(b"IDAT", _zeros(rows * (side // 8 + 1))))
    if kind == 2:
        text = chunk(draw.choice((b"zTXt", b"iCCP")), b"x\0\0" + _zeros(200_000_000))
        return "text.png", png(1, 1, 8, 0, text, chunk(b"IDAT", zlib.compress(b"\0\0")))
    if kind == 3:
        return "strips.tiff", _tiff(
            {256: side, 257: side, 258: 8, 259: 8, 262: 1, 273: 122, 277: 1, 278: side, 279: 2**20}
        ) + _zeros(side * rows)
    return "frames.gif", valid("GIF", "P")[:-1] + b"\x2c" * 2_000_000 + b";"


@cache
def _zeros(count: int) -> bytes:
    packer, out = zlib.compressobj(9), bytearray()
    for _ in range(count // 2**20):
        out += packer.compress(bytes(2**20))
    return bytes(out + packer.compress(bytes(count % 2**20)) + packer.flush())


def _tiff(tags: dict[int, int]) -> bytes:
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def tags(draw: Draw) -> Named:
    """TIFF directories that lie, point to themselves, or count to billions."""
    count = draw.choice((0, 1, 5, 300, 65_535))
    entries = b"".join(
        struct.pack(
            "<HHII",
            draw.choice((254, 256, 257, 258, 259, 262, 273, 277, 278, 279, 330, 34665, 700)),
            draw.randrange(14),
            draw.choice((0, 1, 2**16, 2**32 - 1)),
            draw.choice((0, 1, 8, 40, 2**31, 2**32 - 1)),
        )
        for _ in range(min(count, 40))
    )
    first = draw.choice((8, 0, 4, 2**32 - 1))
    again = struct.pack("<I", draw.choice((0, 8, 12)))
    magic = draw.choice((b"II*\0", b"MM\0*", b"II+\0"))
    return "tags.tiff", magic + struct.pack("<IH", first, count) + entries + again


def chunks(draw: Draw) -> Named:
    """PNG chunks that are missing, doubled, in the wrong order or of the wrong length."""
    parts = [
        chunk(
            draw.choice(
                (
                    b"PLTE",
                    b"tRNS",
                    b"IDAT",
                    b"acTL",
                    b"fcTL",
                    b"fdAT",
                    b"eXIf",
                    b"iCCP",
                    b"IHDR",
                    b"gAMA",
                    b"zTXt",
                    b"iTXt",
                    b"IEND",
                )
            ),
            draw.randbytes(draw.choice((0, 1, 4, 13, 26, 300))),
        )
        for _ in range(draw.randrange(8))
    ]
    return "chunks.png", png(8, 8, 8, draw.choice((0, 2, 3, 6)), *parts)


def disguised(draw: Draw) -> Named:
    """What is no picture, called and begun like one."""
    _, data = any_valid(draw)
    what = draw.choice(
        (
            b"",
            b"\0",
            b"<svg onload='alert(1)'/>",
            b"<html><script>alert(1)</script>",
            b"=1+1,@x\n",
            b"%PDF-1.7\n",
            b"GIF89a",
            b"\xff\xd8\xff\xe0",
            b"\x89PNG\r\n\x1a\n",
            b"BM",
            b"RIFF",
            b"II*\0",
            b"PK\x03\x04",
            b"\x7fELF",
            draw.randbytes(draw.choice((1, 100, 10_000))),
            b"#!/bin/sh\nrm -rf /\n",
            b"\x1f\x8b\x08",
            b"\0\0\0\x18ftypheic",
        )
    )
    rest = draw.choice((b"", draw.randbytes(500), data, data[8:]))
    return f"x{draw.choice(('.png', '.jpg', '.tiff', '.zip', '.svg', ''))}", what + rest
