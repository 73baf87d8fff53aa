"""One method on one category with one draw of references, and its folder's name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Threshold = Literal["own", "max-of-normals", "unified", "best"]
Perturb = tuple[Literal["light", "occlusion"], ...]


@dataclass(frozen=True)
class Cell:
    """One method on one category with one draw of references.

    Attributes:
        data: the data set's name.
        category: of the data set.
        method: as the table names it.
        detector: a registered name.
        options: of the detector, encoder included.
        shots: normal references; None for all training pictures.
        seed: of the draw, and of everything random in the detector.
        unified: it learns from all categories of the set, those that are not run included.
        train_on: as in `Run`.
        threshold: as in `Run`.
        perturb: as in `Run`.
    """

    data: str
    category: str
    method: str
    detector: str
    options: Mapping[str, Any] = field(default_factory=dict)
    shots: int | None = 0
    seed: int = 0
    unified: bool = False
    train_on: str | None = None
    threshold: Threshold = "own"
    perturb: Perturb = ()

    @property
    def key(self) -> str:
        """The cell's folder, relative and safe on every system.

        >>> Cell("visa", "pcb1", "PatchCore", "patchcore", shots=None).key
        'visa/pcb1/patchcore-82c918/all-shot-seed0'
        """
        shots = "all" if self.shots is None else self.shots
        names = map(safe_name, (self.data, self.category, self.method))
        return "/".join((*names, f"{shots}-shot-seed{self.seed}"))

    def to_json(self) -> dict[str, Any]:
        """As bench.json and figures.json have it."""
        return {**asdict(self), "options": dict(self.options), "perturb": list(self.perturb)}


def safe_name(name: str) -> str:
    """A name as a folder: lower case; where that loses something, six characters tell it apart.

    >>> safe_name("metal_nut"), safe_name("AnoVL⁻")
    ('metal_nut', 'anovl-c5168f')
    """
    plain = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:60]
    if plain and plain == name:
        return plain
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}".strip("-")
