"""Comparisons, against plain loops over the same draws and cases with a known answer."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from sklearn.metrics import roc_auc_score
from typer import Typer
from typer.testing import CliRunner

from blemish.benchmark import bootstrap, compare, compare_page
from blemish.benchmark.folder import BENCH, FIGURES, FORMAT
from blemish.cli.compare import compare as command
from blemish.errors import InputError, SavedError
from blemish.images import content_hash
from blemish.runs import folder as run_folder

Said = tuple[str, str | None, str, float]
"""A picture: id, label, verdict, raw score."""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of small pictures, each of another grey."""
    (tmp_path / "pictures").mkdir()
    for number in range(12):
        grey = np.full((8, 9, 3), number * 20, np.uint8)
        PIL.Image.fromarray(grey).save(tmp_path / "pictures" / f"{number:02}.png")
    return tmp_path / "pictures"


def run(out: Path, said: Sequence[Said], pictures: Path | None = None, **row: Any) -> Path:
    """A run folder. Pictures that are not on disk have their id as their content."""
    rows = []
    for name, label, verdict, score in said:
        path = (pictures or Path("/nowhere")) / name
        sha256 = content_hash(path) if pictures else name
        rows.append(
            {
                "id": name, "path": str(path), "sha256": sha256, "verdict": verdict,
                "score": min(max(score, 0.0), 1.0), "raw_score": score,
                "decided_by": "calibration", "reason": "", "regions": [], "explanation": "",
                "evidence": {}, "usage": {}, "overlay": None, "label": label, **row,
            }
        )  # fmt: skip
    out.mkdir(parents=True)
    run_folder.write_record(out, {"detector": {"name": out.name}, "calibration": None})
    run_folder.write_rows(out, rows)
    return out


def random_run(out: Path, seed: int, count: int = 60) -> tuple[Path, list[Said]]:
    random = np.random.default_rng(seed)
    said: list[Said] = []
    for number in range(count):
        label = "anomalous" if number % 3 == 0 else "normal"
        score = round(float(random.normal(number % 3 == 0, 1.0)), 1)  # rounded: there are ties
        said.append((f"{number:03}", label, "anomalous" if score > 0.5 else "normal", score))
    return run(out, said), said


def bench(out: Path, cells: dict[tuple[str, str, int], Sequence[Said]], shots: int = 1) -> Path:
    """A benchmark's folder, from category, method and seed to what was found."""
    keys = {}
    for (category, method, seed), said in cells.items():
        key = f"d/{category}/{method}/{shots}-shot-seed{seed}"
        run(out / "cells" / key, said)
        about = {"data": "d", "category": category, "method": method, "shots": shots, "seed": seed}
        (out / "cells" / key / FIGURES).write_text(json.dumps({"cell": about}))
        keys[key] = about
    (out / BENCH).write_text(json.dumps({"format": FORMAT, "cells": keys}))
    return out


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    a, _ = random_run(tmp_path / "a", 0)
    b, _ = random_run(tmp_path / "b", 0)

    found = compare.compare(a, b)

    assert [(one.b - one.a, one.low, one.high) for one in found.differences] == [(0, 0, 0)] * 2
    assert found.changed == []
    assert found.left_out == {}


def test_figures_and_intervals_equal_plain_loops(tmp_path: Path) -> None:
    a, first = random_run(tmp_path / "a", 1)
    b, second = random_run(tmp_path / "b", 2)

    auroc, accuracy = compare.compare(a, b, seed=3, draws=200).differences

    labels = np.array([label == "anomalous" for _, label, _, _ in first])
    scores = [np.array([score for *_, score in said]) for said in (first, second)]
    right = [np.array([v == label for _, label, v, _ in said]) for said in (first, second)]
    differences: dict[str, list[float]] = {"auroc": [], "accuracy": []}
    for counts in bootstrap.draw(labels, 200, np.random.default_rng(3)):
        drawn = [place for place, times in enumerate(counts) for _ in range(times)]
        areas = [roc_auc_score(labels[drawn], one[drawn]) for one in scores]
        differences["auroc"].append(areas[1] - areas[0])
        differences["accuracy"].append(right[1][drawn].mean() - right[0][drawn].mean())
    for found, name in ((auroc, "auroc"), (accuracy, "accuracy")):
        low, high = np.percentile(differences[name], [2.5, 97.5])
        assert found.low == pytest.approx(low)
        assert found.high == pytest.approx(high)
    assert auroc.a == pytest.approx(roc_auc_score(labels, scores[0]))
    assert accuracy.b == pytest.approx(right[1].mean())


def test_draws_keep_each_label_and_favour_no_picture() -> None:
    anomalous = np.array([True] * 3 + [False] * 7)

    counts = bootstrap.draw(anomalous, 4000, np.random.default_rng(0))

    assert (counts[:, :3].sum(1) == 3).all()
    assert (counts[:, 3:].sum(1) == 7).all()
    assert counts.mean(0) == pytest.approx(np.ones(10), abs=0.06)
    # Drawing n of n with replacement: a picture's count has the variance 1 - 1/n.
    assert counts[:, 3:].var(0) == pytest.approx(np.full(7, 6 / 7), abs=0.06)


def test_the_interval_of_an_accuracy_is_that_of_the_normal_distribution(tmp_path: Path) -> None:
    # B is right on 100 of 400 pictures more, which leaves a standard error of
    # sqrt(0.25 * 0.75 / 400) = 0.02165 around 0.25.
    a = [(f"{n}", "normal", "anomalous", 0.0) for n in range(400)]
    b = [(f"{n}", "normal", "normal" if n < 100 else "anomalous", 0.0) for n in range(400)]

    (found,) = compare.compare(run(tmp_path / "a", a), run(tmp_path / "b", b)).differences

    assert found.b - found.a == pytest.approx(0.25)
    error = math.sqrt(0.25 * 0.75 / 400)
    assert found.low == pytest.approx(0.25 - 1.96 * error, abs=0.004)
    assert found.high == pytest.approx(0.25 + 1.96 * error, abs=0.004)


def test_one_label_defines_no_auroc_and_no_label_no_figure(tmp_path: Path) -> None:
    same: list[Said] = [("1", "normal", "normal", 0.1), ("2", "normal", "anomalous", 0.2)]
    none: list[Said] = [(name, None, verdict, score) for name, _, verdict, score in same]
    moved: list[Said] = [("1", None, "anomalous", 0.9), ("2", None, "anomalous", 0.2)]

    one = compare.compare(run(tmp_path / "a", same), run(tmp_path / "b", same))
    other = compare.compare(run(tmp_path / "c", none), run(tmp_path / "d", moved))

    assert [found.figure for found in one.differences] == ["accuracy"]
    assert one.undefined == ("image AUROC: all pictures have the same label",)
    assert other.differences == ()
    assert other.counts == {"better": 0, "worse": 0, "other": 1}
    assert other.left_out == {"pictures without a label": 2}


def test_runs_without_verdicts_have_no_accuracy(tmp_path: Path) -> None:
    none: list[Said] = [("1", "normal", "unsure", 0.1), ("2", "anomalous", "unsure", 0.2)]
    said: list[Said] = [("1", "normal", "normal", 0.1), ("2", "anomalous", "unsure", 0.2)]
    a = run(tmp_path / "a", none, decided_by="nothing")

    found = compare.compare(a, run(tmp_path / "b", said))

    assert [one.figure for one in found.differences] == ["image AUROC"]
    assert found.changed == []


@pytest.mark.parametrize(
    ("label", "before", "after", "change"),
    [
        ("anomalous", "normal", "anomalous", "better"),
        ("anomalous", "unsure", "anomalous", "better"),
        ("normal", "normal", "unsure", "worse"),
        ("normal", "unsure", "anomalous", "other"),
        ("normal", "normal", "normal", ""),
        (None, "normal", "anomalous", "other"),
    ],
)
def test_sides_are_told_by_the_label(
    tmp_path: Path, label: str | None, before: str, after: str, change: str
) -> None:
    a = run(tmp_path / "a", [("1", label, before, 0.5)])
    b = run(tmp_path / "b", [("1", label, after, 0.5)])

    assert [pair.change for pair in compare.compare(a, b).pairs] == [change]


def test_pictures_are_paired_by_content(tmp_path: Path, pictures: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "renamed.png").write_bytes((pictures / "00.png").read_bytes())
    (moved / "01.png").write_bytes((pictures / "01.png").read_bytes())
    (moved / "02.png").write_bytes((pictures / "03.png").read_bytes())  # another content
    (moved / "04.png").write_bytes((pictures / "04.png").read_bytes())
    a = run(
        tmp_path / "a",
        [(f"{n:02}.png", "normal", "normal", 0.1) for n in (0, 1, 2, 5)],
        pictures,
    )
    b = run(
        tmp_path / "b",
        [(n, "normal", "normal", 0.1) for n in ("renamed.png", "01.png", "02.png", "04.png")],
        moved,
    )
    run_folder.append_rows(b, [{"id": "x", "path": "x", "sha256": "", "error": "E", "message": ""}])

    found = compare.compare(a, b)

    assert [(p.row_a["id"], p.row_b["id"]) for p in found.pairs] == [
        ("00.png", "renamed.png"),
        ("01.png", "01.png"),
    ]
    assert found.left_out == {
        "pictures with another content in B": 1,
        "pictures only in A": 1,
        "pictures only in B": 1,
        "pictures failed in B": 1,
    }


def test_runs_over_other_pictures_are_refused(tmp_path: Path) -> None:
    a = run(tmp_path / "a", [("1", None, "normal", 0.1)])
    b = run(tmp_path / "b", [("2", None, "normal", 0.1)])

    with pytest.raises(InputError, match="no picture in common"):
        compare.compare(a, b)
    with pytest.raises(InputError, match="no run and no benchmark"):
        compare.compare(a, tmp_path)


def test_another_version_is_refused(tmp_path: Path) -> None:
    a = run(tmp_path / "a", [("1", None, "normal", 0.1)])
    b = run(tmp_path / "b", [("1", None, "normal", 0.1)])
    (b / "run.json").write_text('{"format": 99}')

    with pytest.raises(SavedError, match="format 99"):
        compare.compare(a, b)


def halves(order: Sequence[float]) -> list[Said]:
    """Two good and two broken pictures with these scores."""
    labels = ("normal", "normal", "anomalous", "anomalous")
    return [
        (f"{n}", label, "normal", score)
        for n, (label, score) in enumerate(zip(labels, order, strict=True))
    ]


def test_categories_of_benchmarks_are_averaged_never_pooled(tmp_path: Path) -> None:
    # AUROC 1 on a high scale and 1/2 on a low one: the mean is 3/4, pooled they would give less.
    a = bench(
        tmp_path / "a",
        {("cup", "m", 0): halves([7, 8, 9, 10]), ("jug", "m", 0): halves([1, 4, 2, 3])},
    )
    b = bench(
        tmp_path / "b",
        {("cup", "n", 0): halves([7, 8, 9, 10]), ("jug", "n", 0): halves([1, 2, 3, 4])},
    )

    auroc, _ = compare.compare(a, b).differences

    assert (auroc.a, auroc.b) == (0.75, 1.0)
    assert auroc.pictures == 8
    assert auroc.about == "d, 1 shot"


def test_seeds_share_their_draws_of_pictures(tmp_path: Path) -> None:
    # In one seed B gains what it loses in the other, picture by picture: no draw shows anything.
    up: list[Said] = [("0", "normal", "anomalous", 0.0), ("1", "normal", "normal", 0.0)]
    down: list[Said] = [("0", "normal", "normal", 0.0), ("1", "normal", "anomalous", 0.0)]
    a = bench(tmp_path / "a", {("cup", "m", 0): up, ("cup", "m", 1): down})
    b = bench(tmp_path / "b", {("cup", "m", 0): down, ("cup", "m", 1): up})

    (accuracy,) = compare.compare(a, b).differences

    assert (accuracy.a, accuracy.b, accuracy.low, accuracy.high) == (0.5, 0.5, 0.0, 0.0)


def test_benchmarks_of_several_methods_are_paired_by_method(tmp_path: Path) -> None:
    cells: dict[tuple[str, str, int], Sequence[Said]] = {
        ("cup", name, 0): halves([1, 2, 3, 4]) for name in ("m", "n")
    }
    a, b = bench(tmp_path / "a", cells), bench(tmp_path / "b", cells)
    other = bench(tmp_path / "c", {("pot", "o", 0): halves([1, 2, 3, 4])})

    assert {one.about for one in compare.compare(a, b).differences} == {
        "d, 1 shot, m",
        "d, 1 shot, n",
    }
    with pytest.raises(InputError, match="no cell in common"):
        compare.compare(a, other)
    with pytest.raises(InputError, match="Compare like things"):
        compare.compare(a, run(tmp_path / "single", halves([1, 2, 3, 4])))


def test_one_number_of_shots_is_compared_with_another(tmp_path: Path) -> None:
    cells: dict[tuple[str, str, int], Sequence[Said]] = {
        (category, "m", 0): halves([1, 2, 3, 4]) for category in ("cup", "jug")
    }

    found = compare.compare(bench(tmp_path / "a", cells), bench(tmp_path / "b", cells, shots=4))

    assert {one.about for one in found.differences} == {"d, 1 shot against 4 shots"}


def test_the_page_shows_both_sides_and_runs_nothing(tmp_path: Path, pictures: Path) -> None:
    odd = "<script>alert(1)</script>.png"
    (pictures / "00.png").rename(pictures / "a.png")
    a = run(tmp_path / "a", [("a.png", "anomalous", "anomalous", 0.9)], pictures)
    b = run(tmp_path / "b", [("a.png", "anomalous", "normal", 0.1)], pictures)
    for one in (a, b):
        rows, _ = run_folder.read_rows(one)
        run_folder.write_rows(one, [{**row, "id": odd} for row in rows])

    compare_page.write(compare.compare(a, b), tmp_path / "out")

    page = (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert page.count("data:image/jpeg") == 2
    assert "Worse: right in A, not in B: 1" in page
    record = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert record["counts"] == {"better": 0, "worse": 1, "other": 0}
    assert record["changed"][0]["id"] == odd


def test_a_picture_that_is_gone_still_has_its_place(tmp_path: Path, pictures: Path) -> None:
    a = run(tmp_path / "a", [("01.png", "anomalous", "anomalous", 0.9)], pictures)
    b = run(tmp_path / "b", [("01.png", "anomalous", "normal", 0.1)], pictures)
    (pictures / "01.png").unlink()

    compare_page.write(compare.compare(a, b), tmp_path / "out")

    assert (tmp_path / "out" / "compare.html").read_text(encoding="utf-8").count("<article") == 2


def test_the_command_tells_figures_and_sides(tmp_path: Path) -> None:
    a = run(tmp_path / "a", halves([1, 2, 3, 4]))
    b = run(tmp_path / "b", [*halves([1, 4, 2, 3])[:3], ("3", "anomalous", "anomalous", 3.0)])
    app = Typer()
    app.command()(command)

    said = CliRunner().invoke(app, [str(a), str(b), "--out", str(tmp_path / "out")])

    assert said.exit_code == 0, said.output
    assert "image AUROC  100.0  50.0  -50.0" in said.output
    assert "4 pictures; 1 verdict changed: 1 better." in said.output
    assert (tmp_path / "out" / "compare.html").is_file()
