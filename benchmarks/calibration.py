"""What normal scores do on made-up parts: the figures behind the constants of `calibration`.

    python benchmarks/calibration.py --dtype int8

For each kind of part: how far the logarithms of normal scores spread (the prior's scale), how much
higher further good parts score than changed copies of a single reference (the shift and scale of
`from_copies`), and, per number of references and false alarm target, the share of good parts called
anomalous and of defective ones called normal, each with the unsure ones beside it.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from typing import Any

import numpy as np
from few_shot import Remembering, procedural

import blemish
from blemish.calibration import COPIES_SHIFT
from blemish.detectors.patch_memory import PatchMemory

SHOTS = (1, 2, 4, 8, 16)
TARGETS = (0.02, 0.05, 0.1)


def main() -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    ask.add_argument("--dtype", default="auto")
    args = ask.parse_args()
    base: Any = blemish.load("patch-memory", dtype=args.dtype)
    shares: dict[tuple[int, float], list[tuple[float, ...]]] = defaultdict(list)
    spreads, shifts, scales = [], [], []
    for data in procedural():
        memory = Remembering(base.encoder, base.encoder.default_layers)
        blank = PatchMemory(encoder=memory, options=base.options)
        good = [e.sample for e in data.test if e.label == "normal"]
        bad = [e.sample for e in data.test if e.label == "anomalous"]
        for shots in SHOTS:
            fitted = blank.fit(data.pool[:shots])
            assert fitted.calibration is not None
            normal = np.array([f.raw_score for f in fitted.predict(good)])
            odd = np.array([f.raw_score for f in fitted.predict(bad)])
            if shots == 1:
                logs = np.log(normal)
                shifts.append(logs.mean() - (fitted.calibration.location - COPIES_SHIFT))
                scales.append(logs.std(ddof=1))
            else:
                spreads.append(np.log(normal).std(ddof=1))
            for target in TARGETS:
                point = fitted.calibration.moved(target)
                said = [[point.verdict(float(v))[0] for v in group] for group in (normal, odd)]
                shares[shots, target].append(
                    (
                        said[0].count("anomalous") / len(good),
                        said[0].count("unsure") / len(good),
                        said[1].count("normal") / len(bad),
                        said[1].count("unsure") / len(bad),
                    )
                )
        print(f"{data.name}: spread {spreads[-1]:.2f}, shift {shifts[-1]:.2f}", flush=True)
    together = np.sqrt(np.var(shifts) + np.mean(np.square(scales)))
    print(f"spread of log scores: mean {np.mean(spreads):.2f}, root mean square ", end="")
    print(f"{np.sqrt(np.mean(np.square(spreads))):.2f}")
    print(f"one reference: shift {np.mean(shifts):.2f}, scale {together:.2f}")
    print("| references | target | false alarms | good unsure | missed | defective unsure |")
    print("|---|---|---|---|---|---|")
    for (shots, target), found in shares.items():
        cells = " | ".join(f"{v:.3f}" for v in np.mean(found, axis=0))
        print(f"| {shots} | {target} | {cells} |")


if __name__ == "__main__":
    main()
