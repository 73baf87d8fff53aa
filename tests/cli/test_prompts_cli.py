"""`blemish prompts`: make, show and score."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from blemish import build
from blemish.detectors._explained import Explained, PromptScore
from blemish.prompts.generated import banked, read
from blemish.settings import settings
from blemish.types import Inspection, Sample

Blemish = Callable[..., Any]
SAID = {
    "identify an abnormal cup": "Sure!\n- An abnormal image of cup with a chip\n- A crack",
    "identify a normal cup": "- A normal image of cup with a whole rim",
    "useful descriptions": "a chip\n- a crack",
}


@pytest.fixture
def said(blemish: Blemish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A scripted model's file; the cache is an empty folder."""
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    settings.cache_clear()
    path = tmp_path / "said.json"
    path.write_text(json.dumps(SAID))
    yield path
    settings.cache_clear()


def make(blemish: Blemish, said: Path, *more: object) -> Any:
    return blemish("prompts", "make", "--class", "cup", "--llm", f"scripted:{said}", *more)


def test_made_prompts_lie_in_the_cache_where_the_detector_looks(
    blemish: Blemish, said: Path, tmp_path: Path
) -> None:
    told = make(blemish, said)
    assert told.code == 0, told.err
    (path,) = (tmp_path / "cache" / "prompts").iterdir()
    assert str(path) in told.out.splitlines()
    assert "1 normal and 2 abnormal prompts, 2 descriptors" in told.out
    assert re.search(rf"--class cup --detector alfa --option prompts={path}$", told.out, re.M)
    assert read(path).abnormal == (
        "An abnormal image of cup with a chip",
        "An abnormal image of cup: a crack",
    )
    assert make(blemish, said, "--no-consistency").code == 0
    assert len(list(path.parent.iterdir())) == 2


def test_what_a_person_changed_is_not_replaced_unless_forced(
    blemish: Blemish, said: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mine" / "cup.json"
    assert make(blemish, said, "--out", path).code == 0
    assert make(blemish, said, "--out", path).code == 0
    path.write_text(path.read_text("utf-8").replace("whole rim", "round rim"), "utf-8")
    told = make(blemish, said, "--out", path)
    assert told.code == 2
    assert "a person wrote or changed" in told.err
    assert "round rim" in path.read_text("utf-8")
    assert make(blemish, said, "--out", path, "--force").code == 0
    assert "whole rim" in path.read_text("utf-8")
    path.write_text("{")
    told = make(blemish, said, "--out", path)
    assert told.code == 2
    assert str(path) in told.err
    assert path.read_text() == "{"


def test_a_model_that_says_nothing_useful_writes_no_file(
    blemish: Blemish, said: Path, tmp_path: Path
) -> None:
    said.write_text(json.dumps({"": "I'm sorry, but I can't help with that."}))
    told = make(blemish, said)
    assert told.code == 2
    assert "I'm sorry" in told.err
    assert not (tmp_path / "cache" / "prompts").exists()


def test_descriptors_that_are_missing_are_said(blemish: Blemish, said: Path) -> None:
    said.write_text(json.dumps(SAID | {"useful descriptions": ""}))
    told = make(blemish, said)
    assert told.code == 0
    assert "no descriptors" in told.err


def test_show_lists_the_bank(blemish: Blemish) -> None:
    told = blemish("prompts", "show")
    assert told.code == 0
    for one in banked():
        counts = f"{len(one.normal)} +{len(one.abnormal)} +{len(one.descriptors)}"
        assert re.search(rf"^{one.class_name} +{one.style} +{counts}$", told.out, re.M)


def test_show_prints_the_prompts_of_a_class_or_a_file(blemish: Blemish, said: Path) -> None:
    told = blemish("prompts", "show", "left_hinge")
    assert told.code == 0
    assert told.out.count("left hinge") == 144
    assert "blemish prompts make --class 'left hinge'" in told.err
    make(blemish, said, "--out", "cup.json")
    told = blemish("prompts", "show", "--prompts", "cup.json")
    assert "abnormal, by the template: 72" in told.out
    assert "abnormal, by scripted: 2\n  An abnormal image of cup with a chip\n" in told.out
    assert told.out.endswith("descriptors: 2\n  a chip\n  a crack\n")
    assert blemish("prompts", "show", "--prompts", "none.json").code == 2


class Weigher:
    """Is as similar to every prompt as the picture is bright, and drops "a crack" on dark ones."""

    def explain(self, sample: Sample) -> Explained:
        bright = float(sample.image.mean() / 255)
        prompts = (
            PromptScore("a whole rim", "normal", "template", bright, 0.5, True, ""),
            PromptScore("a crack", "abnormal", "language model", bright, 0.5, bright > 0.5, ""),
            PromptScore("a chip", "abnormal", "language model", bright, 0.5, True, ""),
        )
        none = np.zeros(1, np.float32)
        found = Inspection(sample.id, "unsure", "nothing", "nothing to decide on")
        return Explained(found, prompts, (), none, none[None])


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """What the detector was built from, and pictures: one black, one white, one grey."""
    for name, value in (("black", 0), ("grey", 153), ("white", 255)):
        image = PIL.Image.new("RGB", (8, 8), (value, value, value))
        (tmp_path / "pictures").mkdir(exist_ok=True)
        image.save(tmp_path / "pictures" / f"{name}.png")
    asked: list[Any] = []

    def load(name: str, **options: Any) -> Weigher:
        asked.append((name, options))
        return Weigher()

    monkeypatch.setattr(build, "load", load)
    return asked


def test_score_gives_means_over_the_pictures(blemish: Blemish, loaded: list[Any]) -> None:
    told = blemish("prompts", "score", "pictures", "--class", "cup", "--json")
    assert told.code == 0
    body = json.loads(told.out)
    assert (body["class"], body["pictures"]) == ("cup", 3)
    rows = {row["text"]: row for row in body["prompts"]}
    assert list(rows) == ["a chip", "a crack", "a whole rim"]
    assert rows["a crack"]["similarity"] == pytest.approx((0 + 0.6 + 1) / 3, abs=1e-6)
    assert rows["a crack"]["kept"] == pytest.approx(2 / 3)
    assert rows["a chip"]["kept"] == 1
    assert loaded == [("alfa", {})]


def test_score_prints_a_table_and_hands_on_what_was_named(
    blemish: Blemish, loaded: list[Any]
) -> None:
    options = ("--prompts", "cup.json", "--encoder", "clip-vit-h-14")
    told = blemish("prompts", "score", "pictures/*.png", "--class", "cup", *options)
    assert told.code == 0
    assert re.search(r"^abnormal +language model +0\.533 +67% +a crack *$", told.out, re.M)
    assert "3 pictures" in told.out
    assert loaded == [("alfa", {"prompts": "cup.json", "encoder": "clip-vit-h-14"})]


def test_a_picture_that_cannot_be_read_is_left_out_and_said(
    blemish: Blemish, loaded: list[Any], tmp_path: Path
) -> None:
    (tmp_path / "pictures" / "broken.png").write_bytes(b"no picture")
    told = blemish("prompts", "score", "pictures", "--class", "cup", "--json")
    assert told.code == 3
    assert "broken.png" in told.err
    assert json.loads(told.out)["pictures"] == 3
    told = blemish("prompts", "score", "pictures/broken.png", "--class", "cup")
    assert (told.code, told.out) == (2, "")
