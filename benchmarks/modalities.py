"""Video, point clouds and time series: how fast they become views, and what comes back.

    python benchmarks/modalities.py rates           reading, views and carrying back, each apart
    python benchmarks/modalities.py round-trip      a perfect detector: do places come back exactly?
    python benchmarks/modalities.py auroc           patch-memory on made recordings with defects
    python benchmarks/modalities.py answer          seconds from file to answer beside the model's

rates, answer: --rounds 5; medians. Times are of the wall clock but where a column says processor;
for one core pin it (`taskset -c 0`) and set OMP_NUM_THREADS=1. In `answer` each file has a process
of its own, and `vqa` asks a scripted model that answers at once; each picture is encoded as PNG for
it, as for an endpoint. No report is written.

auroc: --seeds 3  --dtype int8  --only video,point-cloud,time-series  --window 20000 (rows a plot).

How the other two measure is told in `round_trip.py` and `carried_back.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import made_recordings as made
import numpy as np
from carried_back import auroc, head, opened, row
from round_trip import round_trip

import blemish
from blemish.modalities.recording import Modality
from blemish.types import Detector, Inspection, Message, Sample

SECONDS, RATE = 10, 25
"""Of the 1080p film."""


class Spent(NamedTuple):
    wall: float
    processor: float
    result: Any


def spent(work: Callable[[], Any], rounds: int) -> Spent:
    """Medians of several rounds, after one that pays for imports, and what the last one gave."""
    walls, processors = [], []
    for _ in range(1 + rounds):
        wall, processor = time.perf_counter(), time.process_time()
        result = work()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return Spent(statistics.median(walls[1:]), statistics.median(processors[1:]), result)


def rates(args: argparse.Namespace, folder: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    print(f"Medians of {args.rounds}; the process may use {cores} core{'s' * (cores > 1)}.")
    head(
        *("recording", "units", "open, s", "views, s", "carry back, s", "processor, s"),
        *("units/s viewed", "units/s carried back", "units/s, all", "of processor time"),
    )
    for case in rated(folder):
        rate(case, args.rounds)


class Case(NamedTuple):
    name: str
    path: Path
    modality: Modality
    options: Mapping[str, Any]
    units: int
    """Views, frames of the film or rows."""


def rate(case: Case, rounds: int) -> None:
    """One line of the table."""
    opening = spent(lambda: opened(case.path, case.modality, **case.options), rounds)
    recording = opening.result
    viewing = spent(lambda: sum(1 for _ in recording.samples()), rounds)
    judged = [(thin(sample), said(sample)) for sample in recording.samples()]
    back = spent(lambda: recording.back(judged), rounds)
    parts = (opening, viewing, back)
    walls = [part.wall for part in parts]
    processor = sum(part.processor for part in parts)
    row(
        *(case.name.format(views=viewing.result), f"{case.units:,}", *walls, processor),
        *(f"{case.units / each:,.0f}" for each in (*walls[1:], sum(walls), processor)),
    )


def rated(folder: Path) -> Iterator[Case]:
    from pyarrow import csv, parquet

    made.ball(folder / "ball.ply", 100_000)
    for views, count in (("cpmf", 27), ("around", 10)):
        name = f"cloud of 100,000 points, {views}: views"
        yield Case(name, folder / "ball.ply", "point-cloud", {"views": views}, count)
    for apart, words in ((10 * RATE, "every 10 s"), (RATE, "every 1 s")):
        path = folder / f"film{apart}.mp4"
        film(path, apart)
        for every in (1 / RATE, 1.0):
            name = f"1080p, key frames {words}, {{views}} looked at: frames of the film"
            yield Case(name, path, "video", {"every": every}, SECONDS * RATE)
    made.cycles(folder / "press.csv", 0, 0, rows=1_000_000)
    parquet.write_table(csv.read_csv(folder / "press.csv"), folder / "press.parquet")
    for kind in ("csv", "parquet"):
        name = f"series of 2 channels, {kind}, {{views}} plots: rows"
        yield Case(name, folder / f"press.{kind}", "time-series", {}, 1_000_000)


def film(path: Path, group: int) -> None:
    """10 s of 1080p with a key frame every `group` frames."""
    made.belt(path, 0, 0, seconds=SECONDS, rate=RATE, height=1080, group=group)


def said(sample: Sample) -> Inspection:
    """What some detector might say, made at no cost: a map that rises to the right."""
    maps = tuple(
        np.broadcast_to(np.linspace(0, 1, image.shape[1], dtype=np.float32), image.shape[:2])
        for image in sample.images
    )
    return Inspection(sample.id, "anomalous", "calibration", score=0.9, maps=maps)


def thin(sample: Sample) -> Sample:
    """Without its pixels, of which there may be gigabytes."""
    return Sample(np.zeros((1, 1, 3), np.uint8), id=sample.id)


def answer(args: argparse.Namespace, folder: Path) -> None:
    from PIL import Image

    made.ball(folder / "ball.ply", 100_000)
    film(folder / "film.mp4", RATE)
    made.cycles(folder / "press.csv", 0, 0, rows=100_000)
    frame = next(opened(folder / "film.mp4", "video").samples()).image
    Image.fromarray(frame).save(folder / "frame.png")
    head(
        *("file", "questions", "first answer, s, start and imports included", "further ones, s"),
        *("of it processor", "open", "views", "encode as PNG", "ask and read", "carry back"),
    )
    for name, file, modality, options in (
        ("picture, 1080p", "frame.png", "", {}),
        ("video, 10 s of 1080p, every 1 s", "film.mp4", "video", {}),
        ("cloud, 100,000 points, 27 views", "ball.ply", "point-cloud", {}),
        ("cloud, 100,000 points, front alone", "ball.ply", "point-cloud", {"views": "front"}),
        ("series, 100,000 rows of 2 channels", "press.csv", "time-series", {}),
    ):
        job = json.dumps([str(folder / file), modality, options])
        command = [sys.executable, __file__, "one", "--job", job, "--rounds", str(args.rounds)]
        begun = time.perf_counter()  # the same clock in all processes
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        first, processor, stages, questions = json.loads(told)
        row(name, questions, first - begun, sum(stages), processor, *stages)


def one(args: argparse.Namespace, folder: Path) -> None:
    """In a process of its own: ask about a file again and again, and print what it took."""
    path, modality, options = json.loads(args.job)
    from blemish.llms._pictures import data_url
    from blemish.llms.scripted import Scripted

    encoding = 0.0

    def reply(messages: Sequence[Message]) -> str:
        nonlocal encoding
        begun = time.perf_counter()
        for image in messages[-1].images:
            data_url(image, "png")
        encoding += time.perf_counter() - begun
        return "There are no visible defects. The part is normal."

    first, processors, stages = 0.0, [], []
    for _ in range(1 + args.rounds):
        model = Scripted(reply)
        model.concurrency = 1  # so that times of several threads are not added up
        detector = blemish.load("vqa", language_model=model)
        encoding, processor = 0.0, time.process_time()
        clock, verdict = asked(detector, path, modality, options)
        assert verdict == "normal", verdict
        processors.append(time.process_time() - processor)
        first = first or clock[-1]
        opening, views, asking, back = np.diff(clock)
        stages.append((opening, views, encoding, asking - encoding, back))
    middles = np.median(stages[1:], axis=0).tolist()
    print(json.dumps([first, statistics.median(processors[1:]), middles, len(model.asked)]))


def asked(
    detector: Detector, path: str, modality: Modality | Literal[""], options: Mapping[str, Any]
) -> tuple[list[float], str]:
    """When each of four stages began, when the last one ended, and the verdict."""
    clock = [time.perf_counter()]

    def note() -> None:
        clock.append(time.perf_counter())

    if not modality:
        sample = Sample(blemish.read_image(path), "part")
        note()
        note()  # the picture is the view
        (whole,) = detector.predict([sample])
        note()
        note()
        return clock, whole.verdict
    recording = opened(Path(path), modality, **options)
    note()
    samples = list(recording.samples())
    note()
    judged = list(zip(samples, detector.predict(samples), strict=True))
    note()
    whole = recording.back(judged).inspection
    note()
    return clock, whole.verdict


def main() -> None:
    modes = {"rates": rates, "round-trip": round_trip, "auroc": auroc, "answer": answer, "one": one}
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    ask.add_argument("mode", choices=modes)
    ask.add_argument("--rounds", type=int, default=5)
    ask.add_argument("--seeds", type=int, default=3)
    ask.add_argument("--dtype", default="int8")
    ask.add_argument("--device", default="cpu")
    ask.add_argument("--only", default="video,point-cloud,time-series")
    ask.add_argument("--window", type=int, help="rows of a series in a plot")
    ask.add_argument("--job", help=argparse.SUPPRESS)
    args = ask.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        modes[args.mode](args, Path(folder))


if __name__ == "__main__":
    main()
