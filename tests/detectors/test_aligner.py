"""The fine-grained aligner: its matrix beside least squares, its texts beside that matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from blemish.detectors._aligner import aligned, transformation

Array = NDArray[np.float32]

SIDE, WIDTH = 4, 32  # patches along a side, numbers a value


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def unit(array: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(array / np.linalg.norm(array, axis=-1, keepdims=True), np.float64)


def windows(scale: int) -> NDArray[np.int64]:
    """(n, 1 + scale^2): the class token, 0, and each window's patches, counted one by one."""
    steps = range(SIDE - scale + 1)
    inside = [(y, x) for y in range(scale) for x in range(scale)]
    return np.array(
        [
            [0] + [1 + (top + y) * SIDE + left + x for y, x in inside]
            for top in steps
            for left in steps
        ]
    )


TEXT = unit(numbers(2, WIDTH, seed=1)).astype(np.float32)
SEEN = numbers(1 + SIDE * SIDE, WIDTH, seed=2)


@pytest.mark.parametrize(("ridge", "tolerance"), [(1e-3, 1e-2), (1e-6, 1e-5), (1e-9, 1e-6)])
@pytest.mark.parametrize("tokens", [1, 5, 10])
def test_it_takes_the_global_values_to_the_local_ones(
    tokens: int, ridge: float, tolerance: float
) -> None:
    seen, alone = numbers(tokens, WIDTH), numbers(tokens, WIDTH, seed=3)
    off = seen @ transformation(seen, alone, ridge) - alone
    assert np.linalg.norm(off) <= tolerance * np.linalg.norm(alone)


@given(st.integers(1, 12), st.integers(1, 8), st.floats(1e-4, 10))
def test_it_is_the_regularised_least_squares_solution(
    tokens: int, width: int, ridge: float
) -> None:
    seen, alone = numbers(tokens, width), numbers(tokens, width, seed=3)
    weight = ridge * (seen.astype(float) ** 2).sum() / tokens
    identity = np.sqrt(weight) * np.eye(width)  # the penalty as further equations
    plain = np.linalg.lstsq(np.vstack([seen, identity]), np.vstack([alone, identity]), rcond=None)
    assert transformation(seen, alone, ridge) == pytest.approx(plain[0], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_texts_are_those_times_the_matrix_of_each_window(scale: int) -> None:
    rows = windows(scale)
    alone = numbers(*rows.shape, WIDTH, seed=4)
    found = aligned(TEXT, SEEN, rows, alone)
    assert found.shape == (len(rows), 2, WIDTH)
    assert found.dtype == np.float32
    for window, tokens in enumerate(rows):
        plain = unit(TEXT @ transformation(SEEN[tokens], alone[window]))
        assert found[window] == pytest.approx(plain, abs=1e-6)


def test_a_window_that_covers_the_picture_leaves_the_texts_and_others_change_them() -> None:
    whole = np.arange(1 + SIDE * SIDE)[None]
    assert aligned(TEXT, SEEN, whole, SEEN[None]) == pytest.approx(TEXT[None], abs=1e-6)
    rows = windows(2)
    found = aligned(TEXT, SEEN, rows, numbers(*rows.shape, WIDTH, seed=5))
    cosines = np.einsum("nkd,kd->nk", found, TEXT)
    assert (cosines < 0.98).all()


def test_each_window_is_by_itself() -> None:
    rows = windows(2)
    alone = numbers(*rows.shape, WIDTH, seed=6)
    alone[3] = SEEN[rows[3]]
    found = aligned(TEXT, SEEN, rows, alone)
    unchanged = np.abs(found - TEXT).max(axis=(1, 2)) < 1e-6
    assert np.flatnonzero(unchanged).tolist() == [3]


@pytest.mark.parametrize("unit_of_values", [1e-6, 1, 1e6])
def test_a_large_ridge_leaves_the_texts_and_units_do_not_matter(unit_of_values: float) -> None:
    rows = windows(2)
    seen, alone = unit_of_values * SEEN, unit_of_values * numbers(*rows.shape, WIDTH, seed=7)
    assert aligned(TEXT, seen, rows, alone, 1e9) == pytest.approx(
        np.broadcast_to(TEXT, (len(rows), 2, WIDTH)), abs=1e-6
    )
    plain = aligned(TEXT, SEEN, rows, numbers(*rows.shape, WIDTH, seed=7))
    assert aligned(TEXT, seen, rows, alone) == pytest.approx(plain, abs=1e-5)


@given(st.integers(0, 10**6), st.sampled_from([1e-9, 1e-3, 1.0]), st.floats(0, 1e3))
def test_texts_have_length_1(seed: int, ridge: float, spread: float) -> None:
    rows = windows(2)
    alone = np.float32(spread) * numbers(*rows.shape, WIDTH, seed=seed)
    found = aligned(TEXT, SEEN, rows, alone, ridge)
    assert np.linalg.norm(found, axis=-1) == pytest.approx(np.ones((len(rows), 2)), abs=1e-5)


def degenerate() -> dict[str, Array]:
    row = numbers(1, WIDTH, seed=8)
    repeated, one_zero = SEEN.copy(), SEEN.copy()
    repeated[1:] = repeated[1]
    one_zero[3] = 0
    return {
        "all zero": np.zeros_like(SEEN),
        "repeated rows": repeated,
        "rank one": numbers(len(SEEN), 1, seed=9) @ row,
        "a zero row": one_zero,
        "tiny": np.float32(1e-30) * SEEN,
        "huge": np.float32(1e30) * SEEN,
    }


@pytest.mark.parametrize("name", list(degenerate()))
@pytest.mark.parametrize("scale", [2, 4])
def test_degenerate_values_give_texts_of_length_1(name: str, scale: int) -> None:
    rows, seen = windows(scale), degenerate()[name]
    for alone in (seen[rows], np.zeros((*rows.shape, WIDTH), np.float32), 2 * seen[rows]):
        found = aligned(TEXT, seen, rows, alone)
        assert np.isfinite(found).all()
        assert np.linalg.norm(found, axis=-1) == pytest.approx(np.ones((len(rows), 2)), abs=1e-5)
    same = aligned(TEXT, seen, rows, seen[rows])
    assert same == pytest.approx(np.broadcast_to(TEXT, same.shape), abs=1e-6)


def test_values_that_are_all_0_leave_the_texts() -> None:
    rows = windows(2)
    found = aligned(TEXT, np.zeros_like(SEEN), rows, numbers(*rows.shape, WIDTH))
    assert found == pytest.approx(np.broadcast_to(TEXT, found.shape), abs=1e-6)
    nothing = np.zeros((3, WIDTH), np.float32)
    assert transformation(nothing, numbers(3, WIDTH)).tolist() == np.eye(WIDTH).tolist()
