"""Memory banks of patch tokens: building, thinning and searching them.

Arrays are float32; token rows are L2-normalised, so that a dot product is a cosine similarity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.float32]
PROJECTED = 64
"""Dimensions in which the coreset measures distances."""
_BLOCK = 4096  # bank rows at a time: the similarities of one block stay in the processor's cache


@dataclass(frozen=True, eq=False)
class MemoryBank:
    """Normal patch tokens of one encoder layer, B^i of AnomalyGPT (2308.15366), section 3.2.

    Attributes:
        tokens: (N, D) float32, rows of length 1.
        owner: (N,) int32, which reference each row came from, so that one can be left out.
    """

    tokens: Tokens
    owner: NDArray[np.int32]

    def distance(self, queries: Tokens, without: int | None = None) -> NDArray[np.float32]:
        """1 - max cosine similarity to the bank: the summand of equation 2.

        Args:
            queries: (Q, D) float32, rows of length 1.
            without: leave out the rows that this reference owns.

        Returns:
            (Q,) float32 in [0, 2], 0 for a patch that the bank holds.
        """
        tokens = self.tokens if without is None else self.tokens[self.owner != without]
        return np.maximum(1 - best_similarity(queries, tokens), 0)  # rounding may go below 0

    def thinned(self, keep: int, seed: int) -> MemoryBank:
        """At most `keep` rows, chosen by greedy k-centre (PatchCore, 2106.08265, section 3.2)."""
        if len(self.tokens) <= keep:
            return self
        chosen = coreset(self.tokens, keep, seed)
        return MemoryBank(self.tokens[chosen], self.owner[chosen])


def bank_of(references: Sequence[Tokens]) -> MemoryBank:
    """One bank of the tokens of several references, each (n, D) with rows of length 1."""
    owner = np.repeat(np.arange(len(references), dtype=np.int32), [len(r) for r in references])
    return MemoryBank(np.ascontiguousarray(np.concatenate(references)), owner)


def best_similarity(queries: Tokens, bank: Tokens) -> NDArray[np.float32]:
    """(Q,) float32: each query's largest dot product with any row of `bank` (N, D)."""
    best = np.full(len(queries), -1, np.float32)
    for start in range(0, len(bank), _BLOCK):
        block = queries @ bank[start : start + _BLOCK].T
        np.maximum(best, block.max(axis=1), out=best)
    return best


def normalised(patches: NDArray[np.float32]) -> Tokens:
    """Patch tokens (h, w, D) as rows (h * w, D) of length 1; a zero token stays zero."""
    rows = patches.reshape(-1, patches.shape[-1])
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-12), np.float32)


def neighbourhood_mean(patches: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Each patch token (h, w, D) averaged over the size x size patches around it.

    Borders repeat the outermost patch. PatchCore's locally aware features, and LNAMD in MuSc
    (2401.16753).
    """
    if size == 1:
        return patches
    from scipy.ndimage import uniform_filter

    return np.asarray(uniform_filter(patches, (size, size, 1), mode="nearest"), np.float32)


def coreset(tokens: Tokens, keep: int, seed: int) -> NDArray[np.intp]:
    """Indices of `keep` rows that cover all others: each next one is the farthest from the chosen.

    Distances are taken after a random projection to 64 dimensions, as PatchCore projects, and of
    more than 8 * keep rows a random 8 * keep take part: the search reads every row once for each
    row that it keeps, and this bounds the time to seconds.

    Args:
        tokens: (N, D) float32.
        keep: how many rows, 1 to N.
        seed: of the projection, the first row and the rows that take part.

    Returns:
        At most `keep` indices, ascending; fewer where rows repeat.
    """
    random = np.random.default_rng(seed)
    among = np.arange(len(tokens))
    if len(tokens) > 8 * keep:
        among = np.sort(random.choice(len(tokens), 8 * keep, replace=False))
        tokens = tokens[among]
    width = tokens.shape[1]
    if width > PROJECTED:
        projection = random.standard_normal((width, PROJECTED), np.float32)
        tokens = tokens @ (projection / np.float32(PROJECTED**0.5))
    squares = np.einsum("nd,nd->n", tokens, tokens)
    chosen = [int(random.integers(len(tokens)))]
    nearest = np.full(len(tokens), np.inf, np.float32)
    while len(chosen) < keep:
        last = chosen[-1]
        away = squares + squares[last] - 2 * (tokens @ tokens[last])
        np.minimum(nearest, away, out=nearest)
        farthest = int(nearest.argmax())
        if nearest[farthest] <= 0:  # every row is chosen, or equals a chosen one
            break
        chosen.append(farthest)
    return np.asarray(among[np.sort(np.asarray(chosen))], np.intp)


def save_banks(banks: Mapping[int, MemoryBank]) -> dict[str, NDArray[np.generic]]:
    """Arrays of several layers' banks under names that `load_banks` reads."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for layer, bank in banks.items():
        arrays[f"bank.{layer}.tokens"] = bank.tokens
        arrays[f"bank.{layer}.owner"] = bank.owner
    return arrays


def load_banks(arrays: Mapping[str, NDArray[np.generic]]) -> dict[int, MemoryBank]:
    """The banks that `save_banks` put into `arrays`."""
    layers = sorted(int(name.split(".")[1]) for name in arrays if name.endswith(".tokens"))
    return {
        k: MemoryBank(
            np.asarray(arrays[f"bank.{k}.tokens"], np.float32),
            np.asarray(arrays[f"bank.{k}.owner"], np.int32),
        )
        for k in layers
    }
