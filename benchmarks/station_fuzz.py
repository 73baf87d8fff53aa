"""Requests from the OpenAPI document, and replies of language models that go wrong."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import parser_fuzz
from station_client import Client, drawn, make_line
from station_faults import FAULTS
from station_served import served
from station_soak import Goal, Run

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "tests" / "service" / "api" / "test_schema.py"
SERVER = ROOT / "tests" / "llms" / "server.py"
PART = 20_000


def api(run: Run) -> Goal:
    """The suite's own test, with the goal's number of cases."""
    cases = run.count(500)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(SCHEMA)]
    done = subprocess.run(
        command,
        env={**os.environ, "BLEMISH_TEST_EXAMPLES": str(cases)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    (run.folder / "pytest.txt").write_text(done.stdout + done.stderr)
    found = re.search(r"(\d+) subtests passed", done.stdout)
    broken = re.findall(r"^SUBFAILED\S* (.*)$", done.stdout, re.MULTILINE)
    passed = int(found[1]) if found else 0
    return Goal(
        "API fuzzing",
        f"schemathesis, all operations, {cases} cases each: no 5xx, no schema break",
        f"{passed} operations without a fault, {len(broken)} with one",
        done.returncode == 0 and passed > 0,
        {"broken": broken, "last_lines": done.stdout.splitlines()[-3:]},
    )


def replies(run: Run) -> Goal:
    """Each fault is a line of its own, so that the endpoint knows by the class what to do.

    Of the made-up replies only a crash misses the goal: that an independent judge knows no words
    for a reading as normal is for a person to look at, and listed.
    """
    seeds, fuzzed = run.count(40), run.count(1_000_000)
    outcomes, false = _through_the_station(run, seeds)
    wrong, counted = _fuzzed(fuzzed, run.seed)
    crashes = [text for text in wrong if ": false normal: " not in text]
    return Goal(
        "replies",
        f"{len(FAULTS)} faults x {seeds} seeds: no false `normal`; {fuzzed:,} fuzzed replies "
        "through the parser: no crash",
        f"{false} false normal among {sum(c.total() for c in outcomes.values()):,} inspections; "
        f"{len(crashes)} crashes among {fuzzed:,} fuzzed replies, and {len(wrong) - len(crashes)} "
        "read as normal that the independent judge does not know as such",
        not false and not crashes and len(outcomes) == len(FAULTS),
        {
            "outcomes": {n: dict(c) for n, c in outcomes.items()},
            "read as": counted,
            "wrong": wrong[:50],
        },
    )


def _through_the_station(run: Run, seeds: int) -> tuple[dict[str, Counter[str]], int]:
    server = _module(SERVER)

    def act(body: dict[str, Any]) -> Any:
        """What the fault of the class in the question does with it; the seed is the picture's."""
        text = json.dumps(body["messages"])
        name = next(name for name in FAULTS if f"part {name}." in text)
        return FAULTS[name].act(server, random.Random(text))

    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    with server.Server(act) as endpoint:
        settings = {"SOAK_ENDPOINT": endpoint.url, "BLEMISH_CACHE": str(run.folder / "cache")}
        with served(run.folder, run.database, settings) as station:
            client = Client(station.port)
            for name, fault in FAULTS.items():
                options = json.dumps(fault.options)
                make_line(
                    station.port,
                    line=name,
                    class_name=f"part {name}",
                    detector="gpt4v-ad",
                    options=options,
                    language_model="impatient:x",
                )
                made = client.inspect([drawn(seed) for seed in range(seeds)], line=name)
                for item in client.ended(made.json()["id"])["items"]:
                    said = item["fault"]["error"] if item["fault"] else item["verdict"]
                    outcomes[name][said] += 1
    return outcomes, sum(counted["normal"] for counted in outcomes.values())


def _fuzzed(count: int, seed: int) -> tuple[list[str], dict[str, dict[str, int]]]:
    """Made-up replies in portions, so that a crash of the interpreter would be noticed too."""
    wrong: list[str] = []
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    portions = [min(PART, count - start) for start in range(0, count, PART)]
    with ProcessPoolExecutor(1) as pool:
        seeds = range(seed + 1, seed + 1 + len(portions))
        for tally in pool.map(parser_fuzz.run, portions, seeds):
            wrong += tally.wrong
            for reader, counts in tally.counts.items():
                counted[reader] += counts
    return wrong, {reader: dict(counts) for reader, counts in counted.items()}


def _module(path: Path) -> ModuleType:
    spec = spec_from_file_location("llm_server", path)
    assert spec
    assert spec.loader
    made = module_from_spec(spec)
    sys.modules["llm_server"] = made
    spec.loader.exec_module(made)
    return made
