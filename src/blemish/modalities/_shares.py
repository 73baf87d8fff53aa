"""What a detector found on a view, as one score a pixel that can be carried back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from blemish.errors import InputError
from blemish.types import AnomalyMap, Inspection


def shares(inspection: Inspection, view: int, height: int, width: int) -> NDArray[np.float32]:
    """The score of each pixel of one view.

    The inspection's score is the view's. A map only shares it out, since maps are raw: from 0, or
    from its lowest value where that is negative, up to its highest, which gets the whole score; a
    map of one value tells no place from another, and the whole view gets the score. Without a map,
    pixels of marked regions get their region's score (the higher one where regions overlap) and
    the rest 0; without either, the whole view gets the score.

    Args:
        inspection: of a sample.
        view: index of the view in the sample.
        height: of the view, in pixels.
        width: of the view, in pixels.

    Returns:
        (height, width) float32 in [0, 1]; all 0 where the inspection has no score, which is no
        information rather than a good sign: a caller that averages leaves such a view out.

    Raises:
        InputError: the map has another size than the view.
    """
    whole = np.zeros((height, width), np.float32)
    if inspection.score is None:
        return whole
    score = np.float32(min(max(inspection.score, 0.0), 1.0))
    if view < len(inspection.maps):
        raw = inspection.maps[view]
        if raw.shape != (height, width):
            raise InputError(
                f"The map of view {view + 1} of {inspection.id or 'a sample'} has shape "
                f"{raw.shape}; expected {(height, width)}, the size of the view."
            )
        return score * _relative(raw)
    if inspection.regions:
        for region in inspection.regions:
            if region.view == view:
                x0, y0, x1, y1 = region.box
                part = whole[y0:y1, x0:x1]
                # A region from elsewhere may reach past the view.
                mask = region.mask[: part.shape[0], : part.shape[1]]
                part[mask] = np.maximum(part[mask], np.float32(region.score))
        return whole
    whole[:] = score
    return whole


def _relative(raw: AnomalyMap) -> NDArray[np.float32]:
    """(H, W) float32 in [0, 1]: a raw map between its floor and its highest value."""
    finite = np.isfinite(raw)
    if not finite.all():
        # Nothing is known there; the rest keeps its own range.
        raw = np.where(finite, raw, raw[finite].min() if finite.any() else 0)
    low, high = min(0.0, float(raw.min())), float(raw.max())
    if high <= low:
        return np.ones(raw.shape, np.float32)
    return np.clip((raw.astype(np.float64) - low) / (high - low), 0, 1).astype(np.float32)
