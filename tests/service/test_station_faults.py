"""A server that is killed among uploads, and a database that goes away and comes back."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import httpx2
import pytest
from sqlalchemy import URL, event, make_url
from sqlalchemy.orm import Session
from sqlalchemy.pool import Pool

from blemish.errors import BlemishError, OutputError, StoreBusyError
from blemish.service import shop
from blemish.service.settings import ServiceSettings
from blemish.service.station import Station
from blemish.service.store.database import Database
from blemish.service.store.refusals import BUSY
from blemish.service.types import Filter

SERVED = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("shade", sys.argv[1])
shade = sys.modules["shade"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shade)
from blemish import registry
table = {**registry.detectors(), "shade": shade.ENTRY}
registry.detectors = lambda: table
from blemish.service import server
from blemish.service.app import create_app
from blemish.service.settings import ServiceSettings
from blemish.service.station import Station
listening = server.listen("127.0.0.1", 0)
app = create_app(Station(ServiceSettings.of(folder=Path(sys.argv[2]))))
print(server.address(listening), flush=True)
server.run(app, listening)
"""
UPLOADS = 200


@contextlib.contextmanager
def served(shade: ModuleType, settings: ServiceSettings) -> Iterator[tuple[str, int]]:
    """A server of its own process: its address and its process id; killed at the end."""
    script = [sys.executable, "-c", SERVED, str(shade.__file__), str(settings.folder)]
    env = os.environ | {"BLEMISH_SERVE_DATABASE": settings.database}
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.pid
        process.kill()


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is of POSIX")
def test_a_server_that_is_killed_in_the_middle_of_many_uploads(
    shade: ModuleType, settings: ServiceSettings
) -> None:
    """Every accepted one is there and whole, none twice, though all are sent again."""
    with Station(settings) as first:
        shade.make_caps(first)
    accepted: dict[int, str] = {}

    def upload(client: httpx2.Client, number: int) -> None:
        files = {"files": (f"{number}.png", shade.picture(number, shift=number % 40).data)}
        headers = {"Idempotency-Key": str(number)}
        with contextlib.suppress(httpx2.TransportError):
            said = client.post(
                "/v1/inspections", data={"line": "caps"}, files=files, headers=headers
            )
            if said.status_code in (200, 202):
                assert accepted.setdefault(number, said.json()["id"]) == said.json()["id"]

    with (
        served(shade, settings) as (address, process),
        httpx2.Client(base_url=address, timeout=30) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        sent = [pool.submit(upload, client, number) for number in range(UPLOADS)]
        while len(accepted) < UPLOADS // 3:
            time.sleep(0.01)
        os.kill(process, 9)
        for one in sent:
            one.result()
    before = len(accepted)
    assert before < UPLOADS
    with (
        served(shade, settings) as (address, _),
        httpx2.Client(base_url=address, timeout=60) as client,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(lambda number: upload(client, number), range(UPLOADS)))
        assert len(accepted) == UPLOADS
        while not re.search(r"^blemish_queued_files 0\.0$", client.get("/metrics").text, re.M):
            time.sleep(0.05)
    with Station(settings) as last:
        rows = last.find(Filter(), limit=500).items
        assert Counter(row.name for row in rows) == Counter(f"{n}.png" for n in range(UPLOADS))
        for number, job in accepted.items():
            assert (last.job(job).state, last.job(job).done) == ("done", 1), number
        for row in rows[:: UPLOADS // 20]:
            number = int(row.name.removesuffix(".png"))
            assert last.original(row.id).data == shade.picture(number, shift=number % 40).data
            assert last.maps(row.id)


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("reading", StoreBusyError),
        ("before the commit", StoreBusyError),
        ("before the commit", OutputError),
        ("after the commit", StoreBusyError),
    ],
)
def test_a_database_that_fails_at_the_end_of_a_transaction(
    end: str,
    error: type[BlemishError],
    shade: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The line is fitted nevertheless, and its parts are inspected, and once."""
    name = "reading" if end == "reading" else "session"
    plain = getattr(Database, name)
    left = {"fit": 2, "work-0": 3, "work-1": 3, "work-2": 3}

    @contextlib.contextmanager
    def failing(self: Database) -> Iterator[Session]:
        who = threading.current_thread().name
        fails = left.get(who, 0) > 0
        with plain(self) as session:
            yield session
            left[who] = left.get(who, 0) - 1
            if fails and end != "after the commit":
                raise error(BUSY)
        if fails:
            raise error(BUSY)

    monkeypatch.setattr(Database, name, failing)
    with Station(ServiceSettings.of(folder=tmp_path / "station", batch=2)) as station:
        shade.make_caps(station)
        job = station.submit("caps", [shade.picture(0, f"{n}.png", n) for n in range(6)])
        assert station.wait(job.id, 60).done == 6
        names = Counter(row.name for row in station.find(Filter(job=job.id), limit=100).items)
        assert names == Counter(f"{n}.png" for n in range(6))
    assert left["fit"] < 2
    assert sum(left[f"work-{n}"] for n in range(3)) < 9


def test_a_version_that_is_kept_though_the_database_says_nothing_is_fitted_without_a_restart(
    shade: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, here = Database.session, threading.current_thread()
    silent: list[str] = []

    @contextlib.contextmanager
    def failing(self: Database) -> Iterator[Session]:
        with plain(self) as session:
            yield session
        if threading.current_thread() is here and silent:
            raise StoreBusyError(silent.pop())

    monkeypatch.setattr(Database, "session", failing)
    with Station(ServiceSettings.of(folder=tmp_path / "station")) as station:
        silent.append(BUSY)
        with pytest.raises(StoreBusyError):
            shade.make_caps(station)
        shade.until_fitted(station, "caps")
        assert station.line("caps").state == "ready"
        silent.append(BUSY)
        with pytest.raises(StoreBusyError):
            station.fit("caps", [shade.picture(200)])
        shade.until_fitted(station, "caps")
        assert station.line("caps").current == 2


def test_a_station_that_cannot_be_opened_keeps_no_connection(
    settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, ended = [], []

    def connected(connection: object, _: object) -> None:
        seen.append(connection)

    def closed(connection: object, _: object) -> None:
        ended.append(connection)

    def busy(*_: object) -> None:
        raise StoreBusyError(BUSY)

    monkeypatch.setattr(shop, "_bind", busy)
    event.listen(Pool, "connect", connected)
    event.listen(Pool, "close", closed)
    try:
        with pytest.raises(StoreBusyError):
            Station(settings)
    finally:
        event.remove(Pool, "connect", connected)
        event.remove(Pool, "close", closed)
    assert len(seen) == len(ended) > 0


@pytest.mark.parametrize("error", [StoreBusyError, OutputError, RuntimeError])
def test_a_version_that_was_kept_as_ready_stays_so_whatever_the_database_says(
    error: type[Exception], shade: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, failed = Database.session, threading.Event()

    @contextlib.contextmanager
    def failing(self: Database) -> Iterator[Session]:
        with plain(self) as session:
            yield session
        if threading.current_thread().name == "fit" and not failed.is_set():
            failed.set()
            raise error(BUSY)

    monkeypatch.setattr(Database, "session", failing)
    with Station(ServiceSettings.of(folder=tmp_path / "station")) as station:
        shade.make_caps(station)
        assert failed.wait(60)
    with Station(station.settings) as station:
        shade.until_fitted(station, "caps")
        assert (station.line("caps").state, station.line("caps").current) == ("ready", 1)


class Cable:
    """A port that leads to another address until it is cut."""

    def __init__(self, family: socket.AddressFamily, to: str | tuple[str, int]) -> None:
        self._family, self._to = family, to
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._open: list[socket.socket] = []
        self._whole = True
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections, and make no new one."""
        self._whole = False
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._whole = True

    def close(self) -> None:
        self.cut()
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                if not self._whole:
                    near.close()
                    continue
                far = socket.socket(self._family)
                far.connect(self._to)
                self._open += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    @staticmethod
    def _carry(near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                far.sendall(data)
        for one in (near, far):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def test_a_database_server_that_goes_away_in_the_middle_and_comes_back(
    shade: ModuleType, postgres_url: URL, tmp_path: Path
) -> None:
    port, folder = postgres_url.port or 5432, postgres_url.query.get("host")
    if isinstance(folder, str):
        cable = Cable(socket.AF_UNIX, f"{folder}/.s.PGSQL.{port}")
    else:
        cable = Cable(socket.AF_INET, (postgres_url.host or "127.0.0.1", port))
    plain = make_url(postgres_url).difference_update_query(["host"])
    url = plain.set(host="127.0.0.1", port=cable.port)
    database = url.render_as_string(hide_password=False)
    settings = ServiceSettings.of(folder=tmp_path / "station", database=database, batch=2)
    with Station(settings) as station:
        shade.make_caps(station, pause=0.01)
        files = [shade.picture(0, f"{n}.png", n) for n in range(40)]
        job = station.submit("caps", files, "a")
        next(station.events(job.id))
        for _ in range(2):
            cable.cut()
            for ask in (
                station.lines,
                station.ready,
                lambda: station.submit("caps", [shade.picture()], "b"),
            ):
                with pytest.raises(StoreBusyError):
                    ask()
            cable.mend()
            assert station.submit("caps", files, "a").id == job.id
        other = station.submit("caps", [shade.picture()], "b")
        assert station.wait(job.id, 60).done == 40
        assert station.wait(other.id, 60).done == 1
        names = Counter(row.name for row in station.find(Filter(job=job.id), limit=100).items)
        assert names == Counter(f"{n}.png" for n in range(40))
        station.ready()
    cable.close()
