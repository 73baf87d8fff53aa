"""`blemish --help` is there at once, because nothing heavy is imported for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[1] / "scripts" / "bench_startup.py"
HEAVY = {
    *("torch", "cv2", "scipy", "transformers", "onnx", "onnxruntime", "matplotlib", "skimage"),
    *("openai", "httpx", "httpx2", "fastapi", "uvicorn", "sqlalchemy", "alembic", "jinja2"),
}
IMPORT = "import blemish; [getattr(blemish, name) for name in blemish.__all__]"
HELP = "import sys; from blemish.cli import main; sys.argv = ['blemish', '--help']; main()"


def start(code: str) -> tuple[str, set[str]]:
    """What a program prints, and the packages that it imports."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "120", "NO_COLOR": "1"},
    )
    lines = run.stderr.splitlines()
    return run.stdout, {line.split("|")[-1].strip().split(".")[0] for line in lines}


def test_help_names_the_commands_and_imports_nothing_heavy() -> None:
    said, imported = start(HELP)
    for command in ("inspect", "detectors", "weights", "calibrate"):
        assert re.search(rf"\b{command}\b", said), f"{command} is not in the help"
    assert "blemish" in imported
    assert imported & HEAVY == set()


def test_the_package_with_all_its_public_names_imports_nothing_heavy() -> None:
    _, imported = start(IMPORT)
    assert {"blemish", "numpy"} <= imported
    assert imported & HEAVY == set()


def test_the_benchmark_of_the_start_prints_one_figure() -> None:
    run = subprocess.run(
        [sys.executable, str(BENCH), "--runs", "3"], capture_output=True, text=True, check=True
    )
    match = re.fullmatch(r"blemish --help: median (\d+\.\d+) s of 3 runs.*\n", run.stdout)
    assert match, run.stdout
    # The goal is 0.3 s; this only catches a heavy import on a slow and busy machine.
    assert 0.02 < float(match[1]) < 2.0
