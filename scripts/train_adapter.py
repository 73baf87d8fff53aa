"""Trains the adapter of AnomalyGPT that ships with blemish, on made-up parts only.

    python scripts/train_adapter.py WORK [--minutes 10] [--write FOLDER]

WORK keeps the pictures' features and the training's state: the same command goes on where it was.
When all steps are done, the adapter and its card are written to FOLDER.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from blemish import build
from blemish.detectors import _adapter
from blemish.detectors._adapter import AdapterConfig
from blemish.llms.causal import Causal
from blemish.training import card, log, loop
from blemish.training.anomalygpt import Learner
from blemish.training.corpus import corpus
from blemish.training.curriculum import Batches
from blemish.training.log import Step
from blemish.training.settings import TrainSettings

LINES, SEED, TEXT = 66, 0, 128
LAYERS = (3, 5, 7, 9)
STEPS, RATE, WARMUP = 1100, 3e-3, 0.03
SHIPPED = Path(__file__).parents[1] / "src/blemish/detectors/adapters/anomalygpt"


def main() -> None:
    """Train, or go on training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, help="stop in order after so long")
    parser.add_argument("--write", type=Path, default=SHIPPED)
    given = parser.parse_args()
    encoder = build.encoder("dinov2-small", device="cpu", dtype="int8")
    pictures = corpus(
        given.work / "pictures",
        encoder,
        LAYERS,
        lines=LINES,
        seed=SEED,
        progress=lambda done, total: print(f"line {done} of {total}", end="\r", flush=True),
    )
    language_model = Causal("smollm2-135m")
    config = AdapterConfig(
        kind="anomalygpt",
        encoder="dinov2-small",
        layers=LAYERS,
        features=pictures.class_tokens.shape[1],
        text=TEXT,
        learned_texts=True,
        language_model=language_model.name,
        width=language_model.width,
        spread=language_model.spread,
        trained_on=f"{len(pictures)} pictures of made-up parts, some with anomalies by NSA",
    )
    learner = Learner(config, language_model, SEED)
    settings = TrainSettings(
        steps=STEPS,
        rate=RATE,
        warmup=WARMUP,
        optimizer="adamw",
        precision="bfloat16",
        seed=SEED,
        minutes=given.minutes,
        every=25,
    )
    about = {"encoder": encoder.fingerprint, "language model": language_model.fingerprint}
    folder = given.work / "training"
    loop.train(learner, Batches(pictures, LAYERS, SEED), settings, folder, _print, about)
    steps = log.read(folder)
    if len(steps) < STEPS:
        print("\nStopped in order; the same command goes on.")
        return
    _adapter.write(given.write, config, learner.modules)
    card.write(
        given.write,
        title="The adapter of AnomalyGPT that ships with blemish",
        facts={
            "encoder": "dinov2-small, frozen, in 8 bits",
            "language model": f"{config.language_model}, frozen",
            "learnt from": f"{config.trained_on}; nobody's data",
            "licence": "Apache-2.0, as blemish",
            "figures": "docs/measurements.md",
        },
        settings=settings,
        log=steps,
        command="python scripts/train_adapter.py WORK",
    )
    print(f"\nWrote {given.write}.")


def _print(step: Step) -> None:
    parts = ", ".join(f"{name} {value:.3f}" for name, value in step["parts"].items())
    print(f"step {step['step']}: {parts}, {step['seconds']:.1f} s", flush=True)


if __name__ == "__main__":
    main()
