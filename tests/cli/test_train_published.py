"""`blemish train` at the published size, from files as PandaGPT and AnomalyGPT publish them.

The files, the CLIP and the language model are small and random, and of the published form.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import blemish as package
from blemish import registry
from blemish.detectors import _adapter
from blemish.detectors._anomalygpt_import import ALPHA, PUBLISHED, convert
from blemish.encoders.clip import Clip
from blemish.llms.causal import Causal
from blemish.prompts import contrast, generated
from blemish.synthesis.procedural import make_part, write_set
from blemish.training import adapter, checkpoint
from blemish.training import start as starts
from blemish.training.batches import Course, PictureBatches
from blemish.training.pictures import Pictures
from blemish.training.plans import IAD_GPT, Wanted

Call = Callable[..., Any]
Names = dict[str, registry.DetectorEntry]
TRAINED: Names = {name: registry.detector(name) for name in ("anomalygpt", "iad-gpt")}
WIDTH, JOINT, PATCH, BLOCKS, RANK = 32, 48, 128, 2, 3
"""Of `tiny_causal` and of `tiny_clip`."""
LORA = "llama_model.base_model.model.model.layers"
ONCE = ("--epochs", 1, "--batch", 2)
"""One step a stage of a set of two pictures."""


@pytest.fixture(scope="module")
def files(module: Callable[[Path], ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The language model, PandaGPT's delta, AnomalyGPT's checkpoint, and two good parts."""
    tests = Path(__file__).parents[1]
    tiny, pandagpt = (module(tests / f"tiny_{name}.py") for name in ("causal", "pandagpt"))
    root = tmp_path_factory.mktemp("files")
    tiny.write(root / "vicuna", module(tests / "tiny_vlm.py"))
    torch.manual_seed(0)
    delta = {k: t / 4 for k, t in pandagpt.pandagpt(WIDTH, JOINT, BLOCKS, RANK).items()}
    own = {k: t / 9 for k, t in pandagpt.published(WIDTH, JOINT, PATCH, JOINT).items()}
    own = {
        k: t
        for k, t in own.items()
        if not k.startswith(("image_decoder.fc.2", "image_decoder.fc.3"))
    }
    pandagpt.saved(root / "delta.pt", delta)
    pandagpt.saved(root / "anomalygpt.pt", own)
    for category, kind in (("wood", "wood"), ("tile", "grid")):
        write_set(root / "parts" / category, kind, train=1, good=1, anomalous=1, size=(64, 64))
    return root


@pytest.fixture
def train(blemish: Call, files: Path, tiny_clip: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command without sheets and curves, which take longer than the steps."""
    monkeypatch.setattr(registry, "detectors", lambda: TRAINED)
    monkeypatch.setattr("blemish.training.log.draw", lambda rows: b"")
    monkeypatch.setattr("blemish.training.sheets.due", lambda step, steps: False)

    def call(kind: str, out: str, *words: object, start: object = files / "delta.pt") -> Any:
        models = ("--encoder", f"clip:{tiny_clip}", "--llm", files / "vicuna")
        given = ("--data", files / "parts", "--out", out, *models, "--start", start)
        return blemish("train", kind, *given, *ONCE, *words)

    return call


def delta(files: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(files / "delta.pt", weights_only=True)
    return found


def projected(files: Path, clip: Clip, images: Any) -> np.ndarray[Any, Any]:
    """What PandaGPT's linear layer gives of pictures."""
    found = delta(files)
    linear = found["llama_proj.weight"].numpy(), found["llama_proj.bias"].numpy()
    return np.asarray(clip.embed(images) @ linear[0].T + linear[1])


def reading(kind: str, out: Path, files: Path, tiny_clip: Path) -> Any:
    """The detector with what was trained."""
    return package.load(
        *(kind,),
        encoder=f"clip:{tiny_clip}",
        language_model=str(files / "vicuna"),
        adapter=str(out),
        device="cpu",
    )


@pytest.mark.parametrize("wanted", [IAD_GPT, Wanted(left_out=("decoder", "prompt_learner"))])
def test_the_first_loss_is_pandagpts(
    files: Path, tiny_clip: Path, tmp_path: Path, wanted: Wanted
) -> None:
    """Of the projected picture and no map, through the language model with PandaGPT's LoRA."""
    clip, pictures = Clip(tiny_clip), Pictures(files / "parts")
    begun = starts.read(files / "delta.pt", clip, tmp_path)
    language_model = Causal(files / "vicuna", lora=begun.lora)
    wanted = replace(wanted, published=True, lora=not wanted.staged)
    bare = Causal(files / "vicuna")
    speaks = bare if wanted.lora else language_model
    learner = adapter.learner(pictures, clip, speaks, begun, 0, wanted)
    batches = PictureBatches(pictures, clip, learner.config, size=2, course=Course(maps=False))
    batch = batches(0)
    loss, parts = learner.loss(batch, 1)
    assert list(parts) == ["answers"]

    images = [batches.example(number).sample.image for number in range(2)]
    turns = []
    for embedding, slots in zip(projected(files, clip, images), batch.questions, strict=True):
        words = [bare.embed(text) for text in (slots.between, slots.after)]
        turns.append(torch.cat([torch.from_numpy(embedding)[None], *words]))
    before = batch.questions[0].before
    expected = language_model.loss(turns, batch.answers, prefix=before)
    torch.testing.assert_close(loss.detach(), expected, rtol=2e-5, atol=0)
    without = bare.loss(turns, batch.answers, prefix=before)
    assert abs(float(without) - float(expected)) > 0.01
    a, b = (delta(files)[f"{LORA}.0.self_attn.v_proj.lora_{half}.default.weight"] for half in "AB")
    layers = [model._model.model.layers[0].self_attn.v_proj for model in (language_model, bare)]
    changed = layers[0].weight - layers[1].weight
    torch.testing.assert_close(changed, ALPHA / RANK * b @ a, rtol=1e-4, atol=1e-5)


def test_iad_gpt_is_trained_resumed_and_used(
    train: Call, files: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    assert train("iad-gpt", "whole").code == 0
    for _ in range(2):
        assert train("iad-gpt", "out", "--minutes", 1e-7).code == 0
    said = train("iad-gpt", "out", "--rate", 0.1)
    assert said.code == 2
    assert "is of another training" in said.err
    assert train("iad-gpt", "out").code == 0
    names = [_adapter.TENSORS, "lora/adapter_model.safetensors", "lora/adapter_config.json"]
    for name in names:
        both = [(tmp_path / out / name).read_bytes() for out in ("whole", "out")]
        assert both[0] == both[1]
    saved = checkpoint.read(tmp_path / "out/training/stage-3")
    assert saved
    assert saved.identity["rate"] == 5e-4
    config, modules = _adapter.read(tmp_path / "out")
    assert (config.published, config.imported, config.joint, config.layers) == (
        *(True, False, JOINT),
        (2, 3),
    )
    assert "before that, PandaGPT as published" in config.trained_on
    found: Any = modules["image"]
    first = delta(files)["llama_proj.weight"]
    for expert in found.experts:
        assert 0 < float((expert.out.weight - first).abs().max()) < 0.01
    frozen = load_file(tmp_path / "out/lora/adapter_model.safetensors")
    start = {k: t for k, t in delta(files).items() if "lora" in k}
    assert len(frozen) == len(start) == 4 * 2 * BLOCKS
    assert {float(t.sum()) for t in frozen.values()} == {float(t.sum()) for t in start.values()}
    assert (
        json.loads((tmp_path / "out/lora/adapter_config.json").read_text())["lora_alpha"] == ALPHA
    )
    detector = reading("iad-gpt", tmp_path / "out", files, tiny_clip)
    part = make_part("wood", 50, size=(64, 64), defect=None).sample
    for known in (detector, detector.fit([make_part("wood", 51, size=(64, 64)).sample])):
        (inspection,) = known.predict([part])
        assert inspection.decided_by == "language model"
        assert 0 <= inspection.score <= 1


def test_anomalygpt_keeps_pandagpts_projection_and_lora(
    train: Call, files: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    """Section 4: only the decoder and the prompt learner learn."""
    assert train("anomalygpt", "out").code == 0
    saved = checkpoint.read(tmp_path / "out/training")
    assert saved
    assert saved.identity["rate"] == 1e-3
    learnt = {name.partition(".")[0] for name in saved.adapter}
    assert learnt == {"image", "decoder", "prompt_learner"}
    found = load_file(tmp_path / "out" / _adapter.TENSORS)
    for end in ("weight", "bias"):
        torch.testing.assert_close(found[f"image.linear.{end}"], delta(files)[f"llama_proj.{end}"])
    assert len(saved.optimizer) == 2 * 2 + 6 * 2 + 1  # two layers, six convolutions, base ones
    detector = reading("anomalygpt", tmp_path / "out", files, tiny_clip)
    part = make_part("wood", 50, size=(64, 64)).sample
    (inspection,) = detector.predict([part])
    assert inspection.decided_by == "language model"
    rows = detector.shown([part], detector._see(part.images), inspection.maps)[0]
    expected = projected(files, Clip(tiny_clip), part.images)[0]
    np.testing.assert_allclose(rows[0], expected, atol=1e-4)
    assert len(rows) == 1 + 9 + 9


def test_lora_goes_on_from_pandagpts(
    train: Call, files: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    """Table 4's row: the language model learns, and is shown the picture alone."""
    switches = ("--lora", "--no-decoder", "--no-prompt-learner")
    assert train("anomalygpt", "out", *switches).code == 0
    config, modules = _adapter.read(tmp_path / "out")
    assert (config.tuned, list(modules)) == (True, ["image"])
    found = load_file(tmp_path / "out/lora/adapter_model.safetensors")
    for name, tensor in delta(files).items():
        if "lora" in name:
            own = found[name.removeprefix("llama_model.").replace(".default.", ".")]
            assert 0 < float((own - tensor).abs().max()) < 0.01
    said = json.loads((tmp_path / "out/lora/adapter_config.json").read_text())
    assert (said["r"], said["lora_alpha"]) == (RANK, ALPHA)
    detector = reading("anomalygpt", tmp_path / "out", files, tiny_clip)
    (inspection,) = detector.predict([make_part("wood", 50, size=(64, 64)).sample])
    assert inspection.decided_by == "language model"
    said = train("anomalygpt", "none", *switches[1:])
    assert said.code == 2
    assert "Nothing would learn" in said.err


def test_anomalygpts_own_checkpoint_is_a_start_too(
    train: Call, files: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    sizes: Any = {"features": PATCH, "text": JOINT, "joint": JOINT, "width": WIDTH}
    config = replace(PUBLISHED, encoder=f"clip:{tiny_clip}", layers=(2, 3), **sizes)
    convert(files / "anomalygpt.pt", files / "delta.pt", tmp_path / "own", config, BLOCKS)
    before = load_file(tmp_path / "own" / _adapter.TENSORS)
    for kind, kept in (("anomalygpt", ["decoder", "prompt_learner"]), ("iad-gpt", ["decoder"])):
        assert train(kind, kind, start=tmp_path / "own").code == 0
        after = load_file(tmp_path / kind / _adapter.TENSORS)
        for name in after.keys() & before.keys():
            if name.partition(".")[0] in kept:
                assert 0 < float((after[name] - before[name]).abs().max()) < 0.01
        linear = before["image.linear.weight"]
        ours = "image.experts.1.out.weight" if kind == "iad-gpt" else "image.linear.weight"
        torch.testing.assert_close(after[ours], linear, atol=0.01, rtol=0)
        lora = [tmp_path / n / "lora/adapter_model.safetensors" for n in (kind, "own")]
        assert lora[0].read_bytes() == lora[1].read_bytes()
    assert train("iad-gpt", "more", start=tmp_path / "iad-gpt").code == 0
    said = train("anomalygpt", "less", start=tmp_path / "iad-gpt")
    assert said.code == 2
    assert "cannot become AnomalyGPT's projection" in said.err


def test_each_picture_is_compared_with_the_texts_of_its_class(files: Path, tiny_clip: Path) -> None:
    clip: Any = Clip(tiny_clip)
    config = _adapter.AdapterConfig(
        *("iad-gpt", clip.name, (2, 3), PATCH, JOINT, False, "vicuna", WIDTH, 0.0, "published"),
        joint=JOINT,
        enhancer=True,
        apg=True,
    )
    pictures = Pictures(files / "parts")
    batch = PictureBatches(pictures, clip, config, size=2)(0)
    counts = set()
    for number, own in enumerate(batch.texts):
        name = pictures.example(number, bad=number % 2 == 1).sample.class_name
        both, known = contrast.winclip(name), generated.bank(name, "apg")
        assert known is not None
        normal = clip.encode_text(both.normal).mean(0)
        np.testing.assert_allclose(own[0], normal / np.linalg.norm(normal), atol=1e-5)
        np.testing.assert_allclose(own[2:], clip.encode_text(known.abnormal), atol=1e-5)
        assert batch.seen.texts is not None
        torch.testing.assert_close(batch.seen.texts[number], own[:2])
        counts.add(len(own))
    assert len(counts) == 2  # the classes differ in how many kinds they have
