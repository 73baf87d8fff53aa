"""PLY files: the points of any, read as one table, and scored points written in colour.

Read here because plyfile's licence is the GPL, and because a cloud needs so little of the format:
a header of text, then one table an element (format 1.0 of Greg Turk's description). What follows
the points, such as faces, is left alone.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blemish.errors import InputError, OutputError

Points = NDArray[np.float32] | NDArray[np.float64]
"""(P, 3): x, y and z in the file's own unit."""

_TYPES = {
    **{"char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1"},
    **{"short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2"},
    **{"int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4"},
    **{"float": "f4", "float32": "f4", "double": "f8", "float64": "f8"},
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_Element = tuple[str, int, list[tuple[str, str]] | None]

_COLOURS = ("red", "green", "blue")
GREY, RED = (170, 170, 170), (215, 25, 28)
REDDENS = 0.4
"""The score from which points redden: up to it a calibrated detector calls a part normal."""


def read_ply(data: bytes, name: str) -> NDArray[np.void]:
    """The points as a table with a field a property.

    Args:
        data: the file's content.
        name: what messages call the file.

    Raises:
        InputError: there are no points, fewer than the header says, or lists among them.
        ValueError: the file is damaged; KeyError, IndexError likewise.
    """
    order, elements, start = _header(data, name)
    before = 0
    for element, count, fields in elements:
        if fields is None:
            raise InputError(
                f"{name} has lists in or before its points, which blemish does not read. Save it "
                "as a plain point cloud, as MeshLab and CloudCompare do."
            )
        table = np.dtype([(field, order + kind) for field, kind in fields])
        if element == "vertex":
            break
        before += count * (table.itemsize if order else 1)
    else:
        raise InputError(f"{name} has no element 'vertex', so no points.")
    if order:
        there = max(len(data) - start - before, 0) // max(table.itemsize, 1)
        rows = np.frombuffer(data, table, min(there, count), min(start + before, len(data)))
    else:
        rows = _rows(data[start:], table, before, count)
    check_count(len(rows), count, name)
    return rows


def _rows(data: bytes, table: np.dtype[np.void], before: int, count: int) -> NDArray[np.void]:
    """Rows of text, after those of other elements; every field as float64."""
    wide = np.dtype([(field, "f8") for field in table.names or ()])
    text = io.StringIO(data.decode("ascii", "replace"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of an empty table
        return np.loadtxt(text, wide, comments=None, skiprows=before, max_rows=count, ndmin=1)


def _header(data: bytes, name: str) -> tuple[str, list[_Element], int]:
    """The byte order ("" for text), each element with its count and fields, and where data starts.

    Fields are None where one of them is a list.
    """
    end = data.find(b"end_header")
    start = data.find(b"\n", end) + 1
    if end < 0 or not start:
        raise InputError(f"{name} is a PLY file whose header does not end. Copy it again.")
    order, elements = "", list[_Element]()
    for line in data[:end].decode("ascii", "replace").splitlines():
        match line.split():
            case ["format", form, *_]:
                order = _ORDERS[form]
            case ["element", element, count] if int(count) >= 0:
                elements.append((element, int(count), []))
            case ["property", "list", *_]:
                elements[-1] = (*elements[-1][:2], None)
            case ["property", kind, field]:
                fields = elements[-1][2]
                if fields is not None:
                    fields.append((field, _TYPES[kind]))
    return order, elements, start


def check_count(there: int, promised: int, name: str) -> None:
    """Refuse a file whose header promises more points than came."""
    if there != promised:
        raise InputError(
            f"{name} is cut short or damaged: its header promises {promised:,} points, and "
            f"{there:,} came. Copy it again from where it came."
        )


def write_ply(path: str | Path, points: Points, scores: NDArray[np.float32]) -> None:
    """Write scored points in colour, as a whole or not at all.

    Grey up to a score of `REDDENS`, then evenly to red at 1, on the same scale for every part; the
    score itself is the property "quality", which MeshLab and CloudCompare can colour by.

    Args:
        path: of a binary PLY file.
        points: (P, 3) float32 or float64; a row that is not finite is left out, since viewers
            stumble over it.
        scores: (P,) float32 in [0, 1].

    Raises:
        OutputError: it cannot be written.
    """
    path = Path(path)
    finite = np.isfinite(points).all(axis=1)
    kind = "<f4" if points.dtype == np.float32 else "<f8"
    positions, colours = [(axis, kind) for axis in "xyz"], [(colour, "u1") for colour in _COLOURS]
    table = np.empty(int(finite.sum()), [*positions, *colours, ("quality", "<f4")])
    for i, axis in enumerate("xyz"):
        table[axis] = points[finite, i]
    table["quality"] = scores[finite]
    redness = np.clip((scores[finite] - REDDENS) / (1 - REDDENS), 0, 1)
    for channel, grey, red in zip(_COLOURS, GREY, RED, strict=True):
        table[channel] = np.rint(grey + redness * (red - grey))
    number = "float" if kind == "<f4" else "double"
    header = "\n".join(
        ["ply", "format binary_little_endian 1.0", "comment written by blemish"]
        + [f"element vertex {len(table)}"]
        + [f"property {number} {axis}" for axis in "xyz"]
        + [f"property uchar {channel}" for channel in _COLOURS]
        + ["property float quality", "end_header", ""]
    )
    temporary = path.with_name(f".{path.name}.new")
    try:
        with temporary.open("wb") as file:
            file.write(header.encode())
            file.write(table.tobytes())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as cause:
        raise OutputError(
            f"{path} cannot be written: {cause.strerror or cause}. Make room or give this account "
            "the permission to write, or choose another folder."
        ) from cause
