"""From the opinions about all views of a part to an inspection of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from blemish.detectors._marked import View
from blemish.detectors._opinion import Opinion, calibrated, verdict_of
from blemish.types import (
    DecidedBy,
    Detector,
    Inspection,
    Reason,
    Region,
    Reply,
    Sample,
    Verdict,
)


def agreed(first: Verdict, second: Verdict) -> tuple[Verdict, Reason]:
    """Two verdicts as one: that which both give, or "unsure".

    >>> agreed("normal", "anomalous")
    ('unsure', 'contradicted')
    """
    if first == second and first != "unsure":
        return first, ""
    return "unsure", "inside the band" if "unsure" in (first, second) else "contradicted"


def decided(
    opinions: Sequence[Opinion], threshold: float, found: Inspection | None
) -> tuple[Verdict, Reason, float | None]:
    """Verdict, reason and score of a part.

    The score is the highest of the views, and with another detector's finding at least that
    detector's score: words never lower a finding. Where an image score says normal and a region
    does not, or the two detectors differ, the verdict is "unsure".
    """
    other = found.score if found else None
    for one in opinions:
        if one.problem:
            return "unsure", one.problem, other
    images = [o.image for o in opinions if o.image is not None]
    if len(images) < len(opinions):
        return "unsure", "nothing to decide on", other
    score = calibrated(max(images), threshold)
    verdict = verdict_of(score)
    reason: Reason = "inside the band" if verdict == "unsure" else ""
    if verdict == "normal" and any(o.regions for o in opinions):
        verdict, reason = "unsure", "contradicted"
    if found is not None and not reason:
        verdict, reason = agreed(verdict, found.verdict)
    return verdict, reason, score if other is None else max(score, other)


def inspection(
    sample: Sample,
    opinions: Sequence[Opinion],
    threshold: float,
    found: Inspection | None = None,
    asked: bool = True,
) -> Inspection:
    """One inspection out of the opinions about all views, and another detector's finding.

    Args:
        sample: the part.
        opinions: one a view.
        threshold: written score from which something is anomalous.
        found: the other detector's.
        asked: a question was asked; where the other detector left none to ask, it decides.
    """
    verdict, reason, score = decided(opinions, threshold, found)
    decided_by: DecidedBy = "language model"
    if found is not None and not asked:
        verdict, reason, score = found.verdict, found.reason, found.score
        decided_by = found.decided_by
    places = [r for o in opinions for r in o.regions] or list(found.regions if found else ())
    places.sort(key=lambda r: (-r.score, -r.area, r.view, r.box))
    regions = tuple(replace(r, label=i) for i, r in enumerate(places, 1))
    maps = [o.map for o in opinions if o.map is not None]
    done = Inspection(
        id=sample.id,
        verdict=verdict,
        decided_by=decided_by,
        reason=reason,
        score=score,
        raw_score=score,
        maps=tuple(maps) if len(maps) == len(opinions) else (),
        regions=() if verdict == "normal" else regions,
    )
    if found is not None and not asked:
        return replace(done, explanation=found.explanation)
    return replace(done, explanation=_sentence(sample.class_name, done, opinions, found))


def _sentence(
    name: str, done: Inspection, opinions: Sequence[Opinion], found: Inspection | None
) -> str:
    words = next((o.words for o in opinions if o.problem), "")
    if done.reason == "refused":
        return f"The language model declined to judge this {name}."
    if done.reason == "unparsed":
        return f"What the language model wrote about this {name} cannot be read: {words}."
    if done.reason == "nothing to decide on":
        return f"This {name} shows no region to ask the language model about."
    score = f"(score {done.score:.2f})"
    if done.verdict == "normal":
        return f"The language model names no anomaly of this {name} {score}."
    said = f"names {_places(done.regions)}" if done.regions else "scores the whole picture"
    if done.reason == "contradicted" and found is not None:
        other = "anomalous" if found.verdict == "anomalous" else "normal"
        here = "normal" if other == "anomalous" else "anomalous"
        return f"The language model calls this {name} {here}, the other detector {other} {score}."
    if done.reason == "contradicted":
        return f"The language model {said} of this {name}, but calls the whole normal {score}."
    close = ": too close to call" if done.verdict == "unsure" else ""
    return f"The language model {said} of this {name} as anomalous {score}{close}."


def _places(regions: Sequence[Region]) -> str:
    words = list(dict.fromkeys(region.position for region in regions))[:3]
    count = "1 region" if len(regions) == 1 else f"{len(regions)} regions"
    return f"{count} at {', '.join(words)}"


def evidence(
    views: Sequence[View],
    said: Sequence[Sequence[Reply]],
    opinions: Sequence[Opinion],
    source: Detector | None,
    found: Inspection | None,
) -> dict[str, Any]:
    """What was asked, answered and understood, view by view, as JSON values."""
    flat = [reply for some in said for reply in some]
    told: dict[str, Any] = {
        "answered_by": sorted({reply.model for reply in flat if reply.model}),
        "dropped": sorted({name for reply in flat for name in reply.dropped}),
        "views": [
            {
                "prompt": view.message.text if view.message else "",
                "replies": [reply.text for reply in some],
                **opinion.evidence,
            }
            for view, some, opinion in zip(views, said, opinions, strict=True)
        ],
    }
    if source and found:
        told["map_source"] = {
            "name": source.name,
            "verdict": found.verdict,
            "score": found.score,
            "regions": [{"position": r.position, "score": r.score} for r in found.regions],
        }
    return told
