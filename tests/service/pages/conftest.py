"""A station in a real browser.

Screenshots are kept in the folder that BLEMISH_SCREENSHOTS names, else in pytest's own.
"""

from __future__ import annotations

import base64
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from blemish.service.app import create_app
from blemish.service.settings import ServiceSettings
from blemish.service.station import Station

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FilePayload, Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)
SLOW = 30_000
"""Milliseconds that a page may take on a machine that is busy."""


@pytest.fixture(scope="module")  # its event loop would stand in the way of other modules' tests
def browser() -> Iterator[Browser]:
    try:
        from playwright.sync_api import expect, sync_playwright
    except ModuleNotFoundError:
        pytest.skip('needs Playwright: pip install "blemish[dev]"')
    if not CHROMIUM:
        pytest.skip("needs Chromium: apt-get install chromium")
    expect.set_options(timeout=SLOW)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def served(shade: ModuleType, tmp_path: Path) -> Iterator[tuple[Station, str]]:
    """A station without any line, and its address."""
    station = Station(ServiceSettings.of(folder=tmp_path / "station"))
    config = uvicorn.Config(create_app(station), port=0, log_level="warning", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield station, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def audit() -> Callable[[Page], list[str]]:
    """What somebody who sees badly or has no mouse would stumble over on a page, in words."""
    script = Path(__file__).with_name("audit.js").read_text("utf-8")
    return lambda page: list(page.evaluate(script))


@pytest.fixture
def keep(tmp_path: Path, audit: Callable[[Page], list[str]]) -> Callable[[Page, str], None]:
    """Keeps a screenshot of a page that fits its window and that everybody can use."""
    folder = Path(os.environ.get("BLEMISH_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)

    def shoot(page: Page, name: str) -> None:
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=folder / f"{name}.png", full_page=True)
        wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wider <= 0, f"{name} is {wider} pixels wider than its window"
        assert audit(page) == [], name

    return shoot


@pytest.fixture
def complaints() -> list[str]:
    """What the consoles of pages said; a test that asks for it empties it."""
    return []


@pytest.fixture
def opened(
    browser: Browser, served: tuple[Station, str], complaints: list[str]
) -> Iterator[Callable[..., Page]]:
    """Opens the station in a window of some size.

    What its console complains of is an error, and so is a request to anywhere else.
    """
    said = complaints
    own = (served[1] + "/", "blob:", "data:")
    contexts = []

    def open_one(size: tuple[int, int], scheme: Any = "light") -> Page:
        width, height = size
        viewport: Any = {"width": width, "height": height}
        context = browser.new_context(
            viewport=viewport, color_scheme=scheme, has_touch=width < 500, base_url=served[1]
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SLOW)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "console", lambda m: said.append(f"{m.text} {page.url}") if m.type == "error" else None
        )
        # Playwright catches the dialog only while somebody listens; told at the moment of the key,
        # a busy browser opens it uncaught.
        page.on("filechooser", lambda _: None)
        page.on("request", lambda r: None if r.url.startswith(own) else said.append(r.url))
        page.goto("/")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture
def payload(shade: ModuleType) -> Callable[..., FilePayload]:
    """Makes a picture with a spot as a person's file."""

    def make(spot: int | None, name: str) -> FilePayload:
        return {"name": name, "mimeType": "image/png", "buffer": shade.picture(spot).data}

    return make


@pytest.fixture
def bring() -> Callable[..., None]:
    """Drops a file onto a page, or pastes it, as a person does who has it elsewhere."""

    def dispatch(page: Page, upload: FilePayload, kind: str = "drop") -> None:
        coded = base64.b64encode(upload["buffer"]).decode()
        page.evaluate(
            """([name, coded, kind]) => {
            const bytes = Uint8Array.from(atob(coded), (c) => c.charCodeAt(0));
            const held = new DataTransfer();
            held.items.add(new File([bytes], name, { type: "image/png" }));
            const event = kind === "paste"
                ? new ClipboardEvent("paste", { clipboardData: held, bubbles: true })
                : new DragEvent("drop", { dataTransfer: held, bubbles: true, cancelable: true });
            document.body.dispatchEvent(event);
        }""",
            [upload["name"], coded, kind],
        )

    return dispatch
