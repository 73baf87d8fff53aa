"""The JSON form of an answer: verdict, score and findings."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from blemish.prompts import _vqa_where as where
from blemish.prompts._vqa_reading import Finding, Reading
from blemish.prompts.answers import Unreadable, json_values

_VERDICTS = ("normal", "anomalous", "unsure")


def read_json(text: str, marks: Collection[int], repaired: list[str]) -> Reading | None:
    """The answer in a reply's JSON; None where it has no JSON with a verdict.

    Raises:
        Unreadable: the JSON names a verdict or a region that does not exist, or is broken.
    """
    found = [
        value
        for value, _, _ in json_values(text, repaired)
        if isinstance(value, dict) and "verdict" in value
    ]
    if not found:
        if text.lstrip(" `jsonJSON\n").startswith('{"') or '"verdict"' in text:
            raise Unreadable("the reply has JSON without a verdict, or JSON that is broken")
        return None
    if any(value != found[0] for value in found):
        return Reading("unsure", "contradicted", "the reply holds two different answers")
    return _answer(found[0], marks, repaired)


def _answer(value: Mapping[str, Any], marks: Collection[int], repaired: list[str]) -> Reading:
    verdict = str(value["verdict"]).strip().lower()
    if verdict not in _VERDICTS:
        raise Unreadable(f"the verdict {verdict[:30]!r} is none of {', '.join(_VERDICTS)}")
    listed = value.get("findings") or []
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise Unreadable("the findings are no list of objects")
    says = "hedged" if verdict == "unsure" else "anomalous"
    findings = tuple(
        Finding(
            str(entry.get("what") or "").strip(),
            "hedged" if says == "hedged" else "anomalous",
            _regions(entry) if marks else (),
            where.places(str(entry.get("where") or "")),
        )
        for entry in listed
    )
    for number in (n for finding in findings for n in finding.regions):
        if number not in marks:
            raise Unreadable(f"region {number} is not marked")
    score = _score(value.get("score"), repaired)
    read = partial(Reading, findings=findings, score=score, repaired=tuple(repaired), whole=True)
    if verdict == "unsure":
        return read("unsure", "hedged", "the reply says that it is unsure")
    if verdict == "normal" and findings:
        return read("unsure", "contradicted", "the reply lists findings and says that all is well")
    return read("normal" if verdict == "normal" else "anomalous")


def _regions(entry: Mapping[str, Any]) -> tuple[int, ...]:
    region = entry.get("region")
    if isinstance(region, bool):
        return ()
    if isinstance(region, int):
        return (region,)
    return where.regions(f"region {region}", True) if isinstance(region, str) else ()


def _score(score: Any, repaired: list[str]) -> float | None:
    if isinstance(score, bool) or not isinstance(score, int | float):
        return None
    if not math.isfinite(score) or not 0 <= score <= 1:
        repaired.append(f"score outside 0 to 1 left out: {str(score)[:20]}")
        return None
    return float(score)
