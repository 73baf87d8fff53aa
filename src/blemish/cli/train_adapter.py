"""What `blemish train anomalygpt` and `blemish train iad-gpt` do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from blemish.cli import learning

if TYPE_CHECKING:
    from blemish.training.anomalygpt import Learner
    from blemish.training.batches import PictureBatches
    from blemish.training.log import Step
    from blemish.training.plans import Wanted
    from blemish.training.settings import TrainSettings
    from blemish.training.start import Start


@dataclass(frozen=True)
class Given:
    """The options that both commands have, in their order."""

    data: Path
    out: Path
    encoder: str
    llm: str
    start: str
    epochs: int | None
    batch: int
    rate: float | None
    minutes: float | None
    seed: int
    anomalies: Literal["nsa", "cutpaste", "both"]
    descriptions: Path | None
    dialogue: Path | None
    device: str
    dtype: str


def trained(wanted: Wanted, given: Given) -> None:
    """Train, write the adapter, and say what to do next."""
    from blemish.cli import screen
    from blemish.prompts import anomalygpt as prompts
    from blemish.training import adapter
    from blemish.training.batches import PictureBatches
    from blemish.training.pictures import Pictures

    adapter.check_out(given.out)
    pictures = Pictures(
        given.data, seed=given.seed, anomalies=given.anomalies, descriptions=given.descriptions
    )
    talk = prompts.dialogue(given.dialogue)
    with screen.waiting("Loading the models"):
        encoder = _encoder(given)
        begun = _start(wanted, given, encoder)
        wanted = replace(wanted, published=begun is not None and begun.config.published)
        parts = (encoder, _language_model(wanted, given, begun))
    learner = adapter.learner(pictures, *parts, begun, given.seed, wanted)
    batches = PictureBatches(
        pictures,
        parts[0],
        learner.config,
        size=given.batch,
        seed=given.seed,
        dialogue=talk,
    )
    stages = _stages(wanted, given, len(pictures), begun is not None, parts[1])
    about = {
        "data": pictures.fingerprint,
        "questions": str(prompts.version()),
        "start": begun.digest if begun else "new",
        "batch": str(given.batch),
        "left out": ", ".join(wanted.left_out),
        "dialogue": adapter.digest_of(talk),
        "encoder": parts[0].fingerprint,
        "language model": parts[1].fingerprint,
    }
    ended = _train(given.out / adapter.TRAINING, learner, batches, stages, about)
    _tell(given, learner, stages, ended)


def _own(where: str) -> str:
    """What models compute in on a device."""
    return "float32" if where == "cpu" else "bfloat16"


def _encoder(given: Given) -> Any:
    """In 16 bits on a GPU, in 8 on a CPU if it can."""
    from blemish import build
    from blemish.training import adapter

    where = learning.device(given.device)
    own = _own(where)
    quick = adapter.QUICK.get(given.encoder, own) if where == "cpu" else own
    dtype = quick if given.dtype == "auto" else given.dtype
    return build.encoder(given.encoder, device=where, dtype=dtype)


def _language_model(wanted: Wanted, given: Given, begun: Start | None) -> Any:
    """With the LoRA of the start, unless that learns further."""
    from blemish.llms.causal import Causal

    where = learning.device(given.device)
    lora = begun.lora if begun and not wanted.lora else None
    return Causal(given.llm, device=where, dtype=_own(where), lora=lora)


def _start(wanted: Wanted, given: Given, encoder: Any) -> Start | None:
    """What to start from; None for a new adapter."""
    from blemish import registry
    from blemish.detectors._reading_options import adapter_folder
    from blemish.training import adapter
    from blemish.training import start as starts

    own, start = registry.detector(wanted.kind).parts, given.start
    if not start:
        same = (given.encoder, given.llm) == (own["encoder"], own["language_model"])
        start = "shipped" if same and wanted.usual else "new"
    if start == "new":
        return None
    path = adapter_folder("" if start == "shipped" else start, wanted.kind)
    return starts.read(path, encoder, given.out / adapter.TRAINING)


def _stages(
    wanted: Wanted, given: Given, pictures: int, started: bool, language_model: Any
) -> list[TrainSettings]:
    from blemish.training import plans

    together = given.batch * learning.processes()
    lengths = plans.stages(wanted, pictures, given.epochs, together, started)
    return [
        plans.settings(
            length,
            rate=given.rate or plans.rate(wanted, language_model, started),
            seed=given.seed,
            minutes=given.minutes,
            stage=stage,
        )
        for stage, length in lengths.items()
    ]


def _train(
    folder: Path,
    learner: Learner,
    batches: PictureBatches,
    stages: list[TrainSettings],
    about: dict[str, str],
) -> str:
    """Train in each stage; how the last one ended, as `learning.train` has it."""
    from blemish.training import plans, samples, sheets
    from blemish.training import stages as course

    if learning.first():
        learning.tell(batches.pictures, sum(one.steps for one in stages))
    ended, started = "", about["start"] != "new"
    for settings, own, identity in course.course(stages, folder, about):
        shown = plans.course(
            learner, stages, settings, started=started, processes=learning.processes()
        )
        now = batches.during(shown)

        def sample(
            step: Step, settings: TrainSettings = settings, own: Path = own, now: Any = now
        ) -> None:
            if sheets.due(step["step"], settings.steps):
                samples.write(own, step["step"], learner, now, settings.stage)

        ended = learning.train(learner, now, settings, own, identity, batches.pictures, sample)
    return ended


def _tell(given: Given, learner: Learner, stages: list[TrainSettings], ended: str) -> None:
    """Write the adapter, and say what to do next."""
    from blemish.training import adapter
    from blemish.training import stages as course

    if not learning.first():
        return
    out, last = given.out, course.folders(given.out / adapter.TRAINING, stages)[-1]
    done = adapter.write(out, learner, stages, learning.command())
    if ended == "done":
        typer.echo(f"Wrote {out}. Look at the pictures in {last / 'samples'}, then:")
    else:
        typer.echo(
            f"Stopped in order after {done} of {sum(one.steps for one in stages)} steps; the same "
            f"command goes on. What was learnt so far is in {out}:"
        )
    named = _options(learner.config.kind, given)
    typer.echo(f"  blemish inspect PART --normal GOOD {named} --option adapter={out}")
    if ended == "stopped":
        raise typer.Exit(130)


def _options(kind: str, given: Given) -> str:
    """The detector, and its models where they are not its own."""
    from blemish import registry

    own = registry.detector(kind).parts
    named = {"encoder": given.encoder, "language_model": given.llm}
    other = [f"--option {part}={name}" for part, name in named.items() if name != own[part]]
    return " ".join([f"--detector {kind}", *other])
