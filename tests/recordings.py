"""Small recordings with a known defect, written by other means than those that read them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import tifffile
from numpy.typing import NDArray

FRAMES, RATE = 12, 2
"""A made film lasts six seconds."""


def frame(spot: bool = False) -> NDArray[np.uint8]:
    """A light 48 x 64 frame; a defect is a black square at its top left."""
    image = np.full((48, 64, 3), 230, np.uint8)
    if spot:
        image[4:20, 4:20] = 0
    return image


def film(path: Path, bad: range = range(0), frames: int = FRAMES) -> Path:
    """An MP4 of two frames a second; those of `bad` have the defect."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        stream.pix_fmt, stream.height, stream.width = "yuv420p", 48, 64
        stream.gop_size = 4
        for index in range(frames):
            picture = av.VideoFrame.from_ndarray(frame(index in bad), format="rgb24")
            picture.pts, picture.time_base = index, Fraction(1, RATE)
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    return path


def surface(dent: bool = False, side: int = 40) -> NDArray[np.float32]:
    """(side, side, 3) float32: x, y and z of a plate seen from above, perhaps with a dent."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    z = np.full_like(x, 100)
    if dent:
        z[5:15, 5:15] += 12
    return np.dstack([x, y, z])


def scan(path: Path, dent: bool = False) -> Path:
    """The plate as an xyz TIFF or as a PLY in text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    points = surface(dent)
    if path.suffix == ".ply":
        rows = "\n".join(" ".join(f"{v:g}" for v in row) for row in points.reshape(-1, 3))
        head = f"ply\nformat ascii 1.0\nelement vertex {points[..., 0].size}\n"
        fields = "".join(f"property float {axis}\n" for axis in "xyz")
        path.write_text(f"{head}{fields}end_header\n{rows}\n")
    else:
        tifffile.imwrite(path, points, photometric="rgb")
    return path


def log(path: Path, spike: range = range(0), rows: int = 400, level: float = 1.0) -> Path:
    """A CSV of one channel, a row every tenth of a second; a defect is ten times the level."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = (level * (10 if i in spike else np.sin(i / 8)) for i in range(rows))
    lines = (f"{i / 10:.1f},{value:.4f}" for i, value in enumerate(values))
    path.write_text("\n".join(["time [s],level", *lines, ""]))
    return path
