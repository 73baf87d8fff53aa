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
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from blemish.calibration import FALSE_ALARMS, Calibration
from blemish.detectors import _saved
from blemish.detectors._maps import (
    Judged,
    finite,
    image_score,
    inspect_all,
    with_own_references,
    working_map,
)
from blemish.detectors._memory import bank_of, neighbourhood_mean, normalised
from blemish.errors import ReferencesError
from blemish.types import AnomalyMap, Encoder, Example, Features, Image, Inspection, Sample

FEWEST = 8
"""Pictures below which mutual scoring has nothing to stand on."""
LOWEST = 0.3
"""Share of the other pictures, the most alike ones, whose distances count (section 3.3)."""


class MuScOptions(BaseModel):
    """Options of `musc`.

    Size, layers, sigma and top are those of `patch-memory`, chosen there. The paper compares every
    picture, over neighbourhoods 1, 3 and 5, and rescores; the defaults take fewer, to bear two
    cores, and what that costs is not measured yet (docs/measurements.md).

    Attributes:
        size: side in pixels of the square whose area the encoder's input keeps.
        layers: encoder layers, from 1.
        neighbourhoods: sizes r of the patch neighbourhoods that are averaged, odd (LNAMD).
        others: of a larger folder this many pictures and one more are drawn by the seed, so that
            each of them is compared with this many.
        rescoring: how many pictures with the most similar class token an image score is averaged
            with (RsCIN); 0 for none.
        sigma: Gaussian smoothing of the map, in hundredths of its side.
        top: the image score is the mean over this share of the map's highest pixels.
        false_alarms: share of normal parts that may score above the operating point.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int | None = Field(None, ge=14, le=4096)
    layers: tuple[int, ...] | None = None
    neighbourhoods: tuple[Literal[1, 3, 5, 7], ...] = Field((1, 3), min_length=1)
    others: int = Field(32, ge=FEWEST - 1)
    rescoring: int = Field(0, ge=0)
    sigma: float = Field(1.5, ge=0, le=20)
    top: float = Field(0.003, gt=0, le=1)
    false_alarms: float = Field(FALSE_ALARMS, gt=0, le=0.5)


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


class MuSc:
    """The detector. `blemish.load("musc")` builds it.

    Args:
        encoder: gives the patch tokens.
        options: see `MuScOptions`.
        seed: of the choice of pictures in a large folder.
        fitted: state of a fitted detector, for `fit` and `restore`.
        calibration: its operating point.
    """

    name = "musc"

    def __init__(
        self,
        *,
        encoder: Encoder,
        options: MuScOptions,
        seed: int = 0,
        fitted: _Folder | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.encoder = encoder
        self.options = options
        self.seed = seed
        self.calibration = calibration
        self._fitted = fitted
        self._layers = options.layers or encoder.default_layers
        self._size = options.size or encoder.default_size
        plain = options.model_dump(exclude={"false_alarms"})
        self.fingerprint = _saved.fingerprint(
            self.name, plain, encoder.fingerprint, seed, [r["sha256"] for r in self.references]
        )

    @property
    def references(self) -> list[dict[str, str]]:
        """Id and content hash of each picture that others are compared with."""
        return list(self._fitted.references) if self._fitted else []

    def fit(self, normals: Sequence[Sample], feedback: Sequence[Example] = ()) -> Self:
        """Take in the folder that is to be judged.

        Args:
            normals: the folder's pictures, unlabelled, most of them normal; at least 8.
            feedback: parts that a person judged normal join the folder; anomalous ones do not.

        Raises:
            ReferencesError: fewer than 8 pictures.
        """
        known = _saved.distinct([*normals, *(f.sample for f in feedback if f.label == "normal")])
        if len(known) < FEWEST:
            raise ReferencesError(
                f"musc judges the pictures of a folder against each other and needs at least "
                f"{FEWEST}; {len(known)} came. Add pictures of the same kind of part, or give "
                "normal ones as references to patch-memory (on the command line: --normal)."
            )
        drawn = known
        if len(known) > self.options.others + 1:
            order = np.random.default_rng(self.seed).permutation(len(known))
            drawn = [known[i] for i in np.sort(order[: self.options.others + 1])]
        features = iter(self._encode([v for s in drawn for v in s.images]))
        views = [[next(features) for _ in s.images] for s in drawn]
        each = [[self._tokens(f) for f in seen] for seen in views]
        tokens = {
            key: [np.concatenate([rows[key] for rows in seen]) for seen in each]
            for key in each[0][0]
        }
        class_tokens = normalised(np.stack([seen[0].class_token for seen in views])[None])
        none = np.zeros(len(drawn), np.float32)
        folder = _Folder(_saved.described(drawn), tokens, class_tokens, none)
        unscored = self._with(folder, None)
        scores = np.array(
            [
                image_score([unscored._map(f, without=i) for f in seen], self.options.top)
                for i, seen in enumerate(views)
            ],
            np.float32,
        )
        folder = replace(folder, scores=scores)
        fitted = self._with(folder, None)
        rescored = [fitted._rescored(float(s), class_tokens[i], i) for i, s in enumerate(scores)]
        rule = (
            f"median and lower spread of {len(drawn)} unlabelled pictures, each judged against "
            "the others; holds while most of them are normal"
        )
        return self._with(
            folder,
            Calibration.from_mixed(rescored, false_alarms=self.options.false_alarms, rule=rule),
        )

    def predict(self, samples: Sequence[Sample]) -> list[Inspection]:
        """Inspect samples; see `blemish.types.Detector`.

        A sample with references of its own is judged against these in place of the folder.

        Raises:
            ReferencesError: the detector has not been fitted.
        """
        return with_own_references(samples, self, self._predict)

    def _predict(self, samples: Sequence[Sample]) -> list[Inspection]:
        if not samples:
            return []
        if self._fitted is None or self.calibration is None:
            raise ReferencesError(
                "musc has not seen the folder yet. Call detector = detector.fit(samples) with all "
                "the pictures that belong together, then predict."
            )
        return inspect_all(
            samples, encode=self._encode, judge=self._judge, calibration=self.calibration
        )

    def _judge(self, sample: Sample, features: list[Features]) -> Judged:
        known = _saved.content(sample)
        hashes = [r["sha256"] for r in self.references]
        own = hashes.index(known) if known in hashes else None
        maps = [self._map(f, own) for f in features]
        token = normalised(features[0].class_token[None, None])[0]
        raw = self._rescored(image_score(maps, self.options.top), token, own)
        return Judged(maps, raw, {"compared_with": len(hashes) - (own is not None)})

    def _encode(self, images: Sequence[Image]) -> list[Features]:
        return finite(self.encoder.encode(images, layers=self._layers, size=self._size))

    def _map(self, features: Features, without: int | None) -> AnomalyMap:
        """Mutual scores of one view, averaged over neighbourhoods and layers."""
        assert self._fitted is not None
        layers = []
        for (layer, r), rows in self._tokens(features).items():
            others = [t for i, t in enumerate(self._fitted.tokens[layer, r]) if i != without]
            grid = features.patches[layer].shape[:2]
            layers.append(mutual_score(rows, others).reshape(grid))
        return working_map(layers, self.options.sigma)

    def _rescored(self, score: float, token: NDArray[np.float32], own: int | None) -> float:
        """RsCIN: the image score averaged with those of the pictures most like it as a whole."""
        assert self._fitted is not None
        if not self.options.rescoring:
            return score
        likeness = self._fitted.class_tokens @ token
        if own is not None:
            likeness[own] = -np.inf
        near = np.argsort(-likeness, kind="stable")[: self.options.rescoring]
        weights = np.r_[1.0, likeness[near]]
        return float(np.average(np.r_[score, self._fitted.scores[near]], weights=weights))

    def _tokens(self, features: Features) -> dict[tuple[int, int], NDArray[np.float32]]:
        return {
            (k, r): normalised(neighbourhood_mean(features.patches[k], r))
            for k in self._layers
            for r in self.options.neighbourhoods
        }

    def _with(self, fitted: _Folder | None, calibration: Calibration | None) -> Self:
        return type(self)(
            encoder=self.encoder,
            options=self.options,
            seed=self.seed,
            fitted=fitted,
            calibration=calibration,
        )

    def with_calibration(self, calibration: Calibration) -> Self:
        """See `blemish.types.Detector`."""
        return self._with(self._fitted, calibration)

    def save(self, folder: Path) -> None:
        """See `blemish.types.Detector`. Raises ReferencesError before the detector is fitted."""
        if self._fitted is None or self.calibration is None:
            raise ReferencesError("musc can be saved once it has been fitted; call fit first.")
        arrays: dict[str, NDArray[np.generic]] = {
            "class_tokens": self._fitted.class_tokens,
            "scores": self._fitted.scores,
        }
        for (layer, r), pictures in self._fitted.tokens.items():
            bank = bank_of(pictures)
            arrays[f"tokens.{layer}.{r}"] = bank.tokens
            arrays[f"owner.{layer}.{r}"] = bank.owner
        header = _saved.header(self, self.options.model_dump(mode="json"))
        _saved.write(Path(folder), header, arrays)

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The fitted detector that `save` wrote, with this one's encoder and options."""
        tokens: dict[tuple[int, int], list[NDArray[np.float32]]] = {}
        for layer in self._layers:
            for r in self.options.neighbourhoods:
                owner = arrays[f"owner.{layer}.{r}"]
                cuts = np.flatnonzero(np.diff(owner)) + 1
                tokens[layer, r] = np.split(arrays[f"tokens.{layer}.{r}"], cuts)
        folder = _Folder(
            list(header["references"]), tokens, arrays["class_tokens"], arrays["scores"]
        )
        return self._with(folder, Calibration.from_json(header["calibration"]))


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
