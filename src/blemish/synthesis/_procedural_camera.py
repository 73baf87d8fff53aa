"""A lamp and a camera: from a scene to a picture with shading, shadows, uneven light and noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from blemish.synthesis._procedural_scene import Field, Rng, Scene, ramp, soften
from blemish.types import Image


def lit(scene: Scene, sun: float) -> Field:
    """The scene under a lamp from azimuth `sun` (radians): (H, W, 3) float32, about [0, 1]."""
    u = scene.unit
    slope_x = cv2.Sobel(scene.height, cv2.CV_32F, 1, 0, scale=1 / 8)
    slope_y = cv2.Sobel(scene.height, cv2.CV_32F, 0, 1, scale=1 / 8)
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    tilt = 0.7  # the lamp stands this many radians away from the camera's axis
    across, down = math.cos(sun), math.sin(sun)
    towards = -(slope_x * across + slope_y * down)
    diffuse = np.maximum(towards * math.sin(tilt) + math.cos(tilt), 0) / (length * math.cos(tilt))
    mirror = (towards * math.sin(tilt / 2) + math.cos(tilt / 2)) / length
    shine = scene.gloss * np.maximum(mirror, 0) ** 40
    hollow = np.clip(soften(scene.height, 5 * u) - scene.height, 0, 8 * u)
    bright = (0.4 + 0.6 * diffuse * _unshadowed(scene, across, down)) * (1 - 0.07 / u * hollow)
    picture: Field = scene.albedo * bright[..., None] + shine[..., None]
    return picture


def _unshadowed(scene: Scene, across: float, down: float) -> Field:
    """1 in the light, less where something higher stands towards the lamp."""
    size = scene.size
    deepest = np.zeros(size, np.float32)
    for step in (1.5, 3.0, 5.0, 8.0):
        reach = step * scene.unit
        move = np.array([[1, 0, -across * reach], [0, 1, -down * reach]], np.float32)
        wall = cv2.warpAffine(scene.height, move, size[::-1], borderMode=cv2.BORDER_REPLICATE)
        deepest = np.maximum(deepest, wall - scene.height - 0.9 * reach)
    return 1 - 0.6 * ramp(0, 2.5 * scene.unit, soften(deepest, scene.unit))


@dataclass(frozen=True, eq=False)
class Camera:
    """One exposure: lamp position, uneven light, focus and sensor noise, drawn once a picture.

    The good and the defective picture of one seed share it, noise included.
    """

    sun: float
    gain: Field
    focus: float
    grain: Field
    mono: bool

    @classmethod
    def draw(cls, rng: Rng, size: tuple[int, int], *, mono: bool) -> Camera:
        """A camera for pictures of (H, W) pixels; a `mono` one sees grey."""
        y = np.linspace(-1, 1, size[0], dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, size[1], dtype=np.float32)[None]
        angle, slant = rng.uniform(0, 2 * math.pi), rng.uniform(0.02, 0.12)
        gradient = 1 + slant * (math.cos(angle) * x + math.sin(angle) * y)
        off_x, off_y = x - rng.uniform(-0.3, 0.3), y - rng.uniform(-0.3, 0.3)
        falloff = 1 - rng.uniform(0.03, 0.1) * (off_x**2 + off_y**2)
        white = rng.uniform(0.94, 1.06) * (1 + rng.normal(0, 0.008, 3) * (not mono))
        grain = rng.standard_normal((*size, 1 if mono else 3), np.float32)
        return cls(
            sun=math.radians(225 + rng.uniform(-12, 12)),  # from the top left
            gain=((gradient * falloff)[..., None] * white).astype(np.float32),
            focus=rng.uniform(0.45, 0.75),
            grain=grain,
            mono=mono,
        )

    def expose(self, scene: Scene) -> Field:
        """What falls on the sensor: (H, W, 3) float32 in [0, 1], free of noise."""
        picture = soften(lit(scene, self.sun), self.focus * min(max(scene.unit, 0.8), 1.6))
        if self.mono:
            picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
        exposure: Field = np.clip(picture * self.gain, 0, 1)
        return exposure

    def develop(self, exposure: Field) -> Image:
        """The picture, (H, W, 3) uint8 RGB, with shot and read noise."""
        spread = np.sqrt(1.2e-4 * exposure + 1.5e-5)
        noisy = np.clip(exposure + spread * self.grain, 0, 1)
        picture: Image = (noisy * 255 + 0.5).astype(np.uint8)
        return picture
