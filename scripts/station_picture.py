"""Make docs/station.jpg: the station's page with a made-up part, what is wrong with it, and a chat.

usage: python scripts/station_picture.py        needs Debian's chromium
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import uvicorn
from playwright.sync_api import sync_playwright

from blemish.service import server
from blemish.service.app import create_app
from blemish.service.settings import ServiceSettings
from blemish.service.station import Station
from blemish.service.types import Filter

OUT = Path(__file__).parents[1] / "docs" / "station.jpg"
QUESTION = "Is there any anomaly in the image?"
LONGEST = 900.0
"""Seconds that the demo line may take until its parts are inspected."""


def inspected(station: Station) -> str:
    """The id of an inspection of the demo line that found a hole, with a dialogue."""
    station.demo()
    end = time.monotonic() + LONGEST
    while not (jobs := station.jobs("demo")) or jobs[0].state != "done":
        if time.monotonic() > end:
            raise TimeoutError("The demo line is not ready.")
        time.sleep(0.5)
    wanted = Filter(line="demo", verdict="anomalous", name="hole")
    id = station.find(wanted).items[0].id
    print(QUESTION, "".join(station.ask(id, QUESTION)))
    return id


def shoot(address: str, id: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{address}/inspections/{id}", wait_until="networkidle")
        page.screenshot(path=OUT, type="jpeg", quality=80)
        browser.close()
    print(OUT.name, OUT.stat().st_size // 1000, "kB")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        station = Station(ServiceSettings.of(folder=Path(folder), talk_seconds=LONGEST))
        listening = server.listen("127.0.0.1", 0)
        served = uvicorn.Server(uvicorn.Config(create_app(station), log_level="warning"))
        thread = threading.Thread(target=served.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            shoot(server.address(listening), inspected(station))
        finally:
            served.should_exit = True
            thread.join()


if __name__ == "__main__":
    main()
