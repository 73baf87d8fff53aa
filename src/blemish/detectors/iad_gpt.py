"""IAD-GPT (2510.16036): AnomalyGPT with abnormal prompts, a picture enhanced by texts, more masks.

The decoder compares patches with the texts of an abnormal prompt generator too (section III.A), the
enhancer and the fusion show the language model more of the picture and of the map (III.B and C);
`_language_reader` has what is AnomalyGPT's as well, `_iad_gpt_modules` the new parts. An adapter
says which of these it was trained with, so that the document's ablations are adapters. Readings:

- T_apg is a sentence for each keyword, "crack: an abnormal cup has ...", from a file that a person
  names or the bank; each stands for itself, T_n and T_a are the means of their templates. A class
  that has none goes without, and the evidence says so. Where an encoder has no text tower, all
  texts of the decoder are learned.
- Equation 2 takes the decoder's layers, whose masks the fusion knows.
- The kind of an anomaly (figure 8): the picture's feature in the joint space against T_apg, by a
  softmax at the decoder's scale of 100. A share is one among the kinds that have a prompt, no
  probability that the part has it. Without a text tower none can be named, and this is said.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from blemish.detectors import _class_texts, _saved
from blemish.detectors._anomaly_prompts import digests
from blemish.detectors._class_texts import Kinds, reads
from blemish.detectors._encoded import view_of
from blemish.detectors._language_reader import LanguageReader
from blemish.detectors._reading_options import ReadingOptions
from blemish.errors import OptionError
from blemish.prompts import apg, contrast, generated
from blemish.prompts.contrast import called
from blemish.types import Encoder, Inspection, Sample

if TYPE_CHECKING:
    from torch import Tensor

SCALE = 100.0
"""What cosines are multiplied by in the softmax over kinds, as in the decoder."""


class IADGPTOptions(ReadingOptions):
    """Options of `iad-gpt`; see `ReadingOptions`.

    Attributes:
        prompts: a file of abnormal prompts (`blemish prompts make --style apg` writes one), or a
            folder with one for each class, in place of the bank's.
    """

    kind: ClassVar[str] = "iad-gpt"

    prompts: str = ""


class IADGPT(LanguageReader[IADGPTOptions]):
    """The detector. `blemish.load("iad-gpt")` builds it; see `LanguageReader`.

    Raises:
        OptionError: prompts came for an encoder without a text tower; or see `LanguageReader`.
    """

    name = IADGPTOptions.kind

    def __init__(self, *, encoder: Encoder, options: IADGPTOptions, **others: Any) -> None:
        if options.prompts and not reads(encoder):
            raise OptionError(
                f"prompts={options.prompts} came, and the encoder {encoder.name} has no text tower "
                "that reads prompts. Leave them out, or name a CLIP model and an adapter for it: "
                "encoder='clip-vit-h-14'."
            )
        self._kinds = lru_cache(maxsize=_class_texts.KEPT)(
            lambda name: _class_texts.kinds(encoder, name, options.prompts)
        )
        super().__init__(encoder=encoder, options=options, **others)

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each part, and of the prompts where there are any."""
        if not reads(self.encoder):
            return super().fingerprints
        own = self.options.prompts
        known = digests(own) if own else [*map(generated.digest, generated.banked("apg"))]
        return super().fingerprints | {"prompts": _saved.fingerprint(contrast.digest(), known)}

    def _gathered(self, class_name: str) -> Tensor | None:
        known = self._kinds(class_name)
        return _class_texts.texts(self.adapter, self.encoder, class_name, known)

    def _told(self, sample: Sample, found: Inspection) -> Inspection:
        """With the kinds that an anomaly may be of, best first, or why none can be named."""
        kinds, evidence = self._kinds(sample.class_name), dict(found.evidence)
        evidence |= {"kinds_by": kinds.author} if kinds else {"no_kinds": self._why(sample)}
        if found.verdict == "normal" or not kinds:
            return replace(found, evidence=evidence)
        ranking = ranked(self.encoder, kinds, view_of(sample, found))
        words = found.explanation
        if found.verdict == "anomalous":
            words = f"{words} {apg.ranked(ranking)}"
        return replace(found, evidence=evidence | {"kinds": ranking}, explanation=words)

    def _why(self, sample: Sample) -> str:
        """Why no kind can be named for a part, and what would help."""
        if not reads(self.encoder):
            return (
                "The kind of an anomaly cannot be named: that compares the picture with words, "
                f"and the encoder {self.encoder.name} has no text tower. A CLIP model with an "
                "adapter for it can (encoder='clip-vit-h-14'), and so can a chat model as speaker "
                "(--llm)."
            )
        name = called(sample.class_name)
        return (
            "The kind of an anomaly cannot be named, and the map goes without abnormal prompts: "
            f"{generated.unknown(name, 'apg')} Name the class (--class), or have a language model "
            f"write prompts (blemish prompts make --style apg --class {name!r} --llm KIND:NAME "
            "--out FILE) and name the file (--option prompts=FILE)."
        )


def ranked(encoder: Any, kinds: Kinds, view: Sample) -> list[tuple[str, float]]:
    """Each kind with its share, 0 to 1, best first: figure 8.

    Args:
        encoder: with a text tower.
        kinds: of the part's class.
        view: the part, of one view.
    """
    (picture,) = encoder.embed([view.image])
    cosines = SCALE * (kinds.texts.astype(np.float64) @ picture)
    powers = np.exp(cosines - cosines.max())
    shares = (powers / powers.sum()).tolist()
    return sorted(zip(kinds.names, shares, strict=True), key=lambda one: -one[1])
