"""Benchmarks of detectors that ask a language model: options, refusals, bills, kills."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from io import StringIO
from itertools import combinations
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import pytest
from pydantic import BaseModel
from rich.console import Console

from blemish import registry
from blemish.benchmark import folder, protocol, table
from blemish.benchmark.folder import Means
from blemish.benchmark.plan import Plan, free, of_protocol
from blemish.benchmark.possible import lacking
from blemish.benchmark.run import run
from blemish.datasets.model import Dataset
from blemish.errors import ChatError, OptionError, OutputError, ReferencesError
from blemish.llms.cache import Cached
from blemish.llms.scripted import Rule, Scripted
from blemish.metrics.ranking import auroc
from blemish.types import Message, Reply, Usage

GRID = {"regions": "grid", "cells": 4}
"""Sixteen regions: the quickest way to ask about all of a picture."""
SUPERPIXELS = {"regions": "superpixel", "segments": 60, "compactness": 20}
HEATED = {**GRID, "map_source": "patch-memory", "heat": "image"}


def asking(dataset: Dataset, *, limit: int | None = 1, **options: Any) -> Plan:
    """A plan of one category, with as many references as the options need."""
    plan = free("gpt4v-ad", dataset, options=GRID | options, categories=("hazelnut",))
    return plan.limited(limit) if limit else plan


def rows_of(out: Path, plan: Plan) -> list[dict[str, Any]]:
    lines = (folder.cell_folder(out, plan.cells[0]) / "inspections.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def labels_of(plan: Plan) -> dict[str, bool]:
    return {item.id: item.label == "anomalous" for item in plan.items(plan.cells[0])}


class InTurn:
    """Replies by picture, in the order in which pictures are first asked about."""

    def __init__(self, *replies: str | Reply | Exception) -> None:
        self.replies = replies
        self.known: dict[bytes, int] = {}
        self.lock = threading.Lock()

    def __call__(self, messages: Sequence[Message]) -> str | Reply:
        with self.lock:
            number = self.known.setdefault(messages[-1].images[-1].tobytes(), len(self.known))
        said = self.replies[min(number, len(self.replies) - 1)]
        if isinstance(said, Exception):
            raise said
        return said


@pytest.mark.parametrize(
    ("options", "flipped"),
    [
        (GRID, {"regions": "superpixel"}),
        (GRID, {"regions": "sam", "segmenter": "facebook/sam-vit-huge"}),
        (GRID, {"regions": "boxes"}),
        (SUPERPIXELS, {"segments": 20}),
        (SUPERPIXELS, {"compactness": 1}),
        ({**GRID, "cells": 14}, {"avoid_small": True}),
        (GRID, {"cells": 5}),
        (GRID, {"preprocessing": "grey"}),
        (GRID, {"prompt": "explicit"}),
        (GRID, {"prompt": "json"}),
        (GRID, {"image_score": True}),
        (GRID, {"scores": "log-probabilities"}),
        (GRID, {"references": 2}),
        (GRID, {"examples": 1}),
        (GRID, {"map_source": "patch-memory"}),
        (HEATED, {"heat": "none"}),
        (HEATED, {"heat": "regions"}),
        (GRID, {"repeats": 2}),
        (GRID, {"threshold": 0.85}),
    ],
    ids=lambda options: ",".join(f"{name}={value}" for name, value in options.items()),
)
def test_each_option_changes_what_is_asked_or_found(
    options: Mapping[str, Any],
    flipped: Mapping[str, Any],
    miniature: Dataset,
    means: Means,
    rule: Rule,
    tmp_path: Path,
) -> None:
    prints, results = [], []
    for number, choice in enumerate((options, {**options, **flipped})):
        model = Scripted(rule)
        plan = asking(miniature, limit=2 if "examples" in flipped else 1, **choice)
        out = tmp_path / str(number)
        (record,) = run(plan, out, replace(means, language_model=model))
        asked = Counter((m.text, *(i.tobytes() for i in m.images)) for (m,) in model.asked)
        figures = {k: v for k, v in record["figures"].items() if k != "latency"}
        prints.append(record["provenance"]["fingerprint"])
        results.append((asked, figures))
    assert prints[0] != prints[1]
    assert results[0] != results[1]


def test_what_is_refused_or_unreadable_is_left_out_and_counted(
    miniature: Dataset, tmp_path: Path
) -> None:
    no, half = Reply("I cannot help with that.", ended="refused"), "region 99: 0.9."
    model = Scripted(InTurn(no, no, half, "region 2: 0.9.", "region 3: 0.1."))
    plan = asking(miniature, limit=None)
    (record,) = run(plan, tmp_path, Means(language_model=model))
    said, counts = record["language_model"], record["counts"]
    assert (said["refused"], said["unparsed"], said["pictures"]) == (2, 1, 9)
    assert (counts["without_score"], counts["without_map"], counts["failed"]) == (3, 3, 0)
    rows, labels = rows_of(tmp_path, plan), labels_of(plan)
    scored = [(labels[row["id"]], row["raw_score"]) for row in rows if row["raw_score"] is not None]
    assert len(scored) == 6
    assert record["figures"]["image_auroc"] == auroc(*zip(*scored, strict=True))
    assert counts["pixels"] == 6 * 64 * 72
    verdicts = [(labels[row["id"]], row["verdict"]) for row in rows]
    right = sum(said == ("anomalous" if bad else "normal") for bad, said in verdicts)
    assert record["figures"]["accuracy"] == pytest.approx(right / 9)
    assert record["figures"]["unsure"] == pytest.approx(3 / 9)
    collected = table.collect([record], None)
    table.write(collected, tmp_path / "table")
    page = (tmp_path / "table" / "table.md").read_text()
    assert "3 without a score, not in the figures of the image level" in page
    assert "3 without a map, not in the figures of the pixel level" in page
    shown = StringIO()
    table.show(collected, Console(width=200, file=shown))
    (heading,) = [line for line in shown.getvalue().splitlines() if "refused" in line]
    (line,) = [line for line in shown.getvalue().splitlines() if "gpt4v-ad, 0 shots" in line]
    names = ["unsure", "refused", "unreadable", "no score", "no map"]
    assert re.split(r"\s{2,}", heading.strip())[-5:] == names
    assert line.split()[-5:] == ["3", "2", "1", "3", "3"]


def test_the_bill_counts_what_was_paid(miniature: Dataset, means: Means, tmp_path: Path) -> None:
    plan = asking(miniature, repeats=3)
    cached = Cached(means.language_model, tmp_path / "replies")  # type: ignore[arg-type]
    (first,) = run(plan, tmp_path / "first", replace(means, language_model=cached))
    bill = first["language_model"]
    assert (bill["answers"], bill["model_calls"]) == (6, 6)
    assert (bill["tokens_in"], bill["tokens_out"]) == (600, 60)
    assert bill["cost"] == pytest.approx(0.06)
    assert "latency" in first["figures"]
    (again,) = run(plan, tmp_path / "again", replace(means, language_model=cached))
    bill = again["language_model"]
    assert (bill["answers"], bill["model_calls"], bill["cost"]) == (6, 0, 0)
    assert "came from the cache" in again["undefined"]["latency"]
    assert {k: v for k, v in first["figures"].items() if k != "latency"} == again["figures"]


def test_repeated_answers_give_agreement_and_spread(miniature: Dataset, tmp_path: Path) -> None:
    scores = (("1", 0.9), ("1", 0.6), ("2", 0.8))
    replies = [Reply(f"region {n}: {s}.", Usage(1)) for n, s in scores]
    model = Scripted([*replies, *reversed(replies)])
    plan = asking(miniature, repeats=3)
    (record,) = run(plan, tmp_path, Means(language_model=model))
    flagged = [{"1"}, {"1"}, {"2"}]
    pairs = fmean(len(a & b) / len(a | b) for a, b in combinations(flagged, 2))
    assert record["figures"]["agreement"] == pytest.approx(pairs) == pytest.approx(1 / 3)
    assert record["figures"]["score_spread"] == pytest.approx(pstdev(s for _, s in scores))
    (alone,) = run(asking(miniature), tmp_path / "alone", Means(language_model=Scripted(replies)))
    assert not {"agreement", "score_spread"} & {*alone["figures"], *alone["undefined"]}


def test_figure_8_says_where_no_two_answers_can_be_read(
    named: Callable[..., Mapping[str, Dataset]], tmp_path: Path
) -> None:
    document = protocol.load("000/figure8")
    sets = named("mvtec-ad")
    plan = of_protocol(document, sets, categories=("hazelnut",), language_model=True).limited(1)
    refusing = Scripted(lambda messages: Reply("No.", Usage(1), "refused"))
    (record,) = run(plan, tmp_path, Means(language_model=refusing))
    assert len(refusing.asked) == 20
    assert "two answers to the same question" in record["undefined"]["agreement"]
    assert record["figures"]["unsure"] == 1
    assert "image_auroc" in record["undefined"]


def test_who_answered_stands_in_the_table(miniature: Dataset, tmp_path: Path) -> None:
    model = Scripted(lambda messages: Reply("region 1: 0.9.", model="tiny-2"), name="tiny")
    (record,) = run(asking(miniature), tmp_path / "out", Means(language_model=model))
    assert record["provenance"]["language_model"] == model.fingerprint
    rows = table.collect([record], None).rows
    assert {row.language_model for row in rows if row.ours is not None} == {
        "tiny, answered by tiny-2"
    }


def test_another_model_never_gets_these_results(
    miniature: Dataset, means: Means, tmp_path: Path
) -> None:
    plan = asking(miniature)
    (first,) = run(plan, tmp_path / "out", means)
    other = replace(means, language_model=Scripted(["region 1: 0.1."] * 2, name="other"))
    with pytest.raises(OutputError, match=r"language_model scripted .*other"):
        run(plan, tmp_path / "out", other)
    (second,) = run(plan, tmp_path / "other", other)
    prints = {one["provenance"]["fingerprint"] for one in (first, second)}
    assert len(prints) == 2


def test_a_kill_asks_only_what_was_not_asked(
    miniature: Dataset, means: Means, rule: Rule, tmp_path: Path
) -> None:
    plan = asking(miniature, limit=None)
    asked: Counter[bytes] = Counter()

    def killed(messages: Sequence[Message]) -> str | Reply:
        asked[messages[-1].images[-1].tobytes()] += 1
        if asked.total() == 5:
            raise KeyboardInterrupt
        return rule(messages)

    def model() -> Means:
        return replace(means, language_model=Cached(Scripted(killed), tmp_path / "replies"))

    with pytest.raises(KeyboardInterrupt):
        run(plan, tmp_path / "out", model())
    (record,) = run(plan, tmp_path / "out", model())
    assert len(asked) == 9
    assert sorted(asked.values()) == [1] * 8 + [2]
    (whole,) = run(plan, tmp_path / "whole", means)
    assert {k: v for k, v in record["figures"].items() if k != "latency"} == {
        k: v for k, v in whole["figures"].items() if k != "latency"
    }


def test_what_got_no_answer_is_asked_again(miniature: Dataset, tmp_path: Path) -> None:
    plan = asking(miniature)
    broken = Scripted(InTurn(ChatError("The endpoint hung."), "region 1: 0.9."), name="m")
    (first,) = run(plan, tmp_path, Means(language_model=broken))
    assert [note["message"] for note in first["failed"]] == ["The endpoint hung."]
    mended = Scripted(InTurn("region 1: 0.9."), name="m")
    mended.fingerprint = broken.fingerprint
    (second,) = run(plan, tmp_path, Means(language_model=mended))
    assert (second["failed"], len(mended.asked)) == ([], 1)
    (third,) = run(plan, tmp_path, Means(language_model=mended))
    assert (third, len(mended.asked)) == (second, 1)


def test_examples_are_shown_and_not_judged(
    miniature: Dataset, means: Means, model: Scripted, tmp_path: Path
) -> None:
    plan = asking(miniature, limit=None, examples=2)
    (cell,) = plan.cells
    shown = plan.examples(cell)
    assert len(shown) == 2
    assert {item.label for item in shown} == {"anomalous"}
    assert not {item.id for item in shown} & {item.id for item in plan.items(cell)}
    (record,) = run(plan, tmp_path, means)
    assert (record["counts"]["normal"], record["counts"]["anomalous"]) == (4, 3)
    assert "2 anomalous ones that are shown" in record["computed"]["test_pictures"]
    assert {len(message.images) for (message,) in model.asked} == {3}
    with pytest.raises(ReferencesError, match="none is left to judge"):
        run(asking(miniature, limit=2, examples=2), tmp_path / "few", means)


def test_shots_follow_from_the_options(miniature: Dataset) -> None:
    def shots(asked: Sequence[int | None] | None, **options: Any) -> list[int | None]:
        return [
            cell.shots
            for cell in free("gpt4v-ad", miniature, asked, (0,), options, ("leather",)).cells
        ]

    assert shots(None) == shots((4,)) == [0]
    assert shots(None, references=2) == [2]
    assert shots((0, 2, 4), references=2) == [2, 4]
    assert shots(None, map_source="patch-memory") == [1]
    assert shots(None, map_source="patch-memory", references=3) == [3]
    with pytest.raises(OptionError, match=r"1 shots.*Give 2 or more"):
        shots((1,), references=2)


def test_a_detector_that_shows_references_by_itself_goes_without(
    miniature: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Showing(BaseModel):
        references: int = 1

    entry = registry.DetectorEntry("showing", "x:Y", "x:Options", "made", "language model")
    monkeypatch.setattr(registry, "detectors", lambda: {"showing": entry})
    monkeypatch.setattr(registry, "resolve", lambda target: Showing)

    def shots(asked: Sequence[int | None] | None, **options: Any) -> list[int | None]:
        plan = free("showing", miniature, asked, (0,), options, ("leather",))
        return [cell.shots for cell in plan.cells]

    assert shots(None) == [0]
    assert shots((0, 1)) == shots((0, 1), references=1) == [0, 1]
    assert shots((1,), references=0) == [0]


def test_without_a_model_nothing_is_begun(miniature: Dataset, tmp_path: Path) -> None:
    plan = asking(miniature)
    assert plan.asks
    with pytest.raises(OptionError, match="--llm openai:gpt-5"):
        run(plan, tmp_path / "out", Means())
    assert not (tmp_path / "out").exists()
    runs = protocol.load("000/regions").runs
    assert all("add --llm" in lacking(one, ("mvtec-ad",)) for one in runs)
    assert not any(lacking(one, ("mvtec-ad",), language_model=True) for one in runs)


def test_a_segmenter_that_is_not_at_hand_costs_its_method_only(
    named: Callable[..., Mapping[str, Dataset]],
) -> None:
    plan = of_protocol(protocol.load("000/regions"), named("mvtec-ad"), language_model=True)
    left = plan.without("facebook/sam-vit-huge", "it is not at hand")
    assert {cell.method for cell in left.cells} == {"grid", "super-pixel"}
    assert left.unavailable == (("SAM", "it is not at hand"),)


def test_the_map_source_shares_the_encoder(
    miniature: Dataset, means: Means, tmp_path: Path
) -> None:
    plan = asking(miniature, map_source="patch-memory")
    assert registry.detector("patch-memory").parts["encoder"] in plan.models(plan.cells[0])
    (record,) = run(plan, tmp_path, means)
    assert record["provenance"]["references"]
    (item,) = plan.references(plan.cells[0])
    assert item.label == "normal"
