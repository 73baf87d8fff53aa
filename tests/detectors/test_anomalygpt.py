"""AnomalyGPT's learnt parts, its adapters, and what becomes of an answer and a map."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from blemish.calibration import Calibration
from blemish.detectors import _adapter, _anomalygpt_turn, _answer
from blemish.detectors._adapter import AdapterConfig
from blemish.detectors._anomalygpt_modules import (
    CompactPromptLearner,
    Decoder,
    PublishedPromptLearner,
    parameters,
)
from blemish.detectors.anomalygpt import AnomalyGPT, AnomalyGPTOptions
from blemish.errors import SavedError, WeightsError
from blemish.prompts import anomalygpt as prompts
from blemish.regions.from_map import begin
from blemish.synthesis.procedural import make_part
from blemish.types import Inspection, Region, Sample

OPTIONS: Any = AnomalyGPTOptions
CONFIG = AdapterConfig(
    *("anomalygpt", "cells", (1, 2), 13, 5, True, "parrot", 8, 0.1), trained_on="nothing"
)


def test_the_decoder_is_equation_1() -> None:
    torch.manual_seed(0)
    decoder = Decoder([3, 3], 4).requires_grad_(False)
    tokens = [torch.randn(2, 2, 3, 3) for _ in range(2)]
    found = decoder(tokens)
    for n, y, x in np.ndindex(2, 2, 3):
        shares = []
        for fc, layer in zip(list(decoder.fc), tokens, strict=True):
            row = fc(layer[n, y, x]).numpy()
            assert decoder.texts is not None
            texts = decoder.texts.numpy()
            cosines = texts @ row / np.linalg.norm(texts, axis=1) / np.linalg.norm(row)
            powers = np.exp(100 * (cosines - cosines.max()))
            shares.append(powers[1] / powers.sum())
        assert found[n, y, x] == pytest.approx(np.mean(shares), abs=1e-4)


def test_the_decoder_brings_layers_to_the_finest_grid() -> None:
    torch.manual_seed(0)
    decoder = Decoder([3, 3], 4).requires_grad_(False)
    fine, coarse = torch.randn(1, 4, 6, 3), torch.randn(1, 1, 1, 3)
    everywhere = coarse.expand(1, 4, 6, 3)
    torch.testing.assert_close(decoder([fine, coarse]), decoder([fine, everywhere]))


def test_texts_of_an_encoder_that_has_them_take_the_place_of_learnt_ones() -> None:
    decoder = Decoder([3], 4, learned=False).requires_grad_(False)
    tokens, texts = [torch.randn(1, 2, 2, 3)], torch.randn(2, 4)
    assert "texts" not in dict(decoder.named_parameters())
    torch.testing.assert_close(decoder(tokens, texts), 1 - decoder(tokens, texts.flip(0)))


def test_the_published_prompt_learner_has_the_published_size_and_names() -> None:
    """107.4 million numbers at Vicuna's width: table V of document 002."""
    with torch.device("meta"):
        learner = PublishedPromptLearner(4096)
    assert parameters(learner) == pytest.approx(107.4e6, rel=1e-3)
    names = {name.split(".")[0] for name, _ in learner.named_parameters()}
    assert names == {"meta_net", "base_prompts"}
    small = PublishedPromptLearner(6)
    assert small(torch.rand(2, 224, 224)).shape == (2, 18, 6)


def test_a_cell_of_the_map_changes_its_own_embedding_most() -> None:
    torch.manual_seed(0)
    learner = CompactPromptLearner(16, 0.1).eval()
    plain = torch.full((1, 112, 112), 0.1)
    marked = plain.clone()
    marked[0, 80:105, 5:30] = 0.9  # the cell at the bottom left, the seventh
    with torch.no_grad():
        change = (learner(marked) - learner(plain)).norm(dim=-1)[0]
    assert change[:4].max() == 0  # the base embeddings
    assert int(change[4:].argmax()) == 6
    with torch.no_grad():
        assert learner(plain)[0, 4:].std() == pytest.approx(0.1, rel=0.05)


def test_an_adapter_comes_back(tmp_path: Path) -> None:
    made = _adapter.modules(CONFIG)
    _adapter.write(tmp_path / "a", CONFIG, made)
    config, back = _adapter.read(tmp_path / "a")
    assert config == CONFIG
    for name, module in made.items():
        state = back[name].state_dict()
        for key, tensor in module.state_dict().items():
            torch.testing.assert_close(state[key], tensor)
        assert not any(p.requires_grad for p in back[name].parameters())


def test_a_damaged_adapter_is_told(tmp_path: Path) -> None:
    with pytest.raises(SavedError, match="cannot be used"):
        _adapter.read(tmp_path)
    _adapter.write(tmp_path, CONFIG, _adapter.modules(CONFIG))
    (tmp_path / _adapter.TENSORS).write_bytes(b"nothing")
    with pytest.raises(SavedError, match="Restore it from a copy"):
        _adapter.read(tmp_path)
    said = json.loads((tmp_path / _adapter.CONFIG).read_text())
    (tmp_path / _adapter.CONFIG).write_text(json.dumps(said | {"version": 9}))
    with pytest.raises(SavedError, match="has format 9; this version of blemish reads format 1"):
        _adapter.read(tmp_path)


@pytest.mark.parametrize(
    ("encoder", "model", "width", "kind", "words"),
    [
        ("dinov2-small", "parrot", 8, "anomalygpt", "trained on the encoder cells"),
        ("cells", "parrot", 9, "anomalygpt", "have 8 values; those of parrot have 9"),
        ("cells", "cockatoo", 8, "anomalygpt", "trained with parrot, and cockatoo came"),
        ("cells", "parrot", 8, "iad-gpt", "is one of anomalygpt, not of iad-gpt"),
    ],
)
def test_an_adapter_of_other_parts_is_refused(
    encoder: str, model: str, width: int, kind: str, words: str
) -> None:
    parts = SimpleNamespace(name=encoder), SimpleNamespace(name=model, width=width)
    with pytest.raises(WeightsError, match=words):
        _adapter.check(CONFIG, Path("a"), *parts, kind)


def found(verdict: Any, score: float) -> Inspection:
    region = Region(1, (0, 0, 2, 2), np.ones((2, 2), bool), 0.9, "top left")
    return Inspection(
        id="p",
        verdict=verdict,
        decided_by="calibration",
        reason="inside the band" if verdict == "unsure" else "",
        score=score,
        raw_score=score,
        maps=(np.zeros((6, 6), np.float32),),
        regions=() if verdict == "normal" else (region,),
        explanation="The map says so.",
    )


YES = "Yes, there is an anomaly in the image, at the top left of the image."
NO = "No, there are no anomalies in the image."


def answer(text: str, probability: float) -> Any:
    return _answer.Answer(text, text, probability, prompts.read(text))


@pytest.mark.parametrize(
    ("map_says", "text", "verdict", "reason"),
    [
        ("anomalous", YES, "anomalous", ""),
        ("normal", NO, "normal", ""),
        ("unsure", YES, "anomalous", ""),
        ("unsure", NO, "normal", ""),
        ("anomalous", NO, "unsure", "contradicted"),
        ("normal", YES, "unsure", "contradicted"),
        ("anomalous", "The bottle is nice.", "unsure", "unparsed"),
    ],
)
def test_words_never_lower_a_finding_of_the_map(
    map_says: str, text: str, verdict: str, reason: str
) -> None:
    score = {"anomalous": 0.9, "normal": 0.1, "unsure": 0.5}[map_says]
    fused = _answer.fused(found(map_says, score), answer(text, 0.7))
    assert (fused.verdict, fused.reason) == (verdict, reason)
    assert (fused.decided_by, fused.score) == ("language model", 0.7)
    assert fused.evidence["map"] == {"verdict": map_says, "score": score}
    if verdict == "anomalous":
        assert fused.evidence["places_agree"]
    if reason == "contradicted":
        assert text in fused.explanation
        assert "The map says so." in fused.explanation
    if verdict == "normal":
        assert fused.regions == ()


def test_a_place_that_the_map_does_not_mark_is_told() -> None:
    text = "Yes, there is an anomaly in the image, at the bottom right of the image."
    fused = _answer.fused(found("anomalous", 0.9), answer(text, 0.9))
    assert not fused.evidence["places_agree"]
    assert fused.evidence["answer_names"] == ["bottom right"]
    assert fused.evidence["map_marks"] == ["top left"]
    assert fused.explanation == f"{text} The map marks another place: top left."
    right = _answer.fused(found("anomalous", 0.9), answer(YES, 0.9))
    assert right.explanation == YES


def test_a_turn_has_the_picture_and_the_map_in_their_places() -> None:
    class Words:
        device = "cpu"

        def embed(self, text: str) -> torch.Tensor:
            return torch.full((len(text), 4), float(len(text)))

    rows = torch.arange(3.0)[:, None].repeat(1, 4) - 10
    slots = prompts.prompt("Is there any anomaly in the image?")
    turn = _anomalygpt_turn.arranged(Words(), rows, slots)
    between, after = len(slots.between), len(slots.after)
    expected = [-10, *[between] * between, -9, -8, *[after] * after]
    assert turn[:, 0].tolist() == expected


def test_maps_of_any_size_are_read() -> None:
    assert _anomalygpt_turn.squared(np.full((30, 500), 0.25, np.float32), 112) == pytest.approx(
        0.25
    )
    assert replace(CONFIG, width=9) != CONFIG


def test_a_part_that_fills_a_tenth_of_the_picture(stand_ins: Any, tmp_path: Path) -> None:
    """Its anomaly is found, and placed in the picture, not in the part."""

    def small(seed: int, spot: bool = False) -> Sample:
        part = make_part("brushed", seed, size=(70, 70)).sample.image.copy()
        if spot:
            part[20:44, 24:48] = 10
        picture = np.full((224, 224, 3), 200, np.uint8)
        picture[149:219, 149:219] = part
        return Sample(picture)

    encoder = stand_ins.Cells()
    folder = stand_ins.reading_adapter(tmp_path, encoder.name)
    detector = AnomalyGPT(
        encoder=encoder,
        language_model=stand_ins.Reader(),
        options=OPTIONS(adapter=str(folder), size=224),
    ).fit([small(seed) for seed in range(6)])
    good, bad = detector.predict([small(20), small(21, spot=True)])
    assert (good.verdict, bad.verdict) == ("normal", "anomalous")
    assert bad.evidence["answer_names"] == ["bottom right"]
    assert bad.evidence["places_agree"]


def test_a_map_that_is_raised_as_a_whole_is_shown_from_where_its_regions_begin() -> None:
    point = Calibration.from_normals([0.1, 0.12, 0.11])
    raw = np.full((60, 60), 2 * point.threshold, np.float32)
    raw[:10, :10] = 9 * point.threshold
    shown = _anomalygpt_turn.scored(raw, point)
    assert isinstance(shown, np.ndarray)
    np.testing.assert_array_equal(shown > 0.5, raw >= begin(raw, point.threshold))
    quiet = np.where(raw > raw.min(), raw, 0.1 * point.threshold).astype(np.float32)
    np.testing.assert_array_equal(_anomalygpt_turn.scored(quiet, point), point.score(quiet))
    both = _anomalygpt_turn.scored([raw, raw[::2, ::2]], point)
    assert [m.shape for m in both] == [(60, 60), (30, 30)]
