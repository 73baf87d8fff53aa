"""What the tests of data sets share."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def layouts() -> ModuleType:
    """The module `layouts`: miniatures of the data sets."""
    spec = importlib.util.spec_from_file_location("layouts", Path(__file__).with_name("layouts.py"))
    assert spec
    assert spec.loader
    module = sys.modules["layouts"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
