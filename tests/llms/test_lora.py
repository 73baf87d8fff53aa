"""Changes to a language model's weights, against a model whose weights were changed by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from blemish.errors import OptionError, WeightsError
from blemish.llms import _lora
from blemish.llms.causal import Causal

LAYERS = ("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.o_proj")
QUESTION, ANSWER = "Where is it?", "At the top."


@pytest.fixture(scope="module")
def made(module: Callable[[Path], ModuleType]) -> ModuleType:
    return module(Path(__file__).parents[1] / "tiny_causal.py")


@pytest.fixture(scope="module")
def model(made: ModuleType, module: Callable[[Path], ModuleType], tmp_path_factory: Any) -> Path:
    parts = module(Path(__file__).parents[1] / "tiny_vlm.py")
    return Path(made.write(tmp_path_factory.mktemp("models") / "tiny", parts))


def loss(causal: Causal) -> float:
    return float(causal.loss([causal.embed(QUESTION)], [ANSWER]).detach())


def changed(model: Path, tensors: dict[str, Any], scale: float) -> float:
    """The loss of `transformers`' own model, each weight changed entry by entry."""
    from transformers import AutoModelForCausalLM

    plain: Any = AutoModelForCausalLM.from_pretrained(model)
    for layer in LAYERS:
        a = tensors[f"base_model.model.{layer}.lora_A.weight"].numpy()
        b = tensors[f"base_model.model.{layer}.lora_B.weight"].numpy()
        change = scale * np.einsum("or,ri->oi", b, a)
        with torch.no_grad():
            plain.get_submodule(layer).weight += torch.from_numpy(change)
    causal = Causal(model)
    asked = [1, *causal.tokens(QUESTION)]
    told = [*causal.tokens(ANSWER), 2]
    with torch.no_grad():
        logits = plain(torch.tensor([asked + told])).logits[0, len(asked) - 1 : -1]
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(told)))


@pytest.mark.parametrize(("rslora", "scale"), [(False, 8 / 2), (True, 8 / math.sqrt(2))])
def test_a_weight_becomes_its_sum_with_b_times_a(
    made: ModuleType, model: Path, tmp_path: Path, rslora: bool, scale: float
) -> None:
    tensors = made.lora(LAYERS, 32)
    folder = made.write_lora(tmp_path / "lora", tensors, use_rslora=rslora)
    with_lora, without = Causal(model, lora=folder), Causal(model)
    assert loss(with_lora) == pytest.approx(changed(model, tensors, scale), rel=1e-4)
    assert abs(loss(with_lora) - loss(without)) > 0.01
    assert without.lora == ""
    assert with_lora.fingerprint != without.fingerprint
    other = made.write_lora(tmp_path / "other", made.lora(LAYERS, 32, seed=1))
    assert Causal(model, lora=other).fingerprint != with_lora.fingerprint


def test_what_learns_has_the_gradients_of_the_same_changes_in_peft(
    made: ModuleType, model: Path, tmp_path: Path
) -> None:
    """Also through a prefix, which is never kept ready then."""
    from transformers import AutoModelForCausalLM

    causal = Causal(model)
    learning = causal.learning()
    assert learning.changes
    random = torch.Generator().manual_seed(1)
    learning.changes.load(
        {n: torch.randn(t.shape, generator=random) / 9 for n, t in learning.changes.state().items()}
    )
    prefix, asked = "A part. ", [causal.embed(QUESTION), causal.embed("And?")]
    ours = learning.loss(asked, [ANSWER, "No."], prefix=prefix)
    ours.backward()  # type: ignore[no-untyped-call]

    learning.changes.write(tmp_path, str(model))
    native: Any = AutoModelForCausalLM.from_pretrained(model)
    native.load_adapter(str(tmp_path), is_trainable=True)
    losses: list[Any] = []
    for question, answer in ((QUESTION, ANSWER), ("And?", "No.")):
        before = [1, *causal.tokens(prefix), *causal.tokens(question)]
        told = [*causal.tokens(answer), 2]
        logits = native(torch.tensor([before + told])).logits[0, len(before) - 1 : -1]
        losses += torch.nn.functional.cross_entropy(logits, torch.tensor(told), reduction="none")
    theirs = torch.stack(losses).mean()
    theirs.backward()  # type: ignore[no-untyped-call]
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-5)
    wanted = {n: p.grad for n, p in native.named_parameters() if "lora" in n}
    assert len(wanted) == 2 * 4 * 2  # Two layers, four projections, two matrices.
    found = zip(learning.changes.state(), learning.changes.parameters(), strict=True)
    for name, parameter in found:
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-3, atol=1e-5)


def test_a_model_learns_and_stays_as_it_is_for_others(model: Path, tmp_path: Path) -> None:
    causal = Causal(model)
    before = {n: t.clone() for n, t in causal._model.state_dict().items()}
    first, learning = loss(causal), causal.learning()
    assert loss(learning) == pytest.approx(first, rel=1e-5)
    assert learning.changes
    optimizer = torch.optim.Adam(learning.changes.parameters(), lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        learning.loss([causal.embed(QUESTION)], [ANSWER]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss(learning) < 0.5 * first
    assert loss(causal) == first
    own = causal._model.state_dict()
    assert own.keys() == before.keys()
    assert all(torch.equal(t, own[n]) for n, t in before.items())
    shared = {t.data_ptr() for t in own.values()}
    assert shared <= {t.data_ptr() for t in learning._model.state_dict().values()}

    learning.changes.write(tmp_path, str(model))
    merged = Causal(model, lora=tmp_path)
    prompt = [causal.embed(QUESTION)]
    both = [next(one._steps.run(prompt, "A part. ", 1)) for one in (merged, learning)]
    torch.testing.assert_close(*both, rtol=0, atol=1e-4)
    said = [one.generate(prompt, most=12)[0].text for one in (merged, learning)]
    assert said[0] == said[1]
    assert said[0].startswith(ANSWER)


def test_what_learns_is_float32_over_a_model_of_few_bits(model: Path) -> None:
    learning = Causal(model, dtype="bfloat16").learning()
    assert learning.changes
    assert {p.dtype for p in learning.changes.parameters()} == {torch.float32}
    learning.loss([learning.embed(QUESTION)], [ANSWER]).backward()  # type: ignore[no-untyped-call]
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in learning.changes.parameters())


def test_a_model_that_cannot_learn_says_why(
    made: ModuleType, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made.write_lora(tmp_path / "lora", made.lora(LAYERS, 32))
    with pytest.raises(OptionError, match="has a LoRA already"):
        Causal(model, lora=folder).learning()
    monkeypatch.setattr("blemish.llms.causal._ATTENTION", re.compile("nothing"))
    with pytest.raises(OptionError, match="no linear layers in its attention"):
        Causal(model).learning()


def test_a_packed_weight_stays_and_its_layer_gives_the_same(
    made: ModuleType, tmp_path: Path
) -> None:
    class Packed(torch.nn.Module):
        """A linear layer whose weight is no floating point, as in 4 bits."""

        in_features = out_features = 6

        def __init__(self, plain: torch.nn.Linear) -> None:
            super().__init__()
            whole = (plain.weight * 100).round().to(torch.int8)
            self.weight = torch.nn.Parameter(whole, requires_grad=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ (self.weight.to(x) / 100).T

    torch.manual_seed(0)
    plain = torch.nn.Linear(6, 6, bias=False).requires_grad_(False)
    packed = Packed(plain)
    plain.weight.copy_(packed.weight / 100)
    folder = made.write_lora(tmp_path / "lora", made.lora(["part"], 6))
    for layer in (plain, packed):
        _lora.add(torch.nn.ModuleDict({"part": layer}), folder)
    x = torch.randn(2, 3, 6)
    torch.testing.assert_close(packed(x), plain(x))
    assert packed.weight.dtype == torch.int8
    assert packed(x.bfloat16()).dtype == torch.bfloat16


def test_changes_of_another_model_or_sort_are_refused(
    made: ModuleType, model: Path, tmp_path: Path
) -> None:
    tensors = made.lora(LAYERS, 32)

    def refused(name: str, words: str, some: Any = tensors, **more: Any) -> None:
        folder = made.write_lora(tmp_path / name, some, **more)
        with pytest.raises(WeightsError, match=words):
            Causal(model, lora=folder)

    refused("narrow", "takes 16 values and gives 16; its own takes 32", made.lora(LAYERS, 16))
    refused("deep", r"layers\.7.* takes 32 .* it has none", made.lora(["model.layers.7.x"], 32))
    refused("dora", "use_dora True; plain LoRA only", use_dora=True)
    refused("sort", "peft_type 'IA3'", peft_type="IA3")
    refused("half", "not both lora_A and lora_B of model.layers", dict(list(tensors.items())[:1]))
    refused("empty", "not both lora_A and lora_B of any layer", {})
    refused("other", "holds lm_head.weight", {"lm_head.weight": torch.zeros(2)})
    with pytest.raises(WeightsError, match=r"cannot be used.* as peft writes them"):
        Causal(model, lora=tmp_path / "nothing")
