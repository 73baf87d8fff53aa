"""Point cloud files of every form, whole and damaged; files are written here byte by byte."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray

from blemish.errors import InputError, MissingExtraError, OutputError
from blemish.modalities._cloud_files import is_cloud, read_cloud
from blemish.modalities._ply import GREY, RED, write_ply

POINTS = np.array([[1, 2, 3], [-4.5, 0, 6], [np.nan, np.nan, np.nan], [7, 8, np.inf]], np.float32)


def ply(form: str, rows: bytes, *elements: str) -> bytes:
    lines = ("ply", f"format {form} 1.0", "comment made up", *elements, "end_header", "")
    return "\n".join(lines).encode() + rows


XYZ = ("property float x", "property float y", "property float z")
VERTEX = ("element vertex 4", "property uchar red", *XYZ)
FACE = ("element face 2", "property list uchar int vertex_indices")


def binary(order: str, kind: str = "f") -> bytes:
    return b"".join(struct.pack(f"{order}B3{kind}", 9, *row) for row in POINTS.tolist())


TEXT = b"9 1 2 3\n9  -4.5 0 6 \r\n9 nan nan nan\n9 7 8 inf\n"
FACES = b"\x03" + bytes(12) + b"\x04" + bytes(16)
DOUBLES = tuple(line.replace("float", "double") for line in VERTEX)
WHOLE = {
    "text": ply("ascii", TEXT, *VERTEX),
    "little": ply("binary_little_endian", binary("<"), *VERTEX),
    "big": ply("binary_big_endian", binary(">"), *VERTEX),
    "doubles": ply("binary_little_endian", binary("<", "d"), *DOUBLES),
    "triangles and squares": ply("binary_little_endian", binary("<") + FACES, *VERTEX, *FACE),
    "text with faces": ply("ascii", TEXT + b"3 0 1 2\n4 0 1 2 3\n", *VERTEX, *FACE),
    "cameras first": ply(
        *("binary_little_endian", bytes(10) + binary("<")),
        *("element camera 5", "property short n", *VERTEX),
    ),
    "text with cameras first": ply(
        "ascii", b"1\n2\n" + TEXT, "element camera 2", "property short n", *VERTEX
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_every_form_of_ply_gives_the_points_in_order(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(WHOLE[name])  # the name does not decide
    cloud = read_cloud(tmp_path / "a.txt")
    assert (cloud.format, cloud.grid) == ("PLY", None)
    np.testing.assert_array_equal(cloud.points, POINTS)
    exact = name not in ("doubles", "text", "text with faces", "text with cameras first")
    assert cloud.points.dtype == (np.float32 if exact else np.float64)


def pcd(data: str, rows: bytes, *, count: int = 4, height: int = 1, fields: str = "x y z") -> bytes:
    n = len(fields.split())
    head = ["# .PCD v0.7 - Point Cloud Data file format", "VERSION 0.7", f"FIELDS {fields}"]
    head += [f"SIZE {'4 ' * n}", f"TYPE {'F ' * n}", f"COUNT {'1 ' * n}"]
    head += [f"WIDTH {count // height}", f"HEIGHT {height}", "VIEWPOINT 0 0 0 1 0 0 0"]
    return (
        "\n".join([*(h.strip() for h in head), f"POINTS {count}", f"DATA {data}", ""]).encode()
        + rows
    )


def literal(data: bytes) -> bytes:
    """LZF of nothing but literals, at most 32 bytes a run."""
    runs = [data[i : i + 32] for i in range(0, len(data), 32)]
    packed = b"".join(bytes([len(run) - 1]) + run for run in runs)
    return struct.pack("<II", len(packed), len(data)) + packed


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        ("ascii", b"1 2 3\n-4.5 0 6\nnan nan nan\n7 8 inf\n"),
        ("binary", POINTS.tobytes()),
        ("binary_compressed", literal(POINTS.T.tobytes())),
    ],
)
@pytest.mark.parametrize("height", [1, 2])
def test_every_form_of_pcd_gives_the_points_in_order(
    data: str, rows: bytes, height: int, tmp_path: Path
) -> None:
    (tmp_path / "a.pcd").write_bytes(pcd(data, rows, height=height))
    cloud = read_cloud(tmp_path / "a.pcd")
    np.testing.assert_array_equal(cloud.points, POINTS)
    assert (cloud.format, cloud.grid) == ("PCD", None if height == 1 else (2, 2))


def test_a_pcd_of_one_point_in_text(tmp_path: Path) -> None:
    (tmp_path / "a.pcd").write_bytes(pcd("ascii", b"1 2 3\n", count=1))
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.pcd").points, [[1, 2, 3]])


@pytest.mark.parametrize("form", ["rgb", "minisblack"])  # in one page, or one page a row
def test_an_xyz_tiff_is_read_row_by_row(form: str, tmp_path: Path) -> None:
    xyz = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    tifffile.imwrite(tmp_path / "a.tiff", xyz, photometric=form)
    cloud = read_cloud(tmp_path / "a.tiff")
    assert (cloud.format, cloud.grid) == ("TIFF", (2, 4))
    np.testing.assert_array_equal(cloud.points[5], xyz[1, 1])


LITTLE, BINARY = WHOLE["little"], pcd("binary", POINTS.tobytes())
BROKEN = {
    "promises 4 points, and 3 came": LITTLE[:-1],
    "promises 4 points, and 2 came": ply("ascii", b"9 1 2 3\n9 4 5 6\n", *VERTEX),
    "promises 4,000,000,000,000 points": LITTLE.replace(b"x 4\n", b"x 4000000000000\n"),
    "header does not end": LITTLE[:60],
    "holds no points": ply("ascii", b"", "element vertex 0", *XYZ),
    "has no x, y and z; its points have s, t": ply(
        "ascii", b"1 2\n", "element vertex 1", "property float s", "property float t"
    ),
    "has no element 'vertex'": ply("ascii", b"1\n", "element face 1", "property int a"),
    "lists in or before its points": ply("ascii", b"", *FACE, *VERTEX),
    "PLY file that cannot be read": ply("ascii", b"a b c d\n" * 4, *VERTEX),
    "PCD file that cannot be read": BINARY[:-3],
    "promises 5 points, and 4 came": pcd("ascii", b"1 2 3\n" * 4, count=5),
    "have a, b, c": pcd("binary", POINTS.tobytes(), fields="a b c"),
    "no point cloud that blemish reads": b"\x89PNG\r\n\x1a\n and more",
}


@pytest.mark.parametrize("message", BROKEN)
def test_what_cannot_be_read_says_why(message: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(BROKEN[message])
    with pytest.raises(InputError, match=message):
        read_cloud(tmp_path / "a")


@pytest.mark.parametrize("name", ["little", "text", "triangles and squares", "binary"])
def test_cut_anywhere_a_file_is_refused_or_its_points_are_whole(name: str, tmp_path: Path) -> None:
    data = WHOLE.get(name, BINARY)
    for end in range(1, len(data)):
        (tmp_path / "a").write_bytes(data[:end])
        try:
            points = read_cloud(tmp_path / "a").points
        except InputError:
            continue
        # A text may be cut inside its last number, or behind all points.
        np.testing.assert_array_equal(points[:3], POINTS[:3])
        assert len(points) == 4


@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 3)])
def test_an_ordinary_tiff_is_no_cloud(shape: tuple[int, ...], tmp_path: Path) -> None:
    PIL.Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / "a.tif")
    assert not is_cloud(tmp_path / "a.tif")
    with pytest.raises(InputError, match="an ordinary picture"):
        read_cloud(tmp_path / "a.tif")


def test_a_cut_tiff_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tiff", np.ones((8, 9, 3), np.float32), photometric="rgb")
    (tmp_path / "b.tiff").write_bytes((tmp_path / "a.tiff").read_bytes()[:-300])
    with pytest.raises(InputError, match="TIFF file that cannot be read"):
        read_cloud(tmp_path / "b.tiff")


def test_clouds_are_told_by_content(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "xyz.tiff", np.ones((8, 9, 3), np.float32), photometric="rgb")
    (tmp_path / "a.bin").write_bytes(LITTLE)
    (tmp_path / "b.bin").write_bytes(BINARY)
    (tmp_path / "c.ply").write_bytes(b"plywood is no cloud")
    assert [is_cloud(tmp_path / n) for n in ("xyz.tiff", "a.bin", "b.bin")] == [True] * 3
    assert not any(is_cloud(tmp_path / n) for n in ("c.ply", "missing", "."))


def test_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; expected one point cloud"):
        read_cloud(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_cloud(tmp_path / "none.ply")


def test_without_pypcd4_the_command_that_installs_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pcd").write_bytes(BINARY)
    monkeypatch.setitem(sys.modules, "pypcd4.pypcd4", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'blemish\[pointcloud\]'"):
        read_cloud(tmp_path / "a.pcd")


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_scored_points_are_written_in_colour(
    kind: type[np.float32] | type[np.float64], tmp_path: Path
) -> None:
    points: NDArray[Any] = np.asarray(POINTS + 5e6, kind)
    points[3] = [1, 2, 3]
    scores = np.array([0.4, 0.7, 0.9, 1.0], np.float32)
    write_ply(tmp_path / "a.ply", points, scores)
    head, rows = (tmp_path / "a.ply").read_bytes().split(b"end_header\n")
    assert b"element vertex 3\n" in head  # without the point that is not finite
    form = "<3f3Bf" if kind is np.float32 else "<3d3Bf"
    assert len(rows) == 3 * struct.calcsize(form)
    got = list(struct.iter_unpack(form, rows))
    half = tuple(round((g + r) / 2) for g, r in zip(GREY, RED, strict=True))
    assert [row[3:6] for row in got] == [GREY, half, RED]
    np.testing.assert_array_equal([row[:3] for row in got], points[[0, 1, 3]])
    np.testing.assert_allclose([row[6] for row in got], scores[[0, 1, 3]])
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.ply").points, points[[0, 1, 3]])
    assert [file.name for file in tmp_path.iterdir()] == ["a.ply"]


def test_a_folder_that_is_not_there_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_ply(tmp_path / "none" / "a.ply", POINTS, np.zeros(4, np.float32))
