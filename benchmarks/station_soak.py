"""The goals at the end of step 8: what the station bears, each as a part that runs alone.

    python benchmarks/station_soak.py [--only load,kills] [--quick] [--minutes N] [--out FOLDER]
    make soak SOAK="--only load,kills"

Parts: load, soak, overload, files, api, replies, kills, batch, store. All of them take about three
hours, of which the soak is one; `--quick` runs a hundredth of each, to see that the harness works.
Prints a table, writes `soak.json` into the folder, and exits with 1 where a goal is missed. Linux
only: memory and open files are read from /proc.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PARTS = {
    "load": "station_load_goals:load",
    "soak": "station_load_goals:soak",
    "overload": "station_overload:overload",
    "files": "station_files:files",
    "api": "station_fuzz:api",
    "replies": "station_fuzz:replies",
    "kills": "station_kills:kills",
    "batch": "station_batch:batch",
    "store": "station_failing_store:store",
}


@dataclass(frozen=True)
class Run:
    """How a part is to run.

    Attributes:
        folder: that it may fill; deleted afterwards.
        scale: share of the goal's counts.
        minutes: of load and soak; None for the goal's.
        seed: of everything random.
        database: a URL of PostgreSQL where databases may be made; "" for SQLite.
    """

    folder: Path
    scale: float = 1.0
    minutes: float | None = None
    seed: int = 0
    database: str = ""

    def count(self, goal: int) -> int:
        return max(1, round(goal * self.scale))

    def seconds(self, goal_minutes: float) -> float:
        return 60 * (goal_minutes * self.scale if self.minutes is None else self.minutes)


@dataclass
class Goal:
    """What was to be reached, and what was."""

    area: str
    goal: str
    reached: str
    passed: bool
    figures: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def table(goals: list[Goal]) -> str:
    """As Markdown."""
    rows = [
        f"| {goal.area} | {goal.goal} | {goal.reached} | {'yes' if goal.passed else '**no**'} |"
        for goal in goals
    ]
    return "\n".join(["| area | goal | reached | met |", "|---|---|---|---|", *rows])


def run_part(name: str, options: argparse.Namespace) -> Goal:
    """One part in a folder of its own, which is kept where its goal is missed."""
    module, _, function = PARTS[name].partition(":")
    folder = Path(tempfile.mkdtemp(prefix=f"soak-{name}-", dir=options.scratch))
    scale = 0.01 if options.quick else options.scale
    run = Run(folder, scale, options.minutes, options.seed, options.database)
    begun = time.monotonic()
    goal: Goal = getattr(importlib.import_module(module), function)(run)
    goal.seconds = time.monotonic() - begun
    if goal.passed:
        shutil.rmtree(folder)
    else:
        print(f"{name}: what was missed lies in {folder}", file=sys.stderr)
    return goal


def main() -> int:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ask.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    ask.add_argument("--quick", action="store_true", help="a hundredth of each")
    ask.add_argument("--scale", type=float, default=1.0, help="share of the goals' counts")
    ask.add_argument("--minutes", type=float, help="of load, soak and overload")
    ask.add_argument("--seed", type=int, default=0)
    ask.add_argument("--database", default="", help="PostgreSQL, by a role that may make databases")
    ask.add_argument("--out", type=Path, default=Path("build/soak"), help="folder of the figures")
    ask.add_argument("--scratch", type=Path, help="folder for stations, deleted afterwards")
    options = ask.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - set(PARTS):
        ask.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    # A harness that is told to stop takes its stations along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ["NO_PROXY"] = "127.0.0.1"
    for folder in filter(None, (options.out, options.scratch)):
        folder.mkdir(parents=True, exist_ok=True)
    goals = []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        goals.append(run_part(name, options))
        print(json.dumps(asdict(goals[-1])), file=sys.stderr, flush=True)
        (options.out / "soak.json").write_text(json.dumps([asdict(g) for g in goals], indent=1))
    print(table(goals))
    return 0 if all(goal.passed for goal in goals) else 1


if __name__ == "__main__":
    # The parts import this module by its name, not as "__main__".
    sys.exit(importlib.import_module("station_soak").main())
