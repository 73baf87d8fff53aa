"""What holds for the tables of all documents."""

from __future__ import annotations

from collections import Counter

import pytest

from blemish.benchmark import adapters
from blemish.benchmark.protocol import Protocol, load, names

# Figures a table, counted by hand: rows times columns less the dashes.
FIGURES = {
    "000/table1": 15 * 7 + 6 * 7 - 1,
    "000/table2": 12 * 7 + 6 * 7 - 1,
    "000/regions": 3 * 2,
    "000/attempts": 0,
    "000/figure8": 0,
    "001/quantitative": 0,
    "002/table1": 18 * (5 * 2 + 2 * 3),
    "002/table2": 3 * (3 * 4 + 2 * 6),
    "002/table3": 2 + 3 * 3,
    "002/table4": 3 * 3,
    "002/table5": 2 * 4,
    "002/table6": 3 * 3,
    "002/table7": 3 * 2,
    "002/embedded": 0,
    "003/table2": 3 * (5 * 4 + 2),
    "003/table3": 3 * 2 + 3,
    "003/table4": 3 * 2 + 5 * 6,
    "003/embedded": 0,
    "003/figure7": 2,
    "003/figure8": 0,
    "003/max-of-normals": 6,
    "003/mvtec-to-visa": 3 * 3,
    "003/visa-to-mvtec": 3 * 3,
    "004/table1": 4 * 6 + 5 * 6,
    "004/table2": 3 + 4 * 6,
    "004/table3": 5 * 3,
    "004/table4": 3 * 3 * 6,
    "004/table5": 3 * 3 * 6,
    "004/table6": 3 * 4 + 3 * 5,
    "004/table7": 11 * 2 - 1,
}
BUILT = {
    *("gpt4v-ad", "vqa", "winclip", "patch-memory", "patchcore", "spade", "padim", "musc"),
    *("anomalygpt", "iad-gpt", "alfa", "anovl", "clip-ac"),
}
QUOTED = {
    *("SAA", "SAA+", "CLIP-AD", "CLIP-AD+", "Draem", "SimpleNet", "UniAD", "DiAD", "JNLD"),
    *("JNLD (Unified)", "Trans-MM", "MaskCLIP", "AnoVL", "AnomalyCLIP"),
    "ALFA with GPT-3, 146 prompts (only 72 manual)",  # its language model has been shut down
}
CATEGORIES = {"mvtec-ad": 15, "visa": 12}
ONE_DRAW = {"000/attempts", "001/quantitative", "002/embedded", "003/embedded", "003/figure8"}
"""With references of one seed: every answer costs money or time, or the curve is of one run."""
WITHOUT_FIGURES = {("003/figure7", "PatchCore, the best threshold of each category")}
"""Methods of a table with figures that have none themselves."""

TABLES = [(name, load(name)) for name in FIGURES]
every_table = pytest.mark.parametrize(("name", "table"), TABLES, ids=list(FIGURES))


def categories(table: Protocol, data: str) -> set[str]:
    return {one for group in table.groups.get(data, {}).values() for one in group}


def test_every_table_is_there() -> None:
    assert set(names()) == set(FIGURES)


@every_table
def test_the_table_holds_as_many_figures_as_it_prints(name: str, table: Protocol) -> None:
    assert table.id == name
    assert len(table.published) == FIGURES[name]
    keys = Counter((p.method, p.data, p.category, p.shots, p.metric) for p in table.published)
    assert not [key for key, times in keys.items() if times > 1]


@every_table
def test_figures_belong_to_runs_columns_and_categories(name: str, table: Protocol) -> None:
    runs = {run.method: run for run in table.runs}
    assert len(runs) == len(table.runs)
    for p in table.published:
        assert p.shots in runs[p.method].shots
        assert p.metric in table.metrics
        known = {"mean"} | set(table.groups.get(p.data, {})) | categories(table, p.data)
        assert p.category in known
    if table.published:
        without = {method for table_, method in WITHOUT_FIGURES if table_ == name}
        assert {p.method for p in table.published} == set(runs) - without
        assert {p.metric for p in table.published} == set(table.metrics)
        assert {p.data for p in table.published} == set(table.data)


@every_table
def test_runs_take_part_where_they_have_figures(name: str, table: Protocol) -> None:
    for run in table.runs:
        printed = {p.data for p in table.published if p.method == run.method}
        assert not printed or printed == set(run.data or table.data)
        assert set(run.data) < set(table.data) or not run.data


@every_table
def test_groups_part_all_categories(name: str, table: Protocol) -> None:
    for data, groups in table.groups.items():
        assert data in table.data
        assert sum(map(len, groups.values())) == len(categories(table, data)) == CATEGORIES[data]
        assert not set(groups) & (categories(table, data) | {"mean"})


@every_table
def test_runs_are_built_here_or_quoted(name: str, table: Protocol) -> None:
    for run in table.runs:
        if run.detector is None:
            assert run.method in QUOTED
            assert run.published_by
            assert not run.options
        else:
            assert run.detector in BUILT
            assert not run.published_by
        assert bool(run.train_on) == run.unified
        assert run.adapter.keys() <= adapters.PLAIN.keys()
        assert not run.adapter or run.train_on or name == "002/embedded"
        assert run.train_on in (None, "mvtec-ad", "visa")
        drawn = any(run.shots) and run.detector is not None and name not in ONE_DRAW
        assert run.seeds == ((0, 1, 2, 3, 4) if drawn else (0,))


@every_table
def test_no_two_runs_are_alike(name: str, table: Protocol) -> None:
    settings = [
        (
            *(run.detector, sorted(map(str, run.options.items())), run.shots, run.train_on),
            *(sorted(map(str, run.adapter.items())), run.threshold, run.perturb),
        )
        for run in table.runs
        if run.detector is not None
    ]
    assert all(settings.count(setting) == 1 for setting in settings)


@every_table
def test_tables_without_figures_say_so(name: str, table: Protocol) -> None:
    if not table.published and name != "003/figure8":
        assert "no figures published" in table.title
