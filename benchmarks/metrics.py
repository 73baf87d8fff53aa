"""All pixel figures of many maps: the accumulator beside scikit-learn, AU-PRO and torchmetrics.

    python benchmarks/metrics.py --maps 1725 --size 1024 --compare 172

Made, seeded maps of 15 categories: smooth noise, finer noise, and in three of four images one to
four blobs with their masks. First the accumulator takes in every map, one accumulator a category,
and gives pixel AUROC, average precision, F1-max and AU-PRO of each; making the maps is not timed.
Then, on the first maps of the same set and one category at a time, the exact libraries compute the
same figures from the same pixels in the same process. torchmetrics has no AU-PRO and no F1-max; it
is timed on what it has, if it is installed.

With float16 maps, which is what `blemish bench` keeps, the figures must be equal. With
`--dtype float32` the accumulator rounds, and its own bound is printed beside the difference.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import resource
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blemish.metrics.pixels import PixelAccumulator
from blemish.types import Mask

CATEGORIES = 15
FIGURES = ("auroc", "average_precision", "f1_max", "au_pro")
Figures = dict[str, float]


def made(numbers: range, size: int, dtype: str) -> Iterator[tuple[int, NDArray[Any], Mask]]:
    """Category, map and mask of each image; the same for the same number."""
    fine = np.random.default_rng(0).standard_normal((2 * size, 2 * size), np.float32)
    for number in numbers:
        rng = np.random.default_rng(number)
        coarse = rng.random((24, 24), np.float32)
        y, x = rng.integers(0, size, 2)
        values = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
        values = 0.35 + 0.25 * values + 0.02 * fine[y : y + size, x : x + size]
        blobs, heat = np.zeros((2, size, size), np.float32)
        for _ in range(rng.integers(1, 5) if number % 4 else 0):
            centre, axes = rng.integers(size // 8, 7 * size // 8, 2), rng.integers(4, size // 12, 2)
            shift, angle = rng.integers(-size // 60, size // 60 + 1, 2), float(rng.integers(180))
            cv2.ellipse(blobs, centre.tolist(), axes.tolist(), angle, 0, 360, 1.0, -1)
            seen = float(rng.uniform(0.1, 0.5))
            cv2.ellipse(heat, (centre + shift).tolist(), axes.tolist(), angle, 0, 360, seen, -1)
        values = values + cv2.blur(heat, (size // 40, size // 40))
        yield number % CATEGORIES, np.clip(values, 0, 1).astype(dtype), blobs > 0


def accumulate(count: int, size: int, dtype: str) -> tuple[list[PixelAccumulator], list[float]]:
    """One accumulator a category, and the seconds of each map."""
    totals = [PixelAccumulator() for _ in range(CATEGORIES)]
    seconds = []
    for category, values, mask in made(range(count), size, dtype):
        start = time.perf_counter()
        totals[category].add(values, mask)
        seconds.append(time.perf_counter() - start)
    return totals, seconds


def figures_of(total: PixelAccumulator) -> Figures:
    found = total.auroc(), total.average_precision(), total.f1_max()[0], total.au_pro()
    return dict(zip(FIGURES, found, strict=True))


def scikit_learn(maps: list[NDArray[Any]], masks: list[Mask]) -> Figures:
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    labels = np.concatenate([mask.ravel() for mask in masks])
    scores = np.concatenate([values.ravel() for values in maps])
    precision, recall, _ = precision_recall_curve(labels, scores)
    return {
        "auroc": float(roc_auc_score(labels, scores)),
        "average_precision": float(average_precision_score(labels, scores)),
        "f1_max": float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-300))),
    }


def plain_au_pro(maps: list[NDArray[Any]], masks: list[Mask], limit: float = 0.3) -> Figures:
    """The official evaluation's way: every pixel's weight, one sort of all pixels, cumulated."""
    from scipy.ndimage import label

    overlap, regions = [np.zeros(mask.size) for mask in masks], 0
    for weights, mask in zip(overlap, masks, strict=True):
        numbers, found = label(mask, np.ones((3, 3)))
        for region in range(1, found + 1):
            inside = numbers.ravel() == region
            weights[inside] = 1.0 / inside.sum()
        regions += found
    scores = np.concatenate([values.ravel() for values in maps])
    order = np.argsort(scores, kind="stable")[::-1]
    scores = scores[order]
    normal = ~np.concatenate([mask.ravel() for mask in masks])[order]
    last = np.append(np.diff(scores) != 0, True)
    height = np.append(0.0, np.cumsum(np.concatenate(overlap)[order])[last] / regions)
    rate = np.append(0.0, np.cumsum(normal)[last] / normal.sum())
    end = np.interp(limit, rate, height)
    inside = rate < limit
    height, rate = np.append(height[inside], end), np.append(rate[inside], limit)
    return {"au_pro": float(np.trapezoid(height, rate) / limit)}


def torchmetrics(maps: list[NDArray[Any]], masks: list[Mask]) -> Figures:
    import torch

    classification = importlib.import_module("torchmetrics.functional.classification")
    scores = torch.from_numpy(np.stack(maps).astype(np.float32)).ravel()
    labels = torch.from_numpy(np.stack(masks)).ravel().long()
    return {
        "auroc": float(classification.binary_auroc(scores, labels)),
        "average_precision": float(classification.binary_average_precision(scores, labels)),
    }


def compare(count: int, size: int, dtype: str, others: dict[str, Any]) -> None:
    ours, seconds = accumulate(count, size, dtype)
    start = time.perf_counter()
    found = [figures_of(total) for total in ours]
    own = sum(seconds) + time.perf_counter() - start
    times = dict.fromkeys(others, 0.0)
    apart = {name: dict.fromkeys(FIGURES, 0.0) for name in others}
    for category in range(CATEGORIES):
        drawn = list(made(range(category, count, CATEGORIES), size, dtype))
        maps, masks = [values for _, values, _ in drawn], [mask for _, _, mask in drawn]
        for name, function in others.items():
            start = time.perf_counter()
            theirs = function(maps, masks)
            times[name] += time.perf_counter() - start
            for figure, value in theirs.items():
                far = abs(value - found[category][figure])
                apart[name][figure] = max(apart[name][figure], far)
    exact = times["scikit-learn"] + times["plain AU-PRO"]
    print(f"\n{count} of the maps: accumulator {own:.2f} s")
    for name, time_taken in times.items():
        far = ", ".join(f"{f} {d:.1e}" for f, d in apart[name].items() if d > 0) or "none"
        print(f"  {name:13} {time_taken:8.2f} s, {time_taken / own:6.0f} x; differences: {far}")
    print(f"  scikit-learn and plain AU-PRO together take {exact / own:.0f} times as long")
    if dtype == "float32":
        bounds = [vars(total.rounding_bounds()) for total in ours]
        worst = ", ".join(f"{f} {max(b[f] for b in bounds):.1e}" for f in FIGURES)
        print(f"  bounds of the rounding to float16: {worst}")


def main() -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    ask.add_argument("--maps", type=int, default=1725)
    ask.add_argument("--size", type=int, default=1024)
    ask.add_argument("--compare", type=int, default=172)
    ask.add_argument("--dtype", choices=("float16", "float32"), default="float16")
    args = ask.parse_args()
    least = 2 * CATEGORIES  # so that each category has a good and a defective image
    if min(args.maps, args.compare) < least or args.size < 128:
        ask.error(f"needs at least {least} maps to take in and to compare, of 128 pixels or more")
    cv2.setNumThreads(1)
    totals, seconds = accumulate(args.maps, args.size, args.dtype)
    start = time.perf_counter()
    found = [figures_of(total) for total in totals]
    last = time.perf_counter() - start
    counts = sum(totals, PixelAccumulator()).counts
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{counts}\n{args.maps} maps of {args.size} x {args.size} {args.dtype}:")
    print(f"  taken in {sum(seconds):.2f} s ({1e3 * np.median(seconds):.2f} ms a map, median)")
    print(f"  all figures of {CATEGORIES} categories {last:.3f} s, peak memory {peak:.2f} GB")
    print("  means " + ", ".join(f"{f} {np.mean([x[f] for x in found]):.4f}" for f in FIGURES))
    others: dict[str, Any] = {"scikit-learn": scikit_learn, "plain AU-PRO": plain_au_pro}
    if importlib.util.find_spec("torchmetrics"):
        others["torchmetrics"] = torchmetrics
    else:
        print("  torchmetrics: not installed")
    compare(args.compare, args.size, args.dtype, others)


if __name__ == "__main__":
    main()
