"""One inspection: the part beside a good one, what was found, what people say and ask."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Form, Response
from markupsafe import Markup

from blemish import registry
from blemish.errors import InputError
from blemish.report import evidence
from blemish.service.api.shared import Here, Id, Long, Short, Waiting
from blemish.service.pages.render import go, page, page_router, segment
from blemish.service.pages.sending import shown_soon
from blemish.service.types import InspectionRow, Job, Says, Version

router = page_router()
_Contours = Sequence[tuple[int, Sequence[tuple[int, int]]]]


@router.get("/inspections/{id}")
def inspection(here: Here, id: Id) -> Response:
    """What was found on a part."""
    row = here.inspection(id)
    version = here.version(row.line, row.version)
    height, width = row.sizes[0]
    said = row.feedback[0] if row.feedback else None
    applied = here.version(row.line, said.applied) if said and said.applied else None
    return page(
        "inspection.html",
        "history",
        row=row,
        version=version,
        height=height,
        width=width,
        places=_places(row, here.contours(id)) if row.regions else [],
        mark=_mark_shown(row, said.mark) if said and said.mark else None,
        evidence=_evidence(row),
        messages=here.messages(id),
        talks=_talks(version),
        waits=bool(row.feedback) and _waits(here, row),
        known=applied is not None and applied.state == "ready",
        current=here.line(row.line).current,
    )


def _talks(version: Version) -> bool:
    """Whether anybody answers questions."""
    entry = registry.detectors().get(version.detector)
    return bool(version.language_model) or (entry is not None and entry.embeds)


def _waits(here: Here, row: InspectionRow) -> bool:
    """Whether what was said last would teach the line something."""
    return row.feedback[0].id in {one.id for one in here.waiting(row.line)}


def _places(row: InspectionRow, contours: _Contours) -> list[dict[str, Any]]:
    """Each marked place with its outline as the path of a drawing, and where its number goes."""
    paths: defaultdict[int, str] = defaultdict(str)
    for label, corners in contours:
        paths[label] += "M" + " ".join(f"{x},{y}" for x, y in corners) + "Z"
    return [
        {**region, "path": paths[region["label"]], "at": _beside(region["box"], *row.sizes[0])}
        for region in row.regions
    ]


def _mark_shown(row: InspectionRow, mark: Sequence[int]) -> dict[str, Any]:
    """The box that a person drew last, as `_places` has places, its word at the other corner."""
    (x0, y0, x1, y1), (high, wide) = mark, row.sizes[0]
    _, beside = _beside(mark, high, wide)
    two_letters = max(high, wide) / 13  # as long as the word is
    return {
        "box": mark,
        "path": f"M{x0},{y0}H{x1}V{y1}H{x0}Z",
        "at": (min(x0, wide - two_letters), beside),
        "width": x1 - x0,
        "height": y1 - y0,
    }


def _beside(box: Sequence[int], height: int, width: int) -> tuple[float, float]:
    """Where the number of a place begins: above its box, or below where no room is above."""
    _, y0, x1, y1 = box
    letter = max(height, width) / 26  # as the style sheet has it
    return min(x1, width - letter), y0 - letter / 3 if y0 > 1.5 * letter else y1 + 1.2 * letter


def _evidence(row: InspectionRow) -> Markup:
    """What the verdict stands on, escaped by the report's own code."""
    return Markup(evidence.bars(row.evidence) + evidence.details(row.evidence))


@router.post("/inspections/{id}/feedback")
def say(
    here: Here,
    id: Id,
    says: Annotated[Says, Form()],
    comment: Annotated[Long, Form()] = "",
    edges: Annotated[list[Short], Form()] = [],  # noqa: B006 (read by FastAPI, never changed)
) -> Response:
    """Note whether a verdict was right."""
    here.say(id, says, _mark(edges), comment.strip())
    return go(f"/inspections/{id}#say")


@router.post("/inspections/{id}/again")
async def again(here: Here, waiting: Waiting, id: Id) -> Response:
    """Inspect the same picture with the line's current version."""

    def work() -> Job:
        row = here.inspection(id)
        return here.submit(row.line, [here.original(id)])

    return await shown_soon(here, waiting, work)


@router.post("/inspections/{id}/delete")
def delete(here: Here, id: Id) -> Response:
    """Delete an inspection, its picture, and what was said of it."""
    line = here.inspection(id).line
    here.delete_inspection(id)
    return go(f"/history?line={segment(line)}")


def _mark(edges: Sequence[str]) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom as typed; None where nothing was."""
    if not any(edges):
        return None
    try:
        x0, y0, x1, y1 = (int(edge) for edge in edges)
    except ValueError as cause:
        raise InputError(
            f"The edges of the defect are {', '.join(edges)[:100]!r}; expected four whole numbers: "
            "left, top, right and bottom in pixels, or none of them."
        ) from cause
    return x0, y0, x1, y1


@router.post("/inspections/{id}/messages")
async def ask(
    here: Here, waiting: Waiting, id: Id, question: Annotated[Long, Form(min_length=1)]
) -> Response:
    """Ask without scripts: the page comes back with the whole answer."""
    await waiting.call(lambda: list(here.ask(id, question)))
    return go(f"/inspections/{id}#chat")
