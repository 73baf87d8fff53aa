"""What the detectors that compare pictures with words share.

Each tells normal from abnormal by the texts of its class in CLIP's joint space; normal parts, where
they come, calibrate it, and those with a memory bank compare with them too.

Where no normal part is known, the raw score is the probability of the abnormal texts, and one half
decides (`calibration.Probability`): CLIP was trained to match captions, not to be calibrated, so
such a verdict is worth less than one from normal parts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from blemish.calibration import Calibration
from blemish.detectors import _saved
from blemish.detectors._encoder import EncoderDetector, EncoderOptions
from blemish.detectors._memory import MemoryBank, bank_of, load_banks, save_banks
from blemish.errors import InputError, OptionError
from blemish.prompts import contrast
from blemish.prompts.contrast import Prompts
from blemish.types import Encoder, Image, Sample

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

    def windows(self, images: Sequence[Image], scale: int, *, size: int | None = None) -> Any:
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
        banks: their tokens; what a key stands for is the detector's own. Empty where normal parts
            calibrate only.
    """

    references: list[dict[str, str]]
    banks: Mapping[int, MemoryBank] = field(default_factory=dict)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """See `blemish.detectors._encoder.Memory`."""
        return save_banks(self.banks)


Options = TypeVar("Options", bound=EncoderOptions)
Seen = TypeVar("Seen")


class ClipDetector(EncoderDetector[Options, Normals, Seen]):
    """A detector over a CLIP model; see `EncoderDetector`.

    A subclass adds `_see`, `_raw` and `_judge`, and `_tokens` where it has a memory bank.

    Raises:
        OptionError: the encoder has no text tower.
    """

    zero_shot = True
    encoder: JointEncoder
    prompts: Callable[[str], Prompts]
    """The texts of a class by its name; a static function of the subclass."""

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
        self.fingerprint = _saved.fingerprint(self.fingerprint, contrast.version())
        self._embedded: dict[str, Floats] = {}

    def _learn(self, known: Sequence[Sample]) -> tuple[Normals, Calibration]:
        seen = self._see_all(known)
        each = [self._tokens(views) for views in seen]
        banks = {key: bank_of([tokens[key] for tokens in each]) for key in each[0]}
        memory = Normals(_saved.described(known), banks)
        fitted = self._with(memory, None)
        number = {id(views): i for i, views in enumerate(seen)}

        def score(views: list[Seen], without: int | None) -> float:
            # Changed copies are of the only reference.
            part = known[number.get(id(views), 0)]
            return max(fitted._raw(part.class_name, view, without) for view in views)

        return memory, self._calibrated(known, seen, score)

    @abstractmethod
    def _raw(self, class_name: str, view: Seen, without: int | None = None) -> float:
        """Raw score of one view, with the reference of that number left out of the banks."""

    def _tokens(self, views: Sequence[Seen]) -> dict[int, Floats]:
        """What the memory bank keeps of a part, rows of length 1; nothing by default."""
        return {}

    def _remembered(
        self, references: list[dict[str, str]], arrays: Mapping[str, NDArray[Any]]
    ) -> Normals:
        return Normals(references, load_banks(arrays))

    def _texts(self, class_name: str) -> Floats:
        """(2, D): the mean of the normal texts and of the abnormal ones, L2-normalised."""
        if class_name not in self._embedded:
            both = type(self).prompts(class_name)
            self._embedded[class_name] = np.stack(
                [mean(self.encoder.encode_text(texts)) for texts in (both.normal, both.abnormal)]
            )
        return self._embedded[class_name]


def mean(texts: Floats) -> Floats:
    """(D,): the mean of L2-normalised embeddings (T, D), of length 1 again, as CLIP's ensembles."""
    total = texts.mean(axis=0, dtype=np.float64)
    return np.asarray(total / np.linalg.norm(total), np.float32)


def sound(embeddings: Floats) -> Floats:
    """The embeddings themselves. Raises InputError where the encoder gave no numbers."""
    if not np.isfinite(embeddings).all():
        raise InputError(
            "The encoder gave features that are not finite. Use --device cpu and dtype float32; "
            "if that does not cure it, check the weights with `blemish weights verify`."
        )
    return embeddings
