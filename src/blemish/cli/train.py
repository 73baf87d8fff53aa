"""`blemish train`: learn from a user's own good pictures."""

from __future__ import annotations

from typing import Annotated

import typer

from blemish.cli import inspecting as shared
from blemish.cli import learning, train_vlm
from blemish.cli.train_adapter import Given, trained

HELP = (
    "Train an adapter of {title} on the good pictures of a data set.\n\n"
    "Only normal training pictures are looked at: anomalies are made up, and anomalous pictures "
    "and masks of the set stay unseen. A training that was stopped goes on when the command is "
    "repeated."
)
EXIT_CODES = "Exit codes: 0 done, or stopped by --minutes; 2 it cannot be trained; 130 stopped."
app = typer.Typer(help="Learn from your own pictures.", no_args_is_help=True)
_Epochs = Annotated[
    int | None, typer.Option(help="How often each picture is seen.", min=1, show_default="50")
]
_StageEpochs = Annotated[
    int | None,
    typer.Option(help="How often each picture is seen in each stage.", min=1, show_default="50"),
]


def _without(switch: str, told: str) -> typer.models.OptionInfo:
    """A switch that leaves out what there is by default."""
    option: typer.models.OptionInfo = typer.Option(f" /{switch}", help=told, show_default=False)
    return option


@app.command(
    "anomalygpt",
    help=HELP.format(title="AnomalyGPT"),
    epilog=EXIT_CODES,
    no_args_is_help=True,
)
def anomalygpt(
    data: learning.Data,
    out: learning.Out,
    encoder: learning.Encoder = "dinov2-small",
    llm: learning.Causal = "smollm2-135m",
    start: learning.Start = "",
    epochs: _Epochs = None,
    batch: learning.Batch = 16,
    rate: learning.Rate = None,
    minutes: learning.Minutes = None,
    seed: learning.Seed = 0,
    anomalies: learning.Anomalies = "nsa",
    descriptions: learning.Descriptions = None,
    dialogue: learning.Dialogue = None,
    lora: Annotated[
        bool, typer.Option("--lora", help="The language model learns too, by LoRA.")
    ] = False,
    enhancer: Annotated[
        bool, typer.Option("--enhancer", help="IAD-GPT's enhancer reads the picture.")
    ] = False,
    prompt_learner: Annotated[
        bool, _without("--no-prompt-learner", "The language model sees the picture only.")
    ] = True,
    decoder: Annotated[
        bool, _without("--no-decoder", "No maps: picture and base embeddings only.")
    ] = True,
    device: shared.Device = "auto",
    dtype: shared.Dtype = "auto",
) -> None:
    """See `HELP`."""
    from blemish.training.plans import Wanted

    kept = {"prompt_learner": prompt_learner, "decoder": decoder}
    left_out = tuple(name for name, here in kept.items() if not here)
    given = Given(
        *(data, out, encoder, llm, start, epochs, batch, rate, minutes, seed),
        *(anomalies, descriptions, dialogue, device, dtype),
    )
    trained(Wanted(enhancer=enhancer, left_out=left_out, lora=lora), given)


@app.command(
    "iad-gpt",
    help=HELP.format(title="IAD-GPT, in its three stages,"),
    epilog=EXIT_CODES,
    no_args_is_help=True,
)
def iad_gpt(
    data: learning.Data,
    out: learning.Out,
    encoder: learning.Encoder = "dinov2-small",
    llm: learning.Causal = "smollm2-135m",
    start: learning.Start = "",
    epochs: _StageEpochs = None,
    batch: learning.Batch = 16,
    rate: learning.Rate = None,
    minutes: learning.Minutes = None,
    seed: learning.Seed = 0,
    anomalies: learning.Anomalies = "nsa",
    descriptions: learning.Descriptions = None,
    dialogue: learning.Dialogue = None,
    enhancer: Annotated[
        bool, _without("--no-enhancer", "AnomalyGPT's projection reads the picture.")
    ] = True,
    fusion: Annotated[
        bool, _without("--no-fusion", "AnomalyGPT's prompt learner reads one map.")
    ] = True,
    apg: Annotated[
        bool, _without("--no-apg", "The decoder has one abnormal text, none for kinds.")
    ] = True,
    staged: Annotated[
        bool, _without("--one-stage", "Everything learns together, in one stage.")
    ] = True,
    device: shared.Device = "auto",
    dtype: shared.Dtype = "auto",
) -> None:
    """See `HELP`."""
    from blemish.training.plans import Wanted

    given = Given(
        *(data, out, encoder, llm, start, epochs, batch, rate, minutes, seed),
        *(anomalies, descriptions, dialogue, device, dtype),
    )
    trained(Wanted("iad-gpt", enhancer=enhancer, fusion=fusion, apg=apg, staged=staged), given)


app.command("vlm", help=train_vlm.HELP, epilog=EXIT_CODES, no_args_is_help=True)(train_vlm.vlm)
