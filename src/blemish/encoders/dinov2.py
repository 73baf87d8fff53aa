"""DINOv2 image encoders: patch tokens of any layers in one pass.

On a CPU the encoder runs in ONNX Runtime, on anything else in torch through
`transformers.Dinov2Model`; `docs/measurements.md` has both side by side. Both take the same
weights, pixels and position embedding, and agree to rounding.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish import weights as weights_table
from blemish.encoders import _vit_onnx
from blemish.encoders._batches import Grid, check_dtype, checked, grid_of, in_batches
from blemish.images import resize
from blemish.types import Features, Image

PATCH = 14


class Dinov2:
    """A DINOv2 vision transformer (Oquab et al., 2304.07193).

    Args:
        name: a row of the weights table.
        device: "cpu" (ONNX Runtime) or a torch device such as "cuda".
        dtype: "float32"; "int8" (8-bit weights and activations in the matrix products, CPU only);
            "float16" or "bfloat16" (torch devices only).
        batch_size: images a pass.
        weights: weights under `transformers.Dinov2Model`'s names, in place of the table's; for
            tests and for other sizes of the same architecture.

    Raises:
        OptionError: a dtype that the device does not offer.
        WeightsError: the weights cannot be had.
    """

    default_layers = (7, 9)
    default_size = 448

    def __init__(
        self,
        name: str = "dinov2-small",
        *,
        device: str = "cpu",
        dtype: str = "float32",
        batch_size: int = 4,
        weights: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> None:
        offered = ("float32", "int8") if device == "cpu" else ("float32", "float16", "bfloat16")
        check_dtype(name, dtype, device, offered)
        self.name = name
        self.device = device
        self.dtype = dtype
        self.batch_size = batch_size
        self._weights = weights_table.tensors(name) if weights is None else weights
        source = "given" if weights is not None else weights_table.row(name).sha256[:16]
        self.fingerprint = f"{name}:{source}:{dtype}:{'onnx' if device == 'cpu' else 'torch'}"
        self._position = self._weights["embeddings.position_embeddings"][0, 1:]
        self.depth = 1 + max(
            int(key.split(".")[2]) for key in self._weights if key.startswith("encoder.layer.")
        )
        self._run = lru_cache(maxsize=4)(self._onnx if device == "cpu" else self._torch)

    def encode(
        self, images: Sequence[Image], *, layers: Sequence[int], size: int
    ) -> list[Features]:
        """See `blemish.types.Encoder`. The class token is that of the last layer asked for.

        Args:
            images: each (H, W, 3) uint8 RGB, of any sizes.
            layers: from 1 to the encoder's depth; computation stops at the last of them. Tokens
                have passed the model's final layer norm.
            size: side in pixels of the square whose area the resized image keeps, at least 14.

        Raises:
            OptionError: a layer or size that the encoder does not have.
        """
        wanted = checked(self.name, layers, self.depth, size, PATCH)
        run = self._run(wanted)

        def batch(some: list[Image], grid: Grid) -> list[Features]:
            tokens = run(np.stack([_patches(image, grid) for image in some]), grid)
            return [
                Features(
                    tokens[wanted[-1]][place, 0],
                    {k: tokens[k][place, 1:].reshape(*grid, -1) for k in wanted},
                )
                for place in range(len(some))
            ]

        grids = [grid_of(image, size, PATCH) for image in images]
        return in_batches(images, grids, self.batch_size, batch)

    def _position_for(self, grid: Grid) -> NDArray[np.float32]:
        """(1, h * w, D) float32: the position embedding, interpolated as the publisher does."""
        side = round(len(self._position) ** 0.5)
        table = self._position.reshape(side, side, -1)
        rows, columns = _bicubic(grid[0], side), _bicubic(grid[1], side)
        out = np.einsum("ai,bj,ijd->abd", rows, columns, table, optimize=True)
        return np.asarray(out.reshape(1, -1, table.shape[-1]), np.float32)

    def _onnx(self, layers: tuple[int, ...]) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0)) if _HAS_AFFINITY else 0
        options.log_severity_level = 3
        graph = _vit_onnx.build(self._weights, layers, int8=self.dtype == "int8")
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        names = [f"layer{k}" for k in layers]
        position = lru_cache(maxsize=256)(self._position_for)

        def run(pixels: NDArray[np.uint8], grid: Grid) -> dict[int, NDArray[np.float32]]:
            outputs = session.run(names, {"pixels": pixels, "position": position(grid)})
            return dict(zip(layers, outputs, strict=True))

        return run

    def _torch(self, layers: tuple[int, ...]) -> Any:
        import torch

        model = torch_model(self._weights, max(layers)).to(self.device, getattr(torch, self.dtype))
        mean = torch.tensor(_vit_onnx.MEAN * 255, device=self.device).view(3, 1, 1)
        std = torch.tensor(_vit_onnx.STD * 255, device=self.device).view(3, 1, 1)

        @torch.inference_mode()
        def run(pixels: NDArray[np.uint8], grid: Grid) -> dict[int, NDArray[np.float32]]:
            h, w = grid
            images = pixels.reshape(-1, h, w, PATCH, PATCH, 3).transpose(0, 5, 1, 3, 2, 4)
            images = images.reshape(-1, 3, h * PATCH, w * PATCH)
            batch = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
            batch = ((batch.float() - mean) / std).to(model.dtype)
            states = model(batch, output_hidden_states=True).hidden_states
            return {k: model.layernorm(states[k]).float().cpu().numpy() for k in layers}

        return run


_HAS_AFFINITY = hasattr(os, "sched_getaffinity")  # not on macOS and Windows


def torch_model(weights: Mapping[str, NDArray[np.float32]], depth: int) -> Any:
    """A `transformers.Dinov2Model` of the first `depth` layers, in evaluation mode."""
    import torch
    from transformers import Dinov2Config, Dinov2Model

    tokens, width = weights["embeddings.position_embeddings"].shape[1:]
    config = Dinov2Config(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=width // _vit_onnx.HEAD_WIDTH,
        image_size=PATCH * round((tokens - 1) ** 0.5),
        patch_size=PATCH,
    )
    model = Dinov2Model(config)
    wanted = model.state_dict()
    model.load_state_dict({k: torch.tensor(weights[k]) for k in wanted if k in weights})
    model.train(False)
    return model


def _patches(image: Image, grid: Grid) -> NDArray[np.uint8]:
    """(h * w, 14 * 14 * 3) uint8: the resized image cut into patches, row by row."""
    h, w = grid
    sized = resize(image, h * PATCH, w * PATCH)
    cut = sized.reshape(h, PATCH, w, PATCH, 3).transpose(0, 2, 1, 3, 4)
    return cut.reshape(h * w, -1)


def _bicubic(out: int, size: int) -> NDArray[np.float64]:
    """(out, size): the matrix that resamples a line of `size` values to `out`.

    Cubic convolution with a = -0.75 and clamped borders, without antialiasing: what
    `torch.nn.functional.interpolate(mode="bicubic")` does, which the publisher's code calls.
    """
    a = -0.75
    centre = (np.arange(out) + 0.5) * size / out - 0.5
    left = np.floor(centre).astype(int)
    matrix = np.zeros((out, size))
    for offset in (-1, 0, 1, 2):
        t = np.abs(centre - (left + offset))
        near = ((a + 2) * t - (a + 3)) * t * t + 1
        far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
        columns = np.clip(left + offset, 0, size - 1)
        np.add.at(matrix, (np.arange(out), columns), np.where(t <= 1, near, far))
    return matrix
