"""Small random CLIP checkpoints in open_clip's format, under its published names. For tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

State = dict[str, torch.Tensor]
WORDS = 512 + 2 + 2
"""All bytes, all bytes as ends of words, two merges, and the marks of start and end."""

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "ViT-B-16-plus-240": {
        "embed_dim": 48,
        "vision_cfg": {"image_size": 40, "layers": 3, "width": 128, "patch_size": 8},
        "text_cfg": {
            **{"context_length": 12, "vocab_size": WORDS},
            **{"width": 48, "heads": 3, "layers": 2},
        },
    },
    "ViT-L-14-336-quickgelu": {
        "embed_dim": 32,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 42, "layers": 2, "width": 192, "patch_size": 7},
        "text_cfg": {
            **{"context_length": 12, "vocab_size": WORDS},
            **{"width": 32, "heads": 2, "layers": 3},
        },
    },
    "ViT-H-14": {
        "embed_dim": 40,
        "vision_cfg": {
            **{"image_size": 28, "layers": 2, "width": 160, "head_width": 80, "patch_size": 7},
        },
        "text_cfg": {
            **{"context_length": 12, "vocab_size": WORDS},
            **{"width": 40, "heads": 4, "layers": 2},
        },
    },
}
"""The structure of the three checkpoints, narrower and shallower."""


def published_shapes(described: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor that open_clip writes for a plain CLIP, by name."""
    vision, text, joint = described["vision_cfg"], described["text_cfg"], described["embed_dim"]
    width, patch = vision["width"], vision["patch_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "visual.class_embedding": (width,),
        "visual.positional_embedding": ((vision["image_size"] // patch) ** 2 + 1, width),
        "visual.proj": (width, joint),
        "visual.conv1.weight": (width, 3, patch, patch),
        "positional_embedding": (text["context_length"], text["width"]),
        "text_projection": (text["width"], joint),
        "token_embedding.weight": (text["vocab_size"], text["width"]),
        "logit_scale": (),
    }
    norms = {"visual.ln_pre": width, "visual.ln_post": width, "ln_final": text["width"]}
    for tower, config in (("visual.", vision), ("", text)):
        wide = config["width"]
        for number in range(config["layers"]):
            block = f"{tower}transformer.resblocks.{number}."
            norms |= {f"{block}ln_1": wide, f"{block}ln_2": wide}
            for name, out, given in (
                ("attn.in_proj_", 3 * wide, wide),
                ("attn.out_proj.", wide, wide),
                ("mlp.c_fc.", 4 * wide, wide),
                ("mlp.c_proj.", wide, 4 * wide),
            ):
                shapes |= {f"{block}{name}weight": (out, given), f"{block}{name}bias": (out,)}
    for name, wide in norms.items():
        shapes |= {f"{name}.weight": (wide,), f"{name}.bias": (wide,)}
    return shapes


def random_state(described: dict[str, Any], seed: int = 0) -> State:
    """Random tensors that keep a signal alive through the layers."""
    source = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in published_shapes(described).items():
        spread = shape[-1] ** -0.5 if len(shape) == 2 else 0.3
        state[name] = spread * torch.randn(shape, generator=source)
        if ".ln_" in f".{name}" and name.endswith("weight"):
            state[name] += 1
    return state | {"logit_scale": torch.tensor(100.0).log()}


def write_tokenizer(folder: Path) -> None:
    """The tokenizer of `WORDS` words: single bytes, and the merges "c a" and "ca t</w>"."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in visible] + [chr(256 + i) for i in range(256 - len(visible))]
    words = [*letters, *(f"{x}</w>" for x in letters), "ca", "cat</w>"]
    words += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\n")


def write_checkpoint(
    folder: Path,
    name: str = "ViT-B-16-plus-240",
    seed: int = 0,
    context: int | None = None,
    **more: Any,
) -> tuple[dict[str, Any], State]:
    """Writes a checkpoint folder; gives its description and its tensors.

    Args:
        folder: made if need be.
        name: of `ARCHITECTURES`.
        seed: of the tensors.
        context: tokens that it reads, where not as many as there.
        more: of the model's configuration.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    described = dict(ARCHITECTURES[name])
    if context is not None:
        described["text_cfg"] = described["text_cfg"] | {"context_length": context}
    state = random_state(described, seed)
    save_file(state, folder / "open_clip_model.safetensors")
    config = {"model_cfg": described | more, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    write_tokenizer(folder)
    return described, state
