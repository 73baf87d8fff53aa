"""Small CLIP checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def clip_shapes(clip_writer: ModuleType) -> Callable[[dict[str, Any]], dict[str, tuple[int, ...]]]:
    """Every tensor that open_clip writes for an architecture, by name."""
    shapes: Callable[[dict[str, Any]], dict[str, tuple[int, ...]]] = clip_writer.published_shapes
    return shapes


@pytest.fixture(scope="session")
def write_clip(clip_writer: ModuleType) -> Callable[..., tuple[dict[str, Any], Any]]:
    """Writes a checkpoint folder; gives its description and its tensors."""
    write: Callable[..., tuple[dict[str, Any], Any]] = clip_writer.write_checkpoint
    return write
