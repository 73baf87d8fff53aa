"""What the tests of detectors share: made-up parts, detectors over a stand-in, plain loops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from blemish.detectors.iad_gpt import IADGPT, IADGPTOptions
from blemish.detectors.musc import MuSc, MuScOptions
from blemish.detectors.padim import PaDiM, PaDiMOptions
from blemish.detectors.patch_memory import PatchMemory, PatchMemoryOptions
from blemish.detectors.patchcore import PatchCore, PatchCoreOptions
from blemish.detectors.spade import Spade, SpadeOptions
from blemish.synthesis.procedural import make_part
from blemish.types import Detector, Encoder, Image, Inspection, Sample

SIDE = 112
"""Of the made-up parts and of the encoder's input, so that a part's map is its working map."""


@pytest.fixture(scope="session")
def captions(stand_ins: ModuleType) -> Any:
    """The stand-in for CLIP."""
    return stand_ins.Captions()


@pytest.fixture(scope="session")
def make_encoder(stand_ins: ModuleType) -> Callable[[str], Encoder]:
    """Builds the stand-in encoder with another fingerprint."""
    return lambda fingerprint: cast(Encoder, stand_ins.Cells(fingerprint))


@pytest.fixture(scope="session")
def cells(stand_ins: ModuleType) -> Encoder:
    """The stand-in encoder: layers 1 and 2, whose grids differ."""
    return cast(Encoder, stand_ins.Cells())


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


@pytest.fixture
def reading_iad_gpt(stand_ins: ModuleType, tmp_path: Path) -> Callable[..., Any]:
    """Builds `iad-gpt` over an encoder so that it answers rightly what its masks show."""

    def build(encoder: Encoder, **options: Any) -> IADGPT:
        folder = stand_ins.reading_adapter(tmp_path / "reading", encoder.name, "iad-gpt")
        own = IADGPTOptions(adapter=str(folder), **options)
        return IADGPT(encoder=encoder, language_model=stand_ins.Reader(), options=own)

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
