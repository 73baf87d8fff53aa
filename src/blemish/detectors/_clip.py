"""What the detectors that compare pictures with words share.

Each tells normal from abnormal by the texts of its class in CLIP's joint space; normal parts, where
they come, calibrate it, and those with a memory bank compare with them too.

Where no normal part is known, the raw score is the probability of the abnormal texts, and one half
decides (`calibration.Probability`): CLIP was trained to match captions, not to be calibrated, so
such a verdict is worth less than one from normal parts.
"""

from __future__ import annotations

import json
import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from blemish.calibration import Calibration
from blemish.detectors import _saved
from blemish.detectors._encoder import EncoderDetector, EncoderOptions
from blemish.detectors._maps import NOT_FINITE, Judged
from blemish.detectors._memory import MemoryBank, bank_of, load_banks, save_banks
from blemish.errors import InputError, OptionError, ReferencesError
from blemish.prompts import contrast
from blemish.prompts.contrast import Prompts
from blemish.types import AnomalyMap, Encoder, Image, Inspection, Sample

Floats = NDArray[np.float32]


class JointEncoder(Encoder, Protocol):
    """An encoder with a text tower: pictures, their parts and texts in one space of D values.

    `blemish.encoders.clip.Clip` is one, and says what each returns.
    """

    logit_scale: float

    @property
    def value_projection(self) -> Floats:
        """(W, D): from value vectors to the joint space."""
        ...

    def embed(self, images: Sequence[Image]) -> Floats:
        """(N, D), L2-normalised: each picture as a whole."""
        ...

    def joint(self, images: Sequence[Image], *, size: int | None = None, vv: bool = False) -> Any:
        """Pictures, their patches and the last values, from one pass."""
        ...

    def windows(
        self,
        images: Sequence[Image],
        scale: int,
        *,
        size: int | None = None,
        values: bool = False,
    ) -> Any:
        """Every window of scale x scale patches."""
        ...

    def encode_text(self, texts: Sequence[str]) -> Floats:
        """(T, D), L2-normalised."""
        ...


class ClipOptions(EncoderOptions):
    """Options that the detectors with a map have.

    Attributes:
        size: side in pixels of the square that a picture is resized to; the checkpoint's own
            where None.
    """

    size: int | None = Field(None, ge=14, le=1024)


@dataclass(frozen=True, eq=False)
class Normals:
    """What normal parts leave behind.

    Attributes:
        references: id and content hash of each.
        class_name: of all of them.
        banks: their tokens; what a key stands for is the detector's own. Empty where normal parts
            calibrate only.
        scale: what maps are multiplied by, so that their own operating point, learnt from the
            highest places of normal parts, falls onto that of the scores.
    """

    references: list[dict[str, str]]
    class_name: str
    banks: Mapping[int, MemoryBank] = field(default_factory=dict)
    scale: float = 1.0

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """See `blemish.detectors._encoder.Memory`."""
        said = json.dumps({"class_name": self.class_name, "scale": self.scale})
        return save_banks(self.banks) | {"said": np.frombuffer(said.encode(), np.uint8)}


@dataclass(frozen=True, eq=False)
class Found:
    """What is made of one view.

    Attributes:
        map: (h, h) float32 of patches, or None for a detector without one.
        score: raw.
        evidence: what it stands on.
        said: what else a person should read where it is not normal.
    """

    map: AnomalyMap | None
    score: float
    evidence: Mapping[str, Any] = field(default_factory=dict)
    said: str = ""


Options = TypeVar("Options", bound=EncoderOptions)
Seen = TypeVar("Seen")
Words = TypeVar("Words")


class ClipDetector(EncoderDetector[Options, Normals, Seen], Generic[Options, Seen, Words]):
    """A detector over a CLIP model; see `EncoderDetector`.

    A subclass adds `_see`, `_gathered`, from a class to its texts in the joint space, and `_found`,
    from both to a map and a score; and `_tokens` where it has a memory bank.

    With normal parts, a map has an operating point of its own, since its highest place is not the
    score; maps are multiplied so that it falls onto the score's, and one serves both.

    Raises:
        OptionError: the encoder has no text tower.
    """

    zero_shot = True
    encoder: JointEncoder

    def __init__(
        self,
        *,
        encoder: JointEncoder,
        options: Options,
        seed: int = 0,
        memory: Normals | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        if not hasattr(encoder, "encode_text"):
            raise OptionError(
                f"{self.name} compares pictures with words, and the encoder {encoder.name} has no "
                "text tower. Name a CLIP model: encoder='clip-vit-b-16-plus-240', or "
                "encoder='clip:FOLDER'."
            )
        super().__init__(
            encoder=encoder, options=options, seed=seed, memory=memory, calibration=calibration
        )
        self.fingerprint = _saved.fingerprint(self.fingerprint, contrast.digest())
        self._kept: dict[str, Words] = {}
        self._turn = threading.Lock()

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each part, and of the prompts."""
        return super().fingerprints | {"prompts": contrast.digest()}

    @abstractmethod
    def _gathered(self, class_name: str) -> Words:
        """The texts of a class, in the joint space."""

    @abstractmethod
    def _found(self, words: Words, view: Seen, without: int | None = None) -> Found:
        """What is made of one view, with the reference of that number left out of the banks."""

    def _tokens(self, views: Sequence[Seen]) -> dict[int, Floats]:
        """What the memory bank keeps of a part, rows of length 1; nothing by default."""
        return {}

    def _bounds(self) -> tuple[float, float]:
        """The upper ends of maps and of scores where normal parts are known."""
        return 1.0, 1.0

    def _words(self, class_name: str) -> Words:
        """The texts of a class, gathered once."""
        with self._turn:
            if class_name not in self._kept:
                self._kept[class_name] = self._gathered(class_name)
            return self._kept[class_name]

    def _predict(self, samples: Sequence[Sample]) -> list[Inspection]:
        for name in dict.fromkeys(sample.class_name for sample in samples):
            self._check(name)
            self._words(name)  # before any picture is encoded: there may be none for this class
        return super()._predict(samples)

    def _check(self, class_name: str) -> None:
        known = self._memory.class_name if self._memory else class_name
        if contrast.key(class_name) != contrast.key(known):
            raise ReferencesError(
                f"The normal parts are of the class '{known}', and a part of the class "
                f"'{class_name}' came: their texts differ, and so do their scores. Give both the "
                "same class (on the command line: --class)."
            )

    def _learn(self, known: Sequence[Sample]) -> tuple[Normals, Calibration]:
        names = list({contrast.key(n): n for n in (part.class_name for part in known)}.values())
        if len(names) > 1:
            raise ReferencesError(
                f"Normal parts of {len(names)} classes came: {', '.join(names)}. {self.name} "
                "compares with the texts of one class; fit one detector a class."
            )
        words = self._words(known[0].class_name)
        seen = self._see_all(known)
        each = [self._tokens(views) for views in seen]
        banks = {key: bank_of([tokens[key] for tokens in each]) for key in each[0]}
        memory = Normals(_saved.described(known), names[0], banks)
        fitted = self._with(memory, None)
        looks, rule = self._looks(known, seen)
        found = [[fitted._found(words, v, without) for v in views] for views, without in looks]
        top, most = fitted._bounds()
        whole = self._point_of([max(f.score for f in some) for some in found], rule, known, most)
        peaks = [[float(f.map.max()) for f in some if f.map is not None] for some in found]
        if all(peaks):
            places = self._point_of([max(some) for some in peaks], rule, known, top)
            memory = replace(memory, scale=whole.threshold / places.threshold)
        return memory, whole

    def _judge(self, sample: Sample, seen: list[Seen]) -> Judged:
        words = self._words(sample.class_name)
        found = [self._found(words, view) for view in seen]
        worst = max(found, key=lambda one: one.score)
        scale = np.float32(self._memory.scale if self._memory else 1)
        maps = [scale * one.map for one in found if one.map is not None]
        return Judged(maps, worst.score, worst.evidence, worst.said)

    def _remembered(
        self, references: list[dict[str, str]], arrays: Mapping[str, NDArray[Any]]
    ) -> Normals:
        said = json.loads(arrays["said"].tobytes())
        return Normals(references, said["class_name"], load_banks(arrays), said["scale"])


def ensemble(encoder: JointEncoder, both: Prompts) -> Floats:
    """(2, D): the mean of the normal texts and of the abnormal ones, L2-normalised."""
    return np.stack([mean(encoder.encode_text(texts)) for texts in (both.normal, both.abnormal)])


def mean(texts: Floats) -> Floats:
    """(D,): the mean of L2-normalised embeddings (T, D), of length 1 again, as CLIP's ensembles."""
    total = texts.mean(axis=0, dtype=np.float64)
    return np.asarray(total / np.linalg.norm(total), np.float32)


def sound(*embeddings: Floats) -> None:
    """Raises InputError where the encoder gave no numbers."""
    if not all(np.isfinite(some).all() for some in embeddings):
        raise InputError(f"The encoder gave features that are not finite. {NOT_FINITE}")
