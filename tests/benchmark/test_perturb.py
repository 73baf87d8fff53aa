"""Changed light and occlusion: the stated rule, the same everywhere, and labels that stay true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from blemish.benchmark import perturb
from blemish.datasets.find import open_dataset
from blemish.datasets.model import Dataset
from blemish.images import read_image
from blemish.types import Image


def grey(height: int = 40, width: int = 60, shade: int = 100) -> Image:
    return np.full((height, width, 3), shade, np.uint8)


def corner(covered: Image | None) -> tuple[int, int]:
    """Where the square's top left is."""
    assert covered is not None
    top, left = np.argwhere((covered == perturb.GREY)[..., 0])[0].tolist()
    return top, left


def test_light_is_a_gain_and_a_gradient() -> None:
    gains = []
    for number in range(60):
        found = perturb.light(grey(41, 61), str(number)).astype(float)
        gain = found[20, 30, 0] / 100
        gains.append(gain)
        assert 0.69 <= gain <= 1.44
        # A plane: opposite corners add up to twice the centre, and slopes make a unit vector.
        assert found[0, 0, 0] + found[-1, -1, 0] == pytest.approx(2 * gain * 100, abs=2.1)
        x = (found[20, -1, 0] - found[20, 0, 0]) / 2 / gain / 100 / perturb.SLOPE
        y = (found[-1, 30, 0] - found[0, 30, 0]) / 2 / gain / 100 / perturb.SLOPE
        assert np.hypot(x, y) == pytest.approx(1, abs=0.12)
    assert min(gains) < 0.8
    assert max(gains) > 1.25
    assert perturb.light(grey(shade=255), "4").max() <= 255


def test_draws_depend_on_the_picture_alone() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    assert np.array_equal(perturb.light(image, "a"), perturb.light(image, "a"))
    assert not np.array_equal(perturb.light(image, "a"), perturb.light(image, "b"))
    # Written down, so that another machine or version that draws otherwise is noticed.
    assert corner(perturb.occlude(grey(), np.zeros((40, 60), bool), "a")) == (7, 45)


def test_the_square_never_covers_the_defect() -> None:
    random = np.random.default_rng(1)
    places = set()
    for number in range(200):
        mask = random.random((40, 60)) < 0.01
        covered = perturb.occlude(grey(), mask, str(number))
        if covered is None:
            continue
        changed = (covered != grey()).any(axis=2)
        assert changed.sum() == 6 * 6
        assert (covered[changed] == 128).all()
        assert not (changed & mask).any()
        places.add(tuple(np.argwhere(changed)[0]))
    assert len(places) > 100


def test_every_free_place_can_be_drawn_and_no_other() -> None:
    mask = np.ones((40, 60), bool)
    mask[10:17, 20:27] = False  # a hole of 7 x 7 for a square of 6 x 6
    found = set()
    for number in range(60):
        found.add(corner(perturb.occlude(grey(), mask, str(number))))
    assert found == {(10, 20), (10, 21), (11, 20), (11, 21)}
    assert perturb.occlude(grey(), np.ones((40, 60), bool), "a") is None
    assert perturb.occlude(grey(), None, "a") is None


def test_copies_keep_ids_and_masks_and_are_made_once(miniature: Dataset, tmp_path: Path) -> None:
    items = miniature.select("bottle", "test")
    found = perturb.changed(items, ("light", "occlusion"), tmp_path / "new")
    assert found.as_is == ()
    for before, after in zip(items, found.items, strict=True):
        assert (after.id, after.masks, after.label) == (before.id, before.masks, before.label)
        image = before.image()
        expected = perturb.occlude(perturb.light(image, before.id), before.mask(image), before.id)
        assert expected is not None
        assert np.array_equal(read_image(after.path), expected)
    times = [item.path.stat().st_mtime_ns for item in found.items]
    assert perturb.changed(items, ("light", "occlusion"), tmp_path / "new") == found
    assert [item.path.stat().st_mtime_ns for item in found.items] == times


def test_damaged_copies_and_changed_pictures_are_made_anew(copied: Path, tmp_path: Path) -> None:
    items = open_dataset(copied).select("bottle", "test")
    first = perturb.changed(items, ("light",), tmp_path)
    good = first.items[0].path.read_bytes()
    first.items[0].path.unlink()
    other = items[1].path.read_bytes()
    items[1].path.write_bytes(items[2].path.read_bytes())
    perturb.changed(items, ("light",), tmp_path)
    assert first.items[0].path.read_bytes() == good
    expected = perturb.light(items[2].image(), items[1].id)
    assert np.array_equal(read_image(first.items[1].path), expected)
    assert other != items[1].path.read_bytes()


def test_what_cannot_be_occluded_or_read_stays_as_it_is(copied: Path, tmp_path: Path) -> None:
    items = open_dataset(copied).select("bottle", "test")
    masked = [item for item in items if item.masks]
    masked[0].masks[0].unlink()
    masked[1].path.write_bytes(b"broken")
    items = open_dataset(copied).select("bottle", "test")
    found = perturb.changed(items, ("occlusion",), tmp_path)
    assert found.as_is == (masked[0].id,)
    by_id = {item.id: item for item in found.items}
    assert by_id[masked[1].id].path == masked[1].path
    assert np.array_equal(by_id[masked[0].id].image(), masked[0].image())
