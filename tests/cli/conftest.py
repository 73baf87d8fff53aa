"""The command line in this process, with detectors that need no weights."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from blemish import registry
from blemish.cli import main
from blemish.llms.scripted import Scripted
from blemish.registry import DetectorEntry

ASKING = {name: registry.detector(name) for name in ("gpt4v-ad", "vqa")}


@dataclass(frozen=True)
class Said:
    """What a command left behind: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str


@pytest.fixture
def blemish(
    stub: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Callable[..., Said]]:
    """Run a command in an empty folder. The built-in detectors' names stand for the stub."""

    def entry(name: str, target: str, needs: registry.Needs) -> DetectorEntry:
        return DetectorEntry(name, f"darkness:{target}", "darkness:Options", "a stub", needs)

    entries = {
        "patch-memory": entry("patch-memory", "Unfitted", "references"),
        "anomalygpt": entry("anomalygpt", "UnfittedReader", "references"),
        "musc": entry("musc", "UnfittedFolder", "folder"),
        "darkness": entry("darkness", "Darkness", "nothing"),
    }
    monkeypatch.setattr(registry, "detectors", lambda: entries)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["blemish", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err or "--debug" in words
        return Said(int(left.value.code or 0), said.out, said.err)

    yield call
    logging.getLogger("blemish").setLevel(logging.NOTSET)


@pytest.fixture
def good(stub: ModuleType, tmp_path: Path) -> Path:
    """A folder of three good parts."""
    folder: Path = stub.draw_parts(tmp_path / "good", 3)
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The detectors that ask, and the questions that their scripted model was asked."""
    monkeypatch.setattr(registry, "detectors", lambda: ASKING)
    questions: list[Any] = []
    plain = Scripted.chat

    def chat(self: Scripted, messages: Any, **how: Any) -> Any:
        questions.append(messages)
        return plain(self, messages, **how)

    monkeypatch.setattr(Scripted, "chat", chat)
    return questions
