"""What detectors that ask a language model share: parts, pictures to show, save and restore."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from blemish.detectors import _saved
from blemish.detectors._asking import pictures_at_once
from blemish.detectors._marked import Shown
from blemish.errors import OptionError
from blemish.regions.division import Segmenter
from blemish.types import ChatModel, Example, Inspection, Sample


class AskingOptions(Protocol):
    """What the options of every such detector have."""

    @property
    def regions(self) -> str:
        """How pictures are divided."""
        ...

    @property
    def threshold(self) -> float:
        """Score from which a part is anomalous."""
        ...

    def model_dump(self, *, mode: str = ...) -> dict[str, Any]:
        """The options as values."""
        ...


Options = TypeVar("Options", bound=AskingOptions)


class LanguageDetector(ABC, Generic[Options]):
    """A detector that asks a language model; it has no calibration, since words decide.

    Args:
        language_model: is asked; safe to call from many threads.
        segmenter: for regions "sam".
        options: the detector's own.
        seed: nothing here is random; kept for the record.
        references: pictures to show; `fit` and `restore` give them.

    Raises:
        OptionError: regions "sam" without a segmenter.
    """

    name: str
    fingerprint: str
    calibration = None

    def __init__(
        self,
        *,
        language_model: ChatModel,
        segmenter: Segmenter | None = None,
        options: Options,
        seed: int = 0,
        references: Sequence[Shown] = (),
    ) -> None:
        if options.regions == "sam" and segmenter is None:
            raise OptionError(
                "regions='sam' needs a segmenter, such as segmenter='facebook/sam-vit-huge'."
            )
        self.language_model = language_model
        self.segmenter = segmenter
        self.options = options
        self.seed = seed
        self._shown = tuple(references)

    @property
    def at_once(self) -> int:
        """How many samples to hand over at the same time, each in a call of its own."""
        return pictures_at_once(self.language_model)

    @property
    def parts(self) -> dict[str, Any]:
        """The parts that were given, by name."""
        given = {"language_model": self.language_model, "segmenter": self.segmenter}
        return {name: part for name, part in given.items() if part is not None}

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each part."""
        return {name: part.fingerprint for name, part in self.parts.items()}

    @property
    def references(self) -> list[dict[str, str]]:
        """Id and content hash of each picture that is kept to be shown."""
        return [{"id": r.id, "sha256": r.sha256} for r in self._shown]

    @abstractmethod
    def fit(self, normals: Sequence[Sample], feedback: Sequence[Example] = ()) -> Self:
        """See `blemish.types.Detector`."""

    @abstractmethod
    def predict(self, samples: Sequence[Sample]) -> list[Inspection]:
        """See `blemish.types.Detector`."""

    @abstractmethod
    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The detector that `save` wrote, with this one's parts and options."""

    def stop(self) -> None:
        """Have the language model ask nothing any more, where it can: a person stopped the run."""
        if stop := getattr(self.language_model, "stop", None):
            stop()

    def with_calibration(self, calibration: Any) -> Self:
        """This detector, for None. Raises OptionError for a calibration: it decides without."""
        if calibration is not None:
            raise OptionError(
                f"{self.name} decides by what the language model writes, not by a calibration. "
                "Load it with another threshold (now "
                f"{self.options.threshold:g}) to move its operating point."
            )
        return self

    def save(self, folder: Path) -> None:
        """Options, names of the parts and pictures to show."""
        pictures = {f"reference.{i}": r.picture for i, r in enumerate(self._shown)}
        _saved.write(Path(folder), self._header(), pictures)

    def _header(self) -> dict[str, Any]:
        """What detector.json says."""
        return {
            "name": self.name,
            "options": self.options.model_dump(mode="json"),
            "parts": {name: part.name for name, part in self.parts.items()},
            "fingerprints": self.fingerprints,
            "seed": self.seed,
            "calibration": None,
            "references": [
                {name: value for name, value in asdict(r).items() if name != "picture"}
                for r in self._shown
            ],
        }

    @staticmethod
    def _pictures(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> list[Shown]:
        """The pictures to show that `save` wrote."""
        return [
            Shown(np.asarray(arrays[f"reference.{i}"], np.uint8), **reference)
            for i, reference in enumerate(header["references"])
        ]
