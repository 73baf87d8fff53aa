"""More clients than are served, and senders that never come to an end."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from itertools import count
from typing import Any

from station_client import Client, Noted, inspections, make_line, part, together
from station_served import Served, served
from station_soak import Goal, Run

CLIENTS, SLOW = 256, 200
HEAD = b"POST /v1/inspections HTTP/1.1\r\nHost: localhost\r\n"
BODY = b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n"
IN_A_ROW = 20
"""Requests that must be served one after the other for a station to have recovered."""


def overload(run: Run) -> Goal:
    """All at once for two minutes; a process of its own asks for the station's health."""
    seconds, noted = run.seconds(2), Noted()
    with served(run.folder, run.database) as station:
        make_line(station.port)
        over = threading.Event()
        slow = threading.Thread(target=_slow, args=(station.port, over))
        slow.start()
        asked = [sys.executable, __file__, str(station.port), str(seconds)]
        with subprocess.Popen(asked, stdout=subprocess.PIPE) as prober:
            _crowd(station.port, seconds, noted)
            health = json.loads(prober.communicate()[0])
        over.set()
        slow.join()
        recovered = _recovery(station)
        names = sorted(row["name"] for row in inspections(station.port))
        memory = station.peak()
    others = {s: n for s, n in noted.statuses.items() if s not in (200, 202, 429, 503)}
    slowest = max(health["seconds"])
    return Goal(
        "overload",
        f"{CLIENTS} clients and {SLOW} slow sockets: excess answered 429 or 503, health under "
        "0.5 s, recovered within 30 s",
        f"{noted.statuses[200]} served, {noted.statuses[429]} times 429, {noted.statuses[503]} "
        f"times 503, {sum(others.values())} other answers; health at most {slowest:.2f} s, "
        f"{health['bad']} times not 200; recovered in {recovered:.1f} s",
        not others
        and slowest < 0.5
        and not health["bad"]
        and recovered < 30
        and names == sorted(noted.accepted),
        {
            "statuses": dict(noted.statuses),
            "served_p99": noted.percentile(99),
            "health": {**health, "seconds": sorted(health["seconds"])[-20:]},
            "health_asked": len(health["seconds"]),
            "rows": len(names),
            "accepted": len(noted.accepted),
            "peak_mib": memory,
        },
    )


def _crowd(port: int, seconds: float, noted: Noted) -> None:
    numbers, end = count(), time.monotonic() + seconds

    def work() -> None:
        client = Client(port)
        while time.monotonic() < end:
            name, data = part(next(numbers))
            answer = client.inspect([(name, data)], wait=30)
            noted.note(answer, [name])
            if answer.status in (429, 503):
                time.sleep(1)  # as Retry-After asks

    together([work] * CLIENTS)


def _slow(port: int, over: threading.Event) -> None:
    """Half of them send headers byte by byte, the others a body; who is cut off comes again."""
    held: dict[int, socket.socket] = {}
    while not over.wait(1):
        for number in range(SLOW):
            try:
                if number not in held:
                    held[number] = socket.create_connection(("127.0.0.1", port), 2)
                    held[number].sendall(HEAD + (BODY if number % 2 else b"X-Slow: "))
                held[number].sendall(b"x")
            except OSError:
                if number in held:
                    held.pop(number).close()
    for one in held.values():
        one.close()


def _recovery(station: Served) -> float:
    """Seconds until so many requests in a row are served within 2 s each."""
    client, begun, row, number = Client(station.port), time.monotonic(), 0, 0
    while row < IN_A_ROW and time.monotonic() - begun < 120:
        number += 1
        answer = client.send("GET", "/v1/inspections?limit=1")
        good = answer.status == 200 and answer.seconds < 2
        row = row + 1 if good else 0
        if not good:
            time.sleep(0.2)
    return time.monotonic() - begun


def probe(port: int, seconds: float) -> dict[str, Any]:
    """What /healthz takes, on a new connection each time."""
    found: dict[str, Any] = {"seconds": [], "bad": 0}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        client = Client(port, timeout=10)
        answer = client.send("GET", "/healthz")
        client.close()
        found["seconds"].append(answer.seconds)
        found["bad"] += answer.status != 200
        time.sleep(0.2)
    return found


if __name__ == "__main__":
    with contextlib.suppress(PermissionError):
        os.nice(-5)  # it is the station that is measured, not the turn that the prober gets
    print(json.dumps(probe(int(sys.argv[1]), float(sys.argv[2]))))
