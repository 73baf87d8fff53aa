"""Lines: make one, look at its versions and how well it does, let it learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from fastapi import File, Form, Path, Response, UploadFile

from blemish import registry
from blemish.errors import BlemishError, InputError
from blemish.service import problems
from blemish.service.api.shared import Here, Long, Name, Number, Short, Side, uploads
from blemish.service.pages import chart
from blemish.service.pages.render import go, line_address, page, page_router, segment, texts
from blemish.service.station import Station
from blemish.service.types import NewLine

router = page_router()
_References = Annotated[list[UploadFile], File()]
_EMPTY = {
    "name": "",
    "class_name": "",
    "standards": "",
    "detector": "patch-memory",
    "language_model": "",
}


@router.get("/lines")
def lines(here: Here) -> Response:
    """All lines."""
    return page("lines.html", "lines", lines=here.lines())


@router.get("/new-line")
def new_line(here: Here) -> Response:
    """Make a line in three steps."""
    return _form(here, _EMPTY)


def _form(
    here: Station, given: Mapping[str, str], message: str = "", status: int = 200
) -> Response:
    # One that judges the pictures of a folder against each other has nothing to learn beforehand.
    known = [one for one in registry.detectors().values() if one.needs != "folder"]
    models = here.settings.language_models
    return page(
        "new_line.html",
        "lines",
        status,
        given=given,
        message=message,
        detectors=known,
        models=models,
    )


@router.post("/lines")
def create(
    here: Here,
    name: Annotated[Short, Form()],
    class_name: Annotated[Short, Form()],
    detector: Annotated[Short, Form()],
    standards: Annotated[Long, Form()] = "",
    language_model: Annotated[Short, Form()] = "",
    references: _References = [],  # noqa: B006 (read by FastAPI, never changed)
) -> Response:
    """Make a line; what cannot be used is said above the form, which keeps what was typed."""
    given = {
        "name": name.strip(),
        "class_name": class_name.strip(),
        "standards": standards.strip(),
        "detector": detector,
        "language_model": language_model.strip(),
    }
    try:
        came = uploads([one for one in references if one.filename], here.settings)
        made = here.create_line(replace(_line(given), references=came))
    except BlemishError as error:
        return _form(here, given, str(error), problems.status_of(error))
    return go(line_address(made.name))


def _line(given: Mapping[str, str]) -> NewLine:
    return NewLine(
        name=given["name"],
        class_name=given["class_name"],
        standards=given["standards"],
        detector=given["detector"],
        language_model=given["language_model"],
    )


@router.post("/demo-line")
def demo(here: Here) -> Response:
    """Make the demo line."""
    return go(f"/?line={segment(here.demo().name)}")


@router.get("/lines/{name}")
def line(here: Here, name: Name) -> Response:
    """A line: its versions, its health, what waits."""
    # In this order: what ends meanwhile is shown as unfinished, and the page looks again.
    versions, found, health = here.versions(name), here.line(name), here.health(name)
    current = next((one for one in versions if one.number == found.current), versions[0])
    return page(
        "line.html",
        "lines",
        line=found,
        versions=versions,
        newest=versions[0],
        shown=current,
        models=here.settings.language_models,
        ready=[one for one in versions if one.state == "ready"],
        health=health,
        chart=chart.rates(health.days),
    )


@router.post("/lines/{name}/switch")
def switch(here: Here, name: Name, number: Annotated[Number, Form()]) -> Response:
    """Send new inspections through another version."""
    here.switch(name, number)
    return go(line_address(name))


@router.post("/lines/{name}/fit")
def fit(
    here: Here,
    name: Name,
    version: Annotated[Number, Form()],
    references: _References = [],  # noqa: B006 (read by FastAPI, never changed)
    standards: Annotated[Long, Form()] = "",
    language_model: Annotated[Short, Form()] = "",
) -> Response:
    """Begin a version with further good parts, or in which something else differs."""
    base = here.version(name, version)
    wanted = {"standards": standards.strip(), "language_model": language_model.strip()}
    changes = {key: value for key, value in wanted.items() if value != getattr(base, key)}
    came = uploads([one for one in references if one.filename], here.settings)
    words = texts()["line"]
    if not came and not changes and base.state == "ready":
        raise InputError(words["same"])
    changed = ", ".join(words[key].lower() for key in changes) or words["why_nothing"]
    why = words["why_more"].format(count=len(came), changed=changed)
    here.fit(name, came, why, changes=changes, version=version)
    return go(line_address(name))


@router.post("/lines/{name}/again")
def again(here: Here, name: Name, number: Annotated[Number, Form()]) -> Response:
    """Fit a version that failed once more."""
    here.fit(name, why=texts()["line"]["why_again"].format(number=number), version=number)
    return go(line_address(name))


@router.post("/lines/{name}/delete")
def delete(here: Here, name: Name) -> Response:
    """Delete a line and all that it has."""
    here.delete_line(name)
    return go("/lines")


@router.get("/references/{sha256}")
def reference(
    here: Here, sha256: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")], side: Side = 0
) -> Response:
    """A good part, as a picture."""
    kept = {"Cache-Control": "private, max-age=86400"}
    return Response(here.image(sha256, side), media_type="image/jpeg", headers=kept)
