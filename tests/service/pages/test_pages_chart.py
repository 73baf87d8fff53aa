"""Rates over time as a drawing."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from blemish.service.pages import chart
from blemish.service.quality import Rates


def test_the_chart_puts_rates_where_they_belong() -> None:
    # 2 of 8, and 2 of 16 when both days count together; no defective part is known.
    days = [
        ("2026-03-01", Rates(good=8, overkill=2)),
        ("2026-03-03", Rates(good=8, overkill=0)),
        ("2026-03-04", Rates(inspected=9)),
    ]
    drawn = ElementTree.fromstring(str(chart.rates(days)))
    signs = drawn.iterfind("circle[@class='overkill']")
    discs = [(float(sign.get("cx", "")), float(sign.get("cy", ""))) for sign in signs]
    grid = [
        float(re.findall(r"[\d.]+", a.get("d", ""))[1])
        for a in drawn.iterfind("path[@class='grid']")
    ]
    bottom, top = max(grid), min(grid)
    share = [(bottom - y) / (bottom - top) for _, y in discs]
    assert share == pytest.approx([0.25 / 0.5, 0.125 / 0.5], abs=0.01)
    assert discs[0][0] < discs[1][0]
    assert drawn.find("rect") is None
    assert "2 of 16" in "".join(drawn.itertext())
    assert chart.rates([("2026-03-04", Rates(inspected=9))]) == ""


def test_rates_of_long_ago_do_not_join_those_of_now() -> None:
    days = [("2026-01-01", Rates(good=1, overkill=1)), ("2026-03-03", Rates(good=4, overkill=0))]
    assert "0 of 4" in str(chart.rates(days))


def test_rates_that_are_the_same_are_both_seen() -> None:
    of = Rates(good=4, overkill=1, defective=4, missed=1)
    text = str(chart.rates([("2026-03-01", of), ("2026-03-02", of)]))
    drawn = ElementTree.fromstring(text)
    disc, square = drawn.find("circle"), drawn.find("rect")
    assert disc is not None
    assert square is not None
    around = float(square.get("width", "")) / 2
    assert float(square.get("x", "")) + around == pytest.approx(float(disc.get("cx", "")), abs=0.1)
    assert around > float(disc.get("r", "")) + 1
    # What is drawn later lies above: the dashed line, through which the solid one is seen.
    assert text.index('class="line overkill"') < text.index('class="line miss"')
