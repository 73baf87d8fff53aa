"""`blemish datasets` in front of a person: words, a table and exit codes."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from blemish.cli.datasets import app
from blemish.errors import DatasetError, OptionError


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("COLUMNS", "160")
    return CliRunner()


def test_a_clean_folder(run: CliRunner, layouts: ModuleType, tmp_path: Path) -> None:
    said = run.invoke(app, ["check", str(layouts.MINIATURES["one"].write(tmp_path / "one"))])
    assert said.exit_code == 0
    lines = [line.split() for line in said.stdout.splitlines()]
    assert "A folder of your own (folder), licence: your own\n" in said.stdout
    assert ["one", "train", "3", "0", "0", "-"] in lines
    assert ["one", "test", "1", "2", "2", "-"] in lines
    assert said.stdout.endswith("Nothing is missing, unpaired or unreadable.\n")


def test_problems_are_told_by_sort(run: CliRunner, layouts: ModuleType, tmp_path: Path) -> None:
    root = layouts.MINIATURES["mvtec-ad"].write(tmp_path)
    (root / "screw/ground_truth/thread_top/000_mask.png").unlink()
    (root / "screw/test/good/000.png").write_bytes(b"[red]hello")
    said = run.invoke(app, ["check", str(root)])
    assert said.exit_code == 3
    assert "MVTec AD (mvtec-ad), licence: CC BY-NC-SA 4.0" in said.stdout
    assert "209 + 0" in said.stdout
    assert "Not here: cable, capsule," in said.stdout
    assert "Unpaired: 1\n  screw/test/thread_top/000.png: An anomalous picture" in said.stdout
    assert "Unreadable: 1\n  screw/test/good/000.png: " in said.stdout
    assert "Other counts than published: 4\n" in said.stdout
    assert "published are 320 and 0" in said.stdout


def test_of_many_problems_the_first_are_told(
    run: CliRunner, layouts: ModuleType, tmp_path: Path
) -> None:
    root = layouts.MINIATURES["one"].write(tmp_path)
    for n in range(100, 115):
        layouts.draw_mask(root / f"ground_truth/dull/{n}_mask.png")
    said = run.invoke(app, ["check", str(root)])
    assert said.exit_code == 3
    assert "Unpaired: 15\n" in said.stdout
    assert said.stdout.count("A mask without its picture") == 10
    assert "and 5 more" in said.stdout


def test_no_label_has_a_column_where_it_occurs(
    run: CliRunner, layouts: ModuleType, tmp_path: Path
) -> None:
    said = run.invoke(app, ["check", str(layouts.MINIATURES["mvtec-ad-2"].write(tmp_path))])
    assert said.exit_code == 0
    assert "no label" in said.stdout
    assert "kept by MVTec's server" in said.stdout


def test_where_nothing_fits_the_error_reaches_main(run: CliRunner, tmp_path: Path) -> None:
    # `main` ends every error of blemish with exit code 2.
    said = run.invoke(app, ["check", str(tmp_path)])
    assert isinstance(said.exception, DatasetError)
    assert "looks like no data set" in str(said.exception)


def test_list_names_every_set_with_its_licence(run: CliRunner) -> None:
    said = run.invoke(app, ["list"])
    assert said.exit_code == 0
    assert "visa: VisA, licence: CC BY 4.0" in said.stdout
    assert "Not read yet" in said.stdout


def test_the_cells_are_fetched_and_told_with_their_licence(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("blemish.datasets.solar_cells.fetch", lambda progress: tmp_path / "cells")
    said = run.invoke(app, ["fetch", "solar-cells"])
    assert said.exit_code == 0
    assert said.stdout.strip() == str(tmp_path / "cells")
    assert "CC BY-NC-SA 4.0" in said.stderr


def test_what_cannot_be_fetched_is_said(run: CliRunner) -> None:
    said = run.invoke(app, ["fetch", "mvtec-ad"])
    assert isinstance(said.exception, OptionError)
    assert "solar-cells can" in str(said.exception)
