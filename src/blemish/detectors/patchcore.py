"""PatchCore: one bank of all normal patches, thinned to a coreset.

PatchCore (2106.08265): patches averaged over 3 x 3 neighbours, mid-level layers joined, a greedy
k-centre coreset of them, the Euclidean distance to the nearest entry, and an image score that is
the largest distance re-weighted by the neighbourhood of the entry (equation 7). The default
encoder is EfficientNet-Lite0, where the paper takes WideResNet-50 at the same strides, 8 and 16.
Every patch of every reference is held while fitting: 0.6 MB a picture at 256 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from blemish.calibration import Calibration
from blemish.detectors import _saved
from blemish.detectors._concatenated import (
    ConcatenatedOptions,
    Descriptors,
    grid_of,
    joined,
    nearest,
)
from blemish.detectors._maps import Judged, working_map
from blemish.detectors._memory import coreset
from blemish.detectors._patches import PatchDetector
from blemish.types import AnomalyMap, Features, Sample

POOLING = 3
"""Side of the neighbourhood p that a patch is averaged over (section 3.1)."""
NEIGHBOURS = 9
"""Bank entries b in the neighbourhood of an entry, itself included, as in the published code."""
MOST = 10_000
"""Entries that a coreset keeps at most: the search for them takes half a minute."""


class PatchCoreOptions(ConcatenatedOptions):
    """Options of `patchcore`.

    Attributes:
        coreset: share of the references' patches that the bank keeps, at most 10 000 of them; 1
            keeps every patch.
    """

    coreset: float = Field(0.1, gt=0, le=1)


@dataclass(frozen=True, eq=False)
class _Bank:
    """The coreset.

    Attributes:
        references: id and content hash of each.
        tokens: (N, D) float32 descriptors.
        owner: (N,) int32, the reference that each came from.
    """

    references: list[dict[str, str]]
    tokens: Descriptors
    owner: NDArray[np.int32]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """See `blemish.detectors._encoder.Memory`."""
        return {"tokens": self.tokens, "owner": self.owner}


@dataclass(frozen=True, eq=False)
class _Found:
    """What the bank says of one view: its map, its image score, the owner of the entry m*."""

    map: AnomalyMap
    score: float
    owner: int


class PatchCore(PatchDetector[PatchCoreOptions, _Bank]):
    """The detector. `blemish.load("patchcore")` builds it; see `EncoderDetector`.

    Calibrated on the references' own scores: the entries of each left out of the coreset in turn,
    or, where there is one only, on changed copies of itself.
    """

    name = "patchcore"
    too_few = (
        "patchcore compares a part with normal ones, and none came. Give at least one picture of "
        "a normal part (on the command line: --normal FILE_OR_FOLDER)."
    )

    def _learn(self, known: Sequence[Sample]) -> tuple[_Bank, Calibration]:
        encoded = self._see_all(known)
        each = [np.concatenate([self._tokens(f)[0] for f in views]) for views in encoded]
        tokens = np.concatenate(each)
        owner = np.repeat(np.arange(len(each), dtype=np.int32), [len(t) for t in each])
        if self.options.coreset < 1:
            keep = min(MOST, ceil(self.options.coreset * len(tokens)))
            # One patch of each reference at least: a bank remains whichever of them is left out.
            first = np.unique(owner, return_index=True)[1]
            chosen = coreset(tokens, keep, self.seed)
            missing = first[~np.isin(owner[first], owner[chosen])]
            chosen = np.sort(np.concatenate([chosen, missing]))
            tokens, owner = tokens[chosen], owner[chosen]
        bank = _Bank(_saved.described(known), tokens, owner)
        return bank, self._calibrated(known, encoded, self._with(bank, None)._score)

    def _remembered(
        self, references: list[dict[str, str]], arrays: Mapping[str, NDArray[Any]]
    ) -> _Bank:
        return _Bank(references, arrays["tokens"], arrays["owner"])

    def _judge(self, sample: Sample, features: list[Features]) -> Judged:
        assert self._memory is not None
        views = [self._compared(f) for f in features]
        worst = max(views, key=lambda v: v.score)
        maps = [v.map for v in views]
        evidence = {"nearest_reference": self._memory.references[worst.owner]["id"]}
        return Judged(maps, self.options.image_score(maps, worst.score), evidence)

    def _score(self, views: Sequence[Features], without: int | None = None) -> float:
        found = [self._compared(f, without) for f in views]
        return self.options.image_score([v.map for v in found], max(v.score for v in found))

    def _compared(self, features: Features, without: int | None = None) -> _Found:
        assert self._memory is not None
        bank, owner = self._memory.tokens, self._memory.owner
        if without is not None:
            bank, owner = bank[owner != without], owner[owner != without]
        tokens, grid = self._tokens(features)
        distances, entries = nearest(tokens, bank)
        patch = int(distances.argmax())
        entry = int(entries[patch])
        score = float(distances[patch]) * reweighted(tokens[patch], bank, entry)
        smooth = working_map([distances.reshape(grid)], self.options.sigma)
        return _Found(smooth, score, int(owner[entry]))

    def _tokens(self, features: Features) -> tuple[Descriptors, tuple[int, int]]:
        grid = grid_of(features, self._layers)
        return joined(features, self._layers, grid, POOLING), grid


def reweighted(patch: NDArray[np.float32], bank: Descriptors, entry: int) -> float:
    """The factor of equation 7: higher where the patch's entry is one of few like it.

    1 - exp |patch - m*| / sum of exp |patch - m| over the 9 entries m nearest to m*, itself
    included; 1 where the bank has no other entry than m*.

    Args:
        patch: (D,) float32, the patch farthest from the bank.
        bank: (N, D) float32.
        entry: row of m*, the entry nearest to the patch.
    """
    if len(bank) == 1:
        return 1.0
    around = np.linalg.norm(bank - bank[entry], axis=1)
    near = np.argsort(around, kind="stable")[:NEIGHBOURS]
    away = np.linalg.norm(bank[near].astype(np.float64) - patch, axis=1)
    shares = np.exp(away - away.max())
    return float(1 - shares[0] / shares.sum())
