"""Prompts are found by class and style, in a file or a folder; what is not there is explained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blemish.errors import OptionError
from blemish.prompts.generated import Generated, find, read, write

OUT = Generated("cup", "alfa", ("a whole rim",), ("a chipped rim",), ("a chip",), "me", "f")
APG: Any = {"style": "apg", "normal": (), "abnormal": ("a chip: an abnormal cup is chipped",)}


def named(path: Path, name: str, *names: str, **more: Any) -> Path:
    write(replace(OUT, class_name=name, names=names, **more), path)
    return path


@pytest.mark.parametrize("asked", ["Left-Hinge", "left_hinge", "hinge", "  left  hinge"])
@pytest.mark.parametrize("where", ["left.json", "."])
def test_a_class_is_found_in_a_file_and_a_folder(asked: str, where: str, tmp_path: Path) -> None:
    left = named(tmp_path / "left.json", "left hinge", "hinge")
    named(tmp_path / "right.json", "right hinge")
    named(tmp_path / "other.json", "left hinge", **APG)
    assert find(tmp_path / where, asked) == find(str(tmp_path / where), asked) == read(left)
    assert find(tmp_path, "left-hinge", "apg") == read(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("asked", "where", "words"),
    [
        (
            "hinge",
            "left.json",
            ["left.json has", "'left hinge', not for 'hinge'", "--class 'left hinge'", '"class"'],
        ),
        ("bracket", "both.json", ["of style 'apg'; expected 'alfa'"]),
        ("bracket", "more", ["style 'apg'"]),
        ("cup", "more", ["cup1.json and ", "cup2.json both have", "'cup'"]),
        (
            "left_hinges",
            ".",
            ["no prompts for the class 'left hinges'", "Did you mean 'left hinge'? Known: bracket"],
        ),
        ("cup", "empty", ["Known: none", "blemish prompts make --class 'cup'"]),
        ("cup", "absent.json", ["absent.json", "blemish prompts make --class 'cup'"]),
        ("cup", "n" * 300, ["is no file and no folder"]),
    ],
)
def test_prompts_that_are_not_found_are_explained(
    asked: str, where: str, words: list[str], tmp_path: Path
) -> None:
    named(tmp_path / "left.json", "left hinge")
    named(tmp_path / "both.json", "bracket", **APG)
    named(tmp_path / "more" / "bracket.json", "bracket", **APG)
    named(tmp_path / "more" / "cup1.json", "cup")
    named(tmp_path / "more" / "cup2.json", "mug", "Cup")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionError) as caught:
        find(tmp_path / where, asked)
    for word in words:
        assert word in str(caught.value)


def test_prompts_of_the_other_style_that_are_not_found_are_explained(tmp_path: Path) -> None:
    cup = named(tmp_path / "cup.json", "cup")
    with pytest.raises(OptionError, match=r"style 'alfa'; expected 'apg'.*make --style apg --cla"):
        find(cup, "cup", "apg")
    with pytest.raises(OptionError, match="blemish prompts make --style apg --class 'mug' --llm"):
        find(tmp_path, "mug", "apg")
