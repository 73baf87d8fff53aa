"""The model card that stands beside each adapter: what it learnt, from what, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from blemish import __version__
from blemish.files import install
from blemish.training.log import Step
from blemish.training.settings import TrainSettings

FILE = "README.md"
_LAST = 20
"""Steps whose mean losses are told."""


def write(
    folder: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    stages: Sequence[TrainSettings],
    logs: Sequence[Sequence[Step]],
    command: str,
) -> Path:
    """Write the card of a trained model.

    Args:
        folder: of the model; a card that is there is replaced.
        title: what it is, such as "An adapter of AnomalyGPT".
        facts: what to know first, by name: models, data, limits.
        stages: settings of each stage of the training.
        logs: the steps of each so far, as `blemish.training.log.read` gives them.
        command: that trained it.

    Raises:
        OSError: it cannot be written.
    """
    rows = [*facts.items(), *_learnt(stages[0])]
    for settings, log in zip(stages, logs, strict=True):
        start = f"stage {settings.stage}: " if len(stages) > 1 else ""
        rows += [(start + name, text) for name, text in _told(settings, log)]
    rows.append(("blemish", __version__))
    table = [f"| {name} | {_cell(text)} |" for name, text in rows]
    parts = [
        f"# {title}",
        "\n".join(["| | |", "|---|---|", *table]),
        f"Trained by\n\n```console\n{command}\n```",
        "Its anomalies were made up, so look at what it says of real ones before you rely on it: "
        "`blemish bench` measures it on a data set.",
    ]
    path = folder / FILE
    install(path, ("\n\n".join(parts) + "\n").encode())
    return path


def _learnt(settings: TrainSettings) -> list[tuple[str, str]]:
    """What all stages have in common."""
    betas = " and ".join(map(str, settings.betas))
    how = f"{settings.optimizer}, betas {betas}, weight decay {settings.weight_decay}"
    return [("optimiser", how), ("seed", str(settings.seed))]


def _told(settings: TrainSettings, log: Sequence[Step]) -> list[tuple[str, str]]:
    """How long and how fast a stage was trained, and what came of it."""
    done = log[-1]["step"] if log else 0
    told = [
        ("steps", f"{done} of {settings.steps}, in {sum(s['seconds'] for s in log) / 60:.0f} min"),
        (
            "rate",
            f"{settings.rate} at most, after a warm-up of {settings.warmup:.0%} of the steps; "
            "down half a cosine",
        ),
    ]
    last = log[-_LAST:]
    for name in dict.fromkeys(name for step in last for name in step["parts"]):
        values = [step["parts"][name] for step in last if name in step["parts"]]
        told.append((f"loss, {name}", f"{fmean(values):.3f}, mean of the last {len(values)} steps"))
    return told


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
