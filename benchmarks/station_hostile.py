"""Hostile files from a seed, each (kind, name, content): broken pictures, bad names, archives."""

from __future__ import annotations

import io
import random
import warnings
import zipfile
from collections.abc import Callable, Iterator

from station_broken import (
    Draw,
    Named,
    any_valid,
    bomb,
    chunks,
    disguised,
    flipped,
    lying,
    tags,
    truncated,
)

LARGE = ("bomb",)
"""Kinds that are sent one at a time, since each takes what memory it may."""
NAMES = (
    "../../etc/passwd",
    "..\\..\\boot.ini",
    "/etc/passwd",
    "C:\\x.png",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "a" * 5000,
    "\u202egnp.exe",
    "%00.png",
    "%2e%2e%2fx",
    "x\0y.png",
    "",
    " ",
    ".",
    "..",
    "con",
    "名前.png",
    "\ud800.png",
    "'; DROP TABLE item; --",
    "${jndi:ldap://x}",
    "\u0301" * 300,
    "a\tb\x7f.png",
    "{{7*7}}",
)


ENTRIES = (*NAMES[:6], "a.png", "b/c.png", "__MACOSX/a")


def named(draw: Draw) -> Named:
    """A good picture with a name that is none."""
    name = draw.choice(NAMES).replace('"', "%22")
    return name, any_valid(draw)[1]


def archive(draw: Draw) -> Named:
    """ZIP archives with names that lead out, links, bombs, lies and damage."""
    held = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(held, "w") as made:
        warnings.simplefilter("ignore")  # the same name twice
        for _ in range(draw.choice((1, 1, 3, 20))):
            info = zipfile.ZipInfo(draw.choice(ENTRIES))
            info.compress_type = draw.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED))
            if draw.random() < 0.2:
                info.external_attr = draw.choice((0o120777, 0o060666, 0o010666)) << 16
            made.writestr(info, _entry(draw))
    out = bytearray(held.getvalue())
    if draw.random() < 0.5:
        for _ in range(draw.choice((1, 5, 50))):
            out[draw.randrange(len(out))] = draw.randrange(256)
    if draw.random() < 0.2:
        out = out[: draw.randrange(len(out))]
    return "parts.zip", bytes(out)


def _entry(draw: Draw) -> bytes:
    kind = draw.randrange(4)
    if kind == 0:
        return bytes(draw.choice((10**6, 5 * 10**6)))
    return truncated(draw)[1] if kind == 1 else any_valid(draw)[1]


def nested(draw: Draw) -> Named:
    """An archive of archives."""
    _, data = any_valid(draw)
    for _ in range(draw.choice((1, 5, 50))):
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as made:
            for number in range(draw.choice((1, 1, 3))):
                made.writestr(f"{number}.zip", data)
        data = held.getvalue()[: 2**20]
    return "nested.zip", data


KINDS: dict[str, tuple[Callable[[Draw], Named], int]] = {
    "truncated": (truncated, 20),
    "flipped": (flipped, 20),
    "lying": (lying, 12),
    "tags": (tags, 8),
    "chunks": (chunks, 8),
    "disguised": (disguised, 12),
    "named": (named, 6),
    "archive": (archive, 10),
    "nested": (nested, 3),
    "bomb": (bomb, 1),
}
"""What makes a kind, and how often it is drawn out of a hundred."""


def hostile(seed: int, count: int) -> Iterator[tuple[str, str, bytes]]:
    """So many files of all kinds."""
    draw = random.Random(seed)
    kinds, weights = list(KINDS), [weight for _, weight in KINDS.values()]
    for _ in range(count):
        kind = draw.choices(kinds, weights)[0]
        yield kind, *KINDS[kind][0](draw)


def mutated(seed: int, count: int) -> Iterator[tuple[str, str, bytes]]:
    """Good files and archives, of which some bytes were changed, put in, taken out or doubled."""
    draw = random.Random(seed)
    for _ in range(count):
        name, data = any_valid(draw)
        if draw.random() < 0.15:
            name, data = archive(draw)
        yield "mutated", name, mutation(draw, data)


def mutation(draw: Draw, data: bytes) -> bytes:
    """Data that was damaged in one to twenty places."""
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 5, 20))):
        at, length = draw.randrange(len(out) + 1), draw.choice((1, 1, 2, 4, 16, 200))
        new = draw.choice((b"", b"\0" * length, b"\xff" * length, draw.randbytes(length)))
        took = draw.choice((0, length))
        out[at : at + took] = new if draw.random() < 0.8 else bytes(out[at : at + length]) * 2
    return bytes(out)
