"""AnoVL without its fine-tuning: local tokens by V-V attention, and domain-aware prompts.

AnoVL (2308.15939), as ALFA (2404.09654) compares with it in table 1 (AnoVL⁻: no test-time adapter,
no data augmentation). Its paper was not at hand; the readings here:

- V-V attention runs beside the second half of the tower's layers, and the map is read after the
  last of them.
- Image score: that of the class token alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blemish.detectors._clip import ClipDetector, ClipOptions, Floats, Found, ensemble, sound
from blemish.detectors._textual import probability
from blemish.prompts import contrast
from blemish.types import Image


class AnoVLOptions(ClipOptions):
    """Options of `anovl`; see `ClipOptions`."""


@dataclass(frozen=True, eq=False)
class _View:
    """One view: (D,) as a whole, and (h, h, D) its local tokens; L2-normalised."""

    whole: Floats
    patches: Floats


class AnoVL(ClipDetector[AnoVLOptions, _View, Floats]):
    """The detector. `blemish.load("anovl")` builds it; see `ClipDetector`.

    It needs no normal part; those that come calibrate it.
    """

    name = "anovl"

    def _see(self, images: Sequence[Image]) -> list[_View]:
        found = self.encoder.joint(images, size=self.options.size, vv=True)
        sound(found.embeddings, found.patches)
        return [_View(*view) for view in zip(found.embeddings, found.patches, strict=True)]

    def _gathered(self, class_name: str) -> Floats:
        return ensemble(self.encoder, contrast.anovl(class_name))

    def _found(self, words: Floats, view: _View, without: int | None = None) -> Found:
        scale = self.encoder.logit_scale
        places = np.asarray(probability(view.patches, words, scale), np.float32)
        return Found(places, float(probability(view.whole, words, scale)))
