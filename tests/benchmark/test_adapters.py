"""Rows of detectors that were trained: which adapter they take, and what is said without one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from blemish import registry
from blemish.benchmark import adapters, protocol
from blemish.benchmark.folder import Means
from blemish.benchmark.plan import Plan, free, of_protocol
from blemish.benchmark.possible import asks, lacking
from blemish.benchmark.protocol import Protocol, Run
from blemish.benchmark.run import run
from blemish.datasets.model import Dataset
from blemish.errors import OptionError, SavedError

Named = Callable[..., Mapping[str, Dataset]]
Made = Callable[..., Path]
OWN = {"encoder": "dinov2-small", "language_model": "smollm2-135m"}
LARGE = {"encoder": "clip-vit-h-14", "language_model": "vicuna-7b"}
ROWS = [
    (name, row)
    for name in protocol.names()
    for row in protocol.load(name).runs
    if row.detector in registry.detectors() and registry.detector(row.detector).embeds
]


@pytest.fixture
def made(stand_ins: ModuleType, tmp_path: Path) -> Made:
    """An adapter that works, and says of itself what the test wants."""

    def write(name: str, **said: Any) -> Path:
        folder: Path = stand_ins.reading_adapter(tmp_path / name, "cells")
        about = json.loads((folder / "adapter.json").read_text())
        (folder / "adapter.json").write_text(json.dumps({**about, **OWN, **said}))
        return folder

    return write


def table(*runs: Run, data: tuple[str, ...] = ("mvtec-ad",)) -> Protocol:
    about = {"id": "9/made", "title": "made", "source": "made", "metrics": ["image_auroc"]}
    return Protocol.model_validate({**about, "data": data, "runs": runs})


def row(train_on: str | None = None, /, **options: Any) -> Run:
    return Run(method="m", detector="anomalygpt", options=options, train_on=train_on, shots=(1,))


@pytest.mark.parametrize(("name", "one"), ROWS, ids=[f"{n}, {r.method}" for n, r in ROWS])
def test_each_row_has_options_of_the_detector_and_says_what_it_lacks(name: str, one: Run) -> None:
    entry = registry.detector(str(one.detector))
    fields = registry.resolve(entry.options).model_fields
    assert one.options.keys() <= {*fields, *entry.parts}
    why = lacking(one, protocol.load(name).data)
    comes = adapters.shipped(entry.name)
    if name.endswith("/embedded") and comes and one.adapter == made_as(comes[0]):
        assert why == ""
        return
    models = OWN if name.endswith("/embedded") else LARGE
    encoder, model = (one.options.get(part, entry.parts[part]) for part in models)
    assert encoder == models["encoder"]
    assert model in (models["language_model"], None)
    tuned = " with LoRA" if one.options.get("lora") else ""
    trained = one.train_on or "none of the table's data sets"
    fitting = f"{encoder}{f' and {model}' if model else ''}{tuned}, trained on {trained}"
    assert why.startswith(f"no adapter of {entry.name}")
    assert f" for {fitting}, is at hand" in why
    for part, value in one.adapter.items():
        assert (part if value is True else f"{part} {value}") in why
    assert "--adapter FOLDER" in why


def made_as(one: adapters.Adapter) -> dict[str, Any]:
    """What a row's `adapter` says that takes this one."""
    return {name: value for name, value in one.made.items() if value != adapters.PLAIN[name]}


@pytest.mark.parametrize(
    ("wanted", "has", "fits"),
    [
        ({}, {}, True),
        ({"enhancer": True}, {"enhancer": True}, True),
        ({"enhancer": True}, {}, False),
        ({}, {"enhancer": True}, False),
        ({}, {"anomalies": "both"}, False),
        ({"anomalies": "both"}, {"anomalies": "both"}, True),
        ({"enhancer": True, "staged": True}, {"enhancer": True}, False),
        ({"enhancer": False}, {}, True),
    ],
)
def test_a_row_takes_an_adapter_with_the_parts_that_it_names_alone(
    wanted: dict[str, Any], has: dict[str, Any], fits: bool, made: Made
) -> None:
    adapter = adapters.read(made("one", trained_on="visa", **has))
    one = row("visa").model_copy(update={"adapter": wanted})
    if fits:
        (given,) = adapters.into(table(one), [adapter]).runs
        assert given.options["adapter"] == str(adapter.folder)
        return
    said = f"of anomalygpt ({next(iter(has))}" if has else "of anomalygpt for"
    with pytest.raises(OptionError, match=re.escape(said)):
        adapters.into(table(one), [adapter])


def test_what_ships_serves_no_row_that_wants_another_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Run(method="m", detector="anomalygpt")
    assert lacking(own, ()) == ""
    enhanced = own.model_copy(update={"adapter": {"enhancer": True}})
    assert lacking(enhanced, ()).startswith("no adapter of anomalygpt (enhancer) for dinov2-small")
    found = "blemish.detectors._reading_options.adapter_folder"
    monkeypatch.setattr(found, lambda named, kind: tmp_path)
    assert adapters.shipped("anomalygpt") == ()
    assert lacking(own, ()).startswith("no adapter of anomalygpt for dinov2-small")


@pytest.mark.parametrize(
    ("one", "said", "fits"),
    [
        (row("visa"), {"trained_on": "visa: 8,659 normal pictures"}, True),
        (row("visa"), {"trained_on": "visa"}, True),
        (row("visa"), {"trained_on": "visa-like pictures"}, False),
        (row("visa"), {"trained_on": "visa: 9 pictures; before that, made-up parts"}, True),
        (row("visa"), {"trained_on": "visa: 9 pictures; before that, mvtec-ad: 8"}, False),
        (row("visa"), {"trained_on": "btad: 9 pictures; before that, visa: 8"}, False),
        (row(), {"trained_on": "btad: 9 pictures; before that, mvtec-ad: 8"}, False),
        (row(), {"trained_on": ""}, False),
        (row(), {"trained_on": "as published: ckpt/a.pt", "prompt_learner": "published"}, False),
        (row("visa"), {"trained_on": "12 pictures of made-up parts"}, False),
        (row("visa"), {"trained_on": "visa", "encoder": "clip-vit-h-14"}, False),
        (row("visa"), {"trained_on": "visa", "language_model": "vicuna-7b"}, False),
        (row("visa", language_model=None), {"trained_on": "visa", "language_model": "x"}, True),
        (row("visa"), {"trained_on": "visa", "kind": "iad-gpt"}, False),
        (row(), {"trained_on": "made-up parts"}, True),
        (row(), {"trained_on": "mvtec-ad: its good pictures"}, False),
        (row("visa", **LARGE), {**LARGE, "trained_on": "visa"}, True),
        # What was imported goes with a Vicuna of any name.
        (
            row("visa", **LARGE),
            {**LARGE, "language_model": "v0", "prompt_learner": "published", "trained_on": "visa"},
            True,
        ),
        (row("visa", lora=True), {"trained_on": "visa"}, False),
        (row("visa"), {"trained_on": "visa", "left_out": ["prompt_learner"]}, False),
    ],
)
def test_a_row_takes_an_adapter_of_its_parts_and_its_training_set(
    one: Run, said: dict[str, Any], fits: bool, made: Made
) -> None:
    folder = made("one", **said)
    adapter = adapters.read(folder)
    if not fits:
        with pytest.raises(OptionError, match=r"one fits no row of 9/made: it is of"):
            adapters.into(table(one), [adapter])
        return
    (given,) = adapters.into(table(one), [adapter]).runs
    assert given.options == {**one.options, "adapter": str(folder)}
    assert lacking(given, ("mvtec-ad",)) == ""


def test_lora_that_was_trained_goes_to_rows_with_lora_alone(made: Made) -> None:
    plain, tuned = made("plain", trained_on="visa"), made("tuned", trained_on="visa")
    (tuned / "lora").mkdir()
    both = table(row("visa"), row("visa", lora=True))
    given = adapters.into(both, [adapters.read(f) for f in (tuned, plain)])
    assert [Path(one.options["adapter"]) for one in given.runs] == [plain, tuned]


def test_what_was_trained_without_a_part_goes_to_rows_without_it(made: Made) -> None:
    whole = made("whole", trained_on="visa")
    less = made("less", trained_on="visa", left_out=["prompt_learner"])
    rows = table(row("visa"), row("visa", prompt_learner=False), row("visa", decoder=False))
    given = adapters.into(rows, [adapters.read(f) for f in (whole, less)])
    assert [Path(one.options["adapter"]) for one in given.runs] == [whole, less, whole]


def test_what_is_no_adapter_is_told(tmp_path: Path, made: Made) -> None:
    with pytest.raises(SavedError, match="is no adapter"):
        adapters.read(tmp_path / "nowhere")
    folder = made("damaged")
    (folder / "adapter.json").write_text("{}")
    with pytest.raises(SavedError, match="says not what it fits"):
        adapters.read(folder)


def test_a_trained_row_runs_where_its_adapter_is_given(
    named: Named, embedded: Means, made: Made, tmp_path: Path
) -> None:
    # The stand-ins go by names of their own.
    folder = made("given", trained_on="visa", encoder="cells", language_model="reader")
    sets = named("mvtec-ad")
    alone = of_protocol(table(row("visa")), sets, categories=("bottle",))
    assert alone.cells == ()
    encoder, model = OWN.values()
    about = replace(adapters.read(folder), encoder=encoder, language_model=model)
    plan = of_protocol(adapters.into(table(row("visa")), [about]), sets, categories=("bottle",))
    (record,) = run(plan.limited(2), tmp_path / "out", embedded)
    assert record["cell"]["options"] == {"adapter": str(folder)}
    assert record["cell"]["train_on"] == "visa"
    assert 0 <= record["figures"]["image_auroc"] <= 1
    kept = record["provenance"]["fingerprint"]
    (again,) = run(plan.limited(2), tmp_path / "out", embedded)
    assert again["provenance"]["fingerprint"] == kept
    (folder / "README.md").write_text("trained again")
    (anew,) = run(plan.limited(2), tmp_path / "out", embedded)
    assert anew["provenance"]["fingerprint"] != kept


@pytest.fixture
def ablation(named: Named) -> Callable[..., Plan]:
    """The embedded ablation of a document on bottles of each label."""

    def plan(table: str = "003/embedded", pictures: int = 2) -> Plan:
        whole = of_protocol(protocol.load(table), named("mvtec-ad"), categories=("bottle",))
        return whole.limited(pictures)

    return plan


def test_the_language_model_is_loaded_once_for_all_rows(
    ablation: Callable[..., Plan], embedded: Means, loaded: list[str], tmp_path: Path
) -> None:
    run(ablation(), tmp_path / "out", embedded)
    assert loaded == ["smollm2-135m"]


@pytest.mark.parametrize(
    ("table", "blind", "whole", "ruled"),
    [
        (
            "003/embedded",
            "LLM without map",
            "Map + prompt learner + LLM",
            "Map and calibration, no LLM",
        ),
        (
            "002/embedded",
            "IAD-GPT, no map: TGE + LLM",
            "IAD-GPT",
            "IAD-GPT, no LLM: map and calibration",
        ),
    ],
)
def test_rows_of_the_embedded_ablations_are_decided_by_what_they_name(
    table: str,
    blind: str,
    whole: str,
    ruled: str,
    ablation: Callable[..., Plan],
    embedded: Means,
    tmp_path: Path,
) -> None:
    plan = ablation(table)
    records = run(plan, tmp_path / "out", embedded)
    found = {(r["cell"]["method"], r["cell"]["shots"]): r for r in records}
    assert len(found) == len(plan.cells)
    assert not [record["failed"] for record in records if record["failed"]]
    decided = {}
    for cell in plan.cells:
        lines = (tmp_path / "out" / "cells" / cell.key / "inspections.jsonl").read_text()
        decided[cell.method, cell.shots] = {
            json.loads(line)["decided_by"] for line in lines.splitlines()
        }
    assert decided[ruled, 1] == {"calibration"}
    assert decided[whole, 0] == decided[blind, 0] == {"language model"}
    assert "pixel_auroc" in found[whole, 1]["figures"]
    assert "pixel_auroc" in found[blind, 0]["undefined"]


def test_rows_of_002_that_need_an_adapter_of_their_own_say_which(
    ablation: Callable[..., Plan], embedded: Means
) -> None:
    said = dict(ablation("002/embedded").unavailable)
    assert "(enhancer) for dinov2-small" in said["AnomalyGPT, TGE"]
    assert "(enhancer, fusion, apg) for" in said["IAD-GPT in one stage"]
    assert "anomalies both) for" in said["IAD-GPT, trained on NSA + CutPaste"]
    assert len(said) == 7


def test_a_language_model_of_its_own_is_not_the_one_that_is_given(miniature: Dataset) -> None:
    assert not asks("anomalygpt", {})
    plan = free("anomalygpt", miniature, (0, 1))
    assert not plan.asks
    assert plan.models(plan.cells[0]) == ("dinov2-small", "smollm2-135m")
    left = plan.without("smollm2-135m", "its weights are not at hand")
    assert left.cells == ()
    assert left.unavailable == (("anomalygpt", "its weights are not at hand"),)
    alone = free("anomalygpt", miniature, (1,), options={"language_model": None})
    assert alone.models(alone.cells[0]) == ("dinov2-small",)
