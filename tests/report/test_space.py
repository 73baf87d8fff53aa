from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ImageDraw
from sklearn.decomposition import PCA

from blemish.errors import InputError
from blemish.report.space import plane, space
from blemish.types import Image

Floats = NDArray[np.float32]
FRAME = (170, 176, 182)
SIDES = np.array([False] * 8 + [True] * 6)
KEPT = np.array([True] * 3 + [False] * 5 + [True] * 4 + [False] * 2)


def unit(seed: int = 0, count: int = 14, width: int = 24) -> Floats:
    """Points of length 1 around a common direction."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, width)) + 2 * rng.normal(size=width)
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), np.float32)


def marks(panel: Image) -> dict[str, list[NDArray[Any]]]:
    """Of each colour: left, top, width, height, area and centre of each mark, by its place."""
    red, blue = panel[..., 0].astype(int), panel[..., 2].astype(int)
    found = {}
    for name, here in (("normal", blue - red > 90), ("abnormal", red - blue > 90)):
        count, _, stats, centres = cv2.connectedComponentsWithStats(here.astype(np.uint8))
        found[name] = [np.append(stats[i], centres[i]) for i in range(1, count)]
    return found


def share(mark: NDArray[Any]) -> float:
    """How much of its box a mark fills."""
    return float(mark[4] / (mark[2] * mark[3]))


def panels(drawn: Image) -> tuple[Image, Image]:
    """What lies inside the two frames."""
    half = drawn.shape[1] // 2
    framed = (drawn == FRAME).all(axis=2)
    top, bottom = np.flatnonzero(framed[:, 100:400].all(axis=1))[[0, -1]]
    inside = drawn[top + 3 : bottom - 2]
    return inside[:, 25:half], inside[:, half + 15 : -25]


def test_the_plane_is_that_of_principal_components() -> None:
    points = unit()
    found, truth = plane(points), PCA(2).fit(points.astype(np.float64))
    signs = np.sign((found.axes * truth.components_).sum(axis=1))
    np.testing.assert_allclose(found.axes, truth.components_ * signs[:, None], atol=1e-7)
    np.testing.assert_allclose(found.shares, truth.explained_variance_ratio_, atol=1e-7)
    others = unit(1)
    np.testing.assert_allclose(
        found.places(others), truth.transform(others.astype(np.float64)) * signs, atol=1e-6
    )


def test_the_same_points_give_the_same_plane_in_any_order() -> None:
    points = unit()
    first, second = plane(points), plane(points[::-1])
    np.testing.assert_allclose(first.axes, second.axes, atol=1e-7)
    # Turned round, the axes stay and only the points change sides.
    np.testing.assert_allclose(plane(-points).axes, first.axes, atol=1e-7)
    assert all(axis[np.abs(axis).argmax()] > 0 for axis in first.axes)


def test_points_that_are_all_the_same_have_no_variance_to_show() -> None:
    assert plane(np.ones((4, 3), np.float32)).shares.tolist() == [0, 0]
    space(np.ones((4, 3), np.float32), np.ones(3, np.float32), SIDES[6:10], KEPT[6:10])


@pytest.mark.parametrize("shape", [(1, 8), (0, 8), (5, 1), (5,)])
def test_what_spans_no_plane_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="span no plane"):
        plane(np.zeros(shape, np.float32))


def test_the_first_panel_has_all_prompts_and_the_second_those_that_were_kept() -> None:
    everything, kept = panels(space(unit(), unit(5, 1)[0], SIDES, KEPT))
    counts = {side: len(found) for side, found in marks(everything).items()}
    assert counts == {"normal": 8, "abnormal": 6}
    counts = {side: len(found) for side, found in marks(kept).items()}
    assert counts == {"normal": 3, "abnormal": 4}


def test_the_four_kinds_differ_without_colour() -> None:
    everything, kept = panels(space(unit(), unit(5, 1)[0], SIDES, KEPT))
    # Lines are thin: only what was kept, and the star, stays when two pixels go from each edge.
    ink = (everything.min(axis=2) < 200).astype(np.uint8)
    assert cv2.connectedComponents(cv2.erode(ink, np.ones((5, 5), np.uint8)))[0] - 1 == 7 + 1
    full = {side: [share(m) for m in found] for side, found in marks(kept).items()}
    assert min(full["normal"]) > max(full["abnormal"]) + 0.1  # discs and triangles
    thin = {
        side: [m[2] for m in found if share(m) < 0.49] for side, found in marks(everything).items()
    }
    assert (len(thin["normal"]), len(thin["abnormal"])) == (5, 2)
    assert min(thin["normal"]) > max(thin["abnormal"])  # a plus is wider than a cross


def test_marks_lie_where_the_projection_puts_them_on_one_scale_both_ways() -> None:
    points, image = unit(), unit(5, 1)[0]
    truth = PCA(2).fit(points.astype(np.float64)).transform(points.astype(np.float64))
    # Without triangles, whose centre is not their place.
    none = np.zeros(14, bool)
    for panel in panels(space(points, image, none, ~none)):
        found = np.array([mark[5:7] for mark in marks(panel)["normal"]])
        assert len(found) == 14

        def apart(places: NDArray[Any]) -> NDArray[Any]:
            pairs = np.linalg.norm(places[:, None] - places[None], axis=2)
            return np.sort(pairs[np.triu_indices(14, 1)])

        scale = apart(found).max() / apart(truth).max()
        np.testing.assert_allclose(apart(found), apart(truth) * scale, atol=2.5)


def test_everything_is_said_and_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[float, str, Any]] = []
    plain = ImageDraw.ImageDraw.text

    def text(self: Any, at: Any, words: str, **how: Any) -> None:
        said.append((at[0], words, how["font"]))
        plain(self, at, words, **how)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    points = unit()
    drawn = space(points, unit(5, 1)[0], SIDES, KEPT)
    words = " ".join(line for _, line, _ in said)
    for one in ("All 14 prompts", "The 7 that were kept", "normal, kept (3)", "the picture"):
        assert one in words
    for one in ("normal, dropped (5)", "abnormal, kept (4)", "abnormal, dropped (2)"):
        assert one in words
    share = PCA(2).fit(points.astype(np.float64)).explained_variance_ratio_.sum()
    assert f"{share:.0%} of their variance" in words
    fine = said[0][2].size / 17
    for left, line, letters in said:
        assert (left + letters.getlength(line)) / fine < drawn.shape[1] - 5


def test_a_picture_far_from_every_prompt_is_still_on_the_sheet() -> None:
    points = unit()
    away = points[0] - 9 * (points[1] - points[0])
    for panel in panels(space(points, away, SIDES, KEPT)):
        dark = (panel < 60).all(axis=2)
        assert dark.sum() > 60
        rows, columns = np.nonzero(dark)
        assert rows.min() > 0
        assert rows.max() < panel.shape[0] - 1
        assert columns.min() > 0
        assert columns.max() < panel.shape[1] - 1
