"""`blemish inspect` and `blemish annotate` on videos, point clouds and time series."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest

Blemish = Callable[..., Any]
BAD = range(4, 8)
"""Frames from 2.0 s to 4.0 s."""
DARK = ("--detector", "darkness")


@pytest.fixture
def made(tmp_path: Path, recorded: ModuleType) -> ModuleType:
    """A good and a bad recording of each modality, in the working folder."""
    recorded.film(tmp_path / "good.mp4")
    recorded.film(tmp_path / "bad.mp4", BAD)
    for name in ("good", "bad"):
        recorded.scan(tmp_path / f"{name}.ply", dent=name == "bad")
        recorded.scan(tmp_path / f"{name}.tiff", dent=name == "bad")
    recorded.log(tmp_path / "good.csv")
    recorded.log(tmp_path / "bad.csv", range(200, 220))
    return recorded


def rows(out: str = "run") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(out, "inspections.jsonl").read_text().splitlines()]


def test_a_video_against_a_good_one(blemish: Blemish, made: ModuleType) -> None:
    said = blemish("inspect", "bad.mp4", "--normal", "good.mp4", "--out", "run")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[1].split()[:2] == ["bad.mp4", "anomalous"]
    assert lines[1].endswith("from 2.0 s to 4.0 s")
    assert "1 video: 1 anomalous" in said.out
    detector = json.loads(Path("run/run.json").read_text())["detector"]
    assert detector["name"] == "patch-memory"  # no sentence on each view
    assert "good.mp4, 5.00 s" in detector["fingerprint"]
    assert "bad.mp4" not in detector["fingerprint"]


@pytest.mark.parametrize("ending", ["ply", "tiff"])
def test_a_cloud_against_a_good_one(blemish: Blemish, made: ModuleType, ending: str) -> None:
    said = blemish(
        *("inspect", f"bad.{ending}", "--normal", f"good.{ending}", "--out", "run"),
        *("--modality-option", "views=front", "--modality-option", "size=64"),
    )
    assert said.code == 0
    (row,) = rows()
    assert row["about"]["options"]["size"] == 64
    assert Path("run", row["points"]).is_file()
    assert "in view 1: front" in said.out


def test_plots_are_drawn_on_the_scale_of_the_good_one(blemish: Blemish, made: ModuleType) -> None:
    command = ("inspect", "bad.csv", "--normal", "good.csv", "--out", "run")
    assert blemish(*command).code == 0
    (row,) = rows()
    options = row["told"]["options"]
    assert options["bare"] is True
    low, high = options["limits"]["level"]
    assert (low, high) == pytest.approx((-1.1, 1.1), abs=0.01)
    assert row["about"]["limits"] == options["limits"]
    with PIL.Image.open(Path("run", row["pictures"][0])) as opened:
        plot = np.asarray(opened.convert("RGB")).astype(int)
    blue = plot[:, :, 2] - plot[:, :, 0] > 40
    inside = np.flatnonzero(blue.any(axis=0))
    # What lies beyond the scale is drawn along its edge.
    beyond = inside[0] + np.ptp(inside) * 21 // 40
    assert np.flatnonzero(blue[:, beyond]).max() < 60
    wide = blemish(*command, "--modality-option", 'limits={"level": [-20, 20]}')
    assert wide.code == 0
    assert rows()[0]["about"]["limits"] == {"level": [-20, 20]}


def test_frames_of_a_video_are_compared_with_each_other(blemish: Blemish, made: ModuleType) -> None:
    few = blemish("inspect", "bad.mp4", "--out", "run")
    assert few.code == 2
    assert "1 video gave 6 views" in few.err
    assert "at least 8" in few.err
    said = blemish("inspect", "bad.mp4", "--out", "run", "--modality-option", "every=0.5")
    assert said.code == 0
    record = json.loads(Path("run/run.json").read_text())
    assert record["detector"]["name"] == "musc"
    assert "bad.mp4, 5.50 s" in record["detector"]["fingerprint"]


def test_of_many_normal_views_some_are_taken_and_told(
    blemish: Blemish, made: ModuleType, tmp_path: Path
) -> None:
    made.film(tmp_path / "long.mp4", frames=150)
    said = blemish("inspect", "bad.mp4", "--normal", "long.mp4", "--normal", "good.mp4")
    assert said.code == 0
    assert "The normal recordings have 81 views; 41 of them, evenly spread" in said.err


@pytest.mark.parametrize(
    ("name", "task"),
    [("bad.mp4", "traffic"), ("bad.ply", "point-cloud"), ("bad.csv", "time-series")],
)
def test_a_language_model_is_asked_about_recordings(
    blemish: Blemish, made: ModuleType, asked: list[Any], name: str, task: str
) -> None:
    Path("said.json").write_text(json.dumps({"": "There is a defect at the top left."}))
    said = blemish(
        *("inspect", name, "--llm", "scripted:said.json", "--out", "run"),
        *(("--modality-option", "views=front") if name.endswith("ply") else ()),
    )
    assert said.code == 0
    record = json.loads(Path("run/run.json").read_text())
    assert record["detector"]["name"] == "vqa"
    (row,) = rows()
    assert (row["verdict"], row["decided_by"]) == ("anomalous", "language model")
    assert {kept["prompt"]["task"] for kept in row["evidence"]["kept"]} == {task}
    assert "bare" not in row["told"].get("options", {})
    assert row["usage"]["model_calls"] == len(asked) == (6 if name == "bad.mp4" else 1)
    assert "Language model" in Path("run/report.html").read_text("utf-8")
    if row["spans"]:
        assert max(span[2] for span in row["spans"]) >= 0.5


def test_a_damaged_video_among_good_ones(blemish: Blemish, made: ModuleType) -> None:
    Path("films").mkdir()
    data = Path("good.mp4").read_bytes()
    for number in range(3):
        Path(f"films/{number}.mp4").write_bytes(data if number != 1 else data[:-300])
    said = blemish("inspect", "films", *DARK, "--out", "run")
    assert said.code == 3
    assert "1.mp4" in said.err
    assert "3 videos: 2 normal, 1 failed" in said.out


def test_a_stopped_run_goes_on(
    blemish: Blemish, made: ModuleType, stub: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = stub.Darkness._inspect

    def stop(self: Any, sample: Any) -> Any:
        if len(self.seen) == 8:
            raise KeyboardInterrupt
        return plain(self, sample)

    command = ("inspect", "bad.mp4", "good.mp4", *DARK, "--out", "run")
    with monkeypatch.context() as stopped:
        stopped.setattr(stub.Darkness, "_inspect", stop)
        said = blemish(*command)
    assert said.code == 130
    assert "Stopped. 1 of 2 videos are done" in said.err
    assert "2 videos: 1 normal, 1 anomalous; 1 from an earlier start" in blemish(*command).out


def test_a_moved_operating_point_makes_recordings_anew(blemish: Blemish, made: ModuleType) -> None:
    command = ("inspect", "bad.mp4", *DARK, "--out", "run")
    assert blemish(*command).code == 0
    before = rows()[0]["score"]
    assert blemish(*command, "--false-alarms", "0.0001").code == 0
    assert rows()[0]["score"] < before
    refused = blemish("calibrate", "run", "--false-alarms", "0.1")
    assert refused.code == 2
    assert "Repeat its `blemish inspect` command" in refused.err


def test_frames_of_a_folder_may_be_a_video(
    blemish: Blemish, made: ModuleType, stub: ModuleType
) -> None:
    for number in range(4):
        stub.draw(Path(f"shift/a/{number}.png"), 0 if number == 2 else None)
        stub.draw(Path(f"shift/b/{number}.png"))
    said = blemish("inspect", "shift", *DARK, "--modality", "video", "--out", "run", "--json")
    found = [json.loads(line) for line in said.out.splitlines()]
    assert [(row["id"], row["where"]) for row in found] == [("a", "from 2.0 s to 3.0 s"), ("b", "")]
    alone = blemish("inspect", "shift/a", *DARK, "--modality", "video", "--json")
    assert json.loads(alone.out)["id"] == "a"
    again = blemish("inspect", "shift", *DARK, "--modality", "video", "--out", "run")
    assert "2 from an earlier start" in again.out


def test_views_become_drafts(blemish: Blemish, made: ModuleType, stub: ModuleType) -> None:
    stub.draw(Path("part.png"), 0)
    said = blemish("annotate", "bad.mp4", "part.png", *DARK, "--out", "run")
    assert said.code == 0
    assert "2 files: 2 with drafts" in said.out
    row = next(row for row in rows() if row["id"] == "bad.mp4")
    coco = json.loads(Path("run/coco.json").read_bytes())
    assert [image["file_name"] for image in coco["images"]] == [*row["pictures"], "part.png"]
    for image, name in zip(coco["images"], row["pictures"], strict=False):
        with PIL.Image.open(Path("run", name)) as view:
            assert view.size == (image["width"], image["height"])
        with PIL.Image.open(Path("run/masks", name).with_suffix(".png")) as opened:
            drawn = np.asarray(opened)
        spotted = row["views"][row["pictures"].index(name)] in ("2.00 s", "3.00 s")
        assert (drawn[10, 10] == 255) == spotted
        assert drawn[40, 60] == 0
    tasks = json.loads(Path("run/label_studio.json").read_bytes())
    addresses = [task["data"]["image"] for task in tasks]
    assert addresses[0] == f"/data/local-files/?d=run/{row['pictures'][0]}"
    assert addresses[-1] == f"/data/local-files/?d={Path.cwd().name}/part.png"
    Path("bad.mp4").write_bytes(b"")
    assert blemish("annotate", "bad.mp4", "part.png", *DARK, "--out", "run").code == 3
    assert sorted(path.name for path in Path("run/masks").rglob("*.png")) == ["part.png"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("bad.mp4", "--modality-option", "evry=1"), "Did you mean 'every'?"),
        (("good", "--modality-option", "every=1"), "says how recordings become views"),
        (("bad.mp4", "--modality", "vidoe"), "Did you mean 'video'?"),
        (("bad.mp4", "--normal", "good.csv"), "good.csv is no video that blemish reads"),
        (("good", "--normal", "good.mp4"), "what is inspected is a picture"),
        (("bad.mp4", "bad.csv", "--normal", "good.mp4"), "time-series, video"),
    ],
)
def test_what_does_not_go_together_is_refused(
    blemish: Blemish, made: ModuleType, good: Path, command: tuple[str, ...], said: str
) -> None:
    answer = blemish("inspect", *command, "--out", "run")
    assert answer.code == 2
    assert said in answer.err
    assert not Path("run").exists()
