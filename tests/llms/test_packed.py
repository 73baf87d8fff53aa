"""A model with packed linear layers, against the model as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from blemish.llms import _packed
from blemish.llms._packed import Packing
from blemish.llms.causal import Causal


@pytest.fixture(params=["llama", "qwen", "tied"])
def causal(
    request: pytest.FixtureRequest,
    module: Callable[[Path], ModuleType],
    vlm_writer: ModuleType,
    tmp_path: Path,
) -> Causal:
    """A random model; Qwen's linear layers have biases, here random ones as well."""
    made = module(Path(__file__).parents[1] / "tiny_causal.py")
    kind = "llama" if request.param == "tied" else request.param
    causal = Causal(made.write(tmp_path / "m", vlm_writer, kind))
    source = torch.Generator().manual_seed(1)
    for name, tensor in causal._model.named_parameters():
        if name.endswith("bias"):
            tensor.copy_(torch.randn(tensor.shape, generator=source))
    if request.param == "tied":
        causal._model.lm_head.weight = causal._model.get_input_embeddings().weight
    return causal


def logits(model: Any, rows: int = 2, tokens: int = 4) -> torch.Tensor:
    ids = torch.arange(rows * tokens).reshape(rows, tokens) % 50 + 5
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=ids).logits
    return found


@pytest.mark.parametrize(("rows", "tokens"), [(1, 1), (2, 1), (8, 1), (9, 3), (3, 70)])
def test_packed_layers_compute_what_they_did(causal: Causal, rows: int, tokens: int) -> None:
    want = logits(causal._model, rows, tokens)
    Packing(causal._model).pack()
    found = logits(causal._model, rows, tokens)
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-4)


def test_weights_are_held_once_and_come_back_bit_for_bit(causal: Causal) -> None:
    model, packing = causal._model, Packing(causal._model)
    plain = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    want = logits(model)
    tied = model.lm_head.weight is model.get_input_embeddings().weight
    for _ in range(2):
        packing.pack()
        packing.pack()
        assert len(plain) > 10
        assert all(layer.weight is None for layer in plain)
        packing.unpack()
        packing.unpack()
        after = model.state_dict()
        assert after.keys() == before.keys()
        assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
        assert torch.equal(logits(model), want)
        assert not any(tensor.requires_grad for tensor in model.parameters())
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == tied


def test_a_model_of_few_bits_stays_as_it_is(causal: Causal) -> None:
    few = copy.deepcopy(causal._model).to(torch.bfloat16)
    Packing(few).pack()
    assert few.state_dict().keys() == causal._model.state_dict().keys()


def test_where_torch_cannot_pack_the_layers_stay_as_they_are(
    causal: Causal, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = logits(causal._model)
    count, pack = [0], _packed._pack

    def absent(layer: Any, shared: bool) -> Any:
        count[0] += 1
        if count[0] > 2:
            raise RuntimeError("Could not run 'mkldnn::_linear_pointwise'")
        return pack(layer, shared)

    monkeypatch.setattr(_packed, "_pack", absent)
    packing = Packing(causal._model)
    packing.pack()
    torch.testing.assert_close(logits(causal._model), want, rtol=1e-4, atol=1e-4)
    packing.unpack()
    assert torch.equal(logits(causal._model), want)


def test_words_are_written_packed_and_losses_are_not(causal: Causal) -> None:
    asked = [causal.embed("Is there a hole?"), causal.embed("Where?")]
    head = causal._model.lm_head
    before = float(causal.loss(asked, ["Yes.", "At the top."], prefix="A"))
    first = causal.generate(asked, prefix="A", most=3)
    assert head.weight is None
    assert "".join(causal.stream(asked[0], prefix="A", most=3)) == first[0].text
    with torch.autocast("cpu", torch.bfloat16):
        assert causal.generate(asked, prefix="A", most=3) == first
    assert float(causal.loss(asked, ["Yes.", "At the top."], prefix="A")) == before
    assert head.weight is not None
    shown = [prompt.clone().requires_grad_() for prompt in asked]
    causal.loss(shown, ["Yes.", "At the top."], prefix="A").backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in shown)
    assert causal.generate(asked, prefix="A", most=3) == first


def test_a_model_that_was_packed_can_learn_and_be_asked(causal: Causal) -> None:
    pytest.importorskip("peft")
    asked = [causal.embed("Is there a hole?"), causal.embed("Where?")]
    said = causal.generate(asked, most=3)
    learning = causal.learning()
    # Its changes begin at zero. It keeps its weights while the other packs the same ones again.
    assert [one.text for one in learning.generate(asked, most=3)] == [one.text for one in said]
    assert causal.generate(asked, most=3) == said
    assert [one.text for one in learning.generate(asked, most=3)] == [one.text for one in said]
