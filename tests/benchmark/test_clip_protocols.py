"""The rows of CLIP detectors: their options, who writes their prompts, and tables end to end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from blemish import build, registry
from blemish.benchmark import folder, protocol, table
from blemish.benchmark.folder import Means
from blemish.benchmark.plan import Plan, free, of_protocol
from blemish.benchmark.possible import asks, needs_model
from blemish.benchmark.protocol import Run
from blemish.benchmark.run import run
from blemish.classes import noun
from blemish.datasets.model import Dataset
from blemish.datasets.published import published
from blemish.errors import OptionError
from blemish.llms.scripted import Scripted
from blemish.prompts import generated
from blemish.synthesis.procedural import make_part
from blemish.types import Image, Message

CLIP = ("clip-ac", "winclip", "anovl", "alfa")
NAME = "clip-vit-b-16-plus-240"
ROWS = [
    (name, row)
    for name in protocol.names()
    for row in protocol.load(name).runs
    if row.detector in CLIP
]
ALFA = sorted({name for name, row in ROWS if row.detector == "alfa"})
SWITCHES = {
    *("template_prompts", "llm_prompts", "syntactic_consistency", "contextual_scoring", "aligner"),
    *("class_score", "map_score"),
}
BEGINNINGS = ("A normal image of", "An abnormal image of")
TEMPLATE = 72
"""Prompts of a side, section 5.3."""
Records = Mapping[tuple[str, int | None], Mapping[str, Any]]
Named = Callable[..., Mapping[str, Dataset]]


def described(messages: Sequence[Message]) -> str:
    """A hundred descriptions of the side that is asked about."""
    side = "flawed" if "abnormal" in messages[-1].text else "perfect"
    return "\n".join(f"- one that looks {side} in way {number}" for number in range(100))


@pytest.fixture
def writer(own_cache: Path) -> Scripted:
    return Scripted(described, name="writer")


@pytest.fixture
def alone(means: Means) -> Means:
    """Without a language model."""
    return replace(means, language_model=None)


@pytest.fixture
def small(named: Named) -> Callable[..., Plan]:
    """A table on two bottles of each label, of the first draw."""

    def plan(name: str, **how: Any) -> Plan:
        document = protocol.load(name)
        sets = named(*document.data)
        found = of_protocol(document, sets, seeds=(0,), categories=("bottle",), **how)
        return found.limited(2)

    return plan


def rows_of(out: Path, plan: Plan) -> dict[tuple[str, int | None], list[dict[str, Any]]]:
    """What was found, by method and shots, of each picture in the order of their names."""
    found = {}
    for cell in plan.cells:
        lines = (folder.cell_folder(out, cell) / "inspections.jsonl").read_text().splitlines()
        rows = sorted(map(json.loads, lines), key=lambda row: str(row["id"]))
        found[cell.method, cell.shots] = rows
    return found


def scores(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    return [row["raw_score"] for row in rows]


@pytest.mark.parametrize(("name", "row"), ROWS, ids=[f"{name}, {row.method}" for name, row in ROWS])
def test_each_row_is_built_with_its_options_and_prompts(
    name: str, row: Run, means: Means, writer: Scripted
) -> None:
    assert row.options["encoder"] == NAME
    assert "language_model" not in row.options
    given = dict(row.options) | {"encoder": means.encoders[NAME]}
    if row.detector == "alfa":
        given |= {"language_model": writer}
    detector: Any = build.load(str(row.detector), **given)
    sample = replace(make_part("bottle", 1, size=(64, 64)).sample, class_name="bottle")
    (found,) = detector.predict([sample])
    assert bool(found.maps) == (row.detector != "clip-ac")
    if row.detector != "alfa":
        return
    prompts = detector.explain(sample).prompts
    on = {switch: row.options.get(switch, True) for switch in SWITCHES}
    sides = ("normal", "abnormal") if on["template_prompts"] else ("normal",)
    written = row.options.get("most_prompts", 100) if on["llm_prompts"] else 0
    for label, source, number in [
        *((side, "template", TEMPLATE) for side in sides),
        *((side, "language model", written) for side in ("normal", "abnormal")),
    ]:
        texts = [p.text for p in prompts if (p.label, p.source) == (label, source)]
        assert len(texts) == number
        if source == "language model":
            begun = tuple(text.startswith(BEGINNINGS) for text in texts)
            assert begun == (on["syntactic_consistency"],) * number
    assert all(p.kept for p in prompts) or on["contextual_scoring"]
    assert bool(writer.asked) == on["llm_prompts"] == asks("alfa", row.options)
    assert (TEMPLATE + written == 146) == (name == "004/table3")


def test_each_option_of_a_row_is_one_that_the_detector_has() -> None:
    for _, row in ROWS:
        fields = registry.resolve(registry.detector(str(row.detector)).options).model_fields
        assert {*row.options} - {"encoder"} <= {*fields}


@pytest.mark.parametrize("name", ALFA)
def test_the_bank_has_every_class_of_a_table(name: str) -> None:
    document = protocol.load(name)
    for data in document.data:
        for category in document.categories.get(data) or published(data).categories:
            assert generated.bank(noun(data, category).name), f"{data}: {category}"
    assert any("--llm" in line for line in document.unclear)


def test_who_asks_a_language_model_and_who_needs_one() -> None:
    known: dict[str, dict[str, Any]] = {
        "bank or model": {},
        "template alone": {"llm_prompts": False},
        "written by a person": {"prompts": "folder"},
        "of the options": {"language_model": "openai:gpt-5"},
        "not in the bank": {"syntactic_consistency": False},
        "not wanted": {"syntactic_consistency": False, "llm_prompts": False},
    }
    said = {word: (asks("alfa", o), needs_model("alfa", o)) for word, o in known.items()}
    assert said == {
        "bank or model": (True, False),
        "template alone": (False, False),
        "written by a person": (False, False),
        "of the options": (False, False),
        "not in the bank": (True, True),
        "not wanted": (False, False),
    }
    assert not any(asks(name, {}) for name in CLIP if name != "alfa")


def test_a_row_whose_prompts_do_not_ship_needs_a_model(
    small: Callable[..., Plan], alone: Means, miniature: Dataset, tmp_path: Path
) -> None:
    refused = dict(small("004/table3").unavailable)
    assert list(refused) == ["ALFA with GPT-3.5, 146 prompts (only 72 manual)"]
    assert "add --llm" in str(refused)
    assert small("004/table3", language_model=True).unavailable == ()
    plan = free("alfa", miniature, options={"syntactic_consistency": False})
    with pytest.raises(OptionError, match="--llm openai:gpt-5"):
        run(plan, tmp_path / "out", alone)


def test_table_1_has_a_figure_for_each_of_the_document(
    small: Callable[..., Plan], alone: Means, tmp_path: Path
) -> None:
    plan = small("004/table1")
    assert plan.unavailable == ()
    document = protocol.load("004/table1")
    rows = table.collect(run(plan, tmp_path, alone), document).averaged
    ours = {(r.method, r.data, r.metric) for r in rows if r.ours is not None and r.level == "mean"}
    built = {r.method for r in document.runs if r.detector}
    printed = {(p.method, p.data, p.metric) for p in document.published if p.method in built}
    assert len(printed) == (3 + 3 * 6) * 2
    assert ours == printed
    found = rows_of(tmp_path, plan)
    assert all(not row.get("map") for row in found["CLIP-AC", 0])


def test_each_part_of_table_2_changes_what_is_found(
    small: Callable[..., Plan], alone: Means, tmp_path: Path
) -> None:
    plan = small("004/table2")
    document = protocol.load("004/table2")
    records = run(plan, tmp_path, alone)
    assert all({*document.metrics} <= {*record["figures"]} for record in records)
    found = {method: rows for (method, _), rows in rows_of(tmp_path, plan).items()}
    assert list(found) == [row.method for row in document.runs]
    for before, after in zip(list(found)[:-1], list(found)[1:], strict=True):
        assert scores(found[before]) != scores(found[after])
    whole = {m: [row["evidence"]["whole_picture"] for row in rows] for m, rows in found.items()}
    *_, scored, aligned = found
    assert whole[scored] == whole[aligned]  # the aligner moves the map alone


def test_few_shots_of_table_4_learn_from_their_parts(
    small: Callable[..., Plan], alone: Means, tmp_path: Path
) -> None:
    plan = small("004/table4")
    records = run(plan, tmp_path, alone)
    assert all({*plan.metrics} <= {*record["figures"]} for record in records)
    shots = {cell.shots for cell in plan.cells if cell.method == "ALFA"}
    assert shots == {1, 2, 4}
    for cell, record in zip(plan.cells, records, strict=True):
        assert len(record["provenance"]["references"]) == cell.shots
    found = rows_of(tmp_path, replace(plan, cells=plan.cells[: len(plan.cells) // 2]))
    for method in ("WinCLIP", "ALFA"):
        one, two, four = (scores(found[method, number]) for number in (1, 2, 4))
        assert one != two != four
        # More parts to be like: nothing gets less like them.
        assert all(a >= b - 1e-6 for a, b in zip(one, four, strict=True))


def test_windows_are_encoded_once_for_all_shots_and_methods(
    small: Callable[..., Plan], alone: Means, tmp_path: Path
) -> None:
    given: list[tuple[bytes, int]] = []

    class Noting(type(alone.encoders[NAME])):  # type: ignore[misc]
        def windows(self, images: Sequence[Image], scale: int, **how: Any) -> Any:
            given.extend((image.tobytes(), scale) for image in images)
            return super().windows(images, scale, **how)

    plan = small("004/table4")
    tested = [item.image().tobytes() for item in plan.items(plan.cells[0])]
    run(plan, tmp_path / "noted", replace(alone, encoders={**alone.encoders, NAME: Noting()}))
    assert [given.count((picture, scale)) for picture in tested for scale in (2, 3)] == [1] * 8
    forgetting = replace(plan, metrics=("latency", *plan.metrics))
    run(forgetting, tmp_path / "plain", alone)
    noted, plain = (
        [scores(rows) for rows in rows_of(tmp_path / out, plan).values()]
        for out in ("noted", "plain")
    )
    assert noted == plain


def test_scores_and_scales_of_table_6(
    small: Callable[..., Plan], alone: Means, tmp_path: Path
) -> None:
    plan = small("004/table6")
    figures: Records = {
        (r["cell"]["method"], r["cell"]["shots"]): r["figures"] for r in run(plan, tmp_path, alone)
    }
    assert len(figures) == 6 * 4
    assert all({*plan.metrics} <= {*found} for found in figures.values())
    found = rows_of(tmp_path, plan)
    for shots in (0, 1, 2, 4):
        whole, place, both = (
            scores(found[method, shots]) for method in ("S_G", "max S_L", "S_G + max S_L")
        )
        assert both == pytest.approx([(g + m) / 2 for g, m in zip(whole, place, strict=True)])
        # What the text calls the setting used is the same as the whole score.
        assert scores(found["Masks [2, 3]", shots]) == both
        assert whole == scores(found["S_G", 0])
        scales = [figures[f"Masks {k}", shots]["pixel_auroc"] for k in ([2], [2, 3])]
        # A map is multiplied to its score's scale, and rounds elsewhere.
        assert scales[1] == pytest.approx(figures["S_G", shots]["pixel_auroc"], abs=1e-3)
        by_scale = [scores(found[f"Masks {k}", shots]) for k in ([2], [2, 3], [2, 3, 4])]
        assert by_scale[0] != by_scale[1] != by_scale[2]
    places = [scores(found["max S_L", shots]) for shots in (0, 1, 2, 4)]
    assert len({tuple(one) for one in places}) == 4


def test_a_table_says_who_wrote_the_prompts(
    small: Callable[..., Plan], alone: Means, writer: Scripted, tmp_path: Path
) -> None:
    plan = small("004/table2", language_model=True)
    document = protocol.load("004/table2")
    names = [row.method for row in document.runs]
    told = {}
    for word, means in (("bank", alone), ("model", replace(alone, language_model=writer))):
        records = run(plan, tmp_path / word, means)
        collected = table.collect(records, document)
        table.write(collected, tmp_path / word)
        page = (tmp_path / word / "table.md").read_text().replace("\\", "")
        shown = StringIO()
        table.show(collected, Console(width=100, file=shown))
        told[word] = page.partition("## Prompts\n")[2].partition("\n## ")[0]
        assert f"Prompts of {names[0]}; {names[1]}: template" in shown.getvalue()
        asked = [record["provenance"]["language_model"] for record in records]
        given = writer.fingerprint if word == "model" else None
        assert asked == [None, None, given, given, given]
    templates, rest = "; ".join(names[:2]), "; ".join(names[2:])
    for word, by in (("bank", "written for this project"), ("model", "writer")):
        assert f"- {templates}: template\n- {rest}: {by}" in told[word]
    assert len(writer.asked) == 3  # two sides and descriptors, once for all rows


def test_a_model_that_a_cell_asks_is_part_of_what_it_is(
    small: Callable[..., Plan], alone: Means, writer: Scripted, tmp_path: Path
) -> None:
    plan = small("004/table2", language_model=True)
    plan = replace(plan, cells=plan.cells[1:3])
    prints = []
    for number, model in enumerate((None, writer, Scripted(described, name="another"))):
        records = run(plan, tmp_path / str(number), replace(alone, language_model=model))
        prints.append([record["provenance"]["fingerprint"] for record in records])
    templates, written = zip(*prints, strict=True)
    assert len({*templates}) == 1
    assert len({*written}) == 3
