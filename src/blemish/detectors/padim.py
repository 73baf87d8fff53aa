"""PaDiM: a Gaussian of normal descriptors at each position.

PaDiM (2011.08785): layers joined, a random part of the channels, mean and covariance + 0.01 I of
the normal pictures at each position, and the Mahalanobis distance to them; the image score is the
map's highest pixel. Pictures must show the part in one place: all are compared on one grid, the
references' most common one, to which those of another aspect are resized. The covariance of one
reference is 0.01 I, so that the distance is ten times the Euclidean one; that of few is 0.01 in
every direction that they do not span. The default encoder is EfficientNet-Lite0, where the paper
takes ResNet-18; coarser layers are interpolated, where the paper repeats them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from blemish.calibration import Calibration
from blemish.detectors import _saved
from blemish.detectors._concatenated import ConcatenatedOptions, Descriptors, grid_of, joined
from blemish.detectors._maps import Judged, working_map
from blemish.detectors._patches import PatchDetector
from blemish.types import AnomalyMap, Features, Sample

RIDGE = 0.01
"""Added to the diagonal of each covariance (section 3.2)."""
_POSITIONS = 256  # whose covariances are held at a time: 20 MB of 100 channels
Array = NDArray[np.float64]


class PaDiMOptions(ConcatenatedOptions):
    """Options of `padim`.

    Attributes:
        channels: how many of the joined layers' channels, drawn by the seed, make a descriptor;
            all where there are fewer. Memory grows with its square.
    """

    channels: int = Field(100, ge=1)


@dataclass(frozen=True, eq=False)
class _Gaussians:
    """One Gaussian a position.

    Attributes:
        references: id and content hash of each sample.
        grid: (2,) rows and columns of positions.
        channels: (D,) which of the joined channels take part, ascending.
        mean: (P, D) float32, row by row.
        whitening: (P, D, D) float32; the length of whitening @ (x - mean) is the Mahalanobis
            distance of x.
    """

    references: list[dict[str, str]]
    grid: NDArray[np.int64]
    channels: NDArray[np.int64]
    mean: NDArray[np.float32]
    whitening: NDArray[np.float32]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """See `blemish.detectors._encoder.Memory`."""
        return {k: v for k, v in vars(self).items() if k != "references"}


class PaDiM(PatchDetector[PaDiMOptions, _Gaussians]):
    """The detector. `blemish.load("padim")` builds it; see `EncoderDetector`.

    Calibrated on the references' own scores, each against the Gaussians of the others, or, where
    there is one only, on changed copies of itself.
    """

    name = "padim"
    too_few = (
        "padim learns from normal parts, and none came. Give at least one picture of a normal "
        "part, better thirty (on the command line: --normal FILE_OR_FOLDER)."
    )

    def _learn(self, known: Sequence[Sample]) -> tuple[_Gaussians, Calibration]:
        encoded = self._see_all(known)
        grids = Counter(grid_of(f, self._layers) for views in encoded for f in views)
        grid = max(grids, key=lambda g: (grids[g], g))
        width = sum(encoded[0][0].patches[k].shape[-1] for k in self._layers)
        drawn = np.random.default_rng(self.seed).permutation(width)[: self.options.channels]
        channels = np.sort(drawn)
        each = [[self._tokens(f, grid)[:, channels] for f in views] for views in encoded]
        tokens = np.stack([t for views in each for t in views])
        owner = np.repeat(np.arange(len(each)), [len(views) for views in each])
        positions, depth = tokens.shape[1:]
        mean = np.empty((positions, depth), np.float32)
        whitening = np.empty((positions, depth, depth), np.float32)
        left_out = np.zeros(tokens.shape[:2], np.float32)
        for start in range(0, positions, _POSITIONS):
            block = slice(start, start + _POSITIONS)
            some = tokens[:, block].transpose(1, 0, 2).astype(np.float64)
            mean[block], whitening[block] = gaussians(some)
            if len(known) > 1:
                left_out[:, block] = left_out_distances(some, owner).T
        memory = _Gaussians(_saved.described(known), np.array(grid), channels, mean, whitening)
        fitted = self._with(memory, None)

        def score(views: Sequence[Features], without: int | None) -> float:
            if without is None:
                return fitted._score([fitted._map(f) for f in views])
            return fitted._score([fitted._smooth(d) for d in left_out[owner == without]])

        return memory, self._calibrated(known, encoded, score)

    def _remembered(
        self, references: list[dict[str, str]], arrays: Mapping[str, NDArray[Any]]
    ) -> _Gaussians:
        return _Gaussians(references, **arrays)

    def _judge(self, sample: Sample, features: list[Features]) -> Judged:
        assert self._memory is not None
        maps = [self._map(f) for f in features]
        rows, columns = self._memory.grid.tolist()
        evidence = {"grid": [rows, columns], "references": len(self._memory.references)}
        return Judged(maps, self._score(maps), evidence)

    def _map(self, features: Features) -> AnomalyMap:
        assert self._memory is not None
        known = self._memory
        rows, columns = known.grid.tolist()
        away = self._tokens(features, (rows, columns))[:, known.channels] - known.mean
        white = np.matmul(known.whitening, away[..., None])[..., 0]
        return self._smooth(np.linalg.norm(white, axis=1))

    def _smooth(self, distances: NDArray[np.float32]) -> AnomalyMap:
        assert self._memory is not None
        return working_map([distances.reshape(self._memory.grid)], self.options.sigma)

    def _score(self, maps: Sequence[AnomalyMap]) -> float:
        return self.options.image_score(maps, max(float(m.max()) for m in maps))

    def _tokens(self, features: Features, grid: tuple[int, int]) -> Descriptors:
        return joined(features, self._layers, grid)


def gaussians(tokens: Array) -> tuple[Array, Array]:
    """Mean and whitening of each position's Gaussian.

    Args:
        tokens: (P, n, D) float64, n pictures at P positions.

    Returns:
        (P, D) and (P, D, D), lower triangles.
    """
    mean = tokens.mean(axis=1)
    scatter = _scatter(tokens - mean[:, None])
    return mean, _whitening(scatter, max(tokens.shape[1] - 1, 1))


def left_out_distances(tokens: Array, owner: NDArray[np.int64]) -> Array:
    """Mahalanobis distance of each picture to the Gaussians of all samples but its own.

    Nothing is fitted anew. With scatter S of n pictures about their mean, deviations Z (v, D) of
    the v pictures of one sample and m = n - v, the others' scatter is S - Z'CZ and a picture's
    deviation from their mean a row of CZ, where C = I + 1/m. With f = max(m - 1, 1) pictures to
    divide by and K = Z (S + 0.01 f I)^-1 Z', the squared distances are the diagonal of
    f C (I - KC)^-1 K C (Woodbury), so that one inverse serves all samples of v views.

    Args:
        tokens: (P, n, D) float64, n pictures at P positions.
        owner: (n,) the sample that each picture shows, two samples at least.

    Returns:
        (P, n) float64.
    """
    deviations = tokens - tokens.mean(axis=1, keepdims=True)
    scatter = _scatter(deviations)
    result = np.empty(tokens.shape[:2])
    samples, counts = np.unique(owner, return_counts=True)
    for views in np.unique(counts):
        rest = len(owner) - int(views)
        free = max(rest - 1, 1)
        white = np.matmul(deviations, _whitening(scatter, free).transpose(0, 2, 1)) / free**0.5
        c = np.eye(views) + 1 / rest
        for sample in samples[counts == views]:
            own = white[:, owner == sample]
            k = np.matmul(own, own.transpose(0, 2, 1))
            squared = free * (c @ np.linalg.solve(np.eye(views) - k @ c, k @ c))
            squared = np.diagonal(squared, axis1=1, axis2=2)
            result[:, owner == sample] = np.sqrt(np.maximum(squared, 0))
    return result


def _scatter(deviations: Array) -> Array:
    """(P, D, D) sums of outer products of (P, n, D)."""
    return np.asarray(np.matmul(deviations.transpose(0, 2, 1), deviations))


def _whitening(scatter: Array, free: int) -> Array:
    """(P, D, D): W with W'W the inverse of scatter / free + 0.01 I."""
    covariance = scatter / free + RIDGE * np.eye(scatter.shape[-1])
    return np.linalg.inv(np.linalg.cholesky(covariance))
