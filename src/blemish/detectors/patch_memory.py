"""Few-shot detection with a memory bank of normal patches.

AnomalyGPT (2308.15366), equation 2: for each layer, a patch scores 1 - max cosine similarity to
the patches of the normal references; the layers' maps are upsampled and combined. The equation
sums the layers; its published code averages them, as here, so that the map stays in the range of
one distance. The options are what later work found to help; `docs/measurements.md` has the effect
of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from blemish.calibration import FALSE_ALARMS, Calibration
from blemish.detectors import _augment, _saved
from blemish.detectors._maps import (
    Judged,
    finite,
    image_score,
    inspect_all,
    with_own_references,
    working_map,
)
from blemish.detectors._memory import (
    MemoryBank,
    bank_of,
    load_banks,
    neighbourhood_mean,
    normalised,
    save_banks,
)
from blemish.errors import ReferencesError
from blemish.types import AnomalyMap, Encoder, Example, Features, Image, Inspection, Sample


class PatchMemoryOptions(BaseModel):
    """Options of `patch-memory`. Defaults were chosen on procedural parts.

    Attributes:
        size: side in pixels of the square whose area the encoder's input keeps; the encoder's
            own default where None.
        layers: encoder layers, from 1; the encoder's own default where None.
        augment: further views of each reference in the bank: none; "flips", mirrored both ways;
            "rotations", turned by quarters; "both", all eight. For parts that may lie any way.
        foreground: leave out patches of the background where one can be told apart.
        pooling: average each patch token over this many patches squared; odd.
        sigma: Gaussian smoothing of the map, in hundredths of its side; 0 for none.
        coreset: most patches a layer's bank keeps, by greedy k-centre; 0 for no limit.
        top: the image score is the mean over this share of the map's highest pixels.
        false_alarms: share of normal parts that may score above the operating point.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int | None = Field(None, ge=14, le=4096)
    layers: tuple[int, ...] | None = None
    augment: Literal["none", "flips", "rotations", "both"] = "none"
    foreground: bool = False
    pooling: Literal[1, 3, 5, 7] = 1
    sigma: float = Field(1.5, ge=0, le=20)
    coreset: int = Field(4096, ge=0)
    top: float = Field(0.003, gt=0, le=1)
    false_alarms: float = Field(FALSE_ALARMS, gt=0, le=0.5)


@dataclass(frozen=True, eq=False)
class _Fitted:
    """What `fit` learns."""

    banks: Mapping[int, MemoryBank]
    background: _augment.Background | None
    references: list[dict[str, str]]


class PatchMemory:
    """The detector. `blemish.load("patch-memory")` builds it.

    Args:
        encoder: gives the patch tokens.
        options: see `PatchMemoryOptions`.
        seed: of the coreset.
        fitted: state of a fitted detector, for `fit` and `restore`.
        calibration: its operating point.
    """

    name = "patch-memory"

    def __init__(
        self,
        *,
        encoder: Encoder,
        options: PatchMemoryOptions,
        seed: int = 0,
        fitted: _Fitted | None = None,
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
        """Id and content hash of each normal sample in the bank."""
        return list(self._fitted.references) if self._fitted else []

    def fit(self, normals: Sequence[Sample], feedback: Sequence[Example] = ()) -> Self:
        """Learn what normal looks like.

        Args:
            normals: at least one normal sample; all their views go into the bank.
            feedback: parts that a person judged: those labelled normal join the bank, anomalous
                ones stay out of it.

        Returns:
            A fitted detector, calibrated on the references' own scores: each left out of the
            bank in turn, or, where there is one only, on changed copies of itself.

        Raises:
            ReferencesError: no normal sample.
        """
        known = _saved.distinct([*normals, *(f.sample for f in feedback if f.label == "normal")])
        if not known:
            raise ReferencesError(
                "patch-memory compares a part with normal ones, and none came. Give at least one "
                "picture of a normal part (on the command line: --normal FILE_OR_FOLDER)."
            )
        # Every view of every reference, turned as asked; the unturned one comes first.
        turned = [[_augment.turned(v, self.options.augment) for v in s.images] for s in known]
        features = iter(self._encode([v for views in turned for some in views for v in some]))
        encoded = [[[next(features) for _ in some] for some in views] for views in turned]
        banks = {
            layer: bank_of([self._tokens_of(views, layer) for views in encoded])
            for layer in self._layers
        }
        if self.options.coreset:
            banks = {k: b.thinned(self.options.coreset, self.seed) for k, b in banks.items()}
        shown = [[some[0] for some in views] for views in encoded]
        background = None
        if self.options.foreground:
            background = _augment.Background.learn([f for views in shown for f in views])
        fitted = self._with(_Fitted(banks, background, _saved.described(known)), None)
        return fitted.with_calibration(fitted._calibrate(known, shown))

    def _calibrate(
        self, known: Sequence[Sample], features: Sequence[list[Features]]
    ) -> Calibration:
        """Learn the operating point from the references' own scores."""
        target = self.options.false_alarms
        if len(known) > 1:
            scores = [self._score(f, without=i) for i, f in enumerate(features)]
            rule = f"scores of {len(known)} references, each left out of the bank in turn"
            return Calibration.from_normals(scores, false_alarms=target, rule=rule)
        views = known[0].images
        copies = [c for view in views for c in _augment.changed_copies(view, self.seed)]
        scores = [self._score([f]) for f in self._encode(copies)]
        rule = f"scores of {len(copies)} changed copies of the one reference"
        return Calibration.from_copies(scores, false_alarms=target, rule=rule)

    def predict(self, samples: Sequence[Sample]) -> list[Inspection]:
        """Inspect samples; see `blemish.types.Detector`.

        Args:
            samples: of any sizes. A sample with references of its own is judged by these.

        Raises:
            ReferencesError: the detector has not been fitted, and a sample has no references.
        """
        return with_own_references(samples, self, self._predict)

    def _predict(self, samples: Sequence[Sample]) -> list[Inspection]:
        if not samples:
            return []
        if self._fitted is None or self.calibration is None:
            raise ReferencesError(
                "patch-memory has no normal parts to compare with. Call "
                "detector = detector.fit(normal_samples) first, or give the sample references."
            )
        return inspect_all(
            samples, encode=self._encode, judge=self._judge, calibration=self.calibration
        )

    def _judge(self, sample: Sample, features: list[Features]) -> Judged:
        maps = [self._map(f) for f in features]
        nearest = self._nearest_reference(features, maps)
        return Judged(maps, image_score(maps, self.options.top), {"nearest_reference": nearest})

    def _encode(self, images: Sequence[Image]) -> list[Features]:
        return finite(self.encoder.encode(images, layers=self._layers, size=self._size))

    def _map(self, features: Features, without: int | None = None) -> AnomalyMap:
        """Equation 2 for one view, at the working scale."""
        assert self._fitted is not None
        tokens = self._tokens(features)
        layers = []
        for layer in self._layers:
            grid = features.patches[layer].shape[:2]
            layers.append(self._fitted.banks[layer].distance(tokens[layer], without).reshape(grid))
        if self._fitted.background is not None:
            layers = self._fitted.background.silence(layers, features)
        return working_map(layers, self.options.sigma)

    def _score(self, views: Sequence[Features], without: int | None = None) -> float:
        return image_score([self._map(f, without) for f in views], self.options.top)

    def _nearest_reference(self, features: list[Features], maps: list[AnomalyMap]) -> str:
        """The reference that owns the best match of the most anomalous patch."""
        assert self._fitted is not None
        view = int(np.argmax([m.max() for m in maps]))
        layer = self._layers[-1]
        patches = features[view].patches[layer]
        h, w = patches.shape[:2]
        y, x = np.unravel_index(int(maps[view].argmax()), maps[view].shape)
        row = int(y * h // maps[view].shape[0]) * w + int(x * w // maps[view].shape[1])
        bank = self._fitted.banks[layer]
        best = int((bank.tokens @ self._tokens(features[view])[layer][row]).argmax())
        return self._fitted.references[int(bank.owner[best])]["id"]

    def _tokens(self, features: Features) -> dict[int, NDArray[np.float32]]:
        pooling = self.options.pooling
        return {
            k: normalised(neighbourhood_mean(features.patches[k], pooling)) for k in self._layers
        }

    def _tokens_of(self, views: Sequence[Sequence[Features]], layer: int) -> NDArray[np.float32]:
        """(n, D): one layer's tokens of all views of one reference."""
        return np.concatenate([self._tokens(f)[layer] for some in views for f in some])

    def _with(self, fitted: _Fitted | None, calibration: Calibration | None) -> Self:
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
            raise ReferencesError(
                "patch-memory can be saved once it has been fitted; call fit first."
            )
        arrays = save_banks(self._fitted.banks)
        if self._fitted.background is not None:
            arrays |= self._fitted.background.arrays()
        header = _saved.header(self, self.options.model_dump(mode="json"))
        _saved.write(Path(folder), header, arrays)

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The fitted detector that `save` wrote, with this one's encoder and options."""
        background = _augment.Background.from_arrays(arrays) if self.options.foreground else None
        fitted = _Fitted(load_banks(arrays), background, list(header["references"]))
        return self._with(fitted, Calibration.from_json(header["calibration"]))
