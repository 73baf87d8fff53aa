"""Where a training stands, as one file: tensors, and JSON in their header. No pickle.

One file, written beside the old one and then put in its place, is either the old or the new one,
whole, whatever happens meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from blemish.errors import SavedError
from blemish.runs.folder import replace_file, writing
from blemish.training.settings import TrainSettings

FORMAT = 1
FILE = "checkpoint.safetensors"
_ADAPTER, _OPTIMIZER = "adapter.", "optimizer."
_FREE = {"minutes", "every"}
"""Settings that may differ between slices, since no weight depends on them."""

Identity = dict[str, Any]
"""What makes a training another one, as JSON values."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a training stands after so many steps.

    Attributes:
        step: how many steps are done.
        identity: of what training it is.
        adapter: the model's own `adapter_state`, on the CPU.
        optimizer: for each parameter's place in `parameters(stage)`, its averages and its count.
    """

    step: int
    identity: Identity
    adapter: Mapping[str, Tensor]
    optimizer: Mapping[int, Mapping[str, Tensor]]


def identity(
    settings: TrainSettings,
    about: Mapping[str, str],
    processes: int,
    adapter: Mapping[str, Tensor],
    parameters: Sequence[Tensor],
) -> Identity:
    """What a checkpoint must agree with, for a training to go on from it."""
    return {
        **settings.model_dump(mode="json", exclude=_FREE),
        **{f"about {name}": text for name, text in about.items()},
        "processes": processes,
        **{f"tensor {name}": _shape(tensor) for name, tensor in adapter.items()},
        "learning": [_shape(parameter) for parameter in parameters],
    }


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a folder's checkpoint in place of the one that is there.

    Raises:
        OutputError: the disk is full or may not be written; the one that is there is as it was.
    """
    from safetensors.torch import save

    tensors = {_ADAPTER + name: tensor for name, tensor in checkpoint.adapter.items()}
    for place, state in checkpoint.optimizer.items():
        tensors |= {f"{_OPTIMIZER}{place}.{name}": tensor for name, tensor in state.items()}
    about = {"format": FORMAT, "step": checkpoint.step, "identity": checkpoint.identity}
    # Copies, because safetensors refuses tensors that share memory, as tied weights do.
    copies = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}
    with writing(folder):
        replace_file(folder / FILE, save(copies, metadata={"blemish": json.dumps(about)}))
    return folder / FILE


def read(folder: Path) -> Checkpoint | None:
    """A folder's checkpoint; None where there is none.

    Raises:
        SavedError: it is damaged or of another version.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["blemish"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about["format"] == FORMAT:
            return Checkpoint(
                about["step"],
                about["identity"],
                {k.removeprefix(_ADAPTER): v for k, v in tensors.items() if k.startswith(_ADAPTER)},
                _by_place(tensors),
            )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as cause:
        raise SavedError(
            f"{path} is no checkpoint that can be read ({cause}). Restore it from a copy, or "
            "choose another folder to train anew."
        ) from cause
    raise SavedError(
        f"{path} has format {about['format']}; this version of blemish reads format {FORMAT}. "
        "Choose another folder to train anew."
    )


def check(saved: Checkpoint, wanted: Identity, folder: Path) -> None:
    """Raise SavedError, naming what differs, unless a checkpoint is of the training wanted."""
    if differing := list(_differences(saved.identity, wanted)):
        more = f" (and {len(differing) - 3} more)" if len(differing) > 3 else ""
        raise SavedError(
            f"{folder / FILE} is of another training: {'; '.join(differing[:3])}{more}. Start "
            "with the same settings, model and data to go on with it, or choose another folder."
        )


def restore(saved: Checkpoint, optimizer: Optimizer) -> None:
    """Give an optimiser back its averages; what it is set to stays."""
    groups = optimizer.state_dict()["param_groups"]
    state = {place: dict(tensors) for place, tensors in saved.optimizer.items()}
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _by_place(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    found: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(_OPTIMIZER):
            place, key = name.removeprefix(_OPTIMIZER).split(".")
            found.setdefault(int(place), {})[key] = tensor
    return found


def _shape(tensor: Tensor) -> str:
    size = "x".join(map(str, tensor.shape)) or "scalar"
    return f"{str(tensor.dtype).removeprefix('torch.')} {size}"


def _differences(saved: Identity, wanted: Identity) -> Iterator[str]:
    for name in sorted(saved.keys() | wanted.keys()):
        before, now = saved.get(name, "missing"), wanted.get(name, "missing")
        if before != now:
            yield f"{name} is {before} there and {now} now"
