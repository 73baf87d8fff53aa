"""What a verdict stands on, as text that a person can read: JSON values without their brackets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_MOST = 6000
"""Characters a picture in the report; inspections.jsonl has all of them."""


def details(evidence: Mapping[str, Any]) -> str:
    """HTML that unfolds; empty where there is no evidence."""
    if not evidence:
        return ""
    text = "\n".join(_lines(evidence, ""))
    if len(text) > _MOST:
        text = f"{text[:_MOST]}…\n(cut off here; inspections.jsonl has the rest)"
    return f"<details><summary>Evidence</summary><pre>{escape(text)}</pre></details>"


def _lines(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    r"""One line an entry; what does not fit on it follows below, further in.

    >>> list(_lines({"point": 0.5, "views": [{"reply": "a\nb"}], "none": []}, ""))
    ['point: 0.5', 'views:', '  1:', '    reply:', '      a', '      b', 'none: –']
    """
    deeper = f"{indent}  "
    for name, entry in value.items():
        if isinstance(entry, list) and any(isinstance(one, Mapping | list) for one in entry):
            entry = {str(number): one for number, one in enumerate(entry, 1)}
        if isinstance(entry, Mapping) and entry:
            yield f"{indent}{name}:"
            yield from _lines(entry, deeper)
            continue
        said = _said(entry)
        if "\n" in said:
            yield f"{indent}{name}:"
            yield from (f"{deeper}{line}" for line in said.splitlines())
        else:
            yield f"{indent}{name}: {said}"


def _said(entry: Any) -> str:
    if isinstance(entry, list):
        several = [_said(one) for one in entry]
        return ("\n" if any("\n" in one for one in several) else ", ").join(several) or "–"
    if isinstance(entry, float):
        return f"{entry:.6g}"
    return "–" if entry is None or entry in ("", {}) else str(entry)
