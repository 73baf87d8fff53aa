"""What a language model said of a part, held against its map: verdict, score and evidence.

A detector's finding is never lowered by words (a contradiction is "unsure"), and where the answer
names none of the places that the map marks, these follow on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from blemish.detectors._anomalygpt_turn import arranged
from blemish.prompts import anomalygpt as prompts
from blemish.types import Inspection, Usage, Verdict

if TYPE_CHECKING:
    from torch import Tensor

ANSWER = 48
"""Tokens up to which an answer is written."""


@dataclass(frozen=True)
class Answer:
    """What the language model said of one picture.

    Attributes:
        text: as written.
        words: as much of it as is told to people.
        probability: of "Yes" among "Yes" and "No".
        told: what these words say.
    """

    text: str
    words: str
    probability: float
    told: prompts.Told


def asked(
    language_model: Any, rows: Sequence[Tensor], described: Sequence[str], *, free: bool = False
) -> list[Answer]:
    """What a language model says of pictures, in the document's first question.

    Args:
        language_model: a `blemish.llms.causal.Causal`.
        rows: (1 + n, W) of each picture, what it is shown of it.
        described: what it is told of each.
        free: it learnt to describe pictures; else its answers end where words begin that no answer
            it learnt from has.
    """
    import torch

    question = prompts.questions()[0]
    slots = [prompts.prompt(question, words) for words in described]
    with torch.inference_mode():
        said = language_model.generate(
            [arranged(language_model, r, s) for r, s in zip(rows, slots, strict=True)],
            prefix=slots[0].before,
            most=ANSWER,
            stop=(prompts.STOP,),
            deciding=prompts.DECIDING,
        )
    return [_read(one, free) for one in said]


def _read(said: Any, free: bool) -> Answer:
    """An answer of `blemish.llms.causal.Causal`."""
    yes, no = prompts.DECIDING
    words = said.text if free else prompts.taught(said.text)
    ended = said.ended if words == said.text else "stop"
    share = said.first[yes] / max(said.first[yes] + said.first[no], 1e-12)
    return Answer(said.text, words, share, prompts.read(words, ended=ended))


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
            f"The answer and the map contradict each other. The answer: {answer.words} The map: "
            f"{found.explanation}"
        )
        return replace(spoken, verdict="unsure", reason="contradicted", explanation=words)
    verdict: Verdict = "anomalous" if says == "anomalous" else "normal"
    regions = found.regions if verdict == "anomalous" else ()
    words = answer.words
    if regions and answer.told.places and not evidence["places_agree"]:
        words = f"{words} The map marks another place: {', '.join(evidence['map_marks'])}."
    return replace(spoken, verdict=verdict, reason="", regions=regions, explanation=words)
