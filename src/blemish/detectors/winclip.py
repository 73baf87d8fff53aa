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

import numpy as np

from blemish.detectors import _windows
from blemish.detectors._clip import ClipDetector, Floats, Found, ensemble
from blemish.detectors._textual import over_scales, over_windows, probability
from blemish.detectors._windows import View, WindowOptions
from blemish.prompts import contrast
from blemish.types import Image


class WinCLIPOptions(WindowOptions):
    """Options of `winclip`; see `WindowOptions`."""


class WinCLIP(ClipDetector[WinCLIPOptions, View, Floats]):
    """The detector. `blemish.load("winclip")` builds it; see `ClipDetector`.

    It needs no normal part; those that come make it WinCLIP+ and calibrate it.
    """

    name = "winclip"

    def _see(self, images: Sequence[Image]) -> list[View]:
        return _windows.seen(self.encoder, images, self.options)

    def _tokens(self, views: Sequence[View]) -> dict[int, Floats]:
        return _windows.tokens(views)

    def _gathered(self, class_name: str) -> Floats:
        return ensemble(self.encoder, contrast.winclip(class_name))

    def _found(self, words: Floats, view: View, without: int | None = None) -> Found:
        scale = self.encoder.logit_scale
        whole = float(probability(view.whole, words, scale))
        maps = [np.full((view.side, view.side), whole, np.float32)]
        maps += [
            over_windows(probability(windows, words, scale), view.side, k)
            for k, windows in view.windows.items()
        ]
        places, score = over_scales(maps), whole
        if self._memory is not None:
            unlike = _windows.association(view, self._memory.banks, without)
            places = np.asarray((places + unlike) / 2, np.float32)
            score = (whole + float(unlike.max())) / 2
        return Found(places, score, {"whole_picture": whole})
