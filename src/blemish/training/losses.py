"""What a decoder's map is held to: focal and dice loss.

AnomalyGPT (2308.15366), section 3.4, and IAD-GPT (2510.16036), section III.E.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST = 1e-12
"""Probabilities below it count as this much: log(0) has no slope to learn from."""


def focal(
    probability: Tensor, target: Tensor, gamma: float = 2.0, alpha: float | None = None
) -> Tensor:
    """Cross-entropy in which pixels that are right already weigh little: equation 4.

    -mean((1 - p)^gamma log p). The document calls p the probability of the positive classes; read
    literally, normal pixels would be pushed towards anomalous. Here, as in the loss's own paper
    (Lin et al. 2017), p is the probability of the class that a pixel has. So it is in equation 8 of
    IAD-GPT, which adds a weight for each class.

    Args:
        probability: (N, H, W) floating, in [0, 1], that a pixel is anomalous.
        target: (N, H, W) bool, True where it is.
        gamma: 0 (plain cross-entropy), or at least 1; the document's is 2.
        alpha: weight of anomalous pixels, in (0, 1), normal ones having the rest; None for no
            weights.

    Returns:
        Scalar, at least 0, of the probability's type, or float32 where that has fewer bits.
    """
    wide = _checked(probability, target)
    right = torch.where(target, wide, 1 - wide)
    lost = -((1 - right).clamp_min(0) ** gamma * right.clamp_min(_LEAST).log())
    if alpha is not None:
        lost = torch.where(target, alpha, 1 - alpha) * lost
    return lost.mean()


def dice(probability: Tensor, target: Tensor) -> Tensor:
    """One minus the overlap of what was found and what is there: equation 5, made whole.

    1 - (2 sum(y t) + 1) / (sum(y^2) + sum(t^2) + 1) of each picture, then the mean over pictures.
    The equation as printed lacks the factor 2 of the dice coefficient, without which a perfect map
    reaches a half. The ones keep a picture without anomalies defined: 0 for an empty map, more for
    every false find. The leading one only moves the loss to [0, 1). Equation 9 of IAD-GPT has
    1 - p where the target belongs, and so holds maps to one half; its reference for it, V-Net
    (Milletari et al. 2016), has the target, squares in the denominator, and what is here.

    Args:
        probability: (N, H, W) floating, in [0, 1], that a pixel is anomalous.
        target: (N, H, W) bool, True where it is.

    Returns:
        Scalar in [0, 1), of the probability's type, or float32 where that has fewer bits.
    """
    wide = _checked(probability, target).flatten(1)
    truth = target.flatten(1).to(wide.dtype)
    overlap = 2 * (wide * truth).sum(1)
    total = (wide**2).sum(1) + (truth**2).sum(1)
    return (1 - (overlap + 1) / (total + 1)).mean()


def _checked(probability: Tensor, target: Tensor) -> Tensor:
    """The probabilities with at least float32's bits; sums over pixels need them."""
    fits = probability.ndim == 3 and probability.shape == target.shape
    if not fits or target.dtype != torch.bool or not probability.is_floating_point():
        raise ValueError(
            f"Probabilities have shape {tuple(probability.shape)} and type {probability.dtype}, "
            f"targets {tuple(target.shape)} and {target.dtype}; expected (N, H, W) floating and "
            "(N, H, W) bool."
        )
    return probability.to(torch.promote_types(probability.dtype, torch.float32))
