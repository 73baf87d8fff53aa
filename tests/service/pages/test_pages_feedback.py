"""What people said of a verdict on its page, and of many in the history, without scripts."""

from __future__ import annotations

import re
import threading
from types import ModuleType
from typing import Any

import pytest
from starlette.testclient import TestClient

from blemish.service.app import create_app
from blemish.service.pages.render import share
from blemish.service.station import Station
from blemish.service.types import Upload

UNSURE = 197
"""A grey whose score lies inside the band."""


@pytest.fixture
def client(station: Station) -> TestClient:
    return TestClient(create_app(station), base_url="http://localhost:8000")


def inspected(station: Station, *pictures: Upload) -> list[str]:
    job = station.wait(station.submit("caps", list(pictures)).id, 10)
    return [item.inspection for item in job.items]


def offered(client: TestClient, id: str) -> list[str]:
    """What the page of an inspection lets a person say."""
    page = client.get(f"/inspections/{id}").text
    return re.findall(r'<button name="says" value="(\w+)">', page)


def test_each_verdict_can_be_called_right_or_wrong_and_that_be_taken_back(
    client: TestClient, station: Station, caps: str, shade: ModuleType
) -> None:
    pictures = (shade.picture(0), shade.picture(None), shade.picture(UNSURE))
    ids = inspected(station, *pictures)
    assert [station.inspection(id).verdict for id in ids] == ["anomalous", "normal", "unsure"]
    # That an unsure verdict is right would not tell what the part is.
    want = [["right", "good"], ["right", "defective"], ["good", "defective"]]
    assert [offered(client, id) for id in ids] == want
    for id in ids:
        station.say(id, "good")
    assert [offered(client, id) for id in ids] == want


def test_unsure_ones_are_left_out_where_many_are_called_right(
    client: TestClient, station: Station, caps: str, shade: ModuleType
) -> None:
    ids = inspected(station, shade.picture(0), shade.picture(UNSURE))
    said = client.post("/history/feedback", data={"says": "right", "ids": ids})
    assert said.url.query == b"noted=1&left=1"
    assert "Left out: 1." in said.text
    assert [len(station.inspection(id).feedback) for id in ids] == [1, 0]
    said = client.post("/history/feedback", data={"says": "good", "ids": ids})
    assert said.url.query == b"noted=2"
    assert "Left out" not in said.text


def test_the_box_that_a_person_drew_is_shown_until_another_word_is_said(
    client: TestClient, station: Station, caps: str, shade: ModuleType
) -> None:
    [id] = inspected(station, shade.picture(None))
    station.say(id, "defective", (4, 2, 14, 12))
    page = client.get(f"/inspections/{id}").text
    assert 'd="M4,2H14V12H4Z"' in page
    assert 'data-box="4 2 14 12"' in page
    assert "Box in the picture: 4 to 14 across, 2 to 12 down." in page
    assert page.count('data-region="drawn"') == 2  # in the picture, and in the list beside it
    station.say(id, "right")
    assert 'data-region="drawn"' not in client.get(f"/inspections/{id}").text


def test_the_preview_says_what_share_of_good_parts_will_be_called_anomalous(
    client: TestClient, station: Station, caps: str, shade: ModuleType
) -> None:
    [id] = inspected(station, shade.picture(0))
    station.say(id, "good")
    preview, want = station.preview(caps), shade.CALIBRATION.alarms
    assert (preview.alarms_before, preview.alarms_after) == (want, want)
    page = client.get("/lines/caps/preview").text
    assert f"called anomalous: {share(want)} before, {share(want)} after." in page
    assert "That is the price" not in page  # nothing rises
    assert share(want) in client.get("/lines/caps").text


def test_a_version_is_said_to_know_feedback_once_it_is_ready(
    client: TestClient,
    station: Station,
    caps: str,
    shade: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [id] = inspected(station, shade.picture(0))
    station.say(id, "good")
    go, fit = threading.Event(), shade.Shade.fit

    def held(*given: Any) -> Any:
        assert go.wait(30)
        return fit(*given)

    monkeypatch.setattr(shade.Shade, "fit", held)
    station.apply(caps)
    page = client.get(f"/inspections/{id}").text
    assert "Version 2, which is learning now, will know this." in page
    go.set()
    shade.until_fitted(station, caps)
    page = client.get(f"/inspections/{id}").text
    assert "Version 2 of the line knows this." in page
    assert "Inspect it again with version 2" in page


def test_more_words_than_an_address_holds_are_applied_together(
    client: TestClient,
    station: Station,
    caps: str,
    shade: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [id] = inspected(station, shade.picture(0))
    station.say(id, "good")
    waiting = station.waiting(caps)
    for count, chosen_one_by_one in ((500, True), (501, False)):
        monkeypatch.setattr(station, "waiting", lambda _: waiting * count)  # noqa: B023
        page = client.get("/lines/caps/preview").text
        assert page.count('type="hidden" name="ids"') == count
        assert ('type="checkbox" name="ids"' in page) == chosen_one_by_one
