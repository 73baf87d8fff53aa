"""What the tests of data sets share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def layouts(module: Callable[[Path], ModuleType]) -> ModuleType:
    """The module `layouts`: miniatures of the data sets."""
    return module(Path(__file__).with_name("layouts.py"))
