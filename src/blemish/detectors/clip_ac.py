"""CLIP-AC: a picture as a whole, between "normal" and "abnormal"; no map.

The baseline of ALFA (2404.09654), equation 1, with its two texts of section 3.2, the model's own
logit scale and L2-normalised features. WinCLIP (2303.14814) gave it its name.
"""

from __future__ import annotations

from collections.abc import Sequence

from blemish.detectors._clip import ClipDetector, Floats, Found, ensemble, sound
from blemish.detectors._encoder import EncoderOptions
from blemish.detectors._textual import probability
from blemish.prompts import contrast
from blemish.types import Image


class ClipACOptions(EncoderOptions):
    """Options of `clip-ac`: those that every detector has."""


class ClipAC(ClipDetector[ClipACOptions, Floats, Floats]):
    """The detector. `blemish.load("clip-ac")` builds it; see `ClipDetector`.

    It needs no normal part; those that come calibrate it.
    """

    name = "clip-ac"

    def _see(self, images: Sequence[Image]) -> list[Floats]:
        found = self.encoder.embed(images)
        sound(found)
        return list(found)

    def _gathered(self, class_name: str) -> Floats:
        return ensemble(self.encoder, contrast.clip_ac(class_name))

    def _found(self, words: Floats, view: Floats, without: int | None = None) -> Found:
        """Equation 1."""
        return Found(None, float(probability(view, words, self.encoder.logit_scale)))
