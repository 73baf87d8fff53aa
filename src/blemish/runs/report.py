"""From the rows of a run to its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from blemish.runs.folder import Row


def write(out: Path, record: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """TEMPORARY until report/html.py is there."""
