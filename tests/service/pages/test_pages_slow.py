"""Previews and comparisons: how many are worked on and kept, and how much feedback they apply."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from blemish.errors import ServiceError
from blemish.service.app import create_app
from blemish.service.pages import slow
from blemish.service.pages.slow import Slow
from blemish.service.station import Station


def test_what_is_done_keeps_nothing_else_waiting() -> None:
    works = Slow()
    for number in range(3 * slow._MOST_KEPT):
        assert works.get(number, lambda: "done", 5) == "done"
    assert len(works._works) <= slow._MOST_KEPT + 1
    asked: list[int] = []
    assert works.get(number, lambda: asked.append(1), 5) == "done"  # the newest are kept
    assert asked == []


def test_too_much_at_once_is_refused_until_something_is_done() -> None:
    works, go_on = Slow(), threading.Event()
    for number in range(slow._AT_ONCE):
        with pytest.raises(TimeoutError):
            works.get(number, go_on.wait, 0)
    with pytest.raises(ServiceError):
        works.get("one more", lambda: "done", 5)
    go_on.set()
    for number in range(slow._AT_ONCE):
        assert works.get(number, go_on.wait, 5)
    assert works.get("one more", lambda: "done", 5) == "done"


def test_results_are_kept_for_a_while_and_faults_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    works, now, asked = Slow(), time.monotonic(), []

    def ask(fails: bool) -> None:
        asked.append(fails)
        if fails:
            raise ServiceError("Not now.")

    def both() -> None:
        works.get("result", lambda: ask(False), 5)
        with pytest.raises(ServiceError):
            works.get("fault", lambda: ask(True), 5)

    for later, count in ((0, 2), (1, 2), (10, 3), (70, 5)):
        monkeypatch.setattr(time, "monotonic", lambda: now + later)  # noqa: B023
        both()
        assert len(asked) == count


def test_thousands_of_words_are_applied_by_one_form(
    station: Station, caps: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied: list[Any] = []
    monkeypatch.setattr(station, "apply", lambda _, ids: applied.extend(ids))
    client = TestClient(create_app(station), base_url="http://localhost:8000")
    ids = [f"{number:032x}" for number in range(5000)]
    assert client.post("/lines/caps/apply", data={"ids": ids}).url.path == "/lines/caps"
    assert applied == ids
    assert client.post("/lines/caps/apply", data={"ids": 3 * ids}).status_code == 400
