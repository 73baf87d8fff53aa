"""How the station stands: what a person wants to know before anything goes wrong."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

import blemish
from blemish import weights
from blemish.service.shop import Shop
from blemish.service.store import tables as t
from blemish.service.types import Status, Weights

_FRESH = 60.0
"""Seconds for which what takes long to find out is taken to be true still."""
_lock = threading.Lock()
_known: dict[Any, tuple[float, Any]] = {}


def status(shop: Shop, workers: int) -> Status:
    """See `Station.status`."""
    here = shop.settings.folder
    with shop.database.reading() as session:
        lines, inspections, queued = (
            session.scalar(wanted) or 0
            for wanted in (
                select(func.count()).select_from(t.Line),
                select(func.count()).select_from(t.Inspection),
                select(func.count()).select_from(t.Item).where(t.Item.state == "queued"),
            )
        )
    return Status(
        version=blemish.__version__,
        database=shop.database.kind,
        folder=str(here),
        stored=_lately(here, lambda: _bytes(here)),
        free=shutil.disk_usage(here).free,
        lines=lines,
        inspections=inspections,
        queued=queued,
        workers=workers,
        weights=_lately("weights", _weights),
    )


def absent(names: Iterable[str]) -> list[str]:
    """Those names of weights that are known and not on this computer."""
    found: tuple[Weights, ...] = _lately("weights", _weights)
    missing = {one.name for one in found if not one.present}
    return sorted(missing.intersection(names))


def _lately(key: Any, ask: Callable[[], Any]) -> Any:
    with _lock:
        at, found = _known.get(key, (0.0, None))
        if found is None or time.monotonic() - at > _FRESH:
            found = ask()
            _known[key] = time.monotonic(), found
        return found


def _bytes(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size
            except OSError:  # it was renamed or deleted meanwhile
                continue
    return total


def _weights() -> tuple[Weights, ...]:
    here = {name for name, state in weights.verify() if state in ("ok", "unchecked")}
    files = [Weights(r.name, r.what, r.licence, r.name in here) for r in weights.table()]
    named = [Weights(r.name, r.what, r.licence, r.name in here) for r in weights.checkpoints()]
    return (*files, *named)
