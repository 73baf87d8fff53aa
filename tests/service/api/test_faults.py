"""Faults of machines and of people, over HTTP: the status, and that nothing accepted is lost."""

from __future__ import annotations

import asyncio
import csv
import errno
import io
import json
import logging
import os
import sqlite3
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
from sqlalchemy import event, text
from starlette import formparsers
from starlette.testclient import TestClient

from blemish import build
from blemish.errors import ChatError
from blemish.service import logs, shop
from blemish.service.app import create_app
from blemish.service.settings import ServiceSettings
from blemish.service.station import Station
from blemish.service.store import columns
from blemish.service.store.database import Database
from blemish.service.types import Export, Filter

Send = Callable[..., Any]
MODEL = "scripted:canary-script"
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def talk_seconds() -> float:
    """How long a language model may say nothing: long, but where a test is of one that hangs."""
    return 60.0


@pytest.fixture
def patience() -> float:
    """Seconds to wait for a lock: many, but where a test is of one that is held."""
    return 30.0


@pytest.fixture
def settings(tmp_path: Path, talk_seconds: float) -> ServiceSettings:
    folder = tmp_path / "station"
    return ServiceSettings.of(folder=folder, max_body=2**20, talk_seconds=talk_seconds)


@pytest.fixture
def client(
    shade: ModuleType,
    settings: ServiceSettings,
    patience: float,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[TestClient]:
    """A client of a station with the line "caps"."""
    monkeypatch.setattr(shop, "Database", partial(Database, patience=patience))
    app = create_app(Station(settings))
    with TestClient(app, base_url="http://localhost:8000") as made:
        shade.make_caps(app.state.station)
        yield made


@pytest.fixture
def station(client: TestClient) -> Station:
    found: Station = client.app.state.station  # type: ignore[attr-defined]
    return found


@pytest.fixture
def send(client: TestClient, shade: ModuleType) -> Send:
    """Sends a dark spot, and waits for so many seconds."""

    def post(wait: float = 20, name: str = "a.png", **headers: str) -> Any:
        files = {"files": (name, shade.picture(0).data)}
        url = f"/v1/inspections?wait={wait}"
        return client.post(url, data={"line": "caps"}, files=files, headers=headers)

    return post


class Speaker:
    """Says what it is told to."""

    name = "stub"

    def __init__(self, say: Callable[[], Iterator[str]]) -> None:
        self._say = say

    def reply(self, _: Any) -> Iterator[str]:
        return self._say()


def problem(said: Any, status: int, error: str = "") -> str:
    assert said.status_code == status, said.text
    assert said.headers["content-type"] == "application/problem+json"
    found = said.json()
    assert (found["status"], found["error"]) == (status, error)
    return str(found["detail"])


def test_a_body_over_the_limit(client: TestClient) -> None:
    files = {"files": ("a.png", bytes(2**20 + 1))}
    said = client.post("/v1/inspections", data={"line": "caps"}, files=files)
    assert "larger than 1048576 bytes" in problem(said, 413)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (("part.png", bytes(3 * 2**20)), "times its size"),
        (("../part.png", b"1"), "leads out of it"),
        (("C:\\part.png", b"1"), "leads out of it"),
    ],
)
def test_archives_that_attack(
    client: TestClient, station: Station, entry: tuple[str, bytes], why: str
) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(*entry)
    files = {"files": ("parts.zip", held.getvalue())}
    said = client.post("/v1/inspections", data={"line": "caps"}, files=files)
    assert why in problem(said, 422, "InputError")
    made = client.post("/v1/lines", data={"name": "b"}, files={"references": files["files"]})
    assert why in problem(made, 422, "InputError")
    assert station.jobs() == ()
    assert not list(station.settings.folder.parent.rglob("part.png"))


def test_a_broken_entry_of_an_archive_leaves_nothing(
    client: TestClient, station: Station, shade: ModuleType
) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("good.png", shade.picture(9).data)
        archive.writestr("bad.png", b"abcdefgh")
    data = bytearray(held.getvalue())
    data[data.index(b"abcdefgh")] ^= 1
    before = set(station._shop.files.names())
    files = {"files": ("parts.zip", bytes(data))}
    said = client.post("/v1/inspections", data={"line": "caps"}, files=files)
    assert "broken" in problem(said, 422, "InputError")
    station._erasing._sweep_waiting()
    assert set(station._shop.files.names()) == before


def test_two_who_send_at_once(client: TestClient, station: Station, send: Send) -> None:
    threads = [
        threading.Thread(
            target=send, kwargs={"name": f"{n % 6}.png", "idempotency-key": str(n % 6)}
        )
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [row.name for row in station.find(Filter()).items]
    assert sorted(names) == [f"{n}.png" for n in range(6)]


@pytest.mark.parametrize("patience", [1.0])
def test_a_locked_database(client: TestClient, station: Station, send: Send) -> None:
    job = send(wait=0).json()["id"]
    other = sqlite3.connect(station.settings.folder / shop.LOCAL, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for said in (send(), client.get("/v1/lines"), client.get("/readyz")):
        assert "send it again later" in problem(said, 503, "StoreBusyError")
        assert said.headers["retry-after"]
    assert client.get("/healthz").status_code == 200
    other.rollback()
    other.close()
    assert send().status_code == 200
    assert station.wait(job, 20).done == 1
    assert station.find(Filter()).total == 2


def test_a_full_disk(
    client: TestClient, station: Station, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert "Make room" in problem(send(), 507, "OutputError")
    assert send().json()["done"] == 1
    assert station.find(Filter()).total == len(station.jobs()) == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_of_temporary_files(
    client: TestClient, station: Station, send: Send, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    class Full(tempfile.SpooledTemporaryFile[bytes]):
        def write(self, _: Any) -> int:
            raise OSError(code, os.strerror(code))

    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("a.png", b"1")
    packed = {"files": ("parts.zip", held.getvalue())}
    for of in (formparsers, tempfile):
        with monkeypatch.context() as patch:
            patch.setattr(of, "SpooledTemporaryFile", Full)
            said = client.post("/v1/inspections", data={"line": "caps"}, files=packed)
            shown = client.post("/inspect", data={"line": "caps"}, files=packed)
        assert "TMPDIR" in problem(said, 507, "OutputError")
        assert shown.status_code == 507
        assert "TMPDIR" in shown.text
    assert station.jobs() == ()
    assert send().json()["done"] == 1


def test_a_full_database(client: TestClient, station: Station, send: Send) -> None:
    with station._shop.database.session() as session:
        pages = session.scalar(text("PRAGMA page_count"))
    most = [pages]

    def limit(connection: Any, *_: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {most[0]}")

    event.listen(station._shop.database._engine, "checkout", limit)
    sent = (send(wait=0, name="x" * 1500) for _ in range(100))
    refused = next(said for said in sent if said.status_code != 202)
    assert "make room" in problem(refused, 507, "OutputError")
    assert client.get("/v1/lines").status_code == 200
    most[0] = 10**6
    assert send().status_code == 200
    for job in station.jobs():
        assert station.wait(job.id, 20).done == 1


@pytest.mark.parametrize("talk_seconds", [0.3])
def test_a_language_model_that_hangs(
    client: TestClient, send: Send, shade: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def hanging() -> Iterator[str]:
        yield "It "
        go_on.wait(60)

    monkeypatch.setattr(build, "speaker", lambda *_, **__: Speaker(hanging))
    at = f"/v1/inspections/{send().json()['items'][0]['inspection']}"
    before = client.get(at).json()
    began = time.monotonic()
    said = client.post(f"{at}/messages", json={"question": "Why?", "llm": MODEL})
    assert time.monotonic() - began < 30
    assert "event: failed" in said.text
    assert "nothing for 0.3 seconds" in said.text
    assert client.get(at).json() == before
    assert client.get(f"{at}/messages").json()[-1]["fault"]["error"] == "ChatError"
    go_on.set()


def test_script_is_shown_as_text(
    client: TestClient, station: Station, shade: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a class name, a file name, a comment, a question, a reply and an explanation."""
    monkeypatch.setattr(build, "speaker", lambda *_, **__: Speaker(lambda: iter([EVIL])))
    station.fit("caps", changes={"class_name": EVIL, "standards": EVIL})
    shade.until_fitted(station, "caps")
    files = {"files": (f"{EVIL}.png", shade.picture(0).data)}
    job = client.post("/v1/inspections?wait=20", data={"line": "caps"}, files=files).json()
    id = job["items"][0]["inspection"]
    client.post(f"/v1/inspections/{id}/feedback", json={"says": "good", "comment": EVIL})
    asked = client.post(f"/v1/inspections/{id}/messages", json={"question": EVIL, "llm": MODEL})
    assert "event: done" in asked.text
    assert client.get(f"/v1/inspections/{id}").json()["name"] == f"{EVIL}.png"
    for path in (
        *(f"/inspections/{id}", "/history", "/", "/lines", "/lines/caps", f"/jobs/{job['id']}"),
        *("/lines/caps/preview", "/v1/exports/html"),
    ):
        said = client.get(path)
        assert said.status_code == 200, path
        assert EVIL not in said.text
        assert "&lt;img src=x onerror=alert(1)&gt;" in said.text or path == "/lines"
        assert "unsafe-inline" not in said.headers["content-security-policy"].replace(
            "style-src 'unsafe-inline'", ""
        )


def test_a_formula_in_a_sheet_is_text(client: TestClient, send: Send) -> None:
    starts = ("=1+1", "+1", "-1", "@x", "x")
    for start in starts:
        send(name=f"{start}.png")
    rows = csv.DictReader(io.StringIO(client.get("/v1/exports/csv").content.decode("utf-8-sig")))
    names = [f"{'' if start == 'x' else chr(39)}{start}.png" for start in starts]
    assert [row["name"] for row in rows] == names[::-1]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_requests_of_other_sites(
    client: TestClient, station: Station, headers: dict[str, str], status: int
) -> None:
    id = "0" * 32
    for method, path in (
        *(("POST", "/v1/inspections"), ("POST", "/v1/lines"), ("DELETE", "/v1/lines/caps")),
        *(("DELETE", f"/v1/inspections/{id}"), ("POST", "/lines"), ("POST", "/inspect")),
        *(("PUT", "/v1/lines/caps/current"), ("POST", f"/v1/jobs/{id}/cancel")),
        *(("POST", "/v1/chat/completions"), ("POST", "/history/feedback")),
    ):
        assert client.request(method, path, headers=headers).status_code == status
    assert station.line("caps").current == 1


def test_a_client_that_goes_away_during_an_answer(
    client: TestClient, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = threading.Event()

    def endless() -> Iterator[str]:
        try:
            while True:
                time.sleep(0.005)
                yield "and "
        finally:
            closed.set()

    monkeypatch.setattr(build, "speaker", lambda *_, **__: Speaker(endless))
    at = f"/v1/inspections/{send().json()['items'][0]['inspection']}/messages"
    asyncio.run(_left(client.app, at, json.dumps({"question": "Why?", "llm": MODEL}).encode()))
    assert closed.wait(10)
    for _ in range(200):
        last = client.get(at).json()[-1]
        if last["role"] == "assistant":
            break
        time.sleep(0.02)
    assert last["fault"]["error"] == "Stopped"
    assert last["text"].startswith("and ")


async def _left(app: Any, path: str, body: bytes) -> None:
    """Send a request, take a piece of its answer, and go away."""
    heard, sent = asyncio.Event(), False

    async def receive() -> Any:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        await heard.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body"):
            heard.set()

    scope = {
        **{"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "method": "POST"},
        **{"path": path, "raw_path": path.encode(), "query_string": b"", "scheme": "http"},
        **{"http_version": "1.1", "root_path": "", "client": ("127.0.0.1", 1), "server": None},
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
    }
    await asyncio.wait_for(app(scope, receive, send), 20)


def test_a_clock_that_is_set_back_a_day(
    client: TestClient, station: Station, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = send(name="first.png").json()

    class Back(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) - timedelta(days=1)

    monkeypatch.setattr(columns, "datetime", Back)
    second = send(name="second.png").json()
    assert (second["state"], second["done"]) == ("done", 1)
    assert second["created"] < first["created"]
    rows = client.get("/v1/inspections").json()["items"]
    assert [row["name"] for row in rows] == ["second.png", "first.png"]
    assert client.get(f"/v1/inspections?after={rows[0]['number']}").json()["total"] == 2
    assert [job["id"] for job in client.get("/v1/jobs").json()] == [second["id"], first["id"]]
    client.post(f"/v1/inspections/{rows[0]['id']}/feedback", json={"says": "good"})
    client.post(f"/v1/inspections/{rows[0]['id']}/feedback", json={"says": "right"})
    said = client.get(f"/v1/inspections/{rows[0]['id']}").json()["feedback"]
    assert [one["says"] for one in said] == ["right", "good"]
    assert datetime.now(UTC) > station.inspection(rows[0]["id"]).created


def test_secrets_stand_nowhere(
    shade: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    """The token, the database's password and what is asked: in no log, no error, no export."""

    def fails() -> Iterator[str]:
        yield "canary-answer"
        raise ChatError("The endpoint is away.")

    monkeypatch.setattr(build, "speaker", lambda *_, **__: Speaker(fails))
    closed = ServiceSettings.of(
        folder=tmp_path / "closed", token="canary-token-1234567890", language_models=(MODEL,)
    )
    known = closed.model_copy(update={"database": "postgresql://u:canary-p%40ss@h/n"}).secrets
    logs.configure(known, log)
    logging.getLogger("blemish").warning("postgresql+psycopg://u:canary-p%40ss@h/n canary-p@ss")
    bearer = {"Authorization": "Bearer canary-token-1234567890"}
    app = create_app(Station(closed))
    said: list[str] = []
    with TestClient(app, "http://localhost:8000") as client:
        shade.make_caps(app.state.station)
        files = {"files": ("a.png", shade.picture(0).data)}
        where = "/v1/inspections?wait=20"
        job = client.post(where, data={"line": "caps"}, files=files, headers=bearer).json()
        at = f"/v1/inspections/{job['items'][0]['inspection']}"
        question = {"question": "canary-prompt", "llm": MODEL}
        answer = client.post(f"{at}/messages", json=question, headers=bearer).text
        assert "canary-answer" in answer
        assert "event: failed" in answer
        for path in (
            *("/v1/lines?x=canary-prompt", "/sign-in", "/metrics", "/settings", f"{at}/nothing"),
            *(f"/v1/exports/{kind}" for kind in get_args(Export)),
            "/v1/exports/exe",
        ):
            said.append(client.get(path, headers=bearer).text)
        said.append(client.get("/v1/lines", headers={"Authorization": "Bearer canary"}).text)
    assert log.getvalue().count('"message": "request"') > 10
    assert "canary" not in log.getvalue() + "".join(said)
