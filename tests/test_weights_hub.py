"""Checkpoints of the hub: what is fetched of a repository, what is at hand, what is said if not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blemish import weights
from blemish.errors import OptionError, WeightsError
from blemish.settings import settings

LARGE, HUGE = "clip-vit-l-14-336", "clip-vit-h-14"
REPOSITORY = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
PLAIN = weights.Kind("plain model", ("*.json", "*.safetensors"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """That of BLEMISH_WEIGHTS, empty as the hub's cache beside it is."""
    (tmp_path / "weights").mkdir()
    monkeypatch.setenv("BLEMISH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for flag in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(flag, raising=False)
    settings.cache_clear()
    yield tmp_path / "weights"
    settings.cache_clear()


@pytest.fixture
def no_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("\nNobody answers.\n")

    monkeypatch.setattr("huggingface_hub.model_info", refuse)
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A hub with one repository, and what was asked of it."""
    there = ["README.md", "model.safetensors", "open_clip_pytorch_model.bin", "config.json"]
    asked: dict[str, Any] = {"there": there}

    def model_info(name: str) -> Any:
        asked["listed"] = name
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=file) for file in there])

    def download(name: str, **how: Any) -> str:
        asked.update(how, fetched=name)
        return str(folder.with_name("fetched"))

    monkeypatch.setattr("huggingface_hub.model_info", model_info)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return asked


def keep(folder: Path, file: str) -> Path:
    """A file of a repository in the hub's cache, as the hub's client keeps it."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    kept = folder.with_name("hub") / f"models--{REPOSITORY.replace('/', '--')}"
    (kept / "snapshots" / commit).mkdir(parents=True)
    (kept / "snapshots" / commit / file).write_bytes(b"")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(commit)
    return kept / "snapshots" / commit


def test_only_the_best_of_several_files_of_weights_is_fetched(
    folder: Path, hub: dict[str, Any]
) -> None:
    assert weights.pull(HUGE) == folder.with_name("fetched")
    assert hub["listed"] == hub["fetched"] == REPOSITORY
    assert hub["allow_patterns"] == ["*.json", "merges.txt", "open_clip_pytorch_model.bin"]
    assert hub["local_files_only"] is False


def test_a_kind_without_a_choice_is_fetched_whole(hub: dict[str, Any]) -> None:
    weights.repository("somebody/plain", PLAIN)
    assert hub["allow_patterns"] == ["*.json", "*.safetensors"]
    assert "listed" not in hub


@pytest.mark.usefixtures("no_network")
def test_what_is_in_the_folder_is_not_looked_for_elsewhere(folder: Path) -> None:
    with pytest.raises(WeightsError, match="ConnectionError: Nobody answers"):
        weights.pull(HUGE)
    (folder / HUGE).mkdir()
    assert weights.pull(HUGE) == folder / HUGE
    published = folder / "vit_b_16_plus_240-laion400m_e32-699c4b84.pt"
    published.write_bytes(b"")
    assert weights.pull("clip-vit-b-16-plus-240") == published


@pytest.mark.usefixtures("no_network")
def test_the_hubs_cache_will_do_where_there_is_no_network(folder: Path) -> None:
    kept = keep(folder, "open_clip_model.safetensors")
    assert weights.pull(HUGE) == kept
    with pytest.raises(WeightsError, match=f"CLIP checkpoint {LARGE} is not at hand"):
        weights.pull(LARGE)
    # A name that the hub's client takes for none at all.
    with pytest.raises(WeightsError, match=r"The CLIP checkpoint a--b/c is not at hand"):
        weights.repository("a--b/c", weights.CLIP)


@pytest.mark.usefixtures("no_network")
def test_verify_tells_what_is_at_hand_and_that_it_is_not_checked(folder: Path) -> None:
    def states() -> dict[str, str]:
        return {name: state for name, state in weights.verify() if name.startswith("clip")}

    assert set(states().values()) == {"not here"}
    keep(folder, "config.json")  # of a download that was cut off
    assert set(states().values()) == {"not here"}
    (folder / "vit_large_patch14_clip_336.openai").mkdir()
    assert [name for name, state in states().items() if state == "unchecked"] == [LARGE]


@pytest.mark.usefixtures("folder")
def test_a_kept_checkpoint_is_unchecked(folder: Path) -> None:
    keep(folder, "open_clip_model.safetensors")
    assert dict(weights.verify())[HUGE] == "unchecked"


def test_a_misspelt_checkpoint_is_met_with_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"no weights 'clip-vit-h14'\. Did you mean 'clip-vit-h"):
        weights.pull("clip-vit-h14")


def test_a_language_model_has_a_name_too(
    folder: Path, hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = (row for row in weights.checkpoints() if row.name == "vicuna-7b")
    assert row.here() is None
    shards = "pytorch_model-00001-of-00002.bin"
    for file, pattern in ((shards, "pytorch_model*.bin"), ("model.safetensors", "model*.sa")):
        hub["there"][:] = [*hub["there"][:1], shards, file]
        assert weights.pull("vicuna-7b") == folder.with_name("fetched")
        assert hub["fetched"] == row.repository
        (fetched,) = [p for p in hub["allow_patterns"] if "model*." in p]
        assert fetched.startswith(pattern)
    monkeypatch.setattr(f"{__name__}.REPOSITORY", row.repository)
    kept = keep(folder, shards)
    assert row.here() is None  # nothing says what model it is of
    (kept / "config.json").write_text("{}")
    assert row.here() == kept
    (folder / "vicuna-7b").mkdir()
    assert weights.pull("vicuna-7b") == row.here() == folder / "vicuna-7b"
