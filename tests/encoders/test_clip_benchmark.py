"""The benchmark of the CLIP detectors on a tiny model: both ways agree, and it notices if not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from blemish.encoders.clip import Clip, Windows
from blemish.settings import settings

Run = Callable[..., tuple[dict[str, Any], str]]
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def script(module: Callable[[Path], ModuleType]) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield module(BENCHMARKS / "clip.py")


@pytest.fixture
def run(
    script: ModuleType,
    write_clip: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Run]:
    """The script in this process: its JSON and its tables."""
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    settings.cache_clear()
    write_clip(tmp_path / "model")

    def call(*more: str) -> tuple[dict[str, Any], str]:
        told = tmp_path / "told.json"
        script.main(["--quick", "--model", str(tmp_path / "model"), "--json", str(told), *more])
        return json.loads(told.read_text()), capsys.readouterr().out

    yield call
    settings.cache_clear()


def test_every_figure_is_there_and_both_ways_agree(run: Run, script: ModuleType) -> None:
    found, tables = run()
    rows = [line.split("|")[1:-1] for line in tables.splitlines() if line]
    assert len(rows) == (2 + 2) + (2 + 3) + (2 + 3) + (2 + 3) + (2 + 2) + (2 + 2) + (2 + 2)
    for words in ("s a picture", "more, MiB", "times as fast", "cold, s", "bare matrix product"):
        assert words in tables
    assert {k: v["count"] for k, v in found["windows"]["scales"].items()} == {
        **{"2": 25, "3": 16, "4": 9}
    }
    small = found["windows"]["small"]
    for one in [*found["windows"]["scales"].values(), *small["scales"].values()]:
        assert 0 < one["difference"] < script.SAME  # two computations, not one compared with itself
        assert one["spread"] > 1e-3
    for one in small["maps"].values():
        assert one["difference"] < script.SAME
        assert one["highest"] - one["lowest"] > 1e-4
    assert found["classes"]["winclip"]["texts"] == 264
    assert found["classes"]["alfa"]["texts"] > 144
    assert all(one["s"] > 0 for one in found["pictures"].values())
    some = found["prompts"]["1000"]
    assert 0 < some["product_s"] < some["scoring_s"]


def others(found: Windows) -> Windows:
    """Each window has what its neighbour shows."""
    return replace(found, embeddings=np.roll(found.embeddings, 1, axis=1))


def other_values(found: Windows) -> Windows:
    """Each window has its neighbour's values, which the aligner alone reads."""
    values = found.values
    return found if values is None else replace(found, values=np.roll(values, 1, axis=1))


@pytest.mark.parametrize(
    ("wrong", "what"), [(others, "embeddings differ"), (other_values, "maps differ")]
)
def test_a_fast_path_that_is_wrong_is_noticed(
    wrong: Callable[[Windows], Windows], what: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Clip.windows
    monkeypatch.setattr(Clip, "windows", lambda self, *a, **k: wrong(right(self, *a, **k)))
    with pytest.raises(SystemExit, match=what):
        run("--only", "windows")
