"""The pages over HTTP: what a browser without scripts can do, and that nothing slips through."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from starlette.testclient import TestClient

import blemish.service
from blemish.errors import ReferencesError
from blemish.service import status
from blemish.service.app import create_app
from blemish.service.station import Station
from blemish.service.types import NewLine, Weights

ROOM = Path(blemish.service.__file__).parent
EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>'


class Seen(HTMLParser):
    """A page's elements with their attributes, its text, and the fields inside of labels."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.labelled: list[dict[str, str]] = []
        self._in_label = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_label = self._in_label or tag == "label"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if self._in_label:
            self.labelled.append(self.elements[-1][1])

    def handle_endtag(self, tag: str) -> None:
        self._in_label = self._in_label and tag != "label"

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, of_class: str = "") -> list[dict[str, str]]:
        named = [attributes for found, attributes in self.elements if found == tag]
        return [a for a in named if of_class in a.get("class", "").split() or not of_class]


@pytest.fixture
def client(station: Station) -> TestClient:
    """A browser without scripts on a station that works."""
    return TestClient(create_app(station), base_url="http://localhost:8000")


def seen(client: TestClient, address: str, status: int = 200) -> Seen:
    answer = client.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "text/html; charset=utf-8",
    ), answer.text
    return Seen(answer.text)


def inspected(client: TestClient, shade: ModuleType, *spots: int | None, name: str = "") -> str:
    """The address to which a browser is sent after inspecting pictures on the line "caps"."""
    files = [("files", (name or f"{spot}.png", shade.picture(spot).data)) for spot in spots]
    answer = client.post("/inspect", data={"line": "caps"}, files=files)
    assert answer.status_code == 200, answer.text
    return str(answer.url.path)


def test_the_first_start_offers_a_demo_and_a_line_of_ones_own(client: TestClient) -> None:
    page = seen(client, "/")
    assert "/demo-line" in [form["action"] for form in page.all("form")]
    assert "/new-line" in [link["href"] for link in page.all("a")]
    assert len(page.all("li")) >= 3 + len(page.all("nav"))


def test_a_line_is_made_by_its_form(
    client: TestClient, station: Station, shade: ModuleType
) -> None:
    fields = {"name": "caps & lids", "class_name": "cap", "detector": "shade", "standards": "Flat."}
    files = [("references", ("a.png", shade.picture().data))]
    answer = client.post("/lines", data=fields, files=files)
    assert (answer.status_code, answer.url.path) == (200, "/lines/caps & lids")
    version = station.version("caps & lids", 1)
    assert (version.class_name, version.standards) == ("cap", "Flat.")
    assert [reference.name for reference in version.references] == ["a.png"]


def test_a_form_that_cannot_be_used_says_why_and_keeps_what_was_typed(client: TestClient) -> None:
    fields = {"name": "a/b", "class_name": "cap", "detector": "shade"}
    answer = client.post("/lines", data=fields)
    page = Seen(answer.text)
    assert answer.status_code == 422
    assert "a/b" in [field.get("value") for field in page.all("input")]
    assert "a/b" in page.text
    assert page.all("p", "bad")


def test_one_picture_leads_to_what_was_found_on_it(
    client: TestClient, station: Station, caps: str, shade: ModuleType
) -> None:
    address = inspected(client, shade, 0)
    row = station.inspection(address.rpartition("/")[2])
    page = seen(client, address)
    assert "anomalous" in page.text
    assert "anomalous <b>shade</b>" in page.text  # the explanation, as text
    assert row.evidence
    sources = [image["src"] for image in page.all("img")]
    assert f"/v1/inspections/{row.id}/picture?side=2000" in sources
    assert f"/v1/inspections/{row.id}/nearest?side=2000" in sources
    assert f"/v1/inspections/{row.id}/map" in [image["href"] for image in page.all("image")]
    for source in sources:
        assert client.get(source).status_code == 200, source

    way = page.all("path", "halo")[0]["d"]
    corners = [tuple(map(int, pair.split(","))) for pair in re.findall(r"\d+,\d+", way)]
    xs, ys = zip(*corners, strict=True)
    # The spot lies at 4 to 14 across and 2 to 12 down, and an outline a few pixels outside of it.
    assert 0 <= min(xs) <= 4
    assert 13 <= max(xs) <= 18
    assert 0 <= min(ys) <= 2
    assert 11 <= max(ys) <= 16


def test_several_pictures_become_a_batch_whose_page_names_each(
    client: TestClient, station: Station, caps: str, shade: ModuleType
) -> None:
    address = inspected(client, shade, None, 0)
    assert address.startswith("/jobs/")
    job = station.wait(address.rpartition("/")[2], 10)
    page = seen(client, address)
    links = [link["href"] for link in page.all("a")]
    assert [f"/inspections/{item.inspection}" in links for item in job.items] == [True, True]
    assert page.all("progress")[0]["max"] == "2"
    assert "data-events" not in page.all("section")[0]  # it has ended


def test_feedback_with_a_mark_is_kept_and_a_mark_outside_is_refused(
    client: TestClient, station: Station, caps: str, shade: ModuleType
) -> None:
    address = inspected(client, shade, None)
    fields = {"says": "defective", "comment": "Bent.", "edges": ["1", "2", "11", "12"]}
    answer = client.post(f"{address}/feedback", data=fields)
    assert (answer.status_code, answer.url.path) == (200, address)
    said = station.inspection(address.rpartition("/")[2]).feedback[0]
    assert (said.says, said.comment, said.mark) == ("defective", "Bent.", (1, 2, 11, 12))
    assert "Bent." in Seen(answer.text).text

    for edges in (["1", "2", "900", "12"], ["1", "2", "x", "12"], ["1", "2", "", ""]):
        refused = client.post(f"{address}/feedback", data={"says": "good", "edges": edges})
        assert refused.status_code == 422
        assert Seen(refused.text).all("p", "bad")
    assert len(station.inspection(address.rpartition("/")[2]).feedback) == 1
    empty = {"says": "right", "edges": ["", "", "", ""]}
    assert client.post(f"{address}/feedback", data=empty).status_code == 200


def test_a_rejected_find_is_previewed_and_then_known(
    client: TestClient, station: Station, caps: str, shade: ModuleType
) -> None:
    address = inspected(client, shade, 0)
    inspected(client, shade, 3)  # as dark, but for a little
    client.post(f"{address}/feedback", data={"says": "good"})
    assert "/lines/caps/preview" in [a["href"] for a in seen(client, address).all("a")]

    page = seen(client, "/lines/caps/preview")
    assert len(page.all("tr")) >= 3  # both finds go away, and the heading
    chosen = [field["value"] for field in page.all("input") if field.get("name") == "ids"]
    assert len(station.versions("caps")) == 1  # nothing was applied yet
    answer = client.post("/lines/caps/apply", data={"ids": [chosen[0]]})
    assert (answer.status_code, answer.url.path) == (200, "/lines/caps")
    shade.until_fitted(station, "caps")
    assert station.line("caps").current == 2
    assert "normal" in seen(client, inspected(client, shade, 0)).text

    compared = seen(client, "/lines/caps/compare?before=1&after=2")
    assert len(compared.all("td", "wide")) >= 2
    client.post("/lines/caps/switch", data={"number": "1"})
    assert station.line("caps").current == 1


def test_a_further_version_differs_and_one_that_failed_is_tried_again(
    client: TestClient,
    station: Station,
    caps: str,
    shade: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    same = client.post("/lines/caps/fit", data={"version": "1"})
    assert (same.status_code, len(station.versions(caps))) == (422, 1)

    def broken(*_: object) -> None:
        raise ReferencesError("Too few.")

    with monkeypatch.context() as patch:
        patch.setattr(shade.Shade, "fit", broken)
        client.post("/lines/caps/fit", data={"version": "1", "standards": "Round."})
        shade.until_fitted(station, caps)
    page = seen(client, "/lines/caps")
    assert {"name": "number", "value": "2"}.items() <= page.all("input")[0].items()
    client.post("/lines/caps/again", data={"number": "2"})
    shade.until_fitted(station, caps)
    newest = station.versions(caps)[0]
    assert (newest.number, newest.state, newest.standards) == (3, "ready", "Round.")


def test_the_same_is_said_of_several_at_once(
    client: TestClient, station: Station, caps: str, shade: ModuleType
) -> None:
    ids = [inspected(client, shade, spot).rpartition("/")[2] for spot in (None, 0, 0)]
    fields = {"says": "right", "ids": ids[:2], "back": "verdict=normal&line=caps"}
    answer = client.post("/history/feedback", data=fields)
    assert (answer.status_code, answer.url.query) == (200, b"verdict=normal&line=caps&noted=2")
    assert [len(station.inspection(id).feedback) for id in ids] == [1, 1, 0]


def test_filters_left_empty_do_not_matter(client: TestClient, caps: str, shade: ModuleType) -> None:
    inspected(client, shade, None)
    inspected(client, shade, 0)
    asked = "/history?line=&verdict=anomalous&version=&since=&until=&feedback=&name="
    answer = client.get(asked)
    assert answer.url.query == b"verdict=anomalous"
    page = Seen(answer.text)
    assert len(page.all("a", "tile")) == len(page.all("time")) == 1
    assert "Times are UTC." in page.text
    assert len(seen(client, "/history?name=NONE").all("a", "tile")) == 1  # any case: "None.png"


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/inspections/" + 32 * "0", 404),
        ("/inspections/x", 422),
        ("/lines/none", 404),
        ("/jobs/" + 32 * "0", 404),
        ("/history?version=many", 422),
        ("/history?line=none", 404),
    ],
)
def test_errors_are_pages(client: TestClient, address: str, status: int) -> None:
    page = seen(client, address, status)
    assert page.all("p", "bad")


def every_page(client: TestClient, station: Station, line: str, inspection: str) -> list[str]:
    job = station.jobs()[0].id
    name = client.get("/lines").text and f"/lines/{line}"
    addresses = ["/", "/batch", "/history", "/lines", "/new-line", "/settings", name]
    return [client.get(a).text for a in [*addresses, f"/jobs/{job}", f"/inspections/{inspection}"]]


def test_script_in_any_name_or_word_is_shown_as_text(
    client: TestClient, station: Station, shade: ModuleType
) -> None:
    line = "'\"><b onclick=x>"
    station.create_line(NewLine(line, EVIL, EVIL, "shade", references=(shade.picture(name=EVIL),)))
    shade.until_fitted(station, line)
    files = [("files", (EVIL.replace('"', "'"), shade.picture(0).data))]
    found = client.post("/inspect", data={"line": line}, files=files)
    id = found.url.path.rpartition("/")[2]
    station.say(id, "good", None, EVIL)
    pages = every_page(client, station, "'%22%3E%3Cb%20onclick=x%3E", id)
    assert sum("alert(" in Seen(page).text for page in pages) >= 4
    for page in pages:
        parsed = Seen(page)
        assert not parsed.all("b", "") or all("onclick" not in a for a in parsed.all("b"))
        assert {s.get("src", "").startswith("/static/") for s in parsed.all("script")} <= {True}
        assert all(not n.startswith("on") for _, a in parsed.elements for n in a)
        assert "x" not in [image.get("src") for image in parsed.all("img")]


def test_pages_hold_nothing_that_the_policy_forbids_and_no_outside_address(
    client: TestClient, station: Station, caps: str, shade: ModuleType
) -> None:
    id = inspected(client, shade, 0).rpartition("/")[2]
    station.say(id, "good")
    for page in every_page(client, station, caps, id):
        for tag, attributes in Seen(page).elements:
            assert tag != "style"
            assert "style" not in attributes
            for name in ("src", "href", "action"):
                assert re.match(r"[/#?]|$", attributes.get(name, "")), attributes
                assert not attributes.get(name, "").startswith("//")
    for file in (ROOM / "static").iterdir():
        text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text, file


def test_each_field_and_picture_has_a_name_for_those_who_do_not_see_it(
    client: TestClient, station: Station, caps: str, shade: ModuleType
) -> None:
    id = inspected(client, shade, 0).rpartition("/")[2]
    for page in every_page(client, station, caps, id):
        parsed = Seen(page)
        named = {label.get("for") for label in parsed.all("label")}
        ids = [a["id"] for _, a in parsed.elements if "id" in a]
        assert len(ids) == len(set(ids))
        assert len(parsed.all("h1")) == len(parsed.all("main")) == 1
        assert all("alt" in image for image in parsed.all("img"))
        for field in [*parsed.all("input"), *parsed.all("textarea"), *parsed.all("select")]:
            known = field.get("id") in named or "aria-label" in field or field in parsed.labelled
            assert known or field.get("type") == "hidden", field


def test_detectors_whose_weights_are_not_here_say_so(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (Weights("dinov2-small", "", "", True), Weights("smollm2-135m", "", "", False))
    monkeypatch.setattr(status, "_lately", lambda *_: rows)
    options = re.findall(r'<option value="([\w-]+)"[^>]*>([^<]*)', client.get("/new-line").text)
    marked = {name for name, text in options if text.endswith("– not here: smollm2-135m")}
    assert marked == {"anomalygpt", "iad-gpt"}
