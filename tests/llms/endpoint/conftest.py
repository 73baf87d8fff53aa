"""An endpoint on this machine, and models that ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from blemish.llms import openai_api
from blemish.llms.openai_api import OpenAIChat


@pytest.fixture(scope="session")
def stub_server(module: Callable[[Path], ModuleType]) -> ModuleType:
    """The module `server`: an endpoint that fails as it is told to."""
    return module(Path(__file__).parents[1] / "server.py")


@pytest.fixture
def model_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., OpenAIChat]]:
    """Makes models for a server; they ask again at once, whatever the environment holds."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(openai_api, "FIRST_PAUSE", 0.001)
    made = []

    def make(server: Any, name: str = "gpt-4o", **options: Any) -> OpenAIChat:
        made.append(OpenAIChat(name, base_url=server.url, **({"timeout": 30.0} | options)))
        return made[-1]

    yield make
    for model in made:
        model.close()
