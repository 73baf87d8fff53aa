"""A run without pictures for a person, as benchmarks make it."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import jsonschema

from blemish.runs import folder, recalibrate, run, sources


def test_a_run_that_is_not_drawn_has_rows_and_maps_only(
    stub: ModuleType, ten: Path, tmp_path: Path
) -> None:
    drawn = run.inspect(stub.Darkness(), sources.find(ten), tmp_path / "drawn", keep_maps=True)
    plain = run.inspect(
        stub.Darkness(), sources.find(ten), tmp_path / "plain", keep_maps=True, draw=False
    )
    assert not (plain.out / "overlays").exists()
    assert not (plain.out / "heat").exists()
    assert not plain.report.exists()
    schema = json.loads(files("blemish.runs").joinpath("inspections.schema.json").read_text())
    for row, same in zip(plain.rows, drawn.rows, strict=True):
        jsonschema.validate(row, schema)
        assert row["overlay"] is None
        assert (row["id"], row["raw_score"]) == (same["id"], same["raw_score"])
        assert (plain.out / row["map"]).read_bytes() == (drawn.out / same["map"]).read_bytes()


def test_a_run_that_is_not_drawn_can_be_moved_and_gets_its_report(
    stub: ModuleType, ten: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run.inspect(stub.Darkness(), sources.find(ten), out, draw=False)
    moved = recalibrate.move(out, 0.3)
    assert moved.stale == ()
    assert not (out / "overlays").exists()
    assert (out / folder.REPORT).is_file()
