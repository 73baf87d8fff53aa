"""Where the time goes: the encoder in torch and ONNX Runtime, and a whole run by stage.

    python benchmarks/speed.py encoder          engines side by side at 252, 336 and 448 px
    python benchmarks/speed.py run              a run of made-up parts, seconds by stage, memory

Absolute times are noise on a shared machine: engines take turns in one process, the median of
several rounds is printed, and beside it the share of the rate at which the same machine multiplies
2048 x 2048 float32 matrices at that moment.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

import blemish
from blemish import weights
from blemish.encoders.dinov2 import PATCH, Dinov2
from blemish.runs import run, sources
from blemish.synthesis.procedural import DEFECTS, make_part

LAYERS = (7, 9)


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def flops(tokens: int, layers: int, width: int = 384) -> float:
    """Of the matrix products of one image: 12 D^2 weights a layer, and attention."""
    return layers * (2 * 12 * width**2 * tokens + 4 * tokens**2 * width)


def encoder(rounds: int) -> None:
    table = weights.tensors("dinov2-small")
    plain, short = Dinov2(weights=table), Dinov2(weights=table, dtype="int8")
    square = np.random.default_rng(0).standard_normal((2048, 2048), np.float32)
    print("| px | batch | engine | s an image | images a second | share of the matrix rate |")
    print("|---|---|---|---|---|---|")
    for size in (252, 336, 448):
        side = size // PATCH
        for batch in (1, 4):
            shape = (batch, side * side, PATCH * PATCH * 3)
            pixels = np.random.default_rng(1).integers(0, 255, shape, np.uint8)
            engines = {
                "torch float32": plain._torch(LAYERS),
                "onnxruntime float32": plain._onnx(LAYERS),
                "onnxruntime int8": short._onnx(LAYERS),
            }
            times: dict[str, list[float]] = {name: [] for name in (*engines, "matrix")}
            for _ in range(rounds + 1):
                times["matrix"].append(seconds(lambda: square @ square))
                for name, engine in engines.items():
                    times[name].append(seconds(partial(engine, pixels, (side, side))))
            rate = 2 * 2048**3 / statistics.median(times["matrix"][1:])
            for name in engines:
                each = statistics.median(times[name][1:]) / batch
                share = flops(side * side + 1, max(LAYERS)) / each / rate
                print(f"| {size} | {batch} | {name} | {each:.3f} | {1 / each:.1f} | {share:.0%} |")
            print(f"(matrix rate {rate / 1e9:.0f} GFLOP/s)", flush=True)


def whole_run(count: int, dtype: str, name: str, size: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        pictures.mkdir()
        defects = (None, *DEFECTS["cast"])
        for i in range(count):
            part = make_part("cast", 100 + i, defect=defects[i % len(defects)], size=(400, 400))
            Pillow.fromarray(part.sample.image).save(pictures / f"{i:04d}.png")
        normals = [make_part("cast", s, size=(400, 400)).sample for s in range(16)]
        options: dict[str, Any] = {} if size is None else {"size": size}
        detector = blemish.load("patch-memory", encoder=name, dtype=dtype, **options)
        fitting = time.perf_counter()
        detector = detector.fit(normals)
        fitting = time.perf_counter() - fitting
        items = sources.find(pictures)
        start = time.perf_counter()
        summary = run.inspect(detector, items, Path(folder) / "out")
        total = time.perf_counter() - start

        stages = json.loads((Path(folder) / "out" / "run.json").read_text())["seconds"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name} {dtype} {size or 'default'} px: fit on 16 references {fitting:.1f} s; ", end="")
    print(f"{len(summary.rows)} pictures of 400 x 400 in {total:.1f} s, {total / count:.3f} s each")
    print("seconds by stage:", {k: round(v, 2) for k, v in stages.items()})
    print(f"encoding is {stages['encode'] / total:.0%} of the run; peak memory {peak:.0f} MiB")


def main() -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    ask.add_argument("what", choices=("encoder", "run"))
    ask.add_argument("--rounds", type=int, default=7)
    ask.add_argument("--count", type=int, default=60)
    ask.add_argument("--dtype", default="auto")
    ask.add_argument("--encoder", default="dinov2-small")
    ask.add_argument("--size", type=int)
    args = ask.parse_args()
    if args.what == "encoder":
        encoder(args.rounds)
    else:
        whole_run(args.count, args.dtype, args.encoder, args.size)


if __name__ == "__main__":
    main()
