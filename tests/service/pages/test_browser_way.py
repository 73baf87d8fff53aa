"""The whole way in real Chromium, at desktop and phone width, in light and dark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from blemish.service.station import Station
from blemish.service.types import Filter

pytest.importorskip("playwright", reason='needs Playwright: pip install "blemish[dev]"')
from playwright.sync_api import FilePayload, Page, expect

DESKTOP, PHONE = (1280, 800), (390, 844)


def make_line(page: Page, good: FilePayload, script: Path) -> None:
    """From the first start to a line that is ready."""
    page.get_by_role("link", name="Make a line").click()
    page.get_by_label("Name of the line").fill("caps")
    page.get_by_label("What is the part called?").fill("cap")
    page.get_by_label("Pictures of good parts").set_input_files([good])
    page.get_by_text("More choices").click()
    page.get_by_label("How it inspects").select_option("shade")
    page.get_by_label("Who answers questions").fill(f"scripted:{script}")
    page.get_by_role("button", name="Make the line").click()
    page.wait_for_url("**/lines/caps")
    expect(page.locator(".state").first).to_have_text("ready")


@pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"]
)
def test_from_first_start_to_a_changed_verdict(
    opened: Callable[..., Page],
    served: tuple[Station, str],
    payload: Callable[..., FilePayload],
    bring: Callable[..., None],
    keep: Callable[[Page, str], None],
    tmp_path: Path,
    size: tuple[int, int],
    scheme: str,
) -> None:
    station = served[0]
    (tmp_path / "script.json").write_text(json.dumps({"Where": "At the <b>top</b> left."}))
    page, suffix = opened(size, scheme), f"{size[0]}-{scheme}"
    keep(page, f"1-first-start-{suffix}")
    make_line(page, payload(None, "good.png"), tmp_path / "script.json")
    keep(page, f"2-line-{suffix}")

    page.goto("/")
    bring(page, payload(0, "dark.png"))
    page.wait_for_url("**/inspections/*")
    expect(page.locator(".verdict .badge")).to_contain_text("anomalous")
    expect(page.locator(".verdict")).to_contain_text("Decided by how far it is from the good parts")
    keep(page, f"3-inspection-{suffix}")

    page.get_by_label("Question").fill("Where is it?")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#turns li.assistant")).to_contain_text("At the <b>top</b> left.")
    keep(page, f"4-chat-{suffix}")

    page.get_by_role("button", name="It is a good part").click()
    expect(page.get_by_role("status").first).to_contain_text("It is a good part")
    page.get_by_role("link", name="See what it would change").click()
    page.wait_for_url("**/preview")
    expect(page.get_by_role("heading", level=1)).to_have_text("What the feedback would change")
    expect(page.get_by_role("cell").filter(has_text="now right")).to_have_count(1)
    keep(page, f"5-preview-{suffix}")
    page.get_by_role("button", name="Apply the feedback").click()
    page.wait_for_url("**/lines/caps")
    expect(page.get_by_text("New inspections go through version 2.")).to_be_visible()
    keep(page, f"6-health-{suffix}")

    page.goto("/")
    bring(page, payload(0, "dark again.png"))
    page.wait_for_url("**/inspections/*")
    expect(page.locator(".verdict .badge")).to_contain_text("normal")
    assert [row.verdict for row in station.find(Filter()).items] == ["normal", "anomalous"]
    for name in ("history", "batch", "lines", "settings"):
        page.goto(f"/{name}")
        keep(page, f"7-{name}-{suffix}")
