"""What a station takes up again after it was stopped or killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import select, update

from blemish.service.settings import ServiceSettings
from blemish.service.station import Station
from blemish.service.store import tables as t
from blemish.service.types import Filter

SERVED = """
import importlib.util, json, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("shade", sys.argv[1])
shade = sys.modules["shade"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shade)
from blemish import registry
table = {**registry.detectors(), "shade": shade.ENTRY}
registry.detectors = lambda: table
from blemish.service.settings import ServiceSettings
from blemish.service.station import Station
with Station(ServiceSettings.of(folder=Path(sys.argv[2]), batch=2)) as station:
    for number in range(10_000):
        files = [shade.picture(0, f"{number}-{n}.png", n) for n in range(3)]
        job = station.submit("caps", files, key=str(number))
        print(json.dumps(job.id), flush=True)
"""


def test_a_line_is_ready_again_without_fitting_and_finds_the_same(
    shade: ModuleType, settings: ServiceSettings
) -> None:
    with Station(settings) as first:
        shade.make_caps(first)
        before = first.wait(first.submit("caps", [shade.picture(0)]).id, 10).items[0]
    fits = shade.Shade.fits
    with Station(settings) as second:
        assert second.line("caps").current == 1
        job = second.wait(second.submit("caps", [shade.picture(0)]).id, 10)
        assert job.items[0].verdict == before.verdict == "anomalous"
        rows = second.find(Filter()).items
        assert rows[0].score == rows[1].score
    assert shade.Shade.fits == fits


def test_what_was_accepted_and_not_begun_is_inspected_after_a_start(
    shade: ModuleType, settings: ServiceSettings
) -> None:
    with Station(settings) as first:
        shade.make_caps(first)
    idle = Station(settings)  # accepts, and does not work
    files = [shade.picture(0, shift=n) for n in range(5)]
    job = idle.submit("caps", files, key="night")
    assert idle.job(job.id).state == "queued"
    idle.close()
    with Station(settings) as second:
        assert second.submit("caps", files, key="night").id == job.id
        ended = second.wait(job.id, 10)
        assert (ended.state, ended.done) == ("done", 5)
        assert second.find(Filter()).total == 5


def test_a_version_that_was_being_fitted_is_fitted_after_a_start(
    shade: ModuleType, settings: ServiceSettings
) -> None:
    with Station(settings) as first:
        shade.make_caps(first)
        # As a kill between the row and its detector leaves it.
        with first._shop.database.session() as session:
            session.execute(update(t.Version).values(state="fitting", folder="", fingerprint=""))
            session.execute(update(t.Line).values(current=0))
    with Station(settings) as second:
        shade.until_fitted(second, "caps")
        assert second.line("caps").current == 1
        job = second.wait(second.submit("caps", [shade.picture(0)]).id, 10)
        assert job.items[0].verdict == "anomalous"


def test_a_damaged_detector_fails_the_job_and_says_what_to_do(
    shade: ModuleType, settings: ServiceSettings
) -> None:
    with Station(settings) as first:
        shade.make_caps(first)
    [state] = settings.folder.glob("detectors/*/1/state.safetensors")
    state.write_bytes(b"x")
    with Station(settings) as second:
        job = second.wait(second.submit("caps", [shade.picture(0)]).id, 10)
        assert job.state == "failed"
        assert job.items[0].fault is not None
        assert job.items[0].fault.error == "SavedError"


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is of POSIX")
@pytest.mark.parametrize("after", [3, 12])
def test_a_killed_station_has_every_accepted_file_whole_and_once(
    shade: ModuleType, settings: ServiceSettings, after: int
) -> None:
    with Station(settings) as first:
        shade.make_caps(first, pause=0.005)
    script = [sys.executable, "-c", SERVED, str(Path(shade.__file__ or "")), str(settings.folder)]
    env = os.environ | {"BLEMISH_SERVE_DATABASE": settings.database}
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        accepted = [json.loads(process.stdout.readline()) for _ in range(after)]
        process.kill()
        accepted += [json.loads(line) for line in process.stdout if line.endswith("\n")]
        process.wait()  # until then it may hold the folder
    with Station(settings) as second:
        for id in accepted:
            job = second.wait(id, 20)
            assert (job.state, job.total, job.done) == ("done", 3, 3)
        with second._shop.database.reading() as session:
            items = session.scalars(select(t.Inspection.item_id)).all()
        assert set(Counter(items).values()) == {1}
        for row in second.find(Filter(), limit=500).items:
            assert second.original(row.id).data.startswith(b"\x89PNG")
            assert second.maps(row.id)
