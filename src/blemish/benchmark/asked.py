"""What asking a language model gave besides verdicts: its bill, and how far its answers agree.

Detectors that ask one say so in the evidence of their rows: "language_model" and "answered_by", by
name; what came back, as "replies" in each of "views" or as "conversations"; and "repeats" where a
question was repeated, in its view or for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from blemish.errors import UndefinedMetricError
from blemish.runs.folder import Row

PAID = ("model_calls", "tokens_in", "tokens_out", "cost")
"""Of a row's usage. An answer that was read from the cache adds nothing."""
UNSURE = ("refused", "unparsed", "hedged", "contradicted")
"""Reasons for "unsure" that are counted apart."""


def record(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Who was asked about a cell's pictures, how often, and what came of it.

    Args:
        rows: of the pictures that count.

    Returns:
        None where no language model was asked; else "name", "answered_by" (as the endpoint names
        it), "pictures", "answers" (those from the cache included), what was paid ("model_calls",
        "tokens_in", "tokens_out", "cost"), "unsure" and, of those, each reason of `UNSURE`.
    """
    told = [row for row in rows if "answered_by" in row.get("evidence", {})]
    if not told:
        return None
    evidence = [row["evidence"] for row in told]
    return {
        "name": evidence[0].get("language_model", ""),
        "answered_by": sorted({name for one in evidence for name in one["answered_by"]}),
        "pictures": len(told),
        "answers": sum(map(_answers, told)),
        **{name: sum(row["usage"][name] for row in told) for name in PAID},
        "unsure": sum(row["verdict"] == "unsure" for row in told),
        **{reason: sum(row["reason"] == reason for row in told) for reason in UNSURE},
    }


def writers(rows: Sequence[Row]) -> list[str]:
    """Who wrote the texts that pictures were compared with, as detectors say it in "prompts"."""
    told = [row.get("evidence", {}).get("prompts") for row in rows]
    return sorted({one["by"] for one in told if isinstance(one, dict) and "by" in one})


def now(row: Row) -> bool:
    """Whether a picture took as long as it takes: none of its answers was there already."""
    answers = _answers(row)
    return not answers or bool(row["usage"]["model_calls"] >= answers)


def repeated(rows: Sequence[Row]) -> bool:
    """Whether a question was asked more than once."""
    return any(True for _ in _repeats(rows))


def agreement(rows: Sequence[Row]) -> float:
    """How far the answers to a repeated question flag the same regions, mean over pictures.

    Raises:
        UndefinedMetricError: no picture has two answers that can be read.
    """
    return _mean(rows, "agreement")


def score_spread(rows: Sequence[Row]) -> float:
    """The standard deviation of the image score over a repeated question, mean over pictures.

    Raises:
        UndefinedMetricError: no picture has two answers that can be read.
    """
    return _mean(rows, "image_score_spread")


def _mean(rows: Sequence[Row], name: str) -> float:
    found = [
        fmean(repeats[name] for repeats in views)
        for row in rows
        if (views := [one for one in _repeats([row]) if one["read"] > 1])
    ]
    if not found:
        raise UndefinedMetricError(
            "This needs two answers to the same question that can be read (option repeats)."
        )
    return fmean(found)


def _repeats(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    for row in rows:
        evidence = row.get("evidence", {})
        for place in (evidence, *evidence.get("views", ())):
            if "repeats" in place:
                yield place["repeats"]


def _answers(row: Row) -> int:
    evidence = row.get("evidence", {})
    views = sum(len(view.get("replies", ())) for view in evidence.get("views", ()))
    return views + sum(map(len, evidence.get("conversations", ())))
