"""CLIP-AC: a picture as a whole, between "normal" and "abnormal"; no map.

The baseline of ALFA (2404.09654), equation 1, with its two texts of section 3.2, the model's own
logit scale and L2-normalised features. WinCLIP (2303.14814) gave it its name.
"""

from __future__ import annotations

from collections.abc import Sequence

from blemish.detectors._clip import ClipDetector, Floats, sound
from blemish.detectors._encoder import EncoderOptions
from blemish.detectors._maps import Judged
from blemish.detectors._textual import probability
from blemish.prompts import contrast
from blemish.types import Image, Sample


class ClipACOptions(EncoderOptions):
    """Options of `clip-ac`: those that every detector has."""


class ClipAC(ClipDetector[ClipACOptions, Floats]):
    """The detector. `blemish.load("clip-ac")` builds it; see `ClipDetector`.

    It needs no normal part; those that come calibrate it.
    """

    name = "clip-ac"
    prompts = staticmethod(contrast.clip_ac)

    def _see(self, images: Sequence[Image]) -> list[Floats]:
        return list(sound(self.encoder.embed(images)))

    def _raw(self, class_name: str, view: Floats, without: int | None = None) -> float:
        """Equation 1."""
        return float(probability(view, self._texts(class_name), self.encoder.logit_scale))

    def _judge(self, sample: Sample, seen: list[Floats]) -> Judged:
        return Judged((), max(self._raw(sample.class_name, view) for view in seen), {})
