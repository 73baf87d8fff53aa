"""`blemish train` for adapters, with a stand-in encoder and a random language model over bytes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import PIL.Image
import pytest

import blemish as package
from blemish import registry
from blemish.cli import learning
from blemish.detectors import _adapter
from blemish.llms.causal import Causal
from blemish.synthesis.procedural import make_part, write_set
from blemish.training import checkpoint, log
from blemish.training.batches import PictureBatches

Call = Callable[..., Any]
TRAINED = {name: registry.detector(name) for name in ("anomalygpt", "iad-gpt")}
STEPS = ("--epochs", 4, "--batch", 4)
"""Six steps of a set of six pictures."""


@pytest.fixture(scope="module")
def reader(module: Callable[[Path], ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random language model over bytes."""
    parts = module(Path(__file__).parents[1] / "tiny_vlm.py")
    tiny = module(Path(__file__).parents[1] / "tiny_causal.py")
    folder: Path = tiny.write(tmp_path_factory.mktemp("models") / "tiny", parts)
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes with three good pictures each, and broken parts with masks."""
    root = tmp_path_factory.mktemp("sets") / "parts"
    for kind in ("wood", "grid"):
        write_set(root / kind, kind, train=3, good=1, anomalous=1, size=(96, 96))
    return root


@pytest.fixture
def train(
    blemish: Call, reader: Path, stand_ins: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Call:
    """The command with models that need no weights, one sheet, and no curves: both take time."""
    monkeypatch.setattr(registry, "detectors", lambda: TRAINED)
    monkeypatch.setattr("blemish.build.encoder", lambda name, **_: stand_ins.Cells())
    monkeypatch.setattr("blemish.training.log.draw", lambda rows: b"")
    monkeypatch.setattr("blemish.training.sheets.due", lambda step, steps: step == steps)

    def call(data: Path, out: str | Path, *words: object, kind: str = "anomalygpt") -> Any:
        return blemish("train", kind, "--data", data, "--out", out, "--llm", reader, *STEPS, *words)

    return call


@pytest.fixture(scope="module")
def kept() -> dict[str, bytes]:
    """What one test made for the others."""
    return {}


@pytest.fixture
def whole(train: Call, parts: Path, tmp_path: Path, kept: dict[str, bytes]) -> bytes:
    """The adapter of a training that nothing stopped."""
    if not kept:
        assert train(parts, "whole").code == 0
        kept["adapter"] = (tmp_path / "whole" / _adapter.TENSORS).read_bytes()
    return kept["adapter"]


def steps(out: Path) -> int:
    saved = checkpoint.read(out / "training")
    assert saved
    return saved.step


def test_an_adapter_is_trained_that_the_detector_takes(
    train: Call, parts: Path, reader: Path, stand_ins: ModuleType, tmp_path: Path
) -> None:
    said = train(parts, "out")
    assert said.code == 0
    assert "6 steps on good pictures of metal grid (3), wood (3)." in said.out
    assert "step 6 of 6: answers" in said.err
    assert (
        f"--detector anomalygpt --option language_model={reader} --option adapter=out" in said.out
    )
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        *("adapter.json", "adapter.safetensors", "README.md", "training"),
    }
    assert "blemish train anomalygpt --data" in (out / "README.md").read_text()
    assert [path.name for path in (out / "training/samples").iterdir()] == ["step-000006.png"]
    config = json.loads((out / "adapter.json").read_text())
    assert config["trained_on"].startswith("mvtec-ad: 6 good pictures (metal grid, wood)")
    detector = package.load(
        "anomalygpt",
        encoder=stand_ins.Cells(),
        language_model=Causal(reader),
        adapter=str(out),
        device="cpu",
    )
    (found,) = detector.predict([make_part("wood", 50, size=(96, 96)).sample])
    assert found.decided_by == "language model"


def test_the_documents_ablation_is_trained_by_switches(
    train: Call, parts: Path, tmp_path: Path
) -> None:
    switches = ("--lora", "--no-prompt-learner", "--no-decoder")
    assert train(parts, "whole", *switches).code == 0
    assert train(parts, "out", *switches, "--minutes", 1e-7).code == 0
    for fewer in (switches[:0], switches[:2], switches[1:]):
        said = train(parts, "out", *fewer)
        assert said.code == 2
        assert "is of another training" in said.err
    assert train(parts, "out", *switches).code == 0
    for file in ("lora/adapter_model.safetensors", _adapter.TENSORS):
        both = [(tmp_path / name / file).read_bytes() for name in ("whole", "out")]
        assert both[0] == both[1]
    config, modules = _adapter.read(tmp_path / "out")
    assert config.left_out == ("prompt_learner", "decoder")
    assert list(modules) == ["image"]
    said = train(parts, "more", "--start", "out", "--lora")
    assert said.code == 2
    assert "cannot learn more here" in said.err


def test_iad_gpt_is_trained_in_three_stages_that_the_detector_takes(
    train: Call, parts: Path, stand_ins: ModuleType, reader: Path, tmp_path: Path
) -> None:
    twice = ("--epochs", 2, "--batch", 6)
    said = train(parts, "whole", *twice, kind="iad-gpt")
    assert said.code == 0
    assert "6 steps on good pictures of metal grid (3), wood (3)." in said.out
    assert f"--detector iad-gpt --option language_model={reader}" in said.out
    for done in (1, 3, 5):  # a slice that ends a stage takes a step of the next one
        assert train(parts, "out", *twice, "--minutes", 1e-7, kind="iad-gpt").code == 0
        assert f"{done} of 6 steps" in (tmp_path / "out" / "adapter.json").read_text()
    assert train(parts, "out", *twice, kind="iad-gpt").code == 0
    adapters = [(tmp_path / name / _adapter.TENSORS).read_bytes() for name in ("whole", "out")]
    assert adapters[0] == adapters[1]
    sheets = [path.relative_to(tmp_path) for path in tmp_path.glob("out/training/*/samples/*")]
    assert {path.parts[2] for path in sheets} == {"stage-1", "stage-2", "stage-3"}
    detector = package.load(
        "iad-gpt",
        encoder=stand_ins.Cells(),
        language_model=Causal(reader),
        adapter=str(tmp_path / "out"),
        device="cpu",
    )
    (found,) = detector.predict([make_part("wood", 50, size=(96, 96)).sample])
    assert found.decided_by == "language model"
    said = train(parts, "out", *twice, "--one-stage", kind="iad-gpt")
    assert said.code == 2
    assert "is of another training" in said.err


def test_each_ablation_of_iad_gpt_is_an_adapter(train: Call, parts: Path, tmp_path: Path) -> None:
    once = ("--epochs", 1, "--batch", 6)
    for number, (kind, words, has) in enumerate(
        [
            ("iad-gpt", ("--no-enhancer",), (False, True, True)),
            ("iad-gpt", ("--no-fusion", "--no-apg", "--one-stage"), (True, False, False)),
            ("anomalygpt", ("--enhancer",), (True, False, False)),
        ]
    ):
        assert train(parts, str(number), *once, *words, kind=kind).code == 0
        config, _ = _adapter.read(tmp_path / str(number))
        assert config.kind == kind
        assert (config.enhancer, config.fusion, config.apg) == has
        assert config.abnormal == (8 if config.apg else 1)
        stages = {path.name for path in (tmp_path / str(number) / "training").glob("stage-*")}
        assert len(stages) == (3 if number == 0 else 0)
    said = train(parts, "more", *once, "--start", "2", kind="anomalygpt")
    assert said.code == 2
    assert "has other parts than should learn" in " ".join(said.err.split())


def test_it_learns(train: Call, parts: Path, tmp_path: Path) -> None:
    assert train(parts, "out", "--epochs", 20, "--rate", 0.005).code == 0
    rows = log.read(tmp_path / "out" / "training")
    assert len(rows) == 30
    for name, share in (("answers", 1.0), ("focal", 0.7)):
        first, last = (sum(r["parts"][name] for r in part) for part in (rows[:8], rows[-8:]))
        assert last < share * first


def test_in_slices_it_ends_with_the_same_bits(
    train: Call, parts: Path, whole: bytes, tmp_path: Path
) -> None:
    for done in range(1, 4):
        said = train(parts, "out", "--minutes", 1e-7)
        assert said.code == 0
        assert steps(tmp_path / "out") == done
        assert f"after {done} of 6 steps; the same command goes on" in said.out
        assert f"{done} of 6 steps" in (tmp_path / "out" / "adapter.json").read_text()
    assert train(parts, "out").code == 0
    assert (tmp_path / "out" / _adapter.TENSORS).read_bytes() == whole


def test_ctrl_c_stops_in_order(
    train: Call, parts: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = PictureBatches.__call__

    def interrupted(self: PictureBatches, step: int) -> Any:
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(PictureBatches, "__call__", interrupted)
        said = train(parts, "out")
    assert said.code == 130
    assert "Stopped in order after 3 of 6 steps" in said.out
    assert steps(tmp_path / "out") == 3
    assert train(parts, "out").code == 0
    assert (tmp_path / "out" / _adapter.TENSORS).read_bytes() == whole


def test_only_the_first_of_several_processes_writes_and_speaks(
    train: Call, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    said = train(parts, "out")
    assert (said.code, said.out) == (0, "")
    assert not (tmp_path / "out" / _adapter.CONFIG).exists()


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blemish.build.device_named", lambda choice: choice)
    assert (learning.device("cuda"), learning.processes()) == ("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    found = [learning.device(choice) for choice in ("cuda", "cuda:0", "cpu")]
    assert (found, learning.processes()) == (["cuda:3", "cuda:0", "cpu"], 4)


def test_a_full_disk_leaves_the_last_checkpoint(
    train: Call, parts: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(parts, "out", "--minutes", 1e-7).code == 0
    before = (tmp_path / "out/training" / checkpoint.FILE).read_bytes()

    def full(path: Path, data: bytes) -> None:
        if path.name == checkpoint.FILE:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "replace_file", full)
        said = train(parts, "out")
    assert said.code == 2
    assert "No space left on device. Make room" in said.err
    assert (tmp_path / "out/training" / checkpoint.FILE).read_bytes() == before
    assert train(parts, "out").code == 0
    assert (tmp_path / "out" / _adapter.TENSORS).read_bytes() == whole


def test_a_full_disk_at_the_very_end_is_told_and_repeating_writes_the_adapter(
    train: Call, parts: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_adapter, "install", full)
        said = train(parts, "out")
    assert said.code == 2
    assert "No space left on device. Make room" in said.err
    assert not (tmp_path / "out" / _adapter.CONFIG).exists()
    assert train(parts, "out").code == 0
    assert (tmp_path / "out" / _adapter.TENSORS).read_bytes() == whole


def test_anomalous_pictures_and_masks_stay_unseen(
    train: Call, parts: Path, whole: bytes, tmp_path: Path
) -> None:
    copy = shutil.copytree(parts, tmp_path / "copy" / "parts")
    for part in ("test", "ground_truth"):
        for picture in copy.glob(f"*/{part}/*/*.png"):
            picture.write_bytes(b"none of these can be read")
    assert train(copy, "out").code == 0
    assert (tmp_path / "out" / _adapter.TENSORS).read_bytes() == whole


@pytest.mark.parametrize("missing", ["test", "ground_truth"])
def test_a_set_with_masks_but_no_anomalies_or_the_other_way_round_is_enough(
    train: Call, parts: Path, tmp_path: Path, missing: str
) -> None:
    copy = shutil.copytree(parts, tmp_path / "copy" / "parts")
    for folder in copy.glob(f"*/{missing}/*"):
        if folder.name != "good":
            shutil.rmtree(folder)
    assert train(copy, "out", "--epochs", 1).code == 0


def test_one_picture_in_a_plain_folder_is_enough_and_told(
    train: Call, parts: Path, tmp_path: Path
) -> None:
    shutil.copytree(parts, tmp_path / "one", ignore=lambda *_: ["wood", "grid"])
    shutil.copy(next(parts.glob("wood/train/good/*.png")), tmp_path / "one" / "only.png")
    said = train(tmp_path / "one", "out")
    assert said.code == 0
    assert "Only one picture of object: its anomalies are cut from itself." in said.err
    assert "one: 1 good pictures (object)" in (tmp_path / "out" / "adapter.json").read_text()


def test_a_broken_picture_is_left_out_and_told_once(
    train: Call, parts: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(parts, tmp_path / "copy" / "parts")
    broken = next(copy.glob("wood/train/good/*.png"))
    broken.write_bytes(broken.read_bytes()[:200])
    said = train(copy, "out")
    assert said.code == 0
    assert said.err.count("Left out: ") == 1
    assert broken.name in said.err


def test_tiny_pictures_and_none_at_all_end_in_words(
    train: Call, parts: Path, tmp_path: Path
) -> None:
    (tmp_path / "tiny").mkdir()
    for number in range(3):
        PIL.Image.new("RGB", (8, 8)).save(tmp_path / "tiny" / f"{number}.png")
    said = train(tmp_path / "tiny", "out")
    assert said.code == 2
    assert "Not one of the 3 normal training pictures" in said.err
    copy = shutil.copytree(parts, tmp_path / "copy" / "parts")
    for folder in copy.glob("*/train/good"):
        shutil.rmtree(folder)
        folder.mkdir()
    said = train(copy, "out")
    assert said.code == 2
    assert "no normal training pictures" in said.err
    assert train(tmp_path / "nowhere", "out").code == 2
    assert not (tmp_path / "out" / _adapter.CONFIG).exists()


def test_an_adapter_for_other_models_cannot_be_the_start(
    train: Call, stand_ins: ModuleType, parts: Path, tmp_path: Path
) -> None:
    folder = stand_ins.reading_adapter(tmp_path / "other", "cells")
    said = train(parts, "out", "--start", folder)
    assert said.code == 2
    assert "whose embeddings have 4 values; those of tiny have 32" in said.err
    assert not (tmp_path / "out").exists()


def test_what_is_trained_goes_on_only_as_it_was(train: Call, parts: Path, tmp_path: Path) -> None:
    assert train(parts, "out", "--minutes", 1e-7).code == 0
    for words in (("--seed", 1), ("--anomalies", "both"), ("--rate", 0.1), ("--epochs", 5)):
        said = train(parts, "out", *words)
        assert said.code == 2
        assert "is of another training" in said.err
    assert steps(tmp_path / "out") == 1
    shutil.rmtree(tmp_path / "out" / "training")
    said = train(parts, "out")
    assert said.code == 2
    assert "holds an adapter, but not where its training stood" in said.err
    again = train(parts, "more", "--start", "out", "--epochs", 1)
    assert again.code == 0
    config, _ = _adapter.read(tmp_path / "more")
    assert "before that, mvtec-ad: 6 good pictures" in asdict(config)["trained_on"]
