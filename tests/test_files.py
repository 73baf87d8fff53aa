"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from blemish.files import install


@pytest.mark.parametrize("sync", [True, False])
def test_a_file_is_written_and_replaced_and_leaves_nothing_beside(
    tmp_path: Path, sync: bool
) -> None:
    path = tmp_path / "new" / "file"
    for data in (b"one", b"two, which is longer", b""):
        install(path, data, sync=sync)
        assert path.read_bytes() == data
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    install(path, b"before")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left"):
        install(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
