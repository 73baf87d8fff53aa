"""The anomaly prompts of one class, as ALFA (2404.09654) gathers them, in the joint space.

Section 4.2: the vanilla prompts are those of the unified template, T_CS, and those of a language
model, T_G. Where they come from, the first that is there: a file that a person names, a language
model, the bank that ships with blemish.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blemish.classes import named
from blemish.detectors import _saved
from blemish.detectors._explained import Source
from blemish.errors import OptionError
from blemish.prompts import contrast, generated
from blemish.prompts.contrast import Prompts
from blemish.prompts.generated import Generated
from blemish.settings import settings
from blemish.types import ChatModel

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class AnomalyPrompts:
    """P prompts of one class, those of the template first, normal ones before abnormal ones.

    The document does not say how a descriptor meets CLIP: here as "a photo of a bottle with a
    chipped rim".

    Attributes:
        texts: P prompts, each once a side.
        abnormal: (P,) bool, which side each speaks for.
        sources: P names of what made them.
        embeddings: (P, D) float32, L2-normalised.
        descriptors: what an anomaly of this class may look like.
        described: (Q, D) float32, the descriptors in the joint space.
        made_by: the language model that wrote prompts and descriptors; "" for none.
    """

    texts: tuple[str, ...]
    abnormal: NDArray[np.bool_]
    sources: tuple[Source, ...]
    embeddings: Floats
    descriptors: tuple[str, ...]
    described: Floats
    made_by: str


def assembled(
    class_name: str,
    templates: Prompts,
    written: Generated | None,
    encode: Callable[[Sequence[str]], Floats],
) -> AnomalyPrompts:
    """Both kinds of prompts together; one that both give counts as the template's.

    A text that stands for both states tells nothing, and is left out.

    Args:
        class_name: of the part.
        templates: of the unified template, T_CS; may be empty.
        written: by a language model, T_G and descriptors.
        encode: from texts to the joint space.
    """
    model = written or Prompts((), ())
    by: Source = "written"
    if written and written.fingerprint and not written.edited:
        by = "language model"
    kinds: tuple[tuple[Source, bool, Sequence[str]], ...] = (
        ("template", False, templates.normal),
        ("template", True, templates.abnormal),
        (by, False, model.normal),
        (by, True, model.abnormal),
    )
    both = {*templates.normal, *model.normal} & {*templates.abnormal, *model.abnormal}
    sources: dict[tuple[str, bool], Source] = {}
    for source, abnormal, said in kinds:
        for text in said:
            if text not in both:
                sources.setdefault((text, abnormal), source)
    texts = tuple(text for text, _ in sources)
    part = named(contrast.called(class_name)).with_article
    descriptors = written.descriptors if written else ()
    return AnomalyPrompts(
        texts,
        np.array([abnormal for _, abnormal in sources]),
        tuple(sources.values()),
        encode(texts),
        descriptors,
        encode([f"a photo of {part} with {d}" for d in descriptors]),
        written.author if written else "",
    )


class PromptSource:
    """Where what a language model wrote about a class comes from.

    Args:
        path: a file of prompts, or a folder with one for each class; "" for none.
        model: is asked, once for a class; None where there is none.
        consistent: with syntactic consistency (ALFA, table 3).

    Attributes:
        fingerprint: changes whenever the prompts of a class may: with the named files, the model
            and the files of its prompts that a person edited, or the bank.

    Raises:
        OptionError: the path names nothing.
    """

    def __init__(self, path: str, model: ChatModel | None, consistent: bool) -> None:
        self._path = Path(path).expanduser() if path else None
        self._model, self._consistent = model, consistent
        self._folder = settings().cache / "prompts"
        if self._path is not None:
            said = digests(self._path)
        elif model is not None:
            said = [model.fingerprint, *generated.edited(self._folder, model.fingerprint)]
        else:
            said = [generated.digest(one) for one in generated.banked()]
        self.fingerprint = _saved.fingerprint(said, consistent)

    def written(self, class_name: str) -> Generated:
        """The prompts of a class.

        Raises:
            OptionError: nothing has any for this class.
            ChatError: the model gave none.
        """
        if self._path is not None:
            return generated.find(self._path, class_name)
        if self._model is not None:
            return generated.kept(
                class_name, self._model, consistent=self._consistent, folder=self._folder
            )
        if not self._consistent:
            raise OptionError(
                "The prompts that ship with blemish are syntactically consistent, and others were "
                "asked for. Name a language model that writes them (on the command line: --llm), "
                "or leave syntactic_consistency=true."
            )
        found = generated.bank(class_name)
        if found is None:
            raise OptionError(
                f"{generated.unknown(class_name)} Name the class (on the command line: --class), "
                "have a language model write prompts (blemish prompts make --class "
                f"{class_name!r} --llm KIND:NAME), or go without them (llm_prompts=false)."
            )
        return found


def digests(path: str | Path) -> list[str]:
    """The sha256 of a file of prompts, or of each file of a folder.

    Raises:
        OptionError: the path names nothing.
    """
    path = Path(path).expanduser()
    if not os.path.exists(path):  # of a name that is too long, Path raises an error
        raise OptionError(
            f"prompts={path} names no file and no folder. Make a file with `blemish prompts "
            "make`, or leave the option out."
        )
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    return [_saved.digest(file.read_bytes()) for file in files]
