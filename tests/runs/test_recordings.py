"""Recordings through the loop: what a run keeps of them, how one fails, how a run goes on."""

from __future__ import annotations

import json
import threading
import time
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import numpy as np
import PIL.Image
import pytest
import tifffile

from blemish.errors import InputError, WeightsError
from blemish.modalities.video import VideoOptions, open_video
from blemish.runs import folder, reading, recalibrate, run, sources
from blemish.runs.context import EVERY, Context
from blemish.types import Inspection, Sample

SCHEMA = json.loads(files("blemish.runs").joinpath("inspections.schema.json").read_bytes())
BAD = range(4, 8)
"""Frames from 2.0 s to 4.0 s."""


def start(detector: Any, source: Any, out: Path, **more: Any) -> run.RunSummary:
    summary = run.inspect(detector, sources.find(source), out, **more)
    for row in summary.rows:
        jsonschema.validate(row, SCHEMA)
    return summary


@pytest.fixture
def films(tmp_path: Path, recorded: ModuleType) -> Path:
    """A folder of three films; the second has a defect from 2 s to 4 s."""
    recorded.film(tmp_path / "films" / "1.mp4")
    recorded.film(tmp_path / "films" / "2.mp4", BAD)
    recorded.film(tmp_path / "films" / "3.mp4")
    return tmp_path / "films"


def test_a_row_says_when_and_shows_the_worst_view(
    stub: ModuleType, films: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    summary = start(stub.Darkness(), films, out, keep_maps=True)
    assert [row["verdict"] for row in summary.rows] == ["normal", "anomalous", "normal"]
    good, bad, _ = summary.rows
    assert good["where"] == ""
    assert bad["where"] == "from 2.0 s to 4.0 s"
    assert bad["explanation"] == "Found from 2.0 s to 4.0 s."
    high = [span[:2] for span in bad["spans"] if span[2] >= 0.5]
    assert [high[0][0], high[-1][1]] == [2, 4]
    assert bad["spans"][0][0] == 0
    assert bad["spans"][-1][1] == 6
    assert (bad["modality"], bad["about"]["frames_taken"]) == ("video", 6)
    assert bad["views"] == [f"{i}.00 s" for i in range(6)]
    assert bad["sizes"] == [[48, 64]] * 6
    shown = bad["views"][bad["shown"]]
    assert shown in ("2.00 s", "3.00 s")
    assert {bad["views"][region["view"]] for region in bad["regions"]} == {"2.00 s", "3.00 s"}
    box = next(r["box"] for r in bad["regions"] if r["view"] == bad["shown"])
    np.testing.assert_allclose(box, [4, 4, 20, 20], atol=2)
    raw = tifffile.imread(out / bad["map"])
    assert raw.shape == (6, 48, 64)
    assert [page[10, 10] > 0.9 for page in raw] == [i in (2, 3) for i in range(6)]
    with PIL.Image.open(out / bad["pictures"][bad["shown"]]) as view:
        assert np.asarray(view)[10, 10].max() < 20
    with PIL.Image.open(out / bad["overlay"]) as overlay:
        assert overlay.width == 640
    assert set(bad["usage"]["seconds"]) == {"read", "encode", "match", "verdict", "write"}
    page = (out / "report.html").read_text("utf-8")
    assert "Inspection of 3 videos" in page
    piece = page.split("<article ")[1]
    assert "Found from 2.0 s to 4.0 s." in piece
    assert 'class="marks"' in piece
    assert 'class="heat"' in piece


def test_a_cloud_is_written_in_colour_and_its_view_is_named(
    stub: ModuleType, tmp_path: Path, recorded: ModuleType
) -> None:
    recorded.scan(tmp_path / "plate.ply", dent=True)
    context = Context(options={"views": "tilted", "size": 64})
    summary = start(stub.Darkness(), tmp_path / "plate.ply", tmp_path / "out", context=context)
    (row,) = summary.rows
    assert (row["modality"], row["spans"]) == ("point-cloud", [])
    assert row["points"].startswith("points/plate-")
    head, _, data = (tmp_path / "out" / row["points"]).read_bytes().partition(b"end_header\n")
    assert b"element vertex 1600" in head
    assert b"property double x" in head  # numbers in text have no width
    kinds = [(axis, "<f8") for axis in "xyz"] + [("colour", "u1", 3), ("score", "<f4")]
    table = np.frombuffer(data, kinds)
    points = np.stack([table[axis] for axis in "xyz"], axis=1)
    np.testing.assert_allclose(points, recorded.surface(True).reshape(-1, 3), atol=1e-4)
    assert table["score"].max() <= 1
    name = row["views"][row["shown"]]
    assert row["where"] == f"in {name}"
    assert row["explanation"].endswith(f"Most anomalous in {name}.")


def test_a_series_has_spans_over_all_of_its_time(
    stub: ModuleType, tmp_path: Path, recorded: ModuleType
) -> None:
    recorded.log(tmp_path / "log.csv")
    (row,) = start(stub.Darkness(), tmp_path / "log.csv", tmp_path / "out").rows
    assert row["modality"] == "time-series"
    spans = row["spans"]
    assert (spans[0][0], spans[-1][1]) == (0, pytest.approx(40))
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    with PIL.Image.open(tmp_path / "out" / row["pictures"][0]) as plot:
        assert (plot.format, list(plot.size[::-1])) == ("PNG", row["sizes"][0])


def test_a_damaged_one_among_good_ones_is_a_failure(
    stub: ModuleType, films: Path, tmp_path: Path
) -> None:
    data = (films / "2.mp4").read_bytes()
    (films / "2.mp4").write_bytes(data[: len(data) // 3])
    (films / "4.mp4").write_bytes(b"")
    summary = start(stub.Darkness(), films, tmp_path / "out")
    assert summary.counts == {"normal": 2, "anomalous": 0, "unsure": 0, "failed": 2}
    assert {row["modality"] for row in summary.rows} == {"video"}
    assert "is empty" in summary.rows[3]["message"]
    page = summary.report.read_text("utf-8")
    assert "2.mp4" in page.split("Could not be inspected")[1]


def test_a_view_that_cannot_be_judged_fails_its_recording_only(
    stub: ModuleType, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = stub.Darkness._inspect

    def fail(self: Any, sample: Sample) -> Inspection:
        if sample.id == "3.00 s" and sample.image[10, 10, 0] < 99:
            raise ValueError("a strange view")
        return plain(self, sample)  # type: ignore[no-any-return]

    monkeypatch.setattr(stub.Darkness, "_inspect", fail)
    summary = start(stub.Darkness(), films, tmp_path / "out")
    assert summary.counts["failed"] == 1
    assert summary.rows[1]["error"] == "ValueError"
    assert "2.mp4 at 3.00 s:" in summary.rows[1]["message"]
    assert "a strange view" in summary.rows[1]["message"]


def test_what_no_view_can_do_without_stops_the_run(
    stub: ModuleType, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, sample: Sample) -> Inspection:
        raise WeightsError("no weights")

    monkeypatch.setattr(stub.Darkness, "_inspect", fail)
    with pytest.raises(WeightsError):
        start(stub.Darkness(), films, tmp_path / "out")


def test_an_option_that_does_not_fit_one_file_fails_that_file(
    stub: ModuleType, tmp_path: Path, recorded: ModuleType
) -> None:
    recorded.log(tmp_path / "logs" / "1.csv")
    text = (tmp_path / "logs" / "1.csv").read_text()
    (tmp_path / "logs" / "2.csv").write_text(text.replace("level", "torque"))
    context = Context(options={"channels": ["level"]})
    summary = start(stub.Darkness(), tmp_path / "logs", tmp_path / "out", context=context)
    assert ["error" in row for row in summary.rows] == [False, True]
    assert "level" in summary.rows[1]["message"]


class TestARunThatGoesOn:
    def seen(self, stub: ModuleType, films: Path, out: Path, **told: Any) -> int:
        """Views that are judged when the run is started again."""
        again = stub.Darkness()
        start(again, films, out, context=Context(**told))
        return len(again.seen)

    def test_judges_no_recording_twice(
        self, stub: ModuleType, films: Path, tmp_path: Path, recorded: ModuleType
    ) -> None:
        out = tmp_path / "out"
        assert self.seen(stub, films, out) == 18
        assert self.seen(stub, films, out) == 0
        recorded.film(films / "1.mp4", BAD)
        recorded.film(films / "4.mp4")
        assert self.seen(stub, films, out) == 12

    @pytest.mark.parametrize(
        ("told", "views"),
        [
            ({"options": {"every": 2}}, 9),
            ({"class_name": "street"}, 18),
            ({"standards": "An empty street."}, 18),
            ({"auxiliary": {EVERY: {"speed": "3 m/s"}}}, 18),
            ({"auxiliary": {"2.mp4": {"speed": "3 m/s"}}}, 6),
        ],
    )
    def test_judges_again_what_is_told_otherwise(
        self, stub: ModuleType, films: Path, tmp_path: Path, told: dict[str, Any], views: int
    ) -> None:
        self.seen(stub, films, tmp_path / "out")
        assert self.seen(stub, films, tmp_path / "out", **told) == views
        assert self.seen(stub, films, tmp_path / "out", **told) == 0

    def test_has_lost_nothing_when_it_was_stopped_in_the_middle(
        self, stub: ModuleType, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain = stub.Darkness._inspect

        def stop(self: Any, sample: Sample) -> Inspection:
            if len(self.seen) == 9:
                raise KeyboardInterrupt
            return plain(self, sample)  # type: ignore[no-any-return]

        with monkeypatch.context() as stopped:
            stopped.setattr(stub.Darkness, "_inspect", stop)
            with pytest.raises(KeyboardInterrupt):
                self.seen(stub, films, tmp_path / "out")
        assert [row["id"] for row in folder.read_rows(tmp_path / "out")[0]] == ["1.mp4"]
        assert self.seen(stub, films, tmp_path / "out") == 12


def test_a_long_film_is_never_held_as_a_whole(
    stub: ModuleType, tmp_path: Path, recorded: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.film(tmp_path / "long.mp4", frames=80)
    given = 0
    most = 0
    video = type(open_video(tmp_path / "long.mp4", VideoOptions(), id="", class_name=""))
    plain, inspect = video.samples, stub.Darkness._inspect

    def samples(self: Any) -> Any:
        nonlocal given
        for sample in plain(self):
            given += 1
            yield sample

    def judge(self: Any, sample: Sample) -> Any:
        nonlocal most
        most = max(most, given - len(self.seen))
        return inspect(self, sample)

    monkeypatch.setattr(video, "samples", samples)
    monkeypatch.setattr(stub.Darkness, "_inspect", judge)
    (row,) = start(stub.Darkness(), tmp_path / "long.mp4", tmp_path / "out").rows
    assert (given, len(row["views"])) == (40, 9)
    assert most <= 3 * reading.BATCH


def test_a_detector_that_waits_gets_several_views_at_once_and_in_order(
    stub: ModuleType, films: Path, tmp_path: Path
) -> None:
    waiting: set[int] = set()
    together = 0
    lock = threading.Lock()

    class Slow(stub.Darkness):  # type: ignore[misc, name-defined]
        at_once = 3

        def predict(self, samples: Any) -> Any:
            nonlocal together
            assert len(samples) == 1
            with lock:
                waiting.add(threading.get_ident())
                together = max(together, len(waiting))
            time.sleep(0.03 if samples[0].id == "0.00 s" else 0.01)
            with lock:
                waiting.discard(threading.get_ident())
            return super().predict(samples)

    summary = start(Slow(), films, tmp_path / "out")
    assert together == 3
    assert summary.rows[1]["where"] == "from 2.0 s to 4.0 s"
    assert summary.rows[1]["views"] == [f"{i}.00 s" for i in range(6)]


def test_pictures_and_recordings_may_come_together(
    stub: ModuleType, ten: Path, films: Path, tmp_path: Path
) -> None:
    summary = start(stub.Darkness(), [ten, films], tmp_path / "out")
    assert summary.counts == {"normal": 10, "anomalous": 3, "unsure": 0, "failed": 0}
    assert "Inspection of 13 files" in summary.report.read_text("utf-8")
    assert ["modality" in row for row in summary.rows] == [True] * 3 + [False] * 10


def test_an_operating_point_cannot_be_moved_in_time(
    stub: ModuleType, films: Path, ten: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    start(stub.Darkness(), [ten, films], out)
    with pytest.raises(InputError, match="holds recordings"):
        recalibrate.move(out, 0.3)
    recalibrate.agree(out, "darkness-1", 0.3)
    assert len(folder.read_rows(out)[0]) == 10
    again = stub.Darkness()
    assert start(again, [ten, films], out).kept == 10
    assert len(again.seen) == 18
