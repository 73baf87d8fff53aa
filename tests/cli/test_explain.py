"""`blemish explain`, with a stand-in for a detector that has prompts, and with ALFA itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from blemish import build, registry
from blemish.calibration import Calibration
from blemish.detectors._explained import Explained, PromptScore
from blemish.images import read_image
from blemish.prompts.generated import bank
from blemish.registry import DetectorEntry
from blemish.report.overlay import overlay
from blemish.settings import settings
from blemish.types import Sample

Blemish = Callable[..., Any]
ALFA = registry.detector("alfa")  # before the stub stands in for it
STATE = {"normal": "flawless", "abnormal": "damaged"}
INSIDE = "inside the normal prompts, 0.110 to 0.290"
DESCRIPTORS = tuple((f"description {number}", 0.4 - number / 20) for number in range(7))


def prompt(number: int, class_name: str) -> PromptScore:
    """Of twelve normal and twenty abnormal prompts; of each side, every fourth is dropped."""
    label = "normal" if number < 12 else "abnormal"
    kept = number % 4 != 3
    return PromptScore(
        text=f"An industrial image of a {STATE[label]} {class_name} with detail {number}.",
        label=label,  # type: ignore[arg-type]
        source="template" if number % 2 else "language model",
        similarity=0.1 + number / 100,
        score=number / 50 if kept else 0.0,
        kept=kept,
        why=f"outside the others for {label} ones" if kept else INSIDE,
    )


@pytest.fixture(autouse=True)
def alfa(stub: ModuleType, blemish: Blemish, monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector called alfa, beside those of the stub."""

    class Explaining(stub.Darkness):  # type: ignore[name-defined,misc]
        def explain(self, sample: Sample) -> Explained:
            (found,) = self.predict([sample])
            prompts = tuple(prompt(number, sample.class_name) for number in range(32))
            rng = np.random.default_rng(0)
            points = rng.normal(size=(33, 6)).astype(np.float32)
            return Explained(found, prompts, DESCRIPTORS, points[0], points[1:])

    monkeypatch.setattr(stub, "Explaining", Explaining, raising=False)
    entry = DetectorEntry("alfa", "darkness:Explaining", "darkness:Options", "explains")
    entries = registry.detectors() | {"alfa": entry}
    monkeypatch.setattr(registry, "detectors", lambda: entries)


@pytest.fixture
def spot(stub: ModuleType, tmp_path: Path) -> Path:
    """A picture with a dark spot."""
    path: Path = stub.draw(tmp_path / "nut.png", 0)
    return path


def rows(out: str, heading: str) -> list[str]:
    """The lines with figures below a heading, up to the next empty line."""
    body = out.split(f"{heading}: ")[1].split("\n\n")[0]
    return [line for line in body.splitlines() if line.lstrip()[:2] == "0."]


def test_it_says_the_verdict_the_descriptions_and_the_prompts(blemish: Blemish, spot: Path) -> None:
    said = blemish("explain", spot, "--class", "nut", "--out", "found")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("nut.png: anomalous, score 1.00\n")
    assert [n for n in range(7) if f"description {n}" in said.out] == [0, 1, 2, 3, 4]
    assert "0.350  description 1" in said.out
    assert "Kept: 9 of 12 normal, 15 of 20 abnormal" in said.out
    assert "Dropped: 3 of 12 normal, 5 of 20 abnormal" in said.out
    kept, dropped = rows(said.out, "Kept"), rows(said.out, "Dropped")
    assert len(kept) == 10
    assert kept[0].split()[:5] == ["0.400", "0.600", "abnormal", "model", "An"]
    assert "damaged nut with detail 30." in kept[0]
    assert [float(line.split()[1]) for line in kept] == sorted(
        (number / 50 for number in range(32) if number % 4 != 3), reverse=True
    )[:10]
    assert "and 14 more; --all prints them" in said.out
    assert len(dropped) == 8
    assert "and 0 more" not in said.out
    # What holds for several prompts is said once.
    assert said.out.count(INSIDE) == 1


def test_all_prints_every_prompt(blemish: Blemish, spot: Path) -> None:
    said = blemish("explain", spot, "--all")
    assert len(rows(said.out, "Kept")) == 24
    assert "more;" not in said.out


def test_a_narrow_terminal_cuts_no_word(
    blemish: Blemish, spot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = blemish("explain", spot, "--class", "hexagonal-nut", "--all", "--out", "found")
    lines = said.out.splitlines()
    assert max(map(len, lines)) <= 80
    words = said.out.split()
    for word in ("flawless", "hexagonal-nut", "similarity", "abnormal", "template", "industrial"):
        assert word in words
    assert words.count("hexagonal-nut") == 32


def test_everything_is_in_the_json(blemish: Blemish, spot: Path) -> None:
    assert blemish("explain", spot, "--class", "nut", "--out", "found").code == 0
    found = json.loads(Path("found/explain.json").read_text("utf-8"))
    assert [PromptScore(**one) for one in found["prompts"]] == [prompt(n, "nut") for n in range(32)]
    assert [(one["text"], one["similarity"]) for one in found["descriptors"]] == list(DESCRIPTORS)
    assert (found["id"], found["verdict"], found["class"]) == ("nut.png", "anomalous", "nut")
    assert found["detector"] == {"name": "darkness", "fingerprint": "darkness-1"}
    assert found["regions"][0]["position"] == "top left"
    assert not Path("found/space.png").exists()


def test_the_picture_has_its_overlay_and_five_bars(
    blemish: Blemish, stub: ModuleType, spot: Path
) -> None:
    import cv2

    said = blemish("explain", spot, "--out", "found")
    assert "Picture: found/explain.png" in said.out
    drawn = read_image("found/explain.png")
    (found,) = stub.Darkness().predict([Sample(stub.picture(0))])
    scores = stub.CALIBRATION.score(found.maps[0])
    left = overlay(stub.picture(0), scores, found.regions, "anomalous, score 1.00")
    high, wide = left.shape[:2]
    assert (drawn[:high, :wide] == left).all()
    panel = drawn[:, wide:].astype(int)
    blue = (panel[..., 2] - panel[..., 0] > 100).astype(np.uint8)
    assert cv2.connectedComponents(blue)[0] - 1 == 5


def test_space_is_drawn_where_it_is_asked_for(blemish: Blemish, spot: Path) -> None:
    said = blemish("explain", spot, "--out", "found", "--space")
    assert "Space: found/space.png" in said.out
    assert read_image("found/space.png").shape[1] > 1000


def test_the_same_picture_has_the_same_folder(blemish: Blemish, spot: Path) -> None:
    first, again = blemish("explain", spot), blemish("explain", spot.name)
    assert first.out == again.out
    assert len(list(Path("blemish_out").iterdir())) == 1


def test_an_unsure_verdict_says_why(
    blemish: Blemish, stub: ModuleType, spot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    band = ("unsure", "inside the band")
    monkeypatch.setattr(Calibration, "verdict", lambda self, raw: band)
    assert "nut.png: unsure, score 1.00 (inside the band)" in blemish("explain", spot).out


def test_a_detector_without_prompts_is_refused_before_it_is_loaded(
    blemish: Blemish, stub: ModuleType, spot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("it was loaded")

    monkeypatch.setattr("blemish.build.load", load)
    said = blemish("explain", spot, "--detector", "musc")
    assert (said.code, said.out) == (2, "")
    assert "musc chooses no prompts picture by picture, so there is nothing to ex" in said.err
    assert "--detector alfa does." in said.err


def test_so_is_a_saved_one(
    blemish: Blemish, stub: ModuleType, spot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("saved").mkdir()
    monkeypatch.setattr("blemish.build.load", lambda *_, **__: stub.Darkness())
    said = blemish("explain", spot, "--detector", "saved")
    assert said.code == 2
    assert "chooses no prompts picture by picture" in said.err


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("parts", "10 pictures came; expected one picture"),
        ("broken.png", "no picture"),
        ("absent.png", "does not exist"),
        ("series.csv", "1 time series came; expected one picture"),
    ],
)
def test_what_is_not_one_picture_is_refused(
    blemish: Blemish, ten: Path, source: str, words: str
) -> None:
    Path("broken.png").write_bytes(b"no picture")
    Path("series.csv").write_text("time,a\n0,1\n1,2\n2,3\n")
    said = blemish("explain", source, "--out", "found")
    assert said.code == 2
    assert words in said.err
    assert not Path("found").exists()


def test_alfa_explains_what_it_finds(
    blemish: Blemish, spot: Path, tiny_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "detectors", lambda: {"alfa": ALFA})
    monkeypatch.setenv("BLEMISH_CACHE", str(Path.cwd() / "cache"))
    settings.cache_clear()
    options = ("--option", f"encoder=clip:{tiny_clip}", "--option", "scales=[2,5]")
    said = blemish("explain", spot, "--class", "bottle", "--out", "found", "--space", *options)
    settings.cache_clear()
    assert said.code == 0, said.err
    found = json.loads(Path("found/explain.json").read_text("utf-8"))
    detector: Any = build.load("alfa", encoder=f"clip:{tiny_clip}", scales=[2, 5], device="cpu")
    sample = Sample(read_image(spot), class_name="bottle", id=spot.name)
    assert found["raw_score"] == pytest.approx(detector.predict([sample])[0].raw_score, rel=1e-5)
    # Equations 2 to 4: kept is what lies outside of the other side's span.
    prompts = found["prompts"]
    spans = {
        side: [p["similarity"] for p in prompts if p["label"] == side]
        for side in ("normal", "abnormal")
    }
    for prompt in prompts:
        other = spans["abnormal" if prompt["label"] == "normal" else "normal"]
        if not min(other) <= prompt["similarity"] <= max(other):
            assert prompt["kept"]
    assert {prompt["kept"] for prompt in prompts} == {True, False}
    known = bank("bottle")
    assert known
    assert {one["text"] for one in found["descriptors"]} == {*known.descriptors}
    assert said.out.count(found["descriptors"][0]["text"]) == 1


def test_a_folder_that_cannot_be_written_is_said(blemish: Blemish, spot: Path) -> None:
    Path("taken").write_text("a file")
    said = blemish("explain", spot, "--out", "taken")
    assert said.code == 2
    assert "taken cannot be written" in said.err
