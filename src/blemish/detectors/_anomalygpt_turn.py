"""A turn of AnomalyGPT's prompt as embeddings: picture, map and words (2308.15366, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from blemish.calibration import Calibration
from blemish.places import POSITIONS
from blemish.prompts import anomalygpt as prompts
from blemish.regions.from_map import begin

if TYPE_CHECKING:
    from torch import Tensor

Map = NDArray[np.float32]
Shown = Map | Sequence[Map]
"""A picture's map, or its maps of each layer; (H, W) float32 each, of any sizes."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What an encoder gives of N pictures beside their maps.

    Attributes:
        pictures: (N, C), what stands for each.
        cells: (N, 9, P), see `cells`; None where the adapter has no text-guided enhancer.
        texts: (2, D) or (N, 2, D), the normal and the abnormal text of one class or of each
            picture's; None where the enhancer learnt its own, or there is none.
    """

    pictures: Tensor
    cells: Tensor | None = None
    texts: Tensor | None = None


def cells(patches: Tensor) -> Tensor:
    """(N, 9, P): the mean patch token of each cell of the 3 x 3 grid, row by row.

    Cells overlap by a row or column of patches where the grid cannot be divided by three.

    Args:
        patches: (N, h, w, P).
    """
    from torch.nn.functional import adaptive_avg_pool2d

    side = round(len(POSITIONS) ** 0.5)
    pooled = adaptive_avg_pool2d(patches.permute(0, 3, 1, 2), side)
    return pooled.flatten(2).transpose(1, 2)


def embeddings(
    learnt: Mapping[str, Any], language_model: Any, seen: Seen, maps: Sequence[Shown]
) -> list[Tensor]:
    """(1 + n, W) for each picture; see `rows`.

    Args:
        learnt: the adapter's modules.
        language_model: reads them.
        seen: of the pictures.
        maps: in [0, 1], of each picture, of each of its layers for a multi-mask fusion; none where
            there are none.
    """
    import torch

    learner, sized = learnt.get("prompt_learner"), None
    if learner and len(maps):
        sized = torch.from_numpy(np.stack([_sized(m, learner.side) for m in maps]))
    return list(rows(learnt, seen, sized).to(language_model.device))


def rows(learnt: Mapping[str, Any], seen: Seen, maps: Tensor | None) -> Tensor:
    """(N, 1 + n, W): E_img, then E_prompt where there is a prompt learner.

    Args:
        learnt: the adapter's modules.
        seen: of N pictures.
        maps: (N, side, side) in [0, 1], (N, L, side, side) for a multi-mask fusion; without,
            E_prompt is the base embeddings alone.
    """
    import torch

    image, learner = learnt["image"], learnt.get("prompt_learner")
    projected = (
        image(seen.pictures) if seen.cells is None else image(seen.pictures, seen.cells, seen.texts)
    )
    images: Tensor = projected[:, None]
    if learner is None:
        return images
    shown = learner.base_prompts.expand(len(images), -1, -1) if maps is None else learner(maps)
    return torch.cat([images, shown], 1)


def _sized(shown: Shown, side: int) -> Map:
    """(side, side) of a map, (L, side, side) of the maps of L layers."""
    if isinstance(shown, np.ndarray):
        return squared(shown, side)
    return np.stack([squared(layer, side) for layer in shown])


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


def scored(shown: Shown, point: Calibration) -> Shown:
    """Raw maps as scores in [0, 1], 0.5 where their mean's regions begin."""
    if isinstance(shown, np.ndarray):
        return point.score(_share(shown, point) * shown)
    side = max(max(m.shape) for m in shown)  # grids of layers may differ
    share = _share(np.mean([squared(m, side) for m in shown], axis=0), point)
    return [point.score(share * m) for m in shown]


def _share(raw: Map, point: Calibration) -> np.float32:
    return np.float32(point.threshold / begin(raw, point.threshold))
