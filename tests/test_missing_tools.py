"""Where a tool is missing a test says what to install; in continuous integration it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest
{at_once}
def test_that_drives_it():
    pytest.skip("needs a tool: apt-get install tool")

def test_of_another_platform():
    pytest.skip("is of POSIX")
"""
MODULE = 'pytest.importorskip("no_such_module", reason="needs it: pip install it")'


@pytest.mark.parametrize("at_once", ["", MODULE], ids=["a test", "a module"])
@pytest.mark.parametrize("ci", ["", "true"])
def test_a_missing_tool(at_once: str, ci: str, tmp_path: Path) -> None:
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_it.py").write_text(TESTS.format(at_once=at_once))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", str(tmp_path)],
        env=os.environ | {"CI": ci},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    said = "needs it: pip install it" if at_once else "needs a tool: apt-get install tool"
    assert said in run.stdout
    if ci:
        assert run.returncode != 0, run.stdout
    else:
        assert run.returncode == (pytest.ExitCode.NO_TESTS_COLLECTED if at_once else 0), run.stdout
