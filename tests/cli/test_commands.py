"""The other commands, and what help there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import blemish as package
from blemish.calibration import FALSE_ALARMS

Blemish = Callable[..., Any]


def test_help_lists_the_commands(blemish: Blemish) -> None:
    said = blemish("--help")
    assert said.code == 0
    for command in ("inspect", "calibrate", "detectors", "weights"):
        assert f" {command} " in said.out


def test_the_exit_codes_are_in_the_help(blemish: Blemish) -> None:
    said = " ".join(blemish("inspect", "--help").out.split())
    assert "0 done; 1 with --exit-code" in said
    assert "3 some pictures could not be inspected" in said


def test_the_version(blemish: Blemish) -> None:
    assert blemish("--version").out == f"blemish {package.__version__}\n"


def test_detectors_lists_what_each_needs(blemish: Blemish) -> None:
    said = blemish("detectors")
    lines = [line.split() for line in said.out.splitlines()]
    assert lines[0][:4] == ["name", "needs", "encoder", "licence"]
    assert lines[1][:2] == ["patch-memory", "references"]


def test_weights_lists_state_licence_and_origin(
    blemish: Blemish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from blemish import settings

    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path))
    settings.settings.cache_clear()
    said = blemish("weights", "list")
    settings.settings.cache_clear()
    assert "dinov2-small: not here, 97 MB" in said.out
    assert "licence: MIT" in said.out


def test_weights_pull_wants_names_or_all(blemish: Blemish) -> None:
    for words in ((), ("dinov2-small", "--all")):
        said = blemish("weights", "pull", *words)
        assert said.code == 2
        assert "give --all. Known: dinov2-small" in said.err


def test_calibrate_moves_a_run(blemish: Blemish, ten: Path) -> None:
    blemish("inspect", "parts", "--detector", "darkness", "--out", "run")
    said = blemish("calibrate", "run", "--false-alarms", "0.0005")
    assert said.code == 0
    assert f"False alarm target {FALSE_ALARMS} -> 0.0005" in said.out
    assert "anomalous: 2 -> 1" in said.out
    assert "normal: 8 -> 9" in said.out


def test_calibrate_says_what_it_can_move(blemish: Blemish, ten: Path) -> None:
    said = blemish("calibrate", "parts", "--false-alarms", "0.1")
    assert said.code == 2
    assert "parts is neither a run nor a saved detector" in said.err
