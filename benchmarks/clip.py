"""What the CLIP detectors cost: seconds and memory a picture, their fast path, prompts.

    python benchmarks/clip.py                    everything, on ViT-B/16+ 240 with random weights
    python benchmarks/clip.py --only windows     a part: pictures, windows, classes, prompts

--threads 2  --repeats 3 (medians)  --seed 0  --json FILE (all figures, unrounded)
--model FOLDER                               another checkpoint; the same speed where it is as large
--quick                                      pictures of 6 x 6 patches, one round, few cases, all in
                                             this process: to see that it works, not for figures

pictures  winclip and alfa as `blemish.load` gives them, each case in a process of its own, one
          picture a call; the class is prepared. Memory is the highest of the process (getrusage),
          beside what it was with the model loaded and nothing done.
windows   `Clip.windows` beside the straightforward way, in turns in one process: each window as the
          whole picture, all other patches left out of attention in every layer of transformers'
          own tower. That takes minutes, so a few windows spread over the picture are timed and
          their mean taken for the rest; a small picture, all of whose windows are encoded in both
          ways, shows what that is worth, and that the detectors' maps are the same. The script
          fails where the two ways differ by more than rounding.
classes   texts of a class from nothing kept, and kept; the tokenizer is loaded before.
prompts   alfa's scoring of an encoded picture by the number of prompts, half of which contextual
          scoring keeps, and the bare matrix product of the same prompts and the picture.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import clip_measures
from carried_back import head, row

SAME = 1e-5
"""How far the two ways may be apart, in embeddings and in maps."""
QUICK_PATCHES = 6
SCALES = (2, 3, 4)
PARTS = ("pictures", "windows", "classes", "prompts")

Figures = dict[str, Any]


def measured(options: argparse.Namespace, what: str, **job: Any) -> Any:
    """What a measurement of `clip_measures` gives, in a process of its own unless quick."""
    job = {"model": str(options.model), "patches": options.patches, "seed": options.seed} | job
    job |= {"repeats": options.repeats}
    if options.quick:
        return clip_measures.measure(what, job)
    changed = {f"{name}_NUM_THREADS": str(options.threads) for name in ("OMP", "OPENBLAS", "MKL")}
    if what != "write":  # which fetches the tokenizer
        changed["BLEMISH_CACHE"] = str(options.cache)
    text = json.dumps(job | {"threads": options.threads})
    told = subprocess.run(
        [sys.executable, clip_measures.__file__, what, text],
        env=os.environ | changed,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return json.loads(told)


def pictures(options: argparse.Namespace) -> Figures:
    head(
        *("detector", "scales", "references", "s a picture", "fit, s"),
        *("peak, MiB", "with the model loaded, MiB", "more, MiB"),
    )
    known: Sequence[tuple[tuple[int, ...], int]] = [((2,), 0), ((2, 3), 0), ((2, 3, 4), 0)]
    cases = [(name, *case) for name in ("winclip", "alfa") for case in [*known, ((2, 3), 4)]]
    found = {}
    for name, scales, shots in cases[3:5] if options.quick else cases:
        one = measured(options, "picture", detector=name, scales=scales, shots=shots)
        found[f"{name} {named(scales)} {shots}"] = one
        row(
            *(name, named(scales), shots, one["s"], one["fit_s"] if shots else ""),
            *(f"{one[k]:.0f}" for k in ("peak", "loaded")),
            f"{one['peak'] - one['loaded']:.0f}",
        )
    return found


def windows(options: argparse.Namespace) -> Figures:
    found: Figures = measured(options, "windows", scales=SCALES, sample=8)
    head(
        *("windows", "number", "fast, s", f"straightforward, s, from {found['sample']}"),
        *("times as fast", "largest difference of embeddings", "of two windows from each other"),
    )
    for name, one in found["scales"].items():
        row(
            *(f"{name} x {name}", one["count"], one["fast_s"], one["straightforward_s"]),
            f"{one['straightforward_s'] / one['fast_s']:.1f}",
            *(f"{one[k]:.1e}" for k in ("difference", "spread")),
        )
    head("encoding one picture at scales", "fast, s", "straightforward, s", "times as fast")
    for number in range(1, 1 + len(SCALES)):
        some = SCALES[:number]
        costs = [
            found["whole_s"] + sum(found["scales"][str(k)][way] for k in some)
            for way in ("fast_s", "straightforward_s")
        ]
        row(named(some), *costs, f"{costs[1] / costs[0]:.1f}")
    small = found["small"]
    side = small["side"]
    head(
        *(f"{side} x {side} patches: windows", "number", "straightforward, all, s"),
        *(f"from {found['sample']}, s", "ratio", "largest difference of embeddings"),
    )
    for name, one in small["scales"].items():
        row(
            *(f"{name} x {name}", one["count"], one["all_s"], one["straightforward_s"]),
            one["straightforward_s"] / one["all_s"],
            f"{one['difference']:.1e}",
        )
    head("its map", "largest difference", "lowest value", "highest value")
    for name, one in small["maps"].items():
        span = (f"{one[k]:.4f}" for k in ("lowest", "highest"))
        row(f"{name} {named(SCALES)}", f"{one['difference']:.1e}", *span)
    check(found)
    return found


def check(found: Figures) -> None:
    """Ends the script where the two ways do not give the same."""
    small = found["small"]
    cases = {"embeddings": [*found["scales"].values(), *small["scales"].values()]}
    cases["maps"] = list(small["maps"].values())
    for what, each in cases.items():
        worst = max(one["difference"] for one in each)
        if not worst <= SAME:
            sys.exit(f"The fast path is not the same: {what} differ by {worst:.1e}.")


def classes(options: argparse.Namespace) -> Figures:
    head("detector", "texts", "cold, s", "kept, s")
    found = {}
    for name in ("winclip", "alfa"):
        one = found[name] = measured(options, "prepare", detector=name)
        row(name, one["texts"], one["cold_s"], one["kept_s"])
    return found


def prompts(options: argparse.Namespace) -> Figures:
    counts = (290, 1000) if options.quick else (290, 1000, 3000, 10000)
    found: Figures = measured(options, "scoring", counts=counts)
    head(
        "prompts",
        "normal; abnormal",
        "scoring, ms",
        "without the aligner, ms",
        "bare matrix product, ms",
    )
    for count, one in found.items():
        times = (f"{1000 * one[k]:.2f}" for k in ("scoring_s", "without_aligner_s", "product_s"))
        row(f"{int(count):,}", one["kept"], *times)
    return found


def named(scales: Sequence[int]) -> str:
    return f"{{{', '.join(map(str, scales))}}}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    options.patches = None
    if options.quick:
        options.repeats, options.patches = 1, QUICK_PATCHES
    found: dict[str, Mapping[str, Any]] = {}
    measures = {"pictures": pictures, "windows": windows, "classes": classes, "prompts": prompts}
    with tempfile.TemporaryDirectory() as folder:
        options.cache = Path(folder, "cache")
        if options.model is None:
            options.model = Path(folder, "model")
            measured(options, "write")
        for part in [options.only] if options.only else PARTS:
            found[part] = measures[part](options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
