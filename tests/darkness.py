"""A detector that needs no weights: dark places are anomalous. For tests of runs and commands."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from blemish.calibration import Calibration
from blemish.regions.from_map import regions_from_map
from blemish.types import Example, Inspection, Sample, Usage

CALIBRATION = Calibration(location=-2.3, scale=0.3, n=16, df=19.0, rule="made up")
"""Puts the operating point at a raw score of about 0.2."""


class Options(BaseModel):
    """Options of `Darkness`: how long it takes a picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pause: float = 0.0


@dataclass(eq=False)
class Darkness:
    """The raw map is 1 - brightness, the raw score its maximum; `seen` notes what it was given."""

    options: Options = field(default_factory=Options)
    seed: int = 0
    calibration: Any = CALIBRATION
    fingerprint: str = "darkness-1"
    name: str = "darkness"
    seen: list[str] = field(default_factory=list)

    def fit(self, normals: Sequence[Sample], feedback: Sequence[Example] = ()) -> Self:
        return self

    def predict(self, samples: Sequence[Sample]) -> list[Inspection]:
        return [self._inspect(sample) for sample in samples]

    def _inspect(self, sample: Sample) -> Inspection:
        self.seen.append(sample.id)
        time.sleep(self.options.pause)
        raw_map = (1 - sample.image.mean(axis=2) / 255).astype(np.float32)
        raw = float(raw_map.max())
        verdict, reason = self.calibration.verdict(raw)
        regions = () if verdict == "normal" else regions_from_map([raw_map], self.calibration)
        return Inspection(
            id=sample.id,
            verdict=verdict,
            decided_by="calibration",
            reason=reason,
            score=self.calibration.score(raw),
            raw_score=raw,
            maps=(raw_map,),
            regions=regions,
            evidence={"operating_point": self.calibration.threshold},
            usage=Usage(seconds={"encode": 0.01, "match": 0.002, "verdict": 0.001}),
        )

    def with_calibration(self, calibration: Any) -> Self:
        return replace(self, calibration=calibration)

    def save(self, folder: Path) -> None:
        raise NotImplementedError


class Unfitted(Darkness):
    """The same, but it is calibrated by `fit`, as if it had learnt something from good parts."""

    called = "patch-memory"

    def __init__(self, options: Options, seed: int) -> None:
        super().__init__(options, seed, None, f"{self.called}-{seed}", self.called)

    def fit(self, normals: Sequence[Sample], feedback: Sequence[Example] = ()) -> Any:
        found = f"{self.fingerprint}-{sorted(sample.id for sample in normals)}"
        return Darkness(self.options, self.seed, CALIBRATION, found, self.name)


class UnfittedReader(Unfitted):
    """The same, under the name of the default for pictures with good parts."""

    called = "anomalygpt"


class UnfittedFolder(Unfitted):
    """The same, under the name of a detector that fits on the folder to inspect."""

    called = "musc"


def picture(spot: int | None = None) -> NDArray[np.uint8]:
    """A light 40 x 60 picture; `spot` is the grey value of a 10 x 10 place at its top left."""
    image = np.full((40, 60, 3), 240, np.uint8)
    if spot is not None:
        image[2:12, 4:14] = spot
    return image


def draw(path: Path, spot: int | None = None) -> Path:
    """Write `picture` to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(picture(spot)).save(path)
    return path


def draw_parts(folder: Path, count: int = 10) -> Path:
    """A folder of pictures: part 3 has a black spot (raw 1), part 7 a faint one (raw 0.25)."""
    for number in range(count):
        draw(folder / f"{number}.png", {3: 0, 7: 190}.get(number))
    return folder


if __name__ == "__main__":  # a run in a process of its own, which a test kills or waits for
    import sys

    from blemish.runs import run, sources

    parts, out = map(Path, sys.argv[1:])
    pause = Options(pause=float(os.environ["PAUSE"]))
    run.inspect(Darkness(options=pause), sources.find(parts), out, keep_maps=True)
