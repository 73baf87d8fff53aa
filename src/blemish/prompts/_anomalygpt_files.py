"""Files of AnomalyGPT's texts that a user may write: dialogue for training, descriptions."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from blemish.errors import InputError
from blemish.prompts.contrast import called

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    example: ClassVar[str]
    version: Literal[1]
    source: str = ""


_File = TypeVar("_File", bound=_Strict)


class Pair(BaseModel):
    """A question and its answer, of a picture or of none.

    Attributes:
        question: what a person asks.
        answer: what the model is to say.
        image: the picture it is about; None for words only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: _Text
    answer: _Text
    image: Path | None = None


class _Dialogue(_Strict):
    example: ClassVar[str] = '{"version": 1, "pairs": [{"question": "A dent?", "answer": "..."}]}'
    pairs: tuple[Pair, ...] = Field(min_length=1)


class _Descriptions(_Strict):
    example: ClassVar[str] = '{"version": 1, "descriptions": {"left hinge": "This is a ..."}}'
    descriptions: dict[_Text, Annotated[str, StringConstraints(strip_whitespace=True)]]


def dialogue(path: str | Path | None = None) -> tuple[Pair, ...]:
    """Question and answer pairs of other things, which keep a trained model able to talk.

    Args:
        path: a JSON file of the form of general.json, {"version": 1, "pairs": [{"question": "...",
            "answer": "...", "image": "..."}]}, where a picture's path, which may be left out, is
            taken from the file's folder. None for the pairs written for this project.

    Raises:
        InputError: the file or a picture is not there, or something in it is of another form.
    """
    if path is None:
        text = files("blemish.prompts").joinpath("general.json").read_text("utf-8")
        return _checked(_Dialogue, text, "general.json").pairs
    folder, found = Path(path).parent, _checked(_Dialogue, _text(path), str(path)).pairs
    placed = [p.model_copy(update={"image": folder / p.image}) if p.image else p for p in found]
    for number, pair in enumerate(placed):
        if pair.image and not pair.image.is_file():
            raise InputError(
                f"{path} cannot be used: pairs.{number}.image: there is no picture {pair.image}. "
                "Put it there, or leave the image out for a question without one."
            )
    return tuple(placed)


def descriptions(path: str | Path) -> dict[str, str]:
    """A user's own image descriptions by class.

    Args:
        path: a JSON file, {"version": 1, "descriptions": {"left hinge": "This is a photo of a
            left hinge for anomaly detection, which should have three holes."}}; "" gives a class
            none.

    Raises:
        InputError: the file is not there, or something in it is of another form.
    """
    found = _checked(_Descriptions, _text(path), str(path)).descriptions
    return {called(name).casefold(): text for name, text in found.items()}


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}. Name a JSON file in UTF-8.") from error


def _checked(form: type[_File], text: str, name: str) -> _File:
    try:
        return form.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{name} cannot be used: {place and f'{place}: '}{first['msg']}. Expected JSON "
            f"such as {form.example}"
        ) from error
