"""The table of a benchmark, held against figures worked out by hand."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from blemish.benchmark import table, table_layout
from blemish.benchmark.averages import Row
from blemish.benchmark.protocol import Protocol
from blemish.errors import OptionError
from blemish.images import read_image


def cell(
    category: str,
    seed: int = 0,
    figures: Mapping[str, float] | None = None,
    undefined: Mapping[str, str] | None = None,
    **about: Any,
) -> dict[str, Any]:
    """What a cell's figures.json holds."""
    return {
        "cell": {
            "data": "mvtec-ad",
            "category": category,
            "method": "M",
            "detector": "patch-memory",
            "shots": 1,
            "seed": seed,
            **about,
        },
        "figures": dict(figures or {}),
        "undefined": dict(undefined or {}),
        "computed": {"eval_size": "native"},
        "provenance": {
            "version": "0.1.0",
            "command": "blemish bench x",
            "weights": {"dinov2-small": "ab"},
        },
    }


def protocol(**changes: Any) -> Protocol:
    """Two categories; a method that is run and one that is only quoted."""
    values: dict[str, Any] = {
        "id": "009/made",
        "title": "Made up",
        "source": "Nobody",
        "data": ("mvtec-ad",),
        "categories": {"mvtec-ad": ("bottle", "cable")},
        "metrics": ("image_auroc",),
        "runs": (
            {"method": "M", "detector": "patch-memory", "shots": (1,), "seeds": (0, 1)},
            {"method": "Q", "published_by": "Somebody, 2001"},
        ),
        "published": (
            {"method": "M", "data": "mvtec-ad", "shots": 1, "metric": "image_auroc",
             "value": 80.0, "spread": 1.5},
            {"method": "Q", "data": "mvtec-ad", "shots": 1, "metric": "image_auroc",
             "value": 70.0},
        ),
    }  # fmt: skip
    return Protocol.model_validate(values | changes)


def worked() -> list[dict[str, Any]]:
    """Bottle 0.90 and 0.94, cable 0.70 and 0.78: means of the seeds are 0.80 and 0.86."""
    figures = {("bottle", 0): 0.90, ("bottle", 1): 0.94, ("cable", 0): 0.70, ("cable", 1): 0.78}
    return [cell(name, seed, {"image_auroc": value}) for (name, seed), value in figures.items()]


def row(made: table.Table, category: str, method: str = "M", seed: int | None = None) -> Row:
    (found,) = [
        one for one in made.rows if (one.category, one.method, one.seed) == (category, method, seed)
    ]
    return found


def sheet(folder: Path) -> list[dict[str, str]]:
    """The lines of table.csv."""
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_means_spreads_and_differences_are_those_worked_out_by_hand() -> None:
    made = table.collect(worked(), protocol())

    mean = row(made, "mean")
    # The mean of 80 and 86 is 83; they are 6 apart, so that s = 6 / sqrt(2).
    assert mean.ours == pytest.approx(83.0)
    assert mean.spread == pytest.approx(6 / math.sqrt(2))
    assert (mean.seeds, mean.counted, mean.of, mean.unit) == (2, 2, 2, "%")
    assert (mean.published, mean.published_spread) == (80.0, 1.5)
    assert mean.difference == pytest.approx(3.0)
    bottle = row(made, "bottle")
    assert bottle.ours == pytest.approx(92.0)
    assert bottle.spread == pytest.approx(4 / math.sqrt(2))
    assert row(made, "mean", seed=1).ours == pytest.approx(86.0)
    assert row(made, "cable", seed=0).ours == pytest.approx(70.0)


def test_groups_are_means_of_their_categories() -> None:
    made = table.collect(worked(), protocol(groups={"mvtec-ad": {"glass": ("bottle",)}}))

    assert row(made, "glass").ours == pytest.approx(92.0)
    assert row(made, "glass").level == "group"


def test_an_undefined_category_leaves_every_seed_of_the_mean_and_is_counted() -> None:
    cells = worked()
    cells[3] = cell("cable", 1, undefined={"image_auroc": "all labels are the same"})

    mean = row(made := table.collect(cells, protocol()), "mean")

    assert mean.ours == pytest.approx(92.0)  # bottle alone, in both seeds
    assert (mean.counted, mean.of) == (1, 2)
    assert mean.difference is None, "a mean of other categories is no mean to compare"
    assert "cable, seed 1: all labels are the same" in mean.note
    assert row(made, "cable").ours == pytest.approx(70.0)
    assert row(made, "cable").seeds == 1


def test_categories_that_did_not_run_are_missing_from_the_mean_by_name() -> None:
    mean = row(table.collect(worked()[:2], protocol()), "mean")

    assert (mean.counted, mean.of, mean.difference) == (1, 2, None)
    assert mean.note == "not run: cable"


def test_a_quoted_method_and_one_that_did_not_run_have_their_published_figures_only() -> None:
    made = table.collect(worked(), protocol())

    quoted = row(made, "mean", "Q")
    assert (quoted.ours, quoted.published, quoted.quoted) == (None, 70.0, True)
    (block,) = table_layout.means(made)
    assert [line[:3] for line in block.lines] == [
        ("M", "ours", "83.0 ± 4.2"),
        ("", "published", "80.0 ± 1.5"),
        ("", "difference", "+3.0"),
        ("Q", "published only", "70.0"),
    ]
    (unrun,) = table_layout.means(table.collect([], protocol()))
    assert unrun.lines[0][:2] == ("M", "published, not run")


def test_seconds_stay_seconds() -> None:
    made = table.collect([cell("bottle", figures={"latency": 0.25})], None)

    assert (row(made, "mean").ours, row(made, "mean").unit) == (0.25, "s")


def test_shots_are_columns_where_there_are_several() -> None:
    cells = [
        cell("bottle", figures={"image_auroc": 0.9}, method=method, shots=shots)
        for method in ("M", "N")
        for shots in (4, 1)
    ]

    (block,) = table_layout.means(table.collect(cells, None))

    assert block.head == ("method", "1 shot", "4 shots")
    assert [line[0] for line in block.lines] == ["M", "N"]


def test_two_cells_of_one_place_are_refused() -> None:
    with pytest.raises(OptionError, match="Two cells came for mvtec-ad, bottle, M, 1, 0"):
        table.collect([cell("bottle"), cell("bottle")], None)


def test_csv_runs_no_formula_and_keeps_numbers(tmp_path: Path) -> None:
    cells = [
        cell("bottle", figures={"image_auroc": 0.5}, method="=cmd|' /C calc'!A0"),
        cell("@SUM(A1)", figures={"image_auroc": 0.5}, method="=cmd|' /C calc'!A0"),
    ]
    worse = protocol(
        published=(
            {"method": "M", "data": "mvtec-ad", "category": "bottle", "shots": 1,
             "metric": "image_auroc", "value": 80.0},
        )
    )  # fmt: skip

    table.write(table.collect(cells, None), tmp_path / "a")
    table.write(table.collect([cell("bottle", figures={"image_auroc": 0.5})], worse), tmp_path)

    lines = sheet(tmp_path / "a")
    assert {line["method"] for line in lines} == {"'=cmd|' /C calc'!A0"}
    assert "'@SUM(A1)" in {line["category"] for line in lines}
    lines = sheet(tmp_path)
    assert float(lines[0]["difference"]) == -30.0


def test_every_figure_says_how_it_was_computed(tmp_path: Path) -> None:
    table.write(table.collect(worked(), protocol()), tmp_path)

    for line in sheet(tmp_path):
        if line["ours"]:
            assert json.loads(line["computed"]) == {"eval_size": "native"}
            assert json.loads(line["weights"]) == {"dinov2-small": "ab"}
            assert (line["version"], line["command"]) == ("0.1.0", "blemish bench x")
    record = json.loads((tmp_path / "figures.json").read_text())
    assert record["protocol"] == "009/made"
    assert len(record["cells"]) == 4


def test_parquet_holds_the_rows(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    made = table.collect(worked(), protocol())

    assert table.write(made, tmp_path) == ()

    rows = parquet.read_table(tmp_path / "table.parquet").to_pylist()
    assert [one["ours"] for one in rows] == [one.ours for one in made.rows]
    assert {type(one["seeds"]) for one in rows} == {int}


def test_without_the_extra_the_rest_is_written_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pyarrow", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)

    notes = table.write(table.collect(worked(), protocol()), tmp_path)

    assert len(notes) == 2
    assert all('pip install "blemish[bench]"' in note for note in notes)
    assert {path.name for path in tmp_path.iterdir()} == {"table.md", "table.csv", "figures.json"}
    page = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "table.parquet was left out" in page
    assert "plot.png was left out" in page


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    odd = "a|b <script>\n# *c*"
    table.write(
        table.collect([cell(odd, figures={"image_auroc": 1.0}, method=odd)], None), tmp_path
    )

    page = (tmp_path / "table.md").read_text(encoding="utf-8")

    assert "\n# *c*" not in page
    assert "<script>" not in page.replace("\\<script\\>", "")
    for block in page.split("\n\n"):
        lines = [line for line in block.split("\n") if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in lines}) <= 1


def test_the_plot_shows_figures_and_curves(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    several = [
        cell("bottle", seed, {"image_auroc": value}, shots=shots)
        for shots, seed, value in ((1, 0, 0.8), (1, 1, 0.9), (4, 0, 0.9), (4, 1, 0.95))
    ]
    table.write(table.collect(several, None), tmp_path)
    one = read_image(tmp_path / "plot.png")
    for each in several:
        each["curve"] = [(0.1, 0.5), (0.3, 0.8), (0.6, 0.6)]

    table.write(table.collect(several, None), tmp_path)

    more = read_image(tmp_path / "plot.png")
    blue = (np.abs(one.astype(int) - (31, 119, 180)) < 8).all(axis=2)
    assert blue.sum() > 500, "ours is drawn in the first colour"
    assert more.shape[1] > one.shape[1], "each curve has a panel"


def test_the_screen_shows_means_and_few_categories() -> None:
    console = Console(width=100, record=True, file=io.StringIO())

    table.show(table.collect(worked(), protocol(units={"image_auroc": "s"})), console)

    said = console.export_text()
    assert "83.0 ± 4.2" not in said  # no per cent: three digits
    assert "83 ± 4.24" in said
    assert "[s]" in said, "square brackets are no markup"
    assert "cable" in said
