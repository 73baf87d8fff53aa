"""A saved detector's folder: what is noticed when it is damaged, replaced or cannot be written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

import blemish
from blemish import build
from blemish.detectors.patch_memory import PatchMemory
from blemish.errors import OutputError, SavedError
from blemish.types import Encoder, Sample

Make = Callable[..., PatchMemory]


@pytest.fixture
def saved(
    patch_memory: Make,
    cells: Encoder,
    good: list[Sample],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Path:
    monkeypatch.setattr(build, "encoder", lambda name, **settings: cells)
    patch_memory().fit(good[:2]).save(tmp_path)
    return tmp_path


def test_a_flipped_bit_of_a_saved_detector_is_noticed(saved: Path) -> None:
    data = bytearray((saved / "state.safetensors").read_bytes())
    data[-1] ^= 1
    (saved / "state.safetensors").write_bytes(data)
    with pytest.raises(SavedError, match=r"damaged.*fit the detector again"):
        blemish.load(saved)


@pytest.mark.parametrize("name", ["state.safetensors", "detector.json"])
def test_a_saved_detector_without_one_of_its_files_is_refused(name: str, saved: Path) -> None:
    (saved / name).unlink()
    with pytest.raises(SavedError, match=name):
        blemish.load(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 2}', "{}", "\xff"])
def test_a_header_that_is_not_one_of_this_version_is_refused(text: str, saved: Path) -> None:
    (saved / "detector.json").write_text(text, "latin-1")
    with pytest.raises(SavedError, match=r"detector\.json"):
        blemish.load(saved)


def test_a_header_with_a_part_missing_or_broken_is_refused(saved: Path) -> None:
    path = saved / "detector.json"
    whole = json.loads(path.read_text())
    for key in whole:
        path.write_text(json.dumps({k: v for k, v in whole.items() if k != key}))
        with pytest.raises(SavedError):
            blemish.load(saved)
    for scale in (None, "wide", -1, math.nan):
        calibration = whole["calibration"] | {"scale": scale}
        path.write_text(json.dumps(whole | {"calibration": calibration}))
        with pytest.raises(SavedError):
            blemish.load(saved)


def test_saving_over_a_saved_detector_leaves_only_the_new_one(
    patch_memory: Make, good: list[Sample], saved: Path
) -> None:
    patch_memory().fit(good[4:7]).save(saved)
    assert sorted(p.name for p in saved.iterdir()) == ["detector.json", "state.safetensors"]
    back = blemish.load(saved)
    assert isinstance(back, PatchMemory)
    assert [r["id"] for r in back.references] == [s.id for s in good[4:7]]


def test_a_folder_that_cannot_be_written_is_an_output_error(
    patch_memory: Make, good: list[Sample], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="could not be saved"):
        patch_memory().fit(good[:2]).save(tmp_path / "file")
