"""Few-shot maps from a memory bank of normal patches: what the detectors that have one share.

AnomalyGPT (2308.15366), equation 2: for each layer, a patch scores 1 - max cosine similarity to
the patches of the normal references; the layers' maps are upsampled and combined. The equation
sums the layers; its published code averages them, as here, so that the map stays in the range of
one distance. The options are what later work found to help; `docs/measurements.md` has the effect
of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from blemish.calibration import Calibration
from blemish.detectors import _augment, _saved
from blemish.detectors._maps import Judged, image_score, working_map
from blemish.detectors._memory import (
    MemoryBank,
    bank_of,
    load_banks,
    neighbourhood_mean,
    normalised,
    save_banks,
)
from blemish.detectors._patches import PatchDetector, PatchOptions
from blemish.types import AnomalyMap, Features, Sample


class BankOptions(PatchOptions):
    """Options of a memory bank of patches. Defaults were chosen on procedural parts.

    Attributes:
        augment: further views of each reference in the bank: none; "flips", mirrored both ways;
            "rotations", turned by quarters; "both", all eight. For parts that may lie any way.
        foreground: leave out patches of the background where one can be told apart.
        pooling: average each patch token over this many patches squared; odd.
        coreset: most patches a layer's bank keeps, by greedy k-centre; 0 for no limit.
    """

    augment: Literal["none", "flips", "rotations", "both"] = "flips"
    foreground: bool = False
    pooling: Literal[1, 3, 5, 7] = 1
    coreset: int = Field(2048, ge=0)


@dataclass(frozen=True, eq=False)
class Banks:
    """A bank a layer, what tells part from background, and where the banks come from."""

    banks: Mapping[int, MemoryBank]
    background: _augment.Background | None
    references: list[dict[str, str]]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """See `blemish.detectors._encoder.Memory`."""
        background = self.background.arrays() if self.background else {}
        return save_banks(self.banks) | background


Options = TypeVar("Options", bound=BankOptions)


class BankDetector(PatchDetector[Options, Banks]):
    """A detector with a memory bank of patches; see `EncoderDetector`.

    Calibrated on the references' own scores: each left out of the bank in turn, or, where there
    is one only, on changed copies of itself.
    """

    def _learn(self, known: Sequence[Sample]) -> tuple[Banks, Calibration]:
        # Every view of every reference, turned as asked; the unturned one comes first.
        turned = [[_augment.turned(v, self.options.augment) for v in s.images] for s in known]
        features = iter(self._see([v for views in turned for some in views for v in some]))
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
        memory = Banks(banks, background, _saved.described(known))
        return memory, self._calibrated(known, shown, self._with(memory, None)._score)

    def _remembered(
        self, references: list[dict[str, str]], arrays: Mapping[str, NDArray[Any]]
    ) -> Banks:
        background = _augment.Background.from_arrays(arrays) if self.options.foreground else None
        return Banks(load_banks(arrays), background, references)

    def _judge(self, sample: Sample, features: list[Features]) -> Judged:
        return self._judged([self._distances(f) for f in features], features)

    def _judged(self, layered: Sequence[Sequence[AnomalyMap]], features: list[Features]) -> Judged:
        """What follows from the distances of each view in each layer."""
        maps = [working_map(layers, self.options.sigma) for layers in layered]
        nearest = self._nearest_reference(features, maps)
        return Judged(maps, image_score(maps, self.options.top), {"nearest_reference": nearest})

    def _distances(self, features: Features, without: int | None = None) -> list[AnomalyMap]:
        """The summands of equation 2 for one view: (h, w) of each layer, whose grids may differ."""
        assert self._memory is not None
        tokens = self._tokens(features)
        layers = []
        for layer in self._layers:
            grid = features.patches[layer].shape[:2]
            layers.append(self._memory.banks[layer].distance(tokens[layer], without).reshape(grid))
        if self._memory.background is not None:
            layers = self._memory.background.silence(layers, features)
        return layers

    def _score(self, views: Sequence[Features], without: int | None = None) -> float:
        layered = [self._distances(f, without) for f in views]
        maps = [working_map(layers, self.options.sigma) for layers in layered]
        return image_score(maps, self.options.top)

    def _nearest_reference(self, features: list[Features], maps: list[AnomalyMap]) -> str:
        """The reference that owns the best match of the most anomalous patch."""
        assert self._memory is not None
        view = int(np.argmax([m.max() for m in maps]))
        layer = self._layers[-1]
        patches = features[view].patches[layer]
        h, w = patches.shape[:2]
        y, x = np.unravel_index(int(maps[view].argmax()), maps[view].shape)
        row = int(y * h // maps[view].shape[0]) * w + int(x * w // maps[view].shape[1])
        bank = self._memory.banks[layer]
        best = int((bank.tokens @ self._tokens(features[view])[layer][row]).argmax())
        return self._memory.references[int(bank.owner[best])]["id"]

    def _tokens(self, features: Features) -> dict[int, NDArray[np.float32]]:
        pooling = self.options.pooling
        return {
            k: normalised(neighbourhood_mean(features.patches[k], pooling)) for k in self._layers
        }

    def _tokens_of(self, views: Sequence[Sequence[Features]], layer: int) -> NDArray[np.float32]:
        """(n, D): one layer's tokens of all views of one reference."""
        return np.concatenate([self._tokens(f)[layer] for some in views for f in some])
