"""Shares and harmonic means beside the formulas written as loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.special import softmax

from blemish.detectors._textual import over_scales, over_windows, probability

Array = NDArray[np.float64]

grids = [(side, scale) for side in range(2, 7) for scale in range(1, side + 1)]


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(0.01, 1, shape)


def unit(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    found = np.random.default_rng(seed).standard_normal(shape)
    return np.asarray(found / np.linalg.norm(found, axis=-1, keepdims=True), np.float32)


def covering(windows: Array, side: int, scale: int, row: int, column: int) -> list[float]:
    """Scores of the windows that a patch lies in."""
    found, number = [], 0
    for top in range(side - scale + 1):
        for left in range(side - scale + 1):
            if top <= row < top + scale and left <= column < left + scale:
                found.append(float(windows[number]))
            number += 1
    return found


@pytest.mark.parametrize(("side", "scale"), grids)
def test_a_patch_has_the_harmonic_mean_of_its_windows(side: int, scale: int) -> None:
    windows = random((side - scale + 1) ** 2)
    found = over_windows(windows, side, scale)
    assert found.shape == (side, side)
    assert found.dtype == np.float32
    for row in range(side):
        for column in range(side):
            its = covering(windows, side, scale, row, column)
            plain = len(its) / sum(1 / score for score in its)
            assert found[row, column] == pytest.approx(plain, rel=1e-6)
            assert found[row, column] <= np.mean(its) * (1 + 1e-6)


@pytest.mark.parametrize(("side", "scale"), grids)
@pytest.mark.parametrize("score", [1, 0.3, 1e-40])
def test_equal_windows_give_an_even_map(side: int, scale: int, score: float) -> None:
    found = over_windows(np.full((side - scale + 1) ** 2, score), side, scale)
    assert found == pytest.approx(np.full((side, side), score), rel=1e-5, abs=0)


def test_a_window_that_finds_nothing_weighs_most() -> None:
    windows = np.array([0.5, 0.5, 0.5, 1e-80])  # smaller than float32 can tell from 0
    assert over_windows(windows, 3, 2) == pytest.approx(
        np.array([[0.5, 0.5, 0.5], [0.5, 0, 0], [0.5, 0, 0]]), rel=1e-6, abs=1e-30
    )
    windows[3] = 0
    assert (over_windows(windows, 3, 2)[1:, 1:] == 0).all()


@given(arrays(np.float32, (3, 2, 4), elements=st.floats(2**-20, 1, width=32)))
def test_scales_join_in_their_harmonic_mean(maps: NDArray[np.float32]) -> None:
    found = over_scales(list(maps))
    assert found.dtype == np.float32
    for place in np.ndindex(2, 4):
        its = [float(m[place]) for m in maps]
        assert found[place] == pytest.approx(3 / sum(1 / score for score in its), rel=1e-6)
    assert (found <= maps.mean(axis=0) * (1 + 1e-6)).all()
    assert (found >= maps.min(axis=0) * (1 - 1e-6)).all()
    assert over_scales([maps[0]] * 3) == pytest.approx(maps[0], rel=1e-6)
    assert over_scales([maps[0]]) == pytest.approx(maps[0], rel=1e-6)


def test_scales_of_tiny_scores_and_of_0() -> None:
    first, second = np.array([[1e-80, 0, 0.5]]), np.array([[1e-80, 0.5, 0]])
    assert over_scales([first, second]).tolist() == [[0, 0, 0]]
    tiny = np.full((1, 1), 1e-36, np.float32)
    assert over_scales([tiny, tiny]) == pytest.approx(tiny, rel=1e-6, abs=0)


@given(st.integers(0, 10**6), st.floats(0, 100))
def test_probability_is_the_abnormal_share_of_the_softmax(seed: int, scale: float) -> None:
    images, texts = unit(5, 16, seed=seed), unit(2, 16, seed=seed + 1)
    plain = softmax(scale * images.astype(float) @ texts.T.astype(float), axis=-1)[:, 1]
    assert probability(images, texts, scale) == pytest.approx(plain, rel=1e-9, abs=0)


def test_each_window_has_its_own_texts() -> None:
    images, texts = unit(2, 5, 16), unit(2, 5, 2, 16, seed=1)
    found = probability(images, texts, 100)
    assert found.shape == (2, 5)
    for place in np.ndindex(2, 5):
        plain = softmax([100 * float(images[place] @ text) for text in texts[place]])[1]
        assert found[place] == pytest.approx(plain, rel=1e-4)
    assert probability(images[0, 0], texts[0, 0], 100) == pytest.approx(found[0, 0], rel=1e-12)


def test_probability_at_the_ends_is_exact() -> None:
    texts = np.array([[1, 0], [-1, 0]], np.float32)
    found = probability(np.array([[1, 0], [-1, 0], [0, 1]], np.float32), texts, 100)
    assert found == pytest.approx([np.exp(-200), 1, 0.5], rel=1e-12, abs=0)
    assert found[0] > 0
    assert probability(texts[0], texts, 1e6) == 0  # neither overflow nor NaN
    assert probability(texts[1], texts, 1e6) == 1
    swapped = probability(texts[0], texts[::-1], 100)
    assert swapped == pytest.approx(1, abs=1e-12)
