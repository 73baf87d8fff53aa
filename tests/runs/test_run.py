"""The loop: what it writes, how it isolates bad pictures, how it goes on, what it refuses."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import numpy as np
import PIL.Image
import pytest
import tifffile

from blemish import rle
from blemish.errors import InputError, OutputError, SavedError, WeightsError
from blemish.runs import folder, reading, run, sources

SCHEMA = json.loads(files("blemish.runs").joinpath("inspections.schema.json").read_bytes())


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "inspections.jsonl").read_bytes().splitlines()]


def start(detector: Any, parts: Path, out: Path, **more: Any) -> run.RunSummary:
    return run.inspect(detector, sources.find(parts), out, **more)


def test_a_run_writes_one_true_row_a_picture(stub: ModuleType, ten: Path, tmp_path: Path) -> None:
    (ten / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    calls: list[tuple[int, int]] = []
    summary = start(
        stub.Darkness(),
        ten,
        tmp_path / "out",
        keep_maps=True,
        labels={"3.png": "anomalous"},
        on_progress=lambda done, total: calls.append((done, total)),
    )
    assert summary.counts == {"normal": 8, "anomalous": 2, "unsure": 0, "failed": 1}
    assert calls == [(0, 11), (8, 11), (11, 11)]
    written = {row["id"]: row for row in rows(tmp_path / "out")}
    assert [row["id"] for row in summary.rows] == [f"{i}.png" for i in range(10)] + ["bad.png"]
    assert list(written.values()) == list(summary.rows)
    for row in written.values():
        jsonschema.validate(row, SCHEMA)

    bad = written["bad.png"]
    assert bad["error"] == "ImageError"
    assert "cannot be decoded" in bad["message"]
    spotted = written["3.png"]
    assert (spotted["verdict"], spotted["label"]) == ("anomalous", "anomalous")
    assert "label" not in written["7.png"]
    (region,) = spotted["regions"]
    assert region["box"] == [4, 2, 14, 12]
    assert (region["area"], region["position"], region["raw"]) == (100, "top left", 1.0)
    truth = np.zeros((40, 60), bool)
    truth[2:12, 4:14] = True
    assert np.array_equal(rle.decode(region["mask"]), truth)
    assert set(spotted["usage"]["seconds"]) == {"read", "encode", "match", "verdict", "write"}


def test_a_run_writes_overlays_maps_and_a_record(
    stub: ModuleType, ten: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    summary = start(stub.Darkness(), ten, out, keep_maps=True, command="blemish inspect parts")
    spotted = summary.rows[3]
    with PIL.Image.open(out / spotted["overlay"]) as overlay:
        assert overlay.width == 640
    raw = tifffile.imread(out / spotted["map"])
    assert (str(raw.dtype), raw.shape) == ("float16", (40, 60))
    assert raw[5, 5] == 1.0
    assert raw[30, 30] == pytest.approx(1 - 240 / 255, abs=1e-3)
    assert len({row["overlay"] for row in summary.rows}) == 10

    record = json.loads((out / "run.json").read_bytes())
    assert record["format"] == folder.FORMAT
    assert record["command"] == "blemish inspect parts"
    assert record["detector"]["fingerprint"] == "darkness-1"
    assert record["calibration"] == stub.CALIBRATION.to_json()
    assert record["counts"] == {"normal": 8, "anomalous": 2, "unsure": 0, "failed": 0}
    assert record["seconds"]["encode"] == pytest.approx(0.1)
    assert {"read", "write", "report"} <= set(record["seconds"])
    assert summary.report.is_file()


def test_large_pictures_come_in_small_batches(
    stub: ModuleType, ten: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    plain = stub.Darkness.predict

    def predict(self: Any, samples: Any) -> Any:
        sizes.append(len(samples))
        return plain(self, samples)

    monkeypatch.setattr(stub.Darkness, "predict", predict)
    monkeypatch.setattr(reading, "PIXELS", 3 * 40 * 60)
    start(stub.Darkness(), ten, tmp_path / "out")
    assert sizes == [3, 3, 3, 1]


def test_only_the_culprit_of_a_batch_fails(
    stub: ModuleType, ten: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = stub.Darkness._inspect

    def fail(self: Any, sample: Any) -> Any:
        if sample.id == "2.png":
            raise ValueError("a strange part")
        if sample.id == "5.png":
            raise MemoryError
        return plain(self, sample)

    monkeypatch.setattr(stub.Darkness, "_inspect", fail)
    summary = start(stub.Darkness(), ten, tmp_path / "out")
    failed = {row["id"]: row["message"] for row in summary.rows if "error" in row}
    assert set(failed) == {"2.png", "5.png"}
    assert "ValueError: a strange part" in failed["2.png"]
    assert "not enough memory for 5.png (60 x 40 pixels)" in failed["5.png"]
    assert summary.counts["anomalous"] == 2


def test_what_no_picture_can_do_without_stops_the_run(
    stub: ModuleType, ten: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, sample: Any) -> Any:
        raise WeightsError("no weights")

    monkeypatch.setattr(stub.Darkness, "_inspect", fail)
    with pytest.raises(WeightsError):
        start(stub.Darkness(), ten, tmp_path / "out")


def test_results_that_are_not_the_samples_own_are_failures(
    stub: ModuleType, ten: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = stub.Darkness.predict
    monkeypatch.setattr(stub.Darkness, "predict", lambda self, s: plain(self, s)[:-1])
    assert start(stub.Darkness(), ten, tmp_path / "out").counts["failed"] == 10


@pytest.mark.parametrize("cut", [1, 100], ids=["newline", "half a row"])
def test_a_run_goes_on_with_what_is_missing_or_changed(
    stub: ModuleType, ten: Path, tmp_path: Path, cut: int
) -> None:
    out = tmp_path / "out"
    (ten / "1.png").write_bytes(b"")
    start(stub.Darkness(), ten, out)
    stub.draw(ten / "1.png")
    stub.draw(ten / "2.png", 0)
    stub.draw(ten / "new.png")
    lines = (out / "inspections.jsonl").read_bytes()
    (out / "inspections.jsonl").write_bytes(lines[:-cut])

    again = stub.Darkness()
    summary = start(again, ten, out)
    assert sorted(again.seen) == ["1.png", "2.png", "9.png", "new.png"]
    assert summary.kept == 7
    assert summary.counts == {"normal": 8, "anomalous": 3, "unsure": 0, "failed": 0}
    assert Counter(row["id"] for row in rows(out)) == {row["id"]: 1 for row in summary.rows}


def test_a_run_tries_failures_again(
    stub: ModuleType, ten: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, sample: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as failing:
        failing.setattr(stub.Darkness, "_inspect", fail)
        assert start(stub.Darkness(), ten, tmp_path / "out").counts["failed"] == 10
    assert start(stub.Darkness(), ten, tmp_path / "out").counts["failed"] == 0
    assert len(rows(tmp_path / "out")) == 10


def test_rows_of_pictures_that_were_not_asked_for_stay(
    stub: ModuleType, ten: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    start(stub.Darkness(), ten, out)
    (ten / "0.png").unlink()
    summary = start(stub.Darkness(), ten, out)
    assert len(summary.rows) == 9
    assert len(rows(out)) == 10


def test_maps_that_are_asked_for_later_are_made(
    stub: ModuleType, ten: Path, tmp_path: Path
) -> None:
    start(stub.Darkness(), ten, tmp_path / "out")
    again = stub.Darkness()
    start(again, ten, tmp_path / "out", keep_maps=True)
    assert len(again.seen) == len(list((tmp_path / "out" / "maps").iterdir())) == 10


def test_a_run_that_goes_on_keeps_its_operating_point(
    stub: ModuleType, ten: Path, tmp_path: Path
) -> None:
    strict = stub.Darkness().with_calibration(stub.CALIBRATION.moved(0.0001))
    assert start(strict, ten, tmp_path / "out").counts["anomalous"] == 1
    stub.draw(ten / "7.png", 191)
    assert start(stub.Darkness(), ten, tmp_path / "out").counts["anomalous"] == 1


def test_the_run_of_another_detector_is_not_mixed_with(
    stub: ModuleType, ten: Path, tmp_path: Path
) -> None:
    start(stub.Darkness(), ten, tmp_path / "out")
    before = (tmp_path / "out" / "inspections.jsonl").read_bytes()
    with pytest.raises(OutputError, match="holds a run of darkness with other options"):
        start(stub.Darkness(fingerprint="darkness-2"), ten, tmp_path / "out")
    assert (tmp_path / "out" / "inspections.jsonl").read_bytes() == before


def test_a_record_of_another_version_is_refused(
    stub: ModuleType, ten: Path, tmp_path: Path
) -> None:
    start(stub.Darkness(), ten, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "run.json").read_bytes())
    (tmp_path / "out" / "run.json").write_text(json.dumps({**record, "format": 99}))
    with pytest.raises(SavedError, match="has format 99"):
        start(stub.Darkness(), ten, tmp_path / "out")


class TestTheOutputFolder:
    """What cannot be written to is refused before anything is judged."""

    def refused(self, stub: ModuleType, parts: Path, out: Path) -> str:
        detector = stub.Darkness()
        with pytest.raises(OutputError) as caught:
            start(detector, parts, out)
        assert detector.seen == []
        return str(caught.value)

    def test_that_is_a_file(self, stub: ModuleType, ten: Path, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("mine")
        assert "is a file" in self.refused(stub, ten, tmp_path / "out")
        assert "cannot be written" in self.refused(stub, ten, tmp_path / "out" / "below")

    def test_that_is_read_only(
        self, stub: ModuleType, ten: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "out"
        out.mkdir(mode=0o555)
        if os.access(out, os.W_OK):  # root may write anywhere

            def refuse(path: Path, *args: Any, **more: Any) -> Any:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))

            monkeypatch.setattr(Path, "open", refuse)
        said = self.refused(stub, ten, out)
        assert "cannot be written: Permission denied" in said
        assert "choose another folder" in said

    def test_that_holds_something_else(self, stub: ModuleType, ten: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "report.html").write_text("mine")
        assert "holds report.html, but no run.json" in self.refused(stub, ten, tmp_path / "out")

    def test_that_another_process_has(self, stub: ModuleType, ten: Path, tmp_path: Path) -> None:
        with folder.opened(tmp_path / "out"):
            assert "Another process" in self.refused(stub, ten, tmp_path / "out")
        assert start(stub.Darkness(), ten, tmp_path / "out").kept == 0

    def test_that_holds_the_pictures(self, stub: ModuleType, ten: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="lies in the output folder"):
            start(stub.Darkness(), ten, tmp_path)

    def test_whose_disk_is_full(
        self, stub: ModuleType, ten: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced = 0

        def fsync(descriptor: int) -> None:
            nonlocal synced
            synced += 1
            if synced == 4:  # run.json, the empty rows, the first batch, the second
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as full:
            full.setattr(os, "fsync", fsync)
            with pytest.raises(OutputError, match=r"No space left on device\. Make room"):
                start(stub.Darkness(), ten, tmp_path / "out")
        summary = start(stub.Darkness(), ten, tmp_path / "out")
        assert summary.kept >= 8
        assert Counter(row["id"] for row in rows(tmp_path / "out")) == {
            row["id"]: 1 for row in summary.rows
        }


def test_a_run_that_is_killed_again_and_again_ends_with_each_picture_once(
    stub: ModuleType, tmp_path: Path
) -> None:
    parts = stub.draw_parts(tmp_path / "parts", 64)
    out = tmp_path / "out"
    written = out / "inspections.jsonl"
    command = [sys.executable, str(stub.__file__), str(parts), str(out)]
    moments = random.Random(0)
    kills = 0
    for _ in range(4):
        before = written.stat().st_mtime_ns if written.exists() else 0
        process = subprocess.Popen(command, env=os.environ | {"PAUSE": "0.02"})
        while process.poll() is None and (
            not written.exists() or written.stat().st_mtime_ns == before
        ):
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        kills += process.wait() != 0
    assert kills
    subprocess.run(command, env=os.environ | {"PAUSE": "0"}, check=True)
    assert Counter(row["id"] for row in rows(out)) == {f"{i}.png": 1 for i in range(64)}
    for row in rows(out):
        jsonschema.validate(row, SCHEMA)
        assert (out / row["overlay"]).is_file()
        assert tifffile.imread(out / row["map"]).shape == (40, 60)
