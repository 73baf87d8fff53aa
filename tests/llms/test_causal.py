"""A language model over embeddings, against `transformers` reading the same tokens itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blemish import weights
from blemish.errors import ChatError, MissingExtraError, OptionError, WeightsError
from blemish.llms._causal_words import Words
from blemish.llms.causal import Causal

PREFIX = "### Human: "
QUESTIONS = ["Is there a hole?", "Where?", "What is it, and how many of them are there?"]


@pytest.fixture(scope="module")
def tiny(module: Callable[[Path], ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama over bytes, which begins each text with a token of its own."""
    from transformers import LlamaConfig, LlamaForCausalLM

    made = module(Path(__file__).parents[1] / "tiny_vlm.py")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    words = made.tokenizer()
    made.save(LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **made.TEXT)), folder)
    words.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def causal(tiny: Path) -> Causal:
    return Causal(tiny)


@pytest.fixture(scope="module")
def plain(tiny: Path) -> tuple[Any, Any]:
    """`transformers`' own model and tokenizer of the same folder."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(tiny)
    return model.eval(), AutoTokenizer.from_pretrained(tiny)


def read(plain: tuple[Any, Any], text: str) -> Any:
    """What `transformers` reads of a text: its tokens, with that of the beginning."""
    return plain[1](text, return_tensors="pt").input_ids


def prompts(causal: Causal, texts: Sequence[str] = QUESTIONS) -> list[torch.Tensor]:
    return [causal.embed(text) for text in texts]


def test_it_tells_what_it_is(causal: Causal, plain: tuple[Any, Any]) -> None:
    assert (causal.name, causal.width, causal.window) == ("tiny-llama", 32, 256)
    table = plain[0].get_input_embeddings().weight
    assert causal.spread == pytest.approx(float(table.detach().std()))
    assert causal.tokens("Añ") == plain[1]("Añ").input_ids[1:]
    assert causal.text([1, *causal.tokens("Añ"), 2]) == "Añ"
    torch.testing.assert_close(causal.embed("Añ"), table[causal.tokens("Añ")])


def test_other_weights_or_precision_have_another_fingerprint(causal: Causal, tiny: Path) -> None:
    assert Causal(tiny).fingerprint == causal.fingerprint
    assert Causal(tiny, dtype="bfloat16").fingerprint != causal.fingerprint


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_answers_are_those_of_transformers(
    causal: Causal, plain: tuple[Any, Any], prefix: str
) -> None:
    said = causal.generate(prompts(causal), prefix=prefix, most=12)
    for text, answer in zip(QUESTIONS, said, strict=True):
        ids = read(plain, prefix + text)
        want = plain[0].generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
        ended = 2 in want.tolist()
        assert answer.text == plain[1].decode(want, skip_special_tokens=True).strip()
        assert answer.ended == ("stop" if ended else "length")
        assert answer.tokens == (want.tolist().index(2) if ended else 12)


def test_a_batch_is_answered_as_each_alone(causal: Causal) -> None:
    options: Any = {"prefix": PREFIX, "most": 12, "deciding": ("Yes", "No")}
    together = causal.generate(prompts(causal), **options)
    for prompt, answer in zip(prompts(causal), together, strict=True):
        (alone,) = causal.generate([prompt], **options)
        assert (answer.text, answer.ended) == (alone.text, alone.ended)
        assert answer.first == pytest.approx(alone.first, abs=1e-5)
    assert causal.generate([], most=3) == []


def test_answers_that_end_at_different_times_are_those_of_each_alone(causal: Causal) -> None:
    texts = [*QUESTIONS, "Y", "Tell me."]
    whole = causal_alone(causal, texts, [])
    # A letter that each has at another place, or not at all, ends them one after the other.
    letters = sorted(set("".join(one.text for one in whole)))
    stop = max(letters, key=lambda c: len({one.text.find(c) for one in whole}))
    want = causal_alone(causal, texts, [stop])
    assert len({one.tokens for one in want}) >= 3
    for shift in range(len(texts)):
        order = [*range(shift, len(texts)), *range(shift)]
        shown = prompts(causal, [texts[i] for i in order])
        found = causal.generate(shown, prefix=PREFIX, most=16, stop=[stop])
        assert [(a.text, a.ended, a.tokens) for a in found] == [
            (want[i].text, want[i].ended, want[i].tokens) for i in order
        ]


def causal_alone(causal: Causal, texts: Sequence[str], stop: list[str]) -> list[Any]:
    return [
        causal.generate([prompt], prefix=PREFIX, most=16, stop=stop)[0]
        for prompt in prompts(causal, texts)
    ]


def test_rows_that_are_over_are_read_no_further(causal: Causal, plain: tuple[Any, Any]) -> None:
    texts = [*QUESTIONS, "Y"]
    ids = [read(plain, PREFIX + text)[0].tolist() for text in texts]
    steps = causal._steps.run(prompts(causal, texts), PREFIX, 4)
    logits, left = next(steps), [0, 1, 2, 3]
    for on in ([0, 1, 3], [1, 2], [0, 1], [1]):
        left = [left[row] for row in on]
        for row in left:
            ids[row].append(40 + 7 * row + len(ids[row]) % 5)
        logits = steps.send((on, [ids[row][-1] for row in left]))
        with torch.no_grad():
            want = [plain[0](torch.tensor([ids[row]])).logits[0, -1] for row in left]
        torch.testing.assert_close(logits, torch.stack(want), rtol=1e-4, atol=2e-4)
    assert left == [3]


def test_a_kept_prefix_changes_nothing(causal: Causal) -> None:
    """Nor does what was asked before it: kept keys and values stay as they were."""
    rng = torch.Generator().manual_seed(0)
    seen = torch.randn(5, causal.width, generator=rng)
    first = causal.generate([seen], prefix=PREFIX, most=8, deciding=("Yes", "No"))
    again = causal.generate([seen] * 3, prefix=PREFIX, most=8, deciding=("Yes", "No"))
    spelt = torch.cat([causal.embed(PREFIX), seen])
    (bare,) = causal.generate([spelt], most=8, deciding=("Yes", "No"))
    for answer in [*first, *again]:
        assert answer.text == bare.text
        assert answer.first == pytest.approx(bare.first, abs=1e-4)


def test_the_chance_of_a_deciding_word_is_that_of_all_its_spellings(
    causal: Causal, plain: tuple[Any, Any]
) -> None:
    (said,) = causal.generate(prompts(causal)[:1], most=1, deciding=("Yes", "No"))
    with torch.no_grad():
        chances = plain[0](read(plain, QUESTIONS[0])).logits[0, -1].softmax(0)
    # One token a letter: both begin with their letter, and a space begins either.
    for word, letters in {"Yes": "Yy", "No": "Nn"}.items():
        want = sum(float(chances[causal.tokens(letter)[0]]) for letter in letters)
        assert said.first[word] == pytest.approx(want, abs=1e-6)
    with pytest.raises(OptionError, match="'No' alone"):
        causal.generate(prompts(causal), most=1, deciding=("No", "Not"))


def test_loss_is_that_of_transformers(causal: Causal, plain: tuple[Any, Any]) -> None:
    answers = ["Yes.", "At the top left of it.", ""]
    total, count = 0.0, 0
    for text, answer in zip(QUESTIONS, answers, strict=True):
        asked = read(plain, PREFIX + text)
        told = torch.tensor([[*causal.tokens(answer), 2]])
        labels = torch.cat([torch.full_like(asked, -100), told], 1)
        with torch.no_grad():
            own = plain[0](torch.cat([asked, told], 1), labels=labels).loss
        total, count = total + float(own) * told.shape[1], count + told.shape[1]
    found = causal.loss(prompts(causal), answers, prefix=PREFIX)
    assert float(found) == pytest.approx(total / count, rel=1e-5)


def test_gradients_reach_the_prompts_and_nothing_else(causal: Causal) -> None:
    with torch.inference_mode():  # what is kept from here must serve training
        causal.generate(prompts(causal), prefix="An inference: ", most=1)
    shown = [prompt.clone().requires_grad_() for prompt in prompts(causal)]

    def loss() -> Any:
        return causal.loss(shown, ["Yes.", "No.", "No, none."], prefix="An inference: ")

    loss().backward()
    assert all(p.grad is None and not p.requires_grad for p in causal._steps._model.parameters())
    for prompt in shown:
        slope, step = prompt.grad, 2e-3
        assert slope is not None
        with torch.no_grad():
            prompt += step * slope / slope.norm()
            up = float(loss())
            prompt -= 2 * step * slope / slope.norm()
            change = (up - float(loss())) / (2 * step)
            prompt += step * slope / slope.norm()
        assert change == pytest.approx(float(slope.norm()), rel=0.03)


def test_mixed_precision_reads_the_same_prefix(causal: Causal) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        mixed = float(causal.loss(prompts(causal), QUESTIONS, prefix="In 16 bits: "))
    assert mixed == pytest.approx(
        float(causal.loss(prompts(causal), QUESTIONS, prefix="In 16 bits: ")), rel=0.02
    )


def test_an_answer_ends_before_a_stop_text(causal: Causal) -> None:
    (whole,) = causal.generate(prompts(causal)[:1], most=12)
    assert whole.ended == "length"
    stop = whole.text[3:5]
    (cut,) = causal.generate(prompts(causal)[:1], most=12, stop=[stop])
    assert cut.ended == "stop"
    assert cut.text == whole.text[: whole.text.index(stop)].strip()
    assert cut.tokens < whole.tokens


def test_a_stream_is_the_answer_in_pieces_and_can_be_closed(causal: Causal) -> None:
    for stop in ([], ["~"], ["e", "ab"]):
        (said,) = causal.generate(prompts(causal)[:1], prefix=PREFIX, most=20, stop=stop)
        pieces = list(causal.stream(prompts(causal)[0], prefix=PREFIX, most=20, stop=stop))
        assert "".join(pieces) == said.text
        assert all(pieces)
    running: Any = causal.stream(prompts(causal)[0], most=200)
    next(running)
    running.close()
    assert list(running) == []


@given(st.text(alphabet="ab #\né🙂", max_size=12), st.lists(st.text("ab #\n", max_size=3)))
def test_what_is_sure_of_an_answer_stays(text: str, stop: list[str]) -> None:
    words = Words(lambda ids: bytes(ids).decode("utf-8", "replace"), (), stop)
    sure = [""]
    for byte in text.encode():
        words.add(byte)
        sure.append(words.sure())
        if words.ended:
            break
    # The first stop text to be complete ends the answer, where it began.
    ends = [(text.find(s) + len(s), -len(s)) for s in stop if s and s in text]
    end, length = min(ends, default=(len(text), 0))
    assert words.text == text[: end + length].strip()
    assert all(words.text.startswith(piece) for piece in sure)


def test_too_much_for_the_window_ends_in_words(causal: Causal) -> None:
    long = causal.embed("x" * 250)
    with pytest.raises(ChatError, match="256 tokens together; a prompt of 251 and an answer of up"):
        causal.generate([long], most=6)
    assert causal.generate([long], most=5)[0].tokens <= 5
    with pytest.raises(ChatError, match="256 tokens together"):
        causal.generate([long[:1]], prefix="x" * 300, most=1)
    with pytest.raises(ChatError, match="256 tokens together"):
        causal.loss([long], ["Yes, there is one."])


def test_what_does_not_fit_the_model_is_refused(causal: Causal) -> None:
    for wrong in (torch.zeros(3, 576), torch.zeros(0, 32), torch.zeros(32)):
        with pytest.raises(OptionError, match=r"takes embeddings of shape \(T, 32\)"):
            causal.generate([wrong], most=1)
    with pytest.raises(OptionError, match="most 0 came"):
        causal.generate(prompts(causal), most=0)
    with pytest.raises(OptionError, match="most 0 came"):
        next(causal.stream(prompts(causal)[0], most=0))
    with pytest.raises(OptionError, match="3 prompts and 1 answers"):
        causal.loss(prompts(causal), ["Yes."])
    with pytest.raises(ChatError, match="not-a-number"):
        causal.generate([torch.full((2, 32), np.nan)], most=1)


def test_what_is_no_language_model_is_refused(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be loaded from"):
        Causal(tmp_path)
    with pytest.raises(OptionError, match=r"no language model\. Known: smollm2-135m"):
        Causal("dinov2-small")
    with pytest.raises(OptionError, match="dtype 'half' came"):
        Causal(tiny, dtype="half")


def pickled(tiny: Path, folder: Path, content: Any) -> Path:
    """The tiny model in Vicuna's format."""
    folder.mkdir()
    for path in tiny.glob("*.json"):
        shutil.copy(path, folder)
    torch.save(content, folder / "pytorch_model.bin")
    return folder


def test_a_repository_of_the_older_format_is_fetched_and_read(
    causal: Causal, plain: tuple[Any, Any], tiny: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    folder = pickled(tiny, tmp_path / "0123456789abcdef0123", plain[0].state_dict())
    fetched: list[tuple[str, weights.Kind]] = []

    def repository(name: str, kind: weights.Kind) -> Path:
        fetched.append((name, kind))
        return folder

    monkeypatch.setattr(weights, "repository", repository)
    old = Causal("owner/tiny")
    ((name, kind),) = fetched
    assert name == "owner/tiny"
    assert kind.one_of == ("model*.safetensors", "pytorch_model*.bin")
    assert old.name == "owner/tiny"
    assert "0123456789abcdef:" in old.fingerprint
    asked = prompts(causal)
    assert old.generate(asked, most=4) == causal.generate(asked, most=4)


class Harm:
    """What a pickle runs when it is read without care."""

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (Path("harm"),)


def test_a_pickle_that_does_things_is_refused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="cannot be loaded from"):
        Causal(pickled(tiny, tmp_path / "harmful", {"lm_head.weight": Harm()}))
    assert not (tmp_path / "harm").exists()


def test_4_bits_without_their_library_name_the_extra(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name in ("accelerate", "bitsandbytes"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"blemish\[four-bit\]"):
        Causal(tiny, four_bit=True)


def test_a_checkpoint_by_its_name_lies_in_the_folder_of_weights(
    causal: Causal, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny, tmp_path / "vicuna-7b")
    monkeypatch.setattr(weights, "pull", lambda name: tmp_path / name)
    named = Causal("vicuna-7b")
    assert named.name == "vicuna-7b"
    assert named.fingerprint == causal.fingerprint.replace(causal.name, "vicuna-7b")
