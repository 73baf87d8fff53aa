"""Whether the language model of AnomalyGPT or IAD-GPT reads made-up maps, whose truth is exact.

    python benchmarks/made_up_maps.py [--detector iad-gpt] [--maps 128] [--adapter FOLDER]

--seed 99 is that of the maps.

Half of the maps have one anomaly at most, small and inside a cell of the 3 x 3 grid, half up to
three of any size. Each comes with the picture of a made-up part that the training did not see.
Printed: share of answers with the right yes or no; and, of the maps with anomalies, of answers
that name a right place, no wrong place and none too few, and the right number.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import blemish
from blemish.detectors import _answer
from blemish.prompts import anomalygpt as prompts
from blemish.synthesis.procedural import KINDS, make_part
from blemish.training.curriculum import layered, made_up

BATCH = 8
UNSEEN = 50_000_000
"""Seed of the first part, beyond those of the training."""


def main() -> None:
    """Ask, and print the shares."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    ask.add_argument("--maps", type=int, default=128)
    ask.add_argument("--detector", default="anomalygpt")
    ask.add_argument("--adapter", default="", help="a folder; else that which ships")
    ask.add_argument("--seed", type=int, default=99)
    given = ask.parse_args()
    detector: Any = blemish.load(given.detector, dtype="int8", adapter=given.adapter)
    layers = len(detector.adapter.layers) if detector.adapter.fusion else 0
    random = np.random.default_rng(given.seed)
    right: dict[str, list[bool]] = {}
    for start in range(0, given.maps, BATCH):
        most = [1 + 2 * ((start + i) % 2) for i in range(BATCH)]
        some = [layered(random, layers, n) if layers else made_up(random, n) for n in most]
        numbers = range(start, start + BATCH)
        parts = [make_part(KINDS[n % len(KINDS)], UNSEEN + n).sample for n in numbers]
        seen = detector._see([part.image for part in parts])
        rows = detector.shown(parts, seen, [[*m] if layers else m for m, _ in some])
        answers = _answer.asked(detector.language_model, rows, [""] * BATCH)
        for answer, (_, mask) in zip(answers, some, strict=True):
            true, told = prompts.marked(mask), answer.told
            found = {"yes or no": told.verdict == ("yes" if true.number else "no")}
            if true.number:
                found["a place"] = bool({*told.places} & {*true.places})
                found["all places"] = told.places == true.places
                found["the number"] = told.number == true.number
            for name, one in found.items():
                right.setdefault(name, []).append(one)
    for name, ones in right.items():
        print(f"{name}: {np.mean(ones):.3f} of {len(ones)}")


if __name__ == "__main__":
    main()
