"""Segment Anything (Kirillov et al., 2304.02643) asked at a grid of points for all its masks.

The rules and thresholds are those of the authors' automatic mask generator. The pipeline of
`transformers` for it needs torchvision for one step, the suppression of overlapping boxes, so the
steps around the model stand here; the working size is square, which leaves nothing to pad.
"""

from __future__ import annotations

import hashlib
import threading
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from blemish.errors import InputError, WeightsError
from blemish.types import Image

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FILTER = PIL.Image.Resampling.BILINEAR  # as SAM was trained
_OFFSET = 1.0  # how far the cut is moved either way to see how stable a mask is, as a logit
_SAME = 0.7  # overlap of two boxes from which they hold the same thing


class Sam:
    """SAM through `transformers.SamModel`.

    Args:
        name_or_folder: of a checkpoint in that format; the document's is ViT-H.
        device: a torch device.
        points: of each side of the grid of points that are asked about.
        batch_size: points a pass.
        least_iou: predicted overlap with the truth above which a mask is kept.
        least_stability: stability above which it is kept: the overlap of the masks cut at logits
            1 and -1.

    Raises:
        WeightsError: the checkpoint cannot be loaded.
    """

    def __init__(
        self,
        name_or_folder: str | Path = "facebook/sam-vit-huge",
        *,
        device: str = "cpu",
        points: int = 32,
        batch_size: int = 64,
        least_iou: float = 0.88,
        least_stability: float = 0.95,
    ) -> None:
        from transformers import SamModel

        self.name = str(name_or_folder)
        self.device = device
        self.points = points
        self.batch_size = batch_size
        self.least_iou = least_iou
        self.least_stability = least_stability
        try:
            model: Any = SamModel.from_pretrained(self.name, use_safetensors=True)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise WeightsError(
                f"{self.name} cannot be loaded as SAM: {reason} Give the folder of a checkpoint "
                "with config.json and model.safetensors as transformers saves them, or a name on "
                "the hub such as facebook/sam-vit-huge while there is a network."
            ) from error
        self._model = model.to(device).eval()
        self._turn = threading.Lock()  # hundreds of masks of one picture fill the memory already
        self._side = int(model.config.vision_config.image_size)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the weights, the points and the thresholds."""
        found = hashlib.sha256()
        for key, tensor in sorted(self._model.state_dict().items()):
            found.update(key.encode() + np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
        options = f"{self.points}:{self.least_iou}:{self.least_stability}:{self.device}"
        return f"sam:{found.hexdigest()[:16]}:{options}"

    def masks(self, image: Image) -> NDArray[np.bool_]:
        """All masks that pass the thresholds, none of them twice.

        Args:
            image: (S, S, 3) uint8 RGB, a square.

        Returns:
            (M, S, S) bool, best predicted overlap first; they may overlap.
        """
        import torch

        if image.ndim != 3 or image.shape[0] != image.shape[1]:
            raise InputError(f"An image of shape {image.shape} came; SAM expects a square.")
        sides = (self._side, self._side)
        shown = np.asarray(PIL.Image.fromarray(image).resize(sides, _FILTER)) / np.float32(255)
        pixels = torch.from_numpy(np.float32((shown - _MEAN) / _STD)).permute(2, 0, 1)[None]
        centres = (np.arange(self.points) + 0.5) * self._side / self.points
        across, down = np.meshgrid(centres, centres)
        asked = torch.from_numpy(np.float32(np.stack((across.ravel(), down.ravel()), -1)))
        packed, boxes, scores = [], [], []
        with self._turn, torch.inference_mode():
            seen = self._model.get_image_embeddings(pixels.to(self.device))
            for start in range(0, len(asked), self.batch_size):
                some = asked[start : start + self.batch_size]
                found, score = self._ask(seen, some, image.shape[0])
                packed.append(np.packbits(found, axis=-1))  # hundreds of masks, most of them twice
                boxes.append(_boxes(found))
                scores.append(score)
        kept = np.concatenate(packed)[_different(np.concatenate(boxes), np.concatenate(scores))]
        return np.unpackbits(kept, axis=-1, count=image.shape[1]).astype(np.bool_)

    def _ask(
        self, seen: Any, points: Any, side: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """The masks that pass, of a few points: (M, side, side) bool, and their scores (M,)."""
        import torch
        from torch.nn.functional import interpolate

        points = points.to(self.device)
        found = self._model(
            image_embeddings=seen,
            input_points=points[None, :, None],
            input_labels=torch.ones((1, len(points), 1), dtype=torch.long, device=self.device),
        )
        scores = found.iou_scores.flatten()
        good = scores > self.least_iou  # before the masks grow to their full size
        if not good.any():
            return np.zeros((0, side, side), np.bool_), np.zeros(0, np.float32)
        logits = found.pred_masks[0].flatten(0, 1)[good][:, None]
        for size in (self._side, side):
            logits = interpolate(logits, (size, size), mode="bilinear", align_corners=False)
        core, wide = ((logits > cut).sum((1, 2, 3)) for cut in (_OFFSET, -_OFFSET))
        stable = core > self.least_stability * wide
        return (logits[stable, 0] > 0).cpu().numpy(), scores[good][stable].cpu().numpy()


def _boxes(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(M, 4) XYXY of (M, H, W) masks that each have a pixel, the last row and column included."""
    found = []
    for axis in (1, 2):
        filled: NDArray[np.bool_] = np.any(masks, axis=axis)
        found += [filled.argmax(1), filled.shape[1] - 1 - filled[:, ::-1].argmax(1)]
    return np.stack((found[0], found[2], found[1], found[3]), axis=1).astype(np.float64)


def _different(boxes: NDArray[np.float64], scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Non-maximum suppression: places that are kept, highest score first."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    left = np.argsort(-scores, kind="stable")
    kept = []
    while left.size:
        best, left = left[0], left[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[left, :2])
        high = np.minimum(boxes[best, 2:], boxes[left, 2:])
        shared = np.clip(high - low, 0, None).prod(1)
        left = left[shared <= _SAME * (areas[best] + areas[left] - shared)]
    return np.array(kept, np.int64)
