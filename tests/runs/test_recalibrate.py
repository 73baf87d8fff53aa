"""The operating point moves in finished runs and saved detectors, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest

from blemish import rle
from blemish.calibration import FALSE_ALARMS, Calibration
from blemish.errors import InputError, OptionError, SavedError
from blemish.runs import folder, recalibrate, run, sources

STRICT, LOOSE = 0.0005, 0.3


@pytest.fixture
def inspected(stub: ModuleType, ten: Path, tmp_path: Path) -> Callable[..., Path]:
    """Make a run of the ten pictures."""

    def make(**more: Any) -> Path:
        run.inspect(stub.Darkness(), sources.find(ten), tmp_path / "out", **more)
        return tmp_path / "out"

    return make


def rows(out: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in folder.read_rows(out)[0]}


@pytest.mark.parametrize("keep_maps", [True, False])
def test_a_moved_run_is_the_run_that_would_have_been_made_there(
    stub: ModuleType, ten: Path, tmp_path: Path, inspected: Callable[..., Path], keep_maps: bool
) -> None:
    out = inspected(keep_maps=keep_maps)
    moved = recalibrate.move(out, STRICT)
    assert [counts["anomalous"] for counts in moved.counts] == [2, 1]
    there = stub.Darkness().with_calibration(stub.CALIBRATION.moved(STRICT))
    want = run.inspect(there, sources.find(ten), tmp_path / "there", keep_maps=keep_maps)
    for row in want.rows:
        got = rows(out)[row["id"]]
        for name in ("verdict", "reason", "score", "raw_score", "regions", "evidence"):
            assert got[name] == row[name], name
        drawn = (tmp_path / "there" / row["overlay"]).read_bytes()
        assert (out / got["overlay"]).read_bytes() == drawn
    record = json.loads((out / "run.json").read_bytes())
    assert record["calibration"] == stub.CALIBRATION.moved(STRICT).to_json()
    assert record["counts"] == want.counts
    assert "moving" not in record


def test_kept_maps_give_new_regions(inspected: Callable[..., Path]) -> None:
    out = inspected(keep_maps=True)
    recalibrate.move(out, STRICT)
    assert rows(out)["7.png"]["regions"] == []
    moved = recalibrate.move(out, LOOSE)
    (region,) = rows(out)["7.png"]["regions"]
    assert region["box"] == [4, 2, 14, 12]
    assert np.count_nonzero(rle.decode(region["mask"])) == 100
    assert moved.unmarked == ()


def test_without_maps_it_says_which_pictures_are_not_marked(inspected: Callable[..., Path]) -> None:
    out = inspected()
    recalibrate.move(out, STRICT)
    moved = recalibrate.move(out, FALSE_ALARMS)
    assert moved.unmarked == ("7.png",)
    assert any("without --maps: 7.png" in line for line in moved.lines())
    assert rows(out)["7.png"]["verdict"] == "anomalous"
    assert len(rows(out)["3.png"]["regions"]) == 1


def test_without_maps_regions_that_no_longer_reach_the_point_go(
    stub: ModuleType, ten: Path, inspected: Callable[..., Path]
) -> None:
    image = stub.picture(0)
    image[25:35, 40:50] = 190
    PIL.Image.fromarray(image).save(ten / "3.png")
    out = inspected()
    assert [r["position"] for r in rows(out)["3.png"]["regions"]] == ["top left", "bottom right"]
    recalibrate.move(out, STRICT)
    assert [r["position"] for r in rows(out)["3.png"]["regions"]] == ["top left"]


def test_overlays_change_and_missing_originals_are_named(
    ten: Path, inspected: Callable[..., Path]
) -> None:
    out = inspected(keep_maps=True)
    overlay = out / rows(out)["7.png"]["overlay"]
    before = overlay.read_bytes()
    (ten / "3.png").unlink()
    moved = recalibrate.move(out, STRICT)
    assert overlay.read_bytes() != before
    assert moved.stale == ("3.png",)
    assert any("gone or has changed: 3.png" in line for line in moved.lines())


def test_there_and_back_changes_nothing(inspected: Callable[..., Path]) -> None:
    out = inspected(keep_maps=True)
    before = rows(out)
    recalibrate.move(out, LOOSE)
    recalibrate.move(out, FALSE_ALARMS)
    after = rows(out)
    for name in ("verdict", "score", "raw_score", "sha256"):
        assert {i: row[name] for i, row in after.items()} == {
            i: row[name] for i, row in before.items()
        }


def test_a_move_that_was_stopped_is_completed_by_the_same_command(
    stub: ModuleType,
    ten: Path,
    inspected: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = inspected(keep_maps=True)

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr("blemish.runs.pictures.redraw", stop)
        with pytest.raises(KeyboardInterrupt):
            recalibrate.move(out, STRICT)
    with pytest.raises(SavedError, match=r"blemish calibrate .* --false-alarms 0\.0005"):
        run.inspect(stub.Darkness(), sources.find(ten), out)
    recalibrate.move(out, STRICT)
    assert run.inspect(stub.Darkness(), sources.find(ten), out).kept == 10


def test_what_a_language_model_decided_stays_decided(inspected: Callable[..., Path]) -> None:
    out = inspected()
    found = [
        {**row, "decided_by": "language model"} if i == "7.png" else row
        for i, row in rows(out).items()
    ]
    folder.write_rows(out, found)
    recalibrate.move(out, STRICT)
    assert rows(out)["7.png"]["verdict"] == "anomalous"


def test_a_row_that_was_cut_short_is_left_out_and_said(inspected: Callable[..., Path]) -> None:
    out = inspected()
    with (out / "inspections.jsonl").open("ab") as file:
        file.write(b'{"id": "hal')
    moved = recalibrate.move(out, STRICT)
    assert moved.lines()[-1].startswith("Rows cut short when the run was stopped, and left out: 1.")
    assert folder.read_rows(out)[1] == 0
    assert len(rows(out)) == 10


def test_a_saved_detector_moves_in_its_header_alone(stub: ModuleType, tmp_path: Path) -> None:
    header = {"format": 1, "name": "darkness", "calibration": stub.CALIBRATION.to_json()}
    (tmp_path / "detector.json").write_text(json.dumps(header))
    moved = recalibrate.move(tmp_path, 0.1)
    after = json.loads((tmp_path / "detector.json").read_bytes())
    assert {**after, "calibration": None} == {**header, "calibration": None}
    assert Calibration.from_json(after["calibration"]) == moved.after
    assert moved.after.threshold < moved.before.threshold
    assert moved.lines()[0].startswith(f"False alarm target {FALSE_ALARMS} -> 0.1;")


def test_what_cannot_be_moved_is_refused(tmp_path: Path, inspected: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="neither a run nor a saved detector"):
        recalibrate.move(tmp_path / "none", 0.1)
    (tmp_path / "detector.json").write_text("{}")
    with pytest.raises(SavedError, match="no calibration that can be read"):
        recalibrate.move(tmp_path, 0.1)
    out = inspected()
    with pytest.raises(OptionError, match=r"false alarm target is 0\.9"):
        recalibrate.move(out, 0.9)
