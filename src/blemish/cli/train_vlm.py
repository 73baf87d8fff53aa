"""`blemish train vlm`: fine-tune a local vision-language model on a user's own good pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blemish.cli import inspecting as shared
from blemish.cli import learning
from blemish.errors import OptionError

if TYPE_CHECKING:
    from blemish.llms.tuning import Tuning
    from blemish.training.log import Step

HELP = (
    "Fine-tune a local vision-language model by LoRA on the good pictures of a data set.\n\n"
    "Only normal training pictures are looked at: anomalies are made up. The model's own weights "
    "stay as they are; what it learnt is written beside. A training that was stopped goes on when "
    "the command is repeated."
)
_LONGEST = 64
"""Tokens of an answer on the sheets of samples."""


def vlm(
    data: learning.Data,
    llm: Annotated[
        str, typer.Option(help="The model: local:FOLDER or local:NAME_ON_THE_HUB.", metavar="LOCAL")
    ],
    out: Annotated[Path, typer.Option(help="Where the adapter goes.", metavar="ADAPTER")],
    rank: Annotated[int, typer.Option(help="Of the change to each layer.", min=1)] = 8,
    epochs: Annotated[int, typer.Option(help="How often each picture is seen.", min=1)] = 10,
    batch: Annotated[int, typer.Option(help="Questions a step.", min=1)] = 8,
    at_once: Annotated[
        int, typer.Option(help="Of these at the same time, as memory allows.", min=1)
    ] = 1,
    rate: learning.Rate = None,
    minutes: learning.Minutes = None,
    seed: Annotated[int, typer.Option(help="Of everything random.", min=0)] = 0,
    anomalies: learning.Anomalies = "nsa",
    descriptions: learning.Descriptions = None,
    dialogue: learning.Dialogue = None,
    device: shared.Device = "auto",
) -> None:
    """See `HELP`."""
    from blemish.prompts import anomalygpt as prompts
    from blemish.training import adapter, sheets
    from blemish.training import vlm as training
    from blemish.training.pictures import Pictures

    if batch % at_once:
        raise OptionError(
            f"--batch {batch} and --at-once {at_once} came; expected a batch that can be divided "
            f"into so many at a time, such as --batch {at_once * max(1, batch // at_once)}."
        )
    training.check_out(out)
    pictures = Pictures(data, seed=seed, anomalies=anomalies, descriptions=descriptions)
    talk = prompts.dialogue(dialogue)
    model = _model(llm, rank, seed, device)
    settings = training.settings(
        training.steps(len(pictures), epochs, batch * learning.processes()),
        rate=rate,
        accumulate=batch // at_once,
        seed=seed,
        minutes=minutes,
    )
    about = {
        "data": pictures.fingerprint,
        "questions": str(prompts.version()),
        "dialogue": adapter.digest_of(talk),
        "at once": str(at_once),
        "model": model.chat.fingerprint,
    }
    batches = training.Batches(pictures, at_once, seed=seed, dialogue=talk)
    if learning.first():
        learning.tell(pictures, settings.steps)

    def sample(step: Step) -> None:
        if sheets.due(step["step"], settings.steps):
            training.sample(out / training.WORK, step["step"], model, batches)

    ended = learning.train(model, batches, settings, out / training.WORK, about, pictures, sample)
    if not learning.first():
        return
    training.write(out, model, pictures, settings, learning.command())
    said = "Wrote" if ended == "done" else "Stopped in order; the same command goes on. So far in"
    typer.echo(f"{said} {out}. Ask it about a part:")
    typer.echo(f'  blemish ask PART "Is there any anomaly in the image?" --llm local:{out}')
    if ended == "stopped":
        raise typer.Exit(130)


def _model(llm: str, rank: int, seed: int, device: str) -> Tuning:
    """The model that is to learn."""
    from blemish import build
    from blemish.cli import screen
    from blemish.llms.tuning import Tuning

    kind, _, name = llm.partition(":")
    if kind != "local" or not name:
        raise OptionError(
            f"--llm {llm} came; what is trained has to run here: local:FOLDER or "
            "local:NAME_ON_THE_HUB, such as local:HuggingFaceTB/SmolVLM-256M-Instruct."
        )
    with screen.waiting("Loading the model"):
        where = learning.device(device)
        chat = build.language_model(llm, device=where, cache="off", max_new_tokens=_LONGEST)
        return Tuning(chat, name, rank=rank, seed=seed)  # type: ignore[arg-type]
