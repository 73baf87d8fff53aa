"""A turn of AnomalyGPT's prompt as embeddings: picture, map and words (2308.15366, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from blemish.prompts import anomalygpt as prompts

if TYPE_CHECKING:
    from torch import Tensor


def embeddings(
    learnt: Mapping[str, Any],
    language_model: Any,
    pictures: NDArray[np.float32],
    maps: Sequence[NDArray[np.float32]],
) -> list[Tensor]:
    """(1 + n, W) for each picture; see `rows`.

    Args:
        learnt: the adapter's modules.
        language_model: reads them.
        pictures: (N, C) float32, what stands for each.
        maps: (H, W) float32 in [0, 1] each, of any sizes; none where there are none.
    """
    import torch

    learner, sized = learnt.get("prompt_learner"), None
    if learner and len(maps):
        sized = torch.from_numpy(np.stack([squared(m, learner.side) for m in maps]))
    return list(rows(learnt, torch.from_numpy(pictures), sized).to(language_model.device))


def rows(learnt: Mapping[str, Any], pictures: Tensor, maps: Tensor | None) -> Tensor:
    """(N, 1 + n, W): E_img, then E_prompt where there is a prompt learner.

    Args:
        learnt: the adapter's modules.
        pictures: (N, C), what stands for each.
        maps: (N, side, side) in [0, 1]; without, E_prompt is the base embeddings alone.
    """
    import torch

    images, learner = learnt["image"](pictures)[:, None], learnt.get("prompt_learner")
    if learner is None:
        return images  # type: ignore[no-any-return]
    shown = learner.base_prompts.expand(len(images), -1, -1) if maps is None else learner(maps)
    return torch.cat([images, shown], 1)


def squared(scores: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """A map at the prompt learner's size: bilinear, the mean over an area where it shrinks."""
    import cv2

    how = cv2.INTER_AREA if side * side < scores.size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(scores, (side, side), interpolation=how), np.float32)


def arranged(language_model: Any, rows: Tensor, slots: prompts.Slots) -> Tensor:
    """(T, W): a turn after its prefix, section 3.3: E_img, text, E_prompt, text."""
    import torch

    texts = [language_model.embed(text).to(rows) for text in (slots.between, slots.after)]
    return torch.cat([rows[:1], texts[0], rows[1:], texts[1]])
