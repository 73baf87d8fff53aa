"""open_clip checkpoints as `transformers.CLIPModel`: configuration and tensors.

Shapes come from the tensors. What they do not tell, the heads and the activation, comes from
`open_clip_config.json`; where it asks for more than a plain CLIP, the checkpoint is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from blemish.errors import WeightsError

VIT_B_16_PLUS_240: Mapping[str, Any] = {
    "embed_dim": 640,
    "vision_cfg": {"image_size": 240, "layers": 12, "width": 896, "patch_size": 16},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 640,
        "heads": 10,
        "layers": 12,
    },
}
"""open_clip's description of the one checkpoint that is published without any beside it."""

_HEAD_WIDTH, _TEXT_HEADS = 64, 8  # open_clip's own where a configuration is silent
_READ: Mapping[str, frozenset[str]] = {
    "model_cfg": frozenset({"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text"}),
    "vision_cfg": frozenset(
        {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio", "patch_dropout"}
    ),
    "text_cfg": frozenset(
        {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}
    ),
}
_OUTER = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.": "vision_model.pre_layrnorm.",
    "visual.ln_post.": "vision_model.post_layernorm.",
    "visual.transformer.resblocks.": "vision_model.encoder.layers.",
    "visual.proj": "visual_projection.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "transformer.resblocks.": "text_model.encoder.layers.",
    "ln_final.": "text_model.final_layer_norm.",
    "text_projection": "text_projection.weight",
    "logit_scale": "logit_scale",
}
_INNER = {
    ".attn.": ".self_attn.",
    ".ln_1.": ".layer_norm1.",
    ".ln_2.": ".layer_norm2.",
    ".mlp.c_fc.": ".mlp.fc1.",
    ".mlp.c_proj.": ".mlp.fc2.",
}
_UNUSED = frozenset({"attn_mask", "input_resolution", "context_length", "vocab_size"})
"""Entries of older checkpoints that are no weights."""


def plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors under open_clip's present names, whatever a training run wrapped them in.

    Args:
        state: what a checkpoint file holds.
    """
    state = state.get("state_dict", state)
    names = {k: k.removeprefix("module.").removeprefix("text.") for k in state}
    return {names[k]: tensor for k, tensor in state.items() if names[k] not in _UNUSED}


def recognised(state: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The description of a bare checkpoint whose shapes are those of ViT-B/16+ 240, or None."""
    shapes = {
        "visual.conv1.weight": (896, 3, 16, 16),
        "visual.positional_embedding": (226, 896),
        "visual.proj": (896, 640),
        "positional_embedding": (77, 640),
        "text_projection": (640, 640),
    }
    same = all(k in state and tuple(state[k].shape) == shape for k, shape in shapes.items())
    layers = (_depth(state, "visual.transformer."), _depth(state, "transformer."))
    return VIT_B_16_PLUS_240 if same and layers == (12, 12) else None


def configuration(state: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `transformers.CLIPConfig`.

    Args:
        state: as `plain` gives it.
        described: the `model_cfg` of `open_clip_config.json`.

    Raises:
        WeightsError: the description asks for something other than a plain CLIP, or a tensor that
            tells the architecture is missing.
    """
    vision, text = described.get("vision_cfg", {}), described.get("text_cfg", {})
    _check_plain({"model_cfg": described, "vision_cfg": vision, "text_cfg": text})
    try:
        width, _, _, patch = state["visual.conv1.weight"].shape
        cells = len(state["visual.positional_embedding"]) - 1
        words, text_width = state["token_embedding.weight"].shape
        context = len(state["positional_embedding"])
        joint = state["visual.proj"].shape[1]
        inner = {
            tower: len(state[f"{tower}resblocks.0.mlp.c_fc.bias"])
            for tower in ("visual.transformer.", "transformer.")
        }
    except KeyError as error:
        raise WeightsError(f"it has no tensor {error.args[0]!r}.") from None
    act = "quick_gelu" if described.get("quick_gelu") else "gelu"
    return {
        "projection_dim": joint,
        "vision_config": {
            "hidden_size": width,
            "intermediate_size": inner["visual.transformer."],
            "num_hidden_layers": _depth(state, "visual.transformer."),
            "num_attention_heads": width // (vision.get("head_width") or _HEAD_WIDTH),
            "image_size": patch * round(cells**0.5),
            "patch_size": patch,
            "projection_dim": joint,
            "hidden_act": act,
        },
        "text_config": {
            "vocab_size": words,
            "hidden_size": text_width,
            "intermediate_size": inner["transformer."],
            "num_hidden_layers": _depth(state, "transformer."),
            "num_attention_heads": text.get("heads") or _TEXT_HEADS,
            "max_position_embeddings": context,
            "projection_dim": joint,
            "hidden_act": act,
            # The two last words of CLIP's vocabulary begin and end a text.
            "bos_token_id": words - 2,
            "eos_token_id": words - 1,
        },
    }


def _check_plain(parts: Mapping[str, Mapping[str, Any]]) -> None:
    for part, keys in parts.items():
        if more := sorted(k for k, value in keys.items() if value and k not in _READ[part]):
            raise WeightsError(
                f"its {part} asks for {', '.join(more)}; expected a CLIP with two plain "
                "transformers, such as ViT-B-16-plus-240, ViT-L-14-336 or ViT-H-14."
            )


def converted(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state dict of `transformers.CLIPModel`.

    Every tensor is a copy: in a mapped file they begin anywhere, and the same weights at another
    alignment give other last bits.

    Args:
        state: as `plain` gives it.

    Raises:
        WeightsError: a tensor that a plain CLIP does not have.
    """
    from torch import contiguous_format

    found: dict[str, Any] = {}
    for old, tensor in state.items():
        name = _renamed(old)
        if ".in_proj_" in name:  # queries, keys and values, one below the other
            for part, third in zip("qkv", tensor.chunk(3), strict=True):
                found[name.replace("in_proj_", f"{part}_proj.")] = third.clone()
        elif name.endswith("_projection.weight"):  # open_clip multiplies from the other side
            found[name] = tensor.T.clone(memory_format=contiguous_format)
        elif name == "logit_scale":
            found[name] = tensor.reshape(()).clone()
        else:
            found[name] = tensor.clone()
    return found


def _renamed(name: str) -> str:
    for old, new in _OUTER.items():
        if name == old or (old.endswith(".") and name.startswith(old)):
            name = new + name.removeprefix(old)
            break
    else:
        raise WeightsError(f"it has a tensor {name!r}, which a plain CLIP does not have.")
    for old, new in _INNER.items():
        name = name.replace(old, new)
    return name


def _depth(state: Mapping[str, Any], tower: str) -> int:
    """How many layers a tower has."""
    found = (re.match(rf"{re.escape(tower)}resblocks\.(\d+)\.", name) for name in state)
    return 1 + max((int(match[1]) for match in found if match), default=-1)
