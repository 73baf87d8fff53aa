"""Lines, jobs and inspections, against a detector whose truth is plain to see."""

from __future__ import annotations

import io
import threading
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest
from sqlalchemy import select

from blemish import rle
from blemish.errors import (
    ConflictError,
    ImageError,
    InputError,
    NotFoundError,
    OptionError,
    OutputError,
    ReferencesError,
    ServiceError,
)
from blemish.service.settings import ServiceSettings
from blemish.service.station import Station
from blemish.service.store import tables as t
from blemish.service.types import Filter, NewLine, Upload


def test_a_line_is_made_fitted_and_inspects_what_its_references_show(
    station: Station, caps: str, shade: ModuleType
) -> None:
    version = station.version(caps, 1)
    assert (version.state, version.current, version.fault) == ("ready", True, None)
    assert version.calibration == shade.CALIBRATION.to_json()
    assert [r.name for r in version.references] == ["good.png"]

    job = station.submit(caps, [shade.picture(), shade.picture(0), Upload("b.png", b"no picture")])
    job = station.wait(job.id, 10)

    assert (job.state, job.total, job.done, job.failed) == ("done", 3, 2, 1)
    assert [item.state for item in job.items] == ["done", "done", "failed"]
    assert [item.verdict for item in job.items] == ["normal", "anomalous", ""]
    assert job.items[2].fault is not None
    assert job.items[2].fault.error == "ImageError"
    found = station.inspection(job.items[1].inspection)
    assert (found.name, found.line, found.version) == ("spot-0-0.png", caps, 1)
    assert found.raw_score == pytest.approx(240 / 255)
    assert found.sizes == ((40, 60),)
    inside = np.zeros((40, 60), bool)
    inside[2:12, 4:14] = True
    assert (rle.decode(found.regions[0]["mask"]) & inside).sum() >= 90


def test_pictures_of_an_inspection_show_where_the_spot_is(
    station: Station, caps: str, shade: ModuleType
) -> None:
    upload = shade.picture(0)
    id = station.wait(station.submit(caps, [upload]).id, 10).items[0].inspection

    assert station.original(id) == upload
    shown = np.asarray(PIL.Image.open(io.BytesIO(station.picture(id))))
    assert shown.shape == (40, 60, 3)
    assert shown[7, 9].max() < 40
    assert PIL.Image.open(io.BytesIO(station.picture(id, side=30))).size == (30, 20)
    layer = np.asarray(PIL.Image.open(io.BytesIO(station.maps(id))))
    assert (layer.shape, layer[7, 9, 3] > 0, layer[30, 50, 3]) == ((40, 60, 4), True, 0)
    grey = np.asarray(PIL.Image.open(io.BytesIO(station.maps(id, coloured=False))))
    assert grey[7, 9] > 60_000 > 32_768 > grey[30, 50]
    [(label, corners)] = station.contours(id)
    assert label == 1
    assert {x for x, _ in corners} >= {4, 14}
    assert {y for _, y in corners} >= {2, 12}
    assert PIL.Image.open(io.BytesIO(station.overlay(id))).width >= 60
    nearest = station.nearest(id)
    assert nearest is not None
    assert np.asarray(PIL.Image.open(io.BytesIO(nearest))).min() > 230
    with pytest.raises(NotFoundError):
        station.maps(id, view=1)
    with pytest.raises(NotFoundError):
        station.picture(id, view=1)


def test_only_references_are_shown_by_their_hash(
    station: Station, caps: str, shade: ModuleType
) -> None:
    reference = station.version(caps, 1).references[0].sha256
    assert PIL.Image.open(io.BytesIO(station.image(reference, 30))).size == (30, 20)
    id = station.wait(station.submit(caps, [shade.picture(0)]).id, 10).items[0].inspection
    with pytest.raises(NotFoundError):
        station.image(station.inspection(id).sha256)
    with pytest.raises(NotFoundError):
        station.image("../../etc/passwd")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": "caps"}, ConflictError),
        ({"detector": "shad"}, OptionError),
        ({"options": {"pauses": 1}}, OptionError),
        ({"options": {"pause": "long"}}, OptionError),
        ({"options": {"device": "cpu"}}, OptionError),
        ({"detector": "musc"}, OptionError),
        ({"detector": "gpt4v-ad"}, OptionError),
        ({"language_model": "openai"}, OptionError),
        ({"language_model": "opnai:gpt-5"}, OptionError),
        ({"references": ()}, ReferencesError),
        ({"references": (Upload("x.png", b"text"),)}, ImageError),
    ],
)
def test_a_line_that_could_not_work_is_refused_at_once(
    station: Station, caps: str, shade: ModuleType, changes: dict[str, Any], error: type[Exception]
) -> None:
    given = {"name": "new", "detector": "shade", "references": (shade.picture(),), **changes}
    with pytest.raises(error):
        station.create_line(NewLine(**given))
    assert [line.name for line in station.lines()] == [caps]


@pytest.mark.parametrize("name", ["", " x", "a/b", "a?b", "a\nb", "x" * 101, "a%b", "a\0b"])
def test_a_name_that_no_address_can_hold_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        NewLine(name)


def test_what_does_not_exist_is_said(station: Station, caps: str, shade: ModuleType) -> None:
    for ask in (
        lambda: station.line("nuts"),
        lambda: station.versions("nuts"),
        lambda: station.version(caps, 7),
        lambda: station.switch(caps, 7),
        lambda: station.submit("nuts", [shade.picture()]),
        lambda: station.job("0" * 32),
        lambda: station.events("0" * 32),
        lambda: station.cancel("0" * 32),
        lambda: station.inspection("0" * 32),
        lambda: station.find(Filter(line="nuts")),
        lambda: station.say("0" * 32, "good"),
        lambda: station.ask("0" * 32, "why?"),
        lambda: station.messages("0" * 32),
        lambda: station.health("nuts"),
    ):
        with pytest.raises(NotFoundError):
            ask()


def test_the_same_key_gives_the_same_job_even_at_the_same_moment(
    station: Station, caps: str, shade: ModuleType
) -> None:
    found: list[str] = []
    start = threading.Barrier(6)

    def submit() -> None:
        start.wait()
        found.append(station.submit(caps, [shade.picture()], key="shift 12").id)

    threads = [threading.Thread(target=submit) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    station.wait(found[0], 10)
    assert station.find(Filter()).total == 1


def test_the_same_key_with_something_else_is_refused(
    station: Station, caps: str, shade: ModuleType
) -> None:
    files = [shade.picture(), shade.picture(0)]
    id = station.submit(caps, files, key="shift 12").id
    station.create_line(NewLine("nuts", detector="shade", references=(shade.picture(),)))
    shade.until_fitted(station, "nuts")
    for line, sent in [("nuts", files), (caps, [*files, files[0]]), (caps, files[::-1])]:
        with pytest.raises(ConflictError, match=id):
            station.submit(line, sent, key="shift 12")
    again = station.wait(station.submit(caps, files, key="shift 12").id, 10)
    assert (again.id, again.total) == (id, 2)


def test_every_file_of_many_jobs_is_inspected_once(
    station: Station, caps: str, shade: ModuleType
) -> None:
    jobs = [
        station.submit(caps, [shade.picture(0, f"{job}-{n}.png", n) for n in range(count)])
        for job, count in enumerate([30, 1, 1, 8])
    ]
    ended = [station.wait(job.id, 20) for job in jobs]
    assert [(job.state, job.done) for job in ended] == [("done", c) for c in (30, 1, 1, 8)]
    everything = station.find(Filter(), limit=100)
    assert everything.total == 40
    names = {row.name for row in everything.items}
    assert names == {
        f"{job}-{n}.png" for job, count in enumerate([30, 1, 1, 8]) for n in range(count)
    }


def test_one_picture_need_not_wait_for_the_hundred_before_it(
    shade: ModuleType, settings: ServiceSettings
) -> None:
    settings = settings.model_copy(update={"workers": 1, "batch": 4})
    with Station(settings) as station:
        shade.make_caps(station, pause=0.01)
        many = station.submit("caps", [shade.picture(0, shift=n % 40) for n in range(100)])
        one = station.submit("caps", [shade.picture()])
        assert station.wait(one.id, 10).state == "done"
        assert station.job(many.id).state == "running"
        station.cancel(many.id)


def test_events_tell_of_each_file_once_and_end_with_the_job(
    station: Station, caps: str, shade: ModuleType
) -> None:
    job = station.submit(caps, [shade.picture(0, shift=n) for n in range(20)])
    events = list(station.events(job.id))
    assert sorted(item.position for event in events for item in event.items) == list(range(20))
    assert [event.state for event in events][-1] == "done"
    assert [event.done for event in events] == sorted(event.done for event in events)
    assert [event.state for event in station.events(job.id)] == ["done"]


def test_a_cancelled_job_keeps_what_is_inspected_and_begins_nothing_more(
    shade: ModuleType, settings: ServiceSettings
) -> None:
    with Station(settings.model_copy(update={"batch": 2})) as station:
        shade.make_caps(station, pause=0.02)
        job = station.submit("caps", [shade.picture(0, shift=n) for n in range(40)])
        for event in station.events(job.id):
            if event.done:
                break
        cancelled = station.cancel(job.id)
        kept = station.find(Filter()).total
        assert cancelled.state == "cancelled"
        assert 0 < cancelled.done == kept < 40
        assert {item.state for item in cancelled.items} == {"done", "cancelled"}
        threading.Event().wait(0.2)
        assert station.find(Filter()).total == kept
        assert station.cancel(job.id) == cancelled


def test_a_detector_that_breaks_fails_the_culprit_alone(
    station: Station, shade: ModuleType
) -> None:
    shade.make_caps(station, breaks_at=7)
    job = station.submit("caps", [shade.picture(0), shade.picture(7), shade.picture()])
    assert [item.state for item in station.wait(job.id, 10).items] == ["done", "failed", "done"]
    alone = station.wait(station.submit("caps", [shade.picture(7)]).id, 10)
    assert (alone.state, alone.failed) == ("failed", 1)


def test_a_full_disk_delays_and_loses_nothing(
    station: Station, caps: str, shade: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from blemish.service import heat

    packed = heat.packed
    refused: list[Any] = []

    def full(raw: Any) -> bytes:
        if len(refused) < 3:
            refused.append(raw)
            raise OutputError("The disk is full.")
        return packed(raw)

    monkeypatch.setattr(heat, "packed", full)
    job = station.wait(station.submit(caps, [shade.picture(0), shade.picture()]).id, 20)
    assert (job.state, job.done, len(refused)) == ("done", 2, 3)
    assert station.find(Filter()).total == 2


def test_more_than_may_wait_is_turned_down(shade: ModuleType, settings: ServiceSettings) -> None:
    with Station(settings.model_copy(update={"max_queue": 3, "max_files": 4})) as station:
        shade.make_caps(station)
        with pytest.raises(ServiceError):
            station.submit("caps", [shade.picture()] * 4)
        with pytest.raises(InputError):
            station.submit("caps", [shade.picture()] * 5)
        with pytest.raises(InputError):
            station.submit("caps", [])
        assert station.jobs() == ()


def test_inspections_are_found_by_what_is_known_of_them(
    station: Station, caps: str, shade: ModuleType
) -> None:
    first = station.submit(caps, [shade.picture(0, "Größe_1%.png"), shade.picture()])
    station.wait(first.id, 10)
    second = station.wait(station.submit(caps, [shade.picture(225)]).id, 10)
    everything = station.find(Filter(line=caps)).items
    assert [row.number for row in everything] == sorted(
        (r.number for r in everything), reverse=True
    )

    def names(**wanted: Any) -> list[str]:
        return [row.name for row in station.find(Filter(**wanted)).items]

    assert names(verdict="anomalous") == ["Größe_1%.png"]
    assert names(job=second.id) == ["spot-225-0.png"]
    assert names(name="GRÖSSE") == ["Größe_1%.png"]
    assert names(name="1%") == ["Größe_1%.png"]
    assert names(name="_%") == []
    assert names(since=everything[0].created)[:1] == [everything[0].name]
    assert everything[0].name not in names(until=everything[0].created)
    station.say(everything[0].id, "good")
    assert names(feedback="good") == [everything[0].name] == names(feedback="any")
    assert len(names(feedback="none")) == 2

    page = station.find(Filter(), limit=2)
    assert (len(page.items), page.total) == (2, 3)
    rest = station.find(Filter(), after=page.next, limit=2)
    assert [*page.items, *rest.items] == list(station.find(Filter()).items)
    assert rest.next is None
    with pytest.raises(InputError):
        station.find(Filter(), limit=0)


def test_a_further_version_keeps_the_references_and_is_switched_back(
    station: Station, caps: str, shade: ModuleType
) -> None:
    made = station.fit(caps, [shade.picture(0, "good.png")], changes={"class_name": "lid"})
    assert (made.number, made.state) == (2, "fitting")
    shade.until_fitted(station, caps)
    newest = station.versions(caps)[0]
    assert newest.current
    assert newest.class_name == "lid"
    assert [r.name for r in newest.references] == ["good.png", "good.png (2)"]
    verdicts = []
    for number in (2, 1):
        assert station.switch(caps, number).current == number
        job = station.wait(station.submit(caps, [shade.picture(0)]).id, 10)
        verdicts.append((job.version, job.items[0].verdict))
    assert verdicts == [(2, "normal"), (1, "anomalous")]

    compared = station.compare(caps, 1, 2)
    assert compared.looked_at == 2
    assert {(c.before, c.after) for c in compared.changes} == {("anomalous", "normal")}
    with pytest.raises(OptionError):
        station.fit(caps, changes={"seed": 3})


def test_a_version_that_cannot_be_fitted_says_why_and_the_old_one_works_on(
    station: Station, caps: str, shade: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ReferencesError("Too few.")

    monkeypatch.setattr(shade.Shade, "fit", broken)
    station.fit(caps)
    shade.until_fitted(station, caps)
    newest = station.versions(caps)[0]
    assert newest.state == "failed"
    assert newest.fault is not None
    assert (newest.fault.error, newest.fault.message) == ("ReferencesError", "Too few.")
    with pytest.raises(ConflictError):
        station.switch(caps, 2)
    assert station.line(caps).current == 1
    job = station.wait(station.submit(caps, [shade.picture(0)]).id, 10)
    assert job.items[0].verdict == "anomalous"


def test_a_second_station_on_the_same_folder_is_refused(
    station: Station, settings: ServiceSettings
) -> None:
    with pytest.raises(OutputError):
        Station(settings)


def test_status_and_readiness(station: Station, caps: str) -> None:
    station.ready()
    status = station.status()
    assert (status.lines, status.queued, status.workers) == (1, 0, station.settings.workers)
    assert status.database == ("postgresql" if station.settings.database else "sqlite")
    assert status.stored > 0
    assert "dinov2-small" in {row.name for row in status.weights}


def test_the_rows_have_what_inspections_jsonl_has(
    station: Station, caps: str, shade: ModuleType
) -> None:
    id = station.wait(station.submit(caps, [shade.picture(0)]).id, 10).items[0].inspection
    with station._shop.database.reading() as session:
        row = session.scalars(select(t.Inspection).where(t.Inspection.id == id)).one().row
    assert {"id", "path", "sha256", "verdict", "score", "regions", "sizes", "usage"} <= set(row)
