"""Ten thousand pictures through twenty kills: as a folder, and as jobs of the station."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from station_client import Client, inspections, make_line, part
from station_served import BLEMISH, Served, environment
from station_soak import Goal, Run

OF_A_JOB = 1000


def batch(run: Run) -> Goal:
    """Both ways; each must have as many rows as pictures, all different."""
    items, kills = run.count(10_000), max(2, run.count(20))
    folder = _folder(run, items, kills)
    station = _station(run, items, kills)
    whole = all(way["rows"] == way["different"] == items for way in (folder, station))
    return Goal(
        "batch",
        f"{items:,} items, {kills} kills: exactly {items:,} rows",
        f"folder: {folder['rows']:,} rows, {folder['different']:,} different, after "
        f"{folder['kills']} kills; station: {station['rows']:,} rows, {station['different']:,} "
        f"different, after {station['kills']} kills",
        whole and folder["kills"] == station["kills"] == kills,
        {"folder": folder, "station": station},
    )


def _folder(run: Run, items: int, kills: int) -> dict[str, Any]:
    """`blemish inspect FOLDER`, killed once for each equal part of the work, and begun again."""
    pictures, out = run.folder / "pictures", run.folder / "out"
    pictures.mkdir()
    for number in range(items):
        name, data = part(number)
        (pictures / name).write_bytes(data)
    good = run.folder / "good.png"
    good.write_bytes(part(1)[1])
    command = [*BLEMISH, "inspect", str(pictures), "--normal", str(good), "--detector", "shade"]
    command += ["--out", str(out)]
    draw, done, rows = random.Random(run.seed), 0, out / "inspections.jsonl"
    with (run.folder / "inspect.txt").open("ab") as log:
        while True:
            process = subprocess.Popen(
                command, env=environment(run.folder), stdout=log, stderr=log, start_new_session=True
            )
            at = items * (done + draw.uniform(0.2, 0.9)) / kills if done < kills else items + 1
            while process.poll() is None and _lines(rows) < at:
                time.sleep(0.02)
            if process.poll() is not None:
                break
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            done += 1
    lines = rows.read_text("utf-8").splitlines()
    found = Counter(Path(json.loads(line)["path"]).name for line in lines)
    return {"rows": len(lines), "different": len(found), "kills": done, "exit": process.returncode}


def _lines(rows: Path) -> int:
    return rows.read_bytes().count(b"\n") if rows.exists() else 0


def _station(run: Run, items: int, kills: int) -> dict[str, Any]:
    """Archives of a thousand pictures, each sent until it is accepted; the kills come meanwhile."""
    draw, station = random.Random(run.seed), Served(run.folder / "jobs", run.database)
    station.start()
    make_line(station.port)
    jobs: dict[int, str] = {}
    for kill in range(kills + 1):
        client = Client(station.port)
        # Spread over the first half of the kills, so that the others fall into work alone.
        wanted = min(items, round(items * (kill + 1) / max(1, kills / 2)))
        for start in range(0, wanted, OF_A_JOB):
            if start not in jobs:
                files = [("all.zip", _archive(start, min(start + OF_A_JOB, items)))]
                answer = client.inspect(files, key=f"batch-{start}")
                if answer.status in (200, 202):
                    jobs[start] = answer.json()["id"]
        if kill < kills:
            _until(client, items * (kill + draw.uniform(0.2, 0.9)) / kills, jobs)
            station.kill()
            station.start()
    client = Client(station.port)
    states = [client.ended(job)["state"] for job in jobs.values()]
    found = Counter(row["name"] for row in inspections(station.port))
    station.stop()
    return {
        "rows": found.total(),
        "different": len(found),
        "kills": kills,
        "jobs": dict(Counter(states)),
    }


def _until(client: Client, rows: float, jobs: dict[int, str]) -> None:
    """Wait until there are so many rows, or nothing is left to do."""
    while True:
        found = [client.get(f"/v1/jobs/{job}") for job in jobs.values()]
        over = all(job["state"] not in ("queued", "running") for job in found)
        if over or sum(job["done"] for job in found) >= rows:
            return
        time.sleep(0.1)


def _archive(start: int, end: int) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as made:
        for number in range(start, end):
            # A date of its own would make other bytes of the same archive.
            made.writestr(zipfile.ZipInfo(part(number)[0]), part(number)[1])
    return held.getvalue()
