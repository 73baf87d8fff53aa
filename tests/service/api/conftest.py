"""A station with a real line over a stand-in encoder, reached over HTTP in this process."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import PIL.Image
import pytest
from starlette.testclient import TestClient

from blemish import build
from blemish.service.app import create_app
from blemish.service.settings import ServiceSettings
from blemish.service.station import Station
from blemish.synthesis.procedural import make_part

SIDE = 112


@pytest.fixture(scope="session")
def part() -> Callable[..., bytes]:
    """A made-up part as a PNG file."""

    def draw(seed: int, defect: str | None = None) -> bytes:
        image = make_part("brushed", seed, defect=defect, size=(SIDE, SIDE)).sample.image
        file = io.BytesIO()
        PIL.Image.fromarray(image).save(file, "PNG")
        return file.getvalue()

    return draw


@pytest.fixture(scope="module")
def opened(
    stand_ins: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Any]]:
    """Opens a station with settings of its own, and returns a client of it."""
    clients: list[TestClient] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "encoder", lambda name, **_: stand_ins.Cells())

        def open_one(folder: Path | None = None, **given: Any) -> TestClient:
            folder = folder or tmp_path_factory.mktemp("station")
            app = create_app(Station(ServiceSettings.of(folder=folder, **given)))
            clients.append(TestClient(app, base_url="http://localhost:8000"))
            return clients[-1].__enter__()

        yield open_one
        for client in clients:
            client.__exit__()


@pytest.fixture(scope="module")
def client(opened: Callable[..., TestClient], part: Callable[..., bytes]) -> TestClient:
    """A client of a station with the line "plates", which is ready."""
    made = opened()
    files = [("references", (f"{seed}.png", part(seed))) for seed in range(6)]
    fields = {"name": "plates", "class_name": "plate", "options": '{"augment": "none"}'}
    assert made.post("/v1/lines", data=fields, files=files).status_code == 201
    station: Station = made.app.state.station  # type: ignore[attr-defined]
    for _ in range(600):
        if station.line("plates").state != "fitting":
            break
        time.sleep(0.05)
    assert made.get("/v1/lines/plates").json()["state"] == "ready"
    return made


@pytest.fixture(scope="module")
def inspected(client: TestClient, part: Callable[..., bytes]) -> list[str]:
    """Ids of the inspections of a good part and of one with a stain."""
    files = [
        ("files", ("good.png", part(50))),
        ("files", ("<b>stain</b>.png", part(103, "stain"))),
    ]
    said = client.post("/v1/inspections?wait=30", data={"line": "plates"}, files=files)
    assert said.status_code == 200, said.text
    return [item["inspection"] for item in said.json()["items"]]
