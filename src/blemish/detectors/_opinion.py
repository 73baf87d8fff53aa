"""From the answers about one view to one opinion: repeats, Text2Segmentation and places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, pstdev
from typing import Any

import numpy as np

from blemish.calibration import UNSURE
from blemish.detectors._marked import View
from blemish.places import position_of
from blemish.prompts.answers import Problem
from blemish.prompts.gpt4v_ad import Answer
from blemish.regions.division import fill
from blemish.types import AnomalyMap, Mask, Region, Verdict


@dataclass(frozen=True, eq=False)
class Opinion:
    """What the answers about one view say together.

    Attributes:
        scores: region number to the mean of its scores, 0 for an answer that does not name it.
        image: the mean of the answers' image scores; None where too few answers can be read, or
            there was no region to ask about.
        problem: why, where that is so: the most common problem.
        words: what was wrong with the first answer of that kind.
        map: (H, W) float32 in [0, 1] at the view's size; None as `image`.
        regions: the view's marked places, unnumbered; see `marked`.
        evidence: answers and their agreement, as JSON values.
    """

    scores: Mapping[int, float]
    image: float | None
    problem: Problem
    words: str
    map: AnomalyMap | None
    regions: tuple[Region, ...]
    evidence: Mapping[str, Any]


def calibrated(raw: float, threshold: float) -> float:
    """A written score on the project's scale: 0.5 at the threshold, straight lines to 0 and 1."""
    if raw < threshold:
        return 0.5 * raw / threshold
    return 0.5 + 0.5 * (raw - threshold) / (1 - threshold)


def verdict_of(score: float) -> Verdict:
    """The verdict on a calibrated score: "unsure" inside the band from 0.4 to 0.6."""
    if UNSURE[0] <= score <= UNSURE[1]:
        return "unsure"
    return "anomalous" if score > UNSURE[1] else "normal"


def opinion(view: View, number: int, answers: Sequence[Answer], threshold: float) -> Opinion:
    """Put the answers to the same question together.

    The image score of an answer is the one it gives, else the highest of its regions, else 0. At
    least half of the answers must be readable; of the others it is told how many there were.

    Args:
        view: what was asked about.
        number: of the view in its sample.
        answers: one for each time it was asked.
        threshold: written score from which something is anomalous.
    """
    read = [a for a in answers if not a.problem]
    told = _told(view, answers, read, threshold)
    if 2 * len(read) < len(answers):
        problem = Counter(a.problem for a in answers if a.problem).most_common(1)[0][0]
        words = next(a.words for a in answers if a.problem == problem)
        return Opinion({}, None, problem, words, None, (), told)
    named = sorted({n for a in read for n in a.scores})
    scores = {n: fmean(a.scores.get(n, 0.0) for a in read) for n in named}
    image: float | None = fmean(map(image_score, read)) if read else None
    if not answers and view.division and view.division.method == "regions":
        image = 0.0  # the other detector marks nothing in this view, so there was nothing to ask
    filled = _filled(view, scores, read)
    places = marked(filled, scores, view, number, threshold)
    return Opinion(scores, image, "", "", filled, places, told)


def image_score(answer: Answer) -> float:
    """The image score that an answer gives, else its highest score of a region, else 0."""
    if answer.image_score is not None:
        return answer.image_score
    return max(answer.scores.values(), default=0.0)


def _filled(view: View, scores: Mapping[int, float], read: Sequence[Answer]) -> AnomalyMap:
    """Text2Segmentation (section 3.3): regions take their scores, everything else 0."""
    if view.division is not None:
        return fill(view.division, scores, *view.size)
    height, width = view.size
    filled = np.zeros((height, width), np.float32)
    boxes = {n: box for a in read for n, box in a.boxes.items()}
    for n, (x, y, w, h) in boxes.items():
        long = max(height, width)
        x0, x1 = (int(np.clip(round((x + s * w / 2) * long), 0, width)) for s in (-1, 1))
        y0, y1 = (int(np.clip(round((y + s * h / 2) * long), 0, height)) for s in (-1, 1))
        x1, y1 = max(x1, min(x0, width - 1) + 1), max(y1, min(y0, height - 1) + 1)
        box = filled[min(y0, y1 - 1) : y1, min(x0, x1 - 1) : x1]
        np.maximum(box, scores[n], out=box)
    return filled


def marked(
    filled: AnomalyMap, scores: Mapping[int, float], view: View, number: int, threshold: float
) -> tuple[Region, ...]:
    """The regions whose score is not that of a normal one, as places of the view.

    Args:
        filled: (H, W) float32, the view's map.
        scores: region number to score.
        view: what was asked about.
        number: of the view in its sample.
        threshold: written score from which something is anomalous.

    Returns:
        A place for each region, its neighbour's score the same or not; boxes, which may overlap,
        become a place for each connected piece.
    """
    import cv2

    found = [(n, calibrated(score, threshold)) for n, score in scores.items()]
    if view.division is not None:
        labels = view.division.at(*view.size)
    else:
        joined = (filled > 0).astype(np.uint8)
        count, pieces = cv2.connectedComponents(joined, connectivity=8)
        labels = np.asarray(pieces, np.int32)
        found = [
            (n, calibrated(float(filled[labels == n].max()), threshold)) for n in range(1, count)
        ]
    places = []
    for region, score in found:
        mask = labels == region
        if verdict_of(score) != "normal" and mask.any():
            places.append(place(mask, score, number))
    return tuple(places)


def place(mask: Mask, score: float, view: int, label: int = 1) -> Region:
    """A mask (H, W) bool of a view, which marks some pixel, as a region."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x0, y0, x1, y1 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    box = (int(x0), int(y0), int(x1), int(y1))
    return Region(label, box, mask[y0:y1, x0:x1], score, position_of(mask), view)


def _told(
    view: View, answers: Sequence[Answer], read: Sequence[Answer], threshold: float
) -> dict[str, Any]:
    """Answers, as they were read, and how far repeated ones agree."""
    told: dict[str, Any] = {
        "regions": {
            "method": view.division.method if view.division else "boxes",
            "count": len(view.regions),
        },
        "answers": [
            {
                "scores": {str(n): s for n, s in a.scores.items()},
                "image_score": a.image_score,
                "problem": a.problem,
                "words": a.words,
                "repaired": list(a.repaired),
            }
            for a in answers
        ],
    }
    if len(answers) > 1:
        told["repeats"] = {"asked": len(answers), "read": len(read)} | _repeated(read, threshold)
    return told


def _repeated(read: Sequence[Answer], threshold: float) -> dict[str, Any]:
    """How far repeated answers agree (figure 8 of the document): numbers of regions, and scores.

    Agreement is the mean, over all pairs of answers, of the share of regions that both flag among
    those that either flags; 1 where neither flags any. Spreads are standard deviations. Of a
    single answer there is neither.
    """
    flagged = [{n for n, s in a.scores.items() if s >= threshold} for a in read]
    shares = [len(a & b) / len(a | b) if a | b else 1.0 for a, b in combinations(flagged, 2)]
    named = sorted({n for a in read for n in a.scores}) if shares else []
    return {
        "agreement": fmean(shares) if shares else None,
        "image_score_spread": pstdev(map(image_score, read)) if shares else None,
        "score_spread": {str(n): pstdev(a.scores.get(n, 0.0) for a in read) for n in named},
    }
