"""The image tower of CLIP, one layer at a time.

`transformers.CLIPModel` holds the weights; the steps stand here because windows need some tokens
only, and the last layer's values are wanted by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.encoders._batches import Grid
from blemish.errors import OptionError
from blemish.types import Image


class Vision:
    """The image tower.

    B images of h x w patches are 1 + h * w tokens each, the class token first, then the patches
    row by row; W is the tower's width, D that of the joint space.

    Args:
        model: a `transformers.CLIPModel`, in evaluation mode on its device.
        mean: of red, green and blue on a scale from 0 to 1.
        std: likewise.
    """

    def __init__(self, model: Any, mean: Sequence[float], std: Sequence[float]) -> None:
        import torch

        tower = model.vision_model
        self._embeddings, self._before = tower.embeddings, tower.pre_layrnorm
        self._layers, self._after = tower.encoder.layers, tower.post_layernorm
        self._projection = model.visual_projection
        self._kind, self._device = model.dtype, model.device
        self._mean = torch.tensor(mean, device=self._device).view(3, 1, 1)
        self._std = torch.tensor(std, device=self._device).view(3, 1, 1)
        self._positions: dict[Grid, Any] = {}
        self.depth = len(self._layers)
        self.patch = int(tower.config.patch_size)

    def tokens(self, images: Sequence[Image]) -> Any:
        """(B, 1 + h * w, W): what the first layer is given.

        Args:
            images: all of one size, (h * patch, w * patch, 3) uint8 RGB.
        """
        import torch

        pixels = torch.from_numpy(np.stack(images)).to(self._device).permute(0, 3, 1, 2)
        numbers = ((pixels.float() / 255 - self._mean) / self._std).to(self._kind)
        cells = self._embeddings.patch_embedding(numbers)  # (B, W, h, w)
        grid = (int(cells.shape[2]), int(cells.shape[3]))
        cells = cells.flatten(2).transpose(1, 2)
        first = self._embeddings.class_embedding.expand(len(cells), 1, -1)
        return self._before(torch.cat([first, cells], 1) + self.positions(grid))

    def positions(self, grid: Grid) -> Any:
        """(1, 1 + h * w, W): the position embedding for a grid of patches.

        As `resize_pos_embed` of open_clip does for another size: bicubic and antialiased, the
        class token's own as it is. At the checkpoint's own size it is the stored one.
        """
        if grid not in self._positions:
            self._positions[grid] = self._resized(grid)
        return self._positions[grid]

    def _resized(self, grid: Grid) -> Any:
        import torch
        from torch.nn import functional as f

        stored = self._embeddings.position_embedding.weight
        side = round((len(stored) - 1) ** 0.5)
        table = stored[1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
        table = f.interpolate(table, grid, mode="bicubic", antialias=True, align_corners=False)
        cells = table.flatten(2).transpose(1, 2).to(self._kind)
        return torch.cat([stored[None, :1], cells], 1)

    def states(self, tokens: Any, layers: Sequence[int]) -> dict[int, Any]:
        """What each of the layers gives, (B, tokens, W); stops at the last of them."""
        found = {}
        for number, layer in enumerate(self._layers[: max(layers)], 1):
            tokens, _ = _through(layer, tokens)
            if number in layers:
                found[number] = tokens
        return found

    def whole(self, tokens: Any, first: int | None = None) -> tuple[Any, Any]:
        """Tokens as they leave the last layer, and its values.

        Args:
            tokens: (B, T, W), as `tokens` gives them or some of those, the class token first.
            first: how many tokens are wanted; None for all.

        Returns:
            (B, first or T, W); and (B, T, W), all heads' values side by side.
        """
        *layers, last = self._layers
        for layer in layers:
            tokens, _ = _through(layer, tokens)
        return _through(last, tokens, first)

    def both(self, tokens: Any) -> tuple[Any, Any, Any]:
        """As `whole`, and behind its two (B, T, W) the tokens of the V-V path.

        That path (AnoVL, 2308.15939; CLIP Surgery, 2304.05653) leaves the usual one half way up
        and gains at each layer what attention gives where the values are queries and keys too. The
        values are the usual path's, and there is no MLP, so a token keeps to what is like it.
        """
        values = beside = None
        for number, layer in enumerate(self._layers):
            if number == self.depth // 2:
                beside = tokens
            tokens, values = _through(layer, tokens)
            if beside is not None:
                beside = beside + _attended(layer.self_attn, values, values, values)
        return tokens, values, beside

    def joint(self, tokens: Any) -> Any:
        """(..., D), L2-normalised: (..., W) tokens through the last norm and the projection."""
        from torch.nn import functional as f

        return f.normalize(self._projection(self._after(tokens)).float(), dim=-1)

    @cached_property
    def value_projection(self) -> NDArray[np.float32]:
        """(W, D): the output projection of the last attention layer, then the visual one."""
        last = self._layers[-1].self_attn.out_proj.weight
        product = self._projection.weight.detach().float() @ last.detach().float()
        return np.ascontiguousarray(product.cpu().numpy().T)

    def parts(self, tokens: Any, rows: NDArray[np.int64], most: int) -> tuple[Any, Any]:
        """The tower's view of subsets of an image's tokens, each as if the others did not exist.

        Args:
            tokens: (B, 1 + h * w, W), as `tokens` gives them.
            rows: (n, T) which tokens belong to each subset, the class token (0) first.
            most: subsets a pass.

        Returns:
            (B, n, D), each subset's own class token in the joint space, L2-normalised; and
            (B, n, T, W), the last layer's values.
        """
        import torch

        count, length = rows.shape
        flat = tokens.reshape(-1, tokens.shape[-1])  # every image's tokens below each other
        starts = torch.arange(len(tokens), device=tokens.device) * tokens.shape[1]
        wanted = starts[:, None, None] + torch.from_numpy(rows).to(tokens.device)
        found = [self.whole(flat[some], 1) for some in wanted.reshape(-1, length).split(most)]
        last = torch.cat([tokens[:, 0] for tokens, _ in found]).reshape(len(tokens), count, -1)
        values = torch.cat([v for _, v in found]).reshape(len(tokens), count, length, -1)
        return self.joint(last), values


def windows_of(side: int, scale: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every window of scale x scale in a picture of side x side patches.

    Returns:
        (n, 2) row and column of its top left patch, row by row; and (n, 1 + scale * scale) its
        tokens among the picture's: the class token, 0, then its patches row by row.

    Raises:
        OptionError: a window larger than the picture, or of no patches.
    """
    if not 1 <= scale <= side:
        raise OptionError(
            f"Windows of {scale} x {scale} patches came; a picture of {side} x {side} has windows "
            f"of 1 to {side}. Take a smaller scale or a larger size."
        )
    tops = np.arange(side - scale + 1)
    places = np.stack(np.meshgrid(tops, tops, indexing="ij"), -1).reshape(-1, 2)
    inside = np.add.outer(side * np.arange(scale), np.arange(scale)).reshape(-1)
    patches = places @ [side, 1] + 1
    rows = np.concatenate([np.zeros((len(places), 1), int), patches[:, None] + inside], 1)
    return places, rows


def _through(layer: Any, tokens: Any, first: int | None = None) -> tuple[Any, Any]:
    """The first tokens after a layer, and the values of all that it attended to."""
    attention, normed = layer.self_attn, layer.layer_norm1(tokens)
    queries, keys = attention.q_proj(normed[:, :first]), attention.k_proj(normed)
    values = attention.v_proj(normed)
    tokens = tokens[:, :first] + _attended(attention, queries, keys, values)
    return tokens + layer.mlp(layer.layer_norm2(tokens)), values


def _attended(attention: Any, *queries_keys_values: Any) -> Any:
    """(B, queries, W): what the heads of a layer give, through its output projection."""
    from torch.nn import functional as f

    count, _, width = queries_keys_values[0].shape
    heads = attention.num_heads
    split = [
        x.reshape(count, -1, heads, width // heads).transpose(1, 2) for x in queries_keys_values
    ]
    mixed = f.scaled_dot_product_attention(*split)
    return attention.out_proj(mixed.transpose(1, 2).reshape(count, -1, width))
