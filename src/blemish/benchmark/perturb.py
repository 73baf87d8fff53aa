"""Changed light and occlusion of test pictures, the same for every method.

Draws depend on the change and the picture's id alone. Copies are PNG files; masks stay as they
are, since neither change moves a pixel.

"light": every channel of the pixel at (x, y), both from -1 at the left or top edge to 1 at the
other, becomes value * gain * (1 + 0.2 * (x cos a + y sin a)), rounded, cut to 0..255. The gain is
drawn log-uniformly from 0.7 to 1 / 0.7, the direction a uniformly.

"occlusion": a grey (128, 128, 128) square, its side 15 % of the shorter side, at a place drawn
uniformly from those where it covers no anomalous pixel, so that the label stays true. A picture
whose mask is not known, or leaves no such place, stays as it is, and that is counted.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from blemish.datasets.model import Item
from blemish.errors import ImageError, InputError
from blemish.images import content_hash
from blemish.runs.folder import replace_file, writing
from blemish.runs.rows import file_name
from blemish.types import Image, Mask

DARKEST = 0.7
SLOPE = 0.2
SIDE = 0.15
GREY = 128


@dataclass(frozen=True)
class Changed:
    """Test pictures after a change.

    Attributes:
        items: the same pictures, with the paths of their copies; one that cannot be read keeps
            its own, so that it fails as it would have.
        as_is: ids of pictures that could not be occluded.
    """

    items: tuple[Item, ...]
    as_is: tuple[str, ...]


def changed(items: Sequence[Item], kinds: Sequence[str], folder: Path) -> Changed:
    """Write changed copies of pictures, unless they are there.

    Args:
        items: the pictures.
        kinds: "light" and "occlusion", done in this order.
        folder: for the copies; one for each combination of changes.

    Raises:
        OutputError: the folder cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    done, as_is = [], []
    for item in items:
        path = folder / f"{file_name(item.id)}.png"
        try:
            covered = _copy(item, kinds, path)
        except ImageError:
            done.append(item)
            continue
        done.append(replace(item, path=path))
        if not covered:
            as_is.append(item.id)
    return Changed(tuple(done), tuple(as_is))


def light(image: Image, item_id: str) -> Image:
    """A picture in changed light; see the module.

    Args:
        image: (H, W, 3) uint8 RGB.
        item_id: what the draw depends on.

    Returns:
        (H, W, 3) uint8 RGB, a new array.
    """
    random = _random("light", item_id)
    gain = float(np.exp(random.uniform(np.log(DARKEST), -np.log(DARKEST))))
    angle = float(random.uniform(0, 2 * np.pi))
    height, width = image.shape[:2]
    y = np.linspace(-1, 1, height)[:, None] * np.sin(angle)
    x = np.linspace(-1, 1, width)[None, :] * np.cos(angle)
    factor = gain * (1 + SLOPE * (x + y))
    return np.asarray(np.rint(np.clip(image * factor[:, :, None], 0, 255)), np.uint8)


def occlude(image: Image, mask: Mask | None, item_id: str) -> Image | None:
    """A picture with a grey square off its mask; see the module.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, True where anomalous; None where unknown.
        item_id: what the draw depends on.

    Returns:
        (H, W, 3) uint8 RGB, a new array; None where the square has no place.
    """
    if mask is None:
        return None
    side = max(1, round(SIDE * min(mask.shape)))
    places = np.argwhere(_anomalous_below(mask, side) == 0)
    if not len(places):
        return None
    top, left = places[int(_random("occlusion", item_id).integers(len(places)))]
    covered = image.copy()
    covered[top : top + side, left : left + side] = GREY
    return covered


def _anomalous_below(mask: Mask, side: int) -> NDArray[np.int64]:
    """(H - side + 1, W - side + 1) anomalous pixels below a square with its top left there."""
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    sums[1:, 1:] = mask.cumsum(axis=0).cumsum(axis=1)
    found: NDArray[np.int64] = (
        sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    )
    return found


def _copy(item: Item, kinds: Sequence[str], path: Path) -> bool:
    """Write one copy, unless it is there for the same files; whether all changes were made."""
    note = path.with_suffix(".json")
    source = [content_hash(file) for file in (item.path, *item.masks)]
    try:
        known = json.loads(note.read_bytes())
        if known["of"] == [*source, *kinds] and path.is_file():
            return bool(known["all"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    image, whole = item.image(), True
    for kind in kinds:
        if kind == "light":
            image = light(image, item.id)
            continue
        try:
            covered = occlude(image, item.mask(image), item.id)
        except InputError:  # a mask of another size, or none that can be read
            covered = None
        whole, image = covered is not None, image if covered is None else covered
    data = io.BytesIO()
    PIL.Image.fromarray(image).save(data, "PNG", compress_level=1)
    with writing(path.parent):
        replace_file(path, data.getvalue())
        replace_file(note, json.dumps({"of": [*source, *kinds], "all": whole}).encode())
    return whole


def _random(kind: str, item_id: str) -> np.random.Generator:
    code = hashlib.sha256(f"{kind}:{item_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(code[:8], "big"))
