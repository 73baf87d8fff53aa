"""What the report's page shows about one picture: its row in the table and its card."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from PIL import Image as Pillow

from blemish.report.evidence import bars, details
from blemish.report.overlay import heatmap_layer, outlines, place_labels, render_size
from blemish.types import AnomalyMap, Image, Region

_SIDE, _THUMB, _HEAT = 640, 96, 160
"""Long sides in pixels of photo, thumbnail and heat layer; the page stretches the last."""
_PHOTO_BYTES = 36_000
SIGNS = {"anomalous": "▲", "unsure": "?", "normal": "✓", "failed": "✕"}
"""Verdicts, worst first, each with a sign: colour alone says nothing to many."""
_WHY = {
    "inside the band": "the score is too near the limit to call",
    "refused": "the language model declined to answer",
    "unparsed": "the language model's answer cannot be read",
    "hedged": "the language model does not commit itself",
    "contradicted": "one finding says normal, another one anomalous",
    "nothing to decide on": "nothing was there to judge by",
}
"""What the reasons for an unsure verdict mean."""


@dataclass(frozen=True, eq=False)
class Card:
    """What the page shows about one picture.

    Attributes:
        inspection: as in a line of inspections.jsonl: "id", "verdict", "reason", "decided_by",
            "score" (None where nothing could score it), "explanation" and perhaps "evidence", and
            of a recording "where" in it something was found.
        image: (H, W, 3) uint8 RGB, the picture that was inspected.
        scores: (h, w) float32 calibrated map in [0, 1], 0.5 at the operating point, stretched
            over the picture; None where there is none.
        regions: what was found; those of the first view are outlined, in pixels of `image`.
        label: the truth, where it is known.
    """

    inspection: Mapping[str, Any]
    image: Image
    scores: AnomalyMap | None = None
    regions: Sequence[Region] = ()
    label: str = ""


def table_row(card: Card, key: str) -> str:
    """The table row of a card. `data-value` is what a column sorts by."""
    found = card.inspection
    name, score = escape(found["id"]), found["score"]
    position = found.get("where") or (card.regions[0].position if card.regions else "")
    rank = list(SIGNS).index(found["verdict"])
    small = Pillow.fromarray(card.image)
    small.thumbnail((_THUMB, _THUMB))
    return f"""<tr data-card="{key}">
<td><img src="{data_uri(small, "JPEG", quality=60)}" alt="" width="{small.width}" \
height="{small.height}" loading="lazy"></td>
<th scope="row" data-value="{name}"><a href="#{key}"><bdi>{name}</bdi></a></th>
<td data-value="{rank}">{badge(found["verdict"])}</td>
<td class="number" data-value="{"" if score is None else score}">{_number(score)}</td>
<td data-value="{escape(position)}">{escape(position) or "–"}</td>
<td class="truth" data-value="{escape(card.label)}">{escape(card.label) or "–"}</td>
</tr>
"""


def article(card: Card, key: str) -> str:
    """The article about one picture."""
    found = card.inspection
    name = escape(found["id"])
    height, width = render_size(card.image.shape[0], card.image.shape[1], _SIDE, _SIDE)
    facts = [f"<dt>Score</dt><dd>{_number(found['score'])}</dd>"]
    facts.append(f"<dt>Decided by</dt><dd>{escape(found['decided_by'])}</dd>")
    if found["reason"]:
        why = _WHY.get(found["reason"], "")
        facts.append(f"<dt>Unsure</dt><dd>{escape(found['reason'])}: {why}</dd>")
    if card.label:
        facts.append(f"<dt>Label</dt><dd>{escape(card.label)}</dd>")
    words = f"<p>{escape(found['explanation'])}</p>" if found.get("explanation") else ""
    evidence = found.get("evidence", {})
    return f"""<article id="{key}" aria-labelledby="{key}-name">
<div class="picture"><img src="{_photo(card.image, height, width)}" alt="Photo of {name}" \
width="{width}" height="{height}" loading="lazy">{_layers(card, height, width)}</div>
<div class="words"><h3 id="{key}-name"><bdi>{name}</bdi></h3>
<p>{badge(found["verdict"])}</p>
<dl>{"".join(facts)}</dl>
{words}{bars(evidence)}{_region_table(card.regions)}{details(evidence)}</div>
</article>
"""


def _layers(card: Card, height: int, width: int) -> str:
    """Heat, outlines and numbers as one drawing of the photo's size, laid over it."""
    parts = []
    if card.scores is not None and card.scores.max() > 0.4:
        high, wide = render_size(card.scores.shape[0], card.scores.shape[1], _HEAT, _HEAT)
        small = Pillow.fromarray(card.scores).resize((wide, high), Pillow.Resampling.BILINEAR)
        heat = data_uri(Pillow.fromarray(heatmap_layer(np.asarray(small))), "PNG")
        parts.append(
            f'<image class="heat" href="{heat}" width="{width}" height="{height}" '
            'preserveAspectRatio="none"/>'
        )
    regions = [region for region in card.regions if region.view == 0]
    scale = max(height, width) / max(card.image.shape[:2])
    shapes = [shape for region in regions for shape in outlines(region, scale, grow=4)]
    if shapes:
        way = "".join("M" + " ".join(f"{x},{y}" for x, y in shape) + "Z" for shape in shapes)
        parts.append(f'<g class="marks"><path class="halo" d="{way}"/><path d="{way}"/>')
        sizes = [(13.0 * len(str(region.label)) + 11, 26.0) for region in regions]
        spots = place_labels(regions, scale, sizes, width, height)
        for region, spot in zip(regions, spots, strict=True):
            if spot:
                x0, y0, x1, y1 = spot
                parts.append(
                    f'<rect x="{x0:.0f}" y="{y0:.0f}" width="{x1 - x0:.0f}" '
                    f'height="{y1 - y0:.0f}" rx="4"/>'
                    f'<text x="{(x0 + x1) / 2:.0f}" y="{y1 - 6:.0f}">{region.label}</text>'
                )
        parts.append("</g>")
    if not parts:
        return ""
    return f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{"".join(parts)}</svg>'


def _region_table(regions: Sequence[Region]) -> str:
    if not regions:
        return ""
    rows = "".join(
        f"<tr><td>{r.label}</td><td>{escape(r.position)}</td>"
        f'<td class="number">{_number(r.score)}</td><td class="number">{r.area:,}</td></tr>\n'
        for r in regions
    )
    return f"""<table><caption>Marked regions</caption><thead><tr><th scope="col">No.</th>
<th scope="col">Position</th><th scope="col" class="number">Score</th>
<th scope="col" class="number">Pixels</th></tr></thead><tbody>
{rows}</tbody></table>"""


def badge(verdict: str, text: str = "") -> str:
    """A verdict, or a count of one, with its sign and colour."""
    sign = f'<span aria-hidden="true">{SIGNS[verdict]}</span>'
    return f'<span class="badge {verdict}">{sign} {text or verdict}</span>'


def _number(score: float | None) -> str:
    return "–" if score is None else f"{score:.2f}"


def _photo(image: Image, height: int, width: int) -> str:
    """The photo as a data address of at most 48 kB, coarser where its texture is rich.

    JPEG: WebP is half the size, and takes ten times as long to write.
    """
    picture = Pillow.fromarray(image)
    # The page stretches a picture that has fewer pixels than the place for it.
    width, height = min(width, picture.width), min(height, picture.height)
    for share, quality in ((1.0, 75), (1.0, 55), (0.7, 55), (0.4, 30)):
        size = (max(1, round(width * share)), max(1, round(height * share)))
        small = picture.resize(size, Pillow.Resampling.BICUBIC, reducing_gap=2.0)
        uri = data_uri(small, "JPEG", quality=quality)
        if len(uri) <= _PHOTO_BYTES * 4 / 3:
            break
    return uri


def data_uri(picture: Pillow.Image, form: str, **options: Any) -> str:
    """A picture as an address that holds it, in the format "JPEG" or "PNG"."""
    held = io.BytesIO()
    picture.save(held, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(held.getvalue()).decode()}"
