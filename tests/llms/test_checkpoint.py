"""Where checkpoints of local models come from, and what is said when they do not."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blemish.errors import WeightsError
from blemish.llms.local import LocalChat
from blemish.types import Message

QUESTION = [Message("user", "What is wrong?")]


def test_the_fingerprint_follows_the_weights(llava: Path, tmp_path: Path) -> None:
    chat = LocalChat(llava, max_new_tokens=12)
    assert LocalChat(llava, max_new_tokens=12).fingerprint == chat.fingerprint
    prints = {chat.fingerprint, LocalChat(llava).fingerprint}
    prints.add(LocalChat(llava, max_new_tokens=12, dtype="bfloat16").fingerprint)
    copy = shutil.copytree(llava, tmp_path / "tiny-llava")
    assert LocalChat(copy, max_new_tokens=12).fingerprint == chat.fingerprint
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    prints.add(LocalChat(copy, max_new_tokens=12).fingerprint)
    assert len(prints) == 4


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails where the network was asked, even if the error of that was caught."""
    asked = []

    def refuse(*address: Any) -> None:
        asked.append(address)
        raise OSError("There is no network.")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert asked == []


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("flag", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_a_model_that_is_not_there(monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    from huggingface_hub import constants  # Before the flag is set, which it would read.

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(flag, "1")
    with pytest.raises(WeightsError) as error:
        LocalChat("nobody/nothing-7b")
    words = str(error.value)
    assert "nobody/nothing-7b is not at hand" in words
    assert constants.HF_HUB_CACHE in words
    assert f"{flag} forbids the network" in words
    assert "hf download nobody/nothing-7b --local-dir" in words


@pytest.mark.usefixtures("no_network")
def test_a_model_in_the_hubs_cache_needs_no_network(
    llava: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--somebody--tiny"
    shutil.copytree(llava, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    model = LocalChat("somebody/tiny", max_new_tokens=12)
    assert model.chat(QUESTION).text == LocalChat(llava, max_new_tokens=12).chat(QUESTION).text
    assert model.name == "somebody/tiny"
    assert commit[:16] in model.fingerprint


def spoiled(llava: Path, folder: Path, how: str) -> Path:
    shutil.copytree(llava, folder)
    if how == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif how == "no template":
        (folder / "chat_template.jinja").unlink()
    elif how == "pickle only":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif how == "truncated":
        weights = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    else:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    return folder


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("empty", "cannot be loaded from"),
        ("no template", "has no chat template, so it cannot be asked"),
        ("pickle only", "safetensors"),
        ("truncated", "cannot be loaded from"),
        ("another kind", "cannot be loaded from"),
    ],
)
def test_a_folder_that_is_no_such_model(llava: Path, tmp_path: Path, how: str, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        LocalChat(spoiled(llava, tmp_path / "m", how))
