"""What the detectors over an image encoder share: life cycle and calibration.

A detector of this family adds `_see`, from views to what it keeps of them, `_learn`, from normal
parts to what it remembers, and `_judge`, from what it saw of one part to its maps and raw score.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from blemish.calibration import FALSE_ALARMS, Calibration, OperatingPoint, Probability
from blemish.detectors import _augment, _saved
from blemish.detectors._maps import Judged, inspect_all, with_own_references
from blemish.errors import ReferencesError
from blemish.types import Encoder, Example, Image, Inspection, Sample


class EncoderOptions(BaseModel):
    """Options that every detector over an encoder has.

    Attributes:
        false_alarms: share of normal parts that may score above the operating point.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    false_alarms: float = Field(FALSE_ALARMS, gt=0, le=0.5)


class Memory(Protocol):
    """What a detector remembers of normal parts."""

    @property
    def references(self) -> list[dict[str, str]]:
        """Id and content hash of each normal sample."""
        ...

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """For `save`."""
        ...


Options = TypeVar("Options", bound=EncoderOptions)
Remembered = TypeVar("Remembered", bound=Memory)
Seen = TypeVar("Seen")


class EncoderDetector(ABC, Generic[Options, Remembered, Seen]):
    """A detector over an image encoder; `blemish.load(name)` builds it.

    Args:
        encoder: looks at the pictures.
        options: the detector's own.
        seed: of everything random.
        memory: of a fitted detector; `fit` and `restore` give it.
        calibration: its operating point.
    """

    name: str
    zero_shot: ClassVar[bool] = False
    """It judges before it is fitted too: a probability decides then."""
    fewest: ClassVar[int] = 1
    """Normal samples that `fit` needs."""
    too_few: ClassVar[str] = ""
    """What to tell a person who gives fewer; {count} came."""

    def __init__(
        self,
        *,
        encoder: Encoder,
        options: Options,
        seed: int = 0,
        memory: Remembered | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.encoder = encoder
        self.options = options
        self.seed = seed
        self.calibration = calibration
        self._memory = memory
        plain = options.model_dump(exclude={"false_alarms"})
        self.fingerprint = _saved.fingerprint(
            self.name, plain, encoder.fingerprint, seed, [r["sha256"] for r in self.references]
        )

    @property
    def parts(self) -> dict[str, Any]:
        """The parts that were given, by name."""
        return {"encoder": self.encoder}

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each part."""
        return {name: part.fingerprint for name, part in self.parts.items()}

    @property
    def references(self) -> list[dict[str, str]]:
        """Id and content hash of each sample that parts are compared with."""
        return list(self._memory.references) if self._memory else []

    def fit(self, normals: Sequence[Sample], feedback: Sequence[Example] = ()) -> Self:
        """Learn what normal looks like; see `blemish.types.Detector`.

        Args:
            normals: samples of any sizes, with all their views; one that comes twice counts once.
            feedback: parts that a person judged: those labelled normal count as normals; for
                anomalous ones the operating point is moved (`Calibration.finding`).

        Raises:
            ReferencesError: too few normal samples. A zero-shot detector returns itself for none.
        """
        known = _saved.distinct([*normals, *(f.sample for f in feedback if f.label == "normal")])
        if self.zero_shot and not known:
            return self
        if len(known) < self.fewest:
            raise ReferencesError(self.too_few.format(count=len(known)))
        fitted = self._with(*self._learn(known))
        assert fitted.calibration is not None
        missed = [f.sample for f in feedback if f.label == "anomalous"]
        scores = [fitted._judge(s, fitted._see(s.images)).raw_score for s in missed]
        return fitted.with_calibration(fitted.calibration.finding(scores)) if scores else fitted

    @abstractmethod
    def _see(self, images: Sequence[Image]) -> list[Seen]:
        """What to keep of each view."""

    @abstractmethod
    def _learn(self, known: Sequence[Sample]) -> tuple[Remembered, Calibration]:
        """What to remember of normal samples, and the operating point that follows."""

    @abstractmethod
    def _judge(self, sample: Sample, seen: list[Seen]) -> Judged:
        """Maps, raw score and evidence of one sample, of which each view was seen."""

    @abstractmethod
    def _remembered(
        self, references: list[dict[str, str]], arrays: Mapping[str, NDArray[Any]]
    ) -> Remembered:
        """What `Memory.arrays` gave, back from a file."""

    def predict(self, samples: Sequence[Sample]) -> list[Inspection]:
        """Inspect samples; see `blemish.types.Detector`.

        Args:
            samples: of any sizes. A sample with references of its own is judged by these.

        Raises:
            ReferencesError: the detector has to be fitted first, and a sample has no references.
        """
        return with_own_references(samples, self, self._predict)

    def _predict(self, samples: Sequence[Sample]) -> list[Inspection]:
        if not samples:
            return []
        return inspect_all(samples, see=self._see, judge=self._judge, point=self._point())

    def _point(self) -> OperatingPoint | None:
        """What decides. Raises ReferencesError where nothing can yet."""
        if self.calibration is None and self.zero_shot:
            return Probability()
        if self.calibration is None:
            raise ReferencesError(
                f"{self.name} has nothing to compare with yet. Call "
                "detector = detector.fit(samples) first, or give the sample references."
            )
        return self.calibration

    def _see_all(self, samples: Sequence[Sample]) -> list[list[Seen]]:
        """One list a sample, one entry a view."""
        seen = iter(self._see([view for sample in samples for view in sample.images]))
        return [[next(seen) for _ in sample.images] for sample in samples]

    def _with(self, memory: Remembered | None, calibration: Calibration | None) -> Self:
        return type(self)(
            **self.parts,
            options=self.options,
            seed=self.seed,
            memory=memory,
            calibration=calibration,
        )

    def _calibrated(
        self,
        known: Sequence[Sample],
        seen: Sequence[list[Seen]],
        score: Callable[[list[Seen], int | None], float],
    ) -> Calibration:
        """The operating point that the references' own scores give.

        Args:
            known: the references.
            seen: of their views.
            score: raw score of a part, with the reference of that number left out.
        """
        looks, rule = self._looks(known, seen)
        return self._point_of([score(views, without) for views, without in looks], rule, known)

    def _looks(
        self, known: Sequence[Sample], seen: Sequence[list[Seen]]
    ) -> tuple[list[tuple[list[Seen], int | None]], str]:
        """Whose scores stand for those of normal parts, and the same in words.

        Each reference with its number, to be left out; or changed copies of the only one.
        """
        if len(known) > 1:
            rule = f"scores of {len(known)} references, none compared with itself"
            return [(views, i) for i, views in enumerate(seen)], rule
        copies = [c for v in known[0].images for c in _augment.changed_copies(v, self.seed)]
        rule = f"scores of {len(copies)} changed copies of the one reference"
        return [([view], None) for view in self._see(copies)], rule

    def _point_of(
        self,
        scores: Sequence[float],
        rule: str,
        known: Sequence[Sample],
        bound: float | None = None,
    ) -> Calibration:
        """The operating point that follows from scores of `_looks`."""
        make = Calibration.from_normals if len(known) > 1 else Calibration.from_copies
        return make(scores, false_alarms=self.options.false_alarms, rule=rule, bound=bound)

    def with_calibration(self, calibration: Calibration) -> Self:
        """See `blemish.types.Detector`."""
        return self._with(self._memory, calibration)

    def save(self, folder: Path) -> None:
        """See `blemish.types.Detector`. Raises ReferencesError where it has to be fitted first."""
        if self.calibration is None and not self.zero_shot:
            raise ReferencesError(
                f"{self.name} can be saved once it has been fitted; call fit first."
            )
        header = _saved.header(self, self.options.model_dump(mode="json"))
        _saved.write(Path(folder), header, self._memory.arrays() if self._memory else {})

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The detector that `save` wrote, with this one's parts and options."""
        references, point = list(header["references"]), header["calibration"]
        memory = self._remembered(references, arrays) if references else None
        return self._with(memory, None if point is None else Calibration.from_json(point))
