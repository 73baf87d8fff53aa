"""Texts for CLIP: their tokens, and the embeddings that are kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blemish.encoders import _clip_texts, _clip_words
from blemish.encoders.clip import Clip
from blemish.errors import WeightsError
from blemish.settings import settings

Write = Callable[..., Any]
TEXTS = ["a cat", "a long cat", "b", "a cat", "A  CAT"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    settings.cache_clear()
    yield tmp_path / "cache" / "texts"
    settings.cache_clear()


@pytest.fixture
def tiny(tmp_path: Path, write_clip: Write) -> Path:
    write_clip(tmp_path / "tiny")
    return tmp_path / "tiny"


def kept(cache: Path) -> list[Path]:
    return sorted(p for p in cache.rglob("*") if p.is_file())


def no_tower(*_: Any) -> None:
    raise AssertionError("the text tower ran")


def test_kept_embeddings_are_the_same_bits(
    tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold = Clip(tiny).encode_text(TEXTS)
    assert cold.shape == (5, 48)
    np.testing.assert_allclose(np.linalg.norm(cold, axis=1), 1, atol=1e-6)
    assert np.array_equal(cold[0], cold[3])
    assert np.array_equal(cold[0], cold[4])  # CLIP reads lower case and single spaces
    assert len(kept(cache)) == 3
    again = Clip(tiny)
    monkeypatch.setattr(_clip_texts, "encoded", no_tower)
    assert np.array_equal(again.encode_text(TEXTS), cold)
    assert np.array_equal(again.encode_text(TEXTS[1:2]), cold[1:2])
    assert again.encode_text([]).shape == (0, 48)


def test_another_model_has_entries_of_its_own(
    tiny: Path, cache: Path, tmp_path: Path, write_clip: Write
) -> None:
    first = Clip(tiny).encode_text(["a cat"])
    write_clip(tmp_path / "other", seed=1)
    other = Clip(tmp_path / "other").encode_text(["a cat"])
    assert np.abs(first - other).max() > 0.01
    assert len(kept(cache)) == 2
    assert np.array_equal(Clip(tiny).encode_text(["a cat"]), first)


def test_a_damaged_or_unwritable_cache_changes_no_embedding(
    tiny: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cold = Clip(tiny).encode_text(["a cat"])
    (file,) = kept(cache)
    whole = file.read_bytes()
    for damaged in (whole[:-4], b"", whole[:40] + b"\0" + whole[41:]):
        file.write_bytes(damaged)
        assert np.array_equal(Clip(tiny).encode_text(["a cat"]), cold)
        assert file.read_bytes() == whole
    assert "damaged" in caplog.text
    file.unlink()
    file.parent.rmdir()
    file.parent.write_text("in the way")
    assert np.array_equal(Clip(tiny).encode_text(["a cat"]), cold)
    assert "could not be kept" in caplog.text


def test_a_file_appears_whole_or_not_at_all(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("os.replace", fail)
    made = np.ones((1, 3), np.float32)
    found = _clip_texts.embeddings([(1, 2)], lambda _: made, "model", cache)
    assert np.array_equal(found, made)
    assert kept(cache) == []


def test_a_text_is_embedded_alike_alone_and_among_others(tiny: Path) -> None:
    clip = Clip(tiny)
    texts = ["cat " * (1 + i % 9) for i in range(70)]
    tokens = [tuple(t) for t in clip._tokenizer(texts)["input_ids"]]
    together = _clip_texts.encoded(clip._model, tokens)
    for i in (0, 8, 40, 69):
        alone = _clip_texts.encoded(clip._model, [tokens[i]])
        np.testing.assert_allclose(alone[0], together[i], atol=1e-5)


def test_a_long_text_is_cut_and_that_is_said(tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip = Clip(tiny)
    with caplog.at_level(logging.WARNING):
        whole = clip.encode_text(["cat " * 10])  # 12 tokens, as many as the model takes
        assert "cut" not in caplog.text
        assert np.array_equal(clip.encode_text(["cat " * 11 + "b"]), whole)
    assert "reads 12 tokens" in caplog.text


def test_clips_own_vocabulary_from_open_clips_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the wheel lies in the cache that is shared
    settings.cache_clear()
    tokens = _clip_words.tokenizer(None, 49408)
    assert len(tokens) == 49408
    # As CLIP's own tokenizer gives them.
    assert tokens("a photo of a cat")["input_ids"] == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokens("A diagram.")["input_ids"] == [49406, 320, 22697, 269, 49407]


def test_a_vocabulary_from_its_lines() -> None:
    lines = ["# heading", "c a", "ca t</w>", "never read"]
    words, merges = _clip_words.vocabulary(lines, 516)
    assert merges == [("c", "a"), ("ca", "t</w>")]
    assert len(words) == len(set(words.values())) == 516
    expected = {"!": 0, "a": 64, "Ā": 188, "!</w>": 256, "ca": 512, "cat</w>": 513}
    expected |= {"<|startoftext|>": 514, "<|endoftext|>": 515}
    assert {word: words[word] for word in expected} == expected


def test_a_tokenizer_that_is_missing_or_of_another_model(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="has 516 words, its model 500"):
        _clip_words.tokenizer(tiny, 500)
    (tiny / "merges.txt").unlink()
    with pytest.raises(WeightsError, match=r"no tokenizer. Put its tokenizer.json"):
        Clip(tiny).encode_text(["cat"])
