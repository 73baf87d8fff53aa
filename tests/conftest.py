"""What several tests rely on."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import PIL.Image
import pytest
from hypothesis import settings

from blemish.synthesis.procedural import make_part

# The same examples every time and no time limit: a slow machine must not fail a test.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def _refuse_to_skip(report: Any) -> Any:
    """In continuous integration a missing tool is a failure; elsewhere the reason says what to do.

    Such a reason begins with "needs", or is what `pytest.importorskip` says by itself.
    """
    if os.environ.get("CI") and report.skipped and isinstance(report.longrepr, tuple):
        why = report.longrepr[2].removeprefix("Skipped: ")
        if why.startswith(("needs ", "could not import ")):
            report.outcome, report.longrepr = "failed", why
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    return _refuse_to_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    return _refuse_to_skip((yield))


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A folder with `good_parts/`, 8 good parts, and `part.png`, one with a hole."""
    (tmp_path / "good_parts").mkdir()
    for seed in range(8):
        image = make_part("woven", seed).sample.image
        PIL.Image.fromarray(image).save(tmp_path / "good_parts" / f"{seed}.png")
    broken = make_part("woven", 100, defect="hole").sample.image
    PIL.Image.fromarray(broken).save(tmp_path / "part.png")
    return tmp_path


@pytest.fixture(scope="session")
def module() -> Callable[[Path], ModuleType]:
    """Loads a file beside the tests as the module of its name; tests are no package."""

    def load(path: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec
        assert spec.loader
        loaded = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return loaded

    return load


@pytest.fixture(scope="session")
def stub(module: Callable[[Path], ModuleType]) -> ModuleType:
    """The module `darkness`: a detector without weights, and pictures for it."""
    return module(Path(__file__).with_name("darkness.py"))


@pytest.fixture(scope="session")
def stand_ins(module: Callable[[Path], ModuleType]) -> ModuleType:
    """The module `stand_ins`: encoders without weights, one of them with a text tower."""
    return module(Path(__file__).with_name("stand_ins.py"))


@pytest.fixture(scope="session")
def clip_writer(module: Callable[[Path], ModuleType]) -> ModuleType:
    """The module `tiny_clip`: writes small random CLIP checkpoints."""
    return module(Path(__file__).with_name("tiny_clip.py"))


@pytest.fixture(scope="session")
def tiny_clip(clip_writer: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random CLIP checkpoint that reads 77 tokens."""
    folder: Path = tmp_path_factory.mktemp("clip")
    clip_writer.write_checkpoint(folder, context=77)
    return folder


@pytest.fixture(scope="session")
def vlm_writer(module: Callable[[Path], ModuleType]) -> ModuleType:
    """The module `tiny_vlm`: writes small random vision-language checkpoints."""
    return module(Path(__file__).with_name("tiny_vlm.py"))


@pytest.fixture(scope="session")
def llava(vlm_writer: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LLaVA: its processor loads as it is."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llava"
    vlm_writer.write_llava(folder)
    return folder


@pytest.fixture(scope="session")
def qwen(vlm_writer: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Qwen2-VL: its processor has a part for videos, which cannot load without torchvision."""
    folder = tmp_path_factory.mktemp("models") / "tiny-qwen"
    vlm_writer.write_qwen(folder)
    return folder


@pytest.fixture(scope="session")
def recorded(module: Callable[[Path], ModuleType]) -> ModuleType:
    """The module `recordings`: writes small videos, point clouds and time series."""
    return module(Path(__file__).with_name("recordings.py"))


@pytest.fixture
def ten(stub: ModuleType, tmp_path: Path) -> Path:
    """A folder of ten pictures, two of them with a dark spot."""
    folder: Path = stub.draw_parts(tmp_path / "parts")
    return folder
