"""`blemish train vlm` with a tiny random vision-language model."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import PIL.Image
import pytest

from blemish.llms.local import LocalChat
from blemish.synthesis.procedural import write_set
from blemish.training import checkpoint, vlm
from blemish.types import Message

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three good pictures of one class, and a broken part with its mask."""
    folder = tmp_path_factory.mktemp("sets") / "wood"
    write_set(folder, "wood", train=3, good=1, anomalous=1, size=(64, 64))
    return folder


@pytest.fixture
def train(blemish: Call, qwen: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command for eight steps, without the curves and sheets, which take seconds."""
    monkeypatch.setattr("blemish.training.log.draw", lambda rows: b"")
    monkeypatch.setattr(vlm, "sample", lambda *_: None)

    def call(data: Path, out: str | Path, *words: object) -> Any:
        steps = ("--epochs", 4, "--batch", 2, "--rank", 2, "--rate", 0.01)
        model = f"local:{qwen}"
        return blemish("train", "vlm", "--data", data, "--llm", model, "--out", out, *steps, *words)

    return call


@pytest.fixture
def whole(train: Call, parts: Path, tmp_path: Path) -> bytes:
    """The adapter of a training that nothing stopped."""
    assert train(parts, "whole").code == 0
    return (tmp_path / "whole" / "adapter_model.safetensors").read_bytes()


def losses(out: Path) -> list[float]:
    return [
        json.loads(row)["loss"] for row in (out / "training/log.jsonl").read_text().split("\n")[:-1]
    ]


def test_an_adapter_is_trained_that_speaks(
    train: Call, parts: Path, qwen: Path, tmp_path: Path
) -> None:
    said = train(parts, "out")
    assert said.code == 0, said.err
    assert "8 steps on good pictures of wood (3)." in said.out
    assert "step 8 of 8: answers" in said.err
    assert "--llm local:out" in said.out
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        *("adapter_config.json", "adapter_model.safetensors", "README.md", "training"),
    }
    card = (out / "README.md").read_text()
    assert "blemish train vlm --data" in card
    assert f"{qwen}, frozen" in card
    asked = [Message("user", "Good?")]
    texts = [LocalChat(folder, max_new_tokens=8).chat(asked).text for folder in (qwen, out)]
    assert texts[0] != texts[1]


def test_one_picture_is_learnt(train: Call, tmp_path: Path) -> None:
    write_set(tmp_path / "one", "wood", train=1, good=0, anomalous=0, size=(64, 64))
    said = train(tmp_path / "one", "out", "--epochs", 60, "--rate", 0.02)
    assert said.code == 0
    assert "Only one picture of one" in said.err
    found = losses(tmp_path / "out")
    assert sum(found[-10:]) < 0.7 * sum(found[:10])


def test_in_slices_it_ends_with_the_same_bits(
    train: Call, parts: Path, whole: bytes, tmp_path: Path
) -> None:
    said = train(parts, "out", "--minutes", 1e-7)
    assert said.code == 0
    assert "Stopped in order" in said.out
    done = len(losses(tmp_path / "out"))
    assert done < 8
    assert f"| steps | {done} of 8" in (tmp_path / "out" / "README.md").read_text()
    assert train(parts, "out").code == 0
    assert (tmp_path / "out" / "adapter_model.safetensors").read_bytes() == whole


def test_a_process_that_dies_loses_nothing(
    train: Call, parts: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise RuntimeError("died")

    monkeypatch.setattr(vlm, "sample", die)
    assert train(parts, "out").code == 2
    monkeypatch.setattr(vlm, "sample", lambda *_: None)
    saved = checkpoint.read(tmp_path / "out" / "training")
    assert saved
    assert saved.step < 8
    assert train(parts, "out").code == 0
    assert (tmp_path / "out" / "adapter_model.safetensors").read_bytes() == whole


def test_a_full_disk_keeps_the_checkpoint(
    train: Call, parts: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(parts, "out", "--minutes", 1e-7).code == 0
    before = (tmp_path / "out/training" / checkpoint.FILE).read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        said = train(parts, "out")
    assert said.code == 2
    assert "No space left on device" in said.err
    assert (tmp_path / "out/training" / checkpoint.FILE).read_bytes() == before
    assert train(parts, "out").code == 0
    assert (tmp_path / "out" / "adapter_model.safetensors").read_bytes() == whole


def test_samples_show_what_it_says(
    blemish: Call, qwen: Path, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blemish.training.log.draw", lambda rows: b"")
    words = ("--data", parts, "--llm", f"local:{qwen}", "--out", "out", "--batch", 2)
    assert blemish("train", "vlm", *words, "--epochs", 1).code == 0
    sheets = sorted((tmp_path / "out/training/samples").glob("*.png"))
    assert [sheet.name for sheet in sheets] == ["step-000001.png", "step-000002.png"]
    with PIL.Image.open(sheets[0]) as sheet:
        assert sheet.width > sheet.height / 2 > 300


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--llm", "openai:gpt-5"), "what is trained has to run here: local:FOLDER"),
        (("--llm", "local:"), "what is trained has to run here"),
        (("--batch", 3, "--at-once", 2), "--batch 3 and --at-once 2 came"),
        (("--data", "nowhere"), "nowhere does not exist"),
        (("--rank", 0), "--rank"),
    ],
)
def test_what_cannot_be_is_told(
    train: Call, parts: Path, words: tuple[object, ...], told: str
) -> None:
    said = train(parts, "out", *words)
    assert said.code == 2
    assert told in said.err
    assert not Path("out").exists()


def test_a_model_of_words_only_is_told(blemish: Call, parts: Path, vlm_writer: ModuleType) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    words = vlm_writer.tokenizer()
    LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **vlm_writer.TEXT)).save_pretrained("text")
    words.save_pretrained("text")
    said = blemish("train", "vlm", "--data", parts, "--llm", "local:text", "--out", "out")
    assert said.code == 2
    assert "The vision-language model text has nothing that reads pictures" in said.err


def test_without_peft_the_extra_is_named(
    train: Call, parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    said = train(parts, "out")
    assert said.code == 2
    assert 'pip install "blemish[train]"' in said.err


def test_another_training_in_the_folder_is_told(
    train: Call, parts: Path, whole: bytes, tmp_path: Path
) -> None:
    said = train(parts, "whole", "--seed", 1)
    assert said.code == 2
    assert "is of another training" in said.err
    assert (tmp_path / "whole" / "adapter_model.safetensors").read_bytes() == whole
