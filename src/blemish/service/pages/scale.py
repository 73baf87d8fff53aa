"""The colours of the heat map as a picture, from the very code that paints it."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import PIL.Image
from fastapi import Response

from blemish.report.overlay import heatmap_layer
from blemish.service.pages.render import page_router

router = page_router()


@cache
def _png() -> bytes:
    held = io.BytesIO()
    scores = np.linspace(0, 1, 128, dtype=np.float32)[None]
    PIL.Image.fromarray(heatmap_layer(scores)).save(held, "PNG")
    return held.getvalue()


@router.get("/scale.png")
def scale() -> Response:
    """Scores from 0 to 1, from left to right."""
    kept = {"Cache-Control": "private, max-age=86400"}
    return Response(_png(), media_type="image/png", headers=kept)
