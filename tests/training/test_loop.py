"""The training loop: against plain torch, through kills, full disks, and other processes."""

from __future__ import annotations

import errno
import json
import logging
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from blemish.errors import MissingExtraError, OptionError, OutputError, SavedError
from blemish.training import checkpoint, log
from blemish.training.loop import train
from blemish.training.settings import TrainSettings, rate_of


@pytest.fixture(scope="module")
def toy(module: Callable[[Path], ModuleType]) -> ModuleType:
    return module(Path(__file__).with_name("toy.py"))


@pytest.fixture(scope="module")
def whole(toy: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The last checkpoint of a training that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    return train(toy.Toy(), toy.batches, toy.SETTINGS, folder).read_bytes()


def changed(settings: TrainSettings, **fields: Any) -> TrainSettings:
    return TrainSettings(**{**settings.model_dump(), **fields})


class Line:
    """y = w x without noise, for what plain torch says of the same steps."""

    def __init__(self) -> None:
        self.weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))

    def parameters(self, stage: int) -> list[torch.nn.Parameter]:
        return [self.weight]

    def loss(self, batch: torch.Tensor, stage: int) -> tuple[torch.Tensor, dict[str, float]]:
        return ((batch @ self.weight - 3) ** 2).mean(), {}

    def adapter_state(self) -> dict[str, torch.Tensor]:
        return {"weight": self.weight}

    def load_adapter(self, state: Any) -> None:
        self.weight.data.copy_(state["weight"])


def points(number: int) -> torch.Tensor:
    return torch.randn(4, 2, generator=torch.Generator().manual_seed(number))


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_weights_are_those_of_a_loop_in_plain_torch(
    tmp_path: Path, optimizer: str, accumulate: int
) -> None:
    settings = changed(
        TrainSettings(steps=9, rate=0.2, weight_decay=0.3, clip=0.5),
        optimizer=optimizer,
        accumulate=accumulate,
    )
    train(model := Line(), points, settings, tmp_path)
    weight = torch.tensor([1.0, -2.0], requires_grad=True)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimizer]
    plain = kind([weight], lr=0.2, betas=(0.9, 0.95), weight_decay=0.3)
    for step in range(9):
        mine = torch.cat([points(step * accumulate + turn) for turn in range(accumulate)])
        (slope,) = torch.autograd.grad(((mine @ weight - 3) ** 2).mean(), weight)
        weight.grad = slope * min(1, 0.5 / float(slope.norm()))
        plain.param_groups[0]["lr"] = rate_of(step, settings)
        plain.step()
    assert torch.allclose(model.weight, weight, rtol=1e-4)
    assert not torch.allclose(weight, torch.tensor([1.0, -2.0]), atol=0.1)


def test_it_learns_and_leaves_other_stages_alone(toy: ModuleType, tmp_path: Path) -> None:
    model, before = toy.Toy(16), toy.Toy(16).adapter_state()
    settings = TrainSettings(steps=150, rate=0.05, stage=2, every=150)
    train(model, toy.batches, settings, tmp_path)
    losses = [row["parts"]["square"] for row in log.read(tmp_path)]
    assert np.mean(losses[-50:]) < 0.9 * np.mean(losses[:50])
    same = {k: torch.equal(v, before[k]) for k, v in model.adapter_state().items()}
    assert same == {"0.weight": True, "0.bias": True, "3.weight": False, "3.bias": False}


@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
def test_killed_anywhere_it_ends_with_the_same_bits(
    toy: ModuleType, whole: bytes, tmp_path: Path
) -> None:
    command = [sys.executable, str(toy.__file__), str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert said == ["-9"] * 6 + ["0"]
    assert (tmp_path / checkpoint.FILE).read_bytes() == whole
    assert [row["step"] for row in log.read(tmp_path)] == list(range(1, 13))


def test_slices_of_a_minute_end_with_the_same_bits(
    toy: ModuleType, whole: bytes, tmp_path: Path
) -> None:
    for done in range(1, 13):
        np.random.seed(done)  # Whatever state the generators come in.
        slice_ = changed(toy.SETTINGS, minutes=1e-9, every=100)
        path = train(model := toy.Toy(), toy.batches, slice_, tmp_path)
        saved = checkpoint.read(tmp_path)
        assert saved
        assert saved.step == done
    assert path.read_bytes() == whole
    again = toy.Toy()
    train(again, toy.batches, toy.SETTINGS, tmp_path)
    assert not again.numbers
    learnt = model.adapter_state()
    assert all(torch.equal(v, learnt[k]) for k, v in again.adapter_state().items())


def test_drawing_random_numbers_between_steps_changes_nothing(
    toy: ModuleType, whole: bytes, tmp_path: Path
) -> None:
    def draw(_: log.Step) -> None:
        torch.rand(3)
        np.random.random(3)
        random.random()

    assert train(toy.Toy(), toy.batches, toy.SETTINGS, tmp_path, draw).read_bytes() == whole


def test_no_two_steps_draw_the_same_and_another_seed_draws_others(
    toy: ModuleType, tmp_path: Path
) -> None:
    drawn = []
    for seed in (0, 1):
        train(toy.Toy(), toy.batches, TrainSettings(steps=5, seed=seed), tmp_path / str(seed))
        drawn += [row["parts"]["noise"] for row in log.read(tmp_path / str(seed))]
    assert len(set(drawn)) == 10


def test_the_log_has_a_line_a_step_and_the_curves_are_drawn(
    toy: ModuleType, tmp_path: Path
) -> None:
    seen: list[Any] = []
    train(toy.Toy(), toy.batches, toy.SETTINGS, tmp_path, seen.append)
    rows = [json.loads(line) for line in (tmp_path / log.LOG).read_text().splitlines()]
    assert rows == seen
    assert [row["rate"] for row in rows] == [rate_of(i, toy.SETTINGS) for i in range(12)]
    assert all(row["loss"] == pytest.approx(row["parts"]["square"]) for row in rows)
    assert all(row["seconds"] > 0 for row in rows)
    picture = np.asarray(PIL.Image.open(tmp_path / log.CURVES).convert("L"))
    assert (picture < 250).sum() > 1000


def test_parts_that_only_some_batches_have_are_drawn_where_they_are() -> None:
    def row(step: int, **parts: float) -> log.Step:
        return {"step": step, "loss": 1.0, "parts": parts, "rate": 0.1, "seconds": 0.1}

    with_gaps = log.draw([row(1, a=1), row(2, b=5), row(3, a=3)])
    assert with_gaps != log.draw([row(1, a=1), row(2), row(3, a=3)])
    assert with_gaps[1:4] == b"PNG"


def test_without_matplotlib_the_curves_are_left_out_with_a_line(
    toy: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with caplog.at_level(logging.WARNING):
        train(toy.Toy(), toy.batches, toy.SETTINGS, tmp_path)
    assert caplog.text.count("pip install matplotlib") == 1
    assert not (tmp_path / log.CURVES).exists()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"rate": 0.1}, "rate is 0.05 there and 0.1 now"),
        ({"steps": 13}, "steps is 12 there and 13 now"),
        ({"stage": 2}, "stage is 1 there and 2 now"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(
    toy: ModuleType, tmp_path: Path, other: dict[str, Any], words: str
) -> None:
    train(toy.Toy(), toy.batches, changed(toy.SETTINGS, minutes=1e-9), tmp_path)
    with pytest.raises(SavedError, match=words):
        train(toy.Toy(), toy.batches, changed(toy.SETTINGS, **other), tmp_path)


def test_a_checkpoint_of_another_model_or_other_data_is_refused(
    toy: ModuleType, tmp_path: Path
) -> None:
    train(toy.Toy(), toy.batches, toy.SETTINGS, tmp_path, about={"data": "tiles"})
    for model, about, words in (
        (toy.Toy(5), {"data": "tiles"}, "tensor 0.weight is float32 4x8 there and float32 5x8 now"),
        (toy.Toy(), {"data": "cells"}, "about data is tiles there and cells now"),
        (toy.Toy(), {}, "about data is tiles there and missing now"),
    ):
        with pytest.raises(SavedError, match=words):
            train(model, toy.batches, toy.SETTINGS, tmp_path, about=about)


@pytest.mark.parametrize("damage", ["cut", "empty", "pickle", "version"])
def test_a_damaged_checkpoint_is_told_and_left_alone(
    toy: ModuleType, whole: bytes, tmp_path: Path, damage: str
) -> None:
    data = {
        "cut": whole[:-10],
        "empty": b"",
        "pickle": pickle.dumps({"step": 3}),
        "version": whole.replace(b'\\"format\\": 1', b'\\"format\\": 2'),
    }[damage]
    (tmp_path / checkpoint.FILE).write_bytes(data)
    words = "has format 2" if damage == "version" else "no checkpoint that can be read"
    with pytest.raises(SavedError, match=words):
        train(toy.Toy(), toy.batches, toy.SETTINGS, tmp_path)
    assert (tmp_path / checkpoint.FILE).read_bytes() == data


def test_a_full_disk_keeps_the_last_checkpoint(
    toy: ModuleType, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def fsync(file: int) -> None:
        if len(seen) == 5:  # The second checkpoint is being written.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(OutputError, match="No space left on device"):
        train(toy.Toy(), toy.batches, toy.SETTINGS, tmp_path, lambda row: seen.append(row["step"]))
    assert seen == [1, 2, 3, 4, 5]
    saved = checkpoint.read(tmp_path)
    assert saved
    assert saved.step == 3
    monkeypatch.undo()
    assert train(toy.Toy(), toy.batches, toy.SETTINGS, tmp_path).read_bytes() == whole


def test_a_loss_that_is_no_number_stops_it_with_the_last_checkpoint_kept(
    toy: ModuleType, whole: bytes, tmp_path: Path
) -> None:
    def broken(number: int) -> torch.Tensor:
        batch: torch.Tensor = toy.batches(number)
        return batch * float("nan") if number == 10 else batch

    with pytest.raises(OptionError, match=r"Step 6 has loss nan .* lower rate"):
        train(toy.Toy(), broken, toy.SETTINGS, tmp_path)
    assert train(toy.Toy(), toy.batches, toy.SETTINGS, tmp_path).read_bytes() == whole


def test_a_folder_that_another_training_writes_is_refused(toy: ModuleType, tmp_path: Path) -> None:
    def second(_: log.Step) -> None:
        train(toy.Toy(), toy.batches, toy.SETTINGS, tmp_path)

    with pytest.raises(OutputError, match="Another process is writing"):
        train(toy.Toy(), toy.batches, toy.SETTINGS, tmp_path, second)


@pytest.mark.parametrize(("precision", "mixed"), [("auto", False), ("bfloat16", True)])
def test_mixed_precision_is_off_on_a_cpu_unless_asked_for(
    toy: ModuleType, tmp_path: Path, precision: str, mixed: bool
) -> None:
    settings = changed(TrainSettings(steps=2), precision=precision)
    train(model := toy.Toy(), toy.batches, settings, tmp_path)
    assert model.mixed == [mixed] * 2
    assert {t.dtype for t in model.adapter_state().values()} == {torch.float32}
    assert not torch.are_deterministic_algorithms_enabled()


def together(index: int) -> SimpleNamespace:
    """Stands in for accelerate: one of two processes; the other's gradients are all 4."""

    def reduce(tensor: torch.Tensor, how: str) -> torch.Tensor:
        return (tensor + 4) / 2 if how == "mean" else tensor

    utils = SimpleNamespace(
        broadcast=lambda tensor: tensor.fill_(0.5), reduce=reduce, wait_for_everyone=lambda: None
    )
    state = SimpleNamespace(num_processes=2, process_index=index)
    return SimpleNamespace(PartialState=lambda cpu: state, utils=utils)


@pytest.mark.parametrize("index", [0, 1])
def test_of_two_processes_each_has_its_batches_and_one_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: int
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", together(index))
    taken: list[int] = []
    settings = TrainSettings(steps=1, accumulate=2, rate=0.1, warmup=0, clip=1e9, weight_decay=0)
    told: list[log.Step] = []

    def batches(number: int) -> torch.Tensor:
        taken.append(number)
        return points(number)

    train(model := Line(), batches, settings, tmp_path / "out", told.append)
    assert taken == [index, 2 + index]
    assert (tmp_path / "out").exists() == bool(told) == (index == 0)
    # From where the first process started, against the mean gradient's sign, by the rate.
    start = torch.tensor([0.5, 0.5])
    mine = torch.stack([points(n) for n in taken])
    slope = 2 * ((mine @ start - 3)[..., None] * mine).mean((0, 1))
    assert torch.allclose(model.weight, start - 0.1 * ((slope + 4) / 2).sign(), atol=1e-4)
    assert model.weight.grad is not None
    assert torch.allclose(model.weight.grad, (slope + 4) / 2)


def test_several_processes_without_accelerate_are_told_what_to_install(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtraError, match=r"pip install \"blemish\[train\]\""):
        train(toy.Toy(), toy.batches, toy.SETTINGS, tmp_path)
