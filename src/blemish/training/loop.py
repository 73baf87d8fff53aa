"""The training loop that every method shares; a run that is stopped goes on as if it had not been.

Nothing that decides a weight lives outside a checkpoint: batches are a function of their number,
the learning rate of the step, and the random number generators are seeded anew for each step, so
that there is no state of theirs to keep either.

A training's folder:
checkpoint.safetensors  where it stands
log.jsonl  curves.png   a line a step, and a picture of it
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from blemish.errors import OptionError
from blemish.runs.folder import opened
from blemish.training import checkpoint
from blemish.training._parallel import Processes, processes
from blemish.training.checkpoint import Checkpoint, Identity
from blemish.training.log import Log, Step
from blemish.training.settings import TrainSettings, rate_of


class Trainable(Protocol):
    """What the loop needs of a model; which device it is on, and its mode, are its own matter."""

    def parameters(self, stage: int) -> Sequence[Parameter]:
        """What learns in a stage, at least one, all on one device, always in the same order."""

    def loss(self, batch: Any, stage: int) -> tuple[Tensor, Mapping[str, float]]:
        """What to minimise, a scalar, and its parts by name, for the curves."""

    def adapter_state(self) -> dict[str, Tensor]:
        """All that ever learns, by name, of every stage."""

    def load_adapter(self, state: Mapping[str, Tensor]) -> None:
        """Take over, in place, what `adapter_state` gave."""


def train(
    model: Trainable,
    batches: Callable[[int], Any],
    settings: TrainSettings,
    folder: Path,
    on_step: Callable[[Step], None] | None = None,
    about: Mapping[str, str] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Train a model, or go on where a folder's checkpoint stands.

    On the same machine, with as many threads, a training that was killed at any moment and started
    again ends with the same bits as one that was not. torch, NumPy and Python draw their random
    numbers from seeds of its own meanwhile. Of several processes, started as `_parallel` says,
    each has the model on its own device.

    Args:
        model: learns in place; a folder's checkpoint overrides its adapter.
        batches: the batch of a number, always the same for the same one. Step i, from 0, takes
            number i; with accumulation or several processes, the next ones that no step had.
        settings: how to train.
        folder: made if need be; one process writes to it at a time.
        on_step: called after each step, in the first process, with its line of the log.
        about: what else decides the weights, such as the data and the frozen models' fingerprints:
            a checkpoint with others is refused.
        stop: asked after each step whether to stop in order, as after `settings.minutes`.

    Returns:
        The checkpoint: at `settings.steps`, or where it stopped in order; its `step` says.

    Raises:
        SavedError: the folder's checkpoint is damaged, or of another training.
        OutputError: the folder cannot be written; the last checkpoint is kept.
        OptionError: the loss or its gradient became infinite or undefined.
        MissingExtraError: several processes without accelerate.
    """
    end = math.inf if settings.minutes is None else time.monotonic() + 60 * settings.minutes
    learning = list(model.parameters(settings.stage))
    here = processes(learning[0].device)
    state = model.adapter_state()
    identity = checkpoint.identity(settings, about or {}, here.count, state, learning)
    run = _Run(model, batches, settings, folder, _optimizer(learning, settings), here, identity)
    held = opened(folder) if here.index == 0 else contextlib.nullcontext()
    with held, _repeatable():
        run.go_on(lambda: stop() or time.monotonic() >= end, on_step)
    return folder / checkpoint.FILE


@dataclass(frozen=True, eq=False)
class _Run:
    """What stays the same from step to step."""

    model: Trainable
    batches: Callable[[int], Any]
    settings: TrainSettings
    folder: Path
    optimizer: Optimizer
    here: Processes
    identity: Identity

    def go_on(self, stop: Callable[[], bool], on_step: Callable[[Step], None] | None) -> None:
        """Take steps until all are done, or `stop` says so."""
        done = self._resumed()
        self.here.share(self._learning)
        log = Log(self.folder, done) if self.here.index == 0 else None
        for step in range(done, self.settings.steps):
            row = self._step(step)
            stopped = self.here.any(stop(), self._learning[0].device)
            last = stopped or step + 1 == self.settings.steps
            if log is not None:
                log.add(row)
                if last or (step + 1) % self.settings.every == 0:
                    self._save(step + 1)
                    log.keep()
                if on_step is not None:
                    on_step(row)
            if last:
                break
        self.here.wait()

    @property
    def _learning(self) -> list[Parameter]:
        learning: list[Parameter] = self.optimizer.param_groups[0]["params"]
        return learning

    def _resumed(self) -> int:
        """How many steps are done; model and optimiser are as they were then."""
        saved = checkpoint.read(self.folder)
        if saved is None:
            return 0
        checkpoint.check(saved, self.identity, self.folder)
        self.model.load_adapter(saved.adapter)
        checkpoint.restore(saved, self.optimizer)
        return saved.step

    def _save(self, step: int) -> None:
        averages = self.optimizer.state_dict()["state"]
        state = Checkpoint(step, self.identity, self.model.adapter_state(), averages)
        checkpoint.write(self.folder, state)

    def _step(self, step: int) -> Step:
        """One step of the optimiser, and its line of the log."""
        began = time.perf_counter()
        _seed(self.settings.seed, step, self.here.index)
        self.optimizer.zero_grad()
        loss, parts = self._gradients(step)
        self.here.average(self._learning)
        length = float(torch.nn.utils.clip_grad_norm_(self._learning, self.settings.clip))
        if not math.isfinite(loss + length):
            raise OptionError(
                f"Step {step + 1} has loss {loss} and a gradient of length {length}; expected "
                "finite numbers. What was learnt after the last checkpoint is dropped. Train anew "
                "with a lower rate, or with precision float32."
            )
        rate = self.optimizer.param_groups[0]["lr"] = rate_of(step, self.settings)
        self.optimizer.step()
        seconds = round(time.perf_counter() - began, 4)
        return {"step": step + 1, "loss": loss, "parts": parts, "rate": rate, "seconds": seconds}

    def _gradients(self, step: int) -> tuple[float, dict[str, float]]:
        """Give each parameter the mean of its batches' gradients; the means of what they cost."""
        several = self.settings.accumulate
        losses: list[float] = []
        parts: dict[str, list[float]] = {}
        for turn in range(several):
            batch = self.batches((step * several + turn) * self.here.count + self.here.index)
            with _autocast(self.settings, self._learning[0].device):
                loss, named = self.model.loss(batch, self.settings.stage)
            torch.autograd.backward(loss / several)
            losses.append(float(loss.detach()))
            for name, value in named.items():
                parts.setdefault(name, []).append(float(value))
        return fmean(losses), {name: fmean(values) for name, values in parts.items()}


def _optimizer(learning: Sequence[Parameter], settings: TrainSettings) -> Optimizer:
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(learning, betas=settings.betas, weight_decay=settings.weight_decay)


def _autocast(settings: TrainSettings, device: torch.device) -> torch.autocast:
    has = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    wanted = settings.precision == "bfloat16" or (settings.precision == "auto" and has)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)


def _seed(*numbers: int) -> None:
    """Seed the three generators from numbers, so that no two steps draw the same."""
    first, second, third = np.random.SeedSequence(numbers).generate_state(3)
    torch.manual_seed(int(first))
    np.random.seed(second)
    random.seed(int(third))


@contextlib.contextmanager
def _repeatable() -> Iterator[None]:
    """Ask torch for algorithms that give the same bits each time; it warns where it has none."""
    before = torch.get_deterministic_debug_mode()
    # cuBLAS needs it to be exact, and reads it when it is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_deterministic_debug_mode("warn")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
