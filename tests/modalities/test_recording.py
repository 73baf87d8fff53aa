"""One inspection out of many, held against a plain statement of the rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from blemish.errors import InputError
from blemish.modalities.recording import KEPT, Judged, combine
from blemish.types import Inspection, Region, Sample, Usage, Verdict

ORDER: tuple[Verdict, ...] = ("normal", "unsure", "anomalous")


def judged(
    number: int,
    verdict: Verdict = "normal",
    score: float | None = 0.1,
    views: int = 1,
    regions: tuple[Region, ...] = (),
) -> Judged:
    images = [np.full((2, 3, 3), number % 256, np.uint8)] * views
    reason: Literal["", "inside the band"] = "inside the band" if verdict == "unsure" else ""
    maps = tuple(np.full((2, 3), number + view / 10, np.float32) for view in range(views))
    found = Inspection(
        f"{number} s",
        verdict,
        "calibration",
        reason,
        score,
        maps=maps,
        regions=regions,
        explanation=f"words of {number}",
        evidence={"of": number},
        usage=Usage(1, 10, 2, 0.5, {"model": 0.25, f"stage {number % 2}": 1.0}),
    )
    return Sample(images, id=f"{number} s"), found


def region(score: float, view: int = 0) -> Region:
    return Region(1, (0, 0, 1, 1), np.ones((1, 1), np.bool_), score, "centre", view)


@pytest.mark.parametrize("seed", range(20))
def test_the_most_anomalous_decides_and_the_most_anomalous_are_kept(seed: int) -> None:
    chance = np.random.default_rng(seed)
    count = int(chance.integers(1, 40))
    pairs = []
    for number in range(count):
        score = None if chance.random() < 0.2 else float(chance.integers(0, 4)) / 4
        pairs.append(judged(number, ORDER[chance.integers(3)], score))

    def rank(number: int) -> tuple[int, float, int]:
        found = pairs[number][1]
        return ORDER.index(found.verdict), -1 if found.score is None else found.score, -number

    best = sorted(range(count), key=rank, reverse=True)
    kept = sorted(best[:KEPT])
    got = combine("clip", iter(pairs))
    assert got.inspection.id == "clip"
    assert got.inspection.explanation == f"words of {best[0]}"
    worst = pairs[best[0]][1]
    assert (got.inspection.verdict, got.inspection.reason) == (worst.verdict, worst.reason)
    assert got.inspection.score == worst.score
    assert got.names == tuple(f"{number} s" for number in kept)
    assert [int(view[0, 0, 0]) for view in got.views] == kept
    assert [float(m[0, 0]) for m in got.inspection.maps] == kept
    assert got.inspection.evidence["samples"] == count
    assert [e["sample"] for e in got.inspection.evidence["kept"]] == kept
    assert [e["of"] for e in got.inspection.evidence["kept"]] == kept


def test_maps_and_regions_belong_to_the_kept_views() -> None:
    pairs = [
        judged(0, "anomalous", 0.9, views=2, regions=(region(0.8), region(0.7, view=1))),
        judged(1, views=3),
        judged(2, "anomalous", 0.8, views=2, regions=(region(0.9, view=1),)),
    ]
    got = combine("clip", pairs)
    assert got.names == ("0 s", "0 s", "1 s", "1 s", "1 s", "2 s", "2 s")
    assert len(got.views) == len(got.inspection.maps) == 7
    found = [(r.label, r.score, r.view) for r in got.inspection.regions]
    assert found == [(1, 0.9, 6), (2, 0.8, 0), (3, 0.7, 1)]


def test_maps_are_left_out_where_not_every_kept_sample_has_them() -> None:
    sample, found = judged(1)
    assert combine("clip", [judged(0), (sample, replace(found, maps=()))]).inspection.maps == ()


def test_usage_is_that_of_all_samples_kept_or_not() -> None:
    usage = combine("clip", [judged(number) for number in range(30)]).inspection.usage
    assert (usage.model_calls, usage.tokens_in, usage.tokens_out) == (30, 300, 60)
    assert usage.cost == pytest.approx(15.0)
    assert usage.seconds == pytest.approx({"model": 7.5, "stage 0": 15.0, "stage 1": 15.0})


def test_samples_are_let_go_as_they_come() -> None:
    """A long film must not be held in memory."""
    import weakref

    alive: list[weakref.ref[Sample]] = []

    def film() -> Iterator[Judged]:
        for number in range(50):
            pair = judged(number)
            alive.append(weakref.ref(pair[0]))
            yield pair
            del pair
            assert sum(ref() is not None for ref in alive) <= KEPT + 2

    combine("clip", film())


def test_nothing_to_look_at_is_an_error() -> None:
    with pytest.raises(InputError, match="clip has no view"):
        combine("clip", [])
