"""Prompts that a language model writes for a class (ALFA, arXiv 2404.09654), and their store.

Each class is one readable JSON file, which a person may edit. A bank for known classes ships as
data (bank/*.json), written for this project; wordings are data too (generated.json).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from blemish.errors import InputError, OutputError
from blemish.prompts._asked import Query, ask, folded
from blemish.prompts.contrast import called
from blemish.types import ChatModel

__all__ = [
    "Generated", "Query", "bank", "banked", "digest", "edited", "generate", "is_edited", "kept",
    "kept_at", "read", "write",
]  # fmt: skip


@dataclass(frozen=True)
class Generated:
    """Prompts for a class.

    Attributes:
        class_name: as the prompts call it.
        style: "alfa", or "apg" for those of IAD-GPT.
        normal: prompts for good parts, distinct.
        abnormal: prompts for anomalous parts, distinct, none of them among the normal ones.
        descriptors: what an anomaly may look like; may be empty.
        made_by: the model's name, or "written for this project".
        fingerprint: of the model; "" where a person wrote them.
        consistent: every prompt begins with "A normal image of" or "An abnormal image of"; the
            document calls this syntactic consistency.
        queries: what was asked and answered.
    """

    class_name: str
    style: str
    normal: tuple[str, ...]
    abnormal: tuple[str, ...]
    descriptors: tuple[str, ...] = ()
    made_by: str = ""
    fingerprint: str = ""
    consistent: bool = True
    queries: tuple[Query, ...] = ()


_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _File(BaseModel):
    """The JSON of a file. "names" are other names of a class of the bank."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[1]
    class_name: _Text = Field(alias="class")
    names: tuple[_Text, ...] = ()
    style: Literal["alfa", "apg"]
    made_by: str = ""
    fingerprint: str = ""
    consistent: bool = Field(default=True, alias="syntactic_consistency")
    sha256: str = ""
    queries: tuple[Query, ...] = ()
    normal: tuple[_Text, ...] = Field(min_length=1)
    abnormal: tuple[_Text, ...] = Field(min_length=1)
    descriptors: tuple[_Text, ...] = ()

    def generated(self) -> Generated:
        return Generated(**{one.name: getattr(self, one.name) for one in fields(Generated)})


def bank(class_name: str, style: str = "alfa") -> Generated | None:
    """The prompts that ship for a class; None where there are none.

    Args:
        class_name: as prompts speak of it or as its folder is called: "metal nut", "metal_nut".
        style: see `Generated`.
    """
    return _bank().get((called(class_name).casefold(), style))


def banked() -> tuple[Generated, ...]:
    """All prompts that ship, by class."""
    unique = {(one.class_name, one.style): one for one in _bank().values()}
    return tuple(unique[key] for key in sorted(unique))


@cache
def _bank() -> dict[tuple[str, str], Generated]:
    folder = files("blemish.prompts").joinpath("bank")
    known: dict[tuple[str, str], Generated] = {}
    for file in folder.iterdir() if folder.is_dir() else ():
        if file.name.endswith(".json"):
            one = _file(file.read_text("utf-8"), file.name)
            for name in (one.class_name, *one.names):
                known[called(name).casefold(), one.style] = one.generated()
    return known


def generate(class_name: str, model: ChatModel, *, consistent: bool = True) -> Generated:
    """Ask a language model for the prompts of a class.

    The document's questions come first. Where an answer holds no description, it is asked at most
    twice more; the descriptors may stay empty.

    Args:
        class_name: such as "metal nut".
        model: any chat model; it gets no picture.
        consistent: ask for prompts with the same beginning, and give it to those without.

    Raises:
        ChatError: the model gave no answer, or none with a description for one of the sides.
    """
    name = called(class_name)
    normal, abnormal, descriptors, queries = ask(model, name, consistent)
    return Generated(
        class_name=name,
        style="alfa",
        normal=normal,
        abnormal=abnormal,
        descriptors=descriptors,
        made_by=model.name,
        fingerprint=model.fingerprint,
        consistent=consistent,
        queries=queries,
    )


def kept(class_name: str, model: ChatModel, *, consistent: bool = True, folder: Path) -> Generated:
    """The prompts of a class as they are kept in a folder; made and kept where they are not there.

    Raises:
        ChatError: see `generate`.
        InputError: the kept file is damaged.
        OutputError: it cannot be written.
    """
    path = kept_at(class_name, model.fingerprint, consistent=consistent, folder=folder)
    if path.exists():
        return read(path)
    made = generate(class_name, model, consistent=consistent)
    write(made, path)
    return made


def kept_at(class_name: str, fingerprint: str, *, consistent: bool = True, folder: Path) -> Path:
    """Where `kept` keeps the prompts that a model of this fingerprint writes for a class."""
    name = called(class_name).casefold()
    plain = re.sub(r"[^\w-]+", "_", name)[:60]
    if plain != name.replace(" ", "_"):
        plain += f"-{_sha256(name)[:4]}"
    return folder / f"{plain}-alfa-{_code(fingerprint, consistent)}.json"


def _code(fingerprint: str, consistent: bool) -> str:
    return _sha256(json.dumps([fingerprint, consistent]))[:8]


def edited(folder: Path, model_fingerprint: str) -> list[str]:
    """The sha256 of the prompts in each kept file of a model that a person has changed.

    Raises:
        InputError: a kept file of this model is damaged.
    """
    codes = {_code(model_fingerprint, consistent) for consistent in (True, False)}
    found = (_read(path) for code in codes for path in folder.glob(f"*-alfa-{code}.json"))
    return sorted(now for one in found if (now := digest(one.generated())) != one.sha256)


def is_edited(path: Path) -> bool:
    """Whether a person changed the prompts of a file, or wrote them.

    Raises:
        InputError: the file is damaged.
    """
    found = _read(path)
    return found.sha256 != digest(found.generated())


def digest(prompts: Generated) -> str:
    """The sha256 of the prompts themselves."""
    return _sha256(json.dumps([prompts.normal, prompts.abnormal, prompts.descriptors]))


def read(path: str | Path) -> Generated:
    """Prompts from a file.

    Raises:
        InputError: it is not there, damaged, or of another form; the message says what is wrong.
    """
    return _read(path).generated()


def _read(path: str | Path) -> _File:
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise InputError(
            f"The prompts {path} cannot be read: {error}. `blemish prompts make` writes such a "
            "file."
        ) from error
    return _file(text, str(path))


def write(prompts: Generated, path: str | Path) -> None:
    """Write prompts to a file, whole or not at all; its folder is made if need be.

    Raises:
        OutputError: it cannot be written.
    """
    path = Path(path)
    body = {
        "version": 1,
        "class": prompts.class_name,
        "style": prompts.style,
        "made_by": prompts.made_by,
        "fingerprint": prompts.fingerprint,
        "syntactic_consistency": prompts.consistent,
        "sha256": digest(prompts),
        "queries": [asdict(query) for query in prompts.queries],
        "normal": prompts.normal,
        "abnormal": prompts.abnormal,
        "descriptors": prompts.descriptors,
    }
    text = json.dumps(body, indent=2, ensure_ascii=False)
    scratch = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write((text + "\n").encode("utf-8", "replace"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError as error:
        raise OutputError(
            f"The prompts cannot be written to {path}: {error.strerror or error}. Make room, or "
            "name a file that can be written."
        ) from error
    finally:
        with suppress(OSError):
            os.unlink(scratch)


def _file(text: str, name: str) -> _File:
    """The text of a file that goes by this name."""
    try:
        found = _File.model_validate_json(text)
        problem = _said_twice(found)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        problem = f"{place}: {first['msg']}" if place else first["msg"]
    if problem:
        raise InputError(
            f"The prompts {name} cannot be used: {problem}. docs/prompts.md shows what such a file "
            "holds; `blemish prompts make` writes one."
        )
    return found


def _said_twice(file: _File) -> str:
    for side in (file.normal, file.abnormal, file.descriptors):
        if twice := [text for text, count in Counter(map(folded, side)).items() if count > 1]:
            return f"'{twice[0]}' stands there twice"
    both = set(map(folded, file.normal)) & set(map(folded, file.abnormal))
    return f"'{min(both)}' stands on both sides, normal and abnormal" if both else ""


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
