"""A model of a few weights that trains in milliseconds and draws from every generator.

Run as a program it trains in slices, each of which kills itself in another way:
toy.py FOLDER
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from blemish.training.loop import train
from blemish.training.settings import TrainSettings

SETTINGS = TrainSettings(steps=12, every=3, rate=0.05, accumulate=2, optimizer="adamw", seed=7)
"""Long enough for kills before, between and after checkpoints."""


class Toy:
    """Two layers that learn to add up eight numbers, through noise of every kind."""

    def __init__(self, width: int = 4) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.layers = nn.Sequential(
                nn.Linear(8, width), nn.Tanh(), nn.Dropout(0.5), nn.Linear(width, 1)
            )
        self.numbers: list[Tensor] = []
        self.mixed: list[bool] = []

    def parameters(self, stage: int) -> list[nn.Parameter]:
        return list(self.layers[0 if stage == 1 else 3].parameters())

    def loss(self, batch: Tensor, stage: int) -> tuple[Tensor, Mapping[str, float]]:
        self.numbers.append(batch)
        self.mixed.append(torch.is_autocast_enabled("cpu"))
        noise = float(np.random.normal()) + random.random()
        found = self.layers(batch)[:, 0]
        loss = ((found - batch.sum(1) - 0.1 * noise) ** 2).mean()
        return loss, {"square": float(loss.detach()), "noise": noise}

    def adapter_state(self) -> dict[str, Tensor]:
        return self.layers.state_dict()

    def load_adapter(self, state: Mapping[str, Tensor]) -> None:
        self.layers.load_state_dict(state)


def batches(number: int) -> Tensor:
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(number))


def die(*_: Any) -> Any:
    """End this process as a kill from outside would."""
    os.kill(os.getpid(), signal.SIGKILL)


def at_number(number: int) -> Callable[[int], Tensor]:
    """Batches of which one is never handed out: the process dies between its half-steps."""
    return lambda n: die() if n == number else batches(n)


def slices(folder: Path) -> None:
    """Train to the end in processes of which each but the last is killed."""
    ways: list[tuple[str, dict[str, Any]]] = [
        ("", {"on_step": lambda row: row["step"] == 2 and die()}),
        ("", {"batches": at_number(9)}),
        ("replace", {}),
        ("", {"on_step": lambda row: row["step"] == 6 and die()}),
        ("fsync", {}),
        ("", {"on_step": lambda row: row["step"] == 11 and die()}),
        ("", {}),
    ]
    for how, given in ways:
        if not (process := os.fork()):
            if how:
                # The first call is the log's, which is taken up before any step.
                calls = iter([getattr(os, how), die])
                setattr(os, how, lambda *a, calls=calls: next(calls)(*a))
            train(Toy(), **{"batches": batches, **given}, settings=SETTINGS, folder=folder)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.modules["matplotlib.figure"] = None  # type: ignore[assignment]
    torch.optim.Adam([torch.zeros(1)])  # It imports for seconds, which each slice would repeat.
    slices(Path(sys.argv[1]))
