from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import weakref
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import numpy as np
import PIL.Image
import pytest

from blemish.errors import OutputError
from blemish.report.html import Card, write_report
from blemish.types import AnomalyMap, Failure, Image, Reason, Region

VOID = {"meta", "img", "input", "image", "path", "rect"}
HOSTILE = """<script>alert("x")</script>' onerror="y" & $title {{7*7}}.png"""


class Page(HTMLParser):
    """Checks that elements nest, and collects what a test wants to see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def card(name: str, verdict: str = "normal", score: float | None = 0.1, **more: Any) -> Card:
    row = {
        "id": name,
        "verdict": verdict,
        "score": score,
        "decided_by": "calibration",
        "reason": "inside the band" if verdict == "unsure" else "",
        "explanation": more.pop("explanation", ""),
        "evidence": more.pop("evidence", {}),
    }
    image = more.pop("image", np.full((48, 64, 3), 128, np.uint8))
    return Card(row, image, **more)


def spot(label: int = 1, position: str = "top left", view: int = 0) -> Region:
    return Region(label, (4, 6, 24, 26), np.ones((20, 20), np.bool_), 0.87, position, view)


def heat(score: float, height: int = 48, width: int = 64) -> AnomalyMap:
    return np.full((height, width), score, np.float32)


def write(folder: Path, *rows: Card | Failure, **summary: str) -> str:
    write_report(folder / "report.html", title="Line 3", rows=iter(rows), summary=summary)
    return (folder / "report.html").read_text("utf-8")


def some() -> list[Card | Failure]:
    return [
        card("good.png"),
        card("maybe.png", "unsure", 0.52, scores=heat(0.52)),
        card("bad.png", "anomalous", 0.87, scores=heat(0.9), regions=[spot()], label="anomalous"),
        Failure("cut.png", "ImageError", "cut.png ends after 312 bytes."),
    ]


def test_every_picture_is_said_with_its_verdict_and_the_worst_comes_first(tmp_path: Path) -> None:
    text = write(tmp_path, *some(), Detector="patch-memory", Calibration="1 in 20 good parts")
    page = Page(text)
    for words in ("1 anomalous", "1 unsure", "1 normal", "1 failed", "patch-memory", "1 in 20"):
        assert words in text
    rows = re.findall(r'<tr data-card="(.*?)">.*?<bdi>(.*?)</bdi>', text, re.S)
    assert [name for _, name in rows] == ["bad.png", "maybe.png", "good.png"]
    assert [a["id"] for a in page.all("article")] == [key for key, _ in rows]
    assert "inside the band" in text
    assert "cut.png ends after 312 bytes." in text
    assert re.search(r"<td>1</td><td>top left</td>.*0\.87.*400", text)


def test_a_picture_without_a_score_lies_between_and_shows_a_dash(tmp_path: Path) -> None:
    rows = [card("b", "unsure", None), card("a", "unsure", 0.5), card("c", "anomalous", 0.7)]
    text = write(tmp_path, *rows)
    assert re.findall(r"<h3.*?<bdi>(.)</bdi>", text) == ["c", "a", "b"]
    assert "None" not in text
    assert '<td class="number" data-value="">–</td>' in text


def test_what_others_wrote_is_text(tmp_path: Path) -> None:
    hostile = card(HOSTILE, explanation=HOSTILE, label=HOSTILE, regions=[spot(position=HOSTILE)])
    write_report(
        tmp_path / "report.html",
        title=HOSTILE,
        rows=[hostile, Failure(HOSTILE, "ImageError", HOSTILE)],
        summary={HOSTILE: HOSTILE},
    )
    text = (tmp_path / "report.html").read_text("utf-8")
    page = Page(text)
    assert len(page.all("script")) == 1
    assert not [attrs for _, attrs in page.elements if any(name.startswith("on") for name in attrs)]
    assert "alert(" not in re.sub(r"&lt;script&gt;alert\(", "", text)
    assert f"Photo of {HOSTILE}" in [attrs.get("alt") for attrs in page.all("img")]
    assert unescape(text).count(HOSTILE) >= 10


def test_a_file_name_that_is_no_text_is_shown_escaped(tmp_path: Path) -> None:
    assert r"part\udcff.png" in write(tmp_path, card("part\udcff.png"))


def test_nothing_comes_from_outside(tmp_path: Path) -> None:
    text = write(tmp_path, *some())
    page = Page(text)
    assert not re.search(r"(https?:)?//\w+\.\w+", re.sub(r"base64,[\w+/=]+", "", text))
    for attrs in page.all("img") + page.all("image"):
        assert (attrs.get("src") or attrs.get("href") or "").startswith("data:image/")
    assert not page.all("link") + page.all("iframe")
    assert not [attrs for _, attrs in page.elements if "style" in attrs], "blocked by the policy"
    policy = next(a["content"] for a in page.all("meta") if "http-equiv" in a) or ""
    assert policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        assert body
        digest = base64.b64encode(hashlib.sha256(body[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_heat_is_laid_over_what_has_some(tmp_path: Path) -> None:
    text = write(
        tmp_path,
        card("none.png"),
        card("low.png", scores=heat(0.35)),
        card("high.png", "anomalous", 1.0, scores=heat(1.0, 600, 800)),
    )
    layers = Page(text).all("image")
    assert len(layers) == 1
    data = base64.b64decode((layers[0]["href"] or "").split(",")[1])
    layer = np.asarray(PIL.Image.open(io.BytesIO(data)))
    assert layer.shape == (120, 160, 4)
    assert set(layer[..., 3].ravel()) == {140}


def test_regions_of_the_first_view_are_outlined_and_all_are_listed(tmp_path: Path) -> None:
    regions = [spot(1), spot(2, "bottom right", view=1)]
    text = write(tmp_path, card("a.png", "anomalous", 0.9, regions=regions))
    page = Page(text)
    assert page.all("svg")[0]["viewbox"] == "0 0 640 480"
    paths = page.all("path")
    assert [attrs.get("class") for attrs in paths] == ["halo", None]
    points = re.findall(r"(-?\d+),(-?\d+)", paths[0]["d"] or "")
    assert min(int(x) for x, _ in points) == pytest.approx(40, abs=5)
    assert max(int(y) for _, y in points) == pytest.approx(260, abs=5)
    assert re.findall(r"<text.*?>(\d+)</text>", text) == ["1"]
    assert "bottom right" in text


def test_evidence_unfolds_as_text(tmp_path: Path) -> None:
    evidence = {
        "operating_point": 0.123456789,
        "dropped": [],
        "views": [{"replies": [f"region 1: 0.9\n{HOSTILE}"], "scores": {"1": 0.9}}],
        "size": [4, 5],
    }
    text = write(tmp_path, card("a.png", evidence=evidence), card("b.png"))
    (body,) = re.findall(r"<details><summary>Evidence</summary><pre>(.*?)</pre>", text, re.S)
    assert unescape(body).splitlines() == [
        *("operating_point: 0.123457", "dropped: –", "views:", "  1:", "    replies:"),
        *("      region 1: 0.9", f"      {HOSTILE}", "    scores:", "      1: 0.9", "size: 4, 5"),
    ]
    assert len(Page(text).all("script")) == 1
    long = write(tmp_path, card("a.png", evidence={"reply": "<" * 100_000}))
    assert "inspections.jsonl has the rest" in long
    assert len(long) - len(text) < 30_000


def test_an_unsure_verdict_says_why_in_words(tmp_path: Path) -> None:
    rows = []
    for reason in get_args(Reason)[1:]:
        one = card(f"{reason}.png", "unsure", None)
        rows.append(Card({**one.inspection, "reason": reason}, one.image))
    said = re.findall(r"<dt>Unsure</dt><dd>(.*?): (.+?)</dd>", write(tmp_path, *rows))
    assert {reason for reason, _ in said} == set(get_args(Reason)[1:])
    assert len({words for _, words in said}) == len(said)


def test_headers_sort_and_say_so_and_controls_are_labelled(tmp_path: Path) -> None:
    text = write(tmp_path, *some())
    headers = re.findall(r'<th scope="col"([^>]*)><button type="button">(\w+)</button>', text)
    assert [name for _, name in headers] == ["File", "Verdict", "Score", "Position", "Label"]
    assert [name for more, name in headers if "aria-sort" in more] == ["Verdict"]
    assert re.search(r"<label[^>]*>Heat <input id=\"heat\" type=\"range\"", text)
    assert all("alt" in attrs for attrs in Page(text).all("img"))
    assert '<html lang="en">' in text
    assert '<main class="unlabelled">' not in text
    assert '<main class="unlabelled">' in write(tmp_path, card("a.png"))


def test_rich_textures_stay_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (700, 900, 3), dtype=np.uint8)
    rough = rng.random((700, 900), dtype=np.float32)
    empty = len(write(tmp_path))
    one = len(write(tmp_path, card("a.png", "anomalous", 1.0, image=noise, scores=rough)))
    # The heat of pure noise is five times what a detector's smooth map takes.
    assert one - empty < 60_000 + 60_000
    smooth = len(write(tmp_path, card("a.png", image=noise, scores=heat(0.7))))
    assert smooth - empty < 60_000


def test_pictures_are_asked_for_one_at_a_time(tmp_path: Path) -> None:
    seen: list[weakref.ref[Image]] = []

    def rows() -> Iterator[Card]:
        for i in range(6):
            image = np.zeros((32, 32, 3), np.uint8)
            seen.append(weakref.ref(image))
            assert sum(held() is not None for held in seen) <= 2
            yield card(f"{i}.png", image=image)

    write_report(tmp_path / "report.html", title="t", rows=rows(), summary={})


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path, *some()) == write(tmp_path, *some())


def test_a_run_without_pictures_has_a_page(tmp_path: Path) -> None:
    Page(write(tmp_path))
    page = Page(write(tmp_path, Failure("a.png", "ImageError", "a.png is empty.")))
    assert not page.all("article")


def test_an_interrupted_report_leaves_the_old_one(tmp_path: Path) -> None:
    before = write(tmp_path, *some())

    def broken() -> Iterator[Card]:
        yield card("a.png")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path / "report.html", title="t", rows=broken(), summary={})
    assert (tmp_path / "report.html").read_text("utf-8") == before
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(OutputError, match=r"report\.html cannot be written: .*output folder"):
            write_report(folder / "report.html", title="t", rows=[], summary={})
