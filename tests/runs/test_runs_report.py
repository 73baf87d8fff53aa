"""The report of a run tells what its rows say, and bears with pictures that are gone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from blemish.calibration import Calibration
from blemish.runs import folder, report, run, sources


@pytest.fixture
def out(stub: ModuleType, ten: Path, tmp_path: Path) -> Path:
    (ten / "bad.png").write_bytes(b"")
    made = tmp_path / "out"
    labels = {"3.png": "anomalous"}
    run.inspect(stub.Darkness(), sources.find(ten), made, class_name="nut", labels=labels)
    return made


def pictures_of(page: str) -> dict[str, str]:
    """The piece of the page about each picture, by id."""
    pieces = re.findall(r"<article .*?</article>", page, re.DOTALL)
    return {re.search(r"<bdi>(.*?)</bdi>", piece)[1]: piece for piece in pieces}  # type: ignore[index]


def test_it_shows_every_picture_with_heat_and_marks(out: Path) -> None:
    page = (out / "report.html").read_text("utf-8")
    pieces = pictures_of(page)
    assert set(pieces) == {f"{i}.png" for i in range(10)}
    assert "Inspection of 11 pictures: nut" in page
    assert 'class="heat"' in pieces["3.png"]
    assert 'class="marks"' in pieces["3.png"]
    assert 'class="marks"' not in pieces["4.png"]
    assert "top left" in pieces["3.png"]
    assert "Label" in pieces["3.png"]
    assert "bad.png" in page.split("Could not be inspected")[1]
    point = Calibration.from_json(json.loads((out / "run.json").read_text())["calibration"])
    assert f"raw score {point.threshold:.4g}" in page


def test_a_picture_that_is_gone_or_changed_shows_its_overlay(
    stub: ModuleType, ten: Path, out: Path
) -> None:
    (ten / "3.png").unlink()
    stub.draw(ten / "7.png", 0)
    found, record = folder.read_rows(out)[0], folder.read_record(out)
    assert record
    report.write(out, record, found)
    pieces = pictures_of((out / "report.html").read_text("utf-8"))
    for name in ("3.png", "7.png"):
        assert "anomalous" in pieces[name]
        assert "data:image/" in pieces[name]
        assert "<svg" not in pieces[name]
    for overlay in (out / "overlays").iterdir():
        overlay.unlink()
    report.write(out, record, found)
    assert len(pictures_of((out / "report.html").read_text("utf-8"))) == 10
