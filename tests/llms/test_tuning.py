"""Fine-tuning of tiny random vision-language models, held against loops written by hand."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from blemish.errors import ChatError, MissingExtraError, OptionError, WeightsError
from blemish.llms._conversation import IGNORED, taught
from blemish.llms.local import LocalChat
from blemish.llms.tuning import Tuning
from blemish.types import Image, Message

PROMPTS = {
    "llava": "<s>user: <image>{}</s><s>assistant: ",
    "qwen": "<s>user: <|vision_start|><|image_pad|><|vision_end|>{}</s><s>assistant: ",
}


def picture(seed: int, height: int = 40, width: int = 60) -> Image:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def user(text: str, *images: Image) -> list[Message]:
    return [Message("user", text, images)]


@pytest.fixture(params=["llava", "qwen"])
def folder(request: pytest.FixtureRequest) -> Path:
    """Of a model of either family."""
    found: Path = request.getfixturevalue(request.param)
    return found


def by_hand(chat: LocalChat, folder: Path, question: str, answer: str, image: Image) -> Any:
    """Cross-entropy of each token of one answer and of its end, without batch or padding."""
    prompt = PROMPTS[folder.name.removeprefix("tiny-")].format(question)
    said = [*chat._tokenizer(answer, add_special_tokens=False).input_ids, 2]
    inputs = chat._processor(
        text=prompt, images=[image], return_tensors="pt", add_special_tokens=False
    )
    length = inputs["input_ids"].shape[1]
    more = torch.tensor([said])
    for name, tensor in list(inputs.items()):
        if name == "input_ids":
            inputs[name] = torch.cat([tensor, more], 1)
        elif tensor.shape[:2] == (1, length):
            fill = torch.ones_like(more) if name == "attention_mask" else torch.zeros_like(more)
            inputs[name] = torch.cat([tensor, fill], 1)
    with torch.no_grad():
        logits = chat._model(**inputs).logits[0, length - 1 : -1]
    return torch.nn.functional.cross_entropy(logits, more[0], reduction="none")


def test_the_loss_is_that_of_the_answers_and_their_ends_alone(folder: Path) -> None:
    chat = LocalChat(folder)
    tuning = Tuning(chat, folder)
    asked = [("Is it good?", "Yes.", picture(1)), ("And where, if not?", "At the top.", picture(2))]
    loss, parts = tuning.loss(
        ([user(question, image) for question, _, image in asked], [a for _, a, _ in asked])
    )
    wanted = torch.cat([by_hand(chat, folder, q, a, image) for q, a, image in asked])
    assert len(wanted) == len("Yes.") + len("At the top.") + 2
    assert float(loss.detach()) == pytest.approx(float(wanted.mean()), rel=1e-5)
    assert parts == {"answers": float(loss.detach())}


def test_a_template_that_ends_no_answer_gets_an_end(llava: Path) -> None:
    chat = LocalChat(llava)
    template = chat._processor.chat_template
    for broken in (template.replace("</s>", ""), "{{ messages | length }}"):
        chat._processor.chat_template = broken
        inputs = taught(chat._processor, [user("Good?")], ["Yes."], chat.name)
        labels = inputs["labels"][0]
        kept = labels[labels != IGNORED].tolist()
        assert chat._tokenizer.decode(kept) == "Yes.</s>"
    chat._processor.chat_template = "{{ raise_exception('no') }}"
    with pytest.raises(ChatError, match="cannot take this conversation"):
        taught(chat._processor, [user("Good?")], ["Yes."], chat.name)


def learnt(folder: Path, steps: int = 30, seed: int = 0) -> tuple[Tuning, list[float]]:
    """A model that was shown two pictures and what to say of each."""
    tuning = Tuning(LocalChat(folder, max_new_tokens=8), folder, rank=4, seed=seed)
    optimizer = torch.optim.Adam(tuning.parameters(), lr=0.02)
    batch = ([user("Good?", picture(1)), user("Good?", picture(2))], ["Yes.", "No."])
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss, _ = tuning.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    return tuning, losses


def test_it_learns_what_to_say_and_its_own_weights_stay(folder: Path, tmp_path: Path) -> None:
    before = LocalChat(folder, max_new_tokens=8)
    tuning, losses = learnt(folder)
    assert losses[-1] < 0.1 * losses[0]
    asked = [user("Good?", picture(1)), user("Good?", picture(2))]
    assert [reply.text for reply in tuning.chat.chat_batch(asked)] == ["Yes.", "No."]
    own = before._model.state_dict()
    after = {k.replace(".base_layer", ""): v for k, v in tuning.chat._model.state_dict().items()}
    assert own.keys() <= after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in own.items())
    learning = list(tuning.adapter_state())
    assert all("language_model.layers" in name for name in learning)
    assert len(learning) == 2 * 2 * 7  # Two matrices, two layers, seven linear layers in each.

    tuning.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    read = LocalChat(tmp_path, max_new_tokens=8)
    assert [reply.text for reply in read.chat_batch(asked)] == ["Yes.", "No."]
    assert [reply.text for reply in before.chat_batch(asked)] != ["Yes.", "No."]
    assert read.fingerprint != before.fingerprint
    inputs = taught(read._processor, asked, ["Yes.", "No."], "")
    with torch.no_grad():
        merged, beside = (c._model(**inputs).logits for c in (read, tuning.chat))
    torch.testing.assert_close(merged, beside, atol=1e-3, rtol=1e-4)


def test_peft_itself_reads_what_was_written(llava: Path, tmp_path: Path) -> None:
    tuning, _ = learnt(llava, steps=3)
    tuning.write(tmp_path)
    native = LocalChat(llava)._model
    found = native.load_adapter(str(tmp_path))
    assert not found.missing_keys
    assert not found.unexpected_keys
    asked = [user("Good?", picture(1))]
    inputs = taught(tuning._processor, asked, ["Yes."], "")
    with torch.no_grad():
        assert torch.equal(native(**inputs).logits, tuning._model(**inputs).logits)


def test_the_first_values_are_those_of_the_seed_and_change_nothing(llava: Path) -> None:
    states = [Tuning(LocalChat(llava), llava, seed=seed).adapter_state() for seed in (0, 0, 1)]
    same = [all(torch.equal(a, s[n]) for n, a in states[0].items()) for s in states]
    assert same == [True, True, False]
    asked = user("Good?", picture(1))
    plain = LocalChat(llava, max_new_tokens=8)
    fresh = Tuning(LocalChat(llava, max_new_tokens=8), llava)
    assert fresh.chat.chat(asked).text == plain.chat(asked).text


def test_a_state_comes_back_in_place(llava: Path) -> None:
    tuning, _ = learnt(llava, steps=2)
    other = Tuning(LocalChat(llava), llava, rank=4, seed=5)
    places = [parameter.data_ptr() for parameter in other.parameters()]
    other.load_adapter(tuning.adapter_state())
    assert [parameter.data_ptr() for parameter in other.parameters()] == places
    assert all(torch.equal(t, other.adapter_state()[n]) for n, t in tuning.adapter_state().items())


def test_what_learns_is_float32_over_a_model_of_few_bits(llava: Path) -> None:
    tuning = Tuning(LocalChat(llava, dtype="bfloat16"), llava)
    assert {parameter.dtype for parameter in tuning.parameters()} == {torch.float32}
    loss, _ = tuning.loss(([user("Good?", picture(1))], ["Yes."]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in tuning.parameters())


def test_an_adapter_of_an_adapter_is_both(llava: Path, tmp_path: Path) -> None:
    first, _ = learnt(llava, steps=5)
    first.write(tmp_path / "first")
    over = Tuning(LocalChat(tmp_path / "first", max_new_tokens=8), tmp_path / "first")
    over.write(tmp_path / "second")
    read = LocalChat(tmp_path / "second", max_new_tokens=8)
    asked = user("Good?", picture(1))
    assert read.chat(asked).text == first.chat.chat(asked).text
    assert read.fingerprint.count("+") == 2


def test_an_adapter_without_its_base_model_says_which(llava: Path, tmp_path: Path) -> None:
    base = shutil.copytree(llava, tmp_path / "base")
    Tuning(LocalChat(base), base).write(tmp_path / "adapter")
    base.rename(tmp_path / "moved")
    with pytest.raises(WeightsError) as error:
        LocalChat(tmp_path / "adapter")
    assert f"{tmp_path / 'adapter'} is an adapter" in str(error.value)
    assert f"the model {base}," in str(error.value)
    config = tmp_path / "adapter" / "adapter_config.json"
    assert f"correct base_model_name_or_path in {config}" in str(error.value)
    said = json.loads(config.read_text()) | {"base_model_name_or_path": str(tmp_path / "moved")}
    config.write_text(json.dumps(said))
    LocalChat(tmp_path / "adapter")


@pytest.mark.parametrize("text", ["", "[]", "{}", "no JSON"])
def test_an_adapter_that_names_no_base_model(tmp_path: Path, text: str) -> None:
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(WeightsError, match="does not say in base_model_name_or_path"):
        LocalChat(tmp_path)


def test_an_adapter_of_another_model_is_refused(llava: Path, qwen: Path, tmp_path: Path) -> None:
    Tuning(LocalChat(llava), llava).write(tmp_path)
    config = tmp_path / "adapter_config.json"
    tensors = tmp_path / "adapter_model.safetensors"
    wide = {k: torch.cat([t, t], -1) for k, t in load_file(tensors).items()}
    save_file(wide, tensors)
    said = json.loads(config.read_text()) | {"base_model_name_or_path": str(qwen)}
    config.write_text(json.dumps(said))
    with pytest.raises(WeightsError, match="of another"):
        LocalChat(tmp_path)


def test_without_peft_the_extra_is_named(llava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"pip install \"blemish\[train\]\""):
        Tuning(LocalChat(llava), llava)


def test_a_rank_below_one_is_refused(llava: Path) -> None:
    with pytest.raises(OptionError, match="Rank 0"):
        Tuning(LocalChat(llava), llava, rank=0)
