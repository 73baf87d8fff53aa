"""Made-up parts with made-up defects: seeded, fast, free to publish.

>>> example = make_part("woven", seed=7, defect="stain")
>>> example.sample.id, example.label, example.sample.image.shape
('woven-0007-stain', 'anomalous', (256, 256, 3))

A defective part is the good part of the same kind, seed and size with a defect put in: the two
pictures are equal to the bit outside the mask.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pictures

from blemish.errors import OptionError, OutputError, nearest
from blemish.synthesis import _procedural_defects as defects
from blemish.synthesis import _procedural_objects as objects
from blemish.synthesis import _procedural_textures as textures
from blemish.synthesis._procedural_board import board
from blemish.synthesis._procedural_camera import Camera
from blemish.synthesis._procedural_scene import Field, Rng, Scene
from blemish.types import Example, Image, Mask, Sample

_Size = tuple[int, int]


@dataclass(frozen=True)
class _Product:
    """A kind of part: its name in prompts, how it is made, what can be wrong with it."""

    class_name: str
    build: Callable[[Rng, _Size], Scene]
    defects: Mapping[str, Callable[[Scene, Rng], Scene]]
    grey: bool = False
    """Taken with a monochrome camera."""


_SURFACE = {"scratch": defects.scratch, "dent": defects.dent, "stain": defects.stain}
_FOREIGN = {"fibre": defects.fibre, "debris": defects.debris}
_SOLAR = {
    "crack": defects.crack,
    "inactive": defects.inactive,
    "fingers": defects.fingers,
    "shade": defects.shade,
}
_PRODUCTS: Mapping[str, _Product] = {
    "woven": _Product(
        "woven fabric",
        textures.woven,
        {
            "fray": defects.fray,
            "hole": defects.hole,
            "stain": defects.stain,
            "fibre": defects.fibre,
            "shade": defects.shade,
        },
    ),
    "brushed": _Product(
        "brushed metal plate", textures.brushed, {**_SURFACE, "fibre": defects.fibre}
    ),
    "tiled": _Product(
        "tiled floor",
        textures.tiled,
        {
            "crack": defects.crack,
            "missing": defects.missing,
            "scratch": defects.scratch,
            "stain": defects.stain,
            "debris": defects.debris,
        },
    ),
    "grid": _Product(
        "wire grid",
        objects.grid,
        {
            "missing": defects.missing,
            "bent": defects.bent,
            "stain": defects.stain,
            **_FOREIGN,
        },
    ),
    "wood": _Product(
        "wooden board",
        textures.wood,
        {**_SURFACE, "hole": defects.hole, "crack": defects.crack},
    ),
    "bottle": _Product(
        "glass bottle seen from above",
        objects.bottle,
        {"chip": defects.chip, "crack": defects.fissure, **_FOREIGN},
    ),
    "nut": _Product(
        "hexagon nut",
        objects.nut,
        {**_SURFACE, "missing": defects.missing, "debris": defects.debris},
    ),
    "board": _Product(
        "circuit board",
        board,
        {
            "missing": defects.unmounted,
            "misplaced": defects.misplaced,
            "scratch": defects.scratch,
            "stain": defects.stain,
            "fibre": defects.fibre,
        },
    ),
    "cast": _Product(
        "ground metal casting",
        textures.cast,
        {
            "hole": defects.hole,
            "crack": defects.crack,
            "missing": defects.missing,
            "shade": defects.shade,
            "scratch": defects.scratch,
        },
        grey=True,
    ),
    "cell": _Product("monocrystalline solar cell", objects.cell, _SOLAR, grey=True),
    "poly": _Product("polycrystalline solar cell", objects.poly, _SOLAR, grey=True),
}

KINDS: tuple[str, ...] = tuple(_PRODUCTS)
"""Every kind of part."""
DEFECTS: Mapping[str, tuple[str, ...]] = {
    kind: tuple(product.defects) for kind, product in _PRODUCTS.items()
}
"""Kind of part to the defects it can have."""

_SMALLEST, _LARGEST = 0.0005, 0.25  # of the picture, that a defect's mask may cover
_FAINTEST = 6 / 255  # mean change within the mask; the camera's noise is about 2 / 255


def make_part(
    kind: str, seed: int, *, defect: str | None = None, size: tuple[int, int] = (256, 256)
) -> Example:
    """A picture of one part.

    Args:
        kind: one of `KINDS`.
        seed: 0 or more; the same kind, seed, defect and size give the same bytes.
        defect: one of `DEFECTS[kind]`, or None for a good part.
        size: (H, W) in pixels, each side from 64 to 1024.

    Returns:
        An example with a mask (all False for a good part), the id `kind-seed-defect`, and the
        defect as its kind. Outside the mask the picture equals the good part of the same seed;
        the mask covers 0.05 % to 25 % of the picture.

    Raises:
        OptionError: an unknown kind or defect, a negative seed, or a size out of range.
    """
    _check(kind, seed, defect, size)
    product, rng = _PRODUCTS[kind], _rng(kind, seed)
    camera = Camera.draw(rng, size, mono=product.grey)
    scene = product.build(rng, size)
    exposure, mask = camera.expose(scene), np.zeros(size, np.bool_)
    if defect is not None:
        draw = product.defects[defect]
        exposure, mask = _spoil(scene, camera, exposure, draw, _rng(kind, seed, defect))
    name = f"{kind}-{seed:04d}-{defect or 'good'}"
    sample = Sample(camera.develop(exposure), class_name=product.class_name, id=name)
    return Example(sample, "anomalous" if defect else "normal", mask, defect or "good")


def make_set(
    kind: str,
    *,
    normals: int,
    anomalous: int,
    seed: int = 0,
    size: tuple[int, int] = (256, 256),
) -> list[Example]:
    """Different parts of one kind: good ones first, then defective ones, all defects in turn.

    Sets of different seeds share no part while each has at most 10,000.
    """
    _check(kind, seed, None, size)
    drawn = [None] * normals + [DEFECTS[kind][i % len(DEFECTS[kind])] for i in range(anomalous)]
    return [
        make_part(kind, seed * 10_000 + i, defect=defect, size=size)
        for i, defect in enumerate(drawn)
    ]


def write_set(
    folder: Path,
    kind: str,
    *,
    train: int,
    good: int,
    anomalous: int,
    seed: int = 0,
    size: tuple[int, int] = (256, 256),
) -> None:
    """Write parts of one kind as PNG files in the layout of MVTec AD.

    Args:
        folder: new or empty; gets train/good, test/good, test/<defect> and
            ground_truth/<defect>/<name>_mask.png (0 and 255).
        kind: one of `KINDS`.
        train: number of good parts in train/good.
        good: number of good parts in test/good.
        anomalous: number of defective parts, spread evenly over the kind's defects.
        seed: as in `make_set`.
        size: (H, W) in pixels.

    Raises:
        OutputError: the folder holds something already or cannot be written.
    """
    try:
        if folder.exists() and any(folder.iterdir()):
            raise OutputError(f"{folder} is not empty; name a new or empty folder for the parts.")
        examples = make_set(kind, normals=train + good, anomalous=anomalous, seed=seed, size=size)
        for i, example in enumerate(examples):
            part = "train" if i < train else "test"
            name = example.sample.id
            _save(folder / part / example.kind / f"{name}.png", example.sample.image)
            if example.mask is not None and example.label == "anomalous":
                mask = example.mask.astype(np.uint8) * 255
                _save(folder / "ground_truth" / example.kind / f"{name}_mask.png", mask)
    except OSError as error:
        raise OutputError(f"Parts cannot be written to {folder}: {error}.") from error


def _check(kind: str, seed: int, defect: str | None, size: tuple[int, int]) -> None:
    if kind not in KINDS:
        raise OptionError(f"There is no part of kind {kind!r}. {nearest(kind, KINDS)}")
    if defect is not None and defect not in DEFECTS[kind]:
        hint = nearest(defect, DEFECTS[kind])
        raise OptionError(f"A {kind} part cannot have the defect {defect!r}. {hint}")
    if seed < 0:
        raise OptionError(f"Seed {seed} came; expected 0 or more.")
    if len(size) != 2 or not all(64 <= side <= 1024 for side in size):
        raise OptionError(f"Size {size} came; expected (height, width), each from 64 to 1024.")


def _rng(*key: str | int) -> Rng:
    """A generator for one purpose; other keys give unrelated numbers."""
    return np.random.default_rng([zlib.crc32(str(word).encode()) for word in key])


def _spoil(
    scene: Scene, camera: Camera, good: Field, draw: Callable[[Scene, Rng], Scene], rng: Rng
) -> tuple[Field, Mask]:
    """The exposure with a defect, and its mask; drawn anew while too small, large or faint."""
    for attempt in range(40):
        # Later attempts are larger, for pictures so small that a defect falls between pixels.
        coarser = replace(scene, unit=scene.unit * (1 + 0.04 * attempt))
        spoilt = camera.expose(replace(draw(coarser, rng), unit=scene.unit))
        change = np.abs(spoilt - good).mean(axis=2)
        mask = _outline(change, scene.unit)
        if _SMALLEST <= mask.mean() <= _LARGEST and change[mask].mean() >= _FAINTEST:
            return np.where(mask[..., None], spoilt, good), mask
    raise OptionError(
        f"No visible defect fits a picture of {scene.size} with this seed; take another seed or "
        "a larger picture."
    )


def _outline(change: Field, unit: float) -> Mask:
    """What a person would outline, (H, W) bool, given how much each pixel changed."""
    clear = change > np.clip(0.06 * change.max(), 2.5 / 255, 5 / 255)
    side = max(3, 2 * round(2 * unit) + 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    closed = cv2.morphologyEx(clear.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(closed)
    areas = stats[:, cv2.CC_STAT_AREA]
    keep = areas >= max(2.0, 0.02 * areas[1:].max(initial=0))  # crumbs belong to no outline
    keep[0] = False
    mask: Mask = keep[labels]
    return mask


def _save(path: Path, image: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pictures.fromarray(image).save(path)
