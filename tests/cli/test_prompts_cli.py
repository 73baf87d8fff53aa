"""`blemish prompts`: make, show and score."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from blemish import build, registry
from blemish.detectors._explained import PromptScore
from blemish.encoders.clip import Clip
from blemish.images import read_image
from blemish.prompts.contrast import alfa
from blemish.prompts.generated import bank, banked, is_edited, kept_at, read
from blemish.settings import settings
from blemish.types import Sample

Blemish = Callable[..., Any]
ALFA = registry.detector("alfa")  # before the stubs stand in for it
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
    assert not is_edited(path)
    path.write_text(path.read_text("utf-8").replace("whole rim", "round rim"), "utf-8")
    told = make(blemish, said, "--out", path)
    assert told.code == 2
    assert "a person wrote or changed" in told.err
    assert "round rim" in path.read_text("utf-8")
    assert make(blemish, said, "--out", path, "--force").code == 0
    assert "whole rim" in path.read_text("utf-8")
    assert is_edited(path)
    assert "made again over earlier ones" in make(blemish, said, "--out", path).err
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
    for one in (*banked("alfa"), *banked("apg")):
        counts = f"{len(one.normal)} +{len(one.abnormal)} +{len(one.descriptors)}"
        assert re.search(rf"^{one.class_name} +{one.style} +{counts}$", told.out, re.M)


def test_show_prints_the_prompts_of_a_class_or_a_file(blemish: Blemish, said: Path) -> None:
    told = blemish("prompts", "show", "left_hinge")
    assert told.code == 0
    assert told.out.count("left hinge") == 144
    assert "no prompts for the class 'left hinge'" in told.err
    assert "blemish prompts make --class 'left hinge'" in told.err
    make(blemish, said, "--out", "cup.json")
    told = blemish("prompts", "show", "--prompts", "cup.json")
    assert "abnormal, by the template: 72" in told.out
    assert "abnormal, by scripted: 2\n  An abnormal image of cup with a chip\n" in told.out
    assert told.out.endswith("descriptors: 2\n  a chip\n  a crack\n")
    edited = read("cup.json").abnormal[0]
    Path("cup.json").write_text(Path("cup.json").read_text().replace(edited, "bent"))
    told = blemish("prompts", "show", "--prompts", "cup.json")
    assert "abnormal, by scripted, edited by hand: 2\n  bent\n" in told.out
    told = blemish("prompts", "show", "Metal-Nut")
    assert "normal, written for this project: " in told.out
    assert blemish("prompts", "show", "--prompts", "none.json").code == 2


APG = {
    "an abnormal image of cup may": "A damaged cup may have a chip in its rim or a thin crack.",
    "extract keywords": "Chip, crack",
    "Answer each keyword": "Chip: An abnormal cup has a chipped rim.\nCrack: a cup is cracked.",
}


def test_kinds_of_anomaly_are_made_kept_and_shown(
    blemish: Blemish, said: Path, tmp_path: Path
) -> None:
    said.write_text(json.dumps(APG))
    told = make(blemish, said, "--style", "apg")
    assert told.code == 0, told.err
    (path,) = (tmp_path / "cache" / "prompts").iterdir()
    assert "0 normal and 1 abnormal prompts, 1 descriptors" in told.out
    assert re.search(rf"--detector iad-gpt --option prompts={path}$", told.out, re.M)
    made = read(path)
    assert path == kept_at("cup", made.fingerprint, folder=path.parent, style="apg")
    assert made.abnormal == ("chip: an abnormal cup has a chipped rim",)
    assert [query.reply for query in made.queries] == [
        *APG.values(),
        *2 * [APG["Answer each keyword"]],
    ]
    told = blemish("prompts", "show", "--prompts", path)
    assert told.out == (
        "abnormal, by scripted: 1\n  chip: an abnormal cup has a chipped rim\n"
        "descriptors: 1\n  chip\n"
    )
    told = make(blemish, said, "--style", "apg", "--no-consistency")
    assert (told.code, "--no-consistency is for --style alfa" in told.err) == (2, True)


def test_show_prints_the_kinds_of_anomaly_of_the_bank(blemish: Blemish) -> None:
    told = blemish("prompts", "show", "Magnetic-Tile", "--style", "apg")
    known = bank("magnetic tile", "apg")
    assert known
    lines = [f"  {text}" for text in (*known.abnormal, *known.descriptors)]
    assert [line for line in told.out.splitlines() if line.startswith("  ")] == lines
    told = blemish("prompts", "show", "left_hinge", "--style", "apg")
    assert (told.code, told.out) == (0, "")
    assert "blemish prompts make --style apg --class 'left hinge'" in told.err


class Weigher:
    """Is as similar to every prompt as the picture is bright, and drops "a crack" on dark ones."""

    def scored(self, sample: Sample) -> tuple[PromptScore, ...]:
        bright = float(sample.image.mean() / 255)
        return (
            PromptScore("a whole rim", "normal", "template", bright, 0.5, True, ""),
            PromptScore("a crack", "abnormal", "language model", bright, 0.5, bright > 0.5, ""),
            PromptScore("a chip", "abnormal", "language model", bright, 0.5, True, ""),
        )


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three: one black, one white, one grey."""
    for name, value in (("black", 0), ("grey", 153), ("white", 255)):
        image = PIL.Image.new("RGB", (8, 8), (value, value, value))
        (tmp_path / "pictures").mkdir(exist_ok=True)
        image.save(tmp_path / "pictures" / f"{name}.png")
    return tmp_path / "pictures"


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, pictures: Path) -> list[Any]:
    """What the detector was built from."""
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


def test_the_detector_itself_weighs_by_the_encoder_s_similarities(
    blemish: Blemish, said: Path, pictures: Path, tiny_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "detectors", lambda: {"alfa": ALFA})
    monkeypatch.delattr(Clip, "windows")  # the pictures as a whole are enough
    options = ("--class", "bottle", "--encoder", f"clip:{tiny_clip}", "--json")
    told = blemish("prompts", "score", pictures, *options)
    assert told.code == 0, told.err
    rows = json.loads(told.out)["prompts"]
    known, template = bank("bottle"), alfa("bottle")
    assert known
    for label, texts in (
        ("normal", {*template.normal, *known.normal}),
        ("abnormal", {*template.abnormal, *known.abnormal}),
    ):
        assert {row["text"] for row in rows if row["label"] == label} == texts
    encoder = Clip(tiny_clip, device="cpu", dtype="float32")
    images = encoder.embed([read_image(path) for path in sorted(pictures.iterdir())])
    means = (encoder.encode_text([row["text"] for row in rows]) @ images.T).mean(axis=1)
    assert [row["similarity"] for row in rows] == pytest.approx(means, abs=1e-5)
    assert {round(3 * row["kept"], 6) for row in rows} <= {0, 1, 2, 3}
