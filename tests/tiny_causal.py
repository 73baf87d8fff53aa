"""Tiny random language models, and changes to their weights in peft's format. For tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch


def write(folder: Path, parts: ModuleType, kind: str = "llama", seed: int = 0) -> Path:
    """A random model over bytes of the kind "llama" or "qwen".

    Args:
        folder: to be made.
        parts: the module `tiny_vlm`, whose tokenizer it takes.
        kind: of the model.
        seed: of its weights.
    """
    import transformers

    words = parts.tokenizer()
    size = {**parts.TEXT, "vocab_size": len(words), "max_position_embeddings": 1024}
    torch.manual_seed(seed)
    if kind == "llama":
        model: Any = transformers.LlamaForCausalLM(transformers.LlamaConfig(**size))
    else:
        model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**size))
    parts.save(model, folder)
    words.save_pretrained(folder)
    return folder


def lora(layers: Iterable[str], width: int, rank: int = 2, seed: int = 0) -> dict[str, Any]:
    """Random A and B of square layers, by peft's names."""
    source = torch.Generator().manual_seed(seed)
    return {
        f"base_model.model.{layer}.lora_{half}.weight": torch.randn(shape, generator=source) / 3
        for layer in layers
        for half, shape in (("A", (rank, width)), ("B", (width, rank)))
    }


def write_lora(folder: Path, tensors: dict[str, Any], **more: Any) -> Path:
    """As peft writes it: the names that its own `save_pretrained` gives."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    said = {"peft_type": "LORA", "r": 2, "lora_alpha": 8, "bias": "none", **more}
    (folder / "adapter_config.json").write_text(json.dumps(said))
    return folder
