"""Encoders and a language model that need no weights. For tests."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.images import resize
from blemish.places import POSITIONS
from blemish.types import Features, Image

SIDE = 112
"""Of the encoders' input."""


class Cells:
    """Stands in for an encoder: statistics of cells of 14 (layer 1) and 28 (layer 2) pixels."""

    name = "cells"
    default_layers: tuple[int, ...] = (1, 2)
    default_size = SIDE

    def __init__(self, fingerprint: str = "cells:1") -> None:
        self.fingerprint = fingerprint

    def encode(
        self, images: Sequence[Image], *, layers: Sequence[int], size: int
    ) -> list[Features]:
        return [self._features(image, layers, size) for image in images]

    def _features(self, image: Image, layers: Sequence[int], size: int) -> Features:
        scale = size / (28 * (image.shape[0] * image.shape[1]) ** 0.5)
        rows, columns = (max(1, round(side * scale)) for side in image.shape[:2])
        sized = np.asarray(resize(image, 28 * rows, 28 * columns) / 255, np.float32)
        patches = {k: _cells(sized, 14 * k) for k in sorted(layers)}
        return Features(patches[max(patches)].mean((0, 1)), patches)


def _cells(image: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """(h, w, 13): a constant, mean and spread of each colour, edges, what the quarters hold."""
    h, w = image.shape[0] // side, image.shape[1] // side
    balanced = image - image.mean((0, 1))  # so that exposure and white balance matter little
    cells = balanced.reshape(h, side, w, side, 3).transpose(0, 2, 1, 3, 4)
    grey = cells.mean(-1)
    mean = grey.mean((2, 3))
    half = side // 2
    quarters = [grey[:, :, y : y + half, x : x + half] for y in (0, half) for x in (0, half)]
    return np.concatenate(
        [
            np.full((h, w, 1), 0.2),
            cells.mean((2, 3)),
            cells.std((2, 3)),
            2 * np.abs(np.diff(grey, axis=2)).mean((2, 3))[..., None],
            2 * np.abs(np.diff(grey, axis=3)).mean((2, 3))[..., None],
            np.stack([q.mean((2, 3)) - mean for q in quarters], -1),
        ],
        axis=-1,
    ).astype(np.float32)


class Captions(Cells):
    """Stands in for CLIP: dark places turn a picture from the words for normal to the others.

    Each embedding is (cos t, sin t, a little of what is seen): t rises with the darkest cell of a
    window, seen beside its row and column. Normal texts have t near 0, abnormal ones near 1.
    """

    name = "captions"
    logit_scale = 30.0
    patch = 14
    abnormal = re.compile(
        r"\b(abnormal|damaged|broken|defective|imperfect|blemished)|with (fl|de|da)"
    )

    @property
    def value_projection(self) -> NDArray[np.float32]:
        return np.asarray(np.random.default_rng(3).standard_normal((13, 8)) / 3, np.float32)

    def encode_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), 8))
        for row, text in zip(rows, texts, strict=True):
            noise = np.random.default_rng(zlib.crc32(text.encode())).standard_normal(8)
            angle = float(bool(self.abnormal.search(text))) + 0.1 * noise[0]
            row[:] = [np.cos(angle), np.sin(angle), *(0.05 * noise[2:])]
        return _unit(rows)

    def embed(self, images: Sequence[Image]) -> NDArray[np.float32]:
        return np.asarray(self.joint(images).embeddings)

    def joint(
        self, images: Sequence[Image], *, size: int | None = None, vv: bool = False
    ) -> SimpleNamespace:
        side = (size or SIDE) // 14
        seen = [self._seen(image, side) for image in images]
        whole = [_caption(odd.max(), cells.mean((0, 1))) for odd, cells in seen]
        patches = [
            [
                [_caption(o / (2 if vv else 1), c) for o, c in zip(*row, strict=True)]
                for row in zip(odd, cells, strict=True)
            ]
            for odd, cells in seen
        ]
        values = [np.concatenate([c.mean((0, 1))[None], c.reshape(-1, 13)]) for _, c in seen]
        return SimpleNamespace(
            embeddings=_unit(whole),
            patches=_unit(patches),
            tokens=np.stack([cells for _, cells in seen]),
            values=np.stack(values),
        )

    def windows(
        self,
        images: Sequence[Image],
        scale: int,
        *,
        size: int | None = None,
        values: bool = False,
    ) -> SimpleNamespace:
        side = (size or SIDE) // 14
        steps = side - scale + 1
        places = np.array([(y, x) for y in range(steps) for x in range(steps)])
        inside = np.array([side * y + x for y in range(scale) for x in range(scale)])
        rows = np.array([[0, *(1 + side * y + x + inside)] for y, x in places])
        embeddings, last = [], []
        for image in images:
            odd, cells = self._seen(image, side)
            parts = [np.s_[y : y + scale, x : x + scale] for y, x in places]
            embeddings.append(
                [_caption(odd[p].max(), cells[p].mean((0, 1)) * scale / side) for p in parts]
            )
            some = [
                np.concatenate([cells[p].mean((0, 1))[None], cells[p].reshape(-1, 13)])
                for p in parts
            ]
            last.append(np.array(some) * (1 - 0.1 / scale))
        return SimpleNamespace(
            places=places,
            rows=rows,
            embeddings=_unit(embeddings),
            values=np.asarray(last, np.float32) if values else None,
        )

    def _seen(self, image: Image, side: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """(side, side) how dark each cell is for its place, and (side, side, 13) its statistics."""
        sized = resize(image, 14 * side, 14 * side)
        grey = sized.mean(2).reshape(side, 14, side, 14).mean((1, 3))
        usual = np.median(grey, 0) + np.median(grey, 1)[:, None] - np.median(grey)
        return np.maximum(usual - grey, 0) / 64, _cells(np.asarray(sized / 255, np.float32), 14)


def _caption(odd: float, cells: NDArray[np.float32]) -> NDArray[np.float64]:
    angle = min(float(odd), 1.2)
    return np.array([np.cos(angle), np.sin(angle), *(0.1 * cells[1:7])])


def _unit(rows: Any) -> NDArray[np.float32]:
    found = np.asarray(rows, np.float64)
    return np.asarray(found / np.linalg.norm(found, axis=-1, keepdims=True), np.float32)


class Reader:
    """Stands in for the language model of AnomalyGPT: says what the map's embeddings hold.

    It goes with `reading_adapter`, whose embedding of a cell holds how far the map's maximum there
    lies above the operating point.
    """

    name, fingerprint, device = "reader", "reader:1", "cpu"
    width, spread, window = 4, 1.0, 4096

    def embed(self, text: str) -> Any:
        import torch

        return torch.zeros(len(text), self.width)

    def generate(self, prompts: Sequence[Any], **_: Any) -> list[SimpleNamespace]:
        return [self._said(rows.numpy()) for rows in prompts]

    def _said(self, rows: NDArray[np.float32]) -> SimpleNamespace:
        cells = rows[rows[:, 1] > rows[:, 2]]
        held = (cells[:, 0] - cells[:, 3]) / (cells[:, 1] - cells[:, 2])
        odd = [f"the {p}" for p, m in zip(POSITIONS, held, strict=True) if m >= 0.5]
        text = f"Yes, there is an anomaly in the image, at {' and '.join(odd)} of the image."
        yes = float(np.clip(held.max(), 0, 1))
        return SimpleNamespace(
            text=text if odd else "No, there are no anomalies in the image.",
            ended="stop",
            first={"Yes": yes, "No": 1 - yes},
            tokens=len(text),
        )


def reading_adapter(folder: Path, encoder: str, kind: str = "anomalygpt") -> Path:
    """An adapter of a detector, written by hand, that `Reader` understands.

    The layer's norm takes mean and scale away; the ratio of two differences stays. Of "iad-gpt",
    whose masks are two, half of that of each is read.
    """
    import torch

    from blemish.detectors import _adapter

    own = kind == "iad-gpt"
    config = _adapter.AdapterConfig(
        kind=kind,
        encoder=encoder,
        layers=(1, 2),
        features=13,
        text=4,
        learned_texts=True,
        language_model=Reader.name,
        width=Reader.width,
        spread=Reader.spread,
        enhancer=own,
        fusion=own,
        apg=own,
        abnormal=8 if own else 1,
    )
    torch.manual_seed(0)
    made: dict[str, Any] = _adapter.modules(config)
    learner, image = made["prompt_learner"], made["image"]
    blocks = learner.blocks if own else [learner]
    pictures = [expert.out for expert in image.experts] if own else [image.linear]
    with torch.no_grad():
        learner.base_prompts.zero_()
        for block in blocks:
            block.cells.zero_()
            for tensor in (block.mix, block.out):
                tensor.weight.zero_()
                tensor.bias.zero_()
            block.mix.weight[0, -3] = 10  # how far the maximum lies above 0.5
            block.mix.bias[0] = 5
        for out in pictures:
            out.weight.zero_()
            out.bias.copy_(torch.tensor([0.0, -5.0, 5.0, 0.0]))
        if own:
            first, second = blocks
            first.out.weight[0, 0], second.out.weight[1, 0] = 0.5, -0.5
            first.out.bias[1], second.out.bias[0] = 5, -5
        else:
            learner.out.weight[0, 0] = 1
            learner.out.bias[1:3] = torch.tensor([5.0, -5.0])
    _adapter.write(folder, config, made)
    return folder
