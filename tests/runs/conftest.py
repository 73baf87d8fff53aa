"""What the tests of runs share."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

STUB = Path(__file__).with_name("darkness.py")


@pytest.fixture(scope="session")
def stub() -> ModuleType:
    """The module `darkness`: a detector without weights, and pictures for it."""
    spec = importlib.util.spec_from_file_location("darkness", STUB)
    assert spec
    assert spec.loader
    module = sys.modules["darkness"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ten(stub: ModuleType, tmp_path: Path) -> Path:
    """A folder of ten pictures, two of them with a dark spot."""
    folder: Path = stub.draw_parts(tmp_path / "parts")
    return folder
