"""kill -9 at any moment under load: what was acknowledged is there afterwards, whole, and once."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from station_client import Client, inspections, make_line, part, settle
from station_served import Served
from station_soak import Goal, Run

CLIENTS = 8
PER_REQUEST = 3
LONGEST = 1.5
"""Seconds after which a station that is ready is killed at the latest."""


@dataclass
class Sent:
    """What the clients know: requests that were acknowledged, and those nobody answered."""

    acknowledged: dict[int, str] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    next: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, draw: random.Random) -> int:
        """A request: a new one, or one of which nobody knows what became of it."""
        with self.lock:
            if self.unknown and (len(self.unknown) > 50 or draw.random() < 0.3):
                return self.unknown.pop()
            self.next += 1
            return self.next - 1

    def note(self, number: int, status: int, job: str) -> None:
        with self.lock:
            self.statuses[status] += 1
            if job:
                self.acknowledged[number] = job
            elif number not in self.acknowledged:
                self.unknown.add(number)


def names(request: int) -> range:
    """Numbers of the pictures of a request."""
    return range(PER_REQUEST * request, PER_REQUEST * (request + 1))


def kills(run: Run) -> Goal:
    """Clients send; whoever gets no answer sends the same again, sometimes."""
    draw, sent = random.Random(run.seed), Sent()
    wanted = run.count(200)
    station = Served(run.folder, run.database)
    start = station.start()
    make_line(station.port, options='{"pause": 0.002}')
    over = threading.Event()
    threads = [
        threading.Thread(target=_send, args=(station.port, sent, over, run.seed + n))
        for n in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    early = 0
    for _ in range(wanted):
        if draw.random() < 0.2:  # in the middle of a start
            station.kill()
            station.spawn()
            time.sleep(draw.uniform(0, start))
            early += 1
        else:
            _restarted(station)
            time.sleep(draw.uniform(0, LONGEST))
        station.kill()
    over.set()
    for thread in threads:
        thread.join()
    station.start()
    waited = settle(station.port)
    try:
        return _judged(station, sent, wanted, early, waited)
    finally:
        station.stop()


def _restarted(station: Served) -> None:
    station.kill()
    station.start()


def _send(port: int, sent: Sent, over: threading.Event, seed: int) -> None:
    draw, client = random.Random(seed), Client(port, 20)
    while not over.is_set():
        if client.send("GET", "/healthz").status != 200:  # killed, or starting
            time.sleep(0.1)
            continue
        number = sent.take(draw)
        answer = client.inspect([part(n) for n in names(number)], key=f"request-{number}")
        accepted = answer.status in (200, 202)
        sent.note(number, answer.status, answer.json()["id"] if accepted else "")


def _judged(station: Served, sent: Sent, wanted: int, early: int, waited: float) -> Goal:
    rows = inspections(station.port)
    found = Counter(row["name"] for row in rows)
    client = Client(station.port)
    due = {part(n)[0] for number in sent.acknowledged for n in names(number)}
    possible = due | {part(n)[0] for number in sent.unknown for n in names(number)}
    lost = due - set(found)
    doubled = {name for name, times in found.items() if times > 1}
    invented = set(found) - possible
    torn = sum(
        len({part(n)[0] for n in names(number)} & set(found)) not in (0, PER_REQUEST)
        for number in sent.unknown
    )
    wrong_jobs = sum(not _whole(client, number, job) for number, job in sent.acknowledged.items())
    damaged = _damaged(station.folder)
    other = sum(not _as_sent(client, row) for row in rows)
    faults = (lost, doubled, invented, torn, wrong_jobs, damaged, other)
    return Goal(
        "nothing lost",
        f"{wanted} kills under load: no acknowledged inspection lost or doubled",
        f"{len(due):,} acknowledged, {len(lost)} lost, {len(doubled)} doubled, {len(invented)} "
        f"that nobody sent; {torn + wrong_jobs} requests in part; {damaged} of the stored files "
        f"damaged, {other} originals unlike what was sent",
        not any(faults) and not station.tracebacks(),
        {
            "kills": wanted,
            "kills_during_a_start": early,
            "inspections": len(rows),
            "acknowledged_requests": len(sent.acknowledged),
            "unanswered_requests": len(sent.unknown),
            "statuses": dict(sent.statuses),
            "seconds_to_finish_the_rest": waited,
            "tracebacks": station.tracebacks(),
        },
    )


def _whole(client: Client, number: int, job: str) -> bool:
    """Whether a job holds what its request sent, inspected."""
    found = client.get(f"/v1/jobs/{job}")
    items = [(item["name"], item["state"]) for item in found["items"]]
    return items == [(part(n)[0], "done") for n in names(number)]


def _as_sent(client: Client, row: dict[str, str]) -> bool:
    number = int(row["name"].removeprefix("part-").removesuffix(".png"))
    return client.send("GET", f"/v1/inspections/{row['id']}/original").body == part(number)[1]


def _damaged(folder: Path) -> int:
    """How many files are not called by their content."""
    kept = [path for path in (folder / "files").rglob("*") if len(path.name) == 64]
    return sum(hashlib.sha256(path.read_bytes()).hexdigest() != path.name for path in kept)
