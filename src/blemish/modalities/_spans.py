"""Stretches of time with a score: joined where they are equal, and put into words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Span = tuple[float, float, float]
"""Start, end, score in [0, 1]."""

NAMED = 5
"""Stretches that a sentence names; the others are counted."""


def merged(edges: Sequence[float], scores: Sequence[float]) -> tuple[Span, ...]:
    """Spans in order without gaps, neighbours of an equal score joined, empty ones left out.

    Args:
        edges: N + 1 times that do not fall.
        scores: N, in [0, 1].

    >>> merged([0, 1, 2, 5], [0.0, 0.0, 0.9])
    ((0.0, 2.0, 0.0), (2.0, 5.0, 0.9))
    """
    spans: list[Span] = []
    for start, end, score in zip(edges, edges[1:], scores, strict=False):
        if end <= start:
            continue
        if spans and spans[-1][2] == score:
            spans[-1] = (spans[-1][0], float(end), float(score))
        else:
            spans.append((float(start), float(end), float(score)))
    return tuple(spans)


def highest(
    parts: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[Span, ...]:
    """Spans over parts that may overlap; where they do, the higher score counts.

    Args:
        parts: one or more (edges, scores): (N + 1,) float64 times that rise and (N,) float64
            scores in [0, 1]. Together they leave no time out.
    """
    # Edges that differ by rounding alone are one.
    edges = np.unique(np.concatenate([edge for edge, _ in parts]))
    tiny = min(float(np.diff(edge).min()) for edge, _ in parts) * 1e-6
    edges = edges[np.append(np.diff(edges) > tiny, True)]
    scores = np.zeros(len(edges) - 1)
    for edge, score in parts:
        first, last = np.searchsorted(edges, edge[[0, -1]] - tiny)
        middle = (edges[first:last] + edges[first + 1 : last + 1]) / 2
        which = np.searchsorted(edge, middle, side="right") - 1
        np.maximum(scores[first:last], score[which], out=scores[first:last])
    return merged(edges.tolist(), scores.tolist())


def in_words(stretches: Iterable[tuple[float, float]], say: Callable[[float], str]) -> str:
    """Where in time, such as "from 12.0 s to 14.5 s and from 20.0 s to 21.0 s".

    Args:
        stretches: start and end, by start; those that touch or overlap are joined.
        say: what a person calls a time.
    """
    joined: list[tuple[float, float]] = []
    for start, end in stretches:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    words = [f"from {say(start)} to {say(end)}" for start, end in joined[:NAMED]]
    if len(joined) > NAMED:
        words.append(f"in {len(joined) - NAMED} more places")
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else "".join(words)
