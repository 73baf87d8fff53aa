"""What takes its time, what goes wrong, and what goes for good, in real Chromium."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from blemish.errors import NotFoundError
from blemish.service.station import Station
from blemish.service.types import Filter

pytest.importorskip("playwright", reason='needs Playwright: pip install "blemish[dev]"')
from playwright.sync_api import FilePayload, Page, expect

DESKTOP = (1280, 800)


def test_a_preview_that_takes_long_says_so_and_may_be_left(
    opened: Callable[..., Page],
    served: tuple[Station, str],
    shade: ModuleType,
    keep: Callable[[Page, str], None],
) -> None:
    station = served[0]
    shade.make_caps(station, pause=0.8)
    files = [shade.picture(0, shift=shift) for shift in range(5)]
    job = station.wait(station.submit("caps", files).id, 30)
    page = opened(DESKTOP)
    page.goto(f"/inspections/{job.items[0].inspection}")
    page.get_by_role("button", name="It is a good part").click()
    page.get_by_role("link", name="See what it would change").click()
    expect(page.get_by_role("status")).to_contain_text("You may leave this page")
    keep(page, "preview-waits")
    page.get_by_role("link", name="Back to the line").click()
    page.wait_for_url("**/lines/caps")
    page.get_by_role("link", name="See what would change").click()
    expect(page.get_by_role("heading", name="Verdicts that change: 5")).to_be_visible()
    assert len(station.versions("caps")) == 1


def test_what_cannot_be_used_is_said_in_place_and_what_was_chosen_stays(
    opened: Callable[..., Page],
    served: tuple[Station, str],
    shade: ModuleType,
    payload: Callable[..., FilePayload],
    complaints: list[str],
) -> None:
    shade.make_caps(served[0])
    page = opened(DESKTOP)
    page.goto("/new-line")
    page.get_by_label("Name of the line").fill("caps")
    page.get_by_label("What is the part called?").fill("cap")
    page.get_by_label("Pictures of good parts").set_input_files([payload(None, "good.png")])
    page.get_by_text("More choices").click()
    page.get_by_label("How it inspects").select_option("shade")
    page.get_by_role("button", name="Make the line").click()
    expect(page.locator("#told")).to_contain_text("'caps'")
    assert "409" in complaints.pop()  # Chromium notes the refusal
    assert page.get_by_label("Pictures of good parts").evaluate("one => one.files.length") == 1
    page.get_by_label("Name of the line").fill("lids")
    page.get_by_role("button", name="Make the line").click()
    page.wait_for_url("**/lines/lids")


def test_an_inspection_and_a_line_go_for_good_after_a_second_word(
    opened: Callable[..., Page], served: tuple[Station, str], shade: ModuleType
) -> None:
    station = served[0]
    shade.make_caps(station)
    job = station.wait(station.submit("caps", [shade.picture(0), shade.picture(None)]).id, 10)
    page = opened(DESKTOP)
    page.goto(f"/inspections/{job.items[0].inspection}")
    button = page.get_by_role("button", name="Delete it for good")
    expect(button).to_be_hidden()
    page.get_by_text("Delete this inspection").click()
    button.click()
    page.wait_for_url("**/history?line=caps")
    assert [row.id for row in station.find(Filter()).items] == [job.items[1].inspection]

    page.goto("/lines/caps")
    page.get_by_text("Delete this line").first.click()
    button = page.get_by_role("button", name="Delete this line")
    button.click()
    assert page.url.endswith("/lines/caps")  # not without the tick
    page.get_by_label("Yes, delete all of it").check()
    button.click()
    page.wait_for_url("**/lines")
    with pytest.raises(NotFoundError):
        station.line("caps")


def test_the_page_of_a_line_that_learns_shows_when_it_is_ready(
    opened: Callable[..., Page], served: tuple[Station, str], shade: ModuleType
) -> None:
    station = served[0]
    shade.make_caps(station)
    page = opened(DESKTOP)
    page.goto("/")
    expect(page.get_by_text("Nothing has been inspected on this line yet.")).to_be_visible()
    job = station.submit("caps", [shade.picture(0)])
    page.reload()
    station.wait(job.id, 10)
    expect(page.locator(".tile")).to_have_count(1)
