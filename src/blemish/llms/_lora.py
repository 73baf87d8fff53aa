"""LoRA (2106.09685): low-rank changes to the weights of a frozen model, in peft's format.

A linear layer's weight W (out, in) becomes W + alpha / r * B A, with A (r, in) and B (out, r).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blemish import files, weights
from blemish.errors import MissingExtraError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
_RANK = _ALPHA = 32
_KEY = re.compile(r"(?:base_model\.model\.)?(?P<layer>.+)\.lora_(?P<part>[AB])\.weight")
_PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "fan_in_fan_out": (False, None),
    "use_dora": (False, None),
    "alpha_pattern": ({}, None),
    "rank_pattern": ({}, None),
}
"""Settings of peft with the values that equation above covers."""


class Changes:
    """Changes that learn. There are none before the first step, since B starts as zeros.

    Args:
        model: of `transformers`; its own weights are frozen, and its layers wrapped in place.
        layers: paths of its linear layers that are changed.
        rank: r.
        alpha: see the equation above.
        seed: of the first A.

    Raises:
        MissingExtraError: peft is not installed.
    """

    def __init__(
        self, model: Any, layers: Sequence[str], *, rank: int, alpha: int, seed: int
    ) -> None:
        import torch

        self.rank, self.alpha, self._layers = rank, alpha, sorted(layers)
        peft = _peft()
        model.requires_grad_(False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            peft.inject_adapter_in_model(
                peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=self._layers), model
            )
        self._learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
        for parameter in self._learning.values():
            # Steps are smaller than what bfloat16 can add to a weight.
            parameter.data = parameter.data.float()

    def parameters(self) -> list[Parameter]:
        """What learns."""
        return list(self._learning.values())

    def state(self) -> dict[str, Tensor]:
        """What has been learnt, by the names of the layers."""
        return {name: parameter.detach() for name, parameter in self._learning.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave, in place."""
        for name, parameter in self._learning.items():
            parameter.data.copy_(state[name])

    def write(self, folder: Path, base: str) -> None:
        """Write what has been learnt as peft does; the configuration last.

        Args:
            folder: made if need be.
            base: the model that is changed.

        Raises:
            OSError: the folder cannot be written.
        """
        from safetensors.torch import save

        # Between layer and matrix stands the name that peft gives the changes in memory.
        tensors = {
            f"base_model.model.{name.replace('.default.', '.')}": tensor.contiguous()
            for name, tensor in self.state().items()
        }
        config = {
            "peft_type": "LORA",
            "base_model_name_or_path": base,
            "r": self.rank,
            "lora_alpha": self.alpha,
            "target_modules": self._layers,
            "bias": "none",
            "inference_mode": True,
        }
        files.install(folder / TENSORS, save(tensors))
        files.install(folder / CONFIG, json.dumps(config, indent=1).encode() + b"\n")


def new(model: Any, layers: Sequence[str], seed: int) -> Changes:
    """Changes that learn, of the size of PandaGPT's (2305.16355); see `Changes`."""
    return Changes(model, layers, rank=_RANK, alpha=_ALPHA, seed=seed)


def begun(model: Any, folder: Path, seed: int) -> Changes:
    """Changes that learn and begin with those in a folder; see `Changes` and `add`."""
    scale, pairs = _read(folder)
    for name, pair in pairs.items():
        _layer(model, name, pair, folder)
    rank = len(next(iter(pairs.values()))[0])
    made = Changes(model, list(pairs), rank=rank, alpha=round(scale * rank), seed=seed)
    first: dict[str, Tensor] = {}
    for name, (a, b) in pairs.items():
        first |= {f"{name}.lora_A.default.weight": a, f"{name}.lora_B.default.weight": b}
    made.load(first)
    return made


def _peft() -> Any:
    try:
        return import_module("peft")
    except ImportError as cause:
        raise MissingExtraError(
            "To learn by LoRA needs peft, which is not installed. Install it: "
            'pip install "blemish[train]"'
        ) from cause


def add(model: Any, folder: Path) -> str:
    """Add the changes in a folder to a model's weights, for good.

    Layers whose weights are packed in 4 bits keep them, and add what the change makes of their
    input to their output.

    Args:
        model: of `transformers`.
        folder: with adapter_config.json and adapter_model.safetensors, as peft writes them.

    Returns:
        The folder's digest, which tells these changes from others.

    Raises:
        WeightsError: they are missing, of a sort that is not known here, or of another model.
    """
    import torch

    scale, pairs = _read(folder)
    found = {name: _layer(model, name, pair, folder) for name, pair in pairs.items()}
    for name, (a, b) in pairs.items():
        layer = found[name]
        if layer.weight.is_floating_point():
            change = scale * (b.float() @ a.float())
            with torch.no_grad():
                layer.weight += change.to(layer.weight.device, layer.weight.dtype)
        else:
            layer.register_forward_hook(_Beside(scale * b, a))
    return weights.digest_folder(folder)


class _Beside:
    """Adds B A x to what a layer makes of x.

    Args:
        b: (out, r), scaled.
        a: (r, in).
    """

    def __init__(self, b: Tensor, a: Tensor) -> None:
        self._b, self._a = b, a

    def __call__(self, layer: Any, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        (x,) = given
        self._a, self._b = self._a.to(x), self._b.to(x)
        return out + (x @ self._a.T @ self._b.T).to(out)


def _read(folder: Path) -> tuple[float, dict[str, tuple[Tensor, Tensor]]]:
    """The scale alpha / r, and A and B by the name of their layer."""
    from safetensors.torch import load_file

    try:
        said: dict[str, Any] = json.loads((folder / CONFIG).read_text("utf-8"))
        tensors = load_file(folder / TENSORS)
        rank, alpha = int(said["r"]), float(said["lora_alpha"])
    # A damaged file meets either library with nearly any kind of error.
    except Exception as error:
        raise WeightsError(
            f"The LoRA {folder} cannot be used: {weights.reason(error)} Expected {CONFIG} and "
            f"{TENSORS} as peft writes them. Restore it from a copy."
        ) from error
    for setting, values in _PLAIN.items():
        if said.get(setting, values[0]) not in values:
            raise WeightsError(
                f"The LoRA {folder} has {setting} {said[setting]!r}; plain LoRA only, with "
                f"{values[0]!r}, is read here. Merge it into its model with peft, and name that."
            )
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise WeightsError(
                f"The LoRA {folder} holds {key}, which is no lora_A or lora_B of a linear layer."
            )
        halves.setdefault(match["layer"], {})[match["part"]] = tensor
    lone = [name for name, parts in halves.items() if len(parts) < 2]
    if lone or not halves:
        of = lone[0] if lone else "any layer"
        raise WeightsError(
            f"The LoRA {folder} has not both lora_A and lora_B of {of}. Restore it from a copy."
        )
    root = math.sqrt(rank) if said.get("use_rslora") else rank
    return alpha / root, {name: (parts["A"], parts["B"]) for name, parts in halves.items()}


def _layer(model: Any, name: str, pair: tuple[Tensor, Tensor], folder: Path) -> Any:
    """The linear layer that a pair changes."""
    a, b = pair
    try:
        layer = model.get_submodule(name)
    except AttributeError:
        layer = None
    shape = tuple(getattr(layer, side, None) for side in ("out_features", "in_features"))
    if shape != (b.shape[0], a.shape[1]) or a.shape[0] != b.shape[1]:
        came = "it has none" if layer is None else f"its own takes {shape[1]} and gives {shape[0]}"
        raise WeightsError(
            f"The LoRA {folder} is of another language model: it changes a layer {name} that "
            f"takes {a.shape[1]} values and gives {b.shape[0]}; {came}."
        )
    return layer
