from __future__ import annotations

import re
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from blemish.report.bars import beside
from blemish.report.html import Card, write_report
from blemish.report.letters import font, wrapped
from blemish.types import Image

ROWS = [("a dark hole", 0.32), ("loose threads", 0.24), ("a stain", 0.08)]
LONG = "a hole with frayed edges, where threads are torn and what lies behind shines through " * 2
HOSTILE = """<script>alert("x")</script> & more"""


def grey(height: int, width: int) -> Image:
    return np.full((height, width, 3), 128, np.uint8)


def runs(drawn: Image) -> list[tuple[int, int]]:
    """First column and width of each blue bar, from top to bottom."""
    blue = (drawn[..., 2].astype(int) - drawn[..., 0] > 100).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(blue)
    found = [stats[number] for number in range(1, count)]
    return [(int(s[0]), int(s[2])) for s in sorted(found, key=lambda s: s[1])]


def ink(drawn: Image) -> NDArray[np.bool_]:
    return np.asarray((drawn < 128).all(axis=2))


@pytest.mark.parametrize("size", [(640, 640), (2000, 1500), (640, 300)])
def test_bars_are_as_long_as_similarities_and_start_together(size: tuple[int, int]) -> None:
    found = runs(beside(grey(*size), ROWS))
    assert len({left for left, _ in found}) == 1
    longest = found[0][1]
    assert longest > 250
    for (_, width), (_, similarity) in zip(found, ROWS, strict=True):
        assert width == pytest.approx(longest * similarity / 0.32, abs=1)


def test_a_negative_similarity_points_to_the_other_side() -> None:
    first, second = runs(beside(grey(640, 640), [("a", 0.3), ("b", -0.1)]))
    assert first[1] == pytest.approx(3 * second[1], abs=3)
    assert first[0] == pytest.approx(second[0] + second[1], abs=1)


def test_similarities_of_nothing_have_no_bars() -> None:
    assert runs(beside(grey(640, 640), [("a", 0.0), ("b", 0.0)])) == []
    assert beside(grey(640, 640), []).shape[0] == 640


def test_the_picture_stays_as_it_is_and_bars_of_a_wide_one_are_below() -> None:
    rng = np.random.default_rng(0)
    for height, width, below in ((640, 640, False), (640, 1200, False), (200, 900, True)):
        picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        drawn = beside(picture, ROWS)
        assert (drawn[:height, :width] == picture).all()
        assert drawn.shape[1] == width if below else drawn.shape[0] == height
        rest = drawn[height:] if below else drawn[:, width:]
        assert len(runs(rest)) == 3


@pytest.mark.parametrize("text", [LONG, "x" * 400, LONG * 20, "", "\n a \t b"])
def test_long_texts_stay_inside(text: str) -> None:
    drawn = beside(grey(640, 640), [(text, 0.3), ("short", 0.2)])
    panel = drawn[:, 640:]
    written = np.flatnonzero(ink(panel).any(axis=0))
    assert written[0] >= 10
    assert written[-1] < panel.shape[1] - 10
    assert len(runs(panel)) == 2
    # However long the text is, the picture does not become a scroll.
    assert drawn.shape[0] < 1000


def test_many_descriptions_make_the_sheet_longer() -> None:
    drawn = beside(grey(640, 640), [(LONG, 0.3)] * 12)
    assert drawn.shape[0] > 640
    assert len(runs(drawn)) == 12
    assert not ink(drawn)[-10:, 640:].any()


def test_letters_can_be_read_at_full_size() -> None:
    panel = beside(grey(640, 640), [("H", 0.3)], title="")[:, 640:]
    rows = np.flatnonzero(ink(panel)[:, : panel.shape[1] // 2].any(axis=1))
    assert rows[-1] - rows[0] >= 9
    assert panel[0, 0].tolist() == [255, 255, 255]


def test_every_word_is_kept_and_every_line_fits() -> None:
    lines = wrapped(LONG, font(16), 200)
    assert " ".join(lines) == " ".join(LONG.split())
    assert len(lines) > 3
    assert max(font(16).getlength(line) for line in lines) <= 200
    # A line is not ended before it is full.
    for line, following in pairwise(lines):
        assert font(16).getlength(f"{line} {following.split()[0]}") > 200


def page(folder: Path, evidence: dict[str, Any]) -> str:
    row = {
        **{"id": "a.png", "verdict": "anomalous", "score": 0.9, "decided_by": "calibration"},
        **{"reason": "", "explanation": "", "evidence": evidence},
    }
    path = folder / "report.html"
    write_report(path, title="t", rows=[Card(row, grey(48, 64))], summary={})
    return path.read_text("utf-8").split("<main", 1)[1]


def described(*rows: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"text": text, "similarity": similarity} for text, similarity in rows]


def test_the_page_shows_descriptors_as_bars_and_not_as_text(tmp_path: Path) -> None:
    rows = [(HOSTILE, 0.32), *ROWS[1:]]
    text = page(tmp_path, {"operating_point": 0.2, "descriptors": described(*rows)})
    (table,) = re.findall(r'<table class="bars">.*?</table>', text, re.S)
    widths = [float(width) for width in re.findall(r'<rect x="0\.00" width="(.*?)"', table)]
    assert widths == pytest.approx([100, 75, 25])
    assert re.findall(r'<td class="number">(.*?)</td>', table) == ["0.320", "0.240", "0.080"]
    assert [unescape(one) for one in re.findall(r"<tr><td>(.*?)<svg", table)] == [
        one for one, _ in rows
    ]
    assert "style=" not in table, "blocked by the policy"
    assert "operating_point: 0.2" in text
    assert "descriptors:" not in text
    assert "<details>" not in page(tmp_path, {"descriptors": described(*rows)})


@pytest.mark.parametrize(
    "odd",
    ["words", [], ["words"], [{"text": "a"}], described(("a", None)), described(("a", "0.1"))],
    ids=str,
)
def test_what_only_has_that_name_stays_text(tmp_path: Path, odd: Any) -> None:
    text = page(tmp_path, {"descriptors": odd})
    assert 'class="bars"' not in text
    assert "descriptors" in text
