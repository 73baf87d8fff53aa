"""The tables of documents 000 (GPT-4V-AD), 001 and 002 (IAD-GPT), checked against themselves.

Printed means are worked out again from the printed categories; figures that stand twice, in two
tables, two documents or a sentence of the text, are held against each other.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean

import pytest

from blemish.benchmark.protocol import Published, load, names

# Printed means that are not the mean of the printed categories, with that mean.
# Sums of a table's figures, and of what it prints after ±, taken from the document's text.
SUMS = {
    "002/table1": (27056.5, 0),
    "002/table2": (6488.3, 77.0),
    "002/table3": (1011.2, 0),
    "002/table4": (859.4, 0),
    "002/table5": (582.6, 0),
    "002/table6": (862.5, 0),
    "002/table7": (561.5, 0),
}
WRONG_MEANS = {("002/table1", "UniAD", "pixel_auroc", "mean"): (96.8, 96.7)}

TABLES = [name for name in names() if name[:3] in ("000", "001", "002")]
Figure = Callable[..., float]
Printed = Callable[..., Published]


@pytest.mark.parametrize("name", SUMS)
def test_the_figures_add_up_to_those_of_the_text(name: str) -> None:
    published = load(name).published
    values = sum(p.value for p in published), sum(p.spread or 0 for p in published)
    assert values == pytest.approx(SUMS[name], abs=0.05)


@pytest.mark.parametrize("name", TABLES)
def test_figures_are_plausible(name: str) -> None:
    table = load(name)
    for p in table.published:
        assert p.value == round(p.value, 1)
        if p.metric in table.units:
            assert p.value > 0
        else:
            assert 0 < p.value <= 100
        assert (p.spread is not None) == (name == "002/table2")
        assert p.spread is None or 0 < p.spread <= 5
    assert set(table.units) <= {"parameters", "flops", "throughput", "latency"}


@pytest.mark.parametrize("name", ["000/table1", "000/table2", "002/table1"])
def test_printed_means_are_those_of_the_printed_categories(name: str) -> None:
    table = load(name)
    by_category = {(p.method, p.metric, p.category): p.value for p in table.published}
    (data,) = table.data
    groups = table.groups[data]
    parts = {"mean": [part for group in groups.values() for part in group], **groups}
    wrong, checked = {}, 0
    for (method, metric, group), printed in by_category.items():
        values = [by_category.get((method, metric, part)) for part in parts.get(group, ())]
        known = [value for value in values if value is not None]
        if not known:  # A category's own figure, or a method quoted with its mean alone.
            continue
        assert len(known) == len(values)
        checked += 1
        if abs(fmean(known) - printed) > 0.06 + 1e-9:
            wrong[name, method, metric, group] = (printed, round(fmean(known), 1))
    assert checked == (3 * (5 * 2 + 2 * 3) if name == "002/table1" else 7)
    assert wrong == {key: means for key, means in WRONG_MEANS.items() if key[0] == name}


def test_wrong_means_are_told() -> None:
    for (name, method, _, _), (printed, computed) in WRONG_MEANS.items():
        assert any(
            method in line and str(printed) in line and str(computed) in line
            for line in load(name).unclear
        )


def test_abstract_of_000_agrees(figure: Figure) -> None:
    for table, data, image, pixel in (
        ("000/table1", "mvtec-ad", 77.1, 68.0),
        ("000/table2", "visa", 88.0, 76.6),
    ):
        assert figure(table, "GPT-4V-AD", "image_auroc", data=data) == image
        assert figure(table, "GPT-4V-AD", "pixel_auroc", data=data) == pixel
    lead = 88.0 - figure("000/table2", "CLIP-AD", "image_auroc", data="visa")
    assert lead == pytest.approx(6.8)


def test_superpixels_of_the_region_ablation_are_two_rows_of_table_1(figure: Figure) -> None:
    for metric in ("image_auroc", "pixel_auroc"):
        rows = [figure("000/table1", "GPT-4V-AD", metric, c) for c in ("hazelnut", "leather")]
        assert figure("000/regions", "super-pixel", metric) == pytest.approx(fmean(rows), abs=0.06)
    chosen = next(run for run in load("000/regions").runs if run.method == "super-pixel")
    assert load("000/table1").runs[0].options == chosen.options


def test_figures_of_000_that_no_ranking_has_are_told(figure: Figure) -> None:
    for name, data, category in (
        ("000/table1", "mvtec-ad", "pill"),
        ("000/table2", "visa", "pcb1"),
    ):
        auroc, ap = (
            figure(name, "GPT-4V-AD", metric, category, data=data)
            for metric in ("image_auroc", "image_ap")
        )
        assert auroc > 96
        assert any(category in line and str(ap) in line for line in load(name).unclear)


def test_each_attempt_of_000_stands_beside_the_system_itself() -> None:
    system, *attempts = load("000/attempts").runs
    assert system.options == load("000/table1").runs[0].options
    (repeated,) = load("000/figure8").runs
    assert repeated.options == system.options | {"repeats": 10}
    for run in attempts:
        # What is not the attempt's own is as in the system: no other option is set.
        assert len({*run.options.items()} - {*system.options.items()}) <= 2, run.method
        assert all(name in run.options for name in system.options) or set(run.options) in (
            {"regions"},
            {"heat", "map_source"},
        )
        assert run.shots == (run.options.get("references", int("map_source" in run.options)),)


def test_001_asks_each_prompt_kind_in_both_settings() -> None:
    table = load("001/quantitative")
    assert "no figures published" in table.title
    asked = {(r.options["prompt"], r.shots, r.perturb) for r in table.runs if r.detector == "vqa"}
    kinds = ("naive", "class", "expertise")
    changes = ((), ("light",), ("occlusion",))
    assert asked == {(k, shots, p) for k in kinds for shots in ((0,), (1,)) for p in changes}
    assert {run.detector for run in table.runs} == {"vqa", "winclip", "patch-memory", "patchcore"}


def test_001_changes_light_and_occlusion_for_every_method() -> None:
    runs = {run.method: run for run in load("001/quantitative").runs}
    for words, change in ((", changed light", "light"), (", occlusion", "occlusion")):
        changed = {name.removesuffix(words): runs[name] for name in runs if name.endswith(words)}
        assert set(changed) == {name for name, run in runs.items() if not run.perturb}
        for name, run in changed.items():
            assert run == runs[name].model_copy(update={"method": run.method, "perturb": (change,)})


@pytest.mark.parametrize(
    ("metric", "gain"), [("image_auroc", 0.3), ("pixel_auroc", 4.2), ("accuracy", 1.5)]
)
def test_gains_named_in_002_follow_from_table_1(figure: Figure, metric: str, gain: float) -> None:
    ours, theirs = (figure("002/table1", method, metric) for method in ("IAD-GPT", "AnomalyGPT"))
    assert ours - theirs == pytest.approx(gain)


@pytest.mark.parametrize(("data", "gain"), [("mvtec-ad", 3.4), ("visa", 1.7)])
def test_gains_named_in_002_follow_from_table_2(figure: Figure, data: str, gain: float) -> None:
    way = "VisA to MVTec AD" if data == "mvtec-ad" else "MVTec AD to VisA"
    ours, theirs = (
        figure("002/table2", f"{method}, {way}", "accuracy", data=data, shots=1)
        for method in ("IAD-GPT", "AnomalyGPT")
    )
    assert ours - theirs == pytest.approx(gain)


def test_ablations_of_002_end_in_the_system_of_table_1(figure: Figure) -> None:
    for metric in ("image_auroc", "pixel_auroc", "accuracy"):
        whole = figure("002/table1", "IAD-GPT", metric)
        assert figure("002/table6", "IAD-GPT, multi-stage", metric) == whole
        single = figure("002/table6", "IAD-GPT", metric)
        assert figure("002/table3", "IAD-GPT, TGE", metric) == single
        assert figure("002/table4", "APG, MMF", metric) == single
        base = figure("002/table6", "AnomalyGPT", metric)
        assert figure("002/table3", "AnomalyGPT", metric) == base
        assert figure("002/table4", "Prompt Learner", metric) == base
        if metric != "accuracy":
            assert figure("002/table7", "NSA", metric) == whole
    assert figure("002/table5", "MMF", "accuracy") == figure("002/table1", "IAD-GPT", "accuracy")
    alone, enhanced = (figure("002/table3", m, "accuracy") for m in ("PandaGPT", "TGE"))
    assert enhanced - alone == pytest.approx(10.1)


def test_adapters_of_the_ablations_of_002_follow_their_rows(figure: Figure) -> None:
    for run in load("002/table3").runs:
        assert run.adapter.get("enhancer", False) == ("TGE" in run.method)
        alone = run.method in ("PandaGPT", "TGE")
        assert (run.options.get("decoder") is False) == alone
    panda, *_ = load("002/table3").runs
    there, *_ = load("003/table4").runs
    assert (panda.detector, panda.options, panda.train_on) == ("anomalygpt", there.options, None)
    accuracy = figure("003/table4", there.method, "accuracy")
    assert figure("002/table3", "PandaGPT", "accuracy") == accuracy
    for run in load("002/table4").runs:
        ticks = {"apg": "APG" in run.method, "fusion": "MMF" in run.method}
        assert {name: run.adapter.get(name, False) for name in ticks} == ticks
    rows = load("002/table6").runs
    assert [run.adapter.get("staged", False) for run in rows] == [False, False, True]
    ways = [run.adapter.get("anomalies", "nsa") for run in load("002/table7").runs]
    assert ways == ["nsa", "cutpaste", "both"]


def test_iad_gpt_is_whole_but_for_what_a_row_leaves_out() -> None:
    whole = ("enhancer", "fusion", "apg", "staged")
    less = {}
    for name in (name for name in names() if name.startswith("002/")):
        for run in load(name).runs:
            if run.detector != "iad-gpt":
                assert run.adapter in ({}, {"enhancer": True})
            elif missing := {part for part in whole if not run.adapter.get(part, False)}:
                less[name, run.method] = missing
    # Tables III and IV have the figures of training in one stage (table VI).
    assert less == {
        ("002/table3", "IAD-GPT, TGE"): {"staged"},
        ("002/table4", "APG, Prompt Learner"): {"enhancer", "fusion", "staged"},
        ("002/table4", "APG, MMF"): {"staged"},
        ("002/table6", "IAD-GPT"): {"staged"},
        ("002/embedded", "IAD-GPT without TGE"): {"enhancer"},
        ("002/embedded", "IAD-GPT, prompt learner in place of MMF"): {"fusion"},
        ("002/embedded", "IAD-GPT without APG"): {"apg"},
        ("002/embedded", "IAD-GPT in one stage"): {"staged"},
    }


def test_few_shot_models_of_002_come_from_the_other_set() -> None:
    for p in load("002/table2").published:
        (run,) = [r for r in load("002/table2").runs if r.method == p.method]
        if run.train_on is not None:
            assert run.train_on in {"mvtec-ad", "visa"} - {p.data}


@pytest.mark.parametrize("data", ["mvtec-ad", "visa"])
@pytest.mark.parametrize("shots", [1, 2, 4])
@pytest.mark.parametrize("method", ["SPADE", "PatchCore", "WinCLIP", "AnomalyGPT"])
def test_002_and_003_print_the_same_few_shot_figures(
    one: Printed, method: str, shots: int, data: str
) -> None:
    way = "VisA to MVTec AD" if data == "mvtec-ad" else "MVTec AD to VisA"
    trained = method == "AnomalyGPT"
    here = f"{method}, {way}" if trained else method
    there = f"{method} (ours), {way}" if trained else method
    for metric in ("image_auroc", "pixel_auroc", *(["accuracy"] if trained else [])):
        ours = one("002/table2", here, metric, data=data, shots=shots)
        theirs = one("003/table2", there, metric, data=data, shots=shots)
        assert (ours.value, ours.spread) == (theirs.value, theirs.spread)


def test_002_and_003_print_the_same_unified_figures(figure: Figure) -> None:
    for metric in ("image_auroc", "pixel_auroc", "accuracy"):
        there = figure("003/table3", "AnomalyGPT (ours)", metric)
        assert figure("002/table1", "AnomalyGPT", metric) == there
        if metric != "accuracy":
            there = figure("003/table3", "UniAD", metric, shots=None)
            assert figure("002/table1", "UniAD", metric, shots=None) == there
