"""Prices and bounds of tokens, against the providers' published examples."""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest

from blemish.llms.prices import Price, image_tokens, price_of, question_tokens, text_tokens
from blemish.types import Message


# OpenAI's guide to images works the first three out, and 2,353 for 1,452 patches at 1.62.
@pytest.mark.parametrize(
    ("model", "size", "detail", "tokens"),
    [
        ("gpt-4o", (1024, 1024), "high", 765),
        ("gpt-4o", (2048, 4096), "high", 1105),
        ("gpt-4o", (4096, 8192), "low", 85),
        ("gpt-4o", (2048, 768), "auto", 1445),
        ("gpt-4o", (8000, 10), "auto", 1445),
        ("gpt-4o-mini", (1024, 1024), "high", 25501),
        ("gpt-4.1-mini", (1024, 1024), "auto", 1659),
        ("gpt-6-luna", (768, 768), "auto", 692),
        ("gpt-6-luna", (9000, 9000), "auto", 12000),
    ],
)
def test_tokens_of_an_image(model: str, size: tuple[int, int], detail: str, tokens: int) -> None:
    assert image_tokens(model, *size, detail) == tokens


def test_the_bound_holds_where_the_exact_count_is_lower() -> None:
    assert image_tokens("gpt-4.1-mini", 1800, 2400, "auto") >= 2353


# As their processors count: Qwen2-VL 28 x 28 px a token, Pixtral 16 x 16 up to 1024 px, LLaVA-NeXT
# up to 2,880 for any image, Gemma 3 256, InternVL2 up to 13 tiles of 256.
@pytest.mark.parametrize(
    ("size", "tokens"),
    [((768, 768), 752), ((768, 768), 48 * 49), ((64, 64), 2880), ((896, 896), 256), ((9, 9), 3072)],
)
def test_an_unknown_model_is_taken_to_be_greedy(size: tuple[int, int], tokens: int) -> None:
    assert image_tokens("qwen2.5-vl", *size, "auto") >= tokens


def test_tokens_of_a_text_are_at_most_its_bytes() -> None:
    assert text_tokens("scratch") == 7
    assert text_tokens("划痕") == 6
    assert text_tokens("\udcf1") >= 1


def test_tokens_of_a_question() -> None:
    image = np.zeros((768, 768, 3), np.uint8)
    messages = [Message("system", "ab"), Message("user", "cd", (image, image))]
    bound = question_tokens("gpt-4o", messages, [(768, 768)] * 2, "high")
    assert 4 + 2 * 765 < bound < 4 + 2 * 765 + 300


def test_what_an_answer_costs() -> None:
    price = Price(input=2.0, output=10.0, cached=0.5, written=2.5)
    assert price.of(1_000_000, 100_000) == pytest.approx(3.0)
    assert price.of(1_000_000, 0, cached=400_000, written=200_000) == pytest.approx(
        0.4 * 2 + 0.4 * 0.5 + 0.2 * 2.5
    )
    assert price.most(1_000_000, 100_000) == pytest.approx(3.5)
    assert Price(2.0, 10.0).of(1_000_000, 0, cached=1_000_000) == pytest.approx(2.0)


def test_models_are_found_with_and_without_a_date() -> None:
    assert price_of("gpt-4o-2024-11-20") == price_of("gpt-4o")
    assert price_of("gpt-4o-2024-05-13") == Price(5, 15)
    assert price_of("gpt-4o-audio-preview") is None
    assert price_of("llava") is None


def test_the_table_is_whole_and_says_where_it_is_from() -> None:
    table = json.loads(files("blemish.llms").joinpath("prices.json").read_text("utf-8"))
    assert table["source"].startswith("https://")
    assert table["as_of"] >= "2026-11"
    for name, row in table["models"].items():
        price = price_of(name)
        assert price
        assert 0 < price.input < price.output
        assert (price.cached or 0) < price.input <= (price.written or price.input)
        assert ("tiles" in row) != ("patches" in row), name
