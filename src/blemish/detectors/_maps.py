"""From distances on a patch grid to an inspection: what every map-making detector shares."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from blemish.calibration import OperatingPoint
from blemish.errors import InputError
from blemish.regions.from_map import regions_from_map
from blemish.types import (
    AnomalyMap,
    Detector,
    Example,
    Features,
    Image,
    Inspection,
    Region,
    Sample,
    Usage,
)

CELL = 14
"""Pixels of the working map a patch: maps are smoothed and scored at the encoder's own scale, so
that the cost and the score do not depend on how many pixels the camera has."""


NOT_FINITE = (
    "Use --device cpu and dtype float32; if that does not cure it, check the weights with `blemish "
    "weights verify`."
)
"""What to do about features that are not finite."""


def finite(features: list[Features]) -> list[Features]:
    """The features themselves. Raises InputError where the encoder gave no numbers."""
    for number, f in enumerate(features, 1):
        if not all(np.isfinite(p).all() for p in (f.class_token, *f.patches.values())):
            raise InputError(
                f"The encoder gave features that are not finite for picture {number} of "
                f"{len(features)}. {NOT_FINITE}"
            )
    return features


def working_map(layers: Sequence[NDArray[np.float32]], sigma: float) -> AnomalyMap:
    """Average the layers' patch distances and bring them to the working scale.

    Args:
        layers: one (h, w) float32 map of patch distances per layer; grids may differ.
        sigma: standard deviation of the Gaussian, in hundredths of the map's geometric mean
            side; 0 leaves the map as it is.

    Returns:
        (14 h, 14 w) float32 at the finest layer's grid, the range of the distances kept.
    """
    import cv2

    height, width = max((m.shape for m in layers), key=lambda s: s[0] * s[1])
    total = np.zeros((height, width), np.float32)
    for layer in layers:
        total += layer if layer.shape == (height, width) else _resized(layer, height, width)
    scaled: AnomalyMap = _resized(total / np.float32(len(layers)), CELL * height, CELL * width)
    if sigma:
        pixels = sigma / 100 * float(np.sqrt(scaled.size))
        blurred = cv2.GaussianBlur(scaled, (0, 0), pixels, borderType=cv2.BORDER_REPLICATE)
        scaled = np.asarray(blurred, np.float32)
    return scaled


def image_score(maps: Sequence[AnomalyMap], top: float) -> float:
    """Mean of the highest share `top` of each working map's pixels; the largest of the views."""
    scores = []
    for view in maps:
        count = max(1, round(top * view.size))
        scores.append(float(np.partition(view.ravel(), -count)[-count:].mean()))
    return max(scores)


@dataclass(frozen=True, eq=False)
class Judged:
    """What a detector makes of one sample.

    Attributes:
        maps: a working map per view; none where the detector finds no places.
        raw_score: of the whole part.
        evidence: what it stands on.
        words: what else a person should read of a part that is not normal, after the finding.
    """

    maps: Sequence[AnomalyMap]
    raw_score: float
    evidence: Mapping[str, Any]
    words: str = ""


Seen = TypeVar("Seen")


def inspect_all(
    samples: Sequence[Sample],
    *,
    see: Callable[[Sequence[Image]], list[Seen]],
    judge: Callable[[Sample, list[Seen]], Judged],
    point: OperatingPoint | None,
) -> list[Inspection]:
    """Look at the views of all samples in one go, then judge and decide on each sample.

    Args:
        samples: without references of their own.
        see: what the encoder gives of each view.
        judge: what to make of a sample and what was seen of its views.
        point: gives score and verdict; None where raw scores can only be compared.
    """
    clock = time.perf_counter()
    seen = see([v for s in samples for v in s.images])
    encoding = (time.perf_counter() - clock) / max(len(samples), 1)
    done, start = [], 0
    for sample in samples:
        end = start + len(sample.images)
        clock = time.perf_counter()
        judged = judge(sample, seen[start:end])
        matching = time.perf_counter() - clock
        if not np.isfinite(judged.raw_score):
            raise InputError(
                f"{sample.id or 'The sample'} got the score {judged.raw_score}: the encoder gave "
                f"features that are not finite. {NOT_FINITE}"
            )
        found = _inspection(sample, judged, point)
        seconds = {
            "encode": encoding,
            "match": matching,
            "verdict": time.perf_counter() - clock - matching,
        }
        done.append(replace(found, usage=Usage(seconds=seconds)))
        start = end
    return done


def with_own_references(
    samples: Sequence[Sample],
    detector: Detector,
    predict: Callable[[Sequence[Sample]], list[Inspection]],
) -> list[Inspection]:
    """Inspect samples in order; one with references of its own by a detector fitted on these."""
    rest = iter(predict([s for s in samples if not s.references]))
    done = []
    for sample in samples:
        if not sample.references:
            done.append(next(rest))
            continue
        examples = [r for r in sample.references if isinstance(r, Example)]
        normals = [
            replace(r, class_name=sample.class_name)
            for r in sample.references
            if isinstance(r, Sample)
        ]
        own = detector.fit(normals, examples)
        if detector.calibration is not None:  # whose operating point may have been moved
            target = detector.calibration.false_alarms
            own = own.with_calibration(own.calibration.moved(target))
        done += own.predict([replace(sample, references=())])
    return done


def _inspection(sample: Sample, judged: Judged, point: OperatingPoint | None) -> Inspection:
    """Scale the working maps to the views, decide, and mark regions where it is not normal."""
    views = sample.images if judged.maps else ()
    sized = tuple(_resized(m, *v.shape[:2]) for m, v in zip(judged.maps, views, strict=True))
    if point is None:
        return Inspection(
            id=sample.id,
            verdict="unsure",
            decided_by="nothing",
            reason="nothing to decide on",
            raw_score=judged.raw_score,
            maps=sized,
            explanation=(
                f"Nothing says from which score on a {sample.class_name} is anomalous: give "
                "pictures of normal ones."
            ),
            evidence=judged.evidence,
        )
    verdict, reason = point.verdict(judged.raw_score)
    score = point.score(judged.raw_score)
    regions = () if verdict == "normal" else regions_from_map(sized, point)
    finding = _sentence(sample.class_name, verdict, point, score, regions)
    return Inspection(
        id=sample.id,
        verdict=verdict,
        decided_by=point.decided_by,
        reason=reason,
        score=score,
        raw_score=judged.raw_score,
        maps=sized,
        regions=regions,
        explanation=finding if verdict == "normal" else f"{finding} {judged.words}".strip(),
        evidence={
            "operating_point": point.threshold,
            "calibration": point.rule,
            **judged.evidence,
        },
    )


def _sentence(
    name: str, verdict: str, point: OperatingPoint, score: float, regions: Sequence[Region]
) -> str:
    by_words = point.decided_by == "probability"
    if verdict == "normal":
        if by_words:
            return f"The words for a normal {name} fit this one better (score {score:.2f})."
        return f"Nothing on this {name} stands out from the normal parts (score {score:.2f})."
    places = list(dict.fromkeys(r.position for r in regions))
    where = f" at {', '.join(places[:3])}" if places else ""
    count = f"{len(regions)} region{'s' if len(regions) != 1 else ''}"
    if verdict == "unsure":
        if not regions:
            return f"This {name} may be odd: score {score:.2f} is too close to call."
        return f"{count} of this {name} may be odd{where}: score {score:.2f} is too close to call."
    if not regions and by_words:
        return f"The words for an abnormal {name} fit this one better (score {score:.2f})."
    if not regions:
        return f"No single place of this {name} stands out, but the whole does (score {score:.2f})."
    if by_words:
        s = "" if len(regions) != 1 else "s"
        return (
            f"{count} of this {name} fit{s} the words for an abnormal one better{where} "
            f"(score {score:.2f})."
        )
    return f"{count} of this {name} unlike any normal part{where} (score {score:.2f})."


def _resized(array: NDArray[np.float32], height: int, width: int) -> AnomalyMap:
    """Bilinear; the mean over an area when the view is smaller than the map."""
    import cv2

    smaller = height * width < array.size
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(array, (width, height), interpolation=how), np.float32)
