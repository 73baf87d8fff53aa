"""The parts that IAD-GPT (2510.16036) adds: text-guided enhancer and multi-mask fusion.

They stand in the places of AnomalyGPT's image projection and prompt learner. W is the language
model's width, L the number of the decoder's layers. Each comes in two sizes: compact, for a small
language model, whose embeddings are brought to the spread of that model's own; and published, for
Vicuna at W = 4,096, which gives embeddings as they come out.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from blemish.detectors._anomalygpt_modules import CELLS, MAP, MaskReader

EXPERTS = 2
"""L_2: T_win has a normal and an abnormal text, each the mean of its templates."""
COMPACT = 128
"""Values with which the compact enhancer computes; the document does not say how many. The
published size takes those of the picture's feature, 1,024 in ImageBind's joint space."""
HEAD = 64
"""Values of a head of attention."""


class TextGuidedEnhancer(nn.Module):
    """E_img from picture and texts: section III.B, equations 3 and 4.

    Readings:

    - Attention over a single token leaves it as it is but for linear layers. So the sequence is the
      image feature and nine means of the last layer's patch tokens, one for each cell of the 3 x 3
      grid, in which answers tell places; linear layers bring both to one number of values.
    - L_2, the number of experts, is that of the texts T_n and T_a: two. Equation 4 as printed sums
      from 0 to L_2, one expert more than there are weights; the sum is over the two.
    - Where an encoder has no text tower F_win is learned, as the decoder's texts are.
    - The similarity of equation 3 is divided by the square root of the number of values, as
      attention does it.
    - An expert is a residual block of attention over the sequence and a residual feed-forward
      network, read at the image feature, then a linear layer to W.

    The document gives no count of the enhancer's numbers; the published size has 40 million.

    All residual branches begin at zero: at first an expert is its last linear layer and no more.

    Args:
        values: of the picture's feature, of a patch token and of a text feature.
        width: W.
        spread: standard deviation of the language model's token embeddings; None for the published
            size.
        learned: F_win is a parameter.
    """

    def __init__(
        self,
        values: tuple[int, int, int],
        width: int,
        spread: float | None,
        learned: bool = True,
    ) -> None:
        super().__init__()
        picture, patch, text = values
        inner = picture if spread is None else COMPACT
        self.picture = nn.Identity() if spread is None else nn.Linear(picture, inner)
        self.patch = nn.Linear(patch, inner)
        self.text = nn.Linear(text, inner)
        self.texts = nn.Parameter(torch.randn(EXPERTS, text)) if learned else None
        self.attention = _Attention(inner)
        self.experts = nn.ModuleList(_Expert(inner, width) for _ in range(EXPERTS))
        self.norm = None if spread is None else nn.LayerNorm(width)
        self.spread = spread

    def begin(self, weight: Tensor, bias: Tensor) -> None:
        """Compute at first what a linear layer computes of the picture, in the published size.

        Each expert takes that layer as its last one, and the experts' weights sum to one.

        Args:
            weight: (W, C).
            bias: (W,).
        """
        for expert in self.experts:
            expert.get_submodule("out").load_state_dict({"weight": weight, "bias": bias})

    def forward(self, pictures: Tensor, cells: Tensor, texts: Tensor | None = None) -> Tensor:
        """(N, W): E_img.

        Args:
            pictures: (N, C), what stands for each.
            cells: (N, 9, P), means of the last layer's patch tokens, row by row.
            texts: (2, T), or (N, 2, T) of each picture's class: T_n, then T_a, where they are not
                learned.
        """
        if self.norm is not None:
            pictures = f.layer_norm(pictures, pictures.shape[-1:])
        sequence = torch.cat(
            [
                self.picture(pictures)[:, None],
                self.patch(f.layer_norm(cells, cells.shape[-1:])),
            ],
            1,
        )
        sequence = self.attention(sequence)  # (N, 10, inner)
        weights = self._weights(sequence[:, 0], self.texts if texts is None else texts)
        found = torch.stack([expert(sequence) for expert in self.experts], 1)  # (N, 2, W)
        out = (weights[..., None] * found).sum(1)
        if self.norm is None or self.spread is None:
            return out
        return self.spread * self.norm(out)  # type: ignore[no-any-return]

    def _weights(self, image: Tensor, texts: Tensor | None) -> Tensor:
        """W_e, (N, 2): equation 3."""
        assert texts is not None
        aligned = self.text(f.normalize(texts, dim=-1))
        similar: Tensor = (image[:, None] * aligned).sum(-1) / image.shape[-1] ** 0.5
        return similar.softmax(-1)


class _Attention(nn.Module):
    """A sequence (N, T, inner), and what each of its places takes from all of them."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inner)
        self.attend = nn.MultiheadAttention(inner, max(1, inner // HEAD), batch_first=True)
        nn.init.zeros_(self.attend.out_proj.weight)

    def forward(self, sequence: Tensor) -> Tensor:
        seen = self.norm(sequence)
        taken: Tensor = self.attend(seen, seen, seen, need_weights=False)[0]
        return sequence + taken


class _Expert(nn.Module):
    """(N, W) of a sequence (N, T, inner), whose first place is the image feature."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.attention = _Attention(inner)
        last = nn.Linear(4 * inner, inner)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.feed = nn.Sequential(nn.LayerNorm(inner), nn.Linear(inner, 4 * inner), nn.GELU(), last)
        self.out = nn.Linear(inner, width)

    def forward(self, sequence: Tensor) -> Tensor:
        image: Tensor = self.attention(sequence)[:, 0]
        return self.out(image + self.feed(image))  # type: ignore[no-any-return]


class MultiMaskFusion(nn.Module):
    """E_expert from the masks of the decoder's layers: section III.C, equations 5 and 6.

    Each layer's mask has a mask convolution block of its own, ordinary convolutions and then
    depthwise separable ones, which gives W / L values for each cell of the 3 x 3 grid. These are
    put side by side, and come after the base embeddings.

    Of the published size the document gives one figure, 10.2 million numbers; ours has 10.6 million
    at W = 4,096 and L = 4, 37 thousand of them in nine base embeddings. Table V's FLOPs, 49.3
    billion here and 15.6 for AnomalyGPT's prompt learner, are those of ten pictures, or have a
    point misplaced: that learner's layers are known, and take 1.56 billion multiply-adds for one.
    Read so, 4.93 billion are wanted here, and ours takes 4.59.

    In the compact size the blocks are `MaskReader`s: what makes a frozen language model listen to
    AnomalyGPT's compact prompt learner is kept.

    Attributes:
        side: in pixels of the masks that it reads.
        base_prompts: (base, W), the base embeddings.

    Args:
        width: W, at least L.
        spread: standard deviation of the language model's token embeddings; None for the published
            size.
        layers: L.
    """

    def __init__(self, width: int, spread: float | None, layers: int = 4) -> None:
        super().__init__()
        # Where W cannot be divided by L, the first blocks give one value more.
        parts = [width // layers + (i < width % layers) for i in range(layers)]
        self.blocks: nn.ModuleList
        if spread is None:
            self.side, base, size = 224, 9, 1.0
            self.blocks = nn.ModuleList(map(_PublishedBlock, parts))
        else:
            self.side, base, size = MAP, 4, spread
            self.blocks = nn.ModuleList(map(_compact, parts))
        self.norm = None if spread is None else nn.LayerNorm(width)
        self.base_prompts = nn.Parameter(size * torch.randn(base, width))
        self.spread = spread

    def forward(self, masks: Tensor) -> Tensor:
        """(N, base + 9, W): base embeddings, then those of the cells row by row.

        Args:
            masks: (N, L, side, side) in [0, 1].
        """
        found = [
            block(mask) for block, mask in zip(self.blocks, masks.unbind(1), strict=True)
        ]  # (N, 9, W / L) each
        cells = torch.cat(found, -1)
        if self.norm is not None and self.spread is not None:
            cells = self.spread * self.norm(cells)
        return torch.cat([self.base_prompts.expand(len(masks), -1, -1), cells], 1)


def _separable(before: int, after: int, stride: int = 1) -> list[nn.Module]:
    """A depthwise separable convolution: each channel by itself, then each place by itself."""
    return [
        nn.Conv2d(before, before, 3, stride, 1, groups=before),
        nn.Conv2d(before, after, 1),
    ]


def _compact(width: int) -> MaskReader:
    ordinary = [nn.Conv2d(1, 8, 3, 2, 1), nn.GELU(), nn.Conv2d(8, 16, 3, 2, 1), nn.GELU()]
    net = [*ordinary, *_separable(16, 32, stride=2), nn.GELU(), *_separable(32, 32), nn.GELU()]
    return MaskReader(nn.Sequential(*net), 32, width)


class _PublishedBlock(nn.Module):
    """(N, 9, width) of masks (N, 224, 224); first weights keep the signal's size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((1, 32, 64, 128, 256)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Conv2d(256, 512, 3, padding=1), nn.ReLU()]
        for _ in range(2):
            layers += [*_separable(512, 512), nn.ReLU()]
        layers += _separable(512, width)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                kind: Literal["linear", "relu"] = "linear" if layer.groups > 1 else "relu"
                nn.init.kaiming_normal_(layer.weight, nonlinearity=kind)
        self.net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(CELLS))

    def forward(self, masks: Tensor) -> Tensor:
        return self.net(masks[:, None]).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]
