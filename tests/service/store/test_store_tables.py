from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Select, func, select, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import StatementError

from blemish.errors import ConflictError
from blemish.service.store.database import Database
from blemish.service.store.tables import Feedback, Inspection, Item, Job, Line, Message, Version

Writes = Callable[[Database], Inspection]


def again(database: Database, of: Inspection) -> Inspection:
    with database.reading() as session:
        return session.scalars(select(Inspection).where(Inspection.id == of.id)).one()


def test_an_item_has_one_inspection_ever(database: Database, inspected: Writes) -> None:
    first = inspected(database)
    keys = {name: getattr(first, name) for name in ("item_id", "line_id", "version_id")}
    with pytest.raises(ConflictError), database.session() as session:
        session.add(
            Inspection(
                **keys, name="x", sha256="1" * 64, verdict="normal", decided_by="calibration"
            )
        )
    assert again(database, first).verdict == "anomalous"


@pytest.mark.parametrize(
    "twice",
    [
        lambda of: Line(name=of.line.name),
        lambda of: Version(line_id=of.line_id, number=1, detector="x", class_name="y"),
        lambda of: Item(job_id=of.item.job_id, position=0, name="x", sha256="1" * 64),
        lambda of: Message(inspection_id=of.id, number=1, role="user", text="Where?"),
    ],
)
def test_what_may_be_there_once_is_refused_a_second_time(
    database: Database, inspected: Writes, twice: Callable[[Inspection], Any]
) -> None:
    of = inspected(database)
    with database.session() as session:
        session.add(Message(inspection_id=of.id, number=1, role="user", text="Why?"))
    with pytest.raises(ConflictError), database.session() as session:
        session.add(twice(of))


def test_the_last_word_counts(database: Database, inspected: Writes) -> None:
    of = inspected(database)
    assert again(database, of).said == ""
    for says in ("good", "right", "defective"):
        with database.session() as session:
            session.add(Feedback(inspection_id=of.id, says=says, mark=[1, 2, 30, 40]))
        assert again(database, of).said == says
    with database.reading() as session:
        heard = session.scalars(select(Inspection)).one().feedback
        assert [(one.says, one.mark) for one in heard] == [
            (says, [1, 2, 30, 40]) for says in ("defective", "right", "good")
        ]


def test_numbers_go_up_whatever_the_clock_says_and_are_not_given_again(database: Database) -> None:
    day = datetime(2026, 3, 1, 12, tzinfo=UTC)
    seen = []
    for back in range(3):
        with database.session() as session:
            made = Line(name=f"line {back}", created=day - timedelta(days=back))
            session.add(made)
            session.flush()
            seen.append(made.seq)
            session.delete(made)
    assert seen == sorted(set(seen))


def test_times_are_in_utc(database: Database) -> None:
    here = timezone(timedelta(hours=-7))
    at = datetime(2026, 3, 1, 20, 30, 0, 123456, tzinfo=here)
    with database.session() as session:
        session.add_all([Line(name="far", created=at), Line(name="now")])
    with database.reading() as session:
        far, now = session.scalars(select(Line).order_by(Line.seq))
        assert (far.created, far.created.utcoffset()) == (at, timedelta(0))
        assert abs(datetime.now(UTC) - now.created) < timedelta(minutes=1)
        same = select(func.count(Line.id)).where(Line.created == at.astimezone(UTC))
        assert session.scalar(same) == 1
    with pytest.raises(StatementError, match="no time zone"), database.session() as session:
        session.add(Line(name="somewhere", created=datetime(2026, 3, 1)))


@pytest.mark.parametrize(
    ("came", "kept"),
    [
        ("Flasche \N{PERSONAL COMPUTER} <script>'; DROP TABLE line;--", None),
        ("nul \0 in it", "nul \ufffd in it"),
        ("half \ud83d a pair", "half \ufffd a pair"),
    ],
)
def test_any_text_is_kept_and_found(database: Database, came: str, kept: str | None) -> None:
    with database.session() as session:
        session.add(Line(name=came))
    with database.reading() as session:
        assert session.scalars(select(Line.name).where(Line.name == came)).one() == (kept or came)


def test_json_comes_back_as_it_was_and_nothing_is_null(database: Database) -> None:
    options = {"b": [1, 2.5, None, True, "\0 \N{PERSONAL COMPUTER}"], "a": {"": {}}, "n": 10**15}
    with database.session() as session:
        of = Line(name="caps")
        made = Version(line=of, number=1, detector="x", class_name="y", options=options)
        made.calibration = None
        session.add(made)
    with database.reading() as session:
        found = session.scalars(select(Version).where(Version.calibration.is_(None))).one()
        assert found.options == options
        assert list(found.options) == ["b", "a", "n"]
        assert (found.references, found.cases, found.fault) == ([], [], None)
    with (
        pytest.raises((StatementError, ValueError), match="not JSON compliant"),
        database.session() as session,
    ):
        session.add(
            Version(line_id=of.id, number=2, detector="", class_name="", cases=[float("nan")])
        )


def test_a_state_that_does_not_exist_is_refused(database: Database, inspected: Writes) -> None:
    of = inspected(database)
    with (
        pytest.raises(StatementError, match="not among the defined"),
        database.session() as session,
    ):
        session.add(Job(line_id=of.line_id, version_id=of.version_id, state="runing"))


def test_names_are_found_in_any_case(database: Database, inspected: Writes) -> None:
    inspected(database)
    with database.reading() as session:
        for word, count in (("STÜCK".casefold(), 1), (".png", 1), ("%", 0), ("_", 0)):
            found = select(func.count(Inspection.id)).where(
                Inspection.folded.contains(word, autoescape=True)
            )
            assert session.scalar(found) == count


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"line_id": "a"},
        {"line_id": "a", "verdict": "normal"},
        {"line_id": "a", "said": "good"},
        {"version_id": "a"},
        {"verdict": "normal"},
        {"said": "good"},
    ],
)
def test_a_page_of_inspections_needs_neither_scan_nor_sort(
    lite: Database, wanted: dict[str, str]
) -> None:
    asked = select(Inspection.id).filter_by(**wanted).where(Inspection.seq < 1000)
    plan = explained(lite, asked.order_by(Inspection.seq.desc()).limit(50))
    assert all(step.startswith("SEARCH inspection") for step in plan)
    used = "_".join(["inspection", *wanted, "seq"]) if wanted else "PRIMARY KEY"
    assert used in plan[0]


def test_the_queue_and_a_span_of_time_are_found_by_index(lite: Database) -> None:
    queue = select(Item.id).where(Item.state == "queued").order_by(Item.seq).limit(8)
    (step,) = explained(lite, queue)
    assert step.startswith("SEARCH item USING INDEX ix_item_state_seq")
    since = datetime(2026, 3, 1, tzinfo=UTC)
    (step,) = explained(lite, select(Inspection.id).where(Inspection.created >= since))
    assert step.startswith("SEARCH inspection USING INDEX ix_inspection_created")


def explained(database: Database, asked: Select[Any]) -> list[str]:
    """How SQLite goes about it."""
    words = asked.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    with database.reading() as session:
        return [row.detail for row in session.execute(text(f"EXPLAIN QUERY PLAN {words}"))]
