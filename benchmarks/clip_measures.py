"""The measurements of `clip.py`: one job in a process of its own, its figures printed as JSON.

`python benchmarks/clip_measures.py NAME JOB`; see `measure`.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any

import numpy as np
from clip_setting import CLASS, empty_cache, part, peak, timed, write
from clip_straightforward import Straightforward, every_window
from numpy.typing import NDArray

import blemish
from blemish.detectors._anomaly_prompts import AnomalyPrompts
from blemish.detectors._explained import Source
from blemish.encoders.clip import Clip
from blemish.types import Image, Sample

SMALL = 6
"""Patches along a side of the picture all of whose windows are encoded in both ways."""

Floats = NDArray[np.float32]
Figures = dict[str, Any]


def picture(
    clip: Clip,
    size: int,
    *,
    seed: int,
    repeats: int,
    detector: str,
    scales: Sequence[int],
    shots: int,
) -> Figures:
    """Seconds and memory of one case."""
    loaded = peak()
    built: Any = blemish.load(detector, encoder=clip, seed=seed, size=size, scales=tuple(scales))
    fit_s = 0.0
    if shots:
        fit_s, built = timed(built.fit, [part(1000 + seed + i) for i in range(shots)])
    times = []
    for number in range(1 + repeats):
        times.append(timed(built.predict, [part(seed + number)])[0])
    return {"s": statistics.median(times[1:]), "fit_s": fit_s, "loaded": loaded, "peak": peak()}


def windows(
    clip: Clip, size: int, *, seed: int, repeats: int, scales: Sequence[int], sample: int
) -> Figures:
    """Both ways of encoding windows, in turns; and both on all windows of a small picture."""
    image = part(seed).image
    ways = [Ways(clip, scale, size, sample) for scale in scales]
    little = [Ways(clip, scale, SMALL * clip.patch, sample) for scale in scales]
    clip.windows([image], scales[0], size=size, values=True)
    whole_s = []
    for _ in range(repeats):
        whole_s.append(timed(clip.joint, [image], size=size)[0])
        for one in ways:
            one.round(image)
        for one in little:
            one.round(image)
            one.every(image)
    return {
        "sample": sample,
        "whole_s": statistics.median(whole_s),
        "scales": {str(one.scale): one.figures() for one in ways},
        "small": {
            "side": SMALL,
            "scales": {str(one.scale): one.figures() for one in little},
            "maps": maps(clip, part(seed), SMALL * clip.patch, tuple(scales)),
        },
    }


class Ways:
    """The windows of one scale, encoded in both ways.

    Args:
        clip: whose windows are the fast ones.
        scale: side of a window in patches.
        size: of the picture in pixels.
        sample: how many windows the straightforward way encodes, spread evenly.
    """

    def __init__(self, clip: Clip, scale: int, size: int, sample: int) -> None:
        self._clip, self.scale, self._size = clip, scale, size
        self._plain = Straightforward(clip)
        _, self._rows = every_window(size // clip.patch, scale)
        last = len(self._rows) - 1
        self._chosen = np.unique(np.linspace(0, last, min(sample, last + 1)).round().astype(int))
        self._fast: list[float] = []
        self._slow: list[float] = []
        self._all: list[float] = []
        self._apart = self._spread = 0.0

    def round(self, image: Image) -> None:
        """One after the other."""
        took, fast = timed(self._clip.windows, [image], self.scale, size=self._size)
        self._fast.append(took)
        rows, side = self._rows[self._chosen], self._size // self._clip.patch
        took, (slow, _) = timed(self._plain.chosen, image, rows, side)
        self._slow.append(took / len(rows) * len(self._rows))
        embeddings = fast.embeddings[0]
        self._apart = max(self._apart, furthest(embeddings[self._chosen], slow))
        self._spread = furthest(embeddings[:1], embeddings)

    def every(self, image: Image) -> None:
        """The straightforward way with no window left out."""
        took, slow = timed(self._plain.windows, [image], self.scale, size=self._size)
        fast = self._clip.windows([image], self.scale, size=self._size, values=True)
        self._all.append(took)
        self._apart = max(self._apart, furthest(fast.embeddings, slow.embeddings))

    def figures(self) -> Figures:
        return {
            "count": len(self._rows),
            "fast_s": statistics.median(self._fast),
            "straightforward_s": statistics.median(self._slow),
            "all_s": statistics.median(self._all) if self._all else None,
            "difference": self._apart,
            "spread": self._spread,
        }


def furthest(one: Floats, two: Floats) -> float:
    return float(np.abs(one - two).max())


def maps(clip: Clip, sample: Sample, size: int, scales: tuple[int, ...]) -> Figures:
    """What both ways come to: the map of each detector.

    Random weights put texts far apart; a lower logit scale keeps probabilities from 0 and 1.
    """
    clip = copy(clip)
    clip.logit_scale = 10.0
    found = {}
    for name in ("winclip", "alfa"):
        fast, slow = (
            blemish.load(name, encoder=encoder, size=size, scales=scales).predict([sample])[0]
            for encoder in (clip, Straightforward(clip))
        )
        (one,), (two,) = fast.maps, slow.maps
        found[name] = {
            "difference": furthest(one, two),
            "lowest": float(one.min()),
            "highest": float(one.max()),
        }
    return found


def prepare(clip: Clip, size: int, *, seed: int, repeats: int, detector: str) -> Figures:
    """Seconds until the texts of a class are embedded, in an empty cache and in a full one."""
    clip.encode_text(["The tokenizer is loaded."])
    cold, kept = [], []

    def once() -> tuple[float, int]:
        built: Any = blemish.load(detector, encoder=Counting(clip), seed=seed, size=size)
        prepared = built._words
        return timed(prepared, CLASS)[0], built.encoder.count

    for _ in range(repeats):
        with empty_cache():
            took, count = once()
            cold.append(took)
            kept.append(once()[0])
    return {"texts": count, "cold_s": statistics.median(cold), "kept_s": statistics.median(kept)}


class Counting:
    """A CLIP model that counts the texts it is given."""

    def __init__(self, clip: Clip) -> None:
        self._clip, self.count = clip, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clip, name)

    def encode_text(self, texts: Sequence[str]) -> Floats:
        self.count += len(texts)
        return self._clip.encode_text(texts)


def scoring(
    clip: Clip, size: int, *, seed: int, repeats: int, counts: Sequence[int]
) -> dict[str, Figures]:
    """Seconds that alfa takes to judge an encoded picture, by the number of prompts."""
    sample, rounds = part(seed), 10 * repeats
    built: list[Any] = [
        blemish.load("alfa", encoder=clip, size=size, aligner=on) for on in (True, False)
    ]
    views = [detector._see([sample.image]) for detector in built]  # the second has no values
    whole = views[0][0].whole
    found = {}
    for count in counts:
        known = drawn(whole, count, seed)
        for detector in built:
            detector._kept[CLASS] = known
        calls = {
            "scoring_s": partial(built[0]._judge, sample, views[0]),
            "without_aligner_s": partial(built[1]._judge, sample, views[1]),
            "product_s": partial(known.embeddings.dot, whole),
        }
        kept = calls["scoring_s"]().evidence["prompts"]
        times = [[timed(call)[0] for call in calls.values()] for _ in range(1 + rounds)]
        medians = np.median(times[1:], axis=0).tolist()
        found[str(count)] = {
            "kept": f"{kept['normal']}; {kept['abnormal']}",
            **dict(zip(calls, medians, strict=True)),
        }
    return found


def drawn(whole: Floats, count: int, seed: int) -> AnomalyPrompts:
    """Made-up prompts whose cosines to a picture overlap by half: 0 to 0.2, and 0.1 to 0.3."""
    random = np.random.default_rng(seed)
    abnormal = np.arange(count) >= count // 2
    cosines = (random.uniform(0, 0.2, count) + 0.1 * abnormal)[:, None]
    away = random.standard_normal((count, len(whole)))
    away -= (away @ whole)[:, None] * whole
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    embeddings = np.asarray(cosines * whole + np.sqrt(1 - cosines**2) * away, np.float32)
    texts = tuple(map(str, range(count)))
    written: Source = "template"
    none = np.empty((0, len(whole)), np.float32)
    return AnomalyPrompts(texts, abnormal, (written,) * count, embeddings, (), none, "")


MEASURES: Mapping[str, Callable[..., Any]] = {
    "picture": picture,
    "windows": windows,
    "prepare": prepare,
    "scoring": scoring,
}


def measure(what: str, job: Figures) -> Any:
    """One measurement.

    Args:
        what: the name of a function of this file.
        job: its arguments, and `model`, a folder; `patches` along a side of the picture, or None
            for the checkpoint's own.
    """
    job = dict(job)
    model, patches = job.pop("model"), job.pop("patches")
    if what == "write":
        return write(model, job["seed"])
    clip = Clip(model)
    size = patches * clip.patch if patches else clip.default_size
    return MEASURES[what](clip, size, **job)


def main() -> None:
    import torch

    what, job = sys.argv[1], json.loads(sys.argv[2])
    torch.set_num_threads(job.pop("threads"))
    print(json.dumps(measure(what, job)))


if __name__ == "__main__":
    main()
