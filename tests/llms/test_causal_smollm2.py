"""The embedded language model, with its own weights, against `transformers` on the same folder."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from blemish import weights
from blemish.llms.causal import Causal

PREFIX = (
    "<|im_start|>system\nYou inspect pictures of industrial parts and answer in one sentence. "
    "Good parts have an even surface and no holes. You say where a defect is in the words top, "
    "bottom, left, right and centre, and you never guess.<|im_end|>\n<|im_start|>user\n"
)
ASKED = ["What is a metal nut?", "Is water wet?"]
ANSWER = "<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def causal() -> Causal:
    return Causal()


@pytest.fixture(scope="module")
def plain() -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = weights.folder("smollm2-135m")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def test_it_is_the_published_model(causal: Causal) -> None:
    assert (causal.name, causal.width, causal.window) == ("smollm2-135m", 576, 8192)
    assert causal.spread == pytest.approx(0.136, abs=1e-3)
    text = "### Human: 1234 Teile, größer als 5 mm?\n  Yes."
    assert causal.text(causal.tokens(text)) == text
    # Of another maker of the same words: each digit by itself, and the usual pieces.
    assert causal.tokens("<|im_start|>")[0] == 1
    assert len(causal.tokens("2024")) == 4
    assert len(causal.tokens(" anomaly")) <= 2


def test_it_writes_sentences_together_as_alone_and_as_transformers(
    causal: Causal, plain: tuple[Any, Any]
) -> None:
    prompts = [causal.embed(text + ANSWER) for text in ASKED]
    options: Any = {"prefix": PREFIX, "most": 6, "deciding": ("Yes", "No")}
    together = causal.generate(prompts, **options)
    for text, prompt, answer in zip(ASKED, prompts, together, strict=True):
        (alone,) = causal.generate([prompt], **options)
        assert alone.text == answer.text
        ids = plain[1](PREFIX + text + ANSWER, return_tensors="pt").input_ids
        out = plain[0].generate(ids, max_new_tokens=6, do_sample=False)
        assert plain[1].decode(out[0, ids.shape[1] :], skip_special_tokens=True) == answer.text
        with torch.no_grad():
            chances = plain[0](ids).logits[0, -1].softmax(0)
        for word, chance in answer.first.items():
            spelt = {" " * n + s for n in (0, 1) for s in (word, word.lower(), word.upper())}
            own = {plain[1](s).input_ids[0] for s in spelt if len(plain[1](s).input_ids) == 1}
            assert len(own) >= 4
            assert chance == pytest.approx(float(chances[list(own)].sum()), rel=1e-3, abs=1e-6)
    assert "nut" in together[0].text
    assert together[0].text[0].isupper()


def test_a_kept_prefix_is_faster_and_changes_nothing(causal: Causal) -> None:
    prompt = causal.embed("Is water wet?" + ANSWER)
    spelt = torch.cat([causal.embed(PREFIX), prompt])
    options: Any = {"most": 1, "deciding": ("Yes", "No")}

    def timed(prompt: torch.Tensor, prefix: str) -> tuple[float, dict[str, float]]:
        began = time.process_time()
        (said,) = causal.generate([prompt], prefix=prefix, **options)
        return time.process_time() - began, said.first

    # In turn, and the best of three: a busy machine slows both.
    pairs = [(timed(spelt, ""), timed(prompt, PREFIX)) for _ in range(3)]
    slow, fast = (min(seconds for seconds, _ in each) for each in zip(*pairs, strict=True))
    (_, bare), (_, kept) = pairs[0]
    assert kept == pytest.approx(bare, abs=1e-4)
    assert fast < 0.8 * slow


def test_loss_is_that_of_transformers(causal: Causal, plain: tuple[Any, Any]) -> None:
    asked = plain[1](PREFIX + ASKED[1] + ANSWER, return_tensors="pt").input_ids
    told = torch.tensor([[*plain[1]("Yes, it is.").input_ids, 2]])
    labels = torch.cat([torch.full_like(asked, -100), told], 1)
    with torch.no_grad():
        own = plain[0](torch.cat([asked, told], 1), labels=labels).loss
    shown = causal.embed(ASKED[1] + ANSWER).requires_grad_()
    found: Any = causal.loss([shown], ["Yes, it is."], prefix=PREFIX)
    assert float(found.detach()) == pytest.approx(float(own), rel=1e-4)
    found.backward()
    assert shown.grad is not None
    assert float(shown.grad.norm()) > 0
