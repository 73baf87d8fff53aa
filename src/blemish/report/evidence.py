"""What a verdict stands on, for a person to read.

Descriptions of anomalies become bars, all else text: JSON values without their brackets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from blemish.report.bars import TITLE, spans

_MOST = 6000
"""Characters a picture in the report; inspections.jsonl has all of them."""


def bars(evidence: Mapping[str, Any]) -> str:
    """An HTML table of the descriptions that are most similar to a picture; empty without any."""
    rows = _descriptors(evidence)
    if not rows:
        return ""
    lengths = spans([similarity for _, similarity in rows])
    cells = "".join(
        f'<tr><td>{escape(text)}{_bar(*span)}</td><td class="number">{similarity:.3f}</td></tr>\n'
        for (text, similarity), span in zip(rows, lengths, strict=True)
    )
    return f"""<table class="bars"><caption>{TITLE}</caption><tbody>
{cells}</tbody></table>"""


def _bar(start: float, length: float) -> str:
    """A drawing, as the page's policy allows no style of a single element."""
    return (
        '<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect x="{100 * start:.2f}" width="{100 * length:.2f}" height="1"/></svg>'
    )


def _descriptors(evidence: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Descriptions and similarities; none where an entry of that name is anything else."""
    found = []
    entries = evidence.get("descriptors")
    for entry in entries if isinstance(entries, list | tuple) else ():
        match entry:
            case {"text": str(text), "similarity": float(similarity)}:
                found.append((text, similarity))
            case _:
                return []
    return found


def details(evidence: Mapping[str, Any]) -> str:
    """HTML that unfolds, without what `bars` shows; empty where there is no more evidence."""
    shown = {"descriptors"} if _descriptors(evidence) else set()
    rest = {name: value for name, value in evidence.items() if name not in shown}
    if not rest:
        return ""
    text = "\n".join(_lines(rest, ""))
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
