"""Clouds to views and back, held against plain loops and against made parts with known defects."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from blemish.errors import InputError
from blemish.modalities import _render
from blemish.modalities._views import VIEWS, View
from blemish.modalities.point_cloud import Cloud, CloudOptions, open_cloud
from blemish.types import Inspection, Sample

Array = NDArray[np.float64]


def cloud_of(folder: Path, points: Array, **options: object) -> Cloud:
    """A cloud from a file; `write_ply` would leave out what is not finite."""
    xyz = np.asarray(points, "<f8")
    lines = ("ply", "format binary_little_endian 1.0", f"element vertex {len(xyz)}")
    head = "\n".join((*lines, *(f"property double {a}" for a in "xyz"), "end_header", ""))
    (folder / "a.ply").write_bytes(head.encode() + xyz.tobytes())
    made = CloudOptions.model_validate(options)
    return open_cloud(folder / "a.ply", made, id="a", class_name="ball")


def ball(count: int) -> Array:
    points = np.random.default_rng(0).normal(size=(count, 3))
    return np.asarray(points / np.linalg.norm(points, axis=1)[:, None])


def said(
    sample: Sample, score: float | None, raw: Array | None = None
) -> tuple[Sample, Inspection]:
    maps = () if raw is None else (raw.astype(np.float32),)
    return sample, Inspection(sample.id, "normal", "calibration", score=score, maps=maps)


def placed(points: Array, view: View, size: int, radius: float) -> Array:
    """Row and column in the view and depth, (3, ...), rotation by rotation about the origin."""
    x, y, z = np.moveaxis(np.asarray(points, np.float64), -1, 0)
    a, b, c = (math.radians(v) for v in (view.above, view.left, view.turned))
    x, y = x * math.cos(c) - y * math.sin(c), x * math.sin(c) + y * math.cos(c)
    x, z = x * math.cos(b) + z * math.sin(b), z * math.cos(b) - x * math.sin(b)
    y, z = y * math.cos(a) - z * math.sin(a), y * math.sin(a) + z * math.cos(a)
    scale = 0.94 * (size / 2) / radius
    return np.array([size / 2 - y * scale, size / 2 + x * scale, -z * scale])


def test_cpmf_has_27_views_of_15_degrees_and_ids_that_a_person_reads(tmp_path: Path) -> None:
    angles = {(v.above, v.left, v.turned) for v in VIEWS["cpmf"]}
    assert len(VIEWS["cpmf"]) == len(angles) == 27
    assert {a for three in angles for a in three} == {-15, 0, 15}
    samples = list(cloud_of(tmp_path, ball(50), views="tilted", size=32).samples())
    assert samples[0].id == "view 1: front"
    assert samples[2].id == "view 3: 30 degrees left"
    assert {(s.domain, s.class_name, s.image.shape) for s in samples} == {
        ("depth", "ball", (32, 32, 3))
    }


@pytest.mark.parametrize("views", ["cpmf", "around"])
def test_each_point_lies_at_the_pixel_where_plain_geometry_puts_it(
    views: str, tmp_path: Path
) -> None:
    points = np.random.default_rng(1).uniform(-1, 1, (60, 3)) * (3, 1, 2)
    points = np.concatenate([points, -points])  # so that the middle is the origin
    cloud = cloud_of(tmp_path, points, views=views, size=64)
    radius = float(np.linalg.norm(points, axis=1).max())
    for view in VIEWS[cloud.options.views]:
        projection = _render.project(cloud._scene, view.rotation)
        pixel = _render.view_pixel(cloud._scene, projection)
        for i, point in enumerate(points):
            row, column, depth = placed(point, view, 64, radius)
            near_a_line = min(abs(v - round(v)) for v in (row, column)) < 1e-3
            assert near_a_line or pixel[i] == int(row) * 64 + int(column)
            assert projection.depth[i] / 2 == pytest.approx(depth, abs=1e-3)


def test_points_are_hidden_as_a_plain_loop_hides_them() -> None:
    """Hidden if every disc over the point's pixel holds a nearer pixel."""
    chance = np.random.default_rng(2)
    scene = _render.Scene(chance.uniform(-11, 11, (150, 3)).astype(np.float32), 16, 3)
    projection = _render.project(scene, View(15, 30).rotation)
    rows, columns = np.divmod(projection.pixel, 32)
    inside = [(y, x) for y in range(-3, 4) for x in range(-3, 4) if y * y + x * x <= 9]
    for i in range(150):
        hidden = True
        for dy, dx in inside:
            nearest = min(
                (
                    float(projection.depth[j])
                    for j in range(150)
                    if (rows[j] - rows[i] - dy) ** 2 + (columns[j] - columns[i] - dx) ** 2 <= 9
                ),
                default=math.inf,
            )
            hidden &= nearest < projection.depth[i] - 3 - 4
        assert projection.visible[i] == (not hidden)
    assert 0.1 < projection.visible.mean() < 0.9


def test_of_a_ball_the_front_is_seen_and_the_back_is_not(tmp_path: Path) -> None:
    points = ball(20_000)
    cloud = cloud_of(tmp_path, points)
    for view in (View(), View(left=90), View(above=-90), View(15, -15, 15)):
        towards = -placed(points, view, 2, 0.94)[2]
        visible = _render.project(cloud._scene, view.rotation).visible
        assert visible[towards > 0].mean() > 0.99
        assert visible[towards < -0.3].mean() < 0.001


@pytest.mark.parametrize(
    ("view", "place"),
    [
        (View(left=90), (-1, 0, 0)),
        (View(left=-90), (1, 0, 0)),
        (View(above=90), (0, 1, 0)),
        (View(above=-90), (0, -1, 0)),
        (View(left=180), (0, 0, -1)),
        (View(), (0, 0, 1)),
    ],
)
def test_a_view_from_the_left_shows_the_left(
    view: View, place: tuple[int, int, int], tmp_path: Path
) -> None:
    points = ball(5_000)
    cloud = cloud_of(tmp_path, points)
    visible = _render.project(cloud._scene, view.rotation).visible
    assert visible[points @ place > 0.9].all()
    assert not visible[points @ place < -0.9].any()


@pytest.mark.parametrize(
    ("views", "middle"), [("cpmf", (0.2, 0.3, 0.93)), ("around", (-0.5, 0.2, -0.84))]
)
def test_a_dent_that_is_marked_in_the_views_comes_back_as_its_points(
    views: str, middle: tuple[float, float, float], tmp_path: Path
) -> None:
    points = ball(20_000)
    dent = points @ np.divide(middle, np.linalg.norm(middle)) > math.cos(0.2)
    points[dent] *= 0.97
    cloud = cloud_of(tmp_path, points, views=views, size=128)
    radius = float(np.linalg.norm(points, axis=1).max())
    centre = (points.max(axis=0) + points.min(axis=0)) / 2
    judged = []
    for view, sample in zip(VIEWS[cloud.options.views], cloud.samples(), strict=True):
        # What an ideal detector marks: the pixels whose nearest point is the dent's. The far half,
        # which shows between the points of the near one, is no part of the picture.
        rows, columns, depth = placed(points - centre, view, 128, radius)
        marked = np.zeros((128, 128))
        for i in np.flatnonzero(depth < 0)[np.argsort(-depth[depth < 0])]:
            marked[int(rows[i]), int(columns[i])] = dent[i]
        judged.append(said(sample, 1.0 if marked.any() else 0.0, marked))
    scores = cloud.back(judged).inspection.points
    assert scores is not None
    found = scores >= 0.5
    assert (found & dent).sum() / dent.sum() > 0.95
    assert (found & dent).sum() / found.sum() > 0.95


def test_a_point_has_the_mean_over_the_views_that_show_it_and_have_a_score(tmp_path: Path) -> None:
    points = ball(3_000)
    cloud = cloud_of(tmp_path, points, views="around", size=64)
    chance = np.random.default_rng(3)
    total, count = np.zeros(3_000), np.zeros(3_000)
    judged = []
    for i, (view, sample) in enumerate(zip(VIEWS["around"], cloud.samples(), strict=True)):
        raw = chance.random((64, 64))
        raw[0, 0] = 1
        judged.append(said(sample, None if i == 3 else 0.1 * i, raw))
        projection = _render.project(cloud._scene, view.rotation)
        for j in np.flatnonzero(projection.visible) if i != 3 else ():
            row, column = divmod(int(projection.pixel[j]), 128)
            total[j] += 0.1 * i * raw[row // 2, column // 2]
            count[j] += 1
    scores = cloud.back(judged).inspection.points
    assert scores is not None
    assert scores.dtype == np.float32
    assert count.min() > 0
    np.testing.assert_allclose(scores, total / count, atol=1e-6)


def test_points_that_no_view_shows_take_the_nearest_seen_one(tmp_path: Path) -> None:
    points = ball(5_000)
    cloud = cloud_of(tmp_path, points, views="front", size=64)
    (sample,) = cloud.samples()
    raw = np.tile(np.arange(64.0), (64, 1))  # higher to the right
    scores = cloud.back([said(sample, 1.0, raw)]).inspection.points
    assert scores is not None
    visible = _render.project(cloud._scene, np.eye(3)).visible
    for i in np.flatnonzero(~visible)[:200]:
        near = np.linalg.norm(points[visible] - points[i], axis=1)
        around = scores[visible][near <= near.min() + 4 / 60]  # 2 pixels of 60 a diameter
        assert around.min() <= scores[i] <= around.max()


def test_without_any_score_the_points_get_0_and_a_missing_view_is_an_error(tmp_path: Path) -> None:
    cloud = cloud_of(tmp_path, ball(100), views="tilted", size=32)
    judged = [said(sample, None) for sample in cloud.samples()]
    carried = cloud.back(judged)
    assert carried.inspection.id == "a"
    assert len(carried.views) == len(carried.names) == 9
    assert carried.inspection.points is not None
    assert not carried.inspection.points.any()
    with pytest.raises(InputError, match="Nothing came for view 9"):
        cloud.back(judged[:-1])


def ends(cloud: Cloud) -> NDArray[np.float32]:
    """All views drawn and all found anomalous: the points' scores."""
    judged = [said(sample, 1.0) for sample in cloud.samples()]
    scores = cloud.back(judged).inspection.points
    assert scores is not None
    assert np.isfinite(scores).all()
    return scores


def test_points_without_a_measurement_keep_their_place_and_get_0(tmp_path: Path) -> None:
    points = ball(2_000)
    points[[0, 7]] = np.nan
    points[8, 1] = -np.inf
    points[9] = 1e300
    points[[10, 11, 12]] = 0
    cloud = cloud_of(tmp_path, points, size=64)
    scores = ends(cloud)
    assert np.flatnonzero(scores == 0).tolist() == [0, 7, 8, 9, 10, 11, 12]
    assert cloud.about["points"] == 2_000
    assert (cloud.about["not finite"], cloud.about["at (0, 0, 0)"]) == (4, 3)
    assert cloud.points.shape == (2_000, 3)


@pytest.mark.parametrize(
    "points",
    [
        np.array([[3.0, 4, 5]]),
        np.tile([[3.0, 4, 5]], (500, 1)),
        np.array([[0.0, 0, 1], [0, 0, 2]]),
        np.stack([*np.mgrid[0:40, 0:40].reshape(2, -1), np.full(1600, 7.0)], axis=1),
        np.stack([np.zeros(900), *np.mgrid[1:31, 1:31].reshape(2, -1)], axis=1),
    ],
    ids=["one point", "equal points", "two points", "flat", "flat, seen from its edge"],
)
def test_degenerate_clouds_are_drawn_and_scored(points: Array, tmp_path: Path) -> None:
    cloud = cloud_of(tmp_path, points, views="tilted", size=64)
    assert all(sample.image.any() for sample in cloud.samples())
    assert (ends(cloud) == 1).all()


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_cloud_of_nothing_measured_is_refused(value: float, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="12 points, and none was measured"):
        cloud_of(tmp_path, np.full((12, 3), value))


def test_offsets_of_a_map_change_nothing(tmp_path: Path) -> None:
    points = ball(5_000) * 0.05  # 10 cm, at UTM coordinates in metres
    here = [s.image for s in cloud_of(tmp_path, points, views="tilted", size=64).samples()]
    corner = np.array([512_345.678, 5_412_345.678, 321.0])
    there = cloud_of(tmp_path, points + corner, views="tilted", size=64)
    for one, other in zip(here, (s.image for s in there.samples()), strict=True):
        assert np.abs(one.astype(int) - other).mean() < 0.1


def test_a_stray_does_not_shrink_the_part(tmp_path: Path) -> None:
    points = np.concatenate([ball(5_000), [[1e6, 0, 0]]])
    cloud = cloud_of(tmp_path, points, views="front")
    (sample,) = cloud.samples()
    assert (sample.image[:, :, 0] > 0).mean() > 0.5
    assert cloud.about["strays"] == 1
    assert ends(cloud)[-1] == 0


def test_a_million_points(tmp_path: Path) -> None:
    scores = ends(cloud_of(tmp_path, ball(1_000_000), views="front", size=32))
    assert scores.shape == (1_000_000,)
    assert (scores == 1).all()


def test_the_surface_is_closed_smooth_and_lit_from_the_upper_left(tmp_path: Path) -> None:
    """A ball's grey follows Lambert's law at its normals, to a few levels."""
    (sample,) = cloud_of(tmp_path, ball(100_000), views="front").samples()
    grey = sample.image[:, :, 0].astype(float)
    y, x = np.mgrid[0:224, 0:224] + 0.5
    x, y = (x - 112) / (112 * 0.94), (112 - y) / (112 * 0.94)
    inner = x * x + y * y < 0.8
    z = np.sqrt(np.where(inner, 1 - x * x - y * y, 0))
    lambert = np.maximum(-0.4 * x + 0.5 * y + 0.768 * z, 0)
    expected = 255 * (0.25 + 0.75 * lambert) * (0.65 + 0.35 * (0.5 + z / 2))
    assert (grey[inner] > 0).all()
    assert np.abs(grey - expected)[inner].mean() < 4
    assert not grey[x * x + y * y > 1.05].any()


def test_a_misspelt_option_is_refused() -> None:
    with pytest.raises(ValidationError):
        CloudOptions.model_validate({"view": "cpmf"})
