"""EfficientNet-Lite0: a small, fast ImageNet CNN as a patch encoder.

EfficientNet (Tan and Le, 1905.11946) without squeeze-and-excitation and with ReLU6. Runs in torch,
its batch norms folded into the convolutions when it is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish import weights as weights_table
from blemish.encoders._batches import Grid, check_dtype, checked, grid_of, in_batches
from blemish.images import resize
from blemish.types import Features, Image

STAGES = ((0,), (1, 2), (3, 4), (5, 6, 7), (8, 9, 10), (11, 12, 13, 14), (15,))
"""Blocks of each of the seven stages, which are this encoder's layers 1 to 7."""
STRIDED = frozenset({1, 3, 5, 11})
"""Blocks that halve the resolution."""
STRIDES = (2, 4, 8, 16, 16, 32, 32)
"""Pixels a patch, by layer."""
CELL = STRIDES[-1]
"""Sides are multiples of this many pixels, so that every layer's grid fits."""
_EPSILON = 1e-3
_MEAN, _STD = 127.0, 128.0  # the publisher's scaling of raw pixels


class EfficientNetLite:
    """EfficientNet-Lite0, layers 1 to 7 with 16, 24, 40, 80, 112, 192 and 320 channels.

    Args:
        name: a row of the weights table.
        device: a torch device.
        dtype: "float32"; "float16" or "bfloat16" on devices other than the CPU.
        batch_size: images a pass.
        weights: weights under the publisher's names in place of the table's; for tests.

    Raises:
        OptionError: a dtype that the device does not offer.
        WeightsError: the weights cannot be had.
    """

    default_layers = (3, 5)
    default_size = 320

    def __init__(
        self,
        name: str = "efficientnet-lite0",
        *,
        device: str = "cpu",
        dtype: str = "float32",
        batch_size: int = 4,
        weights: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> None:
        offered = ("float32",) if device == "cpu" else ("float32", "float16", "bfloat16")
        check_dtype(name, dtype, device, offered)
        self.name = name
        self.device = device
        self.batch_size = batch_size
        source = "given" if weights is not None else weights_table.row(name).sha256[:16]
        self.fingerprint = f"{name}:{source}:{dtype}:torch"
        table = weights_table.tensors(name) if weights is None else weights
        self._convolutions = _folded(table, device, dtype)

    def encode(
        self, images: Sequence[Image], *, layers: Sequence[int], size: int
    ) -> list[Features]:
        """See `blemish.types.Encoder`. The class token is the mean of the last layer's patches.

        Args:
            images: each (H, W, 3) uint8 RGB, of any sizes.
            layers: stages 1 to 7; computation stops at the last of them. Each layer has its own
                grid: the image's sides divided by `STRIDES`.
            size: side in pixels of the square whose area the resized image keeps, at least 32.

        Raises:
            OptionError: a layer or size that the encoder does not have.
        """
        import torch

        wanted = checked(self.name, layers, len(STAGES), size, CELL)

        def batch(some: list[Image], grid: Grid) -> list[Features]:
            pixels = np.stack([resize(image, CELL * grid[0], CELL * grid[1]) for image in some])
            with torch.inference_mode():
                maps = self._forward(torch.from_numpy(pixels), wanted)
            arrays = {k: m.float().cpu().numpy().transpose(0, 2, 3, 1) for k, m in maps.items()}
            patches = [
                {k: np.ascontiguousarray(a[place]) for k, a in arrays.items()}
                for place in range(len(some))
            ]
            return [Features(p[wanted[-1]].mean((0, 1)), p) for p in patches]

        grids = [grid_of(image, size, CELL) for image in images]
        return in_batches(images, grids, self.batch_size, batch)

    def _forward(self, pixels: Any, layers: Sequence[int]) -> dict[int, Any]:
        """(B, H, W, 3) uint8 to (B, C, h, w) for each layer."""
        convolutions = self._convolutions
        dtype = convolutions["stem"][0].dtype
        x = pixels.permute(0, 3, 1, 2).to(self.device).to(dtype)
        x = _same_conv((x - _MEAN) / _STD, *convolutions["stem"], stride=2).clamp(0, 6)
        kept = {}
        for layer, blocks in enumerate(STAGES[: max(layers)], 1):
            for block in blocks:
                stride = 2 if block in STRIDED else 1
                y = x
                if block > 0:
                    y = _same_conv(y, *convolutions[f"{block}.expand"]).clamp(0, 6)
                y = _same_conv(y, *convolutions[f"{block}.depthwise"], stride=stride).clamp(0, 6)
                y = _same_conv(y, *convolutions[f"{block}.project"])
                x = x + y if stride == 1 and x.shape[1] == y.shape[1] else y
            if layer in layers:
                kept[layer] = x
        return kept


def _folded(
    weights: Mapping[str, NDArray[np.float32]], device: str, dtype: str
) -> dict[str, tuple[Any, Any]]:
    """Kernel and bias of every convolution with its batch norm folded in."""
    import torch

    def fold(conv: str, norm: str) -> tuple[Any, Any]:
        scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + _EPSILON)
        kernel = weights[f"{conv}.weight"] * scale[:, None, None, None]
        bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
        kind = getattr(torch, dtype)
        return torch.tensor(kernel).to(device, kind), torch.tensor(bias).to(device, kind)

    folded = {"stem": fold("_conv_stem", "_bn0")}
    for block in range(sum(map(len, STAGES))):
        steps = ("expand", "depthwise", "project") if block else ("depthwise", "project")
        # The publisher numbers the norms of a block by what they follow: 0, 1 and 2.
        for step in steps:
            number = ("expand", "depthwise", "project").index(step)
            prefix = f"_blocks.{block}."
            folded[f"{block}.{step}"] = fold(f"{prefix}_{step}_conv", f"{prefix}_bn{number}")
    return folded


def _same_conv(x: Any, kernel: Any, bias: Any, stride: int = 1) -> Any:
    """Convolution with TensorFlow's "same" padding, which the weights were trained with."""
    from torch.nn import functional as f

    groups = x.shape[1] // kernel.shape[1]
    padding = []
    for side, k in ((x.shape[3], kernel.shape[3]), (x.shape[2], kernel.shape[2])):
        total = max((-(-side // stride) - 1) * stride + k - side, 0)
        padding += [total // 2, total - total // 2]
    if padding[0] == padding[1] and padding[2] == padding[3]:
        return f.conv2d(x, kernel, bias, stride, (padding[2], padding[0]), groups=groups)
    return f.conv2d(f.pad(x, padding), kernel, bias, stride, groups=groups)
