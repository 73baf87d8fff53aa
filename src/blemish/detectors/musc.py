"""Mutual scoring: the unlabelled pictures of one folder are judged against each other.

MuSc (2401.16753). Normal patches find like patches in most other pictures, anomalous ones in few:
a patch scores the mean of the lowest 30 % of its distances to the nearest patch of each other
picture, averaged over neighbourhood sizes (LNAMD) and layers. Distances are 1 - cosine here, so
that maps share the range of `patch_memory`. The detector fits on the folder, or on a seeded part
of a large one, and leaves a sample's own picture out when it predicts, so that batches and resumed
runs agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from blemish.calibration import Calibration
from blemish.detectors import _saved
from blemish.detectors._maps import Judged, image_score, working_map
from blemish.detectors._memory import bank_of, neighbourhood_mean, normalised
from blemish.detectors._patches import PatchDetector, PatchOptions
from blemish.types import AnomalyMap, Features, Sample

FEWEST = 8
"""Pictures below which mutual scoring has nothing to stand on."""
LOWEST = 0.3
"""Share of the other pictures, the most alike ones, whose distances count (section 3.3)."""


class MuScOptions(PatchOptions):
    """Options of `musc`.

    Size, layers, sigma and top are those of `patch-memory`, chosen there. The paper compares every
    picture, over neighbourhoods 1, 3 and 5, and rescores; the defaults take fewer, to bear two
    cores, and what that costs is not measured yet (docs/measurements.md).

    Attributes:
        neighbourhoods: sizes r of the patch neighbourhoods that are averaged, odd (LNAMD).
        others: of a larger folder this many pictures and one more are drawn by the seed, so that
            each of them is compared with this many.
        rescoring: how many pictures with the most similar class token an image score is averaged
            with (RsCIN); 0 for none.
    """

    neighbourhoods: tuple[Literal[1, 3, 5, 7], ...] = Field((1, 3), min_length=1)
    others: int = Field(32, ge=FEWEST - 1)
    rescoring: int = Field(0, ge=0)


@dataclass(frozen=True, eq=False)
class _Folder:
    """The pictures that others are compared with.

    Attributes:
        references: id and content hash of each.
        tokens: (layer, neighbourhood) to the tokens of each picture with all its views, (n, D),
            rows of length 1.
        class_tokens: (P, D) float32, rows of length 1.
        scores: (P,) float32 raw image score of each picture against the rest.
    """

    references: list[dict[str, str]]
    tokens: Mapping[tuple[int, int], list[NDArray[np.float32]]]
    class_tokens: NDArray[np.float32]
    scores: NDArray[np.float32]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """See `blemish.detectors._encoder.Memory`."""
        arrays: dict[str, NDArray[np.generic]] = {
            "class_tokens": self.class_tokens,
            "scores": self.scores,
        }
        for (layer, r), pictures in self.tokens.items():
            bank = bank_of(pictures)
            arrays[f"tokens.{layer}.{r}"] = bank.tokens
            arrays[f"owner.{layer}.{r}"] = bank.owner
        return arrays


class MuSc(PatchDetector[MuScOptions, _Folder]):
    """The detector. `blemish.load("musc")` builds it; see `EncoderDetector`.

    Fits on the unlabelled pictures of a folder, most of them normal. A sample with references of
    its own is judged against these in place of the folder.
    """

    name = "musc"
    fewest = FEWEST
    too_few = (
        "musc judges the pictures of a folder against each other and needs at least "
        f"{FEWEST}; {{count}} came. Add pictures of the same kind of part, or give normal ones "
        "as references to patch-memory (on the command line: --normal)."
    )

    @property
    def most(self) -> int:
        """Pictures that `fit` takes; of more it draws this many by the seed."""
        return self.options.others + 1

    def _learn(self, known: Sequence[Sample]) -> tuple[_Folder, Calibration]:
        drawn = list(known)
        if len(known) > self.most:
            order = np.random.default_rng(self.seed).permutation(len(known))
            drawn = [known[i] for i in np.sort(order[: self.most])]
        views = self._see_all(drawn)
        each = [[self._tokens(f) for f in seen] for seen in views]
        tokens = {
            key: [np.concatenate([rows[key] for rows in seen]) for seen in each]
            for key in each[0][0]
        }
        class_tokens = normalised(np.stack([seen[0].class_token for seen in views])[None])
        none = np.zeros(len(drawn), np.float32)
        folder = _Folder(_saved.described(drawn), tokens, class_tokens, none)
        unscored = self._with(folder, None)
        scores = [unscored._score(seen, without=i) for i, seen in enumerate(views)]
        folder = replace(folder, scores=np.array(scores, np.float32))
        fitted = self._with(folder, None)
        rescored = [fitted._rescored(s, class_tokens[i], i) for i, s in enumerate(scores)]
        rule = (
            f"median and lower spread of {len(drawn)} unlabelled pictures, each judged against "
            "the others; holds while most of them are normal"
        )
        target = self.options.false_alarms
        return folder, Calibration.from_mixed(rescored, false_alarms=target, rule=rule)

    def _remembered(
        self, references: list[dict[str, str]], arrays: Mapping[str, NDArray[Any]]
    ) -> _Folder:
        tokens: dict[tuple[int, int], list[NDArray[np.float32]]] = {}
        for layer in self._layers:
            for r in self.options.neighbourhoods:
                owner = arrays[f"owner.{layer}.{r}"]
                cuts = np.flatnonzero(np.diff(owner)) + 1
                tokens[layer, r] = np.split(arrays[f"tokens.{layer}.{r}"], cuts)
        return _Folder(references, tokens, arrays["class_tokens"], arrays["scores"])

    def _judge(self, sample: Sample, features: list[Features]) -> Judged:
        known = _saved.content(sample)
        hashes = [r["sha256"] for r in self.references]
        own = hashes.index(known) if known in hashes else None
        maps = [self._map(f, own) for f in features]
        token = normalised(features[0].class_token[None, None])[0]
        raw = self._rescored(image_score(maps, self.options.top), token, own)
        return Judged(maps, raw, {"compared_with": len(hashes) - (own is not None)})

    def _map(self, features: Features, without: int | None) -> AnomalyMap:
        """Mutual scores of one view, averaged over neighbourhoods and layers."""
        assert self._memory is not None
        layers = []
        for (layer, r), rows in self._tokens(features).items():
            others = [t for i, t in enumerate(self._memory.tokens[layer, r]) if i != without]
            grid = features.patches[layer].shape[:2]
            layers.append(mutual_score(rows, others).reshape(grid))
        return working_map(layers, self.options.sigma)

    def _rescored(self, score: float, token: NDArray[np.float32], own: int | None) -> float:
        """RsCIN: the image score averaged with those of the pictures most like it as a whole."""
        assert self._memory is not None
        if not self.options.rescoring:
            return score
        likeness = self._memory.class_tokens @ token
        if own is not None:
            likeness[own] = -np.inf
        near = np.argsort(-likeness, kind="stable")[: self.options.rescoring]
        weights = np.r_[1.0, likeness[near]]
        return float(np.average(np.r_[score, self._memory.scores[near]], weights=weights))

    def _tokens(self, features: Features) -> dict[tuple[int, int], NDArray[np.float32]]:
        return {
            (k, r): normalised(neighbourhood_mean(features.patches[k], r))
            for k in self._layers
            for r in self.options.neighbourhoods
        }

    def _score(self, views: Sequence[Features], without: int) -> float:
        return image_score([self._map(f, without) for f in views], self.options.top)


def mutual_score(
    queries: NDArray[np.float32], others: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Mean of the lowest 30 % of each patch's distances to the other pictures.

    Args:
        queries: (Q, D) float32, rows of length 1.
        others: the tokens of each other picture, (n, D), rows of length 1; at least one picture.

    Returns:
        (Q,) float32 in [0, 2]; the distance to a picture is 1 - cosine to its most similar patch.
    """
    nearest = np.stack([1 - (queries @ tokens.T).max(axis=1) for tokens in others])
    count = max(1, int(LOWEST * len(others)))
    return np.asarray(np.partition(nearest, count - 1, axis=0)[:count].mean(axis=0), np.float32)
