"""What the station costs beside `blemish inspect`, and how its pages fare while a job runs.

    python benchmarks/station_load.py [--rounds 4] [--seconds 30] [--clients 16] [--job 300]

With the real detector, `patch-memory` over the embedded encoder. In turns, so that both see the
same machine: clients send made-up pictures, one a request, and wait for each inspection; then the
same pictures go through `blemish inspect`, which is timed from its first row to its last. What a
process does before (imports, fitting) and after (the report) counts on neither side. Processor time
is given beside, since it does not depend on what else the machine does. At last a job of hundreds
of pictures runs, and four addresses of the page are asked for in turn. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from station_client import Client, File, Noted, inspections, make_line, together
from station_served import BLEMISH, Served, processor, served

from blemish.synthesis.procedural import make_part

DETECTOR, REFERENCES = "patch-memory", 4
GOAL_COST, GOAL_PAGE = 0.10, 0.100


def pictures(folder: Path, number: int, side: int) -> list[File]:
    """Made-up parts as files, every third with a stain."""
    folder.mkdir()
    for seed in range(number):
        made = make_part("brushed", seed, defect=None if seed % 3 else "stain", size=(side, side))
        PIL.Image.fromarray(made.sample.image).save(folder / f"{seed:04}.png")
    return [(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]


def through_station(
    station: Served, files: list[File], seconds: float, clients: int, noted: Noted
) -> tuple[float, float]:
    """Inspections a second, and seconds of processor time for each."""
    numbers, end, done = count(), time.monotonic() + seconds, []
    begun, before = time.monotonic(), station.processor()

    def work() -> None:
        client = Client(station.port)
        while time.monotonic() < end:
            name, data = files[next(numbers) % len(files)]
            answer = client.inspect([(name, data)], wait=60)
            noted.note(answer, [name])
            done.append(answer.status == 200)

    together([work] * clients)
    took, used = time.monotonic() - begun, station.processor() - before
    return sum(done) / took, used / sum(done)


def through_command(folder: Path, good: Path, out: Path) -> tuple[float, float]:
    """The same of `blemish inspect`, from its first row to its last."""
    command = [*BLEMISH, "inspect", str(folder), "--normal", str(good), "--out", str(out)]
    command += ["--detector", DETECTOR]
    rows, total = out / "inspections.jsonl", len(list(folder.iterdir()))
    first: tuple[float, float, int] | None = None
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            seen = rows.read_bytes().count(b"\n") if rows.exists() else 0
            if seen and first is None:
                first = time.monotonic(), processor(process.pid), seen
            if seen == total and first:
                took, used = time.monotonic() - first[0], processor(process.pid) - first[1]
                process.wait()
                return (total - first[2]) / took, used / (total - first[2])
            time.sleep(0.02)
    raise SystemExit(f"blemish inspect ended with {process.returncode} before all was inspected.")


def pages(station: Served, files: list[File], number: int) -> dict[str, list[float]]:
    """Seconds that addresses took while a job ran."""
    client = Client(station.port)
    id = inspections(station.port)[0]["id"]
    sent = [(f"{n}-{name}", data) for n in range(number // len(files) + 1) for name, data in files]
    job = client.inspect(sent[:number]).json()["id"]
    paths = ("/", "/history", f"/inspections/{id}", f"/v1/inspections/{id}/map")
    found: dict[str, list[float]] = {path.replace(id, "ID"): [] for path in paths}
    state = "queued"
    while state in ("queued", "running"):
        for path in paths:
            answer = client.send("GET", path)
            if answer.status != 200:
                raise SystemExit(f"{path}: {answer.status}")
            found[path.replace(id, "ID")].append(answer.seconds)
            time.sleep(0.05)
        state = client.get(f"/v1/jobs/{job}")["state"]
    return found


def main() -> int:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ask.add_argument("--rounds", type=int, default=4)
    ask.add_argument("--seconds", type=float, default=30, help="of the clients, in each round")
    ask.add_argument("--clients", type=int, default=16)
    ask.add_argument("--pictures", type=int, default=60)
    ask.add_argument("--side", type=int, default=400, help="of the pictures, in pixels")
    ask.add_argument("--job", type=int, default=300, help="pictures of the job")
    ask.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = ask.parse_args()
    # Told to stop, it takes its station along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ["NO_PROXY"] = "127.0.0.1"
    with tempfile.TemporaryDirectory() as scratch, served(Path(scratch) / "served") as station:
        figures = measured(options, Path(scratch), station)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1))
    show(figures)
    slowest = max(page["p99"] for page in figures["pages"].values())
    return int(figures["cost"] > GOAL_COST or slowest > GOAL_PAGE)


def measured(options: argparse.Namespace, scratch: Path, station: Served) -> dict[str, Any]:
    """Both ways in turns, and the pages."""
    good = pictures(scratch / "good", REFERENCES, options.side)
    files = pictures(scratch / "parts", options.pictures, options.side)
    make_line(station.port, good, detector=DETECTOR)
    through_station(station, files, 3, options.clients, Noted())  # what is done once
    noted, start, rounds = Noted(), station.memory(), []
    for number in range(options.rounds):
        out = scratch / f"out{number}"
        ours = through_station(station, files, options.seconds, options.clients, noted)
        plain = through_command(scratch / "parts", scratch / "good", out)
        rounds.append({"station": ours, "inspect": plain})
        print(
            f"station {ours[0]:.2f}/s, {ours[1]:.3f} s of processor time each; inspect "
            f"{plain[0]:.2f}/s, {plain[1]:.3f} s",
            file=sys.stderr,
        )
    end = station.memory()
    times = pages(station, files, options.job)
    return {
        "rounds": rounds,
        "per_second": {way: float(np.median([r[way][0] for r in rounds])) for way in rounds[0]},
        "processor": {way: float(np.median([r[way][1] for r in rounds])) for way in rounds[0]},
        "cost": 1 - float(np.median([r["station"][0] / r["inspect"][0] for r in rounds])),
        "processor_cost": float(np.median([r["station"][1] / r["inspect"][1] for r in rounds])) - 1,
        "median": noted.percentile(50),
        "p99": noted.percentile(99),
        "statuses": dict(noted.statuses),
        "memory_mib": [start, end],
        "pages": {
            path: {
                "asked": len(seen),
                "median": float(np.median(seen)),
                "p99": float(np.percentile(seen, 99)),
            }
            for path, seen in times.items()
        },
    }


def show(figures: dict[str, Any]) -> None:
    """As Markdown."""
    rate, used = figures["per_second"], figures["processor"]
    print("| | station | `blemish inspect` | cost |\n|---|---|---|---|")
    print(
        f"| inspections a second | {rate['station']:.2f} | {rate['inspect']:.2f} "
        f"| {figures['cost']:+.1%} |"
    )
    print(
        f"| processor time of one, s | {used['station']:.3f} | {used['inspect']:.3f} "
        f"| {figures['processor_cost']:+.1%} |"
    )
    print(
        f"\nrequests: median {figures['median']:.2f} s, 99th percentile {figures['p99']:.2f} s; "
        f"statuses {figures['statuses']}; memory {figures['memory_mib'][0]:.0f} MiB at the "
        f"start, {figures['memory_mib'][1]:.0f} MiB at the end\n"
    )
    print("| asked for while a job runs | times | median, ms | 99th percentile, ms |")
    print("|---|---|---|---|")
    for path, seen in figures["pages"].items():
        print(
            f"| `{path}` | {seen['asked']} | {1000 * seen['median']:.0f} "
            f"| {1000 * seen['p99']:.0f} |"
        )


if __name__ == "__main__":
    sys.exit(main())
