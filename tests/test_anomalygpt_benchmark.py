"""The figures of the benchmark of AnomalyGPT and IAD-GPT, worked out by hand for five parts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from blemish.types import Example, Inspection, Sample

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def bench(module: Callable[[Path], ModuleType]) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        return module(BENCHMARKS / "anomalygpt.py")


def example(*cells: tuple[int, int]) -> Example:
    """A part of 90 x 90 pixels, anomalous in the middle of these cells."""
    mask = np.zeros((90, 90), np.bool_)
    for y, x in cells:
        mask[30 * y + 10 : 30 * y + 20, 30 * x + 10 : 30 * x + 20] = True
    sample = Sample(np.zeros((90, 90, 3), np.uint8))
    return Example(sample, "anomalous" if cells else "normal", mask)


def found(verdict: Any, score: float, raw: float, map_says: str, *named: str) -> Inspection:
    return Inspection(
        id="",
        verdict=verdict,
        decided_by="language model",
        reason="contradicted" if verdict == "unsure" else "",
        score=score,
        raw_score=raw,
        maps=(np.full((90, 90), raw, np.float32),),
        evidence={"map": {"verdict": map_says}, "answer_names": list(named)},
    )


TEST = [
    *(example(), example()),
    *(example((0, 0)), example((1, 1), (1, 2)), example((2, 2))),
]
FOUND = [
    found("normal", 0.1, 0.2, "normal"),
    found("anomalous", 0.6, 0.5, "unsure", "top"),
    found("anomalous", 0.9, 0.6, "anomalous", "top left"),
    found("anomalous", 0.8, 0.7, "anomalous", "right", "top"),
    found("unsure", 0.3, 0.4, "normal"),
]
STEP1 = [
    found("normal", 0.2, 0.2, ""),
    found("unsure", 0.45, 0.5, ""),
    found("unsure", 0.55, 0.6, ""),
    found("anomalous", 0.8, 0.7, ""),
    found("normal", 0.3, 0.4, ""),
]


def test_the_figures_are_those_by_hand(bench: ModuleType) -> None:
    row = bench.figures(TEST, FOUND, STEP1)
    assert row == pytest.approx(
        {
            "verdict": 3 / 5,
            "coverage": 4 / 5,
            "best": 4 / 5,  # above 0.5, or above 0.2
            "map": 3 / 5,
            "step1": 2 / 5,
            "step1_score": 4 / 5,
            "overkill": 1 / 2,
            "miss": 0,
            "score": 5 / 6,
            "raw": 5 / 6,
            "place": 1,
            "cells": 2 / 3,
            "chance": (1 / 9 + 2 / 9) / 2,
            # Pixels by the map's one value: normal ones of all five, marked ones of three.
            "pixel": row["pixel"],
        }
    )


def test_a_find_that_names_no_right_cell_counts(bench: ModuleType) -> None:
    said = [found("anomalous", 0.9, 0.9, "anomalous", *cells) for cells in ((), ("left",))]
    row = bench.places([TEST[2], TEST[2]], said)
    assert (row["place"], row["cells"]) == (0, 0)
    assert bench.places(TEST[:2], FOUND[:2]) == {}


def test_without_a_language_model_the_map_is_all(bench: ModuleType) -> None:
    alone = [replace(f, evidence={}) for f in FOUND]
    row = bench.figures(TEST, alone, STEP1)
    assert row["map"] == row["verdict"] == 3 / 5
    assert "place" not in row


def test_pixels_are_those_of_the_maps(bench: ModuleType) -> None:
    perfect = [
        Inspection("", "normal", "calibration", maps=(np.float32(1) * np.asarray(e.mask),))
        for e in TEST
        if e.mask is not None
    ]
    assert bench.pixels(TEST, perfect) == {"pixel": 1.0}
    assert bench.pixels(TEST[:2], perfect[:2]) == {}


def ranked(verdict: Any, *keywords: str) -> Inspection:
    evidence: dict[str, Any] = {"kinds": [(keyword, 1 / len(keywords)) for keyword in keywords]}
    return Inspection("", verdict, "calibration", evidence=evidence)


def test_the_first_keyword_that_is_a_kind_of_the_set_counts(bench: ModuleType) -> None:
    of = ("good", "crack", "bent_wire", "fray", "crack", "fray")
    test = [replace(example(*[(0, 0)] * (kind != "good")), kind=kind) for kind in of]
    found = [
        ranked("anomalous", "crack", "bent wires"),  # a good part
        ranked("anomalous", "stain", "Cracks", "bent wires"),  # right: no stain is in the set
        ranked("anomalous", "wire", "crack", "bent wires"),  # wrong
        ranked("anomalous", "crack", "bent wires"),  # no keyword stands for it
        ranked("anomalous", "bent wires", "crack"),  # wrong
        ranked("normal", "fray"),  # missed
    ]
    row = bench.kinds(test, found)
    assert row == {"kind": 1 / 4, "kind_chance": pytest.approx((3 * 1 / 2) / 4)}


@pytest.mark.parametrize(
    ("keyword", "kind", "same"),
    [
        ("crack", "crack", True),
        ("Frayed edge", "fray", True),
        ("bent-wires", "bent_wire", True),
        ("bent", "bent_wire", False),
        ("outbreak", "break", False),
    ],
)
def test_a_keyword_stands_for_a_kind_whose_words_begin_its_own(
    bench: ModuleType, keyword: str, kind: str, same: bool
) -> None:
    assert bench.stands_for(keyword, kind) == same


def test_a_detector_without_a_ranking_cannot_name_kinds(bench: ModuleType) -> None:
    test = [replace(TEST[2], kind=kind) for kind in ("crack", "fray")]
    unable = [replace(FOUND[2], evidence={"kinds": "no text tower"}), FOUND[2]]
    assert bench.kinds(test, unable) == {"kind": "cannot"}
    assert bench.kinds(test[:1], unable[:1]) == {}  # of one kind there is nothing to tell apart
    assert bench.kinds(test, [ranked("normal", "crack")] * 2) == {}


def test_the_table_has_the_spread_over_draws_and_a_mean_over_sets(bench: ModuleType) -> None:
    rows = [
        {"set": name, "shots": 1, "detector": "d", "draw": draw, "verdict": value}
        for name, values in {"a": (0.5, 0.7), "b": (0.9, 0.7)}.items()
        for draw, value in enumerate(values)
    ]
    rows += [
        {"set": "a", "shots": 1, "detector": "e", "draw": 0, "verdict": 0.25, "kind": "cannot"}
    ]
    assert bench.table(rows).splitlines() == [
        "| set | shots | detector | verdict | kind |",
        "|---|---|---|---|---|",
        "| a | 1 | d | 0.600 ± 0.100 |  |",
        "| a | 1 | e | 0.250 ± 0.000 | cannot |",
        "| b | 1 | d | 0.800 ± 0.100 |  |",
        "| b | 1 | e |  |  |",
        "| all | 1 | d | 0.700 ± 0.000 |  |",
        "| all | 1 | e | 0.250 ± 0.000 | cannot |",
    ]


def test_a_limit_takes_pictures_of_each_label(bench: ModuleType) -> None:
    few = bench.limited(bench.Set("parts", [], TEST), 2)
    assert [e.label for e in few.test] == ["normal"] * 2 + ["anomalous"] * 2
    assert few.test[2] is TEST[2]
    assert few.test[3] is TEST[4]
