"""From a GGUF file of a Llama to a folder that `transformers` loads.

`transformers` reads GGUF itself, but needs accelerate for it and half a minute each time. Here it
is done once; the folder loads in a second. Called with files whose sha256 has been checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.errors import WeightsError

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_CONTROL, _OWN = 3, 4
"""Types of tokens in GGUF: control, such as the end of a text, and added by the publisher."""
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_SPLITS: dict[str, list[dict[str, Any]]] = {
    "smollm": [{"type": "Digits", "individual_digits": True}, _BYTES],
    "gpt-2": [_BYTES],
}
"""How a text is split before pairs are joined, by llama.cpp's name for it."""


def llama(path: Path, folder: Path) -> None:
    """Write config, tokenizer and weights of a Llama with GPT-2's kind of tokens.

    The 4-bit weights are multiplied out and kept in float16.

    Args:
        path: of the GGUF file.
        folder: that exists and is empty.

    Raises:
        WeightsError: another architecture or kind of tokens.
    """
    from gguf import GGUFReader, dequantize
    from safetensors.numpy import save_file

    reader = GGUFReader(path)
    about = {name: field.contents() for name, field in reader.fields.items()}
    kind = about["general.architecture"], about["tokenizer.ggml.model"], _split(about)
    if kind[0] != "llama" or kind[1] != "gpt2" or kind[2] not in _SPLITS:
        raise WeightsError(
            f"{path} holds a {kind[0]} with tokens of kind {kind[1]}, {kind[2]}; expected a llama "
            f"with tokens of kind gpt2, {' or '.join(_SPLITS)}."
        )
    heads = {
        "attn_q": about["llama.attention.head_count"],
        "attn_k": about["llama.attention.head_count_kv"],
    }
    tensors: dict[str, NDArray[np.float16]] = {}
    for tensor in reader.tensors:
        weight = dequantize(tensor.data, tensor.tensor_type)
        for part, count in heads.items():
            if f".{part}." in tensor.name:
                weight = _halves(weight, int(count))
        tensors[_renamed(tensor.name)] = np.ascontiguousarray(weight, np.float16)
    # transformers asks for this entry.
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    written = {
        "config.json": _config(about, tied="lm_head.weight" not in tensors),
        "tokenizer.json": _tokenizer(about),
        "tokenizer_config.json": _tokenizer_config(about),
    }
    for name, content in written.items():
        text = json.dumps(content, ensure_ascii=False, indent=1)
        (folder / name).write_text(text, encoding="utf-8")


def _split(about: Mapping[str, Any]) -> str:
    return str(about.get("tokenizer.ggml.pre", "gpt-2"))


def _renamed(name: str) -> str:
    """The name that transformers gives to a tensor of GGUF, such as "blk.0.attn_q.weight"."""
    layer, own, end = re.fullmatch(r"(blk\.\d+\.)?(\w+)\.(\w+)", name).groups()  # type: ignore[union-attr]
    before = f"model.layers.{layer.split('.')[1]}." if layer else ""
    return f"{before}{_NAMES[own]}.{end}"


def _halves(weight: NDArray[Any], heads: int) -> NDArray[Any]:
    """(out, in): rows of each head from pairs side by side, as llama.cpp turns them, to halves."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def _config(about: Mapping[str, Any], tied: bool) -> dict[str, Any]:
    width, heads = about["llama.embedding_length"], about["llama.attention.head_count"]
    # Kept in float32, where the publisher meant a short decimal number.
    small = float(f"{about['llama.attention.layer_norm_rms_epsilon']:.6g}")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": width,
        "head_dim": width // heads,
        "intermediate_size": about["llama.feed_forward_length"],
        "num_hidden_layers": about["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": about["llama.attention.head_count_kv"],
        "max_position_embeddings": about["llama.context_length"],
        "rms_norm_eps": small,
        "rope_parameters": {"rope_type": "default", "rope_theta": about["llama.rope.freq_base"]},
        "vocab_size": len(about["tokenizer.ggml.tokens"]),
        "tie_word_embeddings": tied,
        "dtype": "float16",
        **{f"{name}_token_id": number for name, number in _ends(about).items()},
    }


def _tokenizer(about: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a tokenizer.json."""
    tokens, kinds = about["tokenizer.ggml.tokens"], about["tokenizer.ggml.token_type"]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": token, "special": kind == _CONTROL, **plain}
            for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
            if kind in (_CONTROL, _OWN)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": _SPLITS[_split(about)]},
        "post_processor": None,
        "decoder": _BYTES,
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in about["tokenizer.ggml.merges"]],
        },
    }


def _tokenizer_config(about: Mapping[str, Any]) -> dict[str, Any]:
    tokens = about["tokenizer.ggml.tokens"]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": about["llama.context_length"],
        "chat_template": about.get("tokenizer.chat_template"),
        **{f"{name}_token": tokens[number] for name, number in _ends(about).items()},
    }


def _ends(about: Mapping[str, Any]) -> dict[str, int]:
    """Numbers of the special tokens that the file names."""
    names = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    found = {own: about.get(f"tokenizer.ggml.{name}_token_id") for own, name in names.items()}
    return {own: int(number) for own, number in found.items() if number is not None}


FOLDERS: dict[str, Callable[[Path, Path], None]] = {"llama-gguf": llama}
"""By the name that a row of the table states."""
