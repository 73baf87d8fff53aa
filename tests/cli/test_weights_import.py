"""`blemish weights import anomalygpt`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blemish.detectors import _anomalygpt_import

Blemish = Callable[..., Any]


def test_import_hands_both_files_on_and_says_what_is_next(
    blemish: Blemish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(_anomalygpt_import, "convert", lambda *all_of: given.extend(all_of))
    paths = [tmp_path / name for name in ("own.pt", "delta.pt", "out")]
    command = ("weights", "import", "anomalygpt", paths[0], "--pandagpt", paths[1])
    answer = blemish(*map(str, command), "--out", str(paths[2]), "--trained-on", "visa")
    assert (answer.code, given[:3]) == (0, paths)
    assert given[3].trained_on == "visa"
    assert f"--option adapter={paths[2]}" in answer.out


def test_a_file_that_is_not_there_is_told(blemish: Blemish, tmp_path: Path) -> None:
    path = str(tmp_path / "own.pt")
    answer = blemish("weights", "import", "anomalygpt", path, "--pandagpt", path, "--out", path)
    assert answer.code == 2
    assert f"{path} cannot be read: FileNotFoundError" in answer.err
