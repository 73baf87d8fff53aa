"""Detectors that wait for an endpoint: many pictures at once, none of which waits for another."""

from __future__ import annotations

import json
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from blemish.detectors._gpt4v_ad_options import GPT4VADOptions
from blemish.detectors.gpt4v_ad import GPT4VAD
from blemish.errors import AccessError, BudgetError, ChatError
from blemish.llms.scripted import Scripted
from blemish.runs import run, sources
from blemish.types import Inspection, Sample

AT_ONCE = 8


@pytest.fixture
def parts(stub: ModuleType, tmp_path: Path) -> Path:
    folder: Path = stub.draw_parts(tmp_path / "parts", 24)
    return folder


def asking(stub: ModuleType, before: Callable[[Sample], None], many: int = AT_ONCE) -> Any:
    """A detector that is given so many pictures at once, and does something before each."""

    class Asking(stub.Darkness):  # type: ignore[misc, name-defined]
        at_once = many

        def predict(self, samples: Any) -> Any:
            (sample,) = samples
            before(sample)
            return super().predict(samples)

    return Asking()


def written(out: Path) -> list[str]:
    return [
        json.loads(line)["id"] for line in (out / "inspections.jsonl").read_bytes().splitlines()
    ]


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_so_many_pictures_are_under_way(stub: ModuleType, parts: Path, tmp_path: Path) -> None:
    together = threading.Barrier(AT_ONCE, timeout=20)

    def meet(_: Sample) -> None:
        together.wait()

    summary = run.inspect(asking(stub, meet), sources.find(parts), tmp_path / "out")
    assert [row["id"] for row in summary.rows] == [f"{i}.png" for i in range(24)]
    assert summary.counts == {"normal": 22, "anomalous": 2, "unsure": 0, "failed": 0}
    assert sorted(written(tmp_path / "out")) == sorted(row["id"] for row in summary.rows)


def test_one_that_hangs_holds_up_no_other_and_loses_none(
    stub: ModuleType, parts: Path, tmp_path: Path
) -> None:
    out, seen_by_then = tmp_path / "out", []

    def hang(sample: Sample) -> None:
        if sample.id == "0.png":
            wait_until(lambda: len(written(out)) == 23)
            seen_by_then.extend(written(out))

    progress: list[int] = []
    run.inspect(
        asking(stub, hang),
        sources.find(parts),
        out,
        on_progress=lambda done, _: progress.append(done),
    )
    assert "0.png" not in seen_by_then
    assert written(out) == [*seen_by_then, "0.png"]
    assert progress == list(range(25))


@pytest.mark.parametrize("many", [1, AT_ONCE])
def test_a_question_without_an_answer_costs_its_own_picture_and_is_asked_once(
    stub: ModuleType, parts: Path, tmp_path: Path, many: int
) -> None:
    asked: list[str] = []

    def fail(sample: Sample) -> None:
        asked.append(sample.id)
        if sample.id in ("2.png", "11.png"):
            raise ChatError("no answer")

    summary = run.inspect(asking(stub, fail, many), sources.find(parts), tmp_path / "out")
    assert [row["id"] for row in summary.rows if "error" in row] == ["2.png", "11.png"]
    assert set(Counter(asked).values()) == {1}
    assert len(asked) == 24


def test_a_budget_that_is_used_up_stops_the_run_and_keeps_what_was_paid(
    stub: ModuleType, parts: Path, tmp_path: Path
) -> None:
    out, paid, stopped = tmp_path / "out", [], threading.Event()

    def pay(sample: Sample) -> None:
        if sample.id == "10.png":
            stopped.set()
            raise BudgetError("used up")
        paid.append(sample.id)
        if int(sample.id[:-4]) > 6:  # answered only after another was refused
            stopped.wait(20)
            time.sleep(0.05)

    summary = run.inspect(asking(stub, pay), sources.find(parts), out)
    assert isinstance(summary.stopped, BudgetError)
    assert sorted(written(out)) == sorted(paid) == sorted(row["id"] for row in summary.rows)
    assert summary.report.is_file()
    assert len(paid) < 20
    again = asking(stub, lambda _: None)
    assert run.inspect(again, sources.find(parts), out).kept == len(paid)
    assert sorted(again.seen) == sorted({f"{i}.png" for i in range(24)} - set(paid))


@pytest.mark.parametrize("error", [BudgetError, AccessError])
def test_what_ends_a_run_before_anything_is_done_is_an_error(
    error: type[ChatError], stub: ModuleType, parts: Path, tmp_path: Path
) -> None:
    asked = []

    def refuse(sample: Sample) -> None:
        asked.append(sample.id)
        raise error("not with this key")

    with pytest.raises(error, match="not with this key"):
        run.inspect(asking(stub, refuse), sources.find(parts), tmp_path / "out")
    assert len(asked) <= AT_ONCE + 1


def test_a_detector_is_told_when_a_person_stops(
    stub: ModuleType, parts: Path, tmp_path: Path
) -> None:
    told = []

    def interrupt(sample: Sample) -> None:
        if sample.id == "10.png":
            raise KeyboardInterrupt

    detector = asking(stub, interrupt)
    detector.stop = lambda: told.append(True)
    with pytest.raises(KeyboardInterrupt):
        run.inspect(detector, sources.find(parts), tmp_path / "out")
    assert told == [True]


def test_pictures_are_held_only_while_they_are_under_way(
    stub: ModuleType, parts: Path, tmp_path: Path
) -> None:
    held: list[weakref.ref[Any]] = []
    most = 0

    def count(sample: Sample) -> None:
        nonlocal most
        held.append(weakref.ref(sample))
        most = max(most, sum(one() is not None for one in held))
        time.sleep(0.01)

    run.inspect(asking(stub, count), sources.find(parts), tmp_path / "out")
    assert most <= AT_ONCE + 3


def test_a_map_source_is_asked_by_one_thread_at_a_time(
    stub: ModuleType, parts: Path, tmp_path: Path
) -> None:
    inside, questions = threading.Lock(), threading.Barrier(16, timeout=20)

    class Computing(stub.Darkness):  # type: ignore[misc, name-defined]
        def predict(self, samples: Any) -> list[Inspection]:
            assert inside.acquire(blocking=False)
            time.sleep(0.005)
            found: list[Inspection] = super().predict(samples)
            inside.release()
            return found

    def said(_: Any) -> str:
        questions.wait()
        return "region 6: 0.9"

    grid: dict[str, Any] = {"regions": "grid", "cells": 4}
    detector = GPT4VAD(
        language_model=Scripted(said), map_source=Computing(), options=GPT4VADOptions(**grid)
    )
    items = sources.find(parts)[:16]
    summary = run.inspect(detector, items, tmp_path / "out", draw=False)
    assert {row["verdict"] for row in summary.rows} <= {"anomalous", "unsure"}
    assert all(np.isfinite(row["score"]) for row in summary.rows)
