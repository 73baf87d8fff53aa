"""Trains the adapters that ship with blemish, on made-up parts only.

    python scripts/train_adapter.py WORK [--kind iad-gpt] [--minutes 10] [--write FOLDER]

WORK keeps the pictures' features and the training's state: the same command goes on where it was.
When all steps are done, the adapter and its card are written to FOLDER.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from blemish import build
from blemish.detectors import _adapter
from blemish.llms.causal import Causal
from blemish.training import adapter, card, curriculum, loop, plans
from blemish.training import stages as course
from blemish.training.anomalygpt import Learner
from blemish.training.corpus import corpus
from blemish.training.curriculum import Batches
from blemish.training.log import Step
from blemish.training.settings import TrainSettings

SEED, WARMUP = 0, 0.03
LINES: Mapping[str, int] = {"anomalygpt": 66, "iad-gpt": 33}
STAGES: Mapping[str, Mapping[int, tuple[int, float]]] = {
    "anomalygpt": {1: (1100, 3e-3)},
    "iad-gpt": {1: (60, 3e-3), 2: (640, 3e-3), 3: (200, 1e-3)},
}
"""Steps and highest rate of each stage."""
SHIPPED = Path(__file__).parents[1] / "src/blemish/detectors/adapters"


def main() -> None:
    """Train, or go on training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("work", type=Path)
    parser.add_argument("--kind", choices=list(STAGES), default="anomalygpt")
    parser.add_argument("--minutes", type=float, help="stop in order after so long")
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    wanted = plans.IAD_GPT if given.kind == "iad-gpt" else plans.Wanted()
    encoder = build.encoder("dinov2-small", device="cpu", dtype="int8")
    layers = adapter.layers(wanted, encoder)
    pictures = corpus(
        given.work / "pictures",
        encoder,
        layers,
        lines=LINES[given.kind],
        seed=SEED,
        layered=wanted.fusion,
        progress=lambda done, total: print(f"line {done} of {total}", end="\r", flush=True),
    )
    language_model = Causal("smollm2-135m")
    about = f"{len(pictures)} pictures of made-up parts, some with anomalies by NSA"
    features = pictures.class_tokens.shape[1]
    config = adapter.config(wanted, encoder, language_model, layers, features, about)
    learner = Learner(config, language_model, SEED, staged=wanted.staged)
    stages = _settings(given.kind, given.minutes)
    models = {"encoder": encoder.fingerprint, "language model": language_model.fingerprint}
    folder = given.work / ("training" if given.kind == "anomalygpt" else f"training-{given.kind}")
    for settings, own, identity in course.course(stages, folder, models):
        batches = Batches(
            pictures,
            layers,
            SEED + settings.stage - 1,
            plan=curriculum.STAGES[settings.stage] if wanted.staged else curriculum.PLAN,
            fused=wanted.fusion,
        )
        loop.train(learner, batches, settings, own, _print, identity)
    logs = course.logs(folder, stages)
    if sum(map(len, logs)) < sum(one.steps for one in stages):
        print("\nStopped in order; the same command goes on.")
        return
    out = given.write or SHIPPED / given.kind.replace("-", "_")
    _write(out, learner, stages, logs)
    print(f"\nWrote {out}.")


def _write(
    out: Path, learner: Learner, stages: list[TrainSettings], logs: list[list[Step]]
) -> None:
    config = learner.config
    _adapter.write(out, config, learner.modules)
    card.write(
        out,
        title=f"The adapter of {adapter.TITLES[config.kind]} that ships with blemish",
        facts={
            "encoder": "dinov2-small, frozen, in 8 bits",
            "language model": f"{config.language_model}, frozen",
            "learnt from": f"{config.trained_on}; nobody's data",
            "licence": "Apache-2.0, as blemish",
            "figures": "docs/measurements.md",
        },
        stages=stages,
        logs=logs,
        command=f"python scripts/train_adapter.py WORK --kind {config.kind}",
    )


def _settings(kind: str, minutes: float | None) -> list[TrainSettings]:
    return [
        TrainSettings(
            steps=steps,
            stage=stage,
            rate=rate,
            warmup=WARMUP,
            optimizer="adamw",
            precision="bfloat16",
            seed=SEED,
            minutes=minutes,
            every=25,
        )
        for stage, (steps, rate) in STAGES[kind].items()
    ]


def _print(step: Step) -> None:
    parts = ", ".join(f"{name} {value:.3f}" for name, value in step["parts"].items())
    print(f"step {step['step']}: {parts}, {step['seconds']:.1f} s", flush=True)


if __name__ == "__main__":
    main()
