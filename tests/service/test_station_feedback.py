"""Feedback at work: what is said today is not got wrong tomorrow."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import event

from blemish.errors import ConflictError, InputError, NotFoundError, ReferencesError
from blemish.service.plans import Plan
from blemish.service.quality import Rates, rates, true_of
from blemish.service.station import Station
from blemish.service.types import Filter, Version


def inspected(station: Station, line: str, *uploads: object) -> list[str]:
    job = station.wait(station.submit(line, uploads).id, 10)  # type: ignore[arg-type]
    return [item.inspection for item in job.items]


def test_a_rejected_find_is_normal_from_the_next_version_on(
    station: Station, caps: str, shade: ModuleType
) -> None:
    _, grey, good = inspected(station, caps, shade.picture(0), shade.picture(90), shade.picture())
    assert [r.verdict for r in station.find(Filter()).items] == ["normal", "anomalous", "anomalous"]
    said = station.say(grey, "good", comment="a label, no stain")
    station.say(good, "right")
    assert [one.id for one in station.health(caps).waiting] == [said.id]

    preview = station.preview(caps)
    assert (preview.before, preview.after, preview.looked_at) == (1, 0, 3)
    [change] = preview.changes
    assert (change.inspection, change.before, change.after) == (grey, "anomalous", "normal")
    assert change.truth == "good"
    assert (preview.rates_before.overkill, preview.rates_after.overkill) == (1, 0)
    assert len(station.versions(caps)) == 1
    assert station.health(caps).waiting

    made = station.apply(caps)
    shade.until_fitted(station, caps)
    newest = station.versions(caps)[0]
    assert newest.number == made.number == 2
    assert newest.current
    assert "1 rejected find" in newest.why
    assert station.inspection(grey).sha256 in {r.sha256 for r in newest.references}
    assert station.inspection(grey).feedback[0].applied == 2
    again = inspected(station, caps, shade.picture(90, shift=20), shade.picture(0))
    assert [station.inspection(id).verdict for id in again] == ["normal", "anomalous"]
    assert station.inspection(grey).verdict == "anomalous"  # what was found stays found
    assert station.health(caps).waiting == ()
    with pytest.raises(ConflictError):
        station.apply(caps)


def test_a_missed_defect_becomes_a_case_that_comparisons_report(
    station: Station, caps: str, shade: ModuleType
) -> None:
    [faint] = inspected(station, caps, shade.picture(230))
    assert station.inspection(faint).verdict == "normal"
    station.say(faint, "defective", mark=(4, 2, 14, 12))
    station.apply(caps)
    shade.until_fitted(station, caps)
    assert station.versions(caps)[0].cases == (faint,)
    compared = station.compare(caps, 1, 2)
    assert compared.cases == (faint,)
    assert compared.rates_after.missed == 1

    station.say(faint, "good")
    station.apply(caps)
    shade.until_fitted(station, caps)
    assert station.versions(caps)[0].cases == ()


def test_a_reference_that_turns_out_defective_leaves_the_bank(
    station: Station, caps: str, shade: ModuleType
) -> None:
    [id] = inspected(station, caps, shade.picture(0))
    station.say(id, "good")
    station.apply(caps)
    shade.until_fitted(station, caps)
    station.say(id, "defective")
    station.apply(caps)
    shade.until_fitted(station, caps)
    newest = station.versions(caps)[0]
    assert station.inspection(id).sha256 not in {r.sha256 for r in newest.references}
    [again] = inspected(station, caps, shade.picture(0))
    assert station.inspection(again).verdict == "anomalous"


def test_a_line_does_not_lose_its_last_good_part(
    station: Station, caps: str, shade: ModuleType
) -> None:
    [id] = inspected(station, caps, shade.picture())
    station.say(id, "defective")
    for act in (station.preview, station.apply):
        with pytest.raises(ConflictError, match=r"every good part .* is defective"):
            act(caps)
    assert len(station.versions(caps)) == 1
    assert len(station.health(caps).waiting) == 1
    station.fit(caps, [shade.picture(220)])
    shade.until_fitted(station, caps)
    station.apply(caps)
    shade.until_fitted(station, caps)
    assert [reference.name for reference in station.versions(caps)[0].references] == [
        "spot-220-0.png"
    ]


def test_feedback_of_a_version_that_failed_waits_again(
    station: Station, caps: str, shade: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    [id] = inspected(station, caps, shade.picture(0))
    station.say(id, "good")

    def broken(*_: object) -> None:
        raise ReferencesError("Too few.")

    with monkeypatch.context() as patch:
        patch.setattr(shade.Shade, "fit", broken)
        station.apply(caps)
        shade.until_fitted(station, caps)
    assert station.line(caps).current == 1
    assert [one.inspection for one in station.health(caps).waiting] == [id]
    assert station.apply(caps).number == 3


def test_only_named_feedback_is_applied(station: Station, caps: str, shade: ModuleType) -> None:
    first, second = inspected(station, caps, shade.picture(0), shade.picture(90))
    one, _ = station.say(first, "good"), station.say(second, "good")
    with pytest.raises(NotFoundError):
        station.apply(caps, ["0" * 32])
    station.apply(caps, [one.id])
    shade.until_fitted(station, caps)
    assert [f.inspection for f in station.health(caps).waiting] == [second]


def test_health_counts_by_the_last_word(station: Station, caps: str, shade: ModuleType) -> None:
    dark, dull, light, faint = inspected(
        station, caps, shade.picture(0), shade.picture(90), shade.picture(), shade.picture(230)
    )
    station.say(dark, "good")
    station.say(dark, "right")
    station.say(dull, "good")
    station.say(light, "right")
    station.say(faint, "defective")
    health = station.health(caps)
    want = Rates(inspected=4, good=2, defective=2, overkill=1, missed=1, unsure=0)
    assert health.overall == want
    assert health.versions == ((1, want),)
    assert [rates for _, rates in health.days] == [want]
    assert (want.overkill_rate, want.miss_rate) == (0.5, 0.5)


def test_what_cannot_be_said_is_refused(station: Station, caps: str, shade: ModuleType) -> None:
    [id] = inspected(station, caps, shade.picture(0))
    for mark in [(0, 0, 61, 40), (5, 5, 5, 9), (-1, 0, 3, 3)]:
        with pytest.raises(InputError):
            station.say(id, "defective", mark=mark)
    with pytest.raises(InputError):
        station.say(id, "bad")  # type: ignore[arg-type]
    with pytest.raises(InputError):
        station.say(id, "good", comment="x" * 2001)
    assert station.inspection(id).feedback == ()


def test_unsure_is_counted_of_all_and_is_neither_overkill_nor_missed() -> None:
    found = rates({("unsure", "good"): 2, ("unsure", ""): 1, ("anomalous", "defective"): 1})
    assert found == Rates(inspected=4, good=2, defective=1, unsure=3)
    assert (found.overkill_rate, found.unsure_rate) == (0, 0.75)
    assert rates({}).miss_rate is rates({}).unsure_rate is None
    assert true_of("normal", None) == ""


def taught(station: Station, line: str, shade: ModuleType) -> Version:
    """The version that knows all that waits."""
    station.apply(line)
    shade.until_fitted(station, line)
    return station.versions(line)[0]


def test_a_mistaken_good_is_taken_back(station: Station, caps: str, shade: ModuleType) -> None:
    first = station.versions(caps)[0]
    [id] = inspected(station, caps, shade.picture(0))
    station.say(id, "good")
    taught(station, caps, shade)
    station.say(id, "right")
    newest = taught(station, caps, shade)
    assert newest.references == first.references
    assert "1 taken back" in newest.why
    [again] = inspected(station, caps, shade.picture(0))
    assert station.inspection(again).verdict == "anomalous"


def test_a_mistaken_defective_is_taken_back(station: Station, caps: str, shade: ModuleType) -> None:
    [id] = inspected(station, caps, shade.picture(230))
    station.say(id, "defective")
    assert taught(station, caps, shade).cases == (id,)
    station.say(id, "right")
    assert taught(station, caps, shade).cases == ()
    assert station.health(caps).waiting == ()


def test_the_last_word_on_a_picture_counts_whichever_inspection_it_is_about(
    station: Station, caps: str, shade: ModuleType
) -> None:
    first, second = inspected(station, caps, shade.picture(0), shade.picture(0))
    station.say(first, "good")
    station.say(second, "right")
    assert station.health(caps).waiting == ()
    station.say(first, "good")
    assert [one.inspection for one in station.health(caps).waiting] == [first]
    newest = taught(station, caps, shade)
    [third] = inspected(station, caps, shade.picture(0))
    assert station.inspection(third).verdict == "normal"
    station.say(third, "defective")
    newest = taught(station, caps, shade)
    assert station.inspection(first).sha256 not in {r.sha256 for r in newest.references}
    assert newest.cases == (third,)


def test_a_new_version_is_like_the_current_one_not_like_the_newest(
    station: Station, caps: str, shade: ModuleType
) -> None:
    dark, grey = inspected(station, caps, shade.picture(0), shade.picture(90))
    station.say(dark, "good")
    taught(station, caps, shade)
    station.switch(caps, 1)
    station.say(grey, "good")
    by_feedback = {r.sha256 for r in taught(station, caps, shade).references}
    assert station.inspection(dark).sha256 not in by_feedback
    assert station.inspection(grey).sha256 in by_feedback
    station.switch(caps, 1)
    made = station.fit(caps, why="once more")
    assert made.references == station.version(caps, 1).references
    shade.until_fitted(station, caps)
    assert station.fit(caps, version=2).references == station.version(caps, 2).references


def test_a_failed_version_hands_nothing_on_but_where_it_is_tried_again(
    station: Station, caps: str, shade: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ReferencesError("Too few.")

    with monkeypatch.context() as patch:
        patch.setattr(shade.Shade, "fit", broken)
        station.fit(caps, [shade.picture(0)])
        shade.until_fitted(station, caps)
    first, failed = station.version(caps, 1), station.version(caps, 2)
    assert (failed.state, len(failed.references)) == ("failed", len(first.references) + 1)
    assert station.fit(caps, version=2).references == failed.references
    shade.until_fitted(station, caps)
    station.switch(caps, 1)
    assert station.fit(caps).references == first.references


def test_a_change_that_came_in_between_is_not_undone(
    station: Station, caps: str, shade: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    [id] = inspected(station, caps, shade.picture(0))
    station.say(id, "good")
    plan = station._listening._plan

    def slowly(*given: Any) -> Plan:
        made = plan(*given)
        station.fit(caps, [shade.picture(120)])
        shade.until_fitted(station, caps)
        return made

    with monkeypatch.context() as patch:
        patch.setattr(station._listening, "_plan", slowly)
        with pytest.raises(ConflictError, match="changed meanwhile"):
            station.apply(caps)
    assert [one.inspection for one in station.health(caps).waiting] == [id]
    assert (
        len(taught(station, caps, shade).references) == len(station.version(caps, 2).references) + 1
    )


def test_many_words_are_read_at_once(station: Station, caps: str, shade: ModuleType) -> None:
    def asked() -> int:
        asked: list[str] = []
        engine = station._shop.database._engine

        def count(*given: Any) -> None:
            asked.append(given[2])

        event.listen(engine, "before_cursor_execute", count)
        station.health(caps)
        event.remove(engine, "before_cursor_execute", count)
        return len(asked)

    ids = inspected(station, caps, *(shade.picture(dark) for dark in range(0, 60, 5)))
    station.say(ids[0], "good")
    few = asked()
    for id in ids:
        station.say(id, "good")
    assert len(station.health(caps).waiting) == len(ids)
    assert asked() == few
