"""Two at once: each ends as if one had come after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import event, update

from blemish.errors import ConflictError, ServiceError, StoreBusyError
from blemish.service import compare, records
from blemish.service.settings import ServiceSettings
from blemish.service.station import Station
from blemish.service.store import tables as t
from blemish.service.store.columns import now
from blemish.service.types import Filter


def test_a_job_whose_last_files_are_stored_at_once_is_done(
    shade: ModuleType, settings: ServiceSettings
) -> None:
    """In PostgreSQL neither of two transactions sees what the other has not committed."""
    with Station(settings) as first:
        shade.make_caps(first)
    second = Station(settings.model_copy(update={"workers": 2, "batch": 1}))
    job = second.submit("caps", [shade.picture(0), shade.picture(90)])
    with second._shop.database.session() as session:
        session.execute(update(t.Job).values(started=now()))  # others of its files have ended
    if settings.database:
        event.listen(second._shop.database._engine, "commit", lambda _: time.sleep(1))
    with second:
        assert second.wait(job.id, 15).state == "done"


def test_cancelling_what_ends_at_that_moment_says_what_became_of_it(
    station: Station, caps: str, shade: ModuleType
) -> None:
    for _ in range(12):
        job = station.submit(caps, [shade.picture(0), shade.picture()])
        station.cancel(job.id)
        ended = station.wait(job.id, 10)
        states = [item.state for item in ended.items]
        assert ended.state == ("done" if states == ["done"] * 2 else "cancelled")
        assert set(states) <= {"done", "cancelled"}
        found = station.find(Filter(job=job.id)).total
        assert found == states.count("done")


def test_of_two_fits_at_once_one_is_refused(station: Station, caps: str, shade: ModuleType) -> None:
    start = threading.Barrier(4)

    def fit(_: int) -> bool:
        start.wait()
        try:
            station.fit(caps)
        except ConflictError:
            return False
        return True

    fits = shade.Shade.fits
    with ThreadPoolExecutor(4) as pool:
        made = sum(pool.map(fit, range(4)))
    shade.until_fitted(station, caps)
    numbers = [version.number for version in station.versions(caps)]
    assert numbers == list(range(1 + made, 0, -1))
    assert shade.Shade.fits == fits + made
    assert made >= 1


def test_switching_while_a_version_is_fitted(
    station: Station, caps: str, shade: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    station.fit(caps)
    shade.until_fitted(station, caps)
    fit, begun, goes_on = shade.Shade.fit, threading.Event(), threading.Event()

    def slow(self: Any, *given: Any) -> Any:
        begun.set()
        assert goes_on.wait(10)
        return fit(self, *given)

    monkeypatch.setattr(shade.Shade, "fit", slow)
    station.fit(caps)
    assert begun.wait(10)
    assert station.switch(caps, 1).current == 1
    with pytest.raises(ConflictError, match="fitting"):
        station.switch(caps, 3)
    [item] = station.wait(station.submit(caps, [shade.picture(0)]).id, 10).items
    assert station.inspection(item.inspection).version == 1
    goes_on.set()
    shade.until_fitted(station, caps)
    assert station.line(caps).current == 3


def test_a_version_is_fitted_though_the_store_is_away_for_a_moment(
    station: Station, caps: str, shade: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    version_called = records.version_called
    refused: list[int] = []

    def away(*given: Any) -> t.Version:
        if len(refused) < 2:
            refused.append(1)
            raise StoreBusyError("The database is locked or away.")
        found: t.Version = version_called(*given)
        return found

    monkeypatch.setattr(records, "version_called", away)
    station.fit(caps)
    shade.until_fitted(station, caps)
    assert len(refused) == 2
    assert [v.state for v in station.versions(caps)] == ["ready", "ready"]


def test_closing_while_answers_and_events_are_under_way(
    shade: ModuleType, settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Station(settings.model_copy(update={"workers": 1, "batch": 1})) as station:
        shade.make_caps(station, pause=0.05)
        job = station.submit("caps", [shade.picture(0, shift=n) for n in range(40)])
        events = station.events(job.id)
        next(events)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    with Station(settings) as again:
        assert again.wait(job.id, 20).done == 40
        assert again.find(Filter()).total == 40
    assert threading.active_count() < 20


def slow_fit(shade: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    fit, goes_on = shade.Shade.fit, threading.Event()

    def slow(self: Any, *given: Any) -> Any:
        assert goes_on.wait(20)
        return fit(self, *given)

    monkeypatch.setattr(shade.Shade, "fit", slow)
    return goes_on.set


def test_a_preview_keeps_nobody_waiting(
    station: Station, caps: str, shade: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [
        i.inspection
        for i in station.wait(
            station.submit(caps, [shade.picture(0), shade.picture(90)]).id, 10
        ).items
    ]
    station.say(ids[0], "good")
    monkeypatch.setattr(compare, "_PATIENCE", 0.05)
    goes_on = slow_fit(shade, monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        preview = pool.submit(station.preview, caps)
        try:
            while not station._comparing._one.locked():
                time.sleep(0.01)
            assert station.find(Filter()).total == 2
            assert station.health(caps).waiting
            job = station.wait(station.submit(caps, [shade.picture(30)]).id, 10)
            assert job.state == "done"
            with pytest.raises(ServiceError, match="are being compared"):
                station.preview(caps)
        finally:
            goes_on()
        assert preview.result(10).looked_at >= 2
    assert station.preview(caps).looked_at == 3


def test_a_comparison_takes_a_while_at_most_and_says_how_far_it_came(
    shade: ModuleType, settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Station(settings.model_copy(update={"batch": 2})) as station:
        shade.make_caps(station)
        station.wait(station.submit("caps", [shade.picture(0, shift=n) for n in range(20)]).id, 20)
        station.fit("caps", changes={"options": {"pause": 0.02}})
        shade.until_fitted(station, "caps")
        monkeypatch.setattr(compare, "LONGEST", 0.1)
        first = station.compare("caps", 1, 2)
        assert 0 < first.looked_at < 20
        assert first.looked_at + first.left_out == 20
        for _ in range(20):
            last = station.compare("caps", 1, 2)  # it goes on where it stopped
        assert (last.looked_at, last.left_out) == (20, 0)
