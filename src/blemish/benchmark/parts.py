"""What the detectors of cells are built from, each made once and shared by all cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from blemish import build, registry
from blemish.benchmark.features import Remembering
from blemish.benchmark.folder import Means
from blemish.benchmark.plan import Plan
from blemish.benchmark.possible import asks, encoder_of
from blemish.types import Detector, Encoder


class Parts:
    """Builds detectors over shared encoders, segmenters and the one language model.

    Args:
        plan: whose cells are built.
        means: what they are run with.
    """

    def __init__(self, plan: Plan, means: Means) -> None:
        self._remembers, self._means = plan.remembers, means
        self._encoders: dict[str, Encoder] = {}
        self._segmenters: dict[str, Any] = {}

    def detector(self, name: str, options: Mapping[str, Any], seed: int) -> Detector:
        """A detector before it is fitted; so is its map source, where that is a registered name."""
        settings = {
            "device": self._means.device,
            "dtype": self._means.dtype,
            "seed": seed,
            **options,
        }
        if asks(name, options):
            settings["language_model"] = self._means.language_model
        if "segmenter" in options:
            settings["segmenter"] = self._segmenter(options["segmenter"])
        if options.get("map_source") in registry.detectors():
            settings["map_source"] = self.detector(options["map_source"], {}, seed)
        elif encoder := encoder_of(name, options):
            settings["encoder"] = self._encoder(encoder, name, settings)
        return build.load(name, **settings)

    def fingerprints(self, detector: str, options: Mapping[str, Any]) -> list[Any]:
        """Of the ready parts that a detector is built with: they may change behind a name."""
        ready = [
            self._means.encoders.get(encoder_of(detector, options) or ""),
            self._means.segmenters.get(options.get("segmenter", "")),
            self._means.language_model if asks(detector, options) else None,
        ]
        return [getattr(part, "fingerprint", None) for part in ready]

    def _encoder(self, name: str, detector: str, settings: Mapping[str, Any]) -> Encoder:
        if name not in self._encoders:
            ready = (
                self._means.encoders.get(name)
                or cast(Any, build.load(detector, **settings)).encoder
            )
            self._encoders[name] = Remembering(ready) if self._remembers else ready
        return self._encoders[name]

    def _segmenter(self, name: str) -> Any:
        if name not in self._segmenters:
            ready = self._means.segmenters.get(name)
            self._segmenters[name] = ready or build.segmenter(name, device=self._means.device)
        return self._segmenters[name]
