"""What the detectors that compare patch tokens share: their options and how they look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

from pydantic import Field

from blemish.detectors._encoder import EncoderDetector, EncoderOptions, Memory
from blemish.detectors._maps import finite
from blemish.types import Features, Image

Layer = Annotated[int, Field(ge=1)]


class PatchOptions(EncoderOptions):
    """Options that every detector of patches has.

    Attributes:
        size: side in pixels of the square whose area the encoder's input keeps; the encoder's
            own default where None.
        layers: encoder layers, from 1; the encoder's own default where None.
        sigma: Gaussian smoothing of the map, in hundredths of its side; 0 for none.
        top: the image score is the mean over this share of the map's highest pixels; 0 for the
            highest.
    """

    size: int | None = Field(None, ge=14, le=4096)
    layers: tuple[Layer, ...] | None = Field(None, min_length=1)
    sigma: float = Field(1.5, ge=0, le=20)
    top: float = Field(0.003, ge=0, le=1)


Options = TypeVar("Options", bound=PatchOptions)
Remembered = TypeVar("Remembered", bound=Memory)


class PatchDetector(EncoderDetector[Options, Remembered, Features]):
    """A detector of patches; see `EncoderDetector`."""

    @property
    def _layers(self) -> tuple[int, ...]:
        return self.options.layers or self.encoder.default_layers

    @property
    def _size(self) -> int:
        return self.options.size or self.encoder.default_size

    def _see(self, images: Sequence[Image]) -> list[Features]:
        return finite(self.encoder.encode(images, layers=self._layers, size=self._size))
