"""Versions side by side, what feedback would change, and applying it.

A detector is fitted and the history judged anew, which may take minutes: meanwhile a page says so,
looks again by itself, and may be left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Form, Query, Request, Response
from pydantic import Field

from blemish.service.api.shared import MOST_WORDS, Here, Name, Number, Waiting
from blemish.service.pages.render import go, line_address, page, page_router
from blemish.service.pages.slow import Slow
from blemish.service.quality import Comparison

router = page_router()
_MOMENT = 1.5
"""Seconds after which a browser is shown that it takes longer."""
_Ids = list[Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]]


async def _slow(request: Request) -> Slow:
    slow: Slow = request.app.state.slow
    return slow


_Works = Annotated[Slow, Depends(_slow)]


@router.get("/lines/{name}/compare")
async def compare(
    here: Here,
    waiting: Waiting,
    works: _Works,
    name: Name,
    before: Annotated[Number, Query()],
    after: Annotated[Number, Query()],
) -> Response:
    """Two versions on the same history."""

    def work() -> Response:
        key = (here.line(name).id, before, after)
        return _shown(works, key, name, lambda: here.compare(name, before, after))

    return await waiting.call(work)


@router.get("/lines/{name}/preview")
async def preview(
    here: Here,
    waiting: Waiting,
    works: _Works,
    name: Name,
    ids: Annotated[_Ids, Query()] = [],  # noqa: B006 (read by FastAPI, never changed)
) -> Response:
    """What feedback would change, before it is applied."""

    def work() -> Response:
        line, waits = here.line(name), here.waiting(name)
        chosen = [one for one in waits if not ids or one.id in ids]
        named = ids or [one.id for one in waits]
        key = (line.id, line.current, *sorted(named))
        values = {"chosen": chosen, "waiting": waits}
        return _shown(works, key, name, lambda: here.preview(name, ids), **values)

    return await waiting.call(work)


def _shown(
    works: Slow, key: Any, name: str, work: Callable[[], Comparison], **values: Any
) -> Response:
    """The comparison, or a page that waits for it."""
    try:
        found = works.get(key, work, _MOMENT)
    except TimeoutError:
        return page("wait.html", "lines", 202, name=name, preview=bool(values))
    return page("compare.html", "lines", found=found, **{"chosen": (), "waiting": ()} | values)


@router.post("/lines/{name}/apply", form_limits={"max_fields": MOST_WORDS, "max_part_size": 1024})
def apply(here: Here, name: Name, ids: Annotated[_Ids, Form()]) -> Response:
    """Begin a version that knows the feedback that was shown."""
    here.apply(name, ids)
    return go(line_address(name))
