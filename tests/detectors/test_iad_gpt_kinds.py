"""The kind of an anomaly, as IAD-GPT ranks it: in the inspection, and in a dialogue."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blemish.conversation import Conversation
from blemish.errors import OptionError
from blemish.prompts import dialogue, generated
from blemish.synthesis.procedural import make_part
from blemish.types import Inspection, Sample

KIND = "What kind of anomaly is it?"


def part(seed: int, defect: str | None = None, name: str = "carpet") -> Sample:
    sample = make_part("brushed", seed, defect=defect, size=(112, 112)).sample
    return replace(sample, class_name=name)


GOOD = [part(seed) for seed in range(8)]


def test_an_anomaly_is_found_placed_and_its_kind_ranked(
    captions: Any, reading_iad_gpt: Callable[..., Any]
) -> None:
    detector = reading_iad_gpt(captions).fit(GOOD)
    bad = part(9, "stain")
    good, found = detector.predict([part(8), bad])
    assert (good.verdict, found.verdict) == ("normal", "anomalous")
    assert "kinds" not in good.evidence
    assert good.evidence["kinds_by"] == "written for this project"
    known = generated.bank("carpet", "apg")
    assert known is not None
    picture = captions.embed([bad.image])[0]
    weights = {
        name: math.exp(100 * float(captions.encode_text([text])[0] @ picture))
        for name, text in zip(known.descriptors, known.abnormal, strict=True)
    }
    expected = sorted(weights, key=lambda name: -weights[name])
    assert [name for name, _ in found.evidence["kinds"]] == expected
    for name, share in found.evidence["kinds"]:
        assert share == pytest.approx(weights[name] / sum(weights.values()), abs=1e-4)
    ranking = dialogue.finding(bad, found).kinds
    assert f'"{expected[0]}" fits best' in ranking
    assert found.explanation == f"{found.evidence['answer']} {ranking}"


def test_the_kind_is_answered_from_the_ranking(
    captions: Any, reading_iad_gpt: Callable[..., Any]
) -> None:
    """Figure 8; where the verdict is unsure that is said first, of a normal part no kind."""
    detector, bad = reading_iad_gpt(captions).fit(GOOD), part(9, "stain")
    (found,) = detector.predict([bad])
    ranking = dialogue.finding(bad, found).kinds
    assert _answer(detector, bad, found) == ranking
    unsure = replace(found, verdict="unsure", reason="contradicted")
    said = _answer(detector, bad, unsure)
    assert said.endswith(ranking)
    assert said != ranking
    normal = dialogue.finding(bad, replace(found, verdict="normal", regions=()))
    assert dialogue.by_rule(dialogue.about(KIND), normal, "carpet") is None


def _answer(detector: Any, sample: Sample, found: Inspection) -> str:
    return "".join(detector.speaker().reply(Conversation().show(sample, found).ask(KIND)))


def test_without_a_text_tower_no_kind_is_named(
    cells: Any, reading_iad_gpt: Callable[..., Any]
) -> None:
    detector, bad = reading_iad_gpt(cells).fit(GOOD), part(9, "stain")
    (found,) = detector.predict([bad])
    assert found.verdict == "anomalous"
    assert "kinds" not in found.evidence
    assert found.explanation == found.evidence["answer"]
    said = _answer(detector, bad, found)
    assert said == found.evidence["no_kinds"]
    assert "the encoder cells has no text tower" in said
    assert "--llm" in said
    with pytest.raises(OptionError, match="encoder cells has no text tower that reads prompts"):
        reading_iad_gpt(cells, prompts="some.json")


def test_a_class_without_prompts_goes_without(
    captions: Any, reading_iad_gpt: Callable[..., Any]
) -> None:
    detector = reading_iad_gpt(captions).fit([replace(g, class_name="gizmo") for g in GOOD])
    bad = part(9, "stain", "gizmo")
    (found,) = detector.predict([bad])
    assert "kinds" not in found.evidence
    assert "no prompts for the class 'gizmo'" in found.evidence["no_kinds"]
    assert "--style apg" in _answer(detector, bad, found)


def test_prompts_of_a_persons_own_file(
    captions: Any, reading_iad_gpt: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "gizmo.json"
    texts = ["hole: an abnormal gizmo has a hole", "bend: an abnormal gizmo has a bent arm"]
    made = generated.Generated("gizmo", "apg", (), tuple(texts), ("hole", "bend"))
    generated.write(made, file)
    detector = reading_iad_gpt(captions, prompts=str(file))
    bad = part(9, "stain", "gizmo")
    (found,) = detector.fit([replace(g, class_name="gizmo") for g in GOOD]).predict([bad])
    assert {name for name, _ in found.evidence["kinds"]} == {"hole", "bend"}
    assert found.evidence["kinds_by"] == "by hand"
    said = json.loads(file.read_text())
    said["abnormal"][0] = "hole: an abnormal gizmo has a burnt hole"
    file.write_text(json.dumps(said))
    assert reading_iad_gpt(captions, prompts=str(file)).fingerprint != detector.fingerprint
