"""What a question costs: prices by model, and how many tokens it can have at most."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from blemish.types import Message

_MILLION = 1_000_000
_PER_MESSAGE = 16
"""Tokens around a message that no text shows: its role, its beginning and its end."""
_PER_QUESTION = 200
"""Tokens that a server may put before a conversation by itself, such as a system prompt."""
_OTHER_PATCHES = (5.3, 16_384)
"""An unknown model's image: no model known to us makes more than one token of 14 x 14 px."""
_OTHER_LEAST = 3072
"""LLaVA-NeXT makes nearly as many tokens even of a small picture, because it enlarges it."""


@dataclass(frozen=True)
class Price:
    """Money per million tokens.

    Attributes:
        input: of the prompt.
        output: of the answer, hidden reasoning included.
        cached: prompt tokens that the provider had in its cache; None where it costs the same.
        written: prompt tokens that the provider puts into its cache; None where it costs the same.
    """

    input: float
    output: float
    cached: float | None = None
    written: float | None = None

    def of(self, tokens_in: int, tokens_out: int, cached: int = 0, written: int = 0) -> float:
        """Money for an answer; `cached` and `written` are part of `tokens_in`."""
        plain = max(0, tokens_in - cached - written) * self.input
        kept = cached * (self.input if self.cached is None else self.cached)
        put = written * (self.input if self.written is None else self.written)
        return (plain + kept + put + tokens_out * self.output) / _MILLION

    def most(self, tokens_in: int, tokens_out: int) -> float:
        """Money for an answer with at most so many tokens, whatever the provider's cache does."""
        return (tokens_in * max(self.input, self.written or 0.0) + tokens_out * self.output) / (
            _MILLION
        )


@cache
def _table() -> Mapping[str, Mapping[str, Any]]:
    text = files("blemish.llms").joinpath("prices.json").read_text(encoding="utf-8")
    models: Mapping[str, Mapping[str, Any]] = json.loads(text)["models"]
    return models


def _row(model: str) -> Mapping[str, Any] | None:
    """A model's row, found without the date that a snapshot's name ends in."""
    table = _table()
    return table.get(model) or table.get(re.sub(r"-\d{4}-\d\d-\d\d$", "", model))


def price_of(model: str) -> Price | None:
    """The price in `prices.json`; None for a model that is not in it.

    >>> price_of("gpt-4o-2024-08-06")
    Price(input=2.5, output=10, cached=1.25, written=None)
    """
    row = _row(model)
    if row is None:
        return None
    return Price(row["input"], row["output"], row.get("cached"), row.get("written"))


def text_tokens(text: str) -> int:
    """At most how many tokens a text has: no tokenizer makes more than one of each byte."""
    return len(text.encode("utf-8", "replace"))


def image_tokens(model: str, width: int, height: int, detail: str) -> int:
    """At most how many prompt tokens an image has, by the provider's published rule.

    Args:
        model: as the endpoint names it; any other than a known one is taken to be greedy.
        width: in pixels, as sent.
        height: in pixels, as sent.
        detail: "low", "high", "original" or "auto".

    >>> image_tokens("gpt-4o", 768, 768, "high"), image_tokens("gpt-4o", 768, 768, "low")
    (765, 85)
    """
    row = _row(model) or {}
    if "tiles" in row:
        base, tile = row["tiles"]
        return int(base if detail == "low" else base + tile * _tiles(width, height))
    factor, most = row.get("patches", _OTHER_PATCHES)
    patches = min(math.ceil(width / 32) * math.ceil(height / 32), most)
    tokens: int = math.ceil(patches * factor)
    return tokens if row else max(tokens, _OTHER_LEAST)


def _tiles(width: int, height: int) -> int:
    """Tiles of 512 px after the image was fit into 2048 x 2048 and its short side made 768."""
    scale = min(1.0, 2048 / max(width, height))
    scale *= 768 / (min(width, height) * scale)
    long = min(2048, math.ceil(max(width, height) * scale - 1e-6))
    return math.ceil(long / 512) * math.ceil(768 / 512)


def question_tokens(
    model: str, messages: Sequence[Message], sizes: Sequence[tuple[int, int]], detail: str
) -> int:
    """At most how many prompt tokens a conversation has.

    Args:
        model: as the endpoint names it.
        messages: the conversation.
        sizes: (width, height) in pixels of each of its images, as sent.
        detail: of the images.
    """
    texts = sum(text_tokens(m.text) + _PER_MESSAGE for m in messages)
    return _PER_QUESTION + texts + sum(image_tokens(model, *size, detail) for size in sizes)
