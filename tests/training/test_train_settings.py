"""The published settings, and the rate against torch's own schedulers."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from blemish.training.settings import TrainSettings, rate_of


def test_the_defaults_are_the_published_ones() -> None:
    settings = TrainSettings(steps=1)
    assert (settings.rate, settings.weight_decay, settings.betas) == (1e-3, 1e-3, (0.9, 0.95))
    assert settings.optimizer == "adam"


@pytest.mark.parametrize(("steps", "warmup"), [(40, 0.1), (40, 0.0), (7, 0.5)])
def test_the_rate_is_that_of_torchs_schedulers(steps: int, warmup: float) -> None:
    settings = TrainSettings(steps=steps, warmup=warmup, rate=0.3)
    rising = round(warmup * steps)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    cosine = CosineAnnealingLR(optimizer, steps - rising)
    scheduler: LinearLR | CosineAnnealingLR | SequentialLR = cosine
    if rising:
        line = LinearLR(optimizer, 1 / rising, 1.0, max(rising - 1, 1))
        scheduler = SequentialLR(optimizer, [line, cosine], [rising])
    for step in range(steps):
        assert rate_of(step, settings) == pytest.approx(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rate_of(steps, settings) == pytest.approx(0)


def test_a_single_step_has_the_full_rate() -> None:
    assert rate_of(0, TrainSettings(steps=1, warmup=0.9)) == 1e-3


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"rate": 0}, {"rate": float("nan")}, {"warmup": 1}, {"lr": 1e-3}, {"every": 0}],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TrainSettings.model_validate({"steps": 5, **wrong})


def test_settings_need_no_torch() -> None:
    code = "import sys, blemish.training.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
