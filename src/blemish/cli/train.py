"""`blemish train`: learn from a user's own good pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blemish.cli import inspecting as shared
from blemish.cli import learning, train_vlm

if TYPE_CHECKING:
    from blemish.training.anomalygpt import Learner
    from blemish.training.batches import PictureBatches
    from blemish.training.log import Step
    from blemish.training.settings import TrainSettings

HELP = (
    "Train an adapter of AnomalyGPT on the good pictures of a data set.\n\n"
    "Only normal training pictures are looked at: anomalies are made up, and anomalous pictures "
    "and masks of the set stay unseen. A training that was stopped goes on when the command is "
    "repeated."
)
EXIT_CODES = "Exit codes: 0 done, or stopped by --minutes; 2 it cannot be trained; 130 stopped."
app = typer.Typer(help="Learn from your own pictures.", no_args_is_help=True)


@app.command("anomalygpt", help=HELP, epilog=EXIT_CODES, no_args_is_help=True)
def anomalygpt(
    data: learning.Data,
    out: Annotated[Path, typer.Option(help="Where the adapter goes.", metavar="ADAPTER")],
    encoder: Annotated[str, typer.Option(help="Image encoder, frozen.")] = "dinov2-small",
    llm: Annotated[
        str, typer.Option(help="Language model, frozen: a name, a folder or one of the hub.")
    ] = "smollm2-135m",
    start: Annotated[
        str,
        typer.Option(
            help="shipped, new, or an adapter's folder; the shipped one where it fits.",
            show_default=False,
        ),
    ] = "",
    epochs: Annotated[
        int | None,
        typer.Option(help="How often each picture is seen.", min=1, show_default="50"),
    ] = None,
    batch: Annotated[int, typer.Option(help="Pictures a step.", min=1)] = 16,
    rate: learning.Rate = None,
    minutes: learning.Minutes = None,
    seed: Annotated[int, typer.Option(help="Of everything random.", min=0)] = 0,
    anomalies: learning.Anomalies = "nsa",
    descriptions: learning.Descriptions = None,
    dialogue: learning.Dialogue = None,
    lora: Annotated[
        bool, typer.Option("--lora", help="The language model learns too, by LoRA.")
    ] = False,
    prompt_learner: Annotated[
        bool,
        typer.Option(
            " /--no-prompt-learner",
            help="The language model sees the picture only.",
            show_default=False,
        ),
    ] = True,
    decoder: Annotated[
        bool,
        typer.Option(
            " /--no-decoder", help="No maps: picture and base embeddings only.", show_default=False
        ),
    ] = True,
    device: shared.Device = "auto",
    dtype: shared.Dtype = "auto",
) -> None:
    """See `HELP`."""
    from blemish.cli import screen
    from blemish.prompts import anomalygpt as prompts
    from blemish.training import adapter
    from blemish.training.batches import PictureBatches
    from blemish.training.pictures import Pictures

    adapter.check_out(out)
    pictures = Pictures(data, seed=seed, anomalies=anomalies, descriptions=descriptions)
    talk = prompts.dialogue(dialogue)
    with screen.waiting("Loading the models"):
        parts = _models(encoder, llm, device, dtype)
    begun = _start(start, encoder, llm)
    kept = {"prompt_learner": prompt_learner, "decoder": decoder}
    left_out = [name for name, wanted in kept.items() if not wanted]
    learner = adapter.learner(pictures, *parts, begun, seed, lora=lora, left_out=left_out)
    started = begun is not None
    together = learning.processes()
    length = adapter.steps(len(pictures), epochs, batch * together, started)
    settings = adapter.settings(length, rate=rate, started=started, seed=seed, minutes=minutes)
    batches = PictureBatches(
        pictures,
        parts[0],
        learner.config.layers,
        size=batch,
        seed=seed,
        dialogue=talk,
        alone=adapter.alone(length, started) * together,
        maps=not left_out,
    )
    about = {
        "data": pictures.fingerprint,
        "questions": str(prompts.version()),
        "start": adapter.digest(begun),
        "batch": str(batch),
        "left out": ", ".join(left_out),
        "dialogue": adapter.digest_of(talk),
        "encoder": parts[0].fingerprint,
        "language model": parts[1].fingerprint,
    }
    named = {"encoder": encoder, "language_model": llm}
    _train(out, learner, batches, settings, about, named)


app.command("vlm", help=train_vlm.HELP, epilog=EXIT_CODES, no_args_is_help=True)(train_vlm.vlm)


def _models(encoder: str, llm: str, device: str, dtype: str) -> tuple[Any, Any]:
    """Encoder and language model; in 16 bits on a GPU, the encoder in 8 on a CPU if it can."""
    from blemish import build
    from blemish.llms.causal import Causal
    from blemish.training import adapter

    where = learning.device(device)
    own = "float32" if where == "cpu" else "bfloat16"
    quick = adapter.QUICK.get(encoder, own) if where == "cpu" else own
    seeing = build.encoder(encoder, device=where, dtype=quick if dtype == "auto" else dtype)
    return seeing, Causal(llm, device=where, dtype=own)


def _start(start: str, encoder: str, llm: str) -> Path | None:
    """The adapter to start from; None for a new one."""
    from blemish import registry
    from blemish.detectors.anomalygpt import adapter_folder

    own = registry.detector("anomalygpt").parts
    if not start:
        start = "shipped" if (encoder, llm) == (own["encoder"], own["language_model"]) else "new"
    if start == "new":
        return None
    return adapter_folder("" if start == "shipped" else start)


def _train(
    out: Path,
    learner: Learner,
    batches: PictureBatches,
    settings: TrainSettings,
    about: dict[str, str],
    named: dict[str, str],
) -> None:
    """Train, write the adapter, and say what to do next."""
    from blemish.training import adapter, samples, sheets

    folder, pictures = out / adapter.TRAINING, batches.pictures
    if learning.first():
        learning.tell(pictures, settings)

    def sample(step: Step) -> None:
        if sheets.due(step["step"], settings.steps):
            samples.write(folder, step["step"], learner, batches)

    ended = learning.train(learner, batches, settings, folder, about, pictures, sample)
    if not learning.first():
        return
    done = adapter.write(out, learner, settings, learning.command())
    if ended == "done":
        typer.echo(f"Wrote {out}. Look at the pictures in {folder / sheets.FOLDER}, then:")
    else:
        typer.echo(
            f"Stopped in order after {done} of {settings.steps} steps; the same command goes on. "
            f"What was learnt so far is in {out}:"
        )
    typer.echo(f"  blemish inspect PART --normal GOOD {_options(named)} --option adapter={out}")
    if ended == "stopped":
        raise typer.Exit(130)


def _options(named: dict[str, str]) -> str:
    """The detector, and its models where they are not its own."""
    from blemish import registry

    own = registry.detector("anomalygpt").parts
    other = [f"--option {part}={name}" for part, name in named.items() if name != own[part]]
    return " ".join(["--detector anomalygpt", *other])
