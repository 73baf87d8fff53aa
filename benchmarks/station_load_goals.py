"""Many clients for some minutes, and a few for an hour."""

from __future__ import annotations

import threading
import time
from collections import Counter
from itertools import count

import numpy as np
from station_client import Client, Noted, inspections, make_line, part, settle, together
from station_served import Served, served
from station_soak import Goal, Run

CLIENTS = 32
WAIT = 30
SLOW_CLIENTS = 4
SLOW_PAUSE = 1.0
READS = 4
"""After so many pictures a client also looks at one, as a page does."""


def load(run: Run) -> Goal:
    """Each client sends one picture after the other and waits for its inspection."""
    sent, seen = Noted(), Noted()
    with served(run.folder, run.database) as station:
        make_line(station.port)
        seconds, before = run.seconds(10), station.processor()
        _clients(station.port, CLIENTS, seconds, sent, seen)
        settle(station.port)
        found = Counter(row["name"] for row in inspections(station.port))
        memory, files = station.peak(), station.open_files()
        processor = station.processor() - before
    accepted, broken = Counter(sent.accepted), sent.broken + seen.broken
    p50, p99 = sent.percentile(50), sent.percentile(99)
    return Goal(
        "load",
        f"{CLIENTS} clients for {seconds / 60:g} minutes with a stub detector: 99th percentile at "
        "most 2 s, no 5xx, rows equal accepted requests",
        f"99th percentile {p99:.2f} s (median {p50:.2f}), {broken} broken answers, "
        f"{found.total():,} rows for {accepted.total():,} accepted",
        p99 <= 2 and not broken and found == accepted,
        {
            "inspections_per_second": accepted.total() / seconds,
            "slowest": max(sent.seconds),
            "statuses": dict(sent.statuses + seen.statuses),
            "looking": {"median": seen.percentile(50), "p99": seen.percentile(99)},
            "peak_mib": memory,
            "processor_seconds": processor,
            "open_files": files,
        },
    )


def soak(run: Run) -> Goal:
    """A few clients that pause, for an hour; the first sixth is warm-up."""
    sent, looked, seconds = Noted(), Noted(), run.seconds(60)
    with served(run.folder, run.database) as station:
        make_line(station.port)
        seen: list[tuple[float, float, int]] = []
        over = threading.Event()
        watcher = threading.Thread(target=_watch, args=(station, seen, over, seconds / 360))
        watcher.start()
        _clients(station.port, SLOW_CLIENTS, seconds, sent, looked, SLOW_PAUSE)
        over.set()
        watcher.join()
    end = seen[-1][0]
    first = [s for s in seen if end / 6 <= s[0] < end / 3]
    last = [s for s in seen if s[0] >= 5 * end / 6]
    memory = [float(np.median([s[1] for s in part])) for part in (first, last)]
    files = [max(s[2] for s in part) for part in (first, last)]
    growth, broken = memory[1] / memory[0] - 1, sent.broken + looked.broken
    return Goal(
        "soak",
        f"{seconds / 60:g} minutes: memory grows under 5 % after warm-up, open files flat",
        f"memory {memory[0]:.0f} to {memory[1]:.0f} MiB ({growth:+.1%}), at most {files[0]} open "
        f"files in the second sixth, {files[1]} in the last; {len(sent.accepted):,} inspections, "
        f"{broken} broken answers",
        growth < 0.05 and files[1] <= files[0] + 2 and not broken,
        {"statuses": dict(sent.statuses + looked.statuses), "seconds, MiB, files": seen},
    )


def _clients(
    port: int, clients: int, seconds: float, sent: Noted, seen: Noted, pause: float = 0.0
) -> None:
    """Let so many clients work, each in a thread; what they send and what they look at apart."""
    numbers, end = count(), time.monotonic() + seconds

    def work() -> None:
        client, done = Client(port), 0
        while time.monotonic() < end:
            name, data = part(next(numbers))
            answer = client.inspect([(name, data)], WAIT)
            sent.note(answer, [name])
            done += 1
            if done % READS == 0 and answer.status == 200:
                _look(client, answer.json()["items"][0]["inspection"], seen)
            time.sleep(pause)

    together([work] * clients)


def _look(client: Client, id: str, noted: Noted) -> None:
    paths = (f"/v1/inspections/{id}/map", f"/v1/inspections/{id}/picture?side=256")
    for path in (*paths, "/v1/inspections?line=caps&limit=20", f"/inspections/{id}", "/history"):
        noted.note(client.send("GET", path))


def _watch(
    station: Served, seen: list[tuple[float, float, int]], over: threading.Event, every: float
) -> None:
    begun = time.monotonic()
    while not over.wait(every):
        seen.append((time.monotonic() - begun, station.memory(), station.open_files()))
