"""A made miniature of three categories, and an encoder small enough for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from blemish.benchmark.folder import Means
from blemish.datasets.find import open_dataset
from blemish.datasets.model import Dataset
from blemish.encoders.dinov2 import Dinov2
from blemish.synthesis.procedural import write_set
from blemish.types import Encoder

KINDS = {"bottle": "bottle", "hazelnut": "nut", "leather": "woven"}
"""Categories of MVTec AD, and the made-up parts that stand for them."""


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature on disk: 4 good parts to learn from; 4 good and 5 defective ones to judge."""
    root = tmp_path_factory.mktemp("miniature") / "mvtec"
    for category, kind in KINDS.items():
        write_set(root / category, kind, train=4, good=4, anomalous=5, size=(64, 72))
    return root


@pytest.fixture(scope="session")
def miniature(drawn: Path) -> Dataset:
    """The miniature, for tests that change nothing on disk."""
    return open_dataset(drawn)


@pytest.fixture(scope="session")
def named(miniature: Dataset) -> Callable[..., Mapping[str, Dataset]]:
    """The miniature under the names of other data sets."""
    return lambda *names: {name: replace(miniature, name=name) for name in names}


@pytest.fixture
def copied(drawn: Path, tmp_path: Path) -> Path:
    """A copy on disk, for tests that damage it."""
    return Path(shutil.copytree(drawn, tmp_path / "mvtec"))


@pytest.fixture(scope="session")
def tiny() -> Encoder:
    """A random DINOv2 of three narrow layers."""
    import torch
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=64, num_hidden_layers=3, num_attention_heads=1, image_size=70, patch_size=14
    )
    state = Dinov2Model(config).state_dict()
    weights = {k: (v + 0.02 * torch.randn_like(v)).numpy() for k, v in state.items()}
    encoder: Any = Dinov2("tiny", weights=weights)
    encoder.default_layers, encoder.default_size = (2, 3), 42
    return cast(Encoder, encoder)


@pytest.fixture(scope="session")
def means(tiny: Encoder) -> Means:
    """The tiny encoder under the names that detectors and protocols ask for."""
    names = ("dinov2-small", "tiny", "efficientnet-lite0")
    return Means(device="cpu", dtype="float32", encoders=dict.fromkeys(names, tiny))
