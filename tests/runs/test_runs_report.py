"""The report of a run tells what its rows say, and bears with pictures that are gone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest

from blemish.calibration import Calibration
from blemish.detectors._gpt4v_ad_options import GPT4VADOptions
from blemish.detectors.gpt4v_ad import GPT4VAD
from blemish.llms.cache import Cached
from blemish.llms.scripted import Scripted
from blemish.runs import folder, pictures, report, run, sources
from blemish.runs.context import Context
from blemish.types import Reply, Usage


@pytest.fixture
def out(stub: ModuleType, ten: Path, tmp_path: Path) -> Path:
    (ten / "bad.png").write_bytes(b"")
    made = tmp_path / "out"
    labels = {"3.png": "anomalous"}
    run.inspect(stub.Darkness(), sources.find(ten), made, context=Context("nut"), labels=labels)
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


@pytest.fixture
def asked(ten: Path, tmp_path: Path) -> Path:
    """A run of a detector without a calibration: four pictures, of which the first has a finding.

    A language model's scores are in [0, 1] as they are; here 0.8 is the limit.
    """
    paid = Usage(model_calls=1, tokens_in=800, tokens_out=12, cost=0.25)
    said = [
        Reply("region 6: 0.9; region 16: 0.3.\n<b>Look there!</b>", paid),
        Reply("region 6: 0.4", paid),
        Reply("", paid, "refused"),
        Reply("No anomalies.", paid),
    ]
    options: dict[str, Any] = {"regions": "grid", "cells": 4, "threshold": 0.8}
    detector = GPT4VAD(language_model=Scripted(said), options=GPT4VADOptions(**options))
    return run.inspect(detector, sources.find(ten)[:4], tmp_path / "asked").out


def test_written_scores_are_painted_on_the_same_scale(asked: Path) -> None:
    raw = np.array([[0, 0.4, 0.8, 0.9, 1]], np.float32)
    painted = pictures.painted(raw, 0.8)
    assert painted is not None
    assert painted[0].tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1])  # 0.5 at the limit

    pieces = pictures_of((asked / "report.html").read_text("utf-8"))
    assert [name for name, piece in pieces.items() if 'class="heat"' in piece] == ["0.png"]
    assert [name for name, piece in pieces.items() if 'class="marks"' in piece] == ["0.png"]
    for name, least, most in (("0", 20, 255), ("1", 0, 3), ("3", 0, 3)):
        (overlay,) = (asked / "overlays").glob(f"{name}-*.jpg")
        with PIL.Image.open(overlay) as drawn:
            middle = np.asarray(drawn.crop((200, 140, 280, 180)), int)  # of region 6
        assert least <= np.abs(middle - 240).max() <= most


def test_the_report_tells_what_was_asked_answered_and_paid(asked: Path) -> None:
    page = (asked / "report.html").read_text("utf-8")
    assert "scripted: 4 calls, 3,200 tokens in, 48 out, cost 1" in page
    pieces = pictures_of(page)
    assert "refused: the language model declined to answer" in pieces["2.png"]
    assert "1 region at" in pieces["0.png"]
    evidence = re.search(r"<details>.*?</details>", pieces["0.png"], re.DOTALL)
    assert evidence
    assert "This is an image of object" in evidence[0]
    assert re.search(r"region 16: 0\.3\.\n +&lt;b&gt;Look there!&lt;/b&gt;\n", evidence[0])
    record = folder.read_record(asked)
    assert record
    used = {"model_calls": 4, "tokens_in": 3200, "tokens_out": 48, "cost": 1.0}
    assert record["usage"] == used


def test_a_run_whose_replies_were_all_kept_says_so(ten: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"regions": "grid", "cells": 4}
    pages = []
    for name in ("first", "second"):
        model = Cached(Scripted(lambda _: "No anomalies."), tmp_path / "replies")
        detector = GPT4VAD(language_model=model, options=GPT4VADOptions(**options))
        done = run.inspect(detector, sources.find(ten)[2:4], tmp_path / name)
        pages.append(done.report.read_text("utf-8"))
    assert "scripted: 2 calls<" in pages[0]
    assert "scripted: no new call, every reply was kept" in pages[1]
