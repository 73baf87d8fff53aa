"""Exports, read back by what would read them."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from types import ModuleType

import pytest

from blemish import rle
from blemish.errors import OptionError
from blemish.service import exports
from blemish.service.station import Station
from blemish.service.types import Filter


@pytest.fixture
def three(station: Station, caps: str, shade: ModuleType) -> Station:
    """Three inspections, two of files of the same name, one of them with a formula in its name."""
    files = [shade.picture(0, "part.png"), shade.picture(None, "part.png")]
    job = station.submit(caps, [*files, shade.picture(0, "=cmd|' /C calc'!A0.png", 20)])
    ended = station.wait(job.id, 10)
    station.say(ended.items[0].inspection, "good", comment="+1")
    return station


def test_a_sheet_runs_no_formula_and_keeps_numbers(three: Station) -> None:
    exported = three.export(Filter(), "csv")
    rows = list(csv.DictReader(io.StringIO(exported.data.decode("utf-8-sig"))))
    assert [row["name"] for row in rows] == ["'=cmd|' /C calc'!A0.png", "part.png", "part.png"]
    assert (rows[2]["feedback"], rows[2]["comment"]) == ("good", "'+1")
    assert float(rows[2]["raw_score"]) == pytest.approx(240 / 255)
    assert (rows[2]["verdict"], rows[2]["regions"]) == ("anomalous", "1")


def test_json_lines_have_unique_ids_and_say_where_they_come_from(three: Station) -> None:
    exported = three.export(Filter(), "jsonl")
    rows = [json.loads(line) for line in exported.data.splitlines()]
    assert len({row["id"] for row in rows}) == 3
    assert [row["path"] for row in rows][1:] == ["part.png", "part.png"]
    assert {row["inspection"] for row in rows} == {r.id for r in three.find(Filter()).items}
    assert rows[2]["feedback"][0]["says"] == "good"


def test_coco_and_yolo_mark_the_spot(three: Station) -> None:
    coco = json.loads(three.export(Filter(), "coco").data)
    assert len(coco["images"]) == 3
    [one] = [a for a in coco["annotations"] if a["image_id"] == 3]
    assert rle.decode(one["segmentation"])[7, 9]
    with zipfile.ZipFile(io.BytesIO(three.export(Filter(), "yolo").data)) as archive:
        assert archive.testzip() is None
        stems = {image["file_name"].rpartition(".")[0] for image in coco["images"]}
        assert set(archive.namelist()) == {"data.yaml", *(f"labels/{stem}.txt" for stem in stems)}
        name = f"labels/{coco['images'][2]['file_name'].rpartition('.')[0]}.txt"
        values = archive.read(name).decode().split()
    assert values[0] == "0"
    xs, ys = [float(v) for v in values[1::2]], [float(v) for v in values[2::2]]
    assert min(xs) <= 4 / 60 + 0.02
    assert max(xs) >= 14 / 60 - 0.02
    assert min(ys) <= 2 / 40 + 0.03
    assert max(ys) >= 12 / 40 - 0.03


def test_label_studio_has_a_task_for_each_picture(three: Station) -> None:
    tasks = json.loads(three.export(Filter(verdict="anomalous"), "label-studio").data)
    assert len(tasks) == 2
    assert all(task["predictions"][0]["result"] for task in tasks)


def test_the_report_shows_words_as_text_and_holds_its_pictures(three: Station) -> None:
    page = three.export(Filter(), "html").data.decode()
    assert "&lt;b&gt;shade" in page
    assert "<b>shade" not in page
    assert page.count("data:image/jpeg") >= 3
    assert three.export(Filter(line="caps", verdict="unsure"), "html").data.startswith(b"<!")


def test_what_no_file_could_hold_is_refused(
    three: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OptionError):
        three.export(Filter(), "pdf")  # type: ignore[arg-type]
    monkeypatch.setattr(exports, "MOST_SHOWN", 2)
    with pytest.raises(OptionError, match="takes 2"):
        three.export(Filter(), "html")
