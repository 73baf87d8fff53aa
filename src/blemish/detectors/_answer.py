"""What a language model said of a part, held against its map: verdict, score and evidence.

A detector's finding is never lowered by words (a contradiction is "unsure"), and where the answer
names none of the places that the map marks, these follow on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from blemish.prompts import anomalygpt as prompts
from blemish.types import Inspection, Usage, Verdict


@dataclass(frozen=True)
class Answer:
    """What the language model said of one picture.

    Attributes:
        text: as written.
        probability: of "Yes" among "Yes" and "No".
        told: what it says.
    """

    text: str
    probability: float
    told: prompts.Told


def fused(found: Inspection, answer: Answer) -> Inspection:
    """An inspection of the map with the language model's answer; see the top of the file."""
    says = {"yes": "anomalous", "no": "normal"}.get(answer.told.verdict)
    evidence = {
        **found.evidence,
        "answer": answer.text,
        "answer_names": list(answer.told.places),
    }
    if found.maps:
        places = {region.position for region in found.regions}
        evidence |= {
            "map": {"verdict": found.verdict, "score": found.score},
            "map_marks": sorted(places),
            "places_agree": bool(places & set(answer.told.places)),
        }
    spoken = replace(
        found,
        decided_by="language model",
        score=answer.probability,
        evidence=evidence,
        usage=found.usage + Usage(1),
    )
    if says is None:
        return replace(spoken, verdict="unsure", reason="unparsed")
    if found.verdict not in ("unsure", says):
        words = (
            f"The answer and the map contradict each other. The answer: {answer.text} The map: "
            f"{found.explanation}"
        )
        return replace(spoken, verdict="unsure", reason="contradicted", explanation=words)
    verdict: Verdict = "anomalous" if says == "anomalous" else "normal"
    regions = found.regions if verdict == "anomalous" else ()
    words = answer.text
    if regions and answer.told.places and not evidence["places_agree"]:
        words = f"{words} The map marks another place: {', '.join(evidence['map_marks'])}."
    return replace(spoken, verdict=verdict, reason="", regions=regions, explanation=words)
