"""Which view of a part a language model is shown, and what an adapter's modules take of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from blemish.detectors._adapter import AdapterConfig
from blemish.detectors._anomalygpt_turn import Seen, cells
from blemish.types import AnomalyMap, Features, Image, Inspection, Sample

if TYPE_CHECKING:
    from torch import Tensor


def encoded(
    config: AdapterConfig,
    encoder: Any,
    images: Sequence[Image],
    seen: Sequence[Features],
    texts: Sequence[Tensor | None] = (),
) -> Seen:
    """What stands for pictures beside their maps.

    Args:
        config: of the adapter.
        encoder: of the pictures.
        images: N.
        seen: what it gave of each, of the adapter's layers at least.
        texts: (2 + n, D) of each one's class, the normal and the abnormal text first; None where
            the adapter learnt its own. For an enhancer only.
    """
    import torch

    pictures = (
        np.asarray(encoder.embed(images), np.float32)
        if config.joint
        else np.stack([features.class_token for features in seen])
    )
    whole = torch.from_numpy(pictures)
    if not config.enhancer:
        return Seen(whole)
    last = max(config.layers)
    pooled = [cells(torch.from_numpy(features.patches[last])[None]) for features in seen]
    both = [some[:2] for some in texts if some is not None]
    return Seen(whole, torch.cat(pooled), torch.stack(both) if both else None)


def decoded(
    decoder: Any, layers: Sequence[int], seen: Features, texts: Tensor | None
) -> list[AnomalyMap]:
    """Equation 1 for one picture: (h, w) in [0, 1] of each layer.

    Args:
        decoder: a `Decoder`.
        layers: that it takes.
        seen: what the encoder gave of the picture.
        texts: (2 + n, D), see `Decoder.layers`; None where it learnt its own.
    """
    import torch

    tokens = [torch.from_numpy(seen.patches[k])[None] for k in layers]
    with torch.inference_mode():
        maps = decoder.layers(tokens, texts)
    return list(np.asarray(maps[0].numpy(), np.float32))


def oddest(inspection: Inspection) -> int:
    """Which view the language model is shown: the one with the highest place, or the first."""
    return int(np.argmax([m.max() for m in inspection.maps])) if inspection.maps else 0


def view_of(sample: Sample, inspection: Inspection) -> Sample:
    """That view of a part, alone."""
    return replace(sample, images=(sample.images[oddest(inspection)],), references=())


def map_of(inspection: Inspection) -> list[AnomalyMap]:
    """Its map; none without a decoder."""
    return [inspection.maps[oddest(inspection)]] if inspection.maps else []
