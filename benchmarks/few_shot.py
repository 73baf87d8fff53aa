"""Image AUROC, pixel AUROC and AU-PRO of the detectors, from few references, mean of seeds.

    python benchmarks/few_shot.py procedural                        made-up parts: for defaults
    python benchmarks/few_shot.py tiles --data DIR                  a folder laid out like MVTec AD
    python benchmarks/few_shot.py cells                             solar cells, mono and poly

--shots 1,4,16  --seeds 3  --encoder NAME  --dtype int8  --set key=value ...  --detector musc
--by-kind adds the pixel AUROC of each kind of defect; --defective 0.2 makes a folder for musc in
which that share of the pictures is defective: the good ones to draw from join it.

References are drawn by the seed from train/good (tiles), from parts of their own (procedural), or
from the functional cells; the test pictures are the same for every seed. An image is encoded once
for all settings of one call. Pixel figures take every pixel at the picture's own size; pictures
whose mask is empty although they are labelled defective count for the image AUROC only. AU-PRO is
MVTec's: 8-connected regions, false positive rate up to 0.3. Rows are printed as Markdown.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import json
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from sklearn.metrics import roc_auc_score

import blemish
from blemish import build, registry, weights
from blemish.cli.inspecting import parsed
from blemish.synthesis.procedural import DEFECTS, KINDS, make_part
from blemish.types import Encoder, Example, Features, Image, Sample

STEP = 2
"""Every STEP-th pixel both ways counts: a quarter of the work, the same figures to 1e-3."""


@dataclass(frozen=True, eq=False)
class Set:
    """References to draw from and pictures to judge."""

    name: str
    pool: list[Sample]
    test: list[Example]


class Remembering:
    """An encoder that encodes each picture once."""

    def __init__(self, encoder: Encoder, layers: Sequence[int]) -> None:
        self.encoder, self.layers = encoder, tuple(layers)
        self.name, self.fingerprint = encoder.name, encoder.fingerprint
        self.default_layers, self.default_size = encoder.default_layers, encoder.default_size
        self.known: dict[tuple[int, bytes], Features] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["encoder"], name)

    def encode(
        self, images: Sequence[Image], *, layers: Sequence[int], size: int
    ) -> list[Features]:
        keys = [(size, hash_of(i)) for i in images]
        new = {k: i for k, i in zip(keys, images, strict=True) if k not in self.known}
        if new:
            every = sorted({*self.layers, *layers})
            found = self.encoder.encode(list(new.values()), layers=every, size=size)
            self.known.update(zip(new, found, strict=True))
        return [self.known[k] for k in keys]


def hash_of(image: Image) -> bytes:
    return hashlib.sha256(
        np.ascontiguousarray(image).tobytes() + bytes(image.shape[0] % 251)
    ).digest()


def tiles(folder: Path) -> Iterator[Set]:
    """A folder laid out like MVTec AD."""

    def sample(path: Path) -> Sample:
        return Sample(blemish.read_image(path), id=path.name)

    test = []
    for path in sorted(folder.glob("test/*/*")):
        kind = path.parent.name
        mask = None
        if kind != "good":
            drawn = Pillow.open(folder / "ground_truth" / kind / f"{path.stem}_mask.png")
            mask = np.asarray(drawn) > 0
        one = sample(path)
        if kind == "good":
            mask = np.zeros(one.image.shape[:2], bool)
        test.append(Example(one, "normal" if kind == "good" else "anomalous", mask, kind))
    yield Set("tiles", [sample(p) for p in sorted(folder.glob("train/good/*"))], test)


def cells(each: int = 100) -> Iterator[Set]:
    """Functional and defective (probability 1) solar cells; labels only, no masks."""
    with zipfile.ZipFile(weights.wheel("elpv-dataset==1.0.0.post1")) as wheel:
        text = wheel.read("elpv_dataset/data/labels.csv").decode()
        rows = [row.split() for row in text.splitlines() if row.strip()]

        def sample(name: str) -> Sample:
            data = wheel.read(f"elpv_dataset/data/{name}")
            grey = np.asarray(Pillow.open(BytesIO(data)).convert("RGB"))
            return Sample(grey, id=name)

        for kind in ("mono", "poly"):
            random = np.random.default_rng(0)
            good = random.permutation([r[0] for r in rows if r[2] == kind and float(r[1]) == 0])
            bad = random.permutation([r[0] for r in rows if r[2] == kind and float(r[1]) == 1])
            test = [Example(sample(n), "normal") for n in good[64 : 64 + each]]
            test += [Example(sample(n), "anomalous", kind="bad") for n in bad[:each]]
            yield Set(kind, [sample(n) for n in good[:64]], test)


def procedural(size: int = 400) -> Iterator[Set]:
    """Made-up parts: 48 to draw from, 14 good ones and 20 defective ones to judge, of each kind."""
    for kind in KINDS:
        pool = [make_part(kind, s, size=(size, size)).sample for s in range(48)]
        test = [make_part(kind, 100 + s, size=(size, size)) for s in range(14)]
        for s, defect in zip(range(20), itertools.cycle(DEFECTS[kind])):
            test.append(make_part(kind, 300 + s, defect=defect, size=(size, size)))
        yield Set(kind, pool, test)


def au_pro(
    maps: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.bool_]], limit: float = 0.3
) -> float:
    """Area under the per-region overlap up to a false positive rate, divided by it."""
    normal = np.sort(np.concatenate([m[~k] for m, k in zip(maps, masks, strict=True)]))
    scores, shares, regions = [], [], 0
    for anomaly_map, mask in zip(maps, masks, strict=True):
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        for number in range(1, count):
            inside = anomaly_map[labels == number]
            scores.append(inside)
            shares.append(np.full(inside.size, 1 / inside.size))
            regions += 1
    values, weight = np.concatenate(scores), np.concatenate(shares)
    order = np.argsort(-values, kind="stable")
    rate = 1 - np.searchsorted(normal, values[order], "left") / normal.size
    overlap = np.cumsum(weight[order]) / regions
    rate, overlap = np.r_[0, rate, 1], np.r_[0, overlap, 1]
    cut = int(np.searchsorted(rate, limit))
    x = np.r_[rate[:cut], limit]
    y = np.r_[overlap[:cut], np.interp(limit, rate, overlap)]
    return float(np.trapezoid(y, x) / limit)


def pixel_auroc(maps: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.bool_]]) -> float:
    normal = np.sort(np.concatenate([m[~k] for m, k in zip(maps, masks, strict=True)]))
    odd = np.concatenate([m[k] for m, k in zip(maps, masks, strict=True)])
    below = np.searchsorted(normal, odd, "left") + np.searchsorted(normal, odd, "right")
    return float(below.mean() / 2 / normal.size)


def mixed(data: Set, share: float) -> Set:
    """All good pictures, and so many of the defective ones that they make up this share."""
    good = [Example(s, "normal", np.zeros(s.image.shape[:2], bool)) for s in data.pool]
    good += [e for e in data.test if e.label == "normal"]
    bad = [e for e in data.test if e.label == "anomalous"]
    count = min(len(bad), round(len(good) * share / (1 - share)))
    drawn = np.random.default_rng(0).permutation(len(bad))[:count]
    return Set(data.name, [], good + [bad[i] for i in np.sort(drawn)])


def by_kind(found: Sequence[Any], test: Sequence[Example]) -> dict[str, float]:
    """Pixel AUROC of each kind of defect against all normal pixels, and its share of pixels."""
    pairs = [
        (f.anomaly_map[::STEP, ::STEP], e.mask[::STEP, ::STEP], e.kind)
        for f, e in zip(found, test, strict=True)
        if e.mask is not None and (e.mask.any() or e.label == "normal")
    ]
    normal = np.sort(np.concatenate([m[~k] for m, k, _ in pairs]))
    every = sum(int(k.sum()) for _, k, _ in pairs)
    rows = {}
    for kind in sorted({name for _, k, name in pairs if k.any()}):
        odd = np.concatenate([m[k] for m, k, name in pairs if name == kind])
        rows[f"pixel, {kind}"] = float(np.searchsorted(normal, odd).mean() / normal.size)
        rows[f"share, {kind}"] = odd.size / every
    return rows


def figures(data: Set, detector: Any, kinds: bool) -> dict[str, float]:
    found = []
    for start in range(0, len(data.test), 8):
        found += detector.predict([e.sample for e in data.test[start : start + 8]])
    truth = np.array([e.label == "anomalous" for e in data.test])
    said = np.array([f.verdict for f in found])
    result = {
        "image": float(roc_auc_score(truth, [f.raw_score for f in found])),
        "right": float(((said == "anomalous") == truth)[said != "unsure"].sum() / truth.size),
        "false alarms": float((said[~truth] == "anomalous").mean()),
        "missed": float((said[truth] == "normal").mean()),
        "unsure": float((said == "unsure").mean()),
    }
    usable = [
        (f.anomaly_map[::STEP, ::STEP], e.mask[::STEP, ::STEP])
        for f, e in zip(found, data.test, strict=True)
        if e.mask is not None and (e.mask.any() or e.label == "normal")
    ]
    maps, masks = zip(*usable, strict=True) if usable else ((), ())
    if any(m.any() for m in masks):
        result |= {"pixel": pixel_auroc(maps, masks), "AU-PRO": au_pro(maps, masks)}
        result |= by_kind(found, data.test) if kinds else {}
    return result


def run(args: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    source = {
        "tiles": lambda: tiles(Path(args.data)),
        "cells": cells,
        "procedural": procedural,
    }[args.set]()
    variants = [parsed(v.split()) for v in args.try_ or [""]]
    first = blemish.load(
        args.detector, encoder=args.encoder, dtype=args.dtype, **parsed(args.options)
    )
    base: Any = first
    layers = {k for v in variants for k in v.get("layers", ())} | set(base._layers)
    for whole in source:
        data = mixed(whole, args.defective) if args.defective else whole
        memory = Remembering(base.encoder, sorted(layers))
        for variant, shots in itertools.product(variants, map(int, args.shots.split(","))):
            for seed in range(args.seeds):
                options = {**parsed(args.options), **variant}
                entry = registry.detector(args.detector)
                checked = build._checked(entry, options)
                blank = registry.resolve(entry.target)(encoder=memory, options=checked, seed=seed)
                clock = time.perf_counter()
                if args.detector == "musc":
                    ready = blank.fit([e.sample for e in data.test])
                else:
                    drawn = np.random.default_rng(seed).permutation(len(data.pool))[:shots]
                    ready = blank.fit([data.pool[i] for i in drawn])
                row = {"set": data.name, "variant": json.dumps(variant), "shots": shots}
                row |= {"seed": seed, **figures(data, ready, args.by_kind)}
                rows.append(row)
                if args.verbose:
                    print(row, f"{time.perf_counter() - clock:.1f} s", flush=True)


def table(rows: Sequence[dict[str, Any]], pooled: bool) -> None:
    named = ("image", "pixel", "AU-PRO", "right", "false alarms", "missed", "unsure")
    names = [*named, *sorted({n for r in rows for n in r if n[:6] in ("pixel,", "share,")})]
    print("| set | variant | shots | " + " | ".join(names) + " |")
    print("|---|---|---|" + "---|" * len(names))
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        key = ("all kinds" if pooled else row["set"], row["variant"], row["shots"])
        groups.setdefault(key, []).append(row)
    for key, members in groups.items():
        cells = []
        for name in names:
            values = [m[name] for m in members if name in m]
            by_seed: dict[int, list[float]] = {}
            for m in members:
                if name in m:
                    by_seed.setdefault(m["seed"], []).append(m[name])
            spread = np.std([np.mean(v) for v in by_seed.values()]) if by_seed else 0
            cells.append(f"{np.mean(values):.3f} ± {spread:.3f}" if values else "")
        print("| " + " | ".join([*map(str, key), *cells]) + " |")


def main() -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    ask.add_argument("set", choices=("procedural", "tiles", "cells"))
    ask.add_argument("--data", default="tiles")
    ask.add_argument("--detector", default="patch-memory")
    ask.add_argument("--encoder", default="dinov2-small")
    ask.add_argument("--dtype", default="auto")
    ask.add_argument("--shots", default="16")
    ask.add_argument("--seeds", type=int, default=3)
    ask.add_argument("--set", dest="options", nargs="*", default=[], help="options of every run")
    ask.add_argument("--try", dest="try_", action="append", help="one variant: 'key=value ...'")
    ask.add_argument("--by-kind", action="store_true", help="pixel AUROC of each kind of defect")
    ask.add_argument("--defective", type=float, help="share of a mixed folder, such as 0.2")
    ask.add_argument("--verbose", action="store_true")
    ask.add_argument("--csv", help="also write every row here")
    args = ask.parse_args()
    rows: list[dict[str, Any]] = []
    run(args, rows)
    table(rows, pooled=args.set == "procedural")
    if args.csv:
        with open(args.csv, "w", newline="") as file:
            out = csv.DictWriter(file, sorted({k for r in rows for k in r}))
            out.writeheader()
            out.writerows(rows)


if __name__ == "__main__":
    main()
