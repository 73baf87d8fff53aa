"""The demo line: there after one call, whole after a second one, and honest about what it shows."""

from __future__ import annotations

import time
from types import ModuleType

import pytest

from blemish.service import demo
from blemish.service.station import Station
from blemish.service.types import ENDED, Filter
from blemish.synthesis.procedural import DEFECTS


@pytest.fixture
def made(station: Station, shade: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Station:
    """A station whose demo line is ready and has inspected its parts."""
    monkeypatch.setattr(demo, "DETECTOR", "shade")
    station.demo()
    end = time.monotonic() + 30
    while not (jobs := station.jobs("demo")) or jobs[0].state not in ENDED:
        assert time.monotonic() < end
        time.sleep(0.01)
    return station


def test_it_learns_good_parts_and_inspects_others_of_each_kind(made: Station) -> None:
    references = [one.name for one in made.version("demo", 1).references]
    shown = [row.name for row in made.find(Filter(line="demo")).items]
    assert len(references) == demo.GOOD
    assert all(name.endswith("-good.png") for name in references)
    assert set(references) & set(shown) == set()
    kinds = sorted(name.rpartition("-")[2].removesuffix(".png") for name in shown)
    assert kinds == sorted([*(demo.SHOWN * ["good"]), *DEFECTS[demo.KIND]])


def test_a_second_call_makes_nothing_twice(made: Station) -> None:
    before = made.find(Filter()).total
    assert made.demo().name == "demo"
    time.sleep(0.1)
    assert [line.name for line in made.lines()] == ["demo"]
    assert len(made.jobs("demo")) == 1
    assert made.find(Filter()).total == before
