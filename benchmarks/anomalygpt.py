"""What AnomalyGPT says of parts it never saw: verdicts, places and maps, from few references.

    python benchmarks/anomalygpt.py --data DIR [DIR ...]     folders laid out like MVTec AD
    python benchmarks/anomalygpt.py --cells                  solar cells, mono and poly, no masks

--shots 1,2,4  --draws 3 (of references)  --adapter FOLDER  --dtype int8  --limit 20 (pictures of
each label)  --csv FILE (every draw)

References are drawn by the seed from train/good, or from the functional cells. A picture is encoded
once for all shots, draws and detectors. Rows are printed as Markdown, mean ± standard deviation of
the draws; where several sets came, the last rows are their mean.

verdict          share right; "unsure" counts as wrong
covered          share that is not "unsure"
best threshold   the best share right that any one threshold on the map's raw scores reaches: it
                 looks at the test labels, so no plant has it
map              share right of the map's own verdict, before the language model spoke
step 1           share right of patch-memory on the same references, "unsure" counted as wrong; and,
                 in the next column, where its score from 0.5 is anomalous and any other normal
overkill, miss   normal parts called anomalous, of the normal ones; anomalous ones called normal
place            of true finds with a mask: the answer names a cell of the 3 x 3 grid that the true
                 mask touches; "cells", the share of all the named cells that it touches; "chance",
                 the share of the nine that it touches, which naming one at random would reach
score, raw       image AUROC of the score, by the language model, and of the map's raw score
pixel            pixel AUROC of the map
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import few_shot
import numpy as np
from few_shot import STEP, Remembering, Set

import blemish
from blemish.benchmark import thresholds
from blemish.cli.inspecting import parsed
from blemish.metrics.answers import verdict_figures
from blemish.metrics.ranking import auroc
from blemish.places import POSITIONS, positions
from blemish.types import Detector, Example, Inspection

BATCH = 8
TITLES = {
    **{"verdict": "verdict", "coverage": "covered", "best": "best threshold", "map": "map"},
    **{"step1": "step 1", "step1_score": "step 1, score", "overkill": "overkill", "miss": "miss"},
    **{"place": "place", "cells": "cells", "chance": "chance"},
    **{"score": "score", "raw": "raw", "pixel": "pixel"},
}
Row = dict[str, Any]


def figures(
    test: Sequence[Example], found: Sequence[Inspection], step1: Sequence[Inspection]
) -> Row:
    """The figures of one draw.

    Args:
        test: the truth.
        found: by AnomalyGPT, in the same order.
        step1: by patch-memory.
    """
    truth = [e.label == "anomalous" for e in test]
    raw = [float(f.raw_score or 0) for f in found]
    own = verdict_figures(truth, [f.verdict for f in found])
    above = [float(f.score or 0) >= 0.5 for f in step1]
    row: Row = {
        "verdict": own.accuracy,
        "coverage": own.coverage,
        "best": max(share for _, share in thresholds.curve(truth, raw)),
        "map": verdict_figures(truth, [f.evidence["map"]["verdict"] for f in found]).accuracy,
        "step1": verdict_figures(truth, [f.verdict for f in step1]).accuracy,
        "step1_score": float(np.mean(np.equal(above, truth))),
        "overkill": own.overkill,
        "miss": own.miss,
        "score": auroc(truth, [float(f.score or 0) for f in found]),
        "raw": auroc(truth, raw),
    }
    return row | places(test, found) | pixels(test, found)


def places(test: Sequence[Example], found: Sequence[Inspection]) -> Row:
    """Of anomalous parts that were called so and have a mask: whether the named cells are right."""
    right: list[tuple[bool, float]] = []
    named = touched = 0
    for example, inspection in zip(test, found, strict=True):
        if inspection.verdict != "anomalous" or example.mask is None or not example.mask.any():
            continue
        cells = set(positions(example.mask))
        said = set(inspection.evidence["answer_names"])
        named, touched = named + len(said), touched + len(said & cells)
        right.append((bool(said & cells), len(cells) / len(POSITIONS)))
    if not right:
        return {}
    place, chance = np.mean(right, axis=0)
    return {"place": place, "chance": chance} | ({"cells": touched / named} if named else {})


def pixels(test: Sequence[Example], found: Sequence[Inspection]) -> Row:
    """Pixel AUROC of every `STEP`-th pixel both ways; none where nothing is marked."""
    pairs = [
        (f.maps[0][::STEP, ::STEP], e.mask[::STEP, ::STEP])
        for f, e in zip(found, test, strict=True)
        if e.mask is not None and (e.mask.any() or e.label == "normal")
    ]
    if not any(mask.any() for _, mask in pairs):
        return {}
    maps, masks = zip(*pairs, strict=True)
    return {"pixel": few_shot.pixel_auroc(maps, masks)}


def sets(args: argparse.Namespace) -> Iterator[Set]:
    for folder in args.data or ():
        (one,) = few_shot.tiles(folder)
        yield limited(Set(folder.name, one.pool, one.test), args.limit)
    for one in few_shot.cells() if args.cells else ():
        yield limited(Set(f"solar cells, {one.name}", one.pool, one.test), args.limit)


def limited(data: Set, most: int | None) -> Set:
    """At most so many test pictures of each label, spread over the kinds."""
    if most is None:
        return data
    test: list[Example] = []
    for label in ("normal", "anomalous"):
        some = [e for e in data.test if e.label == label]
        chosen = np.linspace(0, len(some) - 1, min(most, len(some))).round().astype(int)
        test += [some[i] for i in chosen]
    return Set(data.name, data.pool, test)


def measured(args: argparse.Namespace) -> Iterator[Row]:
    """A row of figures for each set, number of shots and draw."""
    options = parsed(args.options)
    options |= {"adapter": str(args.adapter)} if args.adapter else {}
    whole: Any = blemish.load("anomalygpt", dtype=args.dtype, **options)
    plain: Any = blemish.load("patch-memory", encoder=whole.encoder)
    for data in sets(args):
        memory = Remembering(whole.encoder, sorted({*whole._read, *plain._layers}))
        speaking: dict[str, Any] = {"encoder": memory, "language_model": whole.language_model}
        for shots, draw in itertools.product(args.shots, range(args.draws)):
            drawn = np.random.default_rng(draw).permutation(len(data.pool))[:shots]
            found, alone = (
                inspected(detector.fit([data.pool[i] for i in drawn]), data.test)
                for detector in (
                    blemish.load("anomalygpt", seed=draw, **speaking, **options),
                    blemish.load("patch-memory", seed=draw, encoder=memory),
                )
            )
            row = {"set": data.name, "shots": shots, "draw": draw}
            yield row | figures(data.test, found, alone)


def inspected(detector: Detector, test: Sequence[Example]) -> list[Inspection]:
    samples = [e.sample for e in test]
    starts = range(0, len(samples), BATCH)
    return [f for start in starts for f in detector.predict(samples[start : start + BATCH])]


def table(rows: Sequence[Row]) -> str:
    """As Markdown: a line for each set and number of shots, and their mean over the sets."""
    titles = [name for name in TITLES if any(name in row for row in rows)]
    lines = [
        "| " + " | ".join(["set", "shots", *(TITLES[name] for name in titles)]) + " |",
        "|---|---|" + "---|" * len(titles),
    ]
    names = list(dict.fromkeys(row["set"] for row in rows))
    shots = list(dict.fromkeys(row["shots"] for row in rows))
    for name in [*names, *(["all"] if len(names) > 1 else [])]:
        for number in shots:
            some = [r for r in rows if r["shots"] == number and name in (r["set"], "all")]
            cells = [spread(some, title) for title in titles]
            lines.append("| " + " | ".join([name, str(number), *cells]) + " |")
    return "\n".join(lines)


def spread(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """Mean ± standard deviation over the draws, each the mean of its sets."""
    by_draw: dict[int, list[float]] = {}
    for row in rows:
        if row.get(name) is not None:
            by_draw.setdefault(row["draw"], []).append(row[name])
    if not by_draw:
        return ""
    means = [float(np.mean(values)) for values in by_draw.values()]
    return f"{np.mean(means):.3f} ± {np.std(means):.3f}"


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main(arguments: Sequence[str] | None = None) -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ask.add_argument("--data", type=Path, nargs="+")
    ask.add_argument("--cells", action="store_true")
    ask.add_argument(
        "--shots", type=lambda text: [int(n) for n in text.split(",")], default="1,2,4"
    )
    ask.add_argument("--draws", type=int, default=3)
    ask.add_argument("--adapter", type=Path)
    ask.add_argument("--set", dest="options", nargs="*", default=[], help="options of anomalygpt")
    ask.add_argument("--dtype", default="auto")
    ask.add_argument("--limit", type=int)
    ask.add_argument("--csv", type=Path)
    args = ask.parse_args(arguments)
    if not (args.data or args.cells):
        ask.error("name folders with --data, or give --cells")
    rows = []
    for row in measured(args):
        rows.append(row)
        shown = {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}
        print(shown, flush=True)
    print(f"\n{table(rows)}")
    if args.csv:
        with args.csv.open("w", newline="") as file:
            out = csv.DictWriter(file, ["set", "shots", "draw", *TITLES])
            out.writeheader()
            out.writerows(rows)


if __name__ == "__main__":
    main()
