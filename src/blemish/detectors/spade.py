"""SPADE: correspondences with the normal pictures that are most alike as a whole.

SPADE (2005.02357): the K normal pictures whose global feature is nearest; the image score is the
mean distance to them, and a position's the distance to the nearest of all positions of those
pictures, over descriptors of joined layers. The global feature is the encoder's class token: for
a CNN the mean over the deepest layer asked for, where the paper pools the layer before the
classifier. The default encoder is EfficientNet-Lite0, where the paper takes WideResNet-50. Every
patch of every reference is kept: 0.5 MB a picture at 224 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from blemish.detectors._patches import PatchDetector
from blemish.types import AnomalyMap, Features, Sample

NAMED = 5
"""Nearest references that the evidence names."""


class SpadeOptions(ConcatenatedOptions):
    """Options of `spade`. The size is the paper's: a larger one costs image AUROC on made-up parts.

    Attributes:
        neighbours: normal pictures K, the most alike as a whole, that a part is compared with;
            all of them where there are fewer.
    """

    size: int | None = Field(224, ge=14, le=4096)
    neighbours: int = Field(50, ge=1)


@dataclass(frozen=True, eq=False)
class _Pictures:
    """Every view of every reference.

    Attributes:
        references: id and content hash of each sample.
        owner: (P,) int32, the sample that each picture shows.
        class_tokens: (P, C) float32, their global features.
        tokens: the descriptors of each picture, (n, D) float32.
    """

    references: list[dict[str, str]]
    owner: NDArray[np.int32]
    class_tokens: NDArray[np.float32]
    tokens: list[Descriptors]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """See `blemish.detectors._encoder.Memory`."""
        return {
            "owner": self.owner,
            "class_tokens": self.class_tokens,
            "tokens": np.concatenate(self.tokens),
            "positions": np.array([len(t) for t in self.tokens], np.int64),
        }


@dataclass(frozen=True, eq=False)
class _Found:
    """What the pictures say of one view: map, image score, and samples from the most alike on."""

    map: AnomalyMap
    score: float
    owners: NDArray[np.int32]


class Spade(PatchDetector[SpadeOptions, _Pictures]):
    """The detector. `blemish.load("spade")` builds it; see `EncoderDetector`.

    Calibrated on the references' own scores: each left out in turn, or, where there is one only,
    on changed copies of itself.
    """

    name = "spade"
    too_few = (
        "spade compares a part with normal ones, and none came. Give at least one picture of a "
        "normal part (on the command line: --normal FILE_OR_FOLDER)."
    )

    def _learn(self, known: Sequence[Sample]) -> tuple[_Pictures, Calibration]:
        encoded = self._see_all(known)
        pictures = _Pictures(
            _saved.described(known),
            np.repeat(np.arange(len(known), dtype=np.int32), [len(v) for v in encoded]),
            np.stack([f.class_token for views in encoded for f in views]),
            [self._tokens(f)[0] for views in encoded for f in views],
        )
        return pictures, self._calibrated(known, encoded, self._with(pictures, None)._score)

    def _remembered(
        self, references: list[dict[str, str]], arrays: Mapping[str, NDArray[Any]]
    ) -> _Pictures:
        tokens = np.split(arrays["tokens"], np.cumsum(arrays["positions"])[:-1])
        return _Pictures(references, arrays["owner"], arrays["class_tokens"], tokens)

    def _judge(self, sample: Sample, features: list[Features]) -> Judged:
        assert self._memory is not None
        views = [self._compared(f) for f in features]
        worst = max(views, key=lambda v: v.score)
        maps = [v.map for v in views]
        owners = list(dict.fromkeys(worst.owners.tolist()))[:NAMED]
        evidence = {"nearest_references": [self._memory.references[i]["id"] for i in owners]}
        return Judged(maps, self.options.image_score(maps, worst.score), evidence)

    def _score(self, views: Sequence[Features], without: int | None = None) -> float:
        found = [self._compared(f, without) for f in views]
        return self.options.image_score([v.map for v in found], max(v.score for v in found))

    def _compared(self, features: Features, without: int | None = None) -> _Found:
        assert self._memory is not None
        known = self._memory
        away = np.linalg.norm(known.class_tokens - features.class_token, axis=1)
        if without is not None:
            away[known.owner == without] = np.inf
        alike = np.argsort(away, kind="stable")[: self.options.neighbours]
        alike = alike[np.isfinite(away[alike])]
        tokens, grid = self._tokens(features)
        # The nearest of the whole gallery, one picture after the other to bound the memory.
        distances = np.min([nearest(tokens, known.tokens[i])[0] for i in alike], axis=0)
        smooth = working_map([distances.reshape(grid)], self.options.sigma)
        return _Found(smooth, float(away[alike].mean()), known.owner[alike])

    def _tokens(self, features: Features) -> tuple[Descriptors, tuple[int, int]]:
        grid = grid_of(features, self._layers)
        return joined(features, self._layers, grid), grid
