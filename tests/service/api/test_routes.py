"""The station over HTTP, from pictures to verdicts, maps, feedback and exports."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from types import ModuleType

import numpy as np
import PIL.Image
import pytest
from starlette.testclient import TestClient

from blemish.service.station import Station

Part = Callable[..., bytes]
NOBODY = "0" * 32


def test_a_picture_becomes_a_verdict_with_regions(client: TestClient, inspected: list[str]) -> None:
    good, stain = (client.get(f"/v1/inspections/{id}").json() for id in inspected)
    assert good["verdict"] == "normal"
    assert (stain["verdict"], stain["decided_by"]) == ("anomalous", "calibration")
    assert stain["regions"]
    assert stain["name"] == "<b>stain</b>.png"


def test_accepted_pictures_are_found_in_the_order_they_came(
    client: TestClient, inspected: list[str]
) -> None:
    first = client.get("/v1/inspections?limit=1").json()
    rest = client.get(f"/v1/inspections?after={first['next']}").json()
    found = [row["id"] for row in (*first["items"], *rest["items"])]
    assert found[::-1] == inspected
    assert first["total"] == 2
    wanted = client.get("/v1/inspections", params={"verdict": "anomalous", "line": "plates"})
    assert [row["id"] for row in wanted.json()["items"]] == inspected[1:]


def test_pictures_of_an_inspection(client: TestClient, inspected: list[str], part: Part) -> None:
    at = f"/v1/inspections/{inspected[1]}"
    original = client.get(f"{at}/original")
    assert original.content == part(103, "stain")
    assert original.headers["content-disposition"].startswith("attachment")
    for what, form, size in (
        ("picture", "JPEG", (112, 112)),
        ("picture?side=28", "JPEG", (28, 28)),
        ("map", "PNG", (112, 112)),
        ("overlay", "PNG", None),
    ):
        said = client.get(f"{at}/{what}")
        with PIL.Image.open(io.BytesIO(said.content)) as image:
            assert image.format == form
            assert size in (None, image.size)
    grey = client.get(f"{at}/map?coloured=false").content
    with PIL.Image.open(io.BytesIO(grey)) as image:
        assert np.asarray(image).max() > 32768


def test_the_same_key_gives_the_same_job(client: TestClient, part: Part) -> None:
    def send(key: str) -> str:
        files = {"files": ("one.png", part(51))}
        headers = {"Idempotency-Key": key}
        url = "/v1/inspections?wait=30"
        said = client.post(url, data={"line": "plates"}, files=files, headers=headers)
        return str(said.json()["id"])

    assert send("a") == send("a") != send("b")


def test_an_archive_and_a_file_that_is_no_picture(client: TestClient, part: Part) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/1.png", part(52))
        archive.writestr("notes.txt", "no picture")
    files = {"files": ("parts.zip", file.getvalue())}
    job = client.post("/v1/inspections?wait=30", data={"line": "plates"}, files=files).json()
    assert [(item["name"], item["state"]) for item in job["items"]] == [
        ("a/1.png", "done"),
        ("notes.txt", "failed"),
    ]
    assert job["items"][1]["fault"]["error"] == "ImageError"
    assert (job["state"], job["done"], job["failed"]) == ("done", 1, 1)


def test_a_job_tells_how_it_goes_on(client: TestClient, part: Part) -> None:
    files = [("files", (f"{seed}.png", part(seed))) for seed in range(60, 64)]
    said = client.post("/v1/inspections", data={"line": "plates"}, files=files)
    job = said.json()["id"]
    assert said.headers["location"] == f"/v1/jobs/{job}"
    events = client.get(f"/v1/jobs/{job}/events")
    assert events.headers["content-type"].startswith("text/event-stream")
    blocks = events.text.strip().split("\n\n")
    assert all(block.startswith("event: progress\ndata: ") for block in blocks)
    last = json.loads(blocks[-1].partition("data: ")[2])
    assert (last["state"], last["done"], last["total"]) == ("done", 4, 4)
    assert client.post(f"/v1/jobs/{job}/cancel").json()["state"] == "done"
    assert job in [one["id"] for one in client.get("/v1/jobs?line=plates").json()]


def test_feedback_shows_in_health_and_is_learnt(client: TestClient, inspected: list[str]) -> None:
    at = f"/v1/inspections/{inspected[1]}/feedback"
    said = client.post(at, json={"says": "good", "mark": [1, 2, 30, 40], "comment": "Dust."})
    assert said.status_code == 201
    health = client.get("/v1/lines/plates/health").json()
    assert (health["overall"]["overkill"], len(health["waiting"])) == (1, 1)
    preview = client.get("/v1/lines/plates/feedback/preview").json()
    assert inspected[1] in [change["inspection"] for change in preview["changes"]]
    applied = client.post("/v1/lines/plates/feedback/apply", json={})
    assert applied.status_code == 202
    assert applied.json()["number"] == 2
    assert client.get("/v1/inspections?feedback=good").json()["total"] == 1


def test_exports_are_downloads(client: TestClient, inspected: list[str]) -> None:
    for kind in ("jsonl", "csv", "coco", "yolo", "label-studio", "html"):
        said = client.get(f"/v1/exports/{kind}?line=plates&verdict=anomalous")
        assert said.status_code == 200, said.text
        assert said.headers["content-disposition"].startswith("attachment; filename=")
        assert "script-src" not in said.headers["content-security-policy"]
    assert client.get("/v1/exports/exe").status_code == 422


def test_what_does_not_exist_is_said_so(client: TestClient) -> None:
    for path in (
        *(f"/v1/inspections/{NOBODY}{end}" for end in ("", "/original", "/map", "/messages")),
        *(f"/v1/jobs/{NOBODY}{end}" for end in ("", "/events")),
        *(f"/v1/lines/nothing{end}" for end in ("", "/versions", "/health")),
    ):
        said = client.get(path)
        assert said.status_code == 404, path
        assert said.json()["error"] == "NotFoundError"
        assert said.headers["content-type"] == "application/problem+json"


def test_requests_that_cannot_be_used_are_problems(client: TestClient, part: Part) -> None:
    file = {"files": ("a.png", part(1))}
    bad = [
        client.post("/v1/inspections", data={"line": "nothing"}, files=file),
        client.post("/v1/inspections", data={"line": "plates"}),
        client.post("/v1/lines", data={"name": "../x"}),
        client.post("/v1/lines", data={"name": "plates"}, files={"references": ("a", part(1))}),
        client.post("/v1/lines", data={"name": "b"}),
        client.post("/v1/lines", data={"name": "b", "options": "{"}),
        client.post("/v1/lines", data={"name": "b"}, files={"references": ("a.png", b"text")}),
        client.put("/v1/lines/plates/current", json={"version": 9}),
        client.get("/v1/inspections?limit=0"),
        client.get("/v1/lines/plates/compare?before=1&after=9"),
    ]
    assert [said.status_code for said in bad] == [404, 422, 422, 409, 422, 422, 422, 404, 422, 404]
    assert all(said.headers["content-type"] == "application/problem+json" for said in bad)


def test_a_line_that_cannot_talk_says_so_at_once(client: TestClient, inspected: list[str]) -> None:
    said = client.post(f"/v1/inspections/{inspected[0]}/messages", json={"question": "Where?"})
    assert (said.status_code, said.json()["error"]) == (422, "OptionError")


def test_watchers_see_how_it_stands(client: TestClient, inspected: list[str]) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok"}
    figures = client.get("/metrics").text
    assert "blemish_lines 1.0" in figures
    assert 'blemish_requests_total{method="GET",route="/healthz",status="200"}' in figures
    assert inspected[0] not in figures


def test_the_document_names_every_route_and_its_problems(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operations = [
        (path, operation)
        for path, methods in document["paths"].items()
        for operation in methods.values()
    ]
    names = {operation["operationId"] for _, operation in operations}
    assert len(operations) == len(names) > 25
    for path, operation in operations:
        assert {"4XX", "5XX"} <= set(operation["responses"]), path
        assert operation["summary"], path
    for body in ("Question", "Said", "Chosen", "Current", "Chat"):
        assert document["components"]["schemas"][body]["examples"]


def test_every_operation_has_examples_of_what_is_sent_and_answered(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            at = f"{method} {path}"
            for one in operation.get("parameters", []):
                told = one["schema"].get("examples") or "example" in one or not one["required"]
                assert told, f"{at}: {one['name']}"
            for body in operation.get("requestBody", {}).get("content", {}).values():
                schema = schemas[body["schema"]["$ref"].rpartition("/")[2]]
                wanted = [schema["properties"][name] for name in schema.get("required", ())]
                told = [p.get("examples") or "contentMediaType" in str(p) for p in wanted]
                assert schema.get("examples") or all(told), at
            answers = operation["responses"]
            assert any(status.startswith("2") for status in answers), at
            for status, answer in answers.items():
                content = answer.get("content", {})
                assert content or status == "204", f"{at}: {status}"
                assert all("example" in one for one in content.values()), f"{at}: {status}"


def test_lines_and_inspections_are_deleted(
    opened: Callable[..., TestClient], part: Part, shade: ModuleType
) -> None:
    other = opened()
    station: Station = other.app.state.station  # type: ignore[attr-defined]
    shade.make_caps(station)
    file = {"files": ("a.png", shade.picture(0).data)}
    job = other.post("/v1/inspections?wait=20", data={"line": "caps"}, files=file).json()
    at = f"/v1/inspections/{job['items'][0]['inspection']}"
    said = other.delete(at)
    assert (said.status_code, said.content) == (204, b"")
    assert other.get(at).status_code == other.delete(at).status_code == 404
    assert other.get("/v1/jobs").json() == []
    assert other.delete("/v1/lines/caps").status_code == 204
    assert other.get("/v1/lines").json() == []
    assert other.delete("/v1/lines/caps").status_code == 404


def test_texts_come_back_as_they_are(client: TestClient, inspected: list[str]) -> None:
    """Nothing is escaped twice or cut: what shows texts is the one to escape them."""
    row = client.get(f"/v1/inspections/{inspected[1]}").json()
    assert row["name"] == "<b>stain</b>.png"
    original = client.get(f"/v1/inspections/{inspected[1]}/original").content
    assert row["sha256"] == hashlib.sha256(original).hexdigest()


def test_no_request_waits_for_routes_to_be_put_together(
    opened: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is also done under filters of warnings, which other threads would take away meanwhile."""
    client = opened()

    def late(*_: object, **__: object) -> None:
        raise AssertionError("a request put a route together")

    monkeypatch.setattr("fastapi.dependencies.utils.create_model_field", late)
    for address in ("/", "/history", "/v1/lines", "/v1/models", "/healthz", "/openapi.json"):
        assert client.get(address).status_code == 200, address
