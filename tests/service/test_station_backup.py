"""A backup of a running station, in the order that docs/station.md gives, has all that it names."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from types import ModuleType

from blemish.service.settings import ServiceSettings
from blemish.service.station import Station
from blemish.service.types import Filter


def test_database_first_then_files(shade: ModuleType, tmp_path: Path) -> None:
    settings = ServiceSettings.of(folder=tmp_path / "station")
    copy = tmp_path / "backup"
    copy.mkdir()
    enough, stop = threading.Event(), threading.Event()

    def work(station: Station) -> None:
        for number in range(2000):
            station.submit("caps", [shade.picture(0, f"{number}.png", number % 40)])
            if number == 10:
                enough.set()
            if stop.is_set():
                return

    with Station(settings) as station:
        shade.make_caps(station)
        sender = threading.Thread(target=work, args=(station,))
        sender.start()
        assert enough.wait(60)
        with (  # what `sqlite3 FILE ".backup COPY"` does
            closing(sqlite3.connect(settings.folder / "station.sqlite3", timeout=60)) as there,
            closing(sqlite3.connect(copy / "station.sqlite3")) as here,
        ):
            there.backup(here)
        shutil.copytree(
            settings.folder, copy, ignore=shutil.ignore_patterns("station.*"), dirs_exist_ok=True
        )
        stop.set()
        sender.join()
    with Station(ServiceSettings.of(folder=copy)) as restored:
        ended = [restored.wait(job.id, 60) for job in restored.jobs(limit=500)]
        assert len(ended) > 10
        assert {job.state for job in ended} == {"done"}
        for row in restored.find(Filter(), limit=500).items:
            assert restored.original(row.id).data
            assert restored.maps(row.id)
