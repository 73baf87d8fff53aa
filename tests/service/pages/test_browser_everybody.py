"""Pages for those who have no mouse, see badly, or look at a phone, in real Chromium."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from blemish.service.station import Station
from blemish.service.types import Filter, NewLine, Upload

pytest.importorskip("playwright", reason='needs Playwright: pip install "blemish[dev]"')
from playwright.sync_api import FilePayload, Locator, Page, expect

DESKTOP, PHONE = (1280, 800), (390, 844)
SEEN = """() => {
    const one = document.activeElement;
    const { outlineStyle, outlineWidth } = getComputedStyle(one);
    const { width, height } = one.getBoundingClientRect();
    return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && width * height > 4;
}"""


def reach(page: Page, wanted: Locator) -> None:
    """Go to a control by the tab key alone; on the way it can be seen where one is."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            continue  # once around
        assert page.evaluate(SEEN), page.evaluate("document.activeElement.outerHTML")
        if wanted.evaluate("one => one === document.activeElement"):
            return
    raise AssertionError(f"{wanted} is not reached by the keyboard")


def press(page: Page, role: str, name: str, key: str = "Enter") -> None:
    control = page.get_by_role(role, name=name, exact=True)  # type: ignore[arg-type]
    reach(page, control)
    page.keyboard.press(key)


def choose(page: Page, label: str, file: FilePayload) -> None:
    reach(page, page.get_by_label(label))
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files([file])


def test_the_whole_way_with_the_keyboard_alone(
    opened: Callable[..., Page],
    served: tuple[Station, str],
    payload: Callable[..., FilePayload],
) -> None:
    page = opened(DESKTOP)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    press(page, "link", "Make a line")
    page.wait_for_url("**/new-line")
    for label, text in (("Name of the line", "caps"), ("What is the part called?", "cap")):
        reach(page, page.get_by_label(label))
        page.keyboard.type(text)
    choose(page, "Pictures of good parts", payload(None, "good.png"))
    reach(page, page.get_by_text("More choices: how it inspects, who answers questions"))
    page.keyboard.press("Enter")
    reach(page, page.get_by_label("How it inspects"))
    page.keyboard.press("End")
    expect(page.get_by_label("How it inspects")).to_have_value("shade")
    press(page, "button", "Make the line")
    page.wait_for_url("**/lines/caps")
    expect(page.locator(".state").first).to_have_text("ready")

    page.goto("/")
    choose(page, "Choose pictures", payload(0, "dark.png"))
    page.wait_for_url("**/inspections/*")
    press(page, "button", "Zoom in", "Space")
    expect(page.locator(".pane").first).to_have_class("pane near")
    reach(page, page.locator(".regions button").first)
    expect(page.locator("g.place").first).to_have_class("place lit")
    press(page, "button", "It is a good part")
    page.wait_for_url("**#say")
    press(page, "link", "See what it would change")
    page.wait_for_url("**/preview")
    press(page, "button", "Apply the feedback (1)")
    page.wait_for_url("**/lines/caps")
    expect(page.get_by_text("New inspections go through version 2.")).to_be_visible()
    page.goto(f"/inspections/{served[0].find(Filter()).items[0].id}")
    press(page, "button", "Inspect it again with version 2")
    expect(page.locator(".verdict .badge")).to_contain_text("normal")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_page_can_be_read_and_used_by_everybody(
    opened: Callable[..., Page],
    served: tuple[Station, str],
    shade: ModuleType,
    keep: Callable[[Page, str], None],
    size: tuple[int, int],
    scheme: str,
) -> None:
    station, suffix = served[0], f"{size[0]}-{scheme}"
    page = opened(size, scheme)
    for name in ("", "lines", "history", "batch"):
        page.goto(f"/{name}")
        keep(page, f"empty-{name or 'inspect'}-{suffix}")
    shade.make_caps(station)
    files = [shade.picture(0), shade.picture(None), Upload("no picture.png", b"none")]
    job = station.wait(station.submit("caps", files).id, 10)
    ids = [item.inspection for item in job.items if item.inspection]
    station.say(ids[0], "good", None, "A shadow.")
    station.say(ids[1], "right")
    addresses = {
        "inspect": "/",
        "found": f"/inspections/{ids[0]}",
        "normal": f"/inspections/{ids[1]}",
        "line": "/lines/caps",
        "preview": "/lines/caps/preview",
        "lines": "/lines",
        "new-line": "/new-line",
        "history": "/history?line=caps&name=spot",
        "job": f"/jobs/{job.id}",
        "batch": "/batch",
        "settings": "/settings",
        "sign-in": "/sign-in",
    }
    for name, address in addresses.items():
        page.goto(address)
        for folded in page.locator("main > details, main :not(details) > details").all():
            folded.evaluate("one => (one.open = true)")
        keep(page, f"{name}-{suffix}")


@pytest.mark.parametrize("wide", [360, 700])
def test_a_long_name_widens_no_page_and_breaks_no_other_word(
    opened: Callable[..., Page],
    served: tuple[Station, str],
    shade: ModuleType,
    keep: Callable[[Page, str], None],
    wide: int,
) -> None:
    station, long = served[0], 10 * "Verschluss"
    station.create_line(
        NewLine(long, long, detector="shade", references=(shade.picture(name=f"{long}.png"),))
    )
    shade.until_fitted(station, long)
    job = station.wait(station.submit(long, [shade.picture(0, f"{long}.png")]).id, 10)
    page = opened((wide, 740))
    addresses = ["/", "/batch", "/history", "/lines", f"/lines/{long}", f"/jobs/{job.id}"]
    for address in (*addresses, f"/inspections/{job.items[0].inspection}"):
        page.goto(address)
        keep(page, f"long-{address.split('/')[1] or 'inspect'}-{wide}")
        # A phone shows no heads of tables; each is of two or three words, and none is broken.
        words = ".top li a, thead th" if wide > 640 else ".top li a"
        heights = page.eval_on_selector_all(words, "all => all.map((one) => one.clientHeight)")
        assert max(heights) < 100, address


def test_an_address_that_is_not_there_is_a_page(
    opened: Callable[..., Page], audit: Callable[[Page], list[str]]
) -> None:
    page = opened(PHONE)
    answer = page.request.get("/nothing", headers={"Accept": "text/html"})
    assert answer.status == 404
    page.set_content(answer.text().replace("/static/", f"{page.url}static/"))
    expect(page.get_by_role("alert")).to_have_text("There is no such page.")
    expect(page.get_by_role("link", name="To the first page")).to_be_visible()
    assert audit(page) == []


def test_the_audit_finds_what_it_is_there_for(
    opened: Callable[..., Page], audit: Callable[[Page], list[str]]
) -> None:
    page = opened(DESKTOP)
    assert audit(page) == []
    page.evaluate(
        """() => {
        const main = document.querySelector("main");
        main.append(document.createElement("button"), new Image(), document.createElement("h4"));
        main.querySelector("p").style.color = "#999";
        main.querySelector("p").tabIndex = 3;
        main.querySelector("button").style.border = "1px solid #eee";
    }"""
    )
    found = " | ".join(audit(page))
    for what in ("no name: <button>", "no alt", "own order", "headings: 1,2,2,4", "contrast 2."):
        assert what in found
    assert "faint edge" in found


def test_two_fingers_zoom_both_pictures(
    opened: Callable[..., Page], served: tuple[Station, str], shade: ModuleType
) -> None:
    station = served[0]
    shade.make_caps(station)
    job = station.wait(station.submit("caps", [shade.picture(0)]).id, 10)
    page = opened(PHONE)
    page.goto(f"/inspections/{job.items[0].inspection}")
    pane = page.locator(".pane").first
    pane.scroll_into_view_if_needed()
    box = pane.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)

    def fingers(kind: str, away: int) -> None:
        points = [{"x": x - away, "y": y, "id": 0}, {"x": x + away, "y": y, "id": 1}]
        touch.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [] if kind == "touchEnd" else points},
        )

    fingers("touchStart", 20)
    for away in (25, 30, 40, 60):
        fingers("touchMove", away)
    fingers("touchEnd", 0)
    shown = page.eval_on_selector_all(".stage", "all => all.map((one) => one.style.transform)")
    assert shown[0] == shown[1]
    zoom = float(shown[0].rpartition("scale(")[2].rstrip(")"))
    assert zoom == pytest.approx(3, rel=0.1)  # from 40 pixels apart to 120
