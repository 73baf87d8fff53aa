"""What `patch-memory` finds in made recordings: AUROC of frames, points and seconds.

The recordings are those of `made_recordings.py`; each seed is another product. References are
normal recordings of the product: one film (15 frames), two clouds (54 views), one series (8 plots);
series are drawn bare and in the limits of the reference. Judged are two normal recordings and one
of each kind of defect. All else is at its default. Pooled over a seed's recordings: every point of
the part (the table under it is left out), every frame of a film whether it was looked at or not,
every second of a series.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import made_recordings as made
import numpy as np

from blemish.metrics import ranking
from blemish.modalities.find import open_recording
from blemish.modalities.recording import Modality, Recording
from blemish.types import Detector, Inspection

NORMALS, FIRST = 2, 100
"""Normal recordings that are judged, and the seed of the first one that is."""
LONG = {"rows": 160_000}
FRAMES = {"frames": 1, "frames that were looked at": 10}


def opened(path: Path, modality: Modality, **options: Any) -> Recording:
    return open_recording(path, modality, options, id=path.name, class_name="part")


def head(*titles: str) -> None:
    print(f"\n| {' | '.join(titles)} |\n|" + "---|" * len(titles))


def row(*cells: object) -> None:
    shown = (f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells)
    print(f"| {' | '.join(shown)} |", flush=True)


class Kind(NamedTuple):
    """How recordings of a modality are made and measured."""

    file: str
    defects: Sequence[str]
    make: Callable[..., Any]
    reference: Mapping[str, Any]
    """Further arguments of `make`, for a reference."""
    references: int
    places: Mapping[str, int]
    """What is compared, to every how many of them."""
    compared: Callable[[Any, Inspection], tuple[made.Flags, made.Array]]
    """Truth and score of each place, of what `make` and the detector gave."""


def by_frame(truth: made.Flags, found: Inspection) -> tuple[made.Flags, made.Array]:
    return truth, span_scores(found, np.arange(len(truth)) / 10)


def by_second(truth: made.Flags, found: Inspection) -> tuple[made.Flags, made.Array]:
    seconds: made.Flags = np.asarray(truth.reshape(-1, round(1 / made.STEP)).any(axis=1))
    return seconds, span_scores(found, np.arange(0.5, len(seconds)))


def by_point(
    truth: tuple[made.Flags, made.Flags], found: Inspection
) -> tuple[made.Flags, made.Array]:
    defect, part = truth
    return defect[part], point_scores(found)[part]


def point_scores(found: Inspection) -> made.Array:
    """(P,) of a cloud's points."""
    assert found.points is not None
    return found.points.astype(np.float64)


def span_scores(found: Inspection, times: made.Array) -> made.Array:
    starts, _, scores = np.array(found.spans).T
    # A frame's time may fall short of its span by rounding.
    return np.asarray(scores[np.searchsorted(starts, times + 1e-6, side="right") - 1])


MEASURED: Mapping[Modality, Kind] = {
    "video": Kind("a.mp4", made.BELT, made.belt, {}, 1, FRAMES, by_frame),
    "point-cloud": Kind("a.tiff", made.RING, made.ring, {}, 2, {"points": 1}, by_point),
    "time-series": Kind("a.csv", made.CYCLES, made.cycles, LONG, 1, {"seconds": 1}, by_second),
}


class Result(NamedTuple):
    """One recording: its defect, truth and score of each place, and what was said of the whole."""

    seed: int
    defect: str | None
    truth: made.Flags
    scores: made.Array
    found: Inspection


def auroc(args: argparse.Namespace, folder: Path) -> None:
    import blemish

    blank = blemish.load("patch-memory", device=args.device, dtype=args.dtype)
    results: dict[Modality, list[Result]] = {}
    begun = time.process_time()
    for modality, kind in MEASURED.items():
        if modality not in args.only.split(","):
            continue
        results[modality] = []
        for seed in range(args.seeds):
            detector, options = fitted(blank, modality, folder, seed, args.window)
            for number, defect in enumerate((*[None] * NORMALS, *kind.defects), FIRST):
                truth = kind.make(folder / kind.file, seed, number, defect)
                found = inspected(detector, opened(folder / kind.file, modality, **options))
                places, scores = kind.compared(truth, found)
                results[modality].append(Result(seed, defect, places, scores, found))
    spent = time.process_time() - begun
    print(f"{args.seeds} seeds, {args.dtype}, {spent:.0f} s of processor time.")
    report(results)


def report(results: Mapping[Modality, Sequence[Result]]) -> None:
    head("modality", "of", "AUROC, mean of the seeds (lowest to highest)")
    for modality, every in results.items():
        by_seed = [[r for r in every if r.seed == seed] for seed in {r.seed for r in every}]
        pooled = {
            places: [
                ranking.auroc(
                    np.concatenate([r.truth[::step] for r in some]),
                    np.concatenate([r.scores[::step] for r in some]),
                )
                for some in by_seed
            ]
            for places, step in MEASURED[modality].places.items()
        }
        pooled["recordings"] = [
            ranking.auroc([bool(r.defect) for r in some], [r.found.score or 0.0 for r in some])
            for some in by_seed
        ]
        for places, figures in pooled.items():
            row(modality, places, middle(figures))
    head("modality", "recordings", "said to be normal, unsure, anomalous")
    for modality, every in results.items():
        for bad, words in ((False, "normal"), (True, "with a defect")):
            row(modality, words, verdicts(r for r in every if bool(r.defect) == bad))
    head("modality", "defect", "AUROC within the recording that has it, all places")
    for modality, every in results.items():
        for defect in MEASURED[modality].defects:
            figures = [ranking.auroc(r.truth, r.scores) for r in every if r.defect == defect]
            row(modality, defect, middle(figures))


def verdicts(results: Iterable[Result]) -> str:
    """How many are said to be normal, unsure and anomalous."""
    count = Counter(result.found.verdict for result in results)
    return ", ".join(str(count[verdict]) for verdict in ("normal", "unsure", "anomalous"))


def middle(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def fitted(
    blank: Detector, modality: Modality, folder: Path, seed: int, window: int | None
) -> tuple[Detector, dict[str, Any]]:
    """A detector that knows normal recordings, and with which options to open further ones."""
    kind = MEASURED[modality]
    series = modality == "time-series"
    options: dict[str, Any] = {"bare": True, "window": window} if series else {}
    normals = []
    for number in range(kind.references):
        kind.make(folder / kind.file, seed, number, **kind.reference)
        recording = opened(folder / kind.file, modality, **options)
        normals += list(recording.samples())
        if series:
            options["limits"] = recording.about["limits"]
    return blank.fit(normals), options


def inspected(detector: Detector, recording: Recording) -> Inspection:
    judged = ((sample, detector.predict([sample])[0]) for sample in recording.samples())
    return recording.back(judged).inspection
