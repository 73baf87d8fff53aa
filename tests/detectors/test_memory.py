"""Memory banks against plain loops, and against what greedy k-centre promises."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from blemish.detectors import _memory
from blemish.detectors._memory import (
    MemoryBank,
    bank_of,
    best_similarity,
    coreset,
    load_banks,
    neighbourhood_mean,
    normalised,
    save_banks,
)

Rows = NDArray[np.float32]
seeds = st.integers(0, 2**32 - 1)


def unit_rows(seed: int, count: int, width: int) -> Rows:
    """Random rows of length 1."""
    rows = np.random.default_rng(seed).standard_normal((count, width))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def cosine(a: Rows, b: Rows) -> float:
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def farthest_first(tokens: Rows, keep: int, first: int) -> list[int]:
    """Greedy k-centre: the next row is always the one farthest from all that are chosen."""
    chosen = [first]
    while len(chosen) < keep:
        away = [min(float(((t - tokens[c]) ** 2).sum()) for c in chosen) for t in tokens]
        chosen.append(int(np.argmax(away)))
    return sorted(chosen)


def radius(tokens: Rows, centres: tuple[int, ...] | list[int]) -> float:
    """How far the worst covered row lies from its nearest centre."""
    return max(min(float(np.linalg.norm(t - tokens[c])) for c in centres) for t in tokens)


@given(seeds, st.integers(1, 6), st.integers(1, 9), st.integers(1, 12))
def test_best_similarity_is_the_largest_cosine(seed: int, q: int, n: int, width: int) -> None:
    queries, bank = unit_rows(seed, q, width), unit_rows(seed + 1, n, width)
    plain = [max(cosine(query, row) for row in bank) for query in queries]
    assert best_similarity(queries, bank) == pytest.approx(plain, abs=1e-6)


@pytest.mark.parametrize("block", [1, 3, 7, 8])
def test_best_similarity_sees_every_block_of_a_large_bank(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = unit_rows(5, 8, 6)
    monkeypatch.setattr(_memory, "_BLOCK", block)
    assert best_similarity(bank, bank) == pytest.approx(np.ones(8), abs=1e-6)


@given(seeds, st.lists(st.integers(1, 4), min_size=2, max_size=4))
def test_distance_leaves_out_one_reference(seed: int, sizes: list[int]) -> None:
    references = [unit_rows(seed + i, n, 5) for i, n in enumerate(sizes)]
    queries, bank = unit_rows(seed + 9, 3, 5), bank_of(references)
    for without in (None, *range(len(references))):
        rows = [row for i, r in enumerate(references) if i != without for row in r]
        plain = [1 - max(cosine(query, row) for row in rows) for query in queries]
        assert bank.distance(queries, without) == pytest.approx(plain, abs=1e-6)


def test_a_patch_of_the_bank_is_at_distance_0_and_its_opposite_at_2() -> None:
    rows = unit_rows(1, 1, 4)
    bank = bank_of([rows])
    assert bank.distance(rows) == pytest.approx([0], abs=1e-6)
    assert bank.distance(-rows) == pytest.approx([2], abs=1e-6)


def test_every_row_of_a_bank_knows_its_reference() -> None:
    references = [unit_rows(i, n, 3) for i, n in enumerate((2, 1, 3))]
    bank = bank_of(references)
    assert bank.owner.tolist() == [0, 0, 1, 2, 2, 2]
    np.testing.assert_array_equal(bank.tokens, np.concatenate(references))


def test_normalised_makes_rows_of_length_1_row_by_row_and_leaves_zero_alone() -> None:
    patches = np.array([[[3, 4], [0, 0]], [[0, -2], [1e-3, 0]]], np.float32)
    rows = normalised(patches)
    assert rows == pytest.approx(np.array([[0.6, 0.8], [0, 0], [0, -1], [1, 0]]))
    assert rows.dtype == np.float32


@given(seeds, st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3, 5, 7]))
def test_neighbourhood_mean_averages_each_square(seed: int, h: int, w: int, size: int) -> None:
    patches = np.random.default_rng(seed).standard_normal((h, w, 2)).astype(np.float32)
    reach = size // 2
    plain = np.zeros((h, w, 2))
    for y in range(h):
        for x in range(w):
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    plain[y, x] += patches[min(max(y + dy, 0), h - 1), min(max(x + dx, 0), w - 1)]
    assert neighbourhood_mean(patches, size) == pytest.approx(plain / size**2, abs=1e-5)


@pytest.mark.parametrize("width", [2, 64])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_coreset_chooses_farthest_first(width: int, seed: int) -> None:
    tokens = unit_rows(seed, 20, width)
    first = int(np.random.default_rng(seed).integers(20))
    for keep in (3, 7, 19, 20):  # from an eighth of the rows on, all take part
        assert coreset(tokens, keep, seed).tolist() == farthest_first(tokens, keep, first)


@given(seeds, st.integers(3, 8), st.integers(1, 3))
def test_coreset_covers_at_most_twice_as_wide_as_the_best_choice(
    seed: int, n: int, keep: int
) -> None:
    tokens = unit_rows(seed, n, 3)
    chosen = coreset(tokens, keep, seed).tolist()
    best = min(radius(tokens, centres) for centres in combinations(range(n), keep))
    assert len(set(chosen)) == keep
    assert radius(tokens, chosen) <= 2 * best + 1e-3


@pytest.mark.parametrize(("width", "size"), [(384, 8), (3, 8), (384, 200), (3, 200)])
def test_coreset_takes_one_of_each_heap(width: int, size: int) -> None:
    centres = np.concatenate([np.eye(3, width), -np.eye(3, width)])
    heaps = np.repeat(centres, size, axis=0)
    for seed in range(5):
        noise = np.random.default_rng(seed).standard_normal(heaps.shape) / (10 * width)
        chosen = coreset((heaps + noise).astype(np.float32), 6, seed)
        assert (chosen // size).tolist() == [0, 1, 2, 3, 4, 5]
    assert chosen.tolist() != coreset((heaps + noise).astype(np.float32), 6, seed + 1).tolist()


def test_coreset_of_one_row_is_the_seeds_choice() -> None:
    tokens = unit_rows(0, 40, 5)
    assert coreset(tokens, 1, 3).tolist() == coreset(tokens, 1, 3).tolist()
    assert len({int(coreset(tokens, 1, seed)[0]) for seed in range(20)}) > 5


def test_thinning_keeps_the_owner_of_each_row() -> None:
    bank = bank_of([unit_rows(i, 10, 8) for i in range(3)])
    thin = bank.thinned(7, seed=4)
    assert thin.tokens.shape == (7, 8)
    for row, owner in zip(thin.tokens, thin.owner, strict=True):
        (source,) = np.flatnonzero((bank.tokens == row).all(axis=1))
        assert bank.owner[source] == owner


def test_a_bank_that_is_small_enough_is_not_thinned() -> None:
    bank = bank_of([unit_rows(0, 5, 3)])
    assert bank.thinned(5, seed=0) is bank


def test_banks_survive_saving() -> None:
    banks = {k: bank_of([unit_rows(k, 4, 6), unit_rows(k + 1, 2, 6)]) for k in (11, 2)}
    back = load_banks({**save_banks(banks), "background.mean": np.zeros(3)})
    assert sorted(back) == [2, 11]
    for layer, bank in banks.items():
        assert isinstance(back[layer], MemoryBank)
        np.testing.assert_array_equal(back[layer].tokens, bank.tokens)
        np.testing.assert_array_equal(back[layer].owner, bank.owner)
