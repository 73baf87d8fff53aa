"""WinCLIP and WinCLIP+ (2303.14814): windows of a picture between normal and abnormal texts.

The texts are the compositional prompt ensemble (appendix B of AnomalyGPT, 2308.15366, prints it).
Every window is seen by itself; a patch takes the harmonic mean of the windows that cover it, and
of the scales, among them the picture as a whole. With normal parts, the likeness to theirs is
averaged in (WinCLIP+). Readings, where reimplementations differ:

- Every softmax takes the model's own logit scale, 100 for trained models; anomalib's takes 1/0.07.
- Image score: that of the class token; with normal parts, its mean with the highest of the
  association map.
- The map is not smoothed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blemish.detectors import _association
from blemish.detectors._association import View, WindowOptions
from blemish.detectors._clip import ClipDetector, Floats
from blemish.detectors._maps import Judged
from blemish.detectors._textual import over_scales, over_windows, probability
from blemish.prompts import contrast
from blemish.types import AnomalyMap, Image, Sample


class WinCLIPOptions(WindowOptions):
    """Options of `winclip`; see `WindowOptions`."""


@dataclass(frozen=True, eq=False)
class _Found:
    """What is made of one view: its map (h, h), its raw score, and the class token's share."""

    map: AnomalyMap
    score: float
    whole: float


class WinCLIP(ClipDetector[WinCLIPOptions, View]):
    """The detector. `blemish.load("winclip")` builds it; see `ClipDetector`.

    It needs no normal part; those that come make it WinCLIP+ and calibrate it.
    """

    name = "winclip"
    prompts = staticmethod(contrast.winclip)

    def _see(self, images: Sequence[Image]) -> list[View]:
        return _association.seen(self.encoder, images, self.options)

    def _tokens(self, views: Sequence[View]) -> dict[int, Floats]:
        return _association.tokens(views)

    def _judge(self, sample: Sample, seen: list[View]) -> Judged:
        found = [self._found(sample.class_name, view) for view in seen]
        worst = max(found, key=lambda view: view.score)
        return Judged([f.map for f in found], worst.score, {"whole_picture": worst.whole})

    def _raw(self, class_name: str, view: View, without: int | None = None) -> float:
        return self._found(class_name, view, without).score

    def _found(self, class_name: str, view: View, without: int | None = None) -> _Found:
        texts, scale = self._texts(class_name), self.encoder.logit_scale
        whole = float(probability(view.whole, texts, scale))
        maps = [np.full((view.side, view.side), whole, np.float32)]
        maps += [
            over_windows(probability(windows, texts, scale), view.side, k)
            for k, windows in view.windows.items()
        ]
        zero_shot = over_scales(maps)
        unlike = _association.association(view, self._memory, without)
        if unlike is None:
            return _Found(zero_shot, whole, whole)
        both = np.asarray((zero_shot + unlike) / 2, np.float32)
        return _Found(both, (whole + float(unlike.max())) / 2, whole)
