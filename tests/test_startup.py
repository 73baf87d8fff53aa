"""`blemish --help` is there at once, because nothing heavy is imported for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[1] / "scripts" / "bench_startup.py"
HEAVY = {"torch", "cv2", "scipy", "transformers", "onnx", "onnxruntime", "matplotlib", "skimage"}
HELP = "import sys; from blemish.cli import main; sys.argv = ['blemish', '--help']; main()"


def test_help_names_the_commands_and_imports_nothing_heavy() -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", HELP],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "120", "NO_COLOR": "1"},
    )
    for command in ("inspect", "detectors", "weights", "calibrate"):
        assert re.search(rf"\b{command}\b", run.stdout), f"{command} is not in the help"
    imported = {line.split("|")[-1].strip().split(".")[0] for line in run.stderr.splitlines()}
    assert "blemish" in imported
    assert imported & HEAVY == set()


def test_the_benchmark_of_the_start_prints_one_figure() -> None:
    run = subprocess.run(
        [sys.executable, str(BENCH), "--runs", "3"], capture_output=True, text=True, check=True
    )
    match = re.fullmatch(r"blemish --help: median (\d+\.\d+) s of 3 runs.*\n", run.stdout)
    assert match, run.stdout
    # The goal is 0.3 s; this only catches a heavy import on a slow and busy machine.
    assert 0.02 < float(match[1]) < 2.0
