"""From conversations about a sample to an inspection of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from statistics import fmean, pstdev
from typing import Any

import numpy as np

from blemish.detectors._opinion import calibrated, place
from blemish.detectors._vqa_question import Question
from blemish.detectors._vqa_rounds import Conclusion, Round, conclude
from blemish.places import POSITIONS
from blemish.types import AnomalyMap, Inspection, Mask, Region, Sample, Usage


def inspection(
    sample: Sample,
    asked: Question,
    talks: Sequence[Sequence[Round]],
    found: Conclusion,
    threshold: float,
    model: str,
) -> Inspection:
    """The inspection that conversations about a sample give.

    A normal part has a map of zeros; an anomalous or unsure one whose places the model named has
    a map with its score there; without places there is no map, since nothing says where.

    Args:
        sample: the part.
        asked: the question that all conversations began with.
        talks: the rounds of each.
        found: what they say together.
        threshold: score from which a part is anomalous.
        model: what was asked, by its name.
    """
    score = None if found.score is None else calibrated(found.score, threshold)
    masks = () if found.verdict == "normal" else _masks(sample, asked, found)
    regions = tuple(
        place(mask, score, view, number)
        for number, (view, mask) in enumerate(masks, 1)
        if score is not None
    )
    replies = [one.reply for talk in talks for one in talk]
    usage = sum((reply.usage for reply in replies), Usage())
    return Inspection(
        id=sample.id,
        verdict=found.verdict,
        decided_by="language model",
        reason=found.reason,
        score=score,
        raw_score=found.score,
        maps=_maps(sample, regions, found.score or 0.0)
        if regions or found.verdict == "normal"
        else (),
        regions=regions,
        explanation=_sentence(sample.class_name, found),
        evidence={
            "language_model": model,
            "answered_by": sorted({reply.model for reply in replies if reply.model}),
            "dropped": sorted({name for reply in replies for name in reply.dropped}),
            "prompt": asked.about,
            "operating_point": threshold,
            "why": found.words,
            "reasons": list(found.reasons),
            "places": list(found.places),
            "marks": list(found.regions),
            "conversations": [[_told(one) for one in talk] for talk in talks],
            **({"repeats": _repeated(talks)} if len(talks) > 1 else {}),
        },
        usage=replace(usage, seconds={**usage.seconds, "draw": asked.seconds}),
    )


def _masks(sample: Sample, asked: Question, found: Conclusion) -> list[tuple[int, Mask]]:
    """Marked regions where the reply names some, else the cells of its place words, in each view.

    Words do not say which of several views they are about, so they count for all.
    """
    masks: list[tuple[int, Mask]] = []
    if asked.division is not None and found.regions:
        height, width = sample.image.shape[:2]
        labels = asked.division.at(height, width)
        masks = [(0, labels == number) for number in found.regions]
    else:
        for view, image in enumerate(sample.images):
            height, width = image.shape[:2]
            rows, columns = np.arange(height) * 3 // height, np.arange(width) * 3 // width
            cells = rows[:, None] * 3 + columns
            masks += [(view, cells == POSITIONS.index(place)) for place in found.places]
    return [(view, mask) for view, mask in masks if mask.any()]


def _maps(sample: Sample, regions: Sequence[Region], score: float) -> tuple[AnomalyMap, ...]:
    maps = tuple(np.zeros(image.shape[:2], np.float32) for image in sample.images)
    for region in regions:
        x0, y0, x1, y1 = region.box
        maps[region.view][y0:y1, x0:x1][region.mask] = score
    return maps


def _told(one: Round) -> dict[str, Any]:
    return {
        "asks_for": one.kind or "verdict",
        "prompt": one.asked,
        "reply": one.reply.text,
        "verdict": one.reading.verdict,
        "reason": one.reading.reason,
        "why": one.reading.words,
        "findings": [asdict(finding) for finding in one.reading.findings],
        "score": one.reading.score,
    }


def _repeated(talks: Sequence[Sequence[Round]]) -> dict[str, Any]:
    """How far repeated conversations agree: the share of the commonest verdict, and the spread."""
    said = [conclude(talk) for talk in talks]
    verdicts = [one.verdict for one in said]
    scores = [one.score for one in said if one.score is not None]
    return {
        "asked": len(said),
        "read": len(scores),
        "verdicts": verdicts,
        "agreement": max(map(verdicts.count, verdicts)) / len(verdicts),
        "image_score_mean": fmean(scores) if scores else None,
        "image_score_spread": pstdev(scores) if len(scores) > 1 else None,
    }


def _sentence(name: str, found: Conclusion) -> str:
    if found.reason == "refused":
        return f"The language model declined to judge this {name}."
    if found.reason:
        why = f": {found.words}" if found.words else ""
        return f"The language model does not say whether this {name} is normal{why}."
    if found.verdict == "normal":
        return f"The language model finds nothing wrong with this {name}."
    words = "; ".join(found.reasons[:3]) or "without saying what"
    return f"The language model calls this {name} anomalous: {words}."
