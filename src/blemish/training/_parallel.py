"""Several processes that learn one model together, each from batches of its own.

Start them with `accelerate launch`. Only what learns is exchanged, once a step: it is a few
megabytes, so overlapping that with the computation, as a wrapped model would, gains nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from blemish.errors import MissingExtraError


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        count: how many there are.
        index: which one this is, from 0; the first one writes the folder.
    """

    count: int = 1
    index: int = 0
    _utils: Any = None

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Give every process the first one's values, in place."""
        if self.count > 1:
            for tensor in tensors:
                self._utils.broadcast(tensor.detach())

    def average(self, parameters: Sequence[Tensor]) -> None:
        """Give every process the mean of all processes' gradients."""
        if self.count > 1:
            for parameter in parameters:
                # One without a gradient here may have one elsewhere, and all must take part.
                own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = self._utils.reduce(own, "mean")

    def wait(self) -> None:
        """Wait until all are here, so that they read what the first one wrote."""
        if self.count > 1:
            self._utils.wait_for_everyone()

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether any process says yes, so that all stop after the same step."""
        if self.count == 1:
            return flag
        return bool(self._utils.reduce(torch.tensor(float(flag), device=device), "sum") > 0)


def processes(device: torch.device) -> Processes:
    """Those that the launcher started; this one alone where there was none.

    Raises:
        MissingExtraError: a launcher started several, and accelerate is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Processes()
    try:
        accelerate = import_module("accelerate")
    except ImportError as cause:
        raise MissingExtraError(
            f"Training in {os.environ['WORLD_SIZE']} processes needs accelerate, which is not "
            'installed. Install it: pip install "blemish[train]"'
        ) from cause
    state = accelerate.PartialState(cpu=device.type == "cpu")
    return Processes(state.num_processes, state.process_index, accelerate.utils)
