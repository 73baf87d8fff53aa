"""The published checkpoints of AnomalyGPT (2308.15366), written as an adapter.

They stand on PandaGPT (2305.16355), a LoRA of Vicuna-7B version 0 and a linear layer from
ImageBind's joint space to its embeddings, and on ImageBind's frozen ViT-H/14. Names, shapes and
settings are those of the two projects' code; the weights of neither were at hand here.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blemish import weights
from blemish.detectors import _adapter
from blemish.detectors._adapter import AdapterConfig
from blemish.errors import OutputError, WeightsError
from blemish.files import install

if TYPE_CHECKING:
    from torch import Tensor

PUBLISHED = AdapterConfig(
    kind="anomalygpt",
    encoder="clip-vit-h-14",
    layers=(8, 16, 24, 32),
    features=1280,
    text=1024,
    learned_texts=False,
    language_model="vicuna-7b-v0",
    width=4096,
    spread=0.0,
    prompt_learner="published",
    joint=1024,
    imported=True,
)
"""What all three published checkpoints fit."""
BLOCKS = 32
"""Of Vicuna-7B."""
ALPHA = 32
"""Of PandaGPT's LoRA, whose files do not say it; its rank is 32 too, so the scale is 1."""
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
NAMES = {
    "image.linear.": "llama_proj.",
    "decoder.": "image_decoder.",
    "prompt_learner.": "prompt_learner.",
}
"""How names begin here, and there."""
_SHOWN = 4
_BOTH = (
    "Give the file pytorch_model.pt of AnomalyGPT first, and that of PandaGPT's 7B delta with "
    "--pandagpt."
)
_LORA = re.compile(r"llama_model\.(base_model\..+\.lora_[AB])(?:\.default)?(\.weight)")


def convert(
    checkpoint: Path,
    pandagpt: Path,
    out: Path,
    config: AdapterConfig = PUBLISHED,
    blocks: int = BLOCKS,
) -> None:
    """Write an adapter from the two published files.

    Args:
        checkpoint: of AnomalyGPT: decoder and prompt learner, and the projection of the picture
            where it was trained too, which then goes before PandaGPT's.
        pandagpt: its delta: that projection, and the LoRA.
        out: folder to be made; an empty one may be there.
        config: what the files should fit; what it was trained on goes into the adapter.
        blocks: of the language model.

    Raises:
        WeightsError: a file cannot be read, holds more than tensors, or not those expected.
        OutputError: the folder holds something, or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} is there and not empty. Name a new folder with --out.")
    own, delta = tensors(checkpoint), tensors(pandagpt)
    learnt, lora = sorted_out(own, delta, config, blocks)
    said = f"as published, {checkpoint.parent.name}/{checkpoint.name} over {pandagpt.name}"
    said = f"{config.trained_on}: {said}" if config.trained_on else said
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".importing-", dir=out.parent) as scratch:
            made = Path(scratch) / "made"
            write_lora(made / _adapter.LORA, lora, config.language_model)
            _adapter.write_tensors(made, replace(config, trained_on=said), learnt)
            if out.exists():
                out.rmdir()
            os.replace(made, out)
    # Safetensors has an error of its own for a full disk.
    except Exception as error:
        raise OutputError(
            f"The adapter cannot be written to {out}: {weights.reason(error)} Make room there, or "
            "name another folder with --out."
        ) from error


def tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a PyTorch file by name, without the "module." of parallel training.

    Raises:
        WeightsError: it cannot be read, or holds anything else.
    """
    import torch

    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    # Damaged and hostile files meet torch with nearly any kind of error.
    except Exception as error:
        raise WeightsError(
            f"{path} cannot be read: {weights.reason(error)} Expected a file of tensors by name "
            "and nothing else, as torch.save writes it; a file that would run code is refused. "
            "Check that it was fetched whole."
        ) from error
    if not isinstance(found, Mapping) or not all(
        isinstance(key, str) and isinstance(tensor, torch.Tensor) for key, tensor in found.items()
    ):
        raise WeightsError(f"{path} holds more than tensors by name; expected nothing else.")
    return {key.removeprefix("module."): tensor for key, tensor in found.items()}


def sorted_out(
    own: Mapping[str, Tensor],
    delta: Mapping[str, Tensor],
    config: AdapterConfig = PUBLISHED,
    blocks: int = BLOCKS,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of an adapter, and those of its LoRA under peft's names.

    Args:
        own: of AnomalyGPT's checkpoint, by name.
        delta: of PandaGPT's.
        config: what they should fit.
        blocks: of the language model.

    Raises:
        WeightsError: names that are missing or not expected, or tensors of another shape.
    """
    names, wanted = published_names(config), shapes(config)
    kept = {name: wanted[name] for name in wanted if name in own or name not in projections(config)}
    _check("AnomalyGPT's checkpoint", own, kept, _BOTH)
    rest, lora = of_pandagpt(delta, config, blocks, _BOTH)
    both = {**rest, **own}
    return {here: both[there] for here, there in names.items()}, lora


def of_pandagpt(
    delta: Mapping[str, Tensor], config: AdapterConfig, blocks: int, hint: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of PandaGPT's projection, and those of its LoRA under peft's names.

    Args:
        delta: its tensors, by name.
        config: what they should fit.
        blocks: of the language model.
        hint: what to do where they do not.

    Raises:
        WeightsError: names that are missing or not expected, or tensors of another shape.
    """
    lora = {"".join(m.groups()): t for name, t in delta.items() if (m := _LORA.fullmatch(name))}
    rest = {name: t for name, t in delta.items() if not _LORA.fullmatch(name)}
    expected = projections(config) | lora_shapes(config, blocks, _rank(lora))
    _check("PandaGPT's delta", {**rest, **lora}, expected, hint)
    return rest, lora


def projections(config: AdapterConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the projection of the picture, by its published names."""
    return {
        "llama_proj.weight": (config.width, config.joint),
        "llama_proj.bias": (config.width,),
    }


def published_names(config: AdapterConfig) -> dict[str, str]:
    """What an adapter's tensors are called there, by their names here."""
    return {
        here: there + here.removeprefix(start)
        for here in _own_shapes(config)
        for start, there in NAMES.items()
        if here.startswith(start)
    }


def shapes(config: AdapterConfig) -> dict[str, tuple[int, ...]]:
    """Of an adapter's tensors, by their published names."""
    own = _own_shapes(config)
    return {there: own[here] for here, there in published_names(config).items()}


def lora_shapes(config: AdapterConfig, blocks: int, rank: int) -> dict[str, tuple[int, ...]]:
    """Of the tensors of PandaGPT's LoRA, under peft's names."""
    start = "base_model.model.model.layers"
    halves = {"A": (rank, config.width), "B": (config.width, rank)}
    return {
        f"{start}.{block}.self_attn.{target}.lora_{half}.weight": shape
        for block in range(blocks)
        for target in TARGETS
        for half, shape in halves.items()
    }


def write_lora(folder: Path, lora: Mapping[str, Tensor], base: str) -> None:
    """Write a LoRA as peft does: adapter_config.json and adapter_model.safetensors."""
    from safetensors.torch import save

    said = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": _rank(lora),
        "lora_alpha": ALPHA,
        "target_modules": list(TARGETS),
        "bias": "none",
        "inference_mode": True,
    }
    whole = {name: tensor.contiguous() for name, tensor in lora.items()}
    install(folder / "adapter_model.safetensors", save(whole))
    install(folder / "adapter_config.json", (json.dumps(said, indent=1) + "\n").encode())


def _own_shapes(config: AdapterConfig) -> dict[str, tuple[int, ...]]:
    import torch

    with torch.device("meta"):
        made = _adapter.modules(config)
    return {
        f"{name}.{key}": tuple(tensor.shape)
        for name, module in made.items()
        for key, tensor in module.state_dict().items()
    }


def _rank(lora: Mapping[str, Tensor]) -> int:
    return min((side for tensor in lora.values() for side in tensor.shape), default=0)


def _check(
    what: str, found: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]], hint: str
) -> None:
    said = []
    if missing := wanted.keys() - found.keys():
        said.append(f"lacks {_listed(missing)}")
    if unexpected := found.keys() - wanted.keys():
        said.append(f"has {_listed(unexpected)}, which do not belong there")
    said += [
        f"has {name} of shape {tuple(found[name].shape)} in place of {shape}"
        for name, shape in wanted.items()
        if name in found and tuple(found[name].shape) != shape
    ][:_SHOWN]
    if said:
        raise WeightsError(f"The file given as {what} {'; '.join(said)}. {hint}")


def _listed(names: Collection[str]) -> str:
    first = sorted(names)[:_SHOWN]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(first)}{more}"
