"""What a person tells of the parts: standards, readings, judged findings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Blemish = Callable[..., Any]
ASK = ("--llm", "scripted:said.json", "--class", "nut", "--out", "run")


@pytest.fixture(autouse=True)
def parts(tmp_path: Path, stub: ModuleType) -> None:
    for number in (1, 2):
        stub.draw(tmp_path / "parts" / f"{number}.png")
    (tmp_path / "said.json").write_text(json.dumps({"": "There are no visible defects."}))


def texts(asked: list[Any]) -> list[str]:
    return [messages[0].text for messages in asked]


@pytest.mark.parametrize("form", ["words", "file"])
def test_standards_are_told_as_words_or_from_a_file(
    blemish: Blemish, asked: list[Any], form: str
) -> None:
    words = "A whole nut with a clean thread."
    Path("standards.txt").write_text(f"{words}\n")
    given = words if form == "words" else "standards.txt"
    assert blemish("inspect", "parts", "--standards", given, *ASK).code == 0
    assert json.loads(Path("run/run.json").read_text())["detector"]["name"] == "vqa"
    assert len(asked) == 2
    assert all(words in text for text in texts(asked))


def test_readings_of_all_parts_and_of_each(blemish: Blemish, asked: list[Any]) -> None:
    Path("all.json").write_text('{"oven": "210 °C"}')
    assert blemish("inspect", "parts", "--auxiliary", "all.json", *ASK).code == 0
    assert all("210 °C" in text for text in texts(asked))
    asked.clear()
    Path("each.csv").write_text("file,torque [Nm],line\n1.png,4.1,A\n2.png,,B\n9.png,7,A\n")
    said = blemish("inspect", "parts", "--auxiliary", "each.csv", *ASK)
    assert said.code == 0
    assert "each.csv has readings of what is not inspected: 9.png" in said.err
    first, second = sorted(texts(asked), key=lambda text: "4.1 Nm" not in text)
    assert "4.1 Nm" in first
    assert "torque" not in second
    assert "line" in second
    assert not any("210" in text for text in texts(asked))


def test_judged_findings_are_told_for_their_class(blemish: Blemish, asked: list[Any]) -> None:
    lines = [
        {"class": "nut", "finding": "a scratch at the left", "confirmed": True},
        {"class": "nut", "finding": "a dark reflection", "confirmed": False},
        {"class": "bolt", "finding": "a bent tip", "confirmed": True},
    ]
    Path("judged.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert blemish("inspect", "parts", "--feedback", "judged.jsonl", *ASK).code == 0
    for text in texts(asked):
        assert "a scratch at the left" in text
        assert "a dark reflection" in text
        assert "a bent tip" not in text
    assert all(len(messages[0].images) == 1 for messages in asked)


def test_without_such_words_pictures_are_asked_about_as_before(
    blemish: Blemish, asked: list[Any]
) -> None:
    Path("said.json").write_text(json.dumps({"": "region 1: 0.1."}))
    assert blemish("inspect", "parts", *ASK).code == 0
    assert json.loads(Path("run/run.json").read_text())["detector"]["name"] == "gpt4v-ad"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("--standards", ""), "The standards are empty"),
        (("--standards", "none.txt"), "none.txt cannot be read: No such file"),
        (("--standards", "1. "), "cannot be read"),
        (("--auxiliary", "bad.json"), "no JSON object that can be read"),
        (("--auxiliary", "number.json"), "expected a text with the unit"),
        (("--auxiliary", "twice.csv"), "1.png comes twice"),
        (("--auxiliary", "short.csv"), "1.png has 1 cells"),
        (("--auxiliary", "words.txt"), "neither a JSON object nor a table"),
        (("--auxiliary", "said.bin"), "no UTF-8 text"),
        (("--feedback", "words.txt"), "Line 1 of words.txt"),
        (("--feedback", "none.jsonl"), "cannot be read"),
        (("--feedback", "empty.jsonl"), "holds no finding"),
        (("--detector", "gpt4v-ad", "--auxiliary", "all.json"), "gpt4v-ad takes no --auxiliary"),
    ],
)
def test_what_cannot_be_told_is_refused_before_anything_is_asked(
    blemish: Blemish, asked: list[Any], command: tuple[str, ...], said: str
) -> None:
    Path("bad.json").write_text("{")
    Path("all.json").write_text('{"oven": "210 °C"}')
    Path("number.json").write_text('{"torque": 4.1}')
    Path("twice.csv").write_text("id,torque [Nm]\n1.png,4\n1.png,5\n")
    Path("short.csv").write_text("id,torque [Nm]\n1.png\n")
    Path("words.txt").write_text("hot and dusty\n")
    Path("said.bin").write_bytes(b"\xff\xfe\x00")
    Path("empty.jsonl").write_text("\n")
    answer = blemish("inspect", "parts", *ASK, *command)
    assert answer.code == 2
    assert said in answer.err
    assert asked == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("--standards", "A whole nut."), "none was named. Add --llm"),
        (("--standards", "A whole nut.", "--detector", "darkness"), "darkness takes no --standard"),
    ],
)
def test_words_for_a_detector_that_reads_none_are_refused(
    blemish: Blemish, command: tuple[str, ...], said: str
) -> None:
    answer = blemish("inspect", "parts", *command)
    assert answer.code == 2
    assert said in answer.err
