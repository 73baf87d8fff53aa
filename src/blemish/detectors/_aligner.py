"""Texts as one window sees them: the fine-grained aligner of ALFA (2404.09654, section 4.3).

The paper asks, for each window, for a matrix W with W V_G = V_L: V_G the last attention layer's
values of the whole picture, V_L those of the window encoded by itself. The texts are then taken
along. It leaves open the side of the product, the sizes and how W is found. The reading here:

- Values are rows in the joint space (through the attention's output projection and the visual
  projection, without the last norm, which is not linear), and the matrix stands on their right,
  V_G A = V_L. Printed on the left, W would mix tokens, (T, T), and could not be applied to a
  text, (1, D).
- V_G are the values of the same tokens as V_L: the class token and the window's patches.
- T tokens say little about D x D numbers, so A is the one that minimises
  |V_G A - V_L|^2 + lambda |A - I|^2: it leaves alone what the window says nothing about, and is the
  identity for a window that covers the whole picture. Solved,
  A = I + V_G' (V_G V_G' + lambda I)^-1 (V_L - V_G), which needs systems of T equations only.
- lambda is a share `ridge` of the tokens' mean squared length, so that the values' unit does not
  matter. The smaller it is, the closer V_G A comes to V_L.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def transformation(global_values: Floats, local_values: Floats, ridge: float = 1e-3) -> Doubles:
    """The matrix A of one window, written out. `aligned` applies it without making it.

    Args:
        global_values: (T, D) values in the joint space that the window's tokens have in the
            picture.
        local_values: (T, D) values that they have in the window by itself.
        ridge: lambda's share of the mean squared length of the global values, above 0.

    Returns:
        (D, D) float64; `global_values @ A` is close to `local_values`.

    Examples:
        A window in which the first direction's values are all twice as large:

        >>> seen = np.array([[1.0, 0, 0], [0, 1, 0]])
        >>> print(transformation(seen, seen * [2, 1, 1], ridge=1e-9).round(6))
        [[2. 0. 0.]
         [0. 1. 0.]
         [0. 0. 1.]]
    """
    seen, alone = np.asarray(global_values, np.float64), np.asarray(local_values, np.float64)
    step = seen.T @ np.linalg.solve(_gram(seen, ridge), alone - seen)
    return np.eye(seen.shape[1]) + step


def aligned(
    text: Floats,
    global_values: Floats,
    rows: NDArray[np.int64],
    local_values: Floats,
    ridge: float = 1e-3,
) -> Floats:
    """The texts F in each window's local space, F A brought back to length 1 (section 4.3).

    Args:
        text: (2, D), or any number of texts, L2-normalised: normal and abnormal.
        global_values: (1 + h * h, D) the picture's values in the joint space, the class token's
            first, then the patches' row by row.
        rows: (n, T) which of them belong to each of n windows.
        local_values: (n, T, D) values of the same tokens in the window by itself.
        ridge: as for `transformation`.

    Returns:
        (n, 2, D) float32, L2-normalised.

    Examples:
        A window that sees what the whole picture sees leaves the texts unchanged:

        >>> text, values = np.eye(2, 3), np.arange(6.0).reshape(2, 3)
        >>> print(aligned(text, values, np.array([[0, 1]]), values[None])[0])
        [[1. 0. 0.]
         [0. 1. 0.]]
    """
    seen = np.asarray(global_values, np.float64)[rows]
    towards_seen = seen @ np.asarray(text, np.float64).T  # (n, T, 2)
    shares = np.linalg.solve(_gram(seen, ridge), towards_seen)  # the Gram matrix is symmetric
    moved = text + shares.swapaxes(-1, -2) @ (local_values - seen)
    length = np.linalg.norm(moved, axis=-1, keepdims=True)
    return np.asarray(moved / np.maximum(length, np.finfo(np.float64).tiny), np.float32)


def _gram(values: Doubles, ridge: float) -> Doubles:
    """(..., T, T): V V' + lambda I of values (..., T, D)."""
    products = values @ values.swapaxes(-1, -2)
    mean = np.trace(products, axis1=-2, axis2=-1) / values.shape[-2]
    weight = ridge * np.where(mean > 0, mean, 1)  # values that are all 0 leave the texts alone
    gram: Doubles = products + weight[..., None, None] * np.eye(values.shape[-2])
    return gram
