"""A detector whose truth is plain to see: a grey that no reference has is anomalous. For tests.

Its raw map is how far each pixel's darkness lies from the nearest darkness that a reference had;
the raw score is the map's maximum, and 0.2 is about the limit.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import PIL.Image
from pydantic import BaseModel, ConfigDict

from blemish.calibration import Calibration
from blemish.detectors import _saved
from blemish.errors import ReferencesError
from blemish.regions.from_map import regions_from_map
from blemish.registry import DetectorEntry
from blemish.service.station import Station
from blemish.service.types import NewLine, Upload
from blemish.types import Example, Inspection, Sample

CALIBRATION = Calibration(location=-2.3, scale=0.3, n=16, df=19.0, rule="made up")
ENTRY = DetectorEntry(
    "shade", "shade:Shade", "shade:Options", "for tests", needs="references", parts={}
)


class Options(BaseModel):
    """How long it takes a picture, and whether it breaks at one as dark as this."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pause: float = 0.0
    breaks_at: int = -1


class Shade:
    """The detector; `fits` counts how often any was fitted."""

    name = "shade"
    fits = 0

    def __init__(
        self,
        *,
        options: Options,
        seed: int = 0,
        known: Sequence[int] = (),
        calibration: Calibration | None = None,
    ) -> None:
        self.options, self.seed, self.known = options, seed, tuple(known)
        self.calibration = calibration
        self.parts: dict[str, Any] = {}
        self.fingerprints: dict[str, str] = {}
        self.references = [{"id": str(one), "sha256": str(one)} for one in self.known]
        self.fingerprint = _saved.fingerprint(self.name, options.model_dump(), self.known)

    def fit(self, normals: Sequence[Sample], feedback: Sequence[Example] = ()) -> Self:
        if not normals:
            raise ReferencesError("shade needs a reference.")
        Shade.fits += 1
        known = {int(v) for one in normals for v in np.unique(one.image[..., 0])}
        return self._with(sorted(known), CALIBRATION)

    def _with(self, known: Sequence[int], calibration: Any) -> Self:
        return type(self)(
            options=self.options, seed=self.seed, known=known, calibration=calibration
        )

    def with_calibration(self, calibration: Any) -> Self:
        return self._with(self.known, calibration)

    def predict(self, samples: Sequence[Sample]) -> list[Inspection]:
        return [self._inspect(sample) for sample in samples]

    def _inspect(self, sample: Sample) -> Inspection:
        time.sleep(self.options.pause)
        grey = sample.image[..., 0]
        if self.options.breaks_at in grey:
            raise RuntimeError("broken on purpose")
        away = np.abs(np.arange(256)[:, None] - np.array(self.known)).min(1)
        raw = (away / 255).astype(np.float32)[grey]
        assert self.calibration is not None
        verdict, reason = self.calibration.verdict(float(raw.max()))
        return Inspection(
            id=sample.id,
            verdict=verdict,
            decided_by="calibration",
            reason=reason,
            score=self.calibration.score(float(raw.max())),
            raw_score=float(raw.max()),
            maps=(raw,),
            regions=() if verdict == "normal" else regions_from_map([raw], self.calibration),
            explanation=f"{verdict} <b>shade</b>",
            evidence={"operating_point": self.calibration.threshold},
        )

    def save(self, folder: Path) -> None:
        header = _saved.header(self, self.options.model_dump())
        _saved.write(folder, header, {"known": np.array(self.known)})

    def restore(self, saved: Mapping[str, Any], state: Mapping[str, Any]) -> Self:
        calibration = Calibration.from_json(saved["calibration"])
        return self._with([int(one) for one in state["known"]], calibration)


def picture(spot: int | None = None, name: str = "", shift: int = 0) -> Upload:
    """A light 40 x 60 picture; `spot` is the grey of a 10 x 10 place, moved by `shift`."""
    image = np.full((40, 60, 3), 240, np.uint8)
    if spot is not None:
        image[2:12, 4 + shift : 14 + shift] = spot
    held = io.BytesIO()
    PIL.Image.fromarray(image).save(held, "PNG")
    return Upload(name or f"spot-{spot}-{shift}.png", held.getvalue())


def make_caps(station: Station, **options: Any) -> None:
    """A line "caps" whose good part is light all over; ready when this returns."""
    references = (picture(name="good.png"),)
    station.create_line(
        NewLine("caps", "cap", detector="shade", options=options, references=references)
    )
    until_fitted(station, "caps")


def until_fitted(station: Station, line: str) -> None:
    """Wait until the newest version of a line is ready or has failed."""
    end = time.monotonic() + 60
    while station.line(line).state == "fitting":
        assert time.monotonic() < end
        time.sleep(0.005)
