"""From cosines to texts to a map of patches: what the detectors that compare with texts share.

WinCLIP (2303.14814) and ALFA (2404.09654, its equations). Every softmax takes the model's own
logit scale: at the printed scale of 1 no score could leave 0.5 by much, cosines being close to each
other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def probability(image: Floats, texts: Floats, logit_scale: float) -> Doubles:
    """The abnormal text's share of the softmax over both texts: equations 1, 10 and 11.

    Args:
        image: (..., D) pictures or windows, L2-normalised.
        texts: (..., 2, D) the normal and the abnormal text, L2-normalised; leading axes as those
            of `image`, or none.
        logit_scale: what cosines are multiplied by; `Clip.logit_scale`.

    Returns:
        (...) float64 in [0, 1]; float32 would round the smallest to 0, exp(-200) for instance.

    Examples:
        >>> texts = np.array([[1.0, 0.0], [0.8, 0.6]])
        >>> print(probability(np.array([[1.0, 0.0], [0.8, 0.6]]), texts, 10).round(3))
        [0.119 0.881]
    """
    cosines = np.einsum("...d,...kd->...k", image, texts, dtype=np.float64)
    normal, abnormal = logit_scale * cosines[..., 0], logit_scale * cosines[..., 1]
    # 1 / (1 + exp(normal - abnormal)), without an overflow
    share: Doubles = np.exp(-np.logaddexp(0, normal - abnormal))
    return share


def over_windows(scores: Doubles, side: int, scale: int) -> Floats:
    """Each patch gets the harmonic mean of the windows that cover it (WinCLIP, section 4.2).

    A window that finds nothing weighs most: score 0 makes every patch under it 0.

    Args:
        scores: (n,) in [0, 1], one for each of the (side - scale + 1)^2 windows, row by row.
        side: patches along a side of the picture.
        scale: patches along a side of a window.

    Returns:
        (side, side) float32, row 0 the top.

    Examples:
        >>> print(over_windows(np.array([0.5, 0.5, 0.5, 0.1]), 3, 2).round(2))
        [[0.5  0.5  0.5 ]
         [0.5  0.25 0.17]
         [0.5  0.17 0.1 ]]
    """
    steps = side - scale + 1
    inverse = _inverse(scores).reshape(steps, steps)
    total, count = np.zeros((side, side)), np.zeros((side, side))
    for row in range(scale):
        for column in range(scale):
            place = np.s_[row : row + steps, column : column + steps]
            total[place] += inverse
            count[place] += 1
    return np.asarray(count / total, np.float32)


def over_scales(maps: Sequence[Floats]) -> Floats:
    """The harmonic mean of the maps of several scales, patch by patch (ALFA, section 4.3).

    Args:
        maps: (h, w) each, in [0, 1], all of one shape; at least one. A picture's own score joins
            in as a map that is the same everywhere.

    Returns:
        (h, w) float32; 0 wherever one of them is 0.

    Examples:
        >>> print(over_scales([np.array([[0.5, 0.2]]), np.array([[0.25, 0.2]])]).round(3))
        [[0.333 0.2  ]]
    """
    return np.asarray(1 / np.mean([_inverse(m) for m in maps], axis=0), np.float32)


def _inverse(scores: NDArray[np.floating]) -> Doubles:
    """1 / scores; a score of 0, infinity, makes the harmonic mean 0."""
    with np.errstate(divide="ignore"):
        return 1 / np.asarray(scores, np.float64)
