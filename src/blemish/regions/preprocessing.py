"""What may be done to a picture before its marks are drawn (GPT-4V-AD, future work 1).

The variants are data (preprocessing.json): each is a list of steps with their parameters, in
pixels of the picture that is shown. The picture is divided as it came, so that all variants ask
about the same regions and differ in nothing but what the model sees; the marks are drawn
afterwards and stay as legible as ever. None of the parameters was chosen on any data set.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from blemish.errors import OptionError, nearest
from blemish.types import Image


@cache
def variants() -> Mapping[str, Any]:
    """The file of variants: name to "source" and "steps"."""
    return dict(
        json.loads(files("blemish.regions").joinpath("preprocessing.json").read_text("utf-8"))
    )


def steps(name: str) -> list[dict[str, Any]]:
    """The steps of a variant, as JSON values. Raises OptionError for an unknown one.

    >>> steps("grey")
    [{'step': 'grey'}]
    """
    known = variants()
    if name not in known:
        raise OptionError(f"There is no preprocessing called '{name}'. {nearest(name, known)}")
    return [dict(step) for step in known[name]["steps"]]


def preprocessed(image: Image, name: str) -> Image:
    """The picture after all steps of a variant.

    Args:
        image: (H, W, 3) uint8 RGB; it is left as it is.
        name: of the variant.

    Returns:
        (H, W, 3) uint8 RGB; the picture itself where the variant has no steps.
    """
    for step in steps(name):
        image = _STEPS[step.pop("step")](image, **step)
    return image


def _equalise(image: Image, clip_limit: float, tiles: int) -> Image:
    """CLAHE of the luminance in `tiles` x `tiles` tiles; the chrominance stays as it is."""
    import cv2

    parts = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    equal = cv2.createCLAHE(clip_limit, (tiles, tiles)).apply(parts[..., 0])
    parts[..., 0] = equal
    return np.asarray(cv2.cvtColor(parts, cv2.COLOR_YCrCb2RGB), np.uint8)


def _unsharp(image: Image, sigma: float, amount: float) -> Image:
    """The picture and `amount` times what a Gaussian of `sigma` pixels takes out of it."""
    import cv2

    given = image.astype(np.float32)
    sharp = given + amount * (given - cv2.GaussianBlur(given, (0, 0), sigma))
    return np.asarray(np.rint(np.clip(sharp, 0, 255)), np.uint8)


def _grey(image: Image) -> Image:
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(np.repeat(grey[..., None], 3, axis=2), np.uint8)


_STEPS: Mapping[str, Callable[..., Image]] = {
    "equalise": _equalise,
    "unsharp": _unsharp,
    "grey": _grey,
}
