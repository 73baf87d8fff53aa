"""Inspections as they are found again, and their pictures."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from blemish.errors import InputError, NotFoundError
from blemish.report.overlay import overlay
from blemish.runs import pictures
from blemish.runs import rows as run_rows
from blemish.service import heat, records
from blemish.service.shop import Shop
from blemish.service.store import tables as t
from blemish.service.types import Export, Exported, Filter, InspectionRow, Page, Upload
from blemish.types import AnomalyMap, Image, Region

MOST = 500
"""Inspections of one page."""


class History:
    """See the module; methods as those of `Station`."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def one(self, id: str) -> InspectionRow:
        """One inspection."""
        with self._shop.database.reading() as session:
            return records.inspection(records.inspection_called(session, id))

    def find(self, wanted: Filter, after: int | None = None, limit: int = 50) -> Page:
        """Inspections that a filter names, the newest first."""
        if not 0 < limit <= MOST:
            raise InputError(f"The limit is {limit}; expected 1 to {MOST}.")
        with self._shop.database.reading() as session:
            return self._page(session, wanted, after, limit)

    def _page(self, session: Session, wanted: Filter, after: int | None, limit: int) -> Page:
        named = _narrowed(session, select(t.Inspection), wanted)
        total = session.scalar(
            _narrowed(session, select(func.count()).select_from(t.Inspection), wanted)
        )
        if after is not None:
            named = named.where(t.Inspection.seq < after)
        rows = session.scalars(
            named.options(
                joinedload(t.Inspection.line),
                joinedload(t.Inspection.version),
                joinedload(t.Inspection.item),
                selectinload(t.Inspection.feedback),
            )
            .order_by(t.Inspection.seq.desc())
            .limit(limit + 1)
        ).all()
        items = tuple(records.inspection(row) for row in rows[:limit])
        return Page(items, items[-1].number if len(rows) > limit else None, total or 0)

    def every(self, wanted: Filter, most: int) -> list[InspectionRow]:
        """All that a filter names, up to so many, the newest first."""
        found: list[InspectionRow] = []
        after: int | None = None
        while len(found) < most:
            page = self.find(wanted, after, min(MOST, most - len(found)))
            found += page.items
            if (after := page.next) is None:
                break
        return found

    def export(self, wanted: Filter, kind: Export) -> Exported:
        """See `Station.export`."""
        from blemish.service import exports

        most = exports.MOST_SHOWN if kind == "html" else exports.MOST
        return exports.export(kind, self.every(wanted, most + 1), self._shown)

    def _shown(self, row: InspectionRow) -> tuple[Image, AnomalyMap | None]:
        _, kept = self._kept(row.id)
        return self._shop.image(row.sha256, row.name), self._shop.scored(kept, 0)

    def _kept(self, id: str) -> tuple[InspectionRow, t.Inspection]:
        """An inspection and its row, with its version, to be read after the session."""
        with self._shop.database.reading() as session:
            row = records.inspection_called(session, id)
            return records.inspection(row), row

    def original(self, id: str) -> Upload:
        """The file as it came."""
        row = self.one(id)
        return Upload(row.name, self._shop.files.read(row.sha256))

    def picture(self, id: str, view: int, side: int) -> bytes:
        """The part as JPEG."""
        row = self.one(id)
        _refuse_view(row, view)
        return self._shop.jpeg(row.sha256, row.name, side)

    def image(self, sha256: str, side: int) -> bytes:
        """A reference as JPEG; what is no reference of any version is not shown."""
        with self._shop.database.reading() as session:
            known = session.scalars(select(t.Version.references)).all()
        name = next((r["name"] for some in known for r in some if r["sha256"] == sha256), None)
        if name is None:
            raise NotFoundError(f"No version has a reference {sha256[:64]!r}.")
        return self._shop.jpeg(sha256, name, side)

    def nearest(self, id: str, side: int) -> bytes | None:
        """The reference that the part was most like, else the first one."""
        with self._shop.database.reading() as session:
            row = records.inspection_called(session, id)
            named, references = row.row["evidence"].get("nearest_reference"), row.version.references
        same = [r for r in references if r["name"] == named] or references
        if not same:
            return None
        return self._shop.jpeg(same[0]["sha256"], same[0]["name"], side)

    def maps(self, id: str, view: int, coloured: bool) -> bytes:
        """The map of a view as PNG."""
        scored = self._shop.scored(self._kept(id)[1], view, painted=coloured)
        if scored is None:
            raise NotFoundError(f"Inspection {id} has no anomaly map of view {view}.")
        return heat.layer(scored) if coloured else heat.grey(scored)

    def contours(self, id: str, view: int) -> tuple[tuple[int, tuple[tuple[int, int], ...]], ...]:
        """Outlines of the regions of a view."""
        row = self.one(id)
        _refuse_view(row, view)
        return heat.contours(_regions(row, view), max(row.sizes[view]))

    def overlay(self, id: str, view: int) -> bytes:
        """The part with what was found drawn in."""
        row, kept = self._kept(id)
        _refuse_view(row, view)
        scored = self._shop.scored(kept, view)
        image = self._shop.image(row.sha256, row.name)
        caption = pictures.said(row.verdict, row.score)
        return heat.png(overlay(image, scored, _regions(row, view), caption))


def _regions(row: InspectionRow, view: int) -> list[Region]:
    return pictures.in_view(run_rows.regions_of({"regions": row.regions}), view)


def _refuse_view(row: InspectionRow, view: int) -> None:
    # Pictures have one view; recordings are not inspected by a station.
    if view != 0 or not row.sizes:
        raise NotFoundError(f"Inspection {row.id} has no view {view}.")


def _narrowed(session: Session, wanted: Select[Any], given: Filter) -> Select[Any]:
    """A query with a filter's conditions. Raises NotFoundError for a line that does not exist."""
    of = t.Inspection
    if given.line:
        line = records.line_named(session, given.line)
        wanted = wanted.where(of.line_id == line.id)
        if given.version:
            version = records.version_numbered(session, line, given.version)
            wanted = wanted.where(of.version_id == version.id)
    elif given.version:
        numbered = select(t.Version.id).where(t.Version.number == given.version)
        wanted = wanted.where(of.version_id.in_(numbered))
    if given.verdict:
        wanted = wanted.where(of.verdict == given.verdict)
    if given.job:
        wanted = wanted.where(of.item_id.in_(select(t.Item.id).where(t.Item.job_id == given.job)))
    if given.since:
        wanted = wanted.where(of.created >= given.since)
    if given.until:
        wanted = wanted.where(of.created < given.until)
    if given.feedback == "any":
        wanted = wanted.where(of.said != "")
    elif given.feedback:
        wanted = wanted.where(of.said == ("" if given.feedback == "none" else given.feedback))
    if given.name:
        wanted = wanted.where(of.folded.contains(given.name.casefold(), autoescape=True))
    return wanted
