"""The grid of pictures: which are chosen, where the truth lies, and that colours mean one thing."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from typer import Typer
from typer.testing import CliRunner

from blemish.benchmark import grid
from blemish.benchmark.figure import figure
from blemish.benchmark.folder import BENCH, FIGURES, FORMAT, TRUTH
from blemish.calibration import Calibration
from blemish.cli.figure import figure as command
from blemish.errors import ImageError, InputError, OptionError
from blemish.images import content_hash, read_image
from blemish.report import letters
from blemish.runs import folder as run_folder
from blemish.runs.pictures import write_maps

POINT = Calibration(location=0.0, scale=0.3, n=16, df=19.0)
"""Raw scores of 1 are ordinary, of 10 certainly anomalous."""
HEIGHT, WIDTH = 40, 50
KINDS = {"crack/1.png": "crack", "crack/2.png": "crack", "hole/3.png": "hole", "good/4.png": "good"}
GREEN = np.array([0, 230, 118])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two categories of four pictures; broken ones have a square mask in one corner."""
    for number, name in enumerate(f"{c}/{kind}" for c in ("cup", "jug") for kind in KINDS):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.full((HEIGHT, WIDTH, 3), 100 + number, np.uint8)).save(path)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[5:15, 5:15] = 255
        PIL.Image.fromarray(mask).save(path.with_suffix(".mask.png"))
    return tmp_path / "data"


def bench(
    out: Path,
    pictures: Path,
    method: str = "m",
    *,
    high: Mapping[str, float] | None = None,
    point: Calibration | None = POINT,
    maps: bool = True,
) -> Path:
    """A benchmark whose maps are 1, and `high` in the right half of the pictures it names."""
    keys = {}
    for category in ("cup", "jug"):
        key = f"d/{category}/{method}/1-shot-seed0"
        here = out / "cells" / key
        here.mkdir(parents=True)
        about = {"data": "d", "category": category, "method": method, "shots": 1, "seed": 0}
        rows, truth = [], []
        for kind_name, kind in KINDS.items():
            name = f"{category}/{kind_name}"
            raw = np.ones((HEIGHT, WIDTH), np.float32)
            raw[:, WIDTH // 2 :] = (high or {}).get(name, 1.0)
            write_maps(here / "maps" / f"{kind}-{kind_name[-5]}.tiff", [raw])
            label = "normal" if kind == "good" else "anomalous"
            path = pictures / name
            rows.append(
                {
                    "id": name, "path": str(path), "sha256": content_hash(path), "label": label,
                    "verdict": "normal", "score": 0.1, "raw_score": 1.0, "regions": [],
                    "overlay": None,
                    "map": f"maps/{kind}-{kind_name[-5]}.tiff" if maps else None,
                }
            )  # fmt: skip
            masks = [str(path.with_suffix(".mask.png"))] if kind != "good" else []
            truth.append({"id": name, "label": label, "kind": kind, "masks": masks})
        calibration = point.to_json() if point else None
        run_folder.write_record(here, {"detector": {"name": method}, "calibration": calibration})
        run_folder.write_rows(here, rows)
        (here / TRUTH).write_text("".join(json.dumps(line) + "\n" for line in truth))
        (here / FIGURES).write_text(json.dumps({"cell": about}))
        keys[key] = about
    (out / BENCH).write_text(json.dumps({"format": FORMAT, "cells": keys}))
    return out


def pixels(path: Path) -> NDArray[np.int64]:
    return read_image(path).astype(np.int64)


def near(found: NDArray[np.int64], colour: NDArray[Any], off: int = 12) -> NDArray[np.bool_]:
    close: NDArray[np.bool_] = (np.abs(found - colour) <= off).all(axis=-1)
    return close


def test_rows_are_the_first_broken_ones_by_id(tmp_path: Path, pictures: Path) -> None:
    run = bench(tmp_path / "a", pictures)

    shown = figure([run], tmp_path / "a.png")
    each = figure([run], tmp_path / "b.png", per="kind")
    more = figure([run], tmp_path / "c.png", count=2)

    assert shown == ("cup/crack/1.png", "jug/crack/1.png")
    assert each == (
        *("cup/crack/1.png", "cup/hole/3.png"),
        *("jug/crack/1.png", "jug/hole/3.png"),
    )
    assert more == (
        *("cup/crack/1.png", "cup/crack/2.png"),
        *("jug/crack/1.png", "jug/crack/2.png"),
    )


def test_pictures_can_be_named(tmp_path: Path, pictures: Path) -> None:
    run = bench(tmp_path / "a", pictures)

    shown = figure([run], tmp_path / "a.png", images=["jug/good/4.png", "cup/hole/3.png"])

    assert shown == ("jug/good/4.png", "cup/hole/3.png")
    with pytest.raises(InputError, match=r"No picture jug/5\.png is in all runs"):
        figure([run], tmp_path / "a.png", images=["jug/5.png"])


def test_it_fits_the_width_of_a_page(tmp_path: Path, pictures: Path) -> None:
    runs = [bench(tmp_path / name, pictures, name) for name in ("a", "b", "c")]

    figure(runs, tmp_path / "a.png")

    with PIL.Image.open(tmp_path / "a.png") as picture:
        assert picture.width == 2000
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)  # 17 cm


def test_colours_do_not_depend_on_the_picture(tmp_path: Path, pictures: Path) -> None:
    """The same raw value has the same colour, whatever else its picture holds."""
    high = {"cup/crack/1.png": 10.0}
    figure([bench(tmp_path / "a", pictures, high=high)], tmp_path / "a.png")

    found = pixels(tmp_path / "a.png")

    top = grid._palette()[255].astype(np.int64)
    low = grid._palette()[round(255 * float(POINT.score(1.0)))].astype(np.int64)
    bright = np.argwhere(near(found, top))
    dark = np.argwhere(near(found, low, 3))
    third = 2000 - (2000 - 108 - 3 * 14) // 3  # where the column of the map begins
    bright, dark = bright[bright[:, 1] > third - 10], dark[dark[:, 1] > third - 10]
    assert bright.size, "a certain defect has the top of the scale"
    # The first row is half bright; the second, whose map is even, is as dark as its other half.
    middle = (bright[:, 0].max() + found.shape[0]) // 2
    assert (dark[:, 0] < bright[:, 0].max()).sum() > 50_000
    assert (dark[:, 0] > bright[:, 0].max() + 20).sum() > 100_000
    assert bright[:, 0].max() < middle
    assert bright[:, 1].min() > third + 200, "the left half is no defect"


def test_a_method_without_a_calibration_states_its_range(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    plain = grid._text

    def listening(pen: Any, at: Any, lines: Any, size: int, **rest: Any) -> None:
        said.extend(lines)
        plain(pen, at, lines, size, **rest)

    monkeypatch.setattr(grid, "_text", listening)
    high = {"cup/crack/1.png": 10.0}

    figure([bench(tmp_path / "a", pictures, high=high, point=None)], tmp_path / "a.png")

    assert "raw 1 to 10" in said
    assert not any("Calibrated" in text for text in said)


def test_the_truth_is_outlined_where_the_mask_is(tmp_path: Path, pictures: Path) -> None:
    figure([bench(tmp_path / "a", pictures)], tmp_path / "a.png")

    found = np.argwhere(near(pixels(tmp_path / "a.png"), GREEN))

    wide = (2000 - 108 - 3 * 14) // 3
    scale = wide / WIDTH
    left = 108 + 14 + wide + 14
    columns = found[:, 1] - left
    # The mask covers 5 to 15 of 50 columns; the line runs some pixels outside of it.
    assert 5 * scale - 14 < columns.min() < 5 * scale
    assert 15 * scale < columns.max() < 15 * scale + 14


def test_what_is_missing_is_written_in_its_place(tmp_path: Path, pictures: Path) -> None:
    run = bench(tmp_path / "a", pictures, maps=False)
    (pictures / "jug/crack/1.mask.png").unlink()

    assert figure([run], tmp_path / "a.png") == ("cup/crack/1.png", "jug/crack/1.png")


def test_runs_over_other_pictures_are_refused(tmp_path: Path, pictures: Path) -> None:
    a = bench(tmp_path / "a", pictures)
    for path in pictures.rglob("[0-9].png"):
        PIL.Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(path)
    b = bench(tmp_path / "b", pictures)

    with pytest.raises(InputError, match="no picture in common"):
        figure([a, b], tmp_path / "a.png")
    with pytest.raises(ImageError, match="has changed"):
        figure([a], tmp_path / "a.png")
    with pytest.raises(OptionError, match="at least 1"):
        figure([b], tmp_path / "a.png", count=0)


def test_methods_of_one_name_are_told_apart(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[str] = []
    plain = grid.draw

    def listening(titles: Any, *rest: Any) -> bytes:
        heads.extend(titles)
        return plain(titles, *rest)

    monkeypatch.setattr(grid, "draw", listening)
    runs = [bench(tmp_path / name, pictures, "m") for name in ("a", "b")]

    figure(runs, tmp_path / "a.png")

    assert heads == ["m\n1 shot (1)", "m\n1 shot (2)"]


def test_a_long_title_is_wrapped_or_cut() -> None:
    font = letters.font(36)

    lines = letters.wrapped(
        "a method with a long name and Donaudampfschifffahrtsgesellschaft", font, 300
    )

    assert len(lines) > 2
    assert all(font.getlength(line) <= 300 for line in lines)
    assert lines[-1].endswith("…")


def test_the_command_names_what_it_drew(tmp_path: Path, pictures: Path) -> None:
    run = bench(tmp_path / "a", pictures)
    app = Typer()
    app.command()(command)

    out = tmp_path / "grid.png"
    said = CliRunner().invoke(app, [str(run), "--out", str(out), "--per", "kind"])

    assert said.exit_code == 0, said.output
    assert said.output.splitlines()[:2] == ["cup/crack/1.png", "cup/hole/3.png"]
    assert PIL.Image.open(io.BytesIO(out.read_bytes())).format == "PNG"
