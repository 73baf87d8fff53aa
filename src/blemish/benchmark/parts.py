"""What the detectors of cells are built from, each made once and shared by all cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blemish import build, registry
from blemish.benchmark import adapters
from blemish.benchmark.features import Remembering
from blemish.benchmark.folder import Means
from blemish.benchmark.plan import Plan
from blemish.benchmark.possible import asks, embedded_of, encoder_of
from blemish.types import Detector, Encoder


class Parts:
    """Builds detectors over shared encoders, segmenters and language models.

    Args:
        plan: whose cells are built.
        means: what they are run with.
    """

    def __init__(self, plan: Plan, means: Means) -> None:
        self._remembers, self._means = plan.remembers, means
        self._encoders: dict[str, Encoder] = {}
        self._segmenters: dict[str, Any] = {}
        self._embedded: dict[tuple[Any, ...], Any] = {}

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
        if embedded_of(name, options):
            settings["language_model"] = self._model(name, settings)
        return build.load(name, **settings)

    def fingerprints(self, detector: str, options: Mapping[str, Any]) -> list[Any]:
        """Of the ready parts that a detector is built with: they may change behind a name."""
        ready = [
            self._means.encoders.get(encoder_of(detector, options) or ""),
            self._means.segmenters.get(options.get("segmenter", "")),
            self._means.language_model if asks(detector, options) else None,
        ]
        prints = [getattr(part, "fingerprint", None) for part in ready]
        return [*prints, *adapters.state(options)]

    def _encoder(self, name: str, detector: str, settings: Mapping[str, Any]) -> Encoder:
        if name not in self._encoders:
            ready = self._means.encoders.get(name) or self._new(detector, settings).encoder
            self._encoders[name] = Remembering(ready) if self._remembers else ready
        return self._encoders[name]

    def _model(self, detector: str, settings: Mapping[str, Any]) -> Any:
        """The language model that a detector shows embeddings to."""
        key = _about(settings)
        if key not in self._embedded:
            self._new(detector, settings)
        return self._embedded[key]

    def _new(self, detector: str, settings: Mapping[str, Any]) -> Any:
        """A detector of new parts, of which its language model is kept."""
        made: Any = build.load(detector, **settings)
        if registry.detector(detector).embeds:
            self._embedded.setdefault(_about(settings), made.language_model)
        return made

    def _segmenter(self, name: str) -> Any:
        if name not in self._segmenters:
            ready = self._means.segmenters.get(name)
            self._segmenters[name] = ready or build.segmenter(name, device=self._means.device)
        return self._segmenters[name]


def _about(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a language model depends on: an adapter may change its weights."""
    return tuple(settings.get(k) for k in ("language_model", "four_bit", "lora", "adapter"))
