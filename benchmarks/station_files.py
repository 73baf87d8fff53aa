"""Hostile files and mutated requests over HTTP: refused or inspected, never an error of ours."""

from __future__ import annotations

import random
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from station_client import LINE, Answer, Client, form, make_line, part, settle, together
from station_hostile import LARGE, hostile, mutated, mutation
from station_served import Served, served
from station_soak import Goal, Run

CLIENTS = 4
MEMORY, SECONDS = 1024.0, 10.0
OWN = re.compile(
    r"[0-9a-f]{64}(\.jpg)?|station\.sqlite3(-\w+)?|detector\.json|state\.safetensors|\.lock"
)
"""Names that the station gives to files."""
One = tuple[str, str, bytes]


class Tally:
    """What became of them, by kind."""

    def __init__(self) -> None:
        self.statuses: dict[str, Counter[str]] = defaultdict(Counter)
        self.slowest, self.slowest_kind = 0.0, ""
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def note(self, kind: str, name: str, answer: Answer) -> None:
        with self._lock:
            said = str(answer.status)
            if answer.status in (200, 202):
                items = answer.json()["items"]
                said += " " + "/".join(sorted({_outcome(item) for item in items}))
            self.statuses[kind][said] += 1
            if answer.seconds > self.slowest:
                self.slowest, self.slowest_kind = answer.seconds, f"{kind} {name[:40]}"
            if answer.status >= 500 or answer.status in (0, 202):
                self.wrong.append(f"{kind} {name[:40]!r}: {answer.status} {answer.body[:200]!r}")


def _outcome(item: dict[str, Any]) -> str:
    return item["fault"]["error"] if item["fault"] else str(item["verdict"])


def files(run: Run) -> Goal:
    """Each file is a request of its own, and its answer waits for the inspection."""
    counts = run.count(12_000), run.count(10_000)
    tally = Tally()
    with served(run.folder, run.database) as station:
        make_line(station.port)
        files = [*hostile(run.seed, counts[0]), *mutated(run.seed, counts[1] * 3 // 4)]
        small = [one for one in files if one[0] not in LARGE]
        base = station.memory()
        station.forget_peak()
        _send(station, iter(small), tally)
        peaks = {"all but bombs": station.peak() - base}
        rest = counts[1] - counts[1] * 3 // 4
        _send_requests(station, run.seed, rest, tally)
        peaks["bombs"] = max(
            (_large(station, one, tally) for one in files if one[0] in LARGE), default=0.0
        )
        settle(station.port)
        tracebacks, alive = station.tracebacks(), station.status("/readyz") == 200
        outside = _outside(station.folder)
    peak = max(peaks.values())
    good = not tally.wrong and not tracebacks and alive and not outside
    return Goal(
        "bad files",
        f"{counts[0]:,} hostile files and {counts[1]:,} seeded mutations: no 5xx, no traceback, "
        "10 s and 1 GB at most each",
        f"{len(tally.wrong)} answers of 5xx or none, {tracebacks} tracebacks, slowest "
        f"{tally.slowest:.1f} s, at most {peak:.0f} MiB more; {outside} files outside their folder",
        good and tally.slowest <= SECONDS and peak <= MEMORY,
        {
            "peaks_mib": peaks,
            "slowest": tally.slowest_kind,
            "outcomes": {kind: dict(counted) for kind, counted in tally.statuses.items()},
            "wrong": tally.wrong[:50],
        },
    )


def _send(station: Served, files: Iterator[One], tally: Tally) -> None:
    lock = threading.Lock()

    def work() -> None:
        client = Client(station.port)
        while True:
            with lock:
                one = next(files, None)
            if one is None:
                return
            kind, name, data = one
            tally.note(kind, name, client.inspect([(name, data)], wait=30))

    together([work] * CLIENTS)


def _send_requests(station: Served, seed: int, count: int, tally: Tally) -> None:
    """Whole request bodies that were damaged, the form's own lines among them."""
    draw, client = random.Random(seed), Client(station.port)
    for number in range(count):
        body = form([("line", LINE)], [part(number)])
        head, tail = body[:300], body[300:]
        answer = client.send("POST", "/v1/inspections?wait=30", mutation(draw, head) + tail)
        tally.note("mutated request", str(number), answer)


def _large(station: Served, one: One, tally: Tally) -> float:
    """MiB by which the station grew at most while it had this file alone."""
    kind, name, data = one
    before = station.memory()
    station.forget_peak()
    tally.note(kind, name, Client(station.port).inspect([(name, data)], wait=30))
    return station.peak() - before


def _outside(folder: Path) -> int:
    """Files whose name the station did not choose, and whatever came to lie beside its folder."""
    beside = {path.name for path in folder.parent.iterdir()} - {folder.name, "door", "log.txt"}
    kept = (path for path in folder.rglob("*") if path.is_file())
    return len(beside) + sum(not OWN.fullmatch(path.name) for path in kept)
