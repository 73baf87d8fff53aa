"""What the commands of `blemish train` share: their options, and a training to look at."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from blemish.cli import inspecting as shared

if TYPE_CHECKING:
    from blemish.training.log import Step
    from blemish.training.loop import Trainable
    from blemish.training.pictures import Pictures
    from blemish.training.settings import TrainSettings

Data = Annotated[
    Path, typer.Option(help="A data set, or a folder of good pictures.", metavar="FOLDER")
]
Out = Annotated[Path, typer.Option(help="Where the adapter goes.", metavar="ADAPTER")]
Encoder = Annotated[str, typer.Option(help="Image encoder, frozen.")]
Causal = Annotated[
    str, typer.Option(help="Language model, frozen: a name, a folder or one of the hub.")
]
Start = Annotated[
    str,
    typer.Option(
        help="shipped, new, an adapter's folder, or PandaGPT's file; shipped where it fits.",
        show_default=False,
    ),
]
Batch = Annotated[int, typer.Option(help="Pictures a step.", min=1)]
Seed = Annotated[int, typer.Option(help="Of everything random.", min=0)]
Rate = Annotated[float | None, typer.Option(help="The highest learning rate.", min=1e-9)]
Minutes = Annotated[
    float | None, typer.Option(help="Stop in order after so long; repeat to go on.", min=1e-9)
]
Anomalies = Annotated[
    Literal["nsa", "cutpaste", "both"],
    typer.Option(help="How anomalies are made up: patches blended in or pasted."),
]
Descriptions = Annotated[
    Path | None, typer.Option(help="Your own descriptions of the parts, JSON.", metavar="FILE")
]
Dialogue = Annotated[
    Path | None,
    typer.Option(help="Questions about other things, and their answers, JSON.", metavar="FILE"),
]


def train(
    model: Trainable,
    batches: Callable[[int], Any],
    settings: TrainSettings,
    folder: Path,
    about: Mapping[str, str],
    pictures: Pictures,
    on_step: Callable[[Step], None] = lambda _: None,
) -> Literal["done", "late", "stopped"]:
    """Train into a folder with a bar to look at, or lines where there is no terminal.

    Args:
        model: learns in place.
        batches: see `blemish.training.loop.train`, as for the next three.
        settings: how to train.
        folder: holds the checkpoint.
        about: what else decides the result.
        pictures: those that could not be used are told.
        on_step: called after each step, in the first process.

    Returns:
        "done"; "late" where the minutes were over before; "stopped" where a person stopped it.
    """
    from blemish.cli import screen
    from blemish.training import checkpoint, loop

    asked, told = threading.Event(), set[str]()
    plain = not screen.console(stderr=True).is_terminal

    def show(step: Step) -> None:
        done, losses = step["step"], ", ".join(f"{k} {v:.3f}" for k, v in step["parts"].items())
        update(done, settings.steps, f"Training: {losses}")
        if plain and (done % settings.every == 0 or done == settings.steps):
            seconds = f"{step['seconds']:.1f} s a step"
            typer.echo(f"step {done} of {settings.steps}: {losses}; {seconds}", err=True)
        for unused in pictures.left_out:
            if unused.id not in told:
                told.add(unused.id)
                typer.echo(f"Left out: {unused.message}", err=True)
        on_step(step)

    bar = screen.progress("Training") if first() else contextlib.nullcontext(_silent)
    with shared.interruptible(asked.set), bar as update:
        loop.train(model, batches, settings, folder, show, about, asked.is_set)
    saved = checkpoint.read(folder)
    if saved is not None and saved.step == settings.steps:
        return "done"
    return "stopped" if asked.is_set() else "late"


def _silent(done: int, total: int, text: str = "") -> None:
    """Another process has the bar."""


def tell(pictures: Pictures, steps: int) -> None:
    """Say what is learnt from, how long, and where the pictures are too few."""
    counts = ", ".join(f"{name} ({count})" for name, count in pictures.counts.items())
    typer.echo(f"{steps} steps on good pictures of {counts}.")
    alone = [name for name, count in pictures.counts.items() if count == 1]
    if alone and pictures.anomalies != "cutpaste":
        typer.echo(
            f"Only one picture of {', '.join(alone)}: its anomalies are cut from itself. More good "
            "pictures make better ones.",
            err=True,
        )


def command() -> str:
    """What was typed, for a model card."""
    return shlex.join(["blemish", *sys.argv[1:]])


def device(choice: str) -> str:
    """The device of this process among those that a launcher started together."""
    from blemish import build

    found = build.device_named(choice)
    own = os.environ.get("LOCAL_RANK")
    return f"{found}:{own}" if found == "cuda" and own else found


def processes() -> int:
    """How many a launcher started together; each learns from batches of its own."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return os.environ.get("RANK", "0") == "0"
