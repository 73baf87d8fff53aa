"""The parts of AnomalyGPT (2308.15366) that learn: decoder, prompt learner, image projection.

All run on embeddings that a frozen encoder gives, and make embeddings that a frozen language model
reads. W is the language model's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as f

MAP = 112
"""Side in pixels of the map that the compact prompt learner reads."""
CELLS = 3
"""Its embeddings are one for each cell of the 3 x 3 grid, row by row."""
LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7)
"""A cell's maximum is compared with each of these; 0.5 is the operating point."""
STEEP = 20.0
"""How sharply: a maximum 0.1 above a level counts as 0.88 of above."""


class Decoder(nn.Module):
    """Patch tokens of several layers between normal and abnormal texts: equation 1.

    The sum of the equation is a mean here, as in the published code, so that the map stays in
    [0, 1]; features are L2-normalised and the softmax takes a logit scale of 100, as there. Of
    several abnormal texts, as IAD-GPT (2510.16036) has them, the shares are added.

    Args:
        widths: values of a patch token in each layer.
        text: values of a text feature.
        learned: how many text features are parameters, for an encoder without a text tower; 0 for
            none.
    """

    scale = 100.0

    def __init__(self, widths: Sequence[int], text: int, learned: int = 2) -> None:
        super().__init__()
        self.fc = nn.ModuleList(nn.Linear(width, text) for width in widths)
        self.texts = nn.Parameter(torch.randn(learned, text)) if learned else None

    def forward(self, tokens: Sequence[Tensor], texts: Tensor | None = None) -> Tensor:
        """(N, h, w) in [0, 1]: the abnormal texts' share, averaged over layers; see `layers`."""
        return self.layers(tokens, texts).mean(1)

    def layers(self, tokens: Sequence[Tensor], texts: Tensor | None = None) -> Tensor:
        """(N, L, h, w) in [0, 1]: the abnormal texts' share in each layer.

        Args:
            tokens: L times (N, h, w, C); grids may differ, and the finest is given.
            texts: (1 + n, text) where they are not learned: the normal text, then the abnormal.
        """
        given = self.texts if texts is None else texts
        assert given is not None
        given = f.normalize(given, dim=-1)
        maps = [
            (self.scale * f.normalize(fc(layer), dim=-1) @ given.T).softmax(-1)[..., 1:].sum(-1)
            for fc, layer in zip(self.fc, tokens, strict=True)
        ]
        finest = max((m.shape[1:] for m in maps), key=lambda shape: shape.numel())
        maps = [m if m.shape[1:] == finest else _upsampled(m, finest) for m in maps]
        return torch.stack(maps, 1)


def _upsampled(maps: Tensor, size: Sequence[int]) -> Tensor:
    return f.interpolate(maps[:, None], tuple(size), mode="bilinear")[:, 0]


class PublishedPromptLearner(nn.Module):
    """The prompt learner as published: 9 base embeddings and 9 of the map (section 3.2).

    Its layers go by the names of the published checkpoint. At a width of 4,096 it has 107 million
    numbers, nearly all of them in the last convolution.

    Args:
        width: W.
    """

    side = 224

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for power in range(5):
            layers += [nn.Conv2d(4**power, 4 ** (power + 1), 3, padding=1), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
        self.meta_net = nn.Sequential(*layers, nn.Conv2d(4**5, width, 5))
        self.base_prompts = nn.Parameter(torch.randn(9, width))

    def forward(self, maps: Tensor) -> Tensor:
        """(N, 18, W): base embeddings, then those of the map's cells row by row.

        Args:
            maps: (N, 224, 224) in [0, 1].
        """
        cells = self.meta_net(maps[:, None]).flatten(2).transpose(1, 2)
        return torch.cat([self.base_prompts.expand(len(maps), -1, -1), cells], 1)


class MaskReader(nn.Module):
    """What each cell of a map shows: one row of values for each cell of the 3 x 3 grid.

    Taken from what a small convolutional net sees in the cell, pooled by mean and maximum, and from
    how the map's own maximum there compares with several levels. The first weights of the levels
    are large: embeddings that hardly change with the map teach a frozen language model nothing.

    Args:
        meta_net: the net, of maps in [-1, 1].
        channels: of its last layer.
        width: values of a row.
    """

    def __init__(self, meta_net: nn.Module, channels: int, width: int) -> None:
        super().__init__()
        self.meta_net = meta_net
        self.mix = nn.Linear(2 * channels + len(LEVELS), 4 * channels)
        nn.init.normal_(self.mix.weight[:, 2 * channels :])
        self.out = nn.Linear(4 * channels, width)
        self.cells = nn.Parameter(torch.randn(CELLS**2, 4 * channels))

    def forward(self, maps: Tensor) -> Tensor:
        """(N, 9, width), row by row.

        Args:
            maps: (N, side, side) in [0, 1].
        """
        seen = self.meta_net(maps[:, None] * 2 - 1)
        highest = f.adaptive_max_pool2d(maps[:, None], CELLS)
        levels = torch.tensor(LEVELS, device=maps.device)[:, None, None]
        parts = [
            f.adaptive_avg_pool2d(seen, CELLS),
            f.adaptive_max_pool2d(seen, CELLS),
            torch.sigmoid(STEEP * (highest - levels)) - 0.5,
        ]
        pooled = torch.cat(parts, 1).flatten(2).transpose(1, 2)  # (N, 9, 2 * channels + levels)
        hidden = f.gelu(self.mix(pooled) + self.cells)
        return self.out(hidden)  # type: ignore[no-any-return]


class CompactPromptLearner(MaskReader):
    """The prompt learner for a small language model: few base embeddings, one a cell of the grid.

    Embeddings are brought to the spread of the language model's own, which keeps its attention
    alive.

    Args:
        width: W.
        spread: standard deviation of the language model's token embeddings.
        base: base embeddings.
        channels: of the convolutional net's last layer.
    """

    side = MAP

    def __init__(self, width: int, spread: float, base: int = 4, channels: int = 32) -> None:
        steps = (1, channels // 4, channels // 2, channels)
        layers: list[nn.Module] = []
        for before, after in pairwise(steps):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GELU()]
        super().__init__(nn.Sequential(*layers), channels, width)
        self.norm = nn.LayerNorm(width)
        self.base_prompts = nn.Parameter(spread * torch.randn(base, width))
        self.spread = spread

    def forward(self, maps: Tensor) -> Tensor:
        """(N, base + 9, W): base embeddings, then those of the cells row by row.

        Args:
            maps: (N, 112, 112) in [0, 1].
        """
        cells = self.spread * self.norm(super().forward(maps))
        return torch.cat([self.base_prompts.expand(len(maps), -1, -1), cells], 1)


class ImageProjection(nn.Module):
    """The linear layer from the picture's feature to E_img, at the language model's spread.

    Args:
        features: values of the encoder's class token, or of its joint space.
        width: W.
        spread: see `CompactPromptLearner`; with None there is the linear layer and nothing else,
            as published.
    """

    def __init__(self, features: int, width: int, spread: float | None) -> None:
        super().__init__()
        self.linear = nn.Linear(features, width)
        self.norm = None if spread is None else nn.LayerNorm(width)
        self.spread = spread

    def forward(self, class_tokens: Tensor) -> Tensor:
        """(N, W) of (N, C)."""
        if self.norm is None:
            return self.linear(class_tokens)  # type: ignore[no-any-return]
        out: Tensor = self.linear(f.layer_norm(class_tokens, class_tokens.shape[-1:]))
        return self.spread * self.norm(out)  # type: ignore[no-any-return]


def parameters(module: nn.Module) -> int:
    """How many numbers a module learns."""
    return sum(p.numel() for p in module.parameters())


def state(modules: dict[str, nn.Module]) -> dict[str, Any]:
    """All tensors under "module.name"."""
    return {
        f"{name}.{key}": tensor.detach().cpu()
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }
