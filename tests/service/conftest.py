"""A station with a detector that needs no weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from blemish import registry
from blemish.service.settings import ServiceSettings
from blemish.service.station import Station


@pytest.fixture
def shade(module: Callable[[Path], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module `shade`, whose detector is registered as long as the test runs."""
    loaded = module(Path(__file__).with_name("shade.py"))
    table = {**registry.detectors(), "shade": loaded.ENTRY}
    monkeypatch.setattr(registry, "detectors", lambda: table)
    return loaded


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    return ServiceSettings.of(folder=tmp_path / "station", talk_seconds=0.5)


@pytest.fixture
def station(shade: ModuleType, settings: ServiceSettings) -> Iterator[Station]:
    """A station that works, without any line."""
    with Station(settings) as made:
        yield made


@pytest.fixture
def caps(station: Station, shade: ModuleType) -> str:
    """A line called "caps" whose good parts are light all over, ready to inspect."""
    shade.make_caps(station)
    return "caps"
