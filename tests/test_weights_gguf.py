"""A Llama from GGUF, against `transformers`' own reading of the same tokens and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from blemish.errors import OptionError, WeightsError
from blemish.weights import _gguf, digest_folder, folder
from blemish.weights._folders import kept_folder

WIDTH, HEADS, SHARED, INNER = 64, 4, 2, 96


def alphabet() -> list[str]:
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


MERGES = ["Ġ a", "a b", "Ġa b", "1 2"]
TOKENS = ["<|end|>", "<|start|>", *alphabet(), *(m.replace(" ", "") for m in MERGES), "<own>"]
TEXTS = ["ab ab 1212 abab", "a\n\n b1<|end|>ab", "größer <own>", "It's 3 mm, ab."]


def weights_of(rng: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
    """A random Llama of two layers, under the names that `transformers` gives."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=SHARED,
        tie_word_embeddings=True,
    )
    state = LlamaForCausalLM(config).state_dict()
    state.pop("lm_head.weight")
    shaped = {name: rng.normal(0, 0.2, tuple(t.shape)) for name, t in state.items()}
    return {name: array.astype(np.float32) for name, array in shaped.items()}


def write(path: Path, state: dict[str, np.ndarray[Any, Any]], **changes: str) -> None:
    """A GGUF file as llama.cpp's converter writes it: queries and keys turned, some in 4 bits."""
    about = {"arch": "llama", "model": "gpt2", "pre": "smollm"} | changes
    file = gguf.GGUFWriter(path, about["arch"])
    file.add_context_length(128)
    file.add_embedding_length(WIDTH)
    file.add_block_count(2)
    file.add_feed_forward_length(INNER)
    file.add_head_count(HEADS)
    file.add_head_count_kv(SHARED)
    file.add_rope_freq_base(5000.0)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_tokenizer_model(about["model"])
    file.add_tokenizer_pre(about["pre"])
    file.add_token_list(TOKENS)
    file.add_token_types([3, 3] + [1] * (len(TOKENS) - 3) + [4])
    file.add_token_merges(MERGES)
    file.add_bos_token_id(1)
    file.add_eos_token_id(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    for name, array in state.items():
        for part, heads in (("q_proj", HEADS), ("k_proj", SHARED)):
            if part in name:  # each head's two halves, side by side
                halves = array.reshape(heads, 2, -1, WIDTH)
                array = np.stack([halves[:, 0], halves[:, 1]], 2).reshape(array.shape)
        new = names.get_name(name.removesuffix(".weight"))
        kind = gguf.GGMLQuantizationType.Q4_1 if "mlp" in name else None
        data = gguf.quants.quantize(array, kind) if kind else np.ascontiguousarray(array)
        file.add_tensor(f"{new}.weight", data, raw_dtype=kind)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path, dict[str, np.ndarray[Any, Any]]]:
    """The file, the folder made from it, and the weights that went in."""
    state = weights_of(np.random.default_rng(0))
    write(tmp_path / "model.gguf", state)
    (tmp_path / "made").mkdir()
    _gguf.llama(tmp_path / "model.gguf", tmp_path / "made")
    return tmp_path / "model.gguf", tmp_path / "made", state


def test_weights_and_shape_come_back(made: Any) -> None:
    from transformers import AutoModelForCausalLM

    _, folder, state = made
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found = model.state_dict()
    assert found.pop("lm_head.weight").data_ptr() == found["model.embed_tokens.weight"].data_ptr()
    assert set(found) == set(state)
    for name, want in state.items():
        # 4 bits between the least and the most of 32 neighbours; float16 otherwise.
        near = (np.ptp(want) / 15 if "mlp" in name else 1e-3) * 0.6
        np.testing.assert_allclose(found[name].numpy(), want, atol=near)
    assert model.config.rope_parameters["rope_theta"] == 5000.0
    assert (model.config.rms_norm_eps, model.config.max_position_embeddings) == (1e-5, 128)
    assert (model.generation_config.eos_token_id, model.config.bos_token_id) == (0, 1)


def test_texts_become_the_tokens_that_transformers_reads(made: Any) -> None:
    from transformers import AutoTokenizer

    file, folder, _ = made
    ours = AutoTokenizer.from_pretrained(folder)
    own = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    for text in TEXTS:
        ids = ours(text).input_ids
        # transformers' own reads two digits as one token; in this kind each is by itself.
        assert ids == own(text).input_ids or "12" in text
        assert ours.decode(ids, clean_up_tokenization_spaces=False) == text
    assert ours.convert_ids_to_tokens(ours("ab ab 12").input_ids) == ["ab", "Ġab", "Ġ", "1", "2"]
    assert (ours.eos_token, ours.bos_token) == ("<|end|>", "<|start|>")
    assert ours.decode(ours("a<|end|>").input_ids, skip_special_tokens=True) == "a"


@pytest.mark.parametrize(
    "changes", [{"arch": "gemma"}, {"model": "llama"}, {"pre": "qwen2"}], ids=str
)
def test_another_kind_is_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    write(tmp_path / "model.gguf", weights_of(np.random.default_rng(0)), **changes)
    with pytest.raises(WeightsError, match="expected a llama with tokens of kind gpt2"):
        _gguf.llama(tmp_path / "model.gguf", tmp_path)


def test_a_folder_is_made_once_and_again_where_it_is_not_whole(tmp_path: Path) -> None:
    calls: list[Path] = []

    def make(into: Path) -> None:
        calls.append(into)
        (into / "a").write_text("a")
        (into / "b").write_text("b")

    target = tmp_path / "cache" / "kept"
    for _ in range(2):
        assert kept_folder(target, "of one", make) == target
    assert len(calls) == 1
    (target / "b").write_text("c")
    kept_folder(target, "of one", make)
    assert (len(calls), (target / "b").read_text()) == (2, "b")
    kept_folder(target, "of another", make)
    assert len(calls) == 3
    (target / "a").unlink()
    kept_folder(target, "of another", make)
    assert len(calls) == 4
    assert [path.name for path in target.parent.iterdir()] == ["kept"]


def test_a_full_disk_ends_in_words_and_leaves_nothing(tmp_path: Path) -> None:
    def full(into: Path) -> None:
        (into / "a").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(WeightsError, match=r"No space left on device\. Make room there"):
        kept_folder(tmp_path / "kept", "of one", full)
    assert list(tmp_path.iterdir()) == []


def test_the_sum_of_a_folder_is_of_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = digest_folder(tmp_path)
    (tmp_path / ".hidden").write_text("")
    assert digest_folder(tmp_path) == first
    (tmp_path / "a").rename(tmp_path / "b")
    assert digest_folder(tmp_path) != first


def test_weights_of_another_kind_are_refused() -> None:
    with pytest.raises(OptionError, match=r"'dinov2-small' is no language model\. Known: smollm2"):
        folder("dinov2-small")
