"""What `blemish chat` and `blemish ask` share: parts that are inspected, and who talks of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blemish.errors import InputError, OptionError

if TYPE_CHECKING:
    from blemish.cli.preparing import Prepared
    from blemish.runs.sources import Item
    from blemish.types import ChatModel, Inspection, Sample

DetectorName = Annotated[
    str, typer.Option(help="Who inspects: a name, or the folder of a saved detector.")
]
GOOD = 2
"""Good parts that a chat model is shown beside the inspected ones."""


def prepared(
    pictures: Sequence[str],
    normal: Sequence[str] | None,
    options: dict[str, Any],
    models: Sequence[ChatModel],
    **named: Any,
) -> Prepared:
    """The detector, fitted, and the pictures; a detector that asks a model gets the first.

    Raises:
        BlemishError: something that was named does not exist, or nobody would talk.
    """
    from blemish import registry
    from blemish.cli.preparing import Command
    from blemish.cli.preparing import prepared as prepare

    entry = registry.detectors().get(named["detector"])
    if entry and not models and not hasattr(registry.resolve(entry.target), "speaker"):
        raise OptionError(
            f"{entry.name} has no language model to talk with. Add --llm, such as --llm "
            "openai:gpt-5, or take --detector anomalygpt."
        )
    if entry and entry.needs == "language model" and models:
        options = {"language_model": models[0], **options}
    found(pictures)
    return prepare(Command(pictures, normal or [], option=options, **named))


def shown(ready: Prepared, item: Item) -> tuple[Sample, Inspection]:
    """A picture and what the detector finds on it.

    Raises:
        BlemishError: it cannot be read or inspected.
    """
    from blemish.cli import screen
    from blemish.images import read_image

    with screen.waiting("Inspecting"):
        sample = ready.context.sample(read_image(item.path), item.id)
        return sample, ready.detector.predict([sample])[0]


def found(named: Sequence[str]) -> list[Item]:
    """The pictures that a person names.

    Raises:
        InputError: there are none, or something else.
    """
    from blemish.runs import sources

    items = sources.find(named)
    if other := [item for item in items if item.modality]:
        raise InputError(
            f"{other[0].id} is a {other[0].modality}; expected pictures of parts. Recordings go "
            "through blemish inspect."
        )
    return items


def references(normal: Sequence[str] | None, class_name: str) -> tuple[Sample, ...]:
    """A few of the good parts, for speakers that look at pictures."""
    from blemish.images import read_image

    if not normal:
        return ()
    from blemish.types import Sample

    few = found(normal)[:GOOD]
    return tuple(Sample(read_image(item.path), class_name, id=item.id) for item in few)


def printable(text: str) -> str:
    """A model's words without signs that would steer a terminal."""
    return "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text)


def say(found: Inspection, number: int | None = None) -> None:
    """Print the verdict on a part, and its explanation."""
    from rich.text import Text

    from blemish.cli import screen
    from blemish.runs.pictures import said

    console = screen.console()
    reason = f" ({found.reason})" if found.reason else ""
    before = "" if number is None else f"{number}  "
    line = f"{before}{found.id}: {said(found.verdict, found.score)}{reason}"
    console.print(Text(line, screen.COLOURS[found.verdict]), soft_wrap=True)
    if found.explanation:
        console.print(Text(printable(found.explanation)), soft_wrap=True)
