"""What is deleted is gone, with its files; what something else still names stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import func, select

from blemish.errors import ConflictError, NotFoundError, OutputError, SavedError
from blemish.service import erasing, jobs
from blemish.service.settings import ServiceSettings
from blemish.service.station import Station
from blemish.service.store import tables as t
from blemish.service.store.columns import now
from blemish.service.types import Filter, Upload

TABLES = (t.Line, t.Version, t.Job, t.Item, t.Inspection, t.Message, t.Feedback)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_REST", 0.01)


def inspected(station: Station, *uploads: Upload, line: str = "caps") -> list[str]:
    job = station.wait(station.submit(line, uploads).id, 20)
    return [item.inspection for item in job.items]


def kept(station: Station) -> set[str]:
    """The names of all files of the station, small pictures as what they are of."""
    folder = station.settings.folder
    files = [*folder.glob("files/*/*"), *folder.glob("small/*/*")]
    return {path.name.removesuffix(".jpg") for path in files}


def within(seconds: float, true: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def count(station: Station) -> list[int]:
    with station._shop.database.reading() as session:
        return [session.scalar(select(func.count(table.id))) or 0 for table in TABLES]


def files_of(station: Station, id: str) -> set[str]:
    with station._shop.database.reading() as session:
        row = session.scalars(select(t.Inspection).where(t.Inspection.id == id)).one()
        return {row.sha256, *row.maps}


def test_a_deleted_job_is_gone_with_the_files_of_those_that_failed(
    settings: ServiceSettings, shade: ModuleType
) -> None:
    with Station(settings) as station:
        shade.make_caps(station)
        [other] = inspected(station, shade.picture(120))
        before, rows = kept(station), count(station)
        job = station.submit("caps", [shade.picture(0), Upload("torn.png", b"\x89PNG torn")]).id
        assert (station.wait(job, 20).done, station.wait(job, 20).failed) == (1, 1)
        assert kept(station) > before
        station.delete_job(job)
        with pytest.raises(NotFoundError):
            station.job(job)
        within(10, lambda: kept(station) == before)
        assert count(station) == rows
        assert station.inspection(other)


def test_a_job_that_goes_on_is_not_deleted(
    settings: ServiceSettings, shade: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    predict = shade.Shade.predict

    def slow(*given: Any) -> Any:
        goes_on.wait(10)
        return predict(*given)

    with Station(settings) as station:
        shade.make_caps(station)
        monkeypatch.setattr(shade.Shade, "predict", slow)
        job = station.submit("caps", [shade.picture(0), shade.picture(50)]).id
        with pytest.raises(ConflictError, match="Cancel it"):
            station.delete_job(job)
        station.cancel(job)
        station.delete_job(job)
        goes_on.set()
        [after] = inspected(station, shade.picture(0))
        assert [one.id for one in station.find(Filter()).items] == [after]


def test_a_deleted_inspection_is_gone_with_its_files(
    settings: ServiceSettings, shade: ModuleType
) -> None:
    with Station(settings) as station:
        shade.make_caps(station)
        first, second = inspected(station, shade.picture(0), shade.picture(90, shift=9))
        station.say(first, "right", comment="A hole.")
        one, two = files_of(station, first), files_of(station, second)
        assert len(one | two) == 4
        assert one | two < kept(station)
        station.delete_inspection(first)
        for ask in (station.inspection, station.original, station.messages, station.picture):
            with pytest.raises(NotFoundError):
                ask(first)
        with pytest.raises(NotFoundError):
            station.delete_inspection(first)
        within(10, lambda: not one & kept(station))
        assert two < kept(station)
        [job] = station.jobs()
        assert job.total == 1
        station.delete_inspection(second)
        assert station.jobs() == ()
        assert count(station) == [1, 1, 0, 0, 0, 0, 0]
        within(10, lambda: not two & kept(station))
        assert station.maps(inspected(station, shade.picture(0))[0])


def test_a_picture_stays_while_another_inspection_or_a_version_names_it(
    station: Station, caps: str, shade: ModuleType
) -> None:
    same, again, other = inspected(
        station, shade.picture(0), shade.picture(0), shade.picture(90, shift=9)
    )
    station.say(other, "good")
    station.apply(caps)
    shade.until_fitted(station, caps)
    picture, reference = station.original(same).data, station.inspection(other).sha256
    station.delete_inspection(same)
    station.delete_inspection(other)
    [gone] = inspected(station, shade.picture(30, shift=20))
    last = files_of(station, gone)
    station.delete_inspection(gone)
    within(10, lambda: not last & kept(station))  # so the two before were looked at as well
    assert station.original(again).data == picture
    assert station.maps(again)
    assert reference in {r.sha256 for r in station.versions(caps)[0].references}
    assert station.image(reference)


def test_a_labelled_case_that_is_deleted_is_one_no_more(
    station: Station, caps: str, shade: ModuleType
) -> None:
    [faint] = inspected(station, shade.picture(230))
    station.say(faint, "defective")
    station.apply(caps)
    shade.until_fitted(station, caps)
    assert station.compare(caps, 1, 2).cases == (faint,)
    station.delete_inspection(faint)
    assert station.compare(caps, 1, 2).cases == ()
    station.fit(caps)
    shade.until_fitted(station, caps)
    assert station.line(caps).state == "ready"


def test_a_deleted_line_is_gone_and_its_name_is_free(
    settings: ServiceSettings, shade: ModuleType
) -> None:
    with Station(settings) as station:
        shade.make_caps(station)
        [id] = inspected(station, shade.picture(0))
        station.say(id, "good")
        station.apply("caps")
        shade.until_fitted(station, "caps")
        station.delete_line("caps")
        assert station.lines() == ()
        assert count(station) == [0] * 7
        folder = station.settings.folder
        within(10, lambda: not kept(station) and not list(folder.glob("detectors/*")))
        with pytest.raises(NotFoundError):
            station.delete_line("caps")
        shade.make_caps(station)
        assert station.line("caps").versions == 1
        assert station.inspection(inspected(station, shade.picture(0))[0]).verdict == "anomalous"


def test_a_line_may_go_while_its_parts_are_inspected(
    settings: ServiceSettings, shade: ModuleType
) -> None:
    with Station(settings.model_copy(update={"batch": 2})) as station:
        shade.make_caps(station, pause=0.01)
        job = station.submit("caps", [shade.picture(0, shift=n) for n in range(40)])
        events = station.events(job.id)
        next(events)
        station.delete_line("caps")
        with pytest.raises(NotFoundError):
            list(events)
        shade.make_caps(station)
        assert len(inspected(station, shade.picture(0), shade.picture())) == 2
        assert count(station) == [1, 1, 1, 2, 2, 0, 0]
        assert station.status().workers == station.settings.workers


def test_a_line_may_go_while_it_is_fitted_and_come_again_under_its_name(
    station: Station, caps: str, shade: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, begun, goes_on = shade.Shade.fit, threading.Event(), threading.Event()

    def slow(self: Any, *given: Any) -> Any:
        begun.set()
        assert goes_on.wait(10)
        return fit(self, *given)

    monkeypatch.setattr(shade.Shade, "fit", slow)
    station.fit(caps, [shade.picture(0)])
    assert begun.wait(10)
    station.delete_line(caps)
    threading.Timer(0.2, goes_on.set).start()
    shade.make_caps(station)
    version = station.version(caps, 1)
    assert len(version.references) == 1
    assert station.inspection(inspected(station, shade.picture(0))[0]).verdict == "anomalous"
    station._erasing._sweep_detectors()
    assert [p.name for p in station.settings.folder.glob("detectors/*")] == [station.line(caps).id]


def test_what_is_old_goes_and_labelled_cases_stay(
    settings: ServiceSettings, shade: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Station(settings.model_copy(update={"keep_days": 30})) as station:
        shade.make_caps(station)
        faint, dark = inspected(station, shade.picture(230), shade.picture(0))
        broken = station.wait(station.submit("caps", [Upload("b.png", b"broken")]).id, 10)
        station.say(faint, "defective")
        station.apply("caps")
        shade.until_fitted(station, "caps")
        old = files_of(station, dark)
        station._erasing.expire()
        assert station.find(Filter()).total == 2
        later = now() + timedelta(days=31)
        monkeypatch.setattr(erasing, "now", lambda: later)
        station._erasing.expire()
        assert [row.id for row in station.find(Filter()).items] == [faint]
        with pytest.raises(NotFoundError):
            station.job(broken.id)
        station._erasing._sweep_waiting()
        assert not old & kept(station)
        assert station.maps(faint)
        assert station.compare("caps", 1, 2).cases == (faint,)


def test_what_waits_is_never_old(
    shade: ModuleType, settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Station(settings) as first:
        shade.make_caps(first)
    idle = Station(settings.model_copy(update={"keep_days": 1}))
    job = idle.submit("caps", [shade.picture(0)])
    later = now() + timedelta(days=9)
    monkeypatch.setattr(erasing, "now", lambda: later)
    idle._erasing.expire()
    assert idle.job(job.id).total == 1
    idle.close()


def test_files_that_no_row_names_are_swept_up_at_a_start(
    shade: ModuleType, settings: ServiceSettings
) -> None:
    with Station(settings) as first:
        shade.make_caps(first)
        [id] = inspected(first, shade.picture(0))
        named = kept(first)
        # As a station leaves them that is killed between files and rows.
        orphan = first._shop.files.put(b"nobody's")
        first._shop.small.make("a" * 64, first._shop.image(first.inspection(id).sha256, "x"))
    with Station(settings) as second:
        within(10, lambda: not {orphan, "a" * 64} & kept(second))
        assert kept(second) == named
        assert second.maps(id)


@pytest.mark.parametrize("marked", [True, False])
def test_the_files_of_another_database_are_left_alone(
    shade: ModuleType, settings: ServiceSettings, tmp_path: Path, marked: bool
) -> None:
    with Station(settings) as first:
        shade.make_caps(first)
        inspected(first, shade.picture(0))
        before = kept(first)
    if not marked:  # as an older station left it
        (settings.folder / "database.id").unlink()
    other = settings.model_copy(update={"database": f"sqlite:///{tmp_path}/other.sqlite3"})
    with pytest.raises(SavedError, match="of another database"):
        Station(other)
    with Station(settings) as again:
        assert kept(again) == before
        assert inspected(again, shade.picture(90))


def test_a_request_that_is_refused_leaves_no_file(
    station: Station, caps: str, shade: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    [id] = inspected(station, shade.picture(90))
    before = kept(station)

    def full(*_: Any) -> str:
        raise OutputError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(jobs.Jobs, "_insert", full)
        with pytest.raises(OutputError):
            station.submit(caps, [shade.picture(0), shade.picture(90)])
    assert kept(station) > before
    station._erasing._sweep_waiting()
    assert kept(station) == before
    assert station.original(id).data == shade.picture(90).data


def test_nothing_that_is_being_uploaded_is_swept_up(
    station: Station, caps: str, shade: ModuleType
) -> None:
    """Uploads and deletions of the same pictures at once: what is found is whole."""
    stop = threading.Event()
    wrong: list[Any] = []

    def upload() -> None:
        while not stop.is_set():
            job = station.wait(station.submit(caps, [shade.picture(0), shade.picture(90)]).id, 20)
            wrong.extend(item.fault for item in job.items if item.state == "failed")

    def erase() -> None:
        while not stop.is_set():
            for row in station.find(Filter()).items[1:]:
                station.delete_inspection(row.id)

    threads = [threading.Thread(target=work) for work in (upload, upload, erase)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    station._erasing._sweep_waiting()
    for row in station.find(Filter()).items:
        assert station.original(row.id).data.startswith(b"\x89PNG")
        assert station.maps(row.id)
