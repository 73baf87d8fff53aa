"""What AnomalyGPT and IAD-GPT say of parts they never saw: verdicts, places, maps, kinds.

    python benchmarks/anomalygpt.py --data DIR [DIR ...]     folders laid out like MVTec AD
    python benchmarks/anomalygpt.py --cells                  solar cells, mono and poly, no masks

--detector anomalygpt --detector iad-gpt (both in one run)  --shots 1,2,4  --draws 3 (of references)
--class "magnetic tile" (what is in --data, for prompts)  --adapter FOLDER (of the detector that it
names; repeatable)  --dtype int8  --limit 20 (pictures of each label)  --csv FILE (every draw)

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
kind             of true finds, where the set's defects are of several kinds: the first of the
                 ranking's keywords that stand for one of these kinds stands for the right one;
                 "chance", naming one of those at random; "cannot" where the detector names none,
                 as without an encoder that reads texts. A keyword stands for a kind whose words
                 begin words of its own: "cracks" for "crack", "frayed edge" for "fray"
"""

from __future__ import annotations

import argparse
import csv
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import few_shot
import numpy as np
from few_shot import STEP, Remembering, Set

import blemish
from blemish.benchmark import adapters, thresholds
from blemish.cli.inspecting import parsed
from blemish.metrics.answers import verdict_figures
from blemish.metrics.ranking import auroc
from blemish.places import POSITIONS, positions
from blemish.types import Detector, Example, Inspection, Verdict

BATCH = 8
TITLES = {
    **{"verdict": "verdict", "coverage": "covered", "best": "best threshold", "map": "map"},
    **{"step1": "step 1", "step1_score": "step 1, score", "overkill": "overkill", "miss": "miss"},
    **{"place": "place", "cells": "cells", "chance": "chance"},
    **{"score": "score", "raw": "raw", "pixel": "pixel"},
    **{"kind": "kind", "kind_chance": "kind, chance"},
}
KEYS = ("set", "shots", "detector", "draw")
CANNOT = "cannot"
Row = dict[str, Any]


def figures(
    test: Sequence[Example], found: Sequence[Inspection], step1: Sequence[Inspection]
) -> Row:
    """The figures of one draw.

    Args:
        test: the truth.
        found: by a detector, in the same order.
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
        "map": verdict_figures(truth, [by_map(f) for f in found]).accuracy,
        "step1": verdict_figures(truth, [f.verdict for f in step1]).accuracy,
        "step1_score": float(np.mean(np.equal(above, truth))),
        "overkill": own.overkill,
        "miss": own.miss,
        "score": auroc(truth, [float(f.score or 0) for f in found]),
        "raw": auroc(truth, raw),
    }
    return row | places(test, found) | pixels(test, found) | kinds(test, found)


def by_map(found: Inspection) -> Verdict:
    """The verdict of the map alone; that of all where no language model spoke."""
    verdict: Verdict = found.evidence.get("map", {}).get("verdict", found.verdict)
    return verdict


def places(test: Sequence[Example], found: Sequence[Inspection]) -> Row:
    """Of anomalous parts that were called so and have a mask: whether the named cells are right."""
    right: list[tuple[bool, float]] = []
    named = touched = 0
    for example, inspection in zip(test, found, strict=True):
        answer = inspection.evidence.get("answer_names")  # none without a language model
        if answer is None or inspection.verdict != "anomalous":
            continue
        if example.mask is None or not example.mask.any():
            continue
        cells, said = set(positions(example.mask)), set(answer)
        named, touched = named + len(said), touched + len(said & cells)
        right.append((bool(said & cells), len(cells) / len(POSITIONS)))
    if not right:
        return {}
    place, chance = np.mean(right, axis=0).tolist()
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


def kinds(test: Sequence[Example], found: Sequence[Inspection]) -> Row:
    """Of anomalous parts that were called so: whether their kind is named right."""
    own = sorted({example.kind for example in test if example.label == "anomalous"})
    finds = [
        (example.kind, inspection.evidence.get("kinds"))
        for example, inspection in zip(test, found, strict=True)
        if example.label == inspection.verdict == "anomalous"
    ]
    if len(own) < 2 or not finds:
        return {}
    right: list[tuple[bool, float]] = []
    for kind, ranking in finds:
        if not isinstance(ranking, list | tuple):
            return {"kind": CANNOT}
        named = [[one for one in own if stands_for(keyword, one)] for keyword, _ in ranking]
        first = next((some for some in named if some), [])
        known = {one for some in named for one in some}
        right.append((kind in first, (kind in known) / max(len(known), 1)))
    share, chance = np.mean(right, axis=0).tolist()
    return {"kind": share, "kind_chance": chance}


def stands_for(keyword: str, kind: str) -> bool:
    """Whether each word of a data set's kind begins one of a keyword's.

    >>> stands_for("Frayed edge", "fray"), stands_for("bent", "bent_wire")
    (True, False)
    """
    words, own = (re.split(r"[\s_-]+", text.lower()) for text in (keyword, kind))
    return all(any(word.startswith(one) for word in words) for one in own)


def sets(args: argparse.Namespace) -> Iterator[Set]:
    for folder in args.data or ():
        (one,) = few_shot.tiles(folder)
        pool = [replace(sample, class_name=args.class_name) for sample in one.pool]
        test = [replace(e, sample=replace(e.sample, class_name=args.class_name)) for e in one.test]
        yield limited(Set(folder.name, pool, test), args.limit)
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
    """A row of figures for each set, number of shots, draw and detector."""
    options = built(args)
    first, *others = options
    shared: Any = blemish.load(first, dtype=args.dtype, **options[first])
    parts: dict[str, Any] = {"encoder": shared.encoder, "language_model": shared.language_model}
    alike: list[Any] = [blemish.load(name, **{**options[name], **parts}) for name in others]
    plain: Any = blemish.load("patch-memory", encoder=shared.encoder)
    layers = {k for one in (shared, *alike) for k in one._read} | {*plain._layers}
    for data in sets(args):
        memory = Remembering(shared.encoder, sorted(layers))
        for shots, draw in itertools.product(args.shots, range(args.draws)):
            drawn = np.random.default_rng(draw).permutation(len(data.pool))[:shots]
            normals = [data.pool[i] for i in drawn]
            bank = blemish.load("patch-memory", seed=draw, encoder=memory)
            alone = inspected(bank.fit(normals), data.test)
            for name in options:
                settings = {**options[name], **parts, "encoder": memory}
                detector = blemish.load(name, seed=draw, **settings)
                found = inspected(detector.fit(normals), data.test)
                row = dict(zip(KEYS, (data.name, shots, name, draw), strict=True))
                yield row | figures(data.test, found, alone)


def built(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The options of each detector, by name: its adapter is the one that says it belongs to it."""
    folders = {adapters.read(folder).kind: str(folder) for folder in args.adapter or ()}
    if strange := folders.keys() - {*args.detectors}:
        raise SystemExit(f"An adapter of {', '.join(strange)} came; add --detector for it.")
    return {
        name: parsed(args.options) | ({"adapter": folders[name]} if name in folders else {})
        for name in args.detectors
    }


def inspected(detector: Detector, test: Sequence[Example]) -> list[Inspection]:
    samples = [e.sample for e in test]
    starts = range(0, len(samples), BATCH)
    return [f for start in starts for f in detector.predict(samples[start : start + BATCH])]


def table(rows: Sequence[Row]) -> str:
    """As Markdown: a line for each set, number of shots and detector, then the mean of sets."""
    titles = [name for name in TITLES if any(name in row for row in rows)]
    lines = [
        "| " + " | ".join([*KEYS[:3], *(TITLES[name] for name in titles)]) + " |",
        "|---|---|---|" + "---|" * len(titles),
    ]
    names, *others = (list(dict.fromkeys(row[key] for row in rows)) for key in KEYS[:3])
    names += ["all"] if len(names) > 1 else []
    for name, *about in itertools.product(names, *others):
        some = [
            row
            for row in rows
            if name in (row["set"], "all") and about == [row["shots"], row["detector"]]
        ]
        shown = [name, *map(str, about), *(spread(some, title) for title in titles)]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def spread(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """Mean ± standard deviation over the draws, each the mean of its sets; or what is said."""
    by_draw: dict[int, list[float]] = {}
    for row in rows:
        if row.get(name) == CANNOT:
            return CANNOT
        if row.get(name) is not None:
            by_draw.setdefault(row["draw"], []).append(row[name])
    if not by_draw:
        return ""
    means = [float(np.mean(values)) for values in by_draw.values()]
    return f"{np.mean(means):.3f} ± {np.std(means):.3f}"


def main(arguments: Sequence[str] | None = None) -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ask.add_argument("--data", type=Path, nargs="+")
    ask.add_argument("--cells", action="store_true")
    ask.add_argument("--detector", dest="detectors", action="append", help="anomalygpt if none")
    ask.add_argument("--class", dest="class_name", default="object")
    ask.add_argument("--shots", type=lambda s: [*map(int, s.split(","))], default="1,2,4")
    ask.add_argument("--draws", type=int, default=3)
    ask.add_argument("--adapter", type=Path, action="append")
    ask.add_argument("--set", dest="options", nargs="*", default=[], help="options of all of them")
    ask.add_argument("--dtype", default="auto")
    ask.add_argument("--limit", type=int)
    ask.add_argument("--csv", type=Path)
    args = ask.parse_args(arguments)
    args.detectors = list(dict.fromkeys(args.detectors or ["anomalygpt"]))
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
            out = csv.DictWriter(file, [*KEYS, *TITLES])
            out.writeheader()
            out.writerows(rows)


if __name__ == "__main__":
    main()
