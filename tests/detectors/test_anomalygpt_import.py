"""AnomalyGPT's published checkpoints: their names and shapes as facts, and what becomes of them."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from blemish.detectors import _adapter
from blemish.detectors._anomalygpt_import import PUBLISHED, convert, shapes, sorted_out
from blemish.errors import OutputError, WeightsError

TINY = replace(PUBLISHED, features=6, text=5, width=8, joint=7)
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def files(module: Callable[[Path], ModuleType]) -> ModuleType:
    """The module `tiny_pandagpt`: writes such files."""
    return module(Path(__file__).parents[1] / "tiny_pandagpt.py")


@pytest.fixture
def both(files: ModuleType) -> tuple[State, State]:
    torch.manual_seed(0)
    return files.published(8, 7, 6, 5), files.pandagpt(8, 7, 2, 3)


def test_the_published_names_and_shapes_are_what_is_expected(files: ModuleType) -> None:
    own = files.published(4096, 1024, 1280, 1024, "meta")
    delta = files.pandagpt(4096, 1024, 32, 32, "meta")
    assert shapes(PUBLISHED) == {name: tuple(t.shape) for name, t in own.items()}
    learnt, lora = sorted_out(own, delta)
    assert len(lora) == 32 * 4 * 2
    with torch.device("meta"):
        modules = _adapter.modules(PUBLISHED)
    inside = {f"{m}.{k}" for m, made in modules.items() for k in made.state_dict()}
    assert set(learnt) == inside


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("named", [".default", ""])
def test_both_files_become_an_adapter(
    files: ModuleType, tmp_path: Path, prefix: str, named: str
) -> None:
    own, delta = files.published(8, 7, 6, 5), files.pandagpt(8, 7, 2, 3, named=named)
    first = files.saved(tmp_path / "own.pt", {prefix + k: t for k, t in own.items()})
    second = files.saved(tmp_path / "delta.pt", {prefix + k: t for k, t in delta.items()})
    (tmp_path / "out").mkdir()
    convert(first, second, tmp_path / "out", TINY, blocks=2)
    config, made = _adapter.read(tmp_path / "out")
    assert "own.pt over delta.pt" in config.trained_on
    assert replace(config, trained_on="") == TINY
    torch.testing.assert_close(
        made["image"].state_dict()["linear.weight"], own["llama_proj.weight"]
    )
    for name in ("decoder", "prompt_learner"):
        there = "image_decoder" if name == "decoder" else name
        for key, tensor in made[name].state_dict().items():
            torch.testing.assert_close(tensor, own[f"{there}.{key}"])
    from safetensors.torch import load_file

    folder = _adapter.lora(tmp_path / "out")
    assert folder is not None
    lora = load_file(folder / "adapter_model.safetensors")
    key = "base_model.model.model.layers.1.self_attn.v_proj.lora_B"
    torch.testing.assert_close(lora[f"{key}.weight"], delta[f"llama_model.{key}{named}.weight"])
    assert len(lora) == 16
    said = json.loads((folder / "adapter_config.json").read_text())
    assert (said["r"], said["lora_alpha"], said["peft_type"]) == (3, 32, "LORA")
    assert sorted(said["target_modules"]) == ["k_proj", "o_proj", "q_proj", "v_proj"]


def test_the_projection_is_pandagpts_where_anomalygpt_has_none(both: tuple[State, State]) -> None:
    own, delta = both
    bare = {k: t for k, t in own.items() if not k.startswith("llama_proj")}
    learnt, _ = sorted_out(bare, delta, TINY, 2)
    assert learnt["image.linear.weight"] is delta["llama_proj.weight"]
    learnt, _ = sorted_out(own, delta, TINY, 2)
    assert learnt["image.linear.weight"] is own["llama_proj.weight"]


def test_what_is_missing_unexpected_or_of_another_shape_is_named(
    files: ModuleType, both: tuple[State, State]
) -> None:
    own, delta = both

    def refused(words: str, one: State, two: State) -> None:
        with pytest.raises(WeightsError, match=words):
            sorted_out(one, two, TINY, 2)

    lone = {k: t for k, t in own.items() if k != "image_decoder.fc.2.bias"}
    refused(r"AnomalyGPT's checkpoint lacks image_decoder\.fc\.2\.bias\. Give", lone, delta)
    refused("has optimizer, which do not belong", own | {"optimizer": torch.zeros(1)}, delta)
    wide = own | {"prompt_learner.base_prompts": torch.zeros(9, 16)}
    refused(r"base_prompts of shape \(9, 16\) in place of \(9, 8\)", wide, delta)
    refused("AnomalyGPT's checkpoint lacks image_decoder.* more; has llama_model", delta, own)
    bare = {k: t for k, t in delta.items() if "lora" not in k}
    refused(r"PandaGPT's delta lacks .*layers\.0\.self_attn.* and 12 more", own, bare)
    longer = files.pandagpt(8, 7, 3, 3)
    refused(r"PandaGPT's delta has .*layers\.2.* which do not belong", own, longer)
    no_projection = {k: t for k, t in delta.items() if "lora" in k}
    refused("PandaGPT's delta lacks llama_proj", own, no_projection)


class Touch:
    """A pickle that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_file_of_more_than_tensors_is_refused(files: ModuleType, tmp_path: Path) -> None:
    def refused(words: str, path: Path) -> None:
        with pytest.raises(WeightsError, match=words):
            convert(path, path, tmp_path / "out", TINY)
        assert not (tmp_path / "out").exists()

    hostile = files.saved(tmp_path / "hostile.pt", {"a": Touch(tmp_path / "ran")})
    refused("cannot be read.* would run code is refused", hostile)
    assert not (tmp_path / "ran").exists()
    refused("more than tensors by name", files.saved(tmp_path / "list.pt", [torch.zeros(1)]))
    refused(
        "more than tensors by name", files.saved(tmp_path / "deep.pt", {"a": {"b": torch.zeros(1)}})
    )
    refused("cannot be read: FileNotFoundError", tmp_path / "missing.pt")
    cut = tmp_path / "cut.pt"
    cut.write_bytes(hostile.read_bytes()[:100])
    refused("Check that it was fetched whole", cut)


def test_nothing_is_left_where_it_cannot_be_written(
    files: ModuleType, both: tuple[State, State], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, delta = (files.saved(tmp_path / f"{i}.pt", state) for i, state in enumerate(both))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match="not empty"):
        convert(own, delta, tmp_path, TINY, 2)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_adapter, "write_tensors", full)
    with pytest.raises(OutputError, match="No space left"):
        convert(own, delta, tmp_path / "out", TINY, 2)
    assert sorted(tmp_path.iterdir()) == before
