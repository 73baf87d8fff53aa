"""Which prompts tell something about one picture: contextual scoring of ALFA (2404.09654).

Equation 4 prints S = 1 / (1 + exp(-k |D(own) - D(other)|)), D the distance from a prompt's cosine
to the interval that a side's cosines span. That is 0.5 where both distances are 0, while the text
puts the score of such a prompt at 0 and drops it (algorithm 1, line 6). The reading here is
2 S - 1 = tanh(k |...| / 2): the same logistic, 0 inside both intervals and towards 1 far away, as
the text says. D(own) is always 0, since a prompt is among those that span its own interval.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def contextual_scores(
    similarity: NDArray[np.float32], abnormal: NDArray[np.bool_], k: float = 1.0
) -> NDArray[np.float32]:
    """Equation 4: how far each prompt is from being mistaken for one of the other side.

    Args:
        similarity: (P,) cosines of one picture and the prompts, in [-1, 1]; equations 2 and 3.
        abnormal: (P,) bool, True where the prompt speaks for an anomaly.
        k: slope, above 0. It changes no prompt's being kept.

    Returns:
        (P,) float32 in [0, 1), for k up to 8 (a steeper slope rounds to 1); 0 inside the other
        side's interval, its ends included, and where there is no other side.

    Examples:
        The second prompt for normal is as near as some for abnormal, and says nothing:

        >>> similarity = np.array([0.30, 0.22, 0.20, 0.24])
        >>> print(contextual_scores(similarity, np.array([False, False, True, True])).round(3))
        [0.03 0.   0.01 0.  ]
    """
    away = np.zeros(len(similarity))
    for side in (abnormal, ~abnormal):
        other = similarity[~side]
        if other.size:
            own = similarity[side]
            away[side] = np.maximum(0, np.maximum(other.min() - own, own - other.max()))
    return np.tanh(k * away / 2).astype(np.float32)


def kept(scores: NDArray[np.float32], abnormal: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which prompts take part in the decision: algorithm 1, line 6.

    A side whose prompts all lie inside the other's interval keeps every one of them: the decision
    needs both sides, and the scores prefer none of that side. The paper leaves this case open.

    Args:
        scores: (P,) of `contextual_scores`.
        abnormal: (P,) bool, as there.

    Returns:
        (P,) bool, True for at least one prompt of each side that has any.

    Examples:
        >>> scores = np.array([0.03, 0, 0, 0], np.float32)
        >>> print(kept(scores, np.array([False, False, True, True])))
        [ True False  True  True]
    """
    found = scores > 0
    for side in (abnormal, ~abnormal):
        if not found[side].any():
            found |= side
    return found
