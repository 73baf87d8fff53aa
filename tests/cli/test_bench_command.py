"""`blemish bench` in this process, with detectors that need no weights."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest

from blemish import registry, weights
from blemish.benchmark import run as bench_run
from blemish.errors import WeightsError
from blemish.settings import settings

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without plots, which take seconds and are looked at elsewhere."""
    monkeypatch.setattr("blemish.benchmark.plot.draw", lambda table: None)


@pytest.fixture
def data(stub: ModuleType, tmp_path: Path) -> Path:
    """Two categories of MVTec AD; a defect is a dark spot, outlined in its mask."""
    root = tmp_path / "sets" / "mvtec"
    for category in ("bottle", "leather"):
        for number in range(4):
            stub.draw(root / category / "train" / "good" / f"{number}.png")
        for number in range(4):
            stub.draw(root / category / "test" / "good" / f"{number}.png")
        for number, spot in enumerate((0, 60, 190)):
            stub.draw(root / category / "test" / "hole" / f"{number}.png", spot)
            mask = np.zeros((40, 60), np.uint8)
            mask[2:12, 4:14] = 255
            path = root / category / "ground_truth" / "hole" / f"{number}_mask.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(mask).save(path)
    return root


def test_a_free_combination_ends_in_a_table(blemish: Call, data: Path, tmp_path: Path) -> None:
    words = ("bench", "--detector", "patch-memory", "--dataset", data, "--shots", "0,1,2")
    said = blemish(*words, "--seeds", 2, "--out", "found")
    assert said.code == 0
    assert "0 shots are left out" in said.err
    assert "MVTec AD" in said.out
    assert "100.0" in said.out
    found = tmp_path / "found"
    record = json.loads(
        (found / "cells/mvtec-ad/leather/patch-memory/2-shot-seed1/figures.json").read_text()
    )
    assert record["figures"]["image_auroc"] == 1.0
    assert record["figures"]["pixel_auroc"] == 1.0
    assert record["figures"]["accuracy"] == 1.0
    assert record["provenance"]["command"].startswith("blemish bench --detector patch-memory")
    with (found / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["category"] for row in rows} == {"bottle", "leather", "mean"}
    assert (found / "table.md").is_file()
    again = blemish(*words, "--seeds", 2, "--out", "found")
    assert (again.code, again.out) == (0, said.out)


def test_results_have_a_folder_of_their_own(blemish: Call, data: Path, tmp_path: Path) -> None:
    words = ("bench", "--detector", "patch-memory", "--dataset", data, "--categories", "bottle")
    for more in ((), ("--option", "pause=0.001"), ("--seeds", "2")):
        assert blemish(*words, *more).code == 0
    assert len(list((tmp_path / "blemish_bench").iterdir())) == 2  # more seeds go on in the first


def test_a_detector_that_needs_nothing_and_one_of_a_folder(blemish: Call, data: Path) -> None:
    for detector in ("darkness", "musc"):
        said = blemish("bench", "--detector", detector, "--dataset", data, "--out", detector)
        assert said.code == 0
        assert (Path(detector) / "cells/mvtec-ad/bottle" / detector / "0-shot-seed0").is_dir()


def test_a_protocol_says_what_it_cannot_run_and_runs_the_rest(
    blemish: Call, data: Path, tmp_path: Path
) -> None:
    said = blemish("bench", "004/table7", "--data", data.parent)
    assert said.code == 3
    assert "PaDiM: cannot be run, this version of blemish has no detector 'padim'" in said.err
    assert "2 of 15 categories run" in said.err
    assert "MuSc" in said.out
    assert (tmp_path / "blemish_bench/004-table7/table.md").is_file()


def test_a_protocol_of_which_nothing_can_run_exits_with_2(blemish: Call, data: Path) -> None:
    said = blemish("bench", "000/table1", "--data", data)
    assert said.code == 2
    assert "no detector 'gpt4v-ad'" in said.err
    assert "Nothing can be run here" in said.err


def test_weights_that_are_not_at_hand_are_told(
    blemish: Call, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str, progress: Any = None) -> Path:
        raise WeightsError(f"{name} is nowhere. Fetch it.")

    darkness = registry.detectors()["darkness"]
    entries = {"darkness": replace(darkness, parts={"encoder": "dinov2-small"})}
    monkeypatch.setattr(registry, "detectors", lambda: entries)
    monkeypatch.setattr(weights, "pull", missing)
    said = blemish("bench", "--detector", "darkness", "--dataset", data)
    assert said.code == 2
    assert "its weights are not at hand: dinov2-small is nowhere. Fetch it." in said.err
    assert "Nothing can be run here" in said.err


def test_a_picture_that_cannot_be_judged_is_named(blemish: Call, data: Path) -> None:
    (data / "bottle/test/hole/1.png").write_bytes(b"broken")
    said = blemish("bench", "--detector", "darkness", "--dataset", data)
    assert said.code == 3
    assert said.err.count("bottle/test/hole/1.png") >= 1
    assert "Not judged" in said.err


def test_a_stop_is_told_and_goes_on(
    blemish: Call, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("bench", "--detector", "darkness", "--dataset", data, "--out", "found")
    with monkeypatch.context() as patched:
        whole = bench_run._Runner.cell

        def once(self: Any, cell: Any, on_progress: Any) -> Any:
            if cell.category == "leather":
                raise KeyboardInterrupt
            return whole(self, cell, on_progress)

        patched.setattr(bench_run._Runner, "cell", once)
        said = blemish(*words)
    assert said.code == 130
    assert "7 of 14 pictures are done and kept in found; the same command goes on" in said.err
    assert blemish(*words).code == 0


@pytest.fixture
def script(blemish: Call, monkeypatch: pytest.MonkeyPatch) -> str:
    """A language model for --llm, and the detector that asks it."""
    known = next(entry for entry in registry.DETECTORS if entry.name == "gpt4v-ad")
    entries = {**registry.detectors(), "gpt4v-ad": known}
    monkeypatch.setattr(registry, "detectors", lambda: entries)
    Path("script.json").write_text('{"": "region 1: 0.9."}')
    return "scripted:script.json"


def test_a_language_model_is_asked_and_its_bill_shown(
    blemish: Call, data: Path, script: str
) -> None:
    words: tuple[Any, ...] = ("bench", "--detector", "gpt4v-ad", "--dataset", data)
    words += ("--categories", "bottle", "--limit", 1)
    words += ("--option", "regions=grid", "--option", "cells=4")
    said = blemish(*words, "--llm", script)
    assert said.code == 0
    assert "MVTec AD: what was asked" in said.out
    (line,) = [line for line in said.out.splitlines() if "gpt4v-ad, 0 shots" in line]
    assert line.split()[3:6] == ["scripted", "2", "2"]  # pictures, calls
    (found,) = Path("blemish_bench").iterdir()
    begun = json.loads((found / "bench.json").read_text())
    assert begun["language_model"].startswith("scripted (scripted:")
    assert begun["cells"]["mvtec-ad/bottle/gpt4v-ad/0-shot-seed0"]["options"] == {
        "regions": "grid",
        "cells": 4,
    }
    Path("script.json").write_text('{"": "region 1: 0.1."}')
    assert blemish(*words, "--llm", script).code == 0
    assert len(list(Path("blemish_bench").iterdir())) == 2  # another model, another folder
    said = blemish(*words)
    assert said.code == 2
    assert "needs a language model" in said.err


def test_a_protocol_takes_a_model_and_goes_without_a_segmenter(
    blemish: Call, data: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Any] = []

    def noting(plan: Any, out: Path, means: Any, **_: Any) -> list[Any]:
        ran.append((plan, means))
        return []

    def missing(name: str, *, device: str) -> Any:
        raise WeightsError(f"{name} cannot be loaded.")

    monkeypatch.setattr(bench_run, "run", noting)
    monkeypatch.setattr("blemish.build.segmenter", missing)
    said = blemish("bench", "000/regions", "--data", data, "--llm", script)
    assert said.code == 3
    assert "SAM: cannot be run, its weights are not at hand: facebook/sam-vit-huge" in said.err
    ((plan, means),) = ran
    assert {cell.method for cell in plan.cells} == {"grid", "super-pixel"}
    assert means.language_model.name == "scripted"
    assert all("language_model" not in cell.options for cell in plan.cells)
    said = blemish("bench", "000/regions", "--data", data)
    assert said.code == 2
    assert "add --llm, such as --llm openai:gpt-5" in said.err


@pytest.fixture
def alfa(blemish: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """ALFA and WinCLIP beside the stubs; their weights are not at hand, and no network is."""
    entries = {name: registry.detector(name) for name in ("musc", "patch-memory")}
    entries |= {e.name: e for e in registry.DETECTORS if e.name in ("alfa", "winclip")}
    monkeypatch.setattr(registry, "detectors", lambda: entries)
    monkeypatch.setenv("BLEMISH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_a_checkpoint_that_is_not_at_hand_costs_its_methods_only(
    blemish: Call, data: Path, alfa: None, tmp_path: Path
) -> None:
    said = blemish("bench", "004/table7", "--data", data.parent)
    assert said.code == 3
    why = "its weights are not at hand: The CLIP checkpoint clip-vit-b-16-plus-240 is not at hand."
    assert f"\nALFA: cannot be run, {why} Looked in" in said.err
    assert said.err.count("hf download") == 1
    assert "MuSc" in said.out
    ran = tmp_path / "blemish_bench/004-table7/cells/mvtec-ad/bottle"
    assert [path.name.partition("-")[0] for path in ran.iterdir()] == ["musc"]


def test_methods_that_lack_the_same_are_told_together(
    blemish: Call, data: Path, alfa: None
) -> None:
    said = blemish("bench", "004/table2", "--data", data)
    assert said.code == 2
    ticks = "Template + LLM; Template + LLM + S_c; Template + LLM + S_c + aligner"
    assert f"Normal prompts only; Template; {ticks}: cannot be run, its weights" in said.err
    assert said.err.count("hf download") == 1
    assert "Nothing can be run here" in said.err


def test_one_clip_detector_without_weights_ends_in_words(
    blemish: Call, data: Path, alfa: None
) -> None:
    for words in ((), ("--encoder", "clip:nowhere")):
        said = blemish("bench", "--detector", "winclip", "--dataset", data, *words)
        assert said.code == 2
        assert "There is no CLIP checkpoint nowhere" in said.err or "hf download" in said.err


def test_prompts_come_from_the_bank_or_from_the_model_that_is_named(
    blemish: Call, data: Path, alfa: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Any] = []

    def noting(plan: Any, out: Path, means: Any, **_: Any) -> list[Any]:
        ran.append((plan, out, means))
        return []

    monkeypatch.setattr(weights, "pull", lambda name, progress=None: data)
    monkeypatch.setattr(bench_run, "run", noting)
    Path("script.json").write_text('{"": "- a hole"}')
    for words in ((), ("--llm", "scripted:script.json")):
        assert blemish("bench", "004/table2", "--data", data, *words).code == 0
    (bank, first, without), (model, second, given) = ran
    assert bank.cells == model.cells
    assert len({cell.method for cell in bank.cells}) == 5
    assert first != second
    assert (without.language_model, given.language_model.name) == (None, "scripted")
    said = blemish("bench", "004/table3", "--data", data)
    assert said.code == 3
    assert "ALFA with GPT-3.5, 146 prompts (only 72 manual): cannot be run" in said.err
    assert "add --llm" in said.err


def test_a_model_that_nothing_asks_is_told(blemish: Call, data: Path, script: str) -> None:
    said = blemish("bench", "--detector", "darkness", "--dataset", data, "--llm", script)
    assert said.code == 0
    assert "--llm is not used" in said.err


def test_protocols_that_ask_are_listed_as_such(blemish: Call, script: str) -> None:
    said = blemish("bench", "--list")
    assert "000/regions: runs with --llm (3 of 3 methods), on mvtec-ad" in said.out
    assert "000/table1: in part with --llm (1 of 2 methods), on mvtec-ad" in said.out
    assert "004/table7: in part (1 of 5 methods), on mvtec-ad" in said.out


def test_protocols_are_listed_with_what_runs_here(blemish: Call) -> None:
    said = blemish("bench", "--list")
    assert said.code == 0
    assert "004/table7: in part (1 of 5 methods), on mvtec-ad" in said.out
    assert "000/table1: not yet (0 of 2 methods)" in said.out
    assert "Training-free, fine-tuned and unsupervised methods" in said.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["004/table9", "--data", "."], "Did you mean '004/table"),
        (["004/table7"], "needs --data"),
        (["004/table7", "--data", "nowhere"], "is no folder"),
        (["000/table2", "--data", "sets"], "does not hold visa"),
        (["004/table7", "--data", ".", "--shots", "1"], "--shots came with the protocol"),
        (["004/table7", "--dataset", "."], "--dataset came with the protocol"),
        (["--detector", "musc"], "--dataset DIR"),
        (["--dataset", "sets/mvtec"], "--detector NAME"),
        (["--detector", "muscc", "--dataset", "sets/mvtec"], "Did you mean 'musc'"),
        (["--detector", "musc", "--dataset", "nowhere"], "does not exist"),
        (["--detector", "patch-memory", "--dataset", "sets/mvtec", "--shots", "x"], "--shots x"),
        (["--detector", "patch-memory", "--dataset", "sets/mvtec", "--shots", "9"], "9 were asked"),
        (["--detector", "musc", "--dataset", "sets/mvtec", "--categories", "x"], "no category 'x'"),
        (["--list", "--detector", "musc"], "--list takes nothing else"),
        (["--maps", ".", "--detector", "musc", "--dataset", "sets/mvtec"], "--maps goes with"),
        (["--maps", "."], "--maps goes with"),
        (["--list", "--llm", "openai:x"], "--list asks no language model"),
        (["004/table7", "--data", ".", "--no-cache"], "--no-cache came, but no language model"),
        (["--maps", ".", "--dataset", "sets/mvtec", "--llm", "openai:x"], "--maps asks no"),
        (["--detector", "musc", "--dataset", "sets/mvtec", "--llm", "gpt-5"], "KIND:NAME"),
    ],
)
def test_what_does_not_go_together_is_refused_in_words(
    blemish: Call, data: Path, words: list[str], expected: str
) -> None:
    said = blemish("bench", *words)
    assert said.code == 2
    assert expected in said.err
    assert not Path("blemish_bench").exists()


def test_a_wrong_option_is_refused_and_leaves_nothing_in_the_way(blemish: Call, data: Path) -> None:
    words = ("bench", "--detector", "darkness", "--dataset", data, "--out", "found")
    said = blemish(*words, "--option", "paus=0.001")
    assert said.code == 2
    assert "no option 'paus'" in said.err
    assert "Did you mean 'pause'" in said.err
    assert blemish(*words, "--option", "pause=0.001").code == 0
    said = blemish(*words, "--option", "pause=0.002")
    assert said.code == 2
    assert "Choose another folder" in said.err


def test_maps_of_another_program_are_scored(blemish: Call, data: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    for path in data.rglob("test/*/*.png"):
        raw = 1 - np.asarray(PIL.Image.open(path)).mean(axis=2) / 255
        target = theirs / path.relative_to(data).with_suffix(".npy")
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, raw.astype(np.float32))
    said = blemish("bench", "--maps", theirs, "--dataset", data, "--method", "PatchCore")
    assert said.code == 0
    assert "PatchCore" in said.out
    assert "100.0" in said.out
    words = ("--maps", theirs, "--dataset", data, "--method", "PatchCore", "--shots", "all")
    beside = blemish("bench", "004/table7", *words)
    assert beside.code == 0
    assert "published" in beside.out


def test_a_limit_takes_fewer_test_pictures_and_says_so(
    blemish: Call, data: Path, tmp_path: Path
) -> None:
    words = ("bench", "--detector", "patch-memory", "--dataset", data, "--out", "few")
    assert blemish(*words, "--limit", 2).code == 0
    found = tmp_path / "few/cells/mvtec-ad/bottle/patch-memory/1-shot-seed0"
    record = json.loads((found / "figures.json").read_text())
    assert (record["counts"]["normal"], record["counts"]["anomalous"]) == (2, 2)
    assert record["computed"]["test_pictures"] == "at most 2 of each label"
    assert blemish(*words).code == 0
    record = json.loads((found / "figures.json").read_text())
    assert (record["counts"]["normal"], record["counts"]["anomalous"]) == (4, 3)
    assert record["computed"]["test_pictures"] == "all"


def test_anomalib_asks_for_its_python(blemish: Call, data: Path) -> None:
    said = blemish("bench", "--detector", "anomalib:patchcore", "--dataset", data)
    assert said.code == 2
    assert "--anomalib-python" in said.err


def test_a_table_of_no_set_of_its_own_runs_on_any(
    blemish: Call, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {"patch-memory": registry.detectors()["patch-memory"]}
    monkeypatch.setattr(registry, "detectors", lambda: alone)
    said = blemish("bench", "003/embedded", "--data", data, "--categories", "bottle")
    assert said.code == 3
    assert "no detector 'anomalygpt' yet" in said.err
    assert "Memory bank and calibration alone" in said.out
    assert "LLM without map" in said.err
    (out,) = (tmp_path / "blemish_bench").iterdir()
    assert out.name.startswith("003-embedded-")
    assert "003/embedded: in part (1 of 7 methods), on any set" in blemish("bench", "--list").out


def test_adapters_are_refused_in_words(blemish: Call, data: Path, tmp_path: Path) -> None:
    said = blemish("bench", "003/embedded", "--data", data, "--adapter", tmp_path / "none")
    assert said.code == 2
    assert "is no adapter" in said.err
    free = ("--detector", "patch-memory", "--dataset", data, "--adapter", tmp_path)
    said = blemish("bench", *free)
    assert said.code == 2
    assert "--option adapter=FOLDER" in said.err
