"""The file of a class's prompts: plain JSON that a person may edit."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from blemish.errors import InputError, OutputError
from blemish.files import install
from blemish.prompts._asked import Query, folded

Style = Literal["alfa", "apg"]


@dataclass(frozen=True)
class Generated:
    """Prompts for a class.

    Attributes:
        class_name: as the prompts call it.
        style: "alfa", or "apg" for those of IAD-GPT.
        normal: prompts for good parts, distinct; may be empty with "apg".
        abnormal: prompts for anomalous parts, distinct, none of them among the normal ones; with
            "apg" one for each descriptor, in their order, that begins with it: "crack: an ...".
        descriptors: what an anomaly may look like; may be empty with "alfa".
        made_by: the model's name, or "written for this project".
        fingerprint: of the model; "" where a person wrote them.
        consistent: every prompt begins with "A normal image of" or "An abnormal image of"; the
            document calls this syntactic consistency.
        queries: what was asked and answered.
        names: other names of the class.
        edited: a person changed what the model wrote.
    """

    class_name: str
    style: Style
    normal: tuple[str, ...]
    abnormal: tuple[str, ...]
    descriptors: tuple[str, ...] = ()
    made_by: str = ""
    fingerprint: str = ""
    consistent: bool = True
    queries: tuple[Query, ...] = ()
    names: tuple[str, ...] = ()
    edited: bool = False

    @property
    def author(self) -> str:
        """Who the prompts are from, such as "gpt-5, edited by hand".

        >>> Generated("cup", "alfa", ("a whole cup",), ("a broken cup",)).author
        'by hand'
        """
        return (self.made_by or "by hand") + ", edited by hand" * self.edited


_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class File(BaseModel):
    """The JSON of a file. `sha256` is that of the prompts as a model wrote them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[1]
    class_name: _Text = Field(alias="class")
    names: tuple[_Text, ...] = ()
    style: Style
    made_by: str = ""
    fingerprint: str = ""
    consistent: bool = Field(default=True, alias="syntactic_consistency")
    sha256: str = ""
    queries: tuple[Query, ...] = ()
    normal: tuple[_Text, ...] = ()
    abnormal: tuple[_Text, ...] = Field(min_length=1)
    descriptors: tuple[_Text, ...] = ()

    def generated(self) -> Generated:
        """The prompts, and whether they are others than those that a model wrote."""
        known = {one.name for one in fields(Generated)} & set(type(self).model_fields)
        made = Generated(**{name: getattr(self, name) for name in known})
        return replace(made, edited=self.sha256 not in ("", digest(made)))


def digest(prompts: Generated) -> str:
    """The sha256 of the prompts themselves."""
    return sha256(json.dumps([prompts.normal, prompts.abnormal, prompts.descriptors]))


def read(path: str | Path) -> Generated:
    """Prompts from a file.

    Raises:
        InputError: it is not there, damaged, or of another form; the message says what is wrong.
    """
    return stored(path).generated()


def stored(path: str | Path) -> File:
    """A file as it stands. Raises InputError as `read` does."""
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise InputError(
            f"The prompts {path} cannot be read: {error}. `blemish prompts make` writes such a "
            "file."
        ) from error
    return parsed(text, str(path))


def write(prompts: Generated, path: str | Path) -> None:
    """Write prompts to a file, whole or not at all; its folder is made if need be.

    Prompts that replace a file, or that a person edited, state no sha256: they count as changed
    (`is_edited`), so a detector that reads them from there has another fingerprint than before.

    Raises:
        OutputError: it cannot be written.
    """
    path = Path(path)
    body = {
        "version": 1,
        "class": prompts.class_name,
        "names": prompts.names,
        "style": prompts.style,
        "made_by": prompts.made_by,
        "fingerprint": prompts.fingerprint,
        "syntactic_consistency": prompts.consistent,
        "sha256": "" if prompts.edited or os.path.exists(path) else digest(prompts),
        "queries": [asdict(query) for query in prompts.queries],
        "normal": prompts.normal,
        "abnormal": prompts.abnormal,
        "descriptors": prompts.descriptors,
    }
    text = json.dumps(body, indent=2, ensure_ascii=False) + "\n"
    try:
        install(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise OutputError(
            f"The prompts cannot be written to {path}: {error.strerror or error}. Make room, or "
            "name a file that can be written."
        ) from error


def parsed(text: str, name: str) -> File:
    """The text of a file that goes by this name."""
    try:
        found = File.model_validate_json(text)
        problem = _said_twice(found) or _unlike_style(found)
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


def _said_twice(file: File) -> str:
    for side in (file.normal, file.abnormal, file.descriptors):
        if twice := [text for text, count in Counter(map(folded, side)).items() if count > 1]:
            return f"'{twice[0]}' stands there twice"
    both = set(map(folded, file.normal)) & set(map(folded, file.abnormal))
    return f"'{min(both)}' stands on both sides, normal and abnormal" if both else ""


def _unlike_style(file: File) -> str:
    if file.style == "alfa":
        return "" if file.normal else "normal: expected a sentence at least"
    if len(file.descriptors) != len(file.abnormal):
        return (
            f"{len(file.abnormal)} abnormal prompts and {len(file.descriptors)} descriptors; "
            "style 'apg' has one prompt for each, in the same order"
        )
    for keyword, prompt in zip(file.descriptors, file.abnormal, strict=True):
        if not folded(prompt).startswith(f"{folded(keyword)}:"):
            return f"'{prompt}' does not begin with its descriptor, '{keyword}:'"
    return ""


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
