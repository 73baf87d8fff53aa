"""Turned and changed copies of references, and the background of their pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.types import Features, Image


def turned(image: Image, how: str) -> list[Image]:
    """The image and its turned views, the image itself first.

    Args:
        image: (H, W, 3) uint8 RGB.
        how: "none", "flips" (mirrored left-right and top-bottom), "rotations" (by quarters), or
            "both" (all eight).
    """
    views = [image]
    if how == "flips":
        views += [image[:, ::-1], image[::-1]]
    if how in ("rotations", "both"):
        views += [np.rot90(image, k) for k in (1, 2, 3)]
    if how == "both":
        views += [np.rot90(image[:, ::-1], k) for k in range(4)]
    return [np.ascontiguousarray(v) for v in views]


def changed_copies(image: Image, seed: int) -> list[Image]:
    """Eight copies of an image as another picture of the same good part might look.

    Each is turned by up to 3 degrees, moved by up to 3 % of its sides, scaled by up to 4 %, made
    brighter or darker by up to 8 % and given camera noise; borders are mirrored.

    Args:
        image: (H, W, 3) uint8 RGB.
        seed: of the changes.
    """
    import cv2

    random = np.random.default_rng(seed)
    height, width = image.shape[:2]
    copies = []
    for _ in range(8):
        turn = cv2.getRotationMatrix2D(
            (width / 2, height / 2), random.uniform(-3, 3), random.uniform(0.96, 1.04)
        )
        turn[:, 2] += random.uniform(-0.03, 0.03, 2) * np.array([width, height])
        moved = cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        noisy = moved * random.uniform(0.92, 1.08) + random.normal(0, 2, moved.shape)
        copies.append(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    return copies


@dataclass(frozen=True, eq=False)
class Background:
    """Tells the part from what it lies on, by the first principal component of patch tokens.

    After AnomalyDINO (2405.14529), section 3.3, which takes the component from each picture; here
    it comes from the references, so that one defect cannot turn the two sides round. Used only
    where the references' borders and middles lie on opposite sides of it.

    Attributes:
        mean: (D,) float32 of the references' tokens.
        axis: (D,) float32, the first principal component, pointing to the part.
        layer: whose tokens these are.
        used: whether the references show a background at all.
    """

    mean: NDArray[np.float32]
    axis: NDArray[np.float32]
    layer: int
    used: bool

    @classmethod
    def learn(cls, features: Sequence[Features]) -> Background:
        """Learn from the references' features."""
        layer = max(features[0].patches)
        grids = [f.patches[layer] for f in features]
        rows = np.concatenate([g.reshape(-1, g.shape[-1]) for g in grids])
        mean = rows.mean(0)
        centred = rows - mean
        axis = np.linalg.eigh(centred.T @ centred)[1][:, -1].astype(np.float32)
        inner, outer = [], []
        for g in grids:
            value = (g - mean) @ axis
            h, w = value.shape
            middle = np.zeros((h, w), bool)
            middle[h // 4 : h - h // 4, w // 4 : w - w // 4] = True
            edge = np.ones((h, w), bool)
            edge[1:-1, 1:-1] = False
            inner.append(value[middle])
            outer.append(value[edge])
        inside, outside = np.concatenate(inner), np.concatenate(outer)
        if inside.mean() < outside.mean():
            axis, inside, outside = -axis, -inside, -outside
        used = bool((inside > 0).mean() > 0.8 and (outside < 0).mean() > 0.8)
        return cls(mean, axis, layer, used)

    def silence(
        self, layers: Sequence[NDArray[np.float32]], features: Features
    ) -> list[NDArray[np.float32]]:
        """Set the distances (h, w) of background patches, two patches off the part, to 0."""
        import cv2

        if not self.used:
            return list(layers)
        seen = ((features.patches[self.layer] - self.mean) @ self.axis > 0).astype(np.uint8)
        part = cv2.dilate(seen, np.ones((5, 5), np.uint8))
        return [
            np.where(cv2.resize(part, m.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0, m, 0)
            .astype(np.float32)
            for m in layers
        ]  # fmt: skip

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """For saving."""
        return {
            "background.mean": self.mean,
            "background.axis": self.axis,
            "background.layer": np.array([self.layer, self.used], np.int32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Background:
        """What `arrays` gave."""
        layer, used = arrays["background.layer"]
        return cls(arrays["background.mean"], arrays["background.axis"], int(layer), bool(used))
