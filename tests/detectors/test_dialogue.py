"""AnomalyGPT's own language model in a dialogue: what it reads, what it may say, its window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import blemish
from blemish.conversation import Conversation, Speaker
from blemish.detectors._chat_speaker import ChatSpeaker
from blemish.detectors._dialogue import OwnSpeaker
from blemish.errors import OptionError
from blemish.llms.scripted import Scripted
from blemish.types import Inspection, Region, Sample

IMAGE = np.full((90, 90, 3), 200, np.uint8)
PICTURE = -7.0
"""What stands for a picture's rows, less its number."""


class Letters:
    """A language model whose tokens are letters; it keeps what it read and says what it is told."""

    name, device = "letters", "cpu"

    def __init__(self, says: str = "", window: int = 100_000) -> None:
        self.says, self.window = says, window
        self.read: list[str] = []
        self.closed = self.left = 0

    def tokens(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def embed(self, text: str) -> torch.Tensor:
        return torch.tensor(self.tokens(text), dtype=torch.float32)[:, None].repeat(1, 2)

    def stream(self, prompt: torch.Tensor, *, prefix: str, most: int, stop: Any) -> Iterator[str]:
        self.left = self.window - len(prompt) - len(prefix) - most
        assert self.left > 0
        rows = [f"[{int(PICTURE - v)}]" if v < 0 else chr(int(v)) for v in prompt[:, 0].tolist()]
        self.read.append(prefix + "".join(rows))
        try:
            yield from self.says
        finally:
            self.closed += 1


def part(number: int, verdict: Any = "anomalous") -> tuple[Sample, Inspection]:
    """A part; an anomalous one is marked at the top left."""
    region = Region(1, (5, 5, 20, 20), np.ones((15, 15), bool), 0.9, "top left")
    regions = (region,) if verdict == "anomalous" else ()
    words = f"Words of {number}."
    found = Inspection(str(number), verdict, "calibration", regions=regions, explanation=words)
    return Sample(IMAGE, "bottle", id=str(number)), found


def speaker(model: Letters, seen: list[str] | None = None, **how: Any) -> OwnSpeaker:
    def rows(sample: Sample, inspection: Inspection) -> torch.Tensor:
        if seen is not None:
            seen.append(sample.id)
        return torch.full((2, 2), PICTURE - float(sample.id))

    return OwnSpeaker("anomalygpt", model, rows, **{"described": False} | how)


def said(model: Letters, talk: Conversation, **how: Any) -> str:
    return "".join(speaker(model, **how).reply(talk))


def test_the_verdict_opens_what_is_read_and_the_turns_follow() -> None:
    model = Letters("The anomaly is at the top left of the image.")
    talk = Conversation().show(*part(1)).ask("Where is it?").answered("At the top left.")
    assert said(model, talk.ask("Is it large?").answered("No.").ask("Where exactly?")) == model.says
    assert model.read == [
        "### Human: <Img>[1]</Img> [1]Is there any anomaly in the image?\n### Assistant:"
        " Words of 1.\n"
        "### Human: Where is it?\n### Assistant: At the top left.\n"
        "### Human: Is it large?\n### Assistant: No.\n"
        "### Human: Where exactly?\n### Assistant:"
    ]


def test_without_history_it_reads_the_part_and_the_question() -> None:
    model = Letters("The anomaly is at the top left of the image.")
    talk = Conversation().show(*part(1)).ask("Is it large?").answered("No.").ask("Where is it?")
    said(model, talk, history=False)
    assert model.read == ["### Human: <Img>[1]</Img> [1]Where is it?\n### Assistant:"]


def test_of_several_parts_the_one_in_question_is_read_last() -> None:
    model = Letters("The anomaly is at the top left of the image.")
    talk = Conversation().show(*part(1)).show(*part(2)).ask("Where is it?", 1).answered("There.")
    said(model, talk.ask("Where is it?", 0))
    (read,) = model.read
    assert [read.count(f"[{n}]") for n in (1, 2)] == [2, 2]
    assert read.index("[2]") < read.index("There.") < read.index("[1]")
    assert read.endswith("Words of 1.\n### Human: Where is it?\n### Assistant:")


def test_the_oldest_turns_are_left_out_where_the_window_is_full() -> None:
    talk = Conversation().show(*part(1)).show(*part(2))
    for number in range(40):
        talk = talk.ask(f"Is it number {number}?", number % 2).answered(f"Reply {number}.")
    talk = talk.ask("Where is it?", 1)
    kept = []
    for window in (250, 700, 1400, 100_000):
        model = Letters("The anomaly is at the top left of the image.", window)
        said(model, talk)
        (read,) = model.read
        assert read.count("[2]") == 2
        assert ("[1]" in read) == (window > 250)
        kept.append([n for n in range(40) if f"Reply {n}." in read])
        if window > 250:  # else the turns about the part that is left out are left out too
            assert sorted(kept[-1]) == list(range(40 - len(kept[-1]), 40))
        if window < 100_000:
            assert model.left < 80  # no further turn would fit
    assert [len(some) for some in kept] == sorted(len(some) for some in kept)
    assert len(kept[-1]) == 40


def test_a_window_that_holds_the_question_only_still_shows_the_part() -> None:
    model = Letters("The anomaly is at the top left of the image.", 64 + 60)
    said(model, Conversation().show(*part(1)).ask("Where is it?"))
    assert model.read == ["### Human: <Img>[1]</Img> [1]Where is it?\n### Assistant:"]


def test_a_question_longer_than_the_window_is_refused_in_words() -> None:
    model = Letters("", 1000)
    with pytest.raises(OptionError, match=r"letters reads 1000 with .*Ask in fewer words"):
        said(model, Conversation().show(*part(1)).ask("Where is it? " * 100))
    assert model.read == []


def test_a_part_is_seen_once() -> None:
    seen: list[str] = []
    speaks = speaker(Letters("At the top left of the image."), seen)
    talk = Conversation().show(*part(1)).show(*part(2))
    for number in (0, 1, 0):
        talk = talk.ask("Where is it?", number)
        talk = talk.answered("".join(speaks.reply(talk)))
    assert sorted(seen) == ["1", "2"]


@pytest.mark.parametrize("question", ["What caused it?", "Wo ist der Fehler?", "Show me it"])
def test_what_it_cannot_know_is_not_asked(question: str) -> None:
    model = Letters("It fell.")
    answer = said(model, Conversation().show(*part(1)).ask(question))
    assert model.read == []
    assert "to answer questions" in answer


def test_words_that_lower_the_finding_are_contradicted() -> None:
    model = Letters("No, there is no anomaly in the image.")
    answer = said(model, Conversation().show(*part(1)).ask("Is the part broken?"))
    assert answer.startswith(f"{model.says} The map says otherwise: Yes, ")
    assert "at the top left of the image" in answer


def test_a_model_that_says_nothing_is_replaced_by_the_map() -> None:
    answer = said(Letters(), Conversation().show(*part(1)).ask("Where is it?"))
    assert answer.startswith("The map says otherwise: ")


def test_general_talk_is_marked_as_no_evidence() -> None:
    answer = said(Letters("A thin edge."), Conversation().show(*part(1)).ask("What is a burr?"))
    assert answer == "(These are the language model's own words, not evidence.) A thin edge."


def test_only_a_question_about_the_part_comes_with_its_description() -> None:
    model = Letters("The anomaly is at the top left of the image.")
    for question in ("Where is it?", "What is a burr?"):
        talk = Conversation().show(*part(1)).ask(question)
        said(model, talk, described=True, history=False)
    assert ["This is a photo of a bottle" in read for read in model.read] == [True, False]


def test_closing_the_stream_ends_the_model() -> None:
    model = Letters("The anomaly is at the top left of the image.")
    stream: Any = speaker(model).reply(Conversation().show(*part(1)).ask("Where is it?"))
    assert model.read == []
    assert next(stream) == "T"
    assert model.closed == 0
    stream.close()
    assert model.closed == 1
    assert list(stream) == []


@pytest.fixture
def detector(stand_ins: ModuleType, tmp_path: Path) -> Any:
    """AnomalyGPT over stand-ins, fitted on good parts with a line."""
    reader = stand_ins.Reader

    class Talker(reader):  # type: ignore[misc,valid-type]
        def tokens(self, text: str) -> list[int]:
            return [0] * len(text)

        def stream(self, prompt: Any, **_: Any) -> Iterator[str]:
            yield self.generate([prompt])[0].text

    folder = stand_ins.reading_adapter(tmp_path / "adapter", "cells")

    def made(**parts: Any) -> Any:
        given = {"encoder": stand_ins.Cells(), "language_model": Talker(), "adapter": str(folder)}
        return blemish.load("anomalygpt", device="cpu", **given | parts).fit([lines(0), lines(1)])

    return made


def lines(seed: int, spot: bool = False) -> Sample:
    """A grey part with noise; `spot` is black at the bottom right."""
    image = np.random.default_rng(seed).integers(150, 170, (112, 112, 3), dtype=np.uint8)
    if spot:
        image[80:100, 80:100] = 0
    return Sample(image, "plate", id=str(seed))


def test_the_detector_speaks_of_what_it_found(detector: Any) -> None:
    judge = detector()
    bad = lines(5, spot=True)
    (found,) = judge.predict([bad])
    assert found.verdict == "anomalous"
    speaks = judge.speaker()
    assert isinstance(speaks, Speaker)
    talk = Conversation().show(bad, found).ask("Where is it?")
    assert "".join(speaks.reply(talk)).startswith(found.explanation)
    own = Sample(bad.image, "plate", references=(lines(0), lines(1)))
    (again,) = judge.predict([own])
    assert "".join(speaks.reply(Conversation().show(own, again).ask("Where is it?"))).startswith(
        again.explanation
    )


def test_a_detector_without_a_language_model_says_who_could_talk(detector: Any) -> None:
    with pytest.raises(OptionError, match="--llm"):
        detector(language_model=None).speaker()


def test_a_chat_model_speaks_where_one_is_given(detector: Any) -> None:
    """Verdict and score stay; words that contradict the finding make it unsure."""
    plain = detector()
    (own,) = plain.predict([lines(5, spot=True)])
    for words, verdict in (("A hole at the bottom right.", "anomalous"), ("All OK.", "unsure")):
        judge = detector(speaker=Scripted([words, words]))
        assert judge.fingerprint != plain.fingerprint
        (found,) = judge.predict([lines(5, spot=True)])
        assert (found.verdict, found.score) == (verdict, own.score)
        assert words in found.explanation
        assert found.usage.model_calls == own.usage.model_calls + 1
        assert isinstance(judge.speaker(), ChatSpeaker)
