"""The CLIP detectors on a checkpoint that is there, and without one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import blemish
from blemish.errors import WeightsError
from blemish.settings import settings
from blemish.types import Sample

DETECTORS = ("clip-ac", "winclip", "anovl", "alfa")


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No weights anywhere, and no network."""
    monkeypatch.delenv("BLEMISH_WEIGHTS", raising=False)
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize("name", DETECTORS)
def test_without_weights_it_stops_and_names_the_cure(name: str, nothing: None) -> None:
    with pytest.raises(WeightsError) as caught:
        blemish.load(name, device="cpu")
    said = str(caught.value)
    assert "clip-vit-b-16-plus-240 is not at hand" in said
    assert "hf download timm/vit_base_patch16_plus_clip_240.laion400m_e31 --local-dir" in said
    assert "set BLEMISH_WEIGHTS" in said


def test_the_command_line_says_it_without_a_traceback(tmp_path: Path, parts: Path) -> None:
    blank = {"BLEMISH_CACHE": str(tmp_path / "cache"), "HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from blemish.cli import main; main()",
            "inspect",
            "part.png",
            "--detector",
            "alfa",
        ],
        cwd=parts,
        env={**os.environ, **blank, "HF_HUB_OFFLINE": "1", "BLEMISH_WEIGHTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("blemish: The CLIP checkpoint clip-vit-b-16-plus-240 is not at")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", DETECTORS)
def test_it_runs_on_a_real_checkpoint_and_comes_back(
    name: str, tiny_clip: Path, tmp_path: Path, good: list[Sample], facts: Callable[..., Any]
) -> None:
    more: dict[str, Any] = {} if name in ("clip-ac", "anovl") else {"scales": [2, 5]}
    detector = blemish.load(name, encoder=f"clip:{tiny_clip}", device="cpu", **more)
    samples = [blemish.Sample(part.image, class_name="bottle", id=part.id) for part in good[:4]]
    (before,) = detector.predict(samples[3:])
    assert before.decided_by == "probability"
    assert before.raw_score is not None
    assert 0 <= before.raw_score <= 1
    assert len(before.maps) == (name != "clip-ac")
    assert all(np.isfinite(m).all() for m in before.maps)
    for made in (detector, detector.fit(samples[:3])):
        made.save(tmp_path / "saved")
        back = blemish.load(tmp_path / "saved", device="cpu")
        assert back.fingerprint == made.fingerprint
        assert facts(back.predict(samples[3:])[0]) == facts(made.predict(samples[3:])[0])
