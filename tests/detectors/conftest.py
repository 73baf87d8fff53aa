"""What the tests of detectors share: an encoder without weights, made-up parts, plain loops."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from blemish.detectors.musc import MuSc, MuScOptions
from blemish.detectors.padim import PaDiM, PaDiMOptions
from blemish.detectors.patch_memory import PatchMemory, PatchMemoryOptions
from blemish.detectors.patchcore import PatchCore, PatchCoreOptions
from blemish.detectors.spade import Spade, SpadeOptions
from blemish.images import resize
from blemish.synthesis.procedural import make_part
from blemish.types import Detector, Encoder, Features, Image, Inspection, Sample

SIDE = 112
"""Of the made-up parts and of the encoder's input, so that a part's map is its working map."""


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
        return self.joint(images).embeddings

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
        self, images: Sequence[Image], scale: int, *, size: int | None = None
    ) -> SimpleNamespace:
        side = (size or SIDE) // 14
        steps = side - scale + 1
        places = np.array([(y, x) for y in range(steps) for x in range(steps)])
        inside = np.array([side * y + x for y in range(scale) for x in range(scale)])
        rows = np.array([[0, *(1 + side * y + x + inside)] for y, x in places])
        embeddings, values = [], []
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
            values.append(np.array(some) * (1 - 0.1 / scale))
        return SimpleNamespace(
            places=places,
            rows=rows,
            embeddings=_unit(embeddings),
            values=np.asarray(values, np.float32),
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


@pytest.fixture(scope="session")
def captions() -> Captions:
    """The stand-in for CLIP."""
    return Captions()


@pytest.fixture(scope="session")
def make_encoder() -> Callable[[str], Encoder]:
    """Builds the stand-in encoder with another fingerprint."""
    return lambda fingerprint: Cells(fingerprint)


@pytest.fixture(scope="session")
def cells() -> Encoder:
    """The stand-in encoder: layers 1 and 2, whose grids differ."""
    return Cells()


@pytest.fixture(scope="session")
def good() -> list[Sample]:
    """Twenty good parts, 112 x 112."""
    return [make_part("brushed", seed, size=(SIDE, SIDE)).sample for seed in range(20)]


@pytest.fixture(scope="session")
def broken() -> Sample:
    """A part of the same kind with a stain, 112 x 112."""
    return make_part("brushed", 103, defect="stain", size=(SIDE, SIDE)).sample


@pytest.fixture(scope="session")
def patch_memory(cells: Encoder) -> Callable[..., PatchMemory]:
    """Builds the detector on the stand-in encoder, with options; references not turned."""

    def build(encoder: Encoder = cells, seed: int = 0, **options: Any) -> PatchMemory:
        checked = PatchMemoryOptions(**{"augment": "none", **options})
        return PatchMemory(encoder=encoder, options=checked, seed=seed)

    return build


@pytest.fixture(scope="session")
def musc(cells: Encoder) -> Callable[..., MuSc]:
    """Builds the detector on the stand-in encoder, with options."""

    def build(encoder: Encoder = cells, seed: int = 0, **options: Any) -> MuSc:
        return MuSc(encoder=encoder, options=MuScOptions(**options), seed=seed)

    return build


@pytest.fixture(scope="session")
def published(cells: Encoder) -> Callable[..., Detector]:
    """Builds `padim`, `patchcore` or `spade` at the stand-in encoder's size, with options.

    PatchCore keeps every patch unless asked for a coreset.
    """

    def build(name: str, seed: int = 0, **options: Any) -> Detector:
        given = {"size": SIDE, **({"coreset": 1} if name == "patchcore" else {}), **options}
        if name == "padim":
            return PaDiM(encoder=cells, options=PaDiMOptions(**given), seed=seed)
        if name == "patchcore":
            return PatchCore(encoder=cells, options=PatchCoreOptions(**given), seed=seed)
        return Spade(encoder=cells, options=SpadeOptions(**given), seed=seed)

    return build


@pytest.fixture(scope="session")
def one() -> Callable[[Detector, Sample], Inspection]:
    """What a detector finds on one sample."""

    def inspection(detector: Detector, sample: Sample) -> Inspection:
        (found,) = detector.predict([sample])
        assert isinstance(found, Inspection)
        return found

    return inspection


@pytest.fixture(scope="session")
def raw(one: Callable[[Detector, Sample], Inspection]) -> Callable[[Detector, Sample], float]:
    """The raw score that a detector gives one sample."""

    def score(detector: Detector, sample: Sample) -> float:
        found = one(detector, sample).raw_score
        assert found is not None
        return found

    return score


@pytest.fixture(scope="session")
def state() -> Callable[[Detector, Path], dict[str, NDArray[Any]]]:
    """The arrays that a detector saves."""

    def arrays(detector: Detector, folder: Path) -> dict[str, NDArray[Any]]:
        detector.save(folder)
        return dict(load_file(folder / "state.safetensors"))

    return arrays


@pytest.fixture(scope="session")
def facts() -> Callable[[Any], tuple[Any, ...]]:
    """Everything an inspection says but what it cost, so that two can be compared to the bit."""

    def tell(found: Any) -> tuple[Any, ...]:
        regions = [
            (r.label, r.box, r.mask.tobytes(), r.score, r.position, r.view) for r in found.regions
        ]
        maps = [(m.shape, m.tobytes()) for m in found.maps]
        said = (found.id, found.verdict, found.decided_by, found.reason, found.explanation)
        return (*said, found.score, found.raw_score, maps, regions, dict(found.evidence))

    return tell


@pytest.fixture(scope="session")
def bilinear() -> Callable[[NDArray[Any], int, int], NDArray[np.float64]]:
    """Bilinear enlargement about pixel centres, one line at a time."""

    def enlarge(grid: NDArray[Any], height: int, width: int) -> NDArray[np.float64]:
        def line(values: NDArray[Any], length: int) -> NDArray[np.float64]:
            places = (np.arange(length) + 0.5) * len(values) / length - 0.5
            return np.asarray(np.interp(places, np.arange(len(values)), values))

        rows = np.stack([line(row, width) for row in grid])
        return np.stack([line(column, height) for column in rows.T], axis=1)

    return enlarge


@pytest.fixture(scope="session")
def tokens_of(cells: Encoder) -> Callable[..., NDArray[np.float64]]:
    """(h, w, D) unit tokens of an image in one layer, averaged over `size` x `size` patches."""

    def tokens(image: Image, layer: int, size: int = 1) -> NDArray[np.float64]:
        patches = cells.encode([image], layers=[layer], size=SIDE)[0].patches[layer]
        h, w = patches.shape[:2]
        padded = np.pad(patches.astype(np.float64), [(size // 2,) * 2] * 2 + [(0, 0)], "edge")
        mean = np.empty(patches.shape)
        for y in range(h):
            for x in range(w):
                mean[y, x] = padded[y : y + size, x : x + size].mean((0, 1))
        return np.asarray(mean / np.linalg.norm(mean, axis=-1, keepdims=True))

    return tokens
