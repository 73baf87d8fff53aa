"""Windows the straightforward way: the whole picture each time, masked in every layer.

The tower is transformers' own, with an attention mask; only what its first layer is given comes
from blemish.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.encoders.clip import Clip, Windows
from blemish.images import resize
from blemish.types import Image


class Straightforward:
    """A CLIP model like another one, but for its windows.

    Args:
        clip: gives everything else.
    """

    def __init__(self, clip: Clip) -> None:
        self._clip = clip

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clip, name)

    def windows(
        self,
        images: Sequence[Image],
        scale: int,
        *,
        size: int | None = None,
        values: bool = True,
    ) -> Windows:
        """See `Clip.windows`."""
        side = (size or self._clip.default_size) // self._clip.patch
        places, rows = every_window(side, scale)
        each = [self.chosen(image, rows, side) for image in images]
        embeddings, last = map(np.stack, zip(*each, strict=True))
        return Windows(places, rows, embeddings, last if values else None)

    def chosen(
        self, image: Image, rows: NDArray[np.int64], side: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embeddings (n, D) and last values (n, T, W) of some windows, by their tokens (n, T)."""
        import torch

        pixels = side * self._clip.patch
        found = []
        with torch.inference_mode():
            start = self._clip._vision.tokens([resize(image, pixels, pixels)])
            for number in range(0, len(rows), self._clip.batch_size):
                found.append(self._masked(start, rows[number : number + self._clip.batch_size]))
        embeddings, values = map(np.concatenate, zip(*found, strict=True))
        return embeddings, values

    def _masked(
        self, start: Any, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As `chosen`, from the picture's tokens (1, 1 + h * h, W), in one pass."""
        import torch

        model, count = self._clip._model, start.shape[1]
        inside = torch.from_numpy(rows)
        mask = torch.full((len(rows), count), -torch.inf).scatter(1, inside, 0.0)
        mask = mask[:, None, None].expand(-1, 1, count, -1)
        values = []
        tower = model.vision_model
        last = tower.encoder.layers[-1].self_attn.v_proj
        hook = last.register_forward_hook(lambda *seen: values.append(seen[-1]))
        try:
            tokens = tower.encoder(start.expand(len(rows), -1, -1), attention_mask=mask)[0]
        finally:
            hook.remove()
        joint = model.visual_projection(tower.post_layernorm(tokens[:, 0]))
        own = values[0][torch.arange(len(rows))[:, None], inside]
        return torch.nn.functional.normalize(joint, dim=-1).numpy(), own.numpy()


def every_window(side: int, scale: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n, 2) places and (n, 1 + scale * scale) tokens, as `Windows` has them."""
    steps = range(side - scale + 1)
    places = [(y, x) for y in steps for x in steps]
    square = [(j, i) for j in range(scale) for i in range(scale)]
    rows = [[0, *(1 + (y + j) * side + x + i for j, i in square)] for y, x in places]
    return np.array(places), np.array(rows)
