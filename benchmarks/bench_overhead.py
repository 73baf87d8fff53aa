"""What `blemish bench` costs beside the detector itself: processor time, in turns.

    python benchmarks/bench_overhead.py --dtype int8 --rounds 3

Made-up parts of 400 x 400, 4 references and 60 to judge. The detector alone reads, fits and
predicts in batches of 8; the benchmark also writes rows and maps and computes every figure.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import blemish
from blemish.benchmark import plan, run
from blemish.benchmark.folder import Means
from blemish.datasets.find import open_dataset
from blemish.datasets.model import Dataset
from blemish.synthesis.procedural import write_set


def alone(dataset: Dataset, dtype: str) -> float:
    begun = time.process_time()
    detector = blemish.load("patch-memory", device="cpu", dtype=dtype)
    fitted = detector.fit([item.sample() for item in dataset.references("tile", 4, 0)])
    items = dataset.select("tile", "test")
    for start in range(0, len(items), 8):
        fitted.predict([item.sample() for item in items[start : start + 8]])
    return time.process_time() - begun


def measured(dataset: Dataset, dtype: str, out: Path) -> float:
    begun = time.process_time()
    run.run(plan.free("patch-memory", dataset, (4,), (0,), {}), out, Means("cpu", dtype))
    return time.process_time() - begun


def main() -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    ask.add_argument("--dtype", default="auto")
    ask.add_argument("--rounds", type=int, default=3)
    args = ask.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tile"
        write_set(root, "tiled", train=4, good=30, anomalous=30, size=(400, 400))
        dataset = open_dataset(root)
        alone(dataset, args.dtype)  # so that nobody pays for what is done once a process
        for number in range(args.rounds):
            plain = alone(dataset, args.dtype)
            whole = measured(dataset, args.dtype, Path(folder) / f"out{number}")
            ratios.append(whole / plain)
            print(f"detector {plain:.2f} s, bench {whole:.2f} s, {whole / plain - 1:+.1%}")
    print(f"median overhead {statistics.median(ratios) - 1:+.1%}")


if __name__ == "__main__":
    main()
