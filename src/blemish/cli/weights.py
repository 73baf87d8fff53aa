"""`blemish weights`: what models are used, where they are, whether they are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blemish.errors import OptionError, WeightsError

app = typer.Typer(help="List, fetch and verify the model weights.", no_args_is_help=True)
imports = typer.Typer(help="Make an adapter of published checkpoints.", no_args_is_help=True)
app.add_typer(imports, name="import")
SAID = {"unchecked": "here, not checked: its publisher's checksum is not known"}


@app.command("list")
def list_() -> None:
    """List all weights: whether they are here, their size, licence and origin."""
    from blemish import weights

    states = dict(weights.verify())
    for row in weights.table():
        typer.echo(f"{row.name}: {states[row.name]}, {row.bytes / 1e6:.0f} MB")
        typer.echo(f"  {row.what}\n  licence: {row.licence}\n  from: {row.origin}")
    for named in weights.checkpoints():
        state = states[named.name]
        typer.echo(f"{named.name}: {SAID.get(state, state)}\n  {named.what}")
        typer.echo(f"  licence: {named.licence}\n  from: the Hugging Face hub, {named.repository}")


@app.command()
def pull(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None,
    everything: Annotated[
        bool, typer.Option("--all", metavar="", help="All but the hub's, which are gigabytes.")
    ] = False,
) -> None:
    """Bring weights into the cache, so that inspecting needs no network."""
    from blemish import weights

    checked = [row.name for row in weights.table()]
    named = [row.name for row in weights.checkpoints()]
    if bool(names) == everything:
        known = ", ".join(checked + named)
        raise OptionError(f"Name the weights to fetch, or give --all. Known: {known}.")
    for name in checked if everything else names or []:
        typer.echo(f"{name}: {fetched(name)}")


def fetched(name: str) -> Path:
    """Weights by their name, brought into the cache unless they are there."""
    from blemish import weights
    from blemish.cli import screen

    if name in {row.name for row in weights.checkpoints()}:
        return weights.pull(name)  # the hub's client has bars of its own
    with screen.progress(f"Fetching {name}", "B") as update:
        return weights.pull(name, update)


@app.command()
def verify() -> None:
    """Check every file in the cache against its sha256; exit code 2 where one is damaged."""
    from blemish import weights

    states = weights.verify()
    for name, state in states:
        typer.echo(f"{name}: {SAID.get(state, state)}")
    damaged = [name for name, state in states if state == "damaged"]
    if damaged:
        raise WeightsError(
            f"The cached file of {', '.join(damaged)} does not match its sha256. Fetch it again: "
            f"blemish weights pull {' '.join(damaged)}"
        )


@imports.command("anomalygpt", no_args_is_help=True)
def anomalygpt(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CKPT", help="pytorch_model.pt of AnomalyGPT.")
    ],
    pandagpt: Annotated[
        Path, typer.Option(metavar="DELTA", help="pytorch_model.pt of PandaGPT's 7B delta.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the adapter goes.")],
    trained_on: Annotated[
        str, typer.Option(metavar="SET", help="mvtec-ad or visa, for `blemish bench`.")
    ] = "",
) -> None:
    """Turn AnomalyGPT's own checkpoint, which stands on PandaGPT's, into an adapter.

    Both files are checked for missing and unexpected tensors, and written as safetensors.
    """
    from dataclasses import replace

    from blemish.detectors import _anomalygpt_import

    config = replace(_anomalygpt_import.PUBLISHED, trained_on=trained_on)
    _anomalygpt_import.convert(checkpoint, pandagpt, out, config)
    typer.echo(f"Wrote {out}. It goes with CLIP ViT-H/14 and Vicuna-7B version 0:")
    typer.echo(
        f"  blemish inspect PART --normal GOOD --detector anomalygpt --option adapter={out} "
        "--option encoder=clip-vit-h-14 --option language_model=VICUNA --device cuda"
    )
