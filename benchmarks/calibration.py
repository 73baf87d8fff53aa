"""What normal scores do on made-up parts: the figures behind the constants of `calibration`.

    python benchmarks/calibration.py --dtype int8 --seeds 3

For each kind of part and draw of references: how far the logarithms of normal scores spread (the
prior's scale), how much higher further good parts score than changed copies of a single reference
(the shift and scale of `from_copies`), how much lower than references that are left out of the
bank (`left_out`), and how far defective parts rise above good ones. Then, per number of
references and false alarm target, the share of good parts called anomalous and of defective ones
called normal, each with the unsure ones beside it; and a grid of priors, at the default target:
shares right and of false alarms, unsure ones counted as neither.

--top 0 takes the map's maximum for the image score, as `anomalygpt` does.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
from few_shot import Remembering, procedural
from numpy.typing import NDArray

import blemish
from blemish.calibration import COPIES_SHIFT, PRIOR_DF, PRIOR_SCALE, Calibration
from blemish.detectors.patch_memory import PatchMemory

SHOTS = (1, 2, 4, 8, 16)
TARGETS = (0.02, 0.05, 0.1)
SCALES, WEIGHTS = (0.08, 0.12, 0.18), (4.0, 8.0, 16.0)
Scores = tuple[Calibration, NDArray[np.float64], NDArray[np.float64]]


def collected(dtype: str, seeds: int, top: float | None) -> dict[tuple[int, str, int], Scores]:
    """Calibration, raw scores of good parts and of defective ones, by shots, kind and seed."""
    options: Any = {} if top is None else {"top": top}
    base: Any = blemish.load("patch-memory", dtype=dtype, **options)
    found = {}
    for data in procedural():
        memory = Remembering(base.encoder, base.encoder.default_layers)
        blank = PatchMemory(encoder=memory, options=base.options)
        groups = [[e.sample for e in data.test if e.label == w] for w in ("normal", "anomalous")]
        for shots, seed in itertools.product(SHOTS, range(seeds)):
            drawn = np.random.default_rng(seed).permutation(len(data.pool))[:shots]
            fitted = blank.fit([data.pool[i] for i in drawn])
            good, bad = (np.array([f.raw_score for f in fitted.predict(g)]) for g in groups)
            assert fitted.calibration is not None
            found[shots, data.name, seed] = (fitted.calibration, good, bad)
        print(f"{data.name} done", flush=True)
    return found


def shares(point: Calibration, good: NDArray[np.float64], bad: NDArray[np.float64]) -> list[float]:
    """Of good ones: anomalous, unsure; of defective ones: normal, unsure."""
    said = [[point.verdict(float(v))[0] for v in group] for group in (good, bad)]
    return [
        said[0].count("anomalous") / len(good),
        said[0].count("unsure") / len(good),
        said[1].count("normal") / len(bad),
        said[1].count("unsure") / len(bad),
    ]


def with_prior(point: Calibration, scale: float, weight: float) -> Calibration:
    """What `from_normals` would have given with another prior, from the sum of squares it saw."""
    squares = point.df * point.scale**2 - PRIOR_DF * PRIOR_SCALE**2
    df = point.n - 1 + weight
    return replace(point, scale=math.sqrt((weight * scale**2 + squares) / df), df=df)


def main() -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    ask.add_argument("--dtype", default="auto")
    ask.add_argument("--seeds", type=int, default=3)
    ask.add_argument("--top", type=float)
    args = ask.parse_args()
    found = collected(args.dtype, args.seeds, args.top)

    logs = {key: np.log(good) for key, (_, good, _) in found.items()}
    spreads = [v.std(ddof=1) for (shots, *_), v in logs.items() if shots > 1]
    print(f"spread of log scores: mean {np.mean(spreads):.2f}, ", end="")
    print(f"root mean square {np.sqrt(np.mean(np.square(spreads))):.2f}")
    alone = [(found[k][0], v) for k, v in logs.items() if k[0] == 1]
    shifts = [v.mean() - (point.location - COPIES_SHIFT) for point, v in alone]
    scale = np.sqrt(np.var(shifts) + np.mean([v.var(ddof=1) for _, v in alone]))
    print(f"one reference: shift {np.mean(shifts):.2f}, scale {scale:.2f}")

    for shots in SHOTS[1:]:
        some = {k: v for k, v in logs.items() if k[0] == shots}
        shifts = [found[k][0].location - v.mean() for k, v in some.items()]
        print(f"{shots} references left out: shift {np.mean(shifts):.3f}, {np.std(shifts):.3f}")
    rises = [np.log(bad) - logs[k].mean() for k, (_, _, bad) in found.items() if k[0] > 1]
    print(f"rise of defective parts: {np.mean(np.concatenate(rises)):.2f}, ", end="")
    print(f"standard deviation {np.std(np.concatenate(rises)):.2f}")

    print("| references | target | false alarms | good unsure | missed | defective unsure |")
    print("|---|---|---|---|---|---|")
    table: dict[tuple[int, float], list[list[float]]] = defaultdict(list)
    for ((shots, *_), scores), target in itertools.product(found.items(), TARGETS):
        table[shots, target].append(shares(scores[0].moved(target), *scores[1:]))
    for (shots, target), values in table.items():
        cells = " | ".join(f"{v:.3f}" for v in np.mean(values, axis=0))
        print(f"| {shots} | {target} | {cells} |")

    print("| prior scale | weight | references | right | false alarms | missed |")
    print("|---|---|---|---|---|---|")
    for scale, weight, shots in itertools.product(SCALES, WEIGHTS, SHOTS[1:]):
        each = []
        for (k, *_), (point, good, bad) in found.items():
            if k == shots:
                false, unsure, missed, lost = shares(with_prior(point, scale, weight), good, bad)
                n, m = len(good), len(bad)
                right = (n * (1 - false - unsure) + m * (1 - missed - lost)) / (n + m)
                each.append((right, false, missed))
        cells = " | ".join(f"{v:.3f}" for v in np.mean(each, axis=0))
        print(f"| {scale} | {weight:g} | {shots} | {cells} |")


if __name__ == "__main__":
    main()
