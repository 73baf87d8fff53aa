"""Files of random tensors under the names of PandaGPT's delta and AnomalyGPT's checkpoint.

Names and shapes are facts of the two projects' code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

State = dict[str, torch.Tensor]


def published(width: int, joint: int, tokens: int, text: int, device: str = "cpu") -> State:
    """AnomalyGPT's checkpoint as its code names it."""
    convolutions = {0: (4, 1, 3), 3: (16, 4, 3), 6: (64, 16, 3), 9: (256, 64, 3)}
    convolutions |= {12: (1024, 256, 3), 15: (width, 1024, 5)}
    found: dict[str, tuple[int, ...]]
    found = {"llama_proj.weight": (width, joint), "llama_proj.bias": (width,)}
    for k in range(4):
        found[f"image_decoder.fc.{k}.weight"] = (text, tokens)
        found[f"image_decoder.fc.{k}.bias"] = (text,)
    for k, (out, given, side) in convolutions.items():
        found[f"prompt_learner.meta_net.{k}.weight"] = (out, given, side, side)
        found[f"prompt_learner.meta_net.{k}.bias"] = (out,)
    found["prompt_learner.base_prompts"] = (9, width)
    return {name: torch.randn(shape, device=device) for name, shape in found.items()}


def pandagpt(
    width: int, joint: int, blocks: int, rank: int, device: str = "cpu", named: str = ".default"
) -> State:
    """PandaGPT's delta as its code names it."""
    found = {
        f"llama_model.base_model.model.model.layers.{block}.self_attn.{part}_proj"
        f".lora_{half}{named}.weight": torch.randn(shape, device=device)
        for block in range(blocks)
        for part in "qkvo"
        for half, shape in (("A", (rank, width)), ("B", (width, rank)))
    }
    found["llama_proj.weight"] = torch.randn(width, joint, device=device)
    found["llama_proj.bias"] = torch.randn(width, device=device)
    return found


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path
