"""From where a cloud is looked at: named sets of views, each a rotation of the part.

Coordinates of the viewer: x to the right, y up, z towards the viewer. A view turns the part by
R = Rx(a) Ry(b) Rz(c) about its centre, as the published code of CPMF does (arXiv 2303.13194); the
part turned to the right is seen from the left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ViewSet = Literal["cpmf", "tilted", "around", "front"]


@dataclass(frozen=True)
class View:
    """One direction to look from, in degrees.

    Attributes:
        above: rotation about x; seen from above where positive.
        left: rotation about y; seen from the left where positive.
        turned: rotation about z; the picture turned anticlockwise where positive.
    """

    above: float = 0.0
    left: float = 0.0
    turned: float = 0.0

    @property
    def name(self) -> str:
        """What a person calls it.

        >>> View().name, View(left=30).name, View(above=-15, turned=15).name
        ('front', '30 degrees left', '15 degrees below, turned 15 degrees anticlockwise')
        >>> View(left=180).name, View(above=90).name
        ('back', 'top')
        """
        for only, word in _WHOLE.items():
            if (self.above, self.left, self.turned) == only:
                return word
        words = []
        for angle, positive, negative in (
            (self.left, "left", "right"),
            (self.above, "above", "below"),
        ):
            if angle:
                words.append(f"{abs(angle):g} degrees {positive if angle > 0 else negative}")
        if self.turned:
            way = "anticlockwise" if self.turned > 0 else "clockwise"
            words.append(f"turned {abs(self.turned):g} degrees {way}")
        return ", ".join(words)

    @property
    def rotation(self) -> NDArray[np.float64]:
        """(3, 3) float64: column vectors of the part to those of the viewer."""
        (ca, cb, cc), (sa, sb, sc) = (
            f(np.radians([self.above, self.left, self.turned])) for f in (np.cos, np.sin)
        )
        about_x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
        about_y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
        about_z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
        return np.asarray(about_x @ about_y @ about_z, np.float64)


_WHOLE = {
    (0, 0, 0): "front",
    (0, 180, 0): "back",
    (90, 0, 0): "top",
    (-90, 0, 0): "bottom",
}

VIEWS: Mapping[ViewSet, tuple[View, ...]] = {
    "cpmf": tuple(View(*angles) for angles in product((0, -15, 15), repeat=3)),
    "tilted": tuple(View(*angles) for angles in product((0, -30, 30), repeat=2)),
    "around": (*(View(left=angle) for angle in range(0, 360, 45)), View(90), View(-90)),
    "front": (View(),),
}
"""CPMF's 27: 0, -15 and 15 degrees about each axis, in its script's order. Ours: 9 with 30 degrees
about x and y; 10 for a part scanned from all sides, every 45 degrees about the vertical, from the
top and from the bottom; and the front alone, for one question to a language model."""
