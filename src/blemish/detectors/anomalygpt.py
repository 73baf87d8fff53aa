"""AnomalyGPT (2308.15366): a language model reads a picture and its localisation map, and answers.

The prompt learner turns the map into embeddings, a linear layer the picture into one, and the
frozen language model answers in words (section 3.3); see `_language_reader`. Readings of its own:

- The memory bank takes the layers that serve best, as `patch-memory` does; what was published takes
  the decoder's.
- The prompt learner that was published saw few-shot maps as they are, and is shown them so.
- What was published projects the picture's feature in ImageBind's joint space by one linear layer.
"""

from __future__ import annotations

from typing import ClassVar

from blemish.detectors._language_reader import LanguageReader
from blemish.detectors._reading_options import ReadingOptions


class AnomalyGPTOptions(ReadingOptions):
    """Options of `anomalygpt`; see `ReadingOptions`."""

    kind: ClassVar[str] = "anomalygpt"


class AnomalyGPT(LanguageReader[AnomalyGPTOptions]):
    """The detector. `blemish.load("anomalygpt")` builds it; see `LanguageReader`."""

    name = AnomalyGPTOptions.kind

    @property
    def _imported(self) -> bool:
        return self.adapter.imported

    @property
    def _layers(self) -> tuple[int, ...]:
        own = self.adapter.layers if self.adapter.published else self.encoder.default_layers
        return self.options.layers or own
