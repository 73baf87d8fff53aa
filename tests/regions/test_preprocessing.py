"""Preprocessing variants: each step against another library or plain arithmetic."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from blemish.errors import OptionError
from blemish.regions import preprocessing
from blemish.regions.preprocessing import preprocessed, steps, variants
from blemish.types import Image

SIDE = 96


def luminance(image: Image) -> NDArray[np.float64]:
    return np.asarray(image @ np.array([0.299, 0.587, 0.114]))


@pytest.fixture(scope="module")
def noise() -> Image:
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts one variant with one step in the place of the file."""

    def put(**step: Any) -> str:
        file = {"one": {"source": "a test", "steps": [step]}}
        monkeypatch.setattr(preprocessing, "variants", lambda: file)
        return "one"

    return put


@pytest.mark.parametrize("name", variants())
def test_every_variant_is_whole(name: str, noise: Image) -> None:
    before = noise.copy()
    ready = preprocessed(noise, name)
    assert ready.shape == noise.shape
    assert ready.dtype == np.uint8
    np.testing.assert_array_equal(noise, before)
    assert np.array_equal(ready, noise) == (not steps(name))
    np.testing.assert_array_equal(preprocessed(noise, name), ready)
    assert len(variants()[name]["source"]) > 20


def test_none_is_the_picture_as_it_is(noise: Image) -> None:
    assert preprocessed(noise, "none") is noise
    assert next(iter(variants())) == "none"


def test_an_unknown_variant_names_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"called 'contrst'\. Did you mean 'contrast'"):
        preprocessed(np.zeros((2, 2, 3), np.uint8), "contrst")


def test_grey_is_the_luminance(noise: Image) -> None:
    grey = preprocessed(noise, "grey")
    assert np.abs(grey[..., 0] - luminance(noise)).max() <= 0.51
    assert (np.ptp(grey, axis=2) == 0).all()


def test_sharpening_adds_what_a_gaussian_takes_away(noise: Image) -> None:
    step = steps("sharpen")[0]
    given = noise.astype(np.float64)
    blurred = gaussian_filter(given, (step["sigma"], step["sigma"], 0), mode="mirror")
    want = np.clip(given + step["amount"] * (given - blurred), 0, 255)
    assert np.abs(preprocessed(noise, "sharpen") - want).max() < 0.6


def test_one_tile_without_a_limit_is_plain_equalisation(only: Any) -> None:
    name = only(step="equalise", clip_limit=1e6, tiles=1)
    grey = np.random.default_rng(1).integers(90, 130, (64, 64, 1), dtype=np.uint8)
    share = np.cumsum(np.bincount(grey.ravel(), minlength=256)) / grey.size
    want = 255 * share[grey.repeat(3, axis=2)]  # each level becomes its rank
    assert np.abs(preprocessed(grey.repeat(3, axis=2), name) - want).max() <= 1.01


def test_a_faint_scratch_stands_out_more_where_the_part_lies_in_the_dark() -> None:
    light = np.tile(np.linspace(20, 220, SIDE), (SIDE, 1))
    shades = light + np.random.default_rng(2).normal(0, 2, light.shape)
    shades[40:44, 5:30] += 8
    image = np.rint(np.clip(shades, 0, 255)).astype(np.uint8)[..., None].repeat(3, axis=2)
    ready = luminance(preprocessed(image, "contrast"))
    before = luminance(image)
    contrast = [float(a[40:44, 5:30].mean() - a[46:50, 5:30].mean()) for a in (before, ready)]
    assert contrast[1] > 1.5 * contrast[0]


def test_the_limit_limits_the_contrast(only: Any) -> None:
    grey = np.random.default_rng(3).normal(128, 3, (64, 64, 1)).astype(np.uint8)
    spread = [
        preprocessed(grey.repeat(3, axis=2), only(step="equalise", clip_limit=limit, tiles=1)).std()
        for limit in (1.0, 2.0, 4.0, 1e6)
    ]
    assert all(less < more for less, more in pairwise(spread))


def test_contrast_leaves_the_colour_alone() -> None:
    image = np.full((SIDE, SIDE, 3), (120, 90, 60), np.uint8)
    image[::2] += 10
    ready = preprocessed(image, "contrast").astype(float)
    for first, second in ((0, 1), (2, 1)):  # differences of channels hold the chrominance
        given = image[..., first].astype(float) - image[..., second]
        assert np.abs(ready[..., first] - ready[..., second] - given).max() <= 4


def test_steps_follow_each_other(noise: Image) -> None:
    both = preprocessed(preprocessed(noise, "contrast"), "sharpen")
    np.testing.assert_array_equal(preprocessed(noise, "contrast-sharpen"), both)


@given(
    st.integers(1, 20), st.integers(1, 20), st.sampled_from(sorted(variants())), st.integers(0, 255)
)
def test_any_picture_has_a_preprocessed_one(h: int, w: int, name: str, shade: int) -> None:
    flat = np.full((h, w, 3), shade, np.uint8)
    ready = preprocessed(flat, name)
    assert ready.shape == flat.shape
    assert np.ptp(ready) <= 1  # nothing is made up in a plain picture
