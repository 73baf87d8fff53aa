"""The dialogue about an inspection, with scripted models and with one that hangs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from blemish import build
from blemish.errors import ChatError, InputError, OptionError
from blemish.service.settings import ServiceSettings
from blemish.service.station import Station
from blemish.service.types import NewLine


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"": "There is a dark spot at the top left."}))
    return f"scripted:{path}"


@pytest.fixture
def inspection(station: Station, caps: str, shade: ModuleType) -> str:
    return station.wait(station.submit(caps, [shade.picture(0)]).id, 10).items[0].inspection


def test_question_and_answer_are_kept_in_order(
    station: Station, inspection: str, script: str
) -> None:
    answer = "".join(station.ask(inspection, "Where is it?", script))
    assert "dark spot at the top left" in answer
    "".join(station.ask(inspection, "How large?", script))
    kept = station.messages(inspection)
    assert [(m.number, m.role) for m in kept] == [
        (1, "user"),
        (2, "assistant"),
        (3, "user"),
        (4, "assistant"),
    ]
    assert kept[0].text == "Where is it?"
    assert (kept[1].text, kept[1].model, kept[1].fault) == (answer, script, None)


class Speaker:
    """Remembers the conversations that it is given, and says what it is told to."""

    name = "stub"

    def __init__(self, pieces: Iterator[str]) -> None:
        self.pieces = pieces
        self.heard: list[Any] = []

    def reply(self, conversation: Any) -> Iterator[str]:
        self.heard.append(conversation)
        return self.pieces


def test_the_speaker_sees_part_finding_references_and_what_was_answered(
    station: Station, inspection: str, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    "".join(station.ask(inspection, "Where is it?", script))
    speaker = Speaker(iter(["Small."]))
    monkeypatch.setattr(build, "speaker", lambda *_, **__: speaker)
    assert list(station.ask(inspection, "How large?", script)) == ["Small."]
    [talk] = speaker.heard
    [(sample, found)] = talk.parts
    assert sample.image[7, 9, 0] == 0
    assert (sample.class_name, found.verdict) == ("cap", "anomalous")
    assert found.maps[0].shape == (40, 60)
    assert found.maps[0][7, 9] > 0.9 > 0.1 > found.maps[0][30, 50]
    assert found.regions[0].position == "top left"
    assert [turn.question for turn in talk.turns] == ["Where is it?", "How large?"]
    assert talk.turns[0].answer
    assert talk.references[0].image.min() == 240


def test_a_model_that_hangs_is_given_up_and_the_inspection_stands(
    shade: ModuleType, settings: ServiceSettings, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def hanging() -> Iterator[str]:
        yield "It "
        release.wait(10)

    monkeypatch.setattr(build, "speaker", lambda *_, **__: Speaker(hanging()))
    with Station(settings.model_copy(update={"talk_seconds": 1.5})) as station:
        shade.make_caps(station)
        id = station.wait(station.submit("caps", [shade.picture(0)]).id, 10).items[0].inspection
        before = station.inspection(id)
        answer = station.ask(id, "Where is it?", script)
        assert next(answer) == "It "
        with pytest.raises(ChatError, match=r"nothing for 1\.5 seconds"):
            next(answer)
        release.set()
        assert station.inspection(id) == before
        last = station.messages(id)[-1]
        assert (last.text, last.fault and last.fault.error) == ("It ", "ChatError")


def test_an_answer_that_nobody_waits_for_is_cut_off_and_closed(
    station: Station, inspection: str, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = threading.Event()

    def endless() -> Iterator[str]:
        try:
            while True:
                yield "and "
        finally:
            closed.set()

    monkeypatch.setattr(build, "speaker", lambda *_, **__: Speaker(endless()))
    answer: Any = station.ask(inspection, "Where is it?", script)
    next(answer)
    answer.close()
    assert closed.wait(5)
    last = station.messages(inspection)[-1]
    assert last.fault is not None
    assert last.fault.error == "Stopped"


def test_an_answer_that_failed_is_not_told_to_the_next_speaker(
    station: Station, inspection: str, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Iterator[str]:
        raise ChatError("The endpoint is away.")
        yield ""

    monkeypatch.setattr(build, "speaker", lambda *_, **__: Speaker(broken()))
    with pytest.raises(ChatError):
        list(station.ask(inspection, "Where is it?", script))
    speaker = Speaker(iter(["Here."]))
    monkeypatch.setattr(build, "speaker", lambda *_, **__: speaker)
    list(station.ask(inspection, "Well?", script))
    assert [turn.question for turn in speaker.heard[0].turns] == ["Well?"]


def test_questions_that_go_nowhere_are_refused_at_once(
    station: Station, inspection: str, script: str
) -> None:
    for question in ("", "  ", "x" * 4001):
        with pytest.raises(InputError):
            station.ask(inspection, question, script)
    with pytest.raises(OptionError, match="nobody to talk with"):
        station.ask(inspection, "Where?")
    with pytest.raises(OptionError):
        station.ask(inspection, "Where?", "nobody:x")
    assert station.messages(inspection) == ()


def test_only_allowed_models_may_be_named(
    shade: ModuleType, settings: ServiceSettings, script: str
) -> None:
    with Station(settings.model_copy(update={"language_models": ("openai:gpt-5",)})) as station:
        with pytest.raises(OptionError, match="allows openai:gpt-5"):
            station.create_line(
                NewLine(
                    "caps",
                    detector="shade",
                    language_model=script,
                    references=(shade.picture(),),
                )
            )
        assert station.lines() == ()
