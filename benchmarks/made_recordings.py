"""Made recordings with known defects: a conveyor belt on video, rings as clouds, a press's cycles.

`product` decides what is made, `seed` which recording of it: light, places, noise. The same product
and seed give the same recording with and without a defect but for the defect itself. Every function
writes one file and returns what is true of it: (N,) bool of each frame, point or row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Field = NDArray[np.float32]
Array = NDArray[np.float64]
Random = np.random.Generator

BELT = ("foreign object", "fallen part", "hole", "haze")
RING = ("dent", "bump", "groove")
CYCLES = ("spike", "missed cycle", "weak cycle", "shift", "noise")

STEP = 0.1
"""Seconds from one row of a series to the next."""
ACROSS = 120.0
"""Millimetres that the sensor of the clouds sees."""


def write_film(
    path: Path, frames: Iterable[NDArray[np.uint8]], rate: int, group: int = 250
) -> None:
    """Frames (H, W, 3) uint8 RGB as H.264, with a key frame at least every `group` frames."""
    import av

    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=rate, options={"preset": "veryfast"})
        stream.pix_fmt, stream.gop_size = "yuv420p", group
        for number, image in enumerate(frames):
            if not number:  # the codec is open once it has a frame
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


def belt(
    path: Path,
    product: int,
    seed: int,
    defect: str | None = None,
    *,
    seconds: int = 15,
    rate: int = 10,
    height: int = 360,
    group: int = 250,
) -> Flags:
    """Parts that pass a fixed camera, 16:9; 160 pixels a second at a height of 360.

    A foreign object, a fallen part or a part with a hole passes with the belt; haze comes and goes
    within about 4 s. True of a frame that shows more than 100 pixels of the defect (at 360), or
    where the haze is more than 15 % opaque.
    """
    width, unit, count = height * 16 // 9, height / 360, seconds * rate
    step = round(160 * unit / rate)
    long = width + step * (count - 1)
    strip, marked = _strip(product, seed, defect, (height, long), unit)
    random, chance = np.random.default_rng([product, seed, 1]), _chance(product, seed)
    y, x = np.mgrid[:height, :width].astype(np.float32) / height
    light = 1.05 - 0.25 * ((x - 0.8) ** 2 + (y - 0.5) ** 2)
    light *= np.float32(random.uniform(0.98, 1.02))
    start = chance.uniform(0.25, 0.65) * seconds
    opaque = np.interp(np.arange(count) / rate - start, (0, 1, 3, 4), (0, 0.45, 0.45, 0))
    opaque = opaque * (defect == "haze")
    at_x, at_y = chance.uniform(0.5, 1.3), chance.uniform(0.35, 0.65)
    cloud = np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / 0.2**2)[..., None]
    grain = random.normal(0, 2.5, (height + 50, width + 50, 1)).astype(np.float32)

    def frames() -> Iterator[NDArray[np.uint8]]:
        for number in range(count):
            image = strip[:, number * step : number * step + width] * light[..., None]
            image += np.float32(opaque[number]) * cloud * (215 - image)
            dy, dx = random.integers(0, 50, 2)
            image += grain[dy : dy + height, dx : dx + width]
            yield np.clip(image, 0, 255).astype(np.uint8)

    write_film(path, frames(), rate, group)
    there = np.concatenate([[0], marked.sum(0).cumsum()])
    first = np.arange(count) * step
    shown = there[first + width] - there[first]
    return np.asarray((shown > 100 * unit**2) | (opaque > 0.15))


def _chance(product: int, seed: int) -> Random:
    """For the defect alone, so that it changes nothing else."""
    return np.random.default_rng([product, seed, 2])


def _strip(
    product: int, seed: int, defect: str | None, size: tuple[int, int], unit: float
) -> tuple[Field, Flags]:
    """The whole belt with its parts, (H, L, 3) in [0, 255], and where a defect is."""
    design, random = np.random.default_rng(product), np.random.default_rng([product, seed])
    chance = _chance(product, seed)
    colour, label = design.uniform(60, 230, 3), design.uniform(40, 250, 3)
    half = np.array((design.uniform(28, 40), design.uniform(60, 80))) * unit
    rough = random.normal(0, 1, size).astype(np.float32)
    rough = 25 * cv2.GaussianBlur(rough, (0, 0), 2.5 * unit) + 3 * rough
    strip = (95 + rough)[..., None].repeat(3, 2)
    strip[: size[0] // 12] = strip[-size[0] // 12 :] = (60, 64, 70)
    marked = np.zeros(size, np.bool_)
    apart = 170 * unit
    places = np.arange(apart / 2, size[1], apart)
    hit = int(chance.uniform(0.35, 0.65) * len(places))
    for number, place in enumerate(places):
        place += random.uniform(-12, 12) * unit
        middle = np.array((place, size[0] / 2 + random.uniform(-8, 8) * unit))
        turn = random.uniform(-3, 3)
        fallen = number == hit and defect == "fallen part"
        turn += fallen * chance.uniform(60, 90)
        shade = random.uniform(0.96, 1.04)
        mask = _box(strip, middle, half, turn, colour * shade)
        _box(strip, middle, half * (1, 0.35), turn, label * shade)
        if fallen:
            marked |= mask
        if number == hit and defect == "hole":
            at = middle + chance.uniform(-0.5, 0.5, 2) * half
            marked |= _disc(strip, at, 9 * unit, (25, 22, 20))
        if number == hit and defect == "foreign object":
            at = np.array((place + apart / 2, size[0] * chance.uniform(0.25, 0.75)))
            marked |= _disc(strip, at, 16 * unit, chance.uniform(30, 220, 3))
    return strip, marked


def _box(strip: Field, middle: Array, half: Array, turn: float, colour: Array) -> Flags:
    """Draw a turned box; where it is."""
    corners = cv2.boxPoints((tuple(middle), tuple(2 * half), turn))
    mask = cv2.fillConvexPoly(np.zeros(strip.shape[:2], np.uint8), np.rint(corners).astype(int), 1)
    return _painted(strip, mask.astype(np.bool_), colour)


def _disc(strip: Field, middle: Array, radius: float, colour: Any) -> Flags:
    """Draw a disc; where it is."""
    y, x = np.ogrid[: strip.shape[0], : strip.shape[1]]
    return _painted(strip, np.hypot(x - middle[0], y - middle[1]) <= radius, colour)


def _painted(strip: Field, mask: Flags, colour: Any) -> Flags:
    strip[mask] = colour
    return mask


def ring(
    path: Path, product: int, seed: int, defect: str | None = None, *, side: int = 320
) -> tuple[Flags, Flags]:
    """A ring on a table, seen by a sensor from above, as an xyz TIFF of side * side points in mm.

    The part waves by 0.4 mm and a point's height has noise of 0.05 mm (standard deviations); where
    the surface is steeper than 75 degrees nothing is measured. A dent or a bump is 2 mm deep or
    high and 12 mm wide, a groove 1.2 mm deep, 3 mm wide and 22 mm long.

    Returns:
        Which points the defect moved by more than 0.2 mm, and which lie on the part.
    """
    import tifffile

    design, random = np.random.default_rng(product), np.random.default_rng([product, seed])
    chance = _chance(product, seed)
    big, thick = design.uniform(30, 36), design.uniform(11, 14)
    y, x = (np.mgrid[:side, :side] + 0.5) * (ACROSS / side) - ACROSS / 2
    u, v = x - random.uniform(-2, 2), (y - random.uniform(-2, 2)) * random.uniform(0.98, 1.02)
    radius = np.hypot(u, v) * random.uniform(0.98, 1.02)
    inside = thick**2 - (radius - big) ** 2
    part = inside > 0
    waves = cv2.GaussianBlur(random.normal(0, 1, (side, side)), (0, 0), 8 * side / ACROSS)
    height = np.where(part, thick + np.sqrt(np.maximum(inside, 0)) + 0.4 * waves / waves.std(), 0)
    steep = np.hypot(*np.gradient(height, ACROSS / side)) > np.tan(np.radians(75))

    angle, turn = chance.uniform(0, 2 * np.pi), chance.uniform(0, np.pi)
    away = big + chance.uniform(-0.4, 0.4) * thick
    du, dv = u - away * np.cos(angle), v - away * np.sin(angle)
    along, aside = du * np.cos(turn) + dv * np.sin(turn), dv * np.cos(turn) - du * np.sin(turn)
    moved = {
        "dent": -2.0 * _bell(np.hypot(du, dv) / 6),
        "bump": 2.0 * _bell(np.hypot(du, dv) / 6),
        "groove": -1.2 * _bell(aside / 1.5) * (np.abs(along) < 11),
        None: np.zeros_like(height),
    }[defect]
    height = height + moved * part + random.normal(0, 0.05, (side, side))
    tilt = np.radians(random.uniform(-2, 2))
    depth = 400 - (height * np.cos(tilt) + x * np.sin(tilt))
    xyz = np.stack([x * np.cos(tilt) - height * np.sin(tilt), y, depth], axis=2)
    xyz[steep] = 0
    tifffile.imwrite(path, xyz.astype(np.float32), photometric="rgb")
    there = part & ~steep
    return ((np.abs(moved) > 0.2) & there).ravel(), there.ravel()


def _bell(distance: Array) -> Array:
    """From 1 at 0 smoothly to 0 at 1 and beyond."""
    return np.asarray(np.where(np.abs(distance) < 1, np.cos(np.pi / 2 * distance) ** 2, 0))


def cycles(
    path: Path, product: int, seed: int, defect: str | None = None, *, rows: int = 40_000
) -> Flags:
    """Pressure and temperature of a press, 10 rows a second, as a CSV.

    A spike of 12 degrees over 4 s, a cycle left out, a cycle of 55 % of the pressure, 150 s that
    are 8 degrees warmer, or 120 s with eight times the noise of the pressure. True where one of
    the two is off by more than four standard deviations of its noise, and where there is more.
    """
    from pyarrow import csv, table

    random, chance = np.random.default_rng([product, seed]), _chance(product, seed)
    noises = random.normal(0, (0.08, 0.15), (rows, 2))
    start = int(chance.uniform(0.25, 0.7) * rows)
    change = {"missed cycle": 0.0, "weak cycle": 0.55}.get(defect or "", 1.0)
    good = _course(product, seed, rows, start, 1.0)
    values = _course(product, seed, rows, start, change)
    seconds = (np.arange(rows) - start) * STEP
    if defect == "spike":
        values[:, 1] += 12 * _bell(seconds / 2)
    if defect == "shift":
        values[:, 1] += 8.0 * ((seconds >= 0) & (seconds < 150))
    more = (seconds >= 0) & (seconds < 120) & (defect == "noise")
    noises[more, 0] *= 8
    off = (np.abs(values - good) > np.array((0.32, 0.6))).any(axis=1)
    values += noises
    columns = {"time [s]": np.arange(rows) * STEP, "pressure [bar]": values[:, 0]}
    columns["temperature [°C]"] = values[:, 1]
    csv.write_csv(table({name: c.round(3) for name, c in columns.items()}), path)
    return np.asarray(off | more)


def _course(product: int, seed: int, rows: int, start: int, change: float) -> Array:
    """(rows, 2) pressure and temperature without noise; the cycle about row `start` is changed."""
    from scipy.signal import lfilter

    design, random = np.random.default_rng(product), np.random.default_rng([product, seed, 3])
    period = design.uniform(140, 180) / STEP
    peak, rest, lag = design.uniform(7, 9), design.uniform(0.5, 1), design.uniform(20, 40) / STEP
    rise, hold = design.uniform(0.1, 0.2), design.uniform(0.3, 0.4)
    lengths = period * random.uniform(0.98, 1.02, int(rows / period) + 3)
    edges = np.cumsum(lengths) - random.uniform(1, 2) * period
    heights = peak * random.uniform(0.98, 1.02, len(edges))
    heights[np.searchsorted(edges, start) - 1] *= change
    at = np.searchsorted(edges, np.arange(rows), side="right") - 1
    phase = (np.arange(rows) - edges[at]) / lengths[1:][at]
    shape = np.interp(phase, (0, rise, rise + hold, rise + hold + 0.08), (0, 1, 1, 0))
    pressure = rest + heights[at] * shape
    first = [(1 - 1 / lag) * pressure[:2000].mean()]
    warm = lfilter([1 / lag], [1, 1 / lag - 1], pressure, zi=first)[0]
    return np.stack([pressure, 40 + 6 * warm], axis=1)


def ball(path: Path, count: int, *, half: bool = False) -> Array:
    """(count, 3) random points on the unit sphere, or on its half z >= 0, written as a PLY."""
    points = np.random.default_rng(0).normal(size=(count, 3))
    points /= np.linalg.norm(points, axis=1)[:, None]
    points[:6] = np.concatenate([np.eye(3), -np.eye(3)])  # so that its middle and size are exact
    if half:
        points[:, 2] = np.abs(points[:, 2])
    kinds = "".join(f"property double {axis}\n" for axis in "xyz")
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {count}\n{kinds}end_header\n"
    path.write_bytes(head.encode() + points.astype("<f8").tobytes())
    return np.asarray(points)
