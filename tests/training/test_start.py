"""What a training starts from: which files and models are refused, and what goes as published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from blemish.detectors._adapter import AdapterConfig
from blemish.errors import OptionError, SavedError, WeightsError
from blemish.synthesis.procedural import write_set
from blemish.training import adapter, plans
from blemish.training import start as starts
from blemish.training.anomalygpt import Learner
from blemish.training.pictures import Pictures
from blemish.training.plans import IAD_GPT, Wanted

State = dict[str, torch.Tensor]
WIDTH, JOINT = 8, 13
CLIP = SimpleNamespace(name="clip", dim=JOINT)
"""An encoder with a joint space."""
LORA = "llama_model.base_model.model.model.layers"


@pytest.fixture(scope="module")
def files(module: Callable[[Path], ModuleType]) -> ModuleType:
    """The module `tiny_pandagpt`."""
    return module(Path(__file__).parents[1] / "tiny_pandagpt.py")


@pytest.fixture
def delta(files: ModuleType) -> State:
    found: State = files.pandagpt(WIDTH, JOINT, 2, 3)
    return found


def without(delta: State, part: str) -> State:
    return {name: tensor for name, tensor in delta.items() if part not in name}


def test_a_file_that_is_not_pandagpts_is_refused_in_words(
    files: ModuleType, delta: State, tmp_path: Path
) -> None:
    def refused(words: str, content: Any, encoder: Any = CLIP, error: Any = WeightsError) -> None:
        path = tmp_path / "delta.pt"
        path.write_bytes(content) if isinstance(content, bytes) else files.saved(path, content)
        with pytest.raises(error, match=words):
            starts.read(path, encoder, tmp_path / "work")
        assert not (tmp_path / "work").exists()

    refused("cannot be read.* Expected a file of tensors by name", b"something else")
    refused("holds more than tensors by name", {"state": delta})
    refused("lacks llama_proj.bias, llama_proj.weight", without(delta, "llama_proj"))
    refused(r"lacks .*layers\.0\.self_attn.* and 252 more", without(delta, "lora"))
    refused(
        r"lacks .*layers\.1\.self_attn\.k_proj\.lora_B", without(delta, "1.self_attn.k_proj.lora_B")
    )
    other = files.pandagpt(WIDTH, 7, 2, 3)
    refused(r"llama_proj\.weight of shape \(8, 7\) in place of \(8, 13\)", other)
    narrow = delta | {f"{LORA}.0.self_attn.q_proj.lora_A.default.weight": torch.zeros(3, 4)}
    refused(r"q_proj\.lora_A\.weight of shape \(3, 4\) in place of \(3, 8\)", narrow)
    own = files.published(WIDTH, JOINT, 6, JOINT)
    refused("has image_decoder.* make an adapter first", own)
    plain = SimpleNamespace(name="dinov2-small")
    refused("the encoder dinov2-small has none.*--encoder clip", delta, plain, OptionError)
    with pytest.raises(SavedError, match="cannot be used"):
        starts.read(tmp_path / "nowhere", CLIP, tmp_path / "work")


def test_models_of_other_sizes_are_refused_in_words(
    files: ModuleType, stand_ins: ModuleType, tmp_path: Path
) -> None:
    class Joint(stand_ins.Captions):  # type: ignore[name-defined,misc]
        dim = JOINT

    def refused(words: str, width: int, depth: int) -> None:
        reader = SimpleNamespace(
            name="small", width=width, depth=depth, spread=0.1, device="cpu", lora=""
        )
        with pytest.raises(WeightsError, match=words):
            adapter.learner(pictures, Joint(), reader, begun, 0, wanted)

    wanted = Wanted(published=True)
    write_set(tmp_path / "wood", "wood", train=1, good=1, anomalous=1, size=(64, 64))
    pictures = Pictures(tmp_path / "wood")
    path = files.saved(tmp_path / "delta.pt", files.pandagpt(WIDTH, JOINT, 2, 3))
    begun = starts.read(path, Joint(), tmp_path / "work")
    refused("embeddings have 8 values; those of small have 16", 16, 2)
    refused("changes 2 layers of its language model, and small has 4", WIDTH, 4)


def test_each_picture_is_decoded_by_the_texts_of_its_own_class() -> None:
    config = AdapterConfig(
        *("iad-gpt", "clip", (1, 2), 5, 4, False, "small", 8, 0.0, "published"),
        joint=4,
        fusion=True,
    )
    learner = Learner(config, SimpleNamespace(device="cpu"))
    tokens, texts = torch.randn(2, 2, 3, 3, 5), (torch.randn(3, 4), torch.randn(6, 4))
    both = learner.decoded(list(tokens), texts)
    assert both.shape == (2, 2, 112, 112)
    for number, own in enumerate(texts):
        alone = learner.decoded(list(tokens[:, number : number + 1]), [own])
        torch.testing.assert_close(both[number : number + 1], alone)
    assert not torch.allclose(both, learner.decoded(list(tokens), texts[::-1]))


def test_the_published_size_learns_as_long_and_as_fast_as_published() -> None:
    """50 epochs in batches of 16, in each stage of IAD-GPT, whatever else few pictures get."""
    iad = Wanted(**{**IAD_GPT.__dict__, "published": True})
    assert plans.stages(iad, 3629, None, 16, True) == dict.fromkeys((1, 2, 3), 11341)
    assert plans.stages(iad, 8, None, 16, True) == dict.fromkeys((1, 2, 3), 25)
    assert plans.stages(iad, 8, 2, 16, True) == dict.fromkeys((1, 2, 3), 1)
    own = Wanted(published=True)
    assert plans.stages(own, 8, None, 16, True) == {1: 25}
    assert [plans.rate(one, None, True) for one in (iad, own)] == [5e-4, 1e-3]
