"""Point clouds as sensors and programs write them: xyz TIFF, PLY and PCD.

The first bytes decide what a file is, never its name. PCD, which may be compressed, is read by
pypcd4 (the extra "pointcloud"); the others need nothing beside the core.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.errors import InputError, MissingExtraError
from blemish.images import read_bytes
from blemish.modalities._ply import Points, check_count, read_ply
from blemish.settings import settings

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PCD = (b"# .PCD", b"#.PCD", b"VERSION", b"FIELDS")


@dataclass(frozen=True, eq=False)
class CloudFile:
    """What a file holds.

    Attributes:
        points: (P, 3) float32 or float64, x, y and z in the file's order and unit, of a TIFF row
            by row; as stored, NaN and infinity included.
        format: "TIFF", "PLY" or "PCD".
        grid: (H, W) where the points are a sensor's pixels, row by row; else None.
    """

    points: Points
    format: str
    grid: tuple[int, int] | None = None


def read_cloud(path: str | Path) -> CloudFile:
    """Read a point cloud.

    Raises:
        InputError: the file is missing, damaged, holds no points, or is no point cloud.
        MissingExtraError: it is a PCD file and pypcd4 is not installed.
    """
    name = str(path)
    if Path(path).is_dir():
        raise InputError(f"{name} is a folder; expected one point cloud (TIFF, PLY or PCD).")
    data = read_bytes(path)
    kind = _kind(data)
    if not kind:
        raise InputError(
            f"{name} is no point cloud that blemish reads: it begins with {data[:8]!r}. Expected "
            "an xyz TIFF (three floating point channels), PLY or PCD."
        )
    try:
        cloud = _READERS[kind](data, name)
    except (InputError, MissingExtraError):
        raise
    except Exception as error:  # Damaged files make readers raise nearly anything.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{name} is a {kind} file that cannot be read: {reason}. If it is cut short or "
            "damaged, copy it again from where it came."
        ) from error
    if not len(cloud.points):
        raise InputError(f"{name} holds no points. Record it again.")
    return cloud


def is_cloud(path: str | Path) -> bool:
    """Whether a file is a point cloud, by its first bytes and, of a TIFF, its header."""
    try:
        with Path(path).open("rb") as file:
            kind = _kind(file.read(64))
        if kind != "TIFF":
            return bool(kind)
        import tifffile

        with tifffile.TiffFile(str(path)) as tiff:
            return _is_xyz(tiff.series[0])
    except Exception:  # Whatever reads the file next says what is wrong with it.
        return False


def _kind(data: bytes) -> str:
    if data.startswith((b"ply\n", b"ply\r")):
        return "PLY"
    if data.startswith(_TIFF):
        return "TIFF"
    return "PCD" if data[:64].lstrip().startswith(_PCD) else ""


def _is_xyz(picture: Any) -> bool:
    shape, kind = picture.shape, picture.dtype
    return len(shape) == 3 and shape[2] == 3 and kind in (np.float32, np.float64)


def _read_tiff(data: bytes, name: str) -> CloudFile:
    """MVTec 3D-AD's form: (H, W, 3), x, y and z of each pixel."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        picture: Any = tiff.series[0]
        if not _is_xyz(picture):
            raise InputError(
                f"{name} is a TIFF of shape {picture.shape} and type {picture.dtype}, an ordinary "
                "picture; expected (H, W, 3) float32 or float64: x, y and z of each pixel. "
                "Inspect it as a picture."
            )
        height, width = picture.shape[:2]
        if height * width > settings().max_pixels:
            raise InputError(
                f"{name} has {height:,} x {width:,} points, more than the "
                f"{settings().max_pixels:,} allowed; it was not decoded. Set BLEMISH_MAX_PIXELS "
                "higher."
            )
        xyz = picture.asarray()
    return CloudFile(np.ascontiguousarray(xyz).reshape(-1, 3), "TIFF", (height, width))


def _read_pcd(data: bytes, name: str) -> CloudFile:
    try:
        from pypcd4.pypcd4 import PointCloud
    except ImportError as error:
        raise MissingExtraError(
            "PCD files are read by pypcd4, which is not installed. Install it with: "
            "pip install 'blemish[pointcloud]'"
        ) from error

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of an empty table
        cloud = PointCloud.from_fileobj(io.BytesIO(data))  # type: ignore[arg-type]
    table, head = np.atleast_1d(cloud.pc_data), cloud.metadata
    check_count(len(table), head.points, name)
    # One row is no grid, but what PCL writes for a cloud without order.
    grid = (head.height, head.width) if head.height > 1 else None
    return CloudFile(_columns(table, name), "PCD", grid)


def _read_ply(data: bytes, name: str) -> CloudFile:
    return CloudFile(_columns(read_ply(data, name), name), "PLY")


def _columns(table: NDArray[np.void], name: str) -> Points:
    """(P, 3) of the fields x, y and z; float64 unless all three are float32."""
    there = table.dtype.names or ()
    if not {"x", "y", "z"} <= set(there):
        raise InputError(
            f"{name} has no x, y and z; its points have {', '.join(there) or 'no fields'}."
        )
    columns = [table[axis] for axis in "xyz"]
    exact = all(column.dtype.kind == "f" and column.itemsize == 4 for column in columns)
    kind = np.float32 if exact else np.float64
    return np.stack([column.astype(kind) for column in columns], axis=1)


_READERS: dict[str, Callable[[bytes, str], CloudFile]] = {
    "TIFF": _read_tiff,
    "PLY": _read_ply,
    "PCD": _read_pcd,
}
