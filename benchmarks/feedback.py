"""What a line learns from people: verdicts on parts it never saw, before and after their feedback.

    python benchmarks/feedback.py tiles --data DIR [DIR ...]   folders laid out like MVTec AD
    python benchmarks/feedback.py cells                        solar cells, mono and poly
    python benchmarks/feedback.py procedural                   made-up parts

--detector patch-memory  --shots 4  --draws 3  --dtype int8  --each 10 (pictures between versions)
--only good (only finds that were none are told) or defective (only missed defects)

The test pictures are shuffled by the draw and cut in two. The first half passes by as it would on a
line: the detector judges `--each` of them, a person says which verdicts were wrong, and a further
version is fitted as the station does (a rejected find joins the references, a missed defect is a
case by which the operating point is moved); then the next. Each version judges the second half, of
which nobody ever says anything; its figures are printed after 0, 1, 2, 4, 8 ... rounds.

accuracy    share right; "unsure" counts as wrong
overkill    good parts called anomalous, of the good ones; miss: defective ones called normal
unsure      of all parts
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import few_shot
import numpy as np
from anomalygpt import inspected
from few_shot import Remembering, Set

import blemish
from blemish import build
from blemish.cli.inspecting import parsed
from blemish.metrics.answers import verdict_figures
from blemish.types import Detector, Example, Sample

Figures = tuple[float, float, float, float]
TITLES = ("accuracy", "overkill", "miss", "unsure")


def shown(rounds: int) -> bool:
    """Whether the version after so many rounds is reported: 0, 1, 2, 4, 8 ..."""
    return rounds & (rounds - 1) == 0


def figures(detector: Detector, test: Sequence[Example]) -> Figures:
    """Of parts that nobody told it of."""
    truth = [e.label == "anomalous" for e in test]
    own = verdict_figures(truth, [f.verdict for f in inspected(detector, test)])
    assert own.overkill is not None, "parts of both kinds are judged"
    assert own.miss is not None, "parts of both kinds are judged"
    return own.accuracy, own.overkill, own.miss, 1 - own.coverage


def versions(
    detector: Detector, normals: Sequence[Sample], line: Sequence[Example], each: int, only: str
) -> Iterator[tuple[int, Detector]]:
    """The first version, and one after each round of feedback."""
    known, cases = list(normals), list[Example]()
    current = detector.fit(known)
    yield 0, current
    for rounds, start in enumerate(range(0, len(line), each), 1):
        passed = line[start : start + each]
        for part, found in zip(passed, inspected(current, passed), strict=True):
            if part.label == "normal" and found.verdict != "normal" and only != "defective":
                known.append(part.sample)
            if part.label == "anomalous" and found.verdict != "anomalous" and only != "good":
                cases.append(part)
        current = detector.fit(known, cases)
        yield rounds, current


def measured(data: Set, args: argparse.Namespace, memory: Remembering) -> dict[int, list[Figures]]:
    """The figures of every draw, by rounds of feedback."""
    found: dict[int, list[Figures]] = {}
    for draw in range(args.draws):
        random = np.random.default_rng(draw)
        normals = [data.pool[i] for i in random.permutation(len(data.pool))[: args.shots]]
        test = [data.test[i] for i in random.permutation(len(data.test))]
        line, unseen = test[: len(test) // 2], test[len(test) // 2 :]
        options = {"encoder": memory, **parsed(args.options)}
        detector = blemish.load(args.detector, seed=draw, **options)
        for rounds, version in versions(detector, normals, line, args.each, args.only):
            if shown(rounds) or rounds * args.each >= len(line):
                found.setdefault(rounds, []).append(figures(version, unseen))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ask.add_argument("what", choices=["tiles", "cells", "procedural"])
    ask.add_argument("--data", type=Path, nargs="+", default=[])
    ask.add_argument("--detector", default="patch-memory")
    ask.add_argument("--set", dest="options", nargs="*", default=[])
    ask.add_argument("--shots", type=int, default=4)
    ask.add_argument("--draws", type=int, default=3)
    ask.add_argument("--each", type=int, default=10)
    ask.add_argument("--only", choices=["", "good", "defective"], default="")
    ask.add_argument("--dtype", default="auto")
    args = ask.parse_args(arguments)
    if args.what == "tiles" and not args.data:
        ask.error("name folders with --data")
    print("| set | pictures told of | " + " | ".join(TITLES) + " |\n|---|---|" + "---|" * 4)
    every: dict[int, list[Figures]] = {}
    for data in sets(args):
        shared = build.encoder("dinov2-small", dtype=args.dtype)
        found = measured(data, args, Remembering(shared, shared.default_layers))
        report(data.name, found, args.each)
        for rounds, rows in found.items():
            every.setdefault(rounds, []).extend(rows)
    report("all", every, args.each)


def sets(args: argparse.Namespace) -> Iterator[Set]:
    """What to measure on."""
    if args.what == "tiles":
        for folder in args.data:
            yield from (replace(found, name=folder.name) for found in few_shot.tiles(folder))
    else:
        yield from few_shot.cells() if args.what == "cells" else few_shot.procedural()


def report(name: str, found: dict[int, list[Figures]], each: int) -> None:
    for rounds, rows in sorted(found.items()):
        mean = " | ".join(f"{value:.3f}" for value in np.mean(rows, axis=0))
        print(f"| {name} | {rounds * each} | {mean} |", flush=True)


if __name__ == "__main__":
    main()
