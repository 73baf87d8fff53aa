"""`blemish weights` and the checkpoints whose checksums are not known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blemish.settings import settings

Blemish = Callable[..., Any]
NAME = "clip-vit-b-16-plus-240"
REPOSITORY = "timm/vit_base_patch16_plus_clip_240.laion400m_e31"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """That of BLEMISH_WEIGHTS; nothing is cached, and no network allowed."""
    (tmp_path / "weights").mkdir()
    monkeypatch.setenv("BLEMISH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    settings.cache_clear()
    yield tmp_path / "weights"
    settings.cache_clear()


def test_list_says_where_a_checkpoint_comes_from_and_whether_it_is_here(
    blemish: Blemish, folder: Path
) -> None:
    said = blemish("weights", "list").out
    assert f"{NAME}: not here\n" in said
    assert f"licence: MIT\n  from: the Hugging Face hub, {REPOSITORY}\n" in said
    (folder / NAME).mkdir()
    assert f"{NAME}: here, not checked" in blemish("weights", "list").out


def test_pull_brings_a_checkpoint_or_says_how(blemish: Blemish, folder: Path) -> None:
    answer = blemish("weights", "pull", NAME)
    assert answer.code == 2
    assert f"The CLIP checkpoint {NAME} is not at hand" in answer.err
    assert f"hf download {REPOSITORY} --local-dir {NAME}\nand set BLEMISH_WEIGHTS" in answer.err
    (folder / NAME).mkdir()
    assert blemish("weights", "pull", NAME).out == f"{NAME}: {folder / NAME}\n"


def test_verify_says_that_a_checksum_is_not_known(blemish: Blemish, folder: Path) -> None:
    (folder / NAME).mkdir()
    answer = blemish("weights", "verify")
    assert answer.code == 0
    assert f"{NAME}: here, not checked: its publisher's checksum is not known\n" in answer.out


def test_all_is_what_inspecting_needs(
    blemish: Blemish, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def pull(name: str, progress: Any = None) -> Path:
        asked.append(name)
        return folder

    monkeypatch.setattr("blemish.weights.pull", pull)
    assert blemish("weights", "pull", "--all").code == 0
    assert asked == ["dinov2-small", "efficientnet-lite0", "smollm2-135m"]
