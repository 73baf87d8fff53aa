"""From replies to verdict, score, places and map."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import blemish
from blemish.detectors._vqa_rounds import yes
from blemish.detectors.vqa import VQA
from blemish.errors import ChatError, OptionError
from blemish.llms.scripted import Scripted
from blemish.types import Example, Reply, Sample, Token, Usage

Make = Callable[..., VQA]
NORMAL = "No, there are no anomalies or defects in the image."


@pytest.mark.parametrize(
    ("reply", "verdict", "reason", "score"),
    [
        ("Yes, there is a crack at the top left.", "anomalous", "", 1.0),
        (NORMAL, "normal", "", 0.0),
        ("It cannot be determined from this picture.", "unsure", "hedged", 0.5),
        ("I'm sorry, I can't help with that image.", "unsure", "refused", None),
        ("", "unsure", "unparsed", None),
        ("Das Teil hat einen Kratzer und ist fehlerhaft.", "unsure", "unparsed", None),
        (Reply("There", ended="length"), "unsure", "unparsed", None),
        (Reply(NORMAL, ended="refused"), "unsure", "refused", None),
    ],
)
def test_verdict_reason_and_score(
    make: Make, part: Sample, reply: Any, verdict: str, reason: str, score: float | None
) -> None:
    (found,) = make([reply]).predict([part])
    assert (found.verdict, found.reason, found.score) == (verdict, reason, score)
    assert found.raw_score == score
    assert found.decided_by == "language model"
    assert bool(found.evidence["why"]) == (verdict == "unsure")


def test_place_words_become_cells_of_the_picture(make: Make, part: Sample) -> None:
    (found,) = make(["There is a dent in the centre and rust at the bottom right."]).predict([part])
    assert {region.position for region in found.regions} == {"centre", "bottom right"}
    assert found.anomaly_map is not None
    expected = np.zeros((90, 120), np.float32)
    expected[30:60, 40:80] = 1
    expected[60:90, 80:120] = 1
    assert (found.anomaly_map == expected).all()


def test_only_a_normal_part_has_an_empty_map(make: Make, part: Sample) -> None:
    (normal,) = make([NORMAL]).predict([part])
    assert normal.anomaly_map is not None
    assert not normal.anomaly_map.any()
    (somewhere,) = make(["Yes, the bottle is cracked."]).predict([part])
    assert somewhere.verdict == "anomalous"
    assert (somewhere.maps, somewhere.regions) == ((), ())


def test_words_do_not_say_which_of_two_frames_they_are_about(make: Make) -> None:
    frames = [np.zeros((30, 30, 3), np.uint8), np.zeros((60, 90, 3), np.uint8)]
    detector = make(["Yes, a person is lying at the left."])
    (found,) = detector.predict([Sample(frames, domain="scene")])
    assert [(region.view, region.position) for region in found.regions] == [
        (0, "left"),
        (1, "left"),
    ]
    assert [one.shape for one in found.maps] == [(30, 30), (60, 90)]


def test_an_answer_that_is_turned_round_is_contradicted(make: Make, part: Sample) -> None:
    said = ["Yes, there is a crack.", "On second thoughts, no. There are no anomalies."]
    (found,) = make(said, follow_ups=1).predict([part])
    assert (found.verdict, found.reason, found.score) == ("unsure", "contradicted", 0.5)


def test_a_verdict_that_comes_when_asked_again_counts(make: Make, part: Sample) -> None:
    said = ["It may be a scratch.", "Yes, there is a scratch at the top."]
    (found,) = make(said, follow_ups=1).predict([part])
    assert (found.verdict, found.reason, found.score) == ("anomalous", "", 1.0)


def test_a_mark_that_is_not_there_is_no_answer(make: Make, part: Sample) -> None:
    options = {"task": "industrial-localisation", "regions": "grid", "cells": 4}
    (found,) = make(["There is a crack in region 99."], **options).predict([part])
    assert (found.verdict, found.reason) == ("unsure", "unparsed")
    assert "99" in found.evidence["why"]


def test_an_answer_about_the_reference_is_none(make: Make, part: Sample) -> None:
    detector = make(["The first image shows a crack at the top."])
    fitted = detector.fit([Sample(np.zeros((9, 9, 3), np.uint8), "bottle")])
    (found,) = fitted.predict([part])
    assert (found.verdict, found.reason) == ("unsure", "unparsed")


def test_probabilities_of_a_closing_question_are_the_score(make: Make, part: Sample) -> None:
    first = "There is a scratch at the top."
    p_yes, p_no = 0.63, 0.27
    others = {"Yes": math.log(p_yes), "No": math.log(p_no), "The": math.log(0.1)}
    closing = Reply("Yes.", tokens=(Token("Yes", math.log(p_yes), others), Token(".", 0.0)))
    asked: list[int] = []

    class Model(Scripted):
        def chat(self, messages: Any, **how: Any) -> Reply:
            asked.append(how.get("logprobs", 0))
            return super().chat(messages, **how)

    (found,) = make(Model([first, closing]), scores="log-probabilities").predict([part])
    assert asked == [0, 20]
    assert found.raw_score == pytest.approx(p_yes / (p_yes + p_no))
    assert found.verdict == "anomalous"


def test_the_closing_question_is_not_asked_twice(make: Make, part: Sample) -> None:
    detector = make(["It may be a scratch.", "Yes."], scores="log-probabilities", follow_ups=5)
    (found,) = detector.predict([part])
    assert len(detector.language_model.asked) == 2  # type: ignore[attr-defined]
    assert (found.verdict, found.reason) == ("anomalous", "")


def test_yes_is_weighed_where_it_is_said() -> None:
    def token(text: str, **others: float) -> Token:
        return Token(text, math.log(0.5), {k: math.log(v) for k, v in others.items()})

    assert yes([token("**"), token(" Yes", no=0.25)]) == pytest.approx(0.5 / 0.75)
    assert yes([token("No", Yes=0.25, yes=0.25)]) == pytest.approx(0.5)
    assert yes([token("Maybe", Yes=0.4)]) is None
    assert yes([]) is None


@pytest.mark.parametrize(
    ("said", "verdict", "reason", "score"),
    [
        (["Yes, a crack.", "Yes, a crack.", "Yes, a dent."], "anomalous", "", 1.0),
        (["Yes, a crack.", "Yes, a crack.", NORMAL], "anomalous", "", 2 / 3),
        (["Yes, there is a crack.", NORMAL], "unsure", "contradicted", 0.5),
        ([NORMAL, "", ""], "unsure", "unparsed", None),
    ],
)
def test_repeats_are_averaged_and_their_agreement_told(
    make: Make, part: Sample, said: list[str], verdict: str, reason: str, score: float | None
) -> None:
    (found,) = make(said, repeats=len(said)).predict([part])
    assert (found.verdict, found.reason) == (verdict, reason)
    assert found.raw_score == (None if score is None else pytest.approx(score))
    told = found.evidence["repeats"]
    shares = [told["verdicts"].count(v) for v in ("normal", "anomalous", "unsure")]
    assert told["agreement"] == max(shares) / len(said)


def test_usage_of_all_rounds_counts(make: Make, part: Sample) -> None:
    said = [Reply(text, Usage(1, 100, 10, 0.5)) for text in ("Yes, a crack.", "At the top.")]
    (found,) = make(said, follow_ups=1).predict([part])
    assert (found.usage.model_calls, found.usage.tokens_in, found.usage.cost) == (2, 200, 1.0)


def test_results_come_in_order_and_one_error_lets_the_others_finish(make: Make) -> None:
    parts = [Sample(np.full((9, 9, 3), n, np.uint8), f"part{n}", id=str(n)) for n in range(20)]

    def rule(messages: Any) -> str:
        if "part7 " in messages[-1].text:
            raise ChatError("no answer")
        return "Yes, a crack." if int(messages[0].images[0][0, 0, 0]) % 2 else NORMAL

    detector = make(rule, prompt="class")
    good = [part for part in parts if part.id != "7"]
    found = detector.predict(good)
    assert [(one.id, one.verdict == "anomalous") for one in found] == [
        (part.id, int(part.id) % 2 == 1) for part in good
    ]
    detector.language_model.asked.clear()  # type: ignore[attr-defined]
    with pytest.raises(ChatError, match="no answer"):
        detector.predict(parts)
    assert len(detector.language_model.asked) == 20  # type: ignore[attr-defined]


def test_whatever_changes_results_changes_the_fingerprint(make: Make, part: Sample) -> None:
    plain = make(["x"])
    wanted = {
        plain.fingerprint,
        make(["y"]).fingerprint,
        make(["x"], prompt="naive").fingerprint,
        plain.fit([part]).fingerprint,
        plain.fit([replace(part, class_name="cable")]).fingerprint,
        plain.fit([], [Example(part, "anomalous", kind="dent")]).fingerprint,
    }
    assert len(wanted) == 6
    assert plain.fit([]) is plain


def test_what_is_saved_comes_back(make: Make, part: Sample, tmp_path: Path) -> None:
    script = tmp_path / "said.json"
    script.write_text('{"": "Yes, there is a crack at the top."}')
    model = f"scripted:{script}"
    told = Example(part, "anomalous", kind="dent")
    detector = blemish.load("vqa", language_model=model, prompt="naive").fit([part], [told])
    detector.save(tmp_path / "saved")
    again = blemish.load(tmp_path / "saved", language_model=model)
    assert again.fingerprint == detector.fingerprint
    (one,), (two,) = detector.predict([part]), again.predict([part])
    assert (one.verdict, one.evidence["conversations"][0][0]["prompt"]) == (
        two.verdict,
        two.evidence["conversations"][0][0]["prompt"],
    )
    assert "dent" in two.evidence["conversations"][0][0]["prompt"]


def test_a_calibration_is_refused(make: Make) -> None:
    detector = make([])
    assert detector.with_calibration(None) is detector
    with pytest.raises(OptionError, match="not by a calibration"):
        detector.with_calibration(object())
