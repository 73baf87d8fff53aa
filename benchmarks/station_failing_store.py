"""A store that fails at random under people at work: the suite's own test, many times."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from station_soak import Goal, Run

ROOT = Path(__file__).parents[1]
WALKS = ROOT / "tests" / "service" / "test_station_failing_store.py"


def store(run: Run) -> Goal:
    """Walks on SQLite, or on PostgreSQL where such is named."""
    walks, kind = run.count(50), "postgresql" if run.database else "sqlite"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rP", str(WALKS)]
    done = subprocess.run(
        [*command, "-k", kind],
        env={
            **os.environ,
            "BLEMISH_TEST_WALKS": str(walks),
            "BLEMISH_TEST_POSTGRES": run.database,
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    (run.folder / "pytest.txt").write_text(done.stdout + done.stderr)
    # Output of the walks without a fault only (-rP).
    good = re.findall(r"^walk: (\d+) jobs, (\d+) pictures, (\d+) failed$", done.stdout, re.M)
    jobs, pictures, failed = (sum(int(one[n]) for one in good) for n in range(3))
    return Goal(
        "failing store",
        f"{walks} walks, 15 % of all transactions and written files fail: nothing lost, doubled or "
        "left behind",
        f"{len(good)} walks without a fault: {jobs:,} jobs with {pictures:,} pictures, "
        f"{failed:,} failures",
        done.returncode == 0 and len(good) == walks,
        {"broken": re.findall(r"^FAILED (.*)$", done.stdout, re.M)},
    )
