"""The anomaly prompts of one class, as ALFA (2404.09654) gathers them, in the joint space.

Section 4.2: the vanilla prompts are those of the unified template, T_CS, and those of a language
model, T_G. Where they come from, the first that is there: a file that a person names, a language
model, the bank that ships with blemish.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blemish.classes import named
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
    by: Source = "language model" if written and written.fingerprint else "written"
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
        written.made_by if written else "",
    )


def written(class_name: str, path: str, model: ChatModel | None, *, consistent: bool) -> Generated:
    """What a language model wrote about a class.

    Args:
        class_name: of the part.
        path: a file of prompts, or a folder with one for each class; "" for none.
        model: is asked, once for a class; None where there is none.
        consistent: with syntactic consistency (ALFA, table 3).

    Raises:
        OptionError: nothing has prompts for this class.
        ChatError: the model gave none.
    """
    found = None
    if path:
        found = _in_files(class_name, Path(path).expanduser())
    elif model is not None:
        folder = settings().cache / "prompts"
        found = generated.kept(class_name, model, consistent=consistent, folder=folder)
    elif consistent:
        found = generated.bank(class_name)
    if found is None:
        where = f"{path} has" if path else "There are"
        raise OptionError(
            f"{where} no prompts of a language model for the class {class_name!r}. Name the class "
            "as `blemish prompts show` lists it (on the command line: --class), have a model write "
            f"them (blemish prompts make --class {class_name!r} --llm KIND:NAME), or go without "
            "them (llm_prompts=false)."
        )
    return found


def _in_files(class_name: str, path: Path) -> Generated | None:
    """A named file, whatever its class; of a folder, the file that is of this class."""
    if not path.is_dir():
        return generated.read(path)
    for file in sorted(path.glob("*.json")):
        found = generated.read(file)
        if contrast.called(found.class_name).casefold() == contrast.called(class_name).casefold():
            return found
    return None


def first(written: Generated, most: int | None) -> Generated:
    """The same with at most so many prompts a side."""
    return replace(written, normal=written.normal[:most], abnormal=written.abnormal[:most])


def fingerprint(path: str, model: str) -> list[str]:
    """Changes whenever the prompts of a class may: the files', the model's, or the bank's.

    Args:
        path: as for `written`.
        model: the fingerprint of the language model, or "".

    Raises:
        OptionError: there is no such file or folder.
    """
    if path:
        named = Path(path).expanduser()
        if not named.exists():
            raise OptionError(
                f"prompts={path} names no file and no folder. Make a file with `blemish prompts "
                "make`, or leave the option out."
            )
        some = sorted(named.glob("*.json")) if named.is_dir() else [named]
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in some]
    if model:
        return [model, *generated.edited(settings().cache / "prompts", model)]
    return [generated.digest(one) for one in generated.banked()]
