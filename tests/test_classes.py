"""The nouns of prompts are complete and good English, and belong to sets that exist."""

from __future__ import annotations

import json
import re
from importlib.resources import files

import pytest

from blemish.classes import named, noun

# Written down here once more, so that a lost or misspelt folder name shows.
CATEGORIES = {
    "mvtec-ad": "bottle cable capsule carpet grid hazelnut leather metal_nut pill screw tile "
    "toothbrush transistor wood zipper",
    "visa": "candle capsules cashew chewinggum fryum macaroni1 macaroni2 pcb1 pcb2 pcb3 pcb4 "
    "pipe_fryum",
    "mvtec-loco": "breakfast_box juice_bottle pushpins screw_bag splicing_connectors",
    "mvtec-3d-ad": "bagel cable_gland carrot cookie dowel foam peach potato rope tire",
    "mvtec-ad-2": "can fabric fruit_jelly rice sheet_metal vial wallplugs walnuts",
    "btad": "01 02 03",
    "mpdd": "bracket_black bracket_brown bracket_white connector metal_plate tubes",
    "real-iad": "audiojack bottle_cap button_battery end_cap eraser fire_hood mint mounts pcb "
    "phone_battery plastic_nut plastic_plug porcelain_doll regulator rolled_strip_base "
    "sim_card_set switch tape terminalblock toothbrush toy toy_brick transistor1 u_block usb "
    "usb_adaptor vcpill wooden_beads woodstick zipper",
    "kolektor-sdd2": "kolektor-sdd2",
    "dagm": "Class1 Class2 Class3 Class4 Class5 Class6 Class7 Class8 Class9 Class10",
    "magnetic-tiles": "magnetic-tiles",
    "solar-cells": "mono poly",
    "chest-x-ray": "chest-x-ray",
    "oct2017": "oct2017",
    "head-ct": "head-ct",
    "brain-mri": "brain-mri",
    "isic-2017": "isic-2017",
    "isic-2016": "isic-2016",
    "mood": "abdom brain",
    "hyper-kvasir": "lower-gi-tract upper-gi-tract",
    "endotect": "endotect",
    "real3d-ad": "airplane candybar car chicken diamond duck fish gemstone seahorse shell "
    "starfish toffees",
}

# Words whose plural is the word itself although one of them can be counted.
SAME_PLURAL = {"toy fish", "toy starfish"}
# Words that begin with another sound than their letter: "yoo".
SPOKEN_WITH_Y = ("USB", "U-", "unit", "uni")

TABLE: dict[str, dict[str, dict[str, str]]] = json.loads(
    files("blemish").joinpath("classes.json").read_text("utf-8")
)
ROWS = [
    pytest.param(row, id=f"{dataset}/{category}")
    for dataset, rows in TABLE.items()
    for category, row in rows.items()
]


def test_every_category_of_every_set_has_its_noun_and_no_other() -> None:
    found = {dataset: set(rows) for dataset, rows in TABLE.items()}
    assert found == {dataset: set(names.split()) for dataset, names in CATEGORIES.items()}


@pytest.mark.parametrize("row", ROWS)
def test_an_entry_is_complete_and_clean(row: dict[str, str]) -> None:
    assert set(row) == {"name", "article", "plural", "description"}
    for text in row.values():
        assert text == " ".join(text.split())
    assert row["name"]
    assert not re.search(r"[_\d]", row["name"] + row["plural"])


@pytest.mark.parametrize("row", ROWS)
def test_the_article_is_that_of_the_spoken_name(row: dict[str, str]) -> None:
    name = row["name"]
    vowel = name[0].lower() in "aeiou" and not name.startswith(SPOKEN_WITH_Y)
    # No article stands before what is not counted, and before what is a plural already.
    assert row["article"] in ("", "an" if vowel else "a")


@pytest.mark.parametrize("row", ROWS)
def test_the_plural_differs_where_one_can_be_counted(row: dict[str, str]) -> None:
    counted = row["article"] != "" and row["name"] not in SAME_PLURAL
    assert (row["plural"] != row["name"]) == counted


@pytest.mark.parametrize("row", ROWS)
def test_the_description_is_one_sentence(row: dict[str, str]) -> None:
    text = row["description"]
    assert text[0].isupper()
    assert text.endswith(".")
    assert not re.search(r"[.!?;:]", text[:-1])
    assert 8 <= len(text.split()) <= 32


def test_the_noun_of_a_category_is_that_entry() -> None:
    for dataset, rows in TABLE.items():
        for category, row in rows.items():
            spoken = noun(dataset, category)
            assert [spoken.name, spoken.article, spoken.plural, spoken.description] == [
                row[key] for key in ("name", "article", "plural", "description")
            ]


@pytest.mark.parametrize(
    ("category", "spoken"),
    [("left_hinge", "a left hinge"), ("end-cap", "an end cap"), ("", "an object")],
)
def test_a_category_that_is_not_in_the_table_is_spoken_by_its_name(
    category: str, spoken: str
) -> None:
    found = noun("mvtec-ad", category)
    assert (found.with_article, found.description) == (spoken, "")


@pytest.mark.parametrize("row", ROWS)
def test_a_name_is_found_in_any_case(row: dict[str, str]) -> None:
    name = row["name"]
    assert named(name).name == name
    assert named(name.upper()) == named(name.lower()) == named(name)


@pytest.mark.parametrize(
    ("name", "plural", "spoken"),
    [
        ("left hinge", "left hinges", "a left hinge"),
        ("hinges", "hinges", "hinges"),
        ("HINGES", "HINGES", "HINGES"),
        ("glass", "glasses", "a glass"),
        ("pieces of chewing gum", "pieces of chewing gum", "pieces of chewing gum"),
    ],
)
def test_a_plural_has_no_article(name: str, plural: str, spoken: str) -> None:
    assert (named(name).plural, named(name).with_article) == (plural, spoken)
