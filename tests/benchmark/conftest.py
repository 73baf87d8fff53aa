"""A made miniature of three categories, models small enough for it, and what documents print."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from blemish.benchmark import adapters
from blemish.benchmark.folder import Means
from blemish.benchmark.protocol import Published, load
from blemish.datasets.find import open_dataset
from blemish.datasets.model import Dataset
from blemish.encoders.dinov2 import Dinov2
from blemish.llms.scripted import Rule, Scripted
from blemish.regions import division, marks
from blemish.settings import settings
from blemish.synthesis.procedural import write_set
from blemish.types import Encoder, Image, Message, Reply, Token, Usage

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


class Halves:
    """A segmenter that finds the left and the right half of any picture."""

    name, fingerprint = "halves", "halves:1"

    def masks(self, image: Image) -> NDArray[np.bool_]:
        side = image.shape[1] // 2
        left = np.zeros(image.shape[:2], np.bool_)
        left[:, :side] = True
        return np.stack((left, ~left))


def answered(messages: Sequence[Message]) -> Reply:
    """What a question asks for, in its own form; the score is drawn by the picture it is about."""
    if not messages[-1].images:  # prompts for a class
        return Reply("- one with a pale spot\n- one with a straight edge", Usage(1, 100, 10, 0.01))
    *_, judged = messages[-1].images
    digit = hashlib.sha256(judged.tobytes()).digest()[0] % 10
    if "center coordinates" in messages[-1].text:
        return Reply("region 1: 0.5, 0.5, 0.2, 0.3.", Usage(1, 100, 10, 0.01))
    image = "image anomaly score: 0.6; " if "score of the image" in messages[-1].text else ""
    chances = {str(digit): math.log(0.5), str((digit + 4) % 10): math.log(0.5)}
    tokens = (
        Token(f"{image}region 1: 0.", 0.0),
        Token(str(digit), math.log(0.5), chances),
        Token(".", 0.0),
    )
    text = "".join(token.text for token in tokens)
    return Reply(text, Usage(1, 100, 10, 0.01), tokens=tokens)


@pytest.fixture(scope="session")
def rule() -> Rule:
    """How a language model answers that looks at the picture."""
    return answered


@pytest.fixture
def model(rule: Rule) -> Scripted:
    """Such a model, which remembers what it was asked."""
    return Scripted(rule)


@pytest.fixture(scope="session", autouse=True)
def drawn_once() -> Iterator[None]:
    """Divide and mark each picture once a session: the tests ask about the same few."""
    divided, marked = division.superpixel, marks.draw
    known: dict[Any, Any] = {}

    def superpixel(image: Image, *options: Any) -> division.Division:
        key = (image.tobytes(), image.shape, options)
        if key not in known:
            known[key] = divided(image, *options)
        return cast(division.Division, known[key])

    def draw(image: Image, regions: division.Division, avoid_small: bool = False) -> Image:
        key = (image.tobytes(), image.shape, regions.labels.tobytes(), avoid_small)
        if key not in known:
            known[key] = marked(image, regions, avoid_small)
        return cast(Image, known[key])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(division, "superpixel", superpixel)
        patched.setattr(marks, "draw", draw)
        yield


@pytest.fixture(scope="session")
def encoders(tiny: Encoder, stand_ins: ModuleType) -> dict[str, Encoder]:
    """Small encoders under the names that detectors and protocols ask for."""
    names = ("dinov2-small", "tiny", "efficientnet-lite0")
    return dict.fromkeys(names, tiny) | {"clip-vit-b-16-plus-240": stand_ins.Captions()}


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache: what a language model writes is kept there."""
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    settings.cache_clear()
    yield tmp_path / "cache"
    settings.cache_clear()


@pytest.fixture
def means(encoders: dict[str, Encoder], model: Scripted, own_cache: Path) -> Means:
    """The small encoders, a segmenter and a language model."""
    return Means(
        device="cpu",
        dtype="float32",
        encoders=encoders,
        segmenters={"facebook/sam-vit-huge": Halves()},
        language_model=model,
    )


@pytest.fixture(scope="session")
def one() -> Callable[..., Published]:
    """What a table prints of a method: `one(table, method, metric, data=..., shots=...)`."""

    def find(
        table: str,
        method: str,
        metric: str,
        category: str = "mean",
        *,
        data: str = "mvtec-ad",
        shots: int | None = 0,
    ) -> Published:
        key = (method, metric, category, data, shots)
        (found,) = [
            p
            for p in load(table).published
            if (p.method, p.metric, p.category, p.data, p.shots) == key
        ]
        return found

    return find


@pytest.fixture(scope="session")
def figure(one: Callable[..., Published]) -> Callable[..., float]:
    """The value of `one`."""
    return lambda *about, **more: one(*about, **more).value


@pytest.fixture
def loaded() -> list[str]:
    """The language models that `embedded` has loaded."""
    return []


def as_shipped(folder: Path) -> adapters.Adapter:
    """A stand-in's adapter under the names of the models that it stands for, as rows want it."""
    found = adapters.read(folder)
    return replace(
        found,
        encoder="dinov2-small",
        language_model="smollm2-135m",
        trained_on="made-up parts",
        made={**found.made, "staged": found.kind == "iad-gpt"},
    )


@pytest.fixture
def embedded(
    means: Means,
    stand_ins: ModuleType,
    loaded: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Means:
    """Small stand-ins for what language readers are built from, and the adapters that ship."""
    blind = SimpleNamespace(
        text="No, there are no anomalies.", ended="stop", first={"Yes": 0.3, "No": 0.7}, tokens=5
    )

    def reader(name: str, **_: Any) -> Any:
        loaded.append(name)
        model = stand_ins.Reader()
        read = model._said
        # Where no map is shown, there are no cells to read.
        model._said = lambda rows: read(rows) if (rows[:, 1] > rows[:, 2]).any() else blind
        return model

    kinds = ("anomalygpt", "iad-gpt")
    shipped = {k: stand_ins.reading_adapter(tmp_path / f"shipped {k}", "cells", k) for k in kinds}
    monkeypatch.setattr(
        "blemish.detectors._reading_options.adapter_folder",
        lambda named, kind: Path(named or shipped[kind]),
    )
    monkeypatch.setattr(adapters, "shipped", lambda kind: (as_shipped(shipped[kind]),))
    monkeypatch.setattr("blemish.llms.causal.Causal", reader)
    return replace(means, encoders={**means.encoders, "dinov2-small": stand_ins.Cells()})
