"""Where CLIP checkpoints come from, in which formats, and what is said when they are no good."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from blemish import build, load, registry, weights
from blemish.encoders import _clip_open
from blemish.encoders.clip import Clip
from blemish.errors import OptionError, SavedError, WeightsError
from blemish.settings import settings
from blemish.types import Sample

Write = Callable[..., tuple[dict[str, Any], dict[str, torch.Tensor]]]
Shapes = Callable[[dict[str, Any]], dict[str, tuple[int, ...]]]

NAMED = {row.name: row.repository for row in weights.checkpoints() if row.kind == weights.CLIP.what}
TEXT = {"context_length": 77, "vocab_size": 49408}
FULL: dict[str, tuple[dict[str, Any], tuple[int, int, int, float, str]]] = {
    # As open_clip publishes them; then heads of both towers, side, million weights, activation.
    "ViT-B-16-plus-240": (
        {
            "embed_dim": 640,
            "vision_cfg": {"image_size": 240, "layers": 12, "width": 896, "patch_size": 16},
            "text_cfg": TEXT | {"width": 640, "heads": 10, "layers": 12},
        },
        (14, 10, 240, 208.38, "gelu"),
    ),
    "ViT-L-14-336-quickgelu": (
        {
            "embed_dim": 768,
            "quick_gelu": True,
            "vision_cfg": {"image_size": 336, "layers": 24, "width": 1024, "patch_size": 14},
            "text_cfg": TEXT | {"width": 768, "heads": 12, "layers": 12},
        },
        (16, 12, 336, 427.94, "quick_gelu"),
    ),
    "ViT-H-14": (
        {
            "embed_dim": 1024,
            "vision_cfg": {
                **{"image_size": 224, "layers": 32, "width": 1280, "head_width": 80},
                "patch_size": 14,
            },
            "text_cfg": TEXT | {"width": 1024, "heads": 16, "layers": 24},
        },
        (16, 16, 224, 986.11, "gelu"),
    ),
}


def picture() -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    return [np.random.default_rng(1).integers(0, 255, (40, 40, 3), np.uint8)]


@pytest.fixture
def weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "weights").mkdir()
    monkeypatch.setenv("BLEMISH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    settings.cache_clear()
    yield tmp_path / "weights"
    settings.cache_clear()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The hub's cache, and no network: not even an attempt whose error is caught."""
    asked = []

    def refuse(*address: Any) -> None:
        asked.append(address)
        raise OSError("There is no network.")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield tmp_path / "hub"
    assert asked == []


@pytest.mark.parametrize("name", FULL)
def test_the_published_sizes_fill_every_weight_of_the_model(name: str, clip_shapes: Shapes) -> None:
    from transformers import CLIPConfig, CLIPModel

    described, (heads, text_heads, side, parameters, act) = FULL[name]
    shapes = clip_shapes(described)
    state = {k: torch.empty(shape, device="meta") for k, shape in shapes.items()}
    config = _clip_open.configuration(state, described)
    assert config["vision_config"]["num_attention_heads"] == heads
    assert config["text_config"]["num_attention_heads"] == text_heads
    assert config["vision_config"]["image_size"] == side
    assert config["vision_config"]["hidden_act"] == config["text_config"]["hidden_act"] == act
    with torch.device("meta"):
        model: Any = CLIPModel(CLIPConfig(**config))
    found = {k: tuple(v.shape) for k, v in _clip_open.converted(state).items()}
    assert found == {k: tuple(v.shape) for k, v in model.state_dict().items()}
    assert round(sum(v.numel() for v in state.values()) / 1e6, 2) == parameters
    known = _clip_open.recognised(state)
    assert known == (described if name == "ViT-B-16-plus-240" else None)


def test_a_folder_of_transformers_gives_what_transformers_gives(
    tmp_path: Path, write_clip: Write
) -> None:
    from transformers import CLIPConfig, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    described, state = write_clip(tmp_path / "open", "ViT-L-14-336-quickgelu")
    config = CLIPConfig(**_clip_open.configuration(state, described))
    model: Any = CLIPModel(config)
    model.train(False)
    model.load_state_dict(_clip_open.converted(state))
    folder = tmp_path / "hf"
    model.save_pretrained(folder)
    processor: Any = CLIPImageProcessorPil(size={"shortest_edge": 42}, crop_size=42)
    processor.save_pretrained(folder)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(tmp_path / "open" / name, folder)
    images = [np.random.default_rng(1).integers(0, 255, (50, 97, 3), np.uint8)]
    tokens = torch.tensor([[514, 513, 515]])
    with torch.inference_mode():
        seen = model.get_image_features(processor(images, return_tensors="pt")["pixel_values"])
        said = model.get_text_features(tokens)
    wanted = [t.pooler_output / t.pooler_output.norm() for t in (seen, said)]
    clip = Clip(folder)
    np.testing.assert_allclose(clip.embed(images, crop=True), wanted[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(clip.encode_text(["cat"]), wanted[1].numpy(), atol=1e-5)


@pytest.mark.parametrize("wrapped", ["bare", "training run", "custom text"])
def test_a_state_dict_by_itself(
    tmp_path: Path, write_clip: Write, wrapped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    described, state = write_clip(tmp_path / "tiny")
    content: dict[str, Any] = dict(state)
    if wrapped == "training run":
        content = {"epoch": 31, "state_dict": {f"module.{k}": v for k, v in state.items()}}
    elif wrapped == "custom text":
        words = ("positional", "token_", "transformer.", "ln_final", "text_projection")
        content = {f"text.{k}" if k.startswith(words) else k: v for k, v in state.items()}
    torch.save(content, tmp_path / "epoch_31.pt")
    with pytest.raises(WeightsError, match=r"no open_clip_config\.json beside it"):
        Clip(tmp_path / "epoch_31.pt")
    # Its own shapes take the place of the one checkpoint that is known without a description.
    monkeypatch.setattr(_clip_open, "recognised", lambda state: described)
    found = Clip(tmp_path / "epoch_31.pt")
    assert np.array_equal(found.embed(picture()), Clip(tmp_path / "tiny").embed(picture()))
    assert found.fingerprint == Clip(tmp_path / "tiny").fingerprint


def test_the_fingerprint_follows_what_shapes_an_embedding(
    tmp_path: Path, write_clip: Write
) -> None:
    write_clip(tmp_path / "a")
    write_clip(tmp_path / "b")
    write_clip(tmp_path / "other", seed=1)
    write_clip(tmp_path / "quick", quick_gelu=True)
    first, same, *others = (Clip(tmp_path / k).fingerprint for k in ("a", "b", "other", "quick"))
    assert first == same
    assert len({first, *others}) == 3


@pytest.mark.usefixtures("offline")
def test_named_checkpoints_come_from_the_weights_folder(
    weights_folder: Path, write_clip: Write
) -> None:
    entries = [e for e in registry.ENCODERS if e.name.startswith("clip-")]
    assert {e.name for e in entries} == set(NAMED)
    assert all(registry.resolve(e.target) is Clip for e in entries)
    write_clip(weights_folder / "clip-vit-h-14", "ViT-H-14")
    write_clip(weights_folder / "vit_large_patch14_clip_336.openai", "ViT-L-14-336-quickgelu")
    assert Clip("clip-vit-h-14").dim == 40
    assert Clip("clip-vit-h-14").name == "clip-vit-h-14"
    assert Clip("clip-vit-l-14-336").dim == 32


def test_a_repository_in_the_hubs_cache_needs_no_network(offline: Path, write_clip: Write) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = offline / "models--somebody--tiny"
    write_clip(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert build.encoder("clip:somebody/tiny", device="cpu").name == "clip:somebody/tiny"


@pytest.mark.usefixtures("weights_folder")
def test_a_detector_on_a_folders_model_comes_back(
    tmp_path: Path, write_clip: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / "models" / "tiny")
    write_clip(tmp_path / "models" / "other", seed=1)
    monkeypatch.chdir(tmp_path / "models")
    parts = [Sample(np.clip(image, 90 + i, 120)) for i in range(3) for image in picture()]
    fitted = load("patch-memory", device="cpu", encoder="clip:tiny").fit(parts)
    fitted.save(tmp_path / "saved")
    wanted = fitted.predict(parts)
    monkeypatch.chdir(tmp_path)  # where "tiny" is nothing
    for more in ({}, {"encoder": "clip:models/tiny"}):
        back: Any = load(tmp_path / "saved", device="cpu", **more)  # type: ignore[arg-type]
        assert back.encoder.name == f"clip:{(tmp_path / 'models' / 'tiny').resolve()}"
        found = back.predict(parts)
        assert [f.raw_score for f in found] == [w.raw_score for w in wanted]
    with pytest.raises(SavedError, match="Load it with the same"):
        load(tmp_path / "saved", device="cpu", encoder="clip:models/other")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("clip", r"'clip' came without a checkpoint\. Name one: clip:FOLDER"),
        ("clip:", "came without a checkpoint"),
        ("dinov2-small:models/tiny", r"dinov2-small has one checkpoint.*clip:FOLDER"),
        ("clip-vit-h-14:models/tiny", "clip-vit-h-14 has one checkpoint"),
        ("clop:models/tiny", r"no encoder called 'clop'\. Did you mean 'clip'"),
    ],
)
def test_a_checkpoint_goes_to_the_encoder_that_takes_one(name: str, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        load("patch-memory", device="cpu", encoder=name)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", NAMED)
def test_without_weights_the_error_names_them_and_the_cure(weights_folder: Path, name: str) -> None:
    with pytest.raises(WeightsError) as error:
        Clip(name)
    words = str(error.value)
    assert f"The CLIP checkpoint {name} is not at hand" in words
    assert str(weights_folder) in words
    assert "HF_HUB_OFFLINE forbids the network" in words
    assert f"hf download {NAMED[name]} --local-dir {name}" in words
    assert "set BLEMISH_WEIGHTS" in words


@pytest.mark.usefixtures("offline")
def test_names_that_are_nothing() -> None:
    with pytest.raises(WeightsError, match=r"hf download nobody/tiny --local-dir FOLDER"):
        Clip("nobody/tiny")
    for name in ("clip-vit-b-16", "/no/such/folder", "./x"):
        with pytest.raises(WeightsError, match=r"no such folder or file.*clip-vit-h-14"):
            Clip(name)


def spoil(folder: Path, how: str) -> None:
    from safetensors.torch import load_file, save_file

    file, description = folder / "open_clip_model.safetensors", folder / "open_clip_config.json"
    state, config = load_file(file), json.loads(description.read_text())
    if how == "empty":
        file.unlink()
    elif how == "truncated":
        file.write_bytes(file.read_bytes()[:5000])
    elif how == "lacks a layer norm":
        del state["visual.transformer.resblocks.1.ln_2.weight"]
        save_file(state, file)
    elif how == "lacks the projection":
        del state["visual.proj"]
        save_file(state, file)
    elif how == "another shape":
        state["text_projection"] = torch.zeros(7, 7)
        save_file(state, file)
    elif how == "layer scale":
        save_file(state | {"visual.transformer.resblocks.0.ls_1.gamma": torch.zeros(3)}, file)
    elif how == "another tower":
        config["model_cfg"]["vision_cfg"]["timm_model_name"] = "convnext_base"
        description.write_text(json.dumps(config))
    else:
        file.unlink()
        (folder / "config.json").write_text('{"model_type": "bert"}')


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("empty", "no config.json of a CLIP model"),
        ("truncated", "SafetensorError"),
        ("lacks a layer norm", r"lacks the weights.*layers\.1\.layer_norm2\.weight"),
        ("lacks the projection", "no tensor 'visual.proj'"),
        ("another shape", "other shapes of .*: text_projection.weight"),
        ("layer scale", r"has beside .*layers\.0\.ls_1\.gamma"),
        ("another tower", "vision_cfg asks for timm_model_name"),
        ("another kind", "describes 'bert'"),
    ],
)
def test_a_checkpoint_that_is_no_whole_clip(
    tmp_path: Path, write_clip: Write, how: str, words: str
) -> None:
    write_clip(tmp_path / "tiny")
    spoil(tmp_path / "tiny", how)
    with pytest.raises(WeightsError, match=words):
        Clip(tmp_path / "tiny")


def test_a_pickle_that_runs_code_is_not_run(tmp_path: Path) -> None:
    import pickle

    class Attack:
        def __reduce__(self) -> tuple[Any, tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"visual.proj": Attack()}))
    with pytest.raises(WeightsError, match="cannot be loaded"):
        Clip(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()
