"""What the scripts of the pages add, in real Chromium."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType

import pytest

from blemish.service.station import Station
from blemish.service.types import Filter

pytest.importorskip("playwright", reason='needs Playwright: pip install "blemish[dev]"')
from playwright.sync_api import FilePayload, Page, expect

DESKTOP, PHONE = (1280, 800), (390, 844)


@pytest.fixture
def part(opened: Callable[..., Page], served: tuple[Station, str], shade: ModuleType) -> Page:
    """The page of an anomalous part on a desktop."""
    page = opened(DESKTOP)
    page.goto(found(served[0], shade))
    expect(page.locator(".stage").first).to_have_attribute("style", re.compile("transform"))
    return page


def found(station: Station, shade: ModuleType) -> str:
    """The address of an anomalous part."""
    shade.make_caps(station)
    job = station.submit("caps", [shade.picture(0, "dark.png")])
    return f"/inspections/{station.wait(job.id, 10).items[0].inspection}"


def test_part_and_reference_zoom_and_move_in_step_by_mouse_and_keys(part: Page) -> None:
    pane = part.locator(".pane").nth(1)
    part.get_by_role("button", name="Zoom in").click()
    zoomed = transforms(part)
    assert zoomed[0] == zoomed[1]
    assert "scale(1.4)" in zoomed[0]
    pane.focus()
    part.keyboard.press("ArrowRight")
    moved = transforms(part)
    assert moved[0] == moved[1] != zoomed[0]
    box = pane.bounding_box()
    assert box
    part.mouse.move(box["x"] + 50, box["y"] + 50)
    part.mouse.down()
    part.mouse.move(box["x"] + 80, box["y"] + 50)
    part.mouse.up()
    dragged = transforms(part)
    x = [float(re.findall(r"-?[\d.]+", t[0])[0]) for t in (moved, dragged)]
    assert x[1] - x[0] == pytest.approx(30, abs=1)
    part.keyboard.press("0")
    assert all("scale(1)" in one for one in transforms(part))


def test_a_place_lights_up_from_both_sides_and_is_approached(part: Page) -> None:
    button, place = part.locator(".regions button").first, part.locator("g.place").first
    button.hover()
    expect(place).to_have_class(re.compile(r"\blit\b"))
    part.mouse.move(0, 0)
    expect(place).not_to_have_class(re.compile(r"\blit\b"))
    place.locator("path").last.hover()
    expect(button).to_have_class(re.compile(r"\blit\b"))
    button.click()
    part.wait_for_timeout(300)  # until it has moved there
    pane, shown = part.locator(".pane").first.bounding_box(), place.bounding_box()
    assert pane
    assert shown
    for start, side in (("x", "width"), ("y", "height")):
        centre = shown[start] + shown[side] / 2  # type: ignore[literal-required]
        inside = pane[start] + pane[side] / 2  # type: ignore[literal-required]
        assert abs(centre - inside) < 0.3 * pane[side]  # type: ignore[literal-required]


@pytest.mark.parametrize("size", [(1280, 500), PHONE], ids=["desktop", "phone"])
def test_a_place_is_approached_where_the_picture_can_be_seen(
    opened: Callable[..., Page],
    served: tuple[Station, str],
    shade: ModuleType,
    size: tuple[int, int],
) -> None:
    page = opened(size)
    page.goto(found(served[0], shade))
    button, pane = page.locator(".regions button").first, page.locator(".pane").first
    button.evaluate("one => one.scrollIntoView({ block: 'start' })")
    button.click()
    box, header = pane.bounding_box(), page.locator(".top").bounding_box()
    assert box
    assert header
    assert header["height"] <= box["y"]
    assert box["y"] + box["height"] <= size[1]


def test_drawings_are_no_stops_of_the_tab_key(part: Page) -> None:
    stops = []
    for _ in range(60):
        part.keyboard.press("Tab")
        stops.append(part.evaluate("document.activeElement.closest('svg') !== null"))
    assert len(stops) == 60
    assert not any(stops)


def test_a_kept_mark_lights_up_like_a_place(part: Page, served: tuple[Station, str]) -> None:
    row = served[0].find(Filter()).items[0]
    served[0].say(row.id, "right", (30, 20, 40, 26))
    part.reload()
    part.get_by_role("button", name="Show the box that a person drew").click()
    expect(part.locator("g.drawn")).to_have_class("place drawn lit")
    expect(part.locator("g.drawn text")).to_have_text("box")
    assert all("scale(1)" not in one for one in transforms(part))
    part.get_by_label("Outlines").uncheck()
    expect(part.locator("g.drawn")).to_be_hidden()


def test_heat_and_outlines_can_be_turned_down(part: Page) -> None:
    part.get_by_label("Heat").fill("20")
    heat = part.locator("svg.heat")
    assert heat.evaluate("e => getComputedStyle(e).opacity") == "0.2"
    part.get_by_label("Outlines").uncheck()
    expect(part.locator("g.place").first).to_be_hidden()


def test_the_mark_is_drawn_in_pixels_of_the_part(part: Page, served: tuple[Station, str]) -> None:
    part.get_by_text("Add a comment, or show where").click()
    part.get_by_role("button", name="Draw a box in the picture").click()
    pane = part.locator(".pane").first
    pane.scroll_into_view_if_needed()
    box = pane.bounding_box()
    assert box
    scale = box["width"] / 60  # the picture is 60 pixels wide and fills the pane
    part.mouse.move(box["x"] + 4 * scale, box["y"] + 2 * scale)
    part.mouse.down()
    part.mouse.move(box["x"] + 14 * scale, box["y"] + 12 * scale)
    part.mouse.up()
    part.get_by_role("button", name="The verdict is right").click()
    expect(part.get_by_role("status").first).to_contain_text("You said")
    said = served[0].find(Filter()).items[0].feedback[0]
    assert said.mark is not None
    assert said.mark == pytest.approx((4, 2, 14, 12), abs=1)


def transforms(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all(".stage", "all => all.map(s => s.style.transform)")
    return found


def test_pictures_come_in_by_paste_camera_and_file(
    opened: Callable[..., Page],
    served: tuple[Station, str],
    shade: ModuleType,
    payload: Callable[..., FilePayload],
    bring: Callable[..., None],
) -> None:
    shade.make_caps(served[0])
    page = opened(DESKTOP)
    bring(page, payload(0, "pasted.png"), "paste")
    page.wait_for_url("**/inspections/*")
    page.goto("/")
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("video")).to_have_js_property("readyState", 4)
    page.get_by_role("button", name="Take the picture").click()
    page.wait_for_url("**/inspections/*")
    page.goto("/")
    page.get_by_label("Choose pictures").set_input_files([payload(None, "file.png")])
    page.wait_for_url("**/inspections/*")
    names = [row.name for row in served[0].find(Filter()).items]
    assert names[0] == "file.png"
    assert names[1].startswith("camera ")
    assert names[2] == "pasted.png"


def test_a_batch_shows_its_progress_and_how_it_ended(
    opened: Callable[..., Page],
    served: tuple[Station, str],
    shade: ModuleType,
    payload: Callable[..., FilePayload],
) -> None:
    shade.make_caps(served[0], pause=0.3)
    page = opened(DESKTOP)
    files = [payload(spot, f"{n}.png") for n, spot in enumerate((None, 0, None, 0, None, 0))]
    files.append({"name": "broken.png", "mimeType": "image/png", "buffer": b"no picture"})
    page.goto("/batch")
    page.get_by_label("Choose pictures").set_input_files(files)
    page.wait_for_url("**/jobs/*")
    expect(page.locator("#said")).to_have_text("6 of 7 inspected, 1 failed")
    expect(page.locator("tbody .badge.anomalous")).to_have_count(3)
    expect(page.locator("#state")).to_have_text("done")


def test_the_same_is_said_of_many_with_the_keyboard_alone(
    opened: Callable[..., Page], served: tuple[Station, str], shade: ModuleType
) -> None:
    station = served[0]
    shade.make_caps(station)
    job = station.submit("caps", [shade.picture(None), shade.picture(0)])
    station.wait(job.id, 10)
    page = opened(DESKTOP)
    page.goto("/history")
    page.get_by_label("Select all on this page").focus()
    page.keyboard.press("Space")
    expect(page.locator("#count")).to_have_text("2 selected.")
    page.get_by_role("button", name="The verdict is right").focus()
    page.keyboard.press("Enter")
    page.wait_for_load_state()
    expect(page.get_by_text("You said: right")).to_have_count(2)
    expect(page.get_by_role("status").first).to_contain_text("Noted: 2.")
    assert [row.feedback[0].says for row in station.find(Filter()).items] == ["right", "right"]
