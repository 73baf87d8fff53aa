"""AnoVL without its fine-tuning: local tokens by V-V attention, and domain-aware prompts.

AnoVL (2308.15939), as ALFA (2404.09654) compares with it in table 1 (AnoVL⁻: no test-time adapter,
no data augmentation). Where its paper leaves a choice, or this project's notes of it do:

- V-V attention runs beside the second half of the tower's layers, and the map is read after the
  last of them.
- Image score: that of the class token, as the map adds nothing to it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blemish.detectors._clip import ClipDetector, ClipOptions, Floats, sound
from blemish.detectors._maps import Judged
from blemish.detectors._textual import probability
from blemish.prompts import contrast
from blemish.types import AnomalyMap, Image, Sample


class AnoVLOptions(ClipOptions):
    """Options of `anovl`; see `ClipOptions`."""


@dataclass(frozen=True, eq=False)
class _View:
    """One view: (D,) as a whole, and (h, h, D) its local tokens; L2-normalised."""

    whole: Floats
    patches: Floats


class AnoVL(ClipDetector[AnoVLOptions, _View]):
    """The detector. `blemish.load("anovl")` builds it; see `ClipDetector`.

    It needs no normal part; those that come calibrate it.
    """

    name = "anovl"
    prompts = staticmethod(contrast.anovl)

    def _see(self, images: Sequence[Image]) -> list[_View]:
        found = self.encoder.joint(images, size=self.options.size, vv=True)
        wholes, patches = sound(found.embeddings), sound(found.patches)
        return [_View(*view) for view in zip(wholes, patches, strict=True)]

    def _raw(self, class_name: str, view: _View, without: int | None = None) -> float:
        texts = self._texts(class_name)
        return float(probability(view.whole, texts, self.encoder.logit_scale))

    def _judge(self, sample: Sample, seen: list[_View]) -> Judged:
        maps = [self._map(sample.class_name, view) for view in seen]
        return Judged(maps, max(self._raw(sample.class_name, view) for view in seen), {})

    def _map(self, class_name: str, view: _View) -> AnomalyMap:
        texts = self._texts(class_name)
        return np.asarray(probability(view.patches, texts, self.encoder.logit_scale), np.float32)
