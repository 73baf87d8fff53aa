"""AnomalyGPT over other encoders and language models, and what its switches change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from blemish.detectors import _adapter, _answer, _language_reader
from blemish.detectors._anomalygpt_import import PUBLISHED, write_lora
from blemish.detectors.anomalygpt import AnomalyGPT, AnomalyGPTOptions
from blemish.encoders.clip import Clip
from blemish.errors import MissingExtraError, OptionError, WeightsError
from blemish.llms.causal import Causal
from blemish.prompts import contrast
from blemish.synthesis.procedural import make_part
from blemish.types import Sample

WIDTH = 32
Options: Any = AnomalyGPTOptions
READER: Any = _language_reader
SAID: Any = _answer


@pytest.fixture(scope="module")
def made(module: Callable[[Path], ModuleType]) -> ModuleType:
    return module(Path(__file__).parents[1] / "tiny_causal.py")


@pytest.fixture(scope="module")
def models(
    made: ModuleType, module: Callable[[Path], ModuleType], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    parts = module(Path(__file__).parents[1] / "tiny_vlm.py")
    folder = tmp_path_factory.mktemp("models")
    return {kind: made.write(folder / kind, parts, kind) for kind in ("llama", "qwen")}


@pytest.fixture(scope="module")
def clip(clip_writer: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    folder = tmp_path_factory.mktemp("clip")
    clip_writer.write_checkpoint(folder, "ViT-H-14", context=77)
    return Clip(folder)


@pytest.fixture(scope="module")
def published(clip: Clip, made: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random adapter of the published form, with a LoRA."""
    folder = tmp_path_factory.mktemp("adapters") / "published"
    sizes: Any = {"features": 160, "text": 40, "joint": 40, "width": WIDTH}
    config = replace(PUBLISHED, encoder=clip.name, layers=(1, 2), **sizes)
    torch.manual_seed(0)
    _adapter.write(folder, config, _adapter.modules(config))
    layers = [f"model.layers.{k}.self_attn.{part}_proj" for k in range(2) for part in "qkvo"]
    write_lora(folder / _adapter.LORA, made.lora(layers, WIDTH), "llama")
    return folder


@pytest.fixture(scope="module")
def compact(stand_ins: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random adapter of the compact form, for a model of the kind "qwen"."""
    folder = tmp_path_factory.mktemp("adapters") / "compact"
    config = _adapter.AdapterConfig(
        *("anomalygpt", "cells", (1, 2), 13, 5, True, "qwen", WIDTH, 0.3)
    )
    torch.manual_seed(0)
    _adapter.write(folder, config, _adapter.modules(config))
    return folder


def parts(*seeds: int, defect: str | None = None) -> list[Sample]:
    found = [make_part("woven", seed, defect=defect, size=(112, 112)).sample for seed in seeds]
    return [replace(sample, class_name="carpet") for sample in found]


def over_clip(clip: Clip, published: Path, models: dict[str, Path], **options: Any) -> AnomalyGPT:
    own = Options(adapter=str(published), **options)
    model = Causal(models["llama"], **own.causal())
    return AnomalyGPT(encoder=clip, language_model=model, options=own)


def reading(stand_ins: ModuleType, folder: Path, **options: Any) -> AnomalyGPT:
    """On stand-ins that answer rightly what the map shows."""
    adapter = stand_ins.reading_adapter(folder, "cells")
    own = Options(adapter=str(adapter), **options)
    return AnomalyGPT(encoder=stand_ins.Cells(), language_model=stand_ins.Reader(), options=own)


class Shown:
    """What is shown to a language model from here on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.maps: list[Any] = []
        self.rows: list[int] = []
        real, arranged = READER.embeddings, SAID.arranged

        def embeddings(learnt: Any, model: Any, pictures: Any, maps: Sequence[Any]) -> Any:
            self.maps = list(maps)
            return real(learnt, model, pictures, maps)

        def turn(model: Any, rows: torch.Tensor, slots: Any) -> Any:
            self.rows.append(len(rows))
            return arranged(model, rows, slots)

        monkeypatch.setattr(_language_reader, "embeddings", embeddings)
        monkeypatch.setattr(_answer, "arranged", turn)


@pytest.mark.parametrize("shots", [0, 2])
def test_the_published_form_runs_over_clip_and_llama(
    clip: Clip, published: Path, models: dict[str, Path], shots: int
) -> None:
    detector = over_clip(clip, published, models).fit(parts(*range(shots)))
    for sample, found in zip(parts(8, 9), detector.predict(parts(8, 9)), strict=True):
        assert found.decided_by == "language model"
        assert found.evidence["answer"]
        assert found.score is not None
        assert 0 <= found.score <= 1
        assert found.maps[0].shape == sample.image.shape[:2]


@pytest.mark.parametrize("shots", [0, 1])
def test_the_compact_form_runs_over_qwen(
    stand_ins: ModuleType, compact: Path, models: dict[str, Path], shots: int
) -> None:
    own = Options(adapter=str(compact))
    model = Causal(models["qwen"], **own.causal())
    detector = AnomalyGPT(encoder=stand_ins.Cells(), language_model=model, options=own)
    (found,) = detector.fit(parts(*range(shots))).predict(parts(9))
    assert found.decided_by == "language model"
    assert found.evidence["answer"]


def test_the_decoder_compares_with_the_texts_of_the_class(
    clip: Clip, published: Path, models: dict[str, Path]
) -> None:
    """Equation 1 in numpy, on what the encoder gives."""
    detector = over_clip(clip, published, models, sigma=0)
    (sample,) = parts(9)
    (seen,) = clip.encode([sample.image], layers=(1, 2), size=clip.default_size)
    both = contrast.winclip("carpet")
    texts = np.stack([clip.encode_text(some).mean(0) for some in (both.normal, both.abnormal)])
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    decoder: Any = _adapter.read(published)[1]["decoder"]
    layers = []
    for fc, k in zip(decoder.fc, (1, 2), strict=True):
        tokens = seen.patches[k] @ fc.weight.numpy().T + fc.bias.numpy()
        cosines = tokens @ texts.T / np.linalg.norm(tokens, axis=-1, keepdims=True)
        layers.append(1 / (1 + np.exp(100 * (cosines[..., 0] - cosines[..., 1]))))
    cells = np.mean(layers, 0).astype(np.float32)
    want = cv2.resize(cells, (14 * cells.shape[1], 14 * cells.shape[0]))
    want = cv2.resize(want, sample.image.shape[1::-1])
    (found,) = detector.predict([sample])
    np.testing.assert_allclose(found.maps[0], want, atol=1e-4)
    assert detector.predict([replace(sample, class_name="")])[0].raw_score != found.raw_score


def test_the_published_picture_is_a_linear_layer_of_the_joint_feature(
    clip: Clip, published: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    real = SAID.arranged

    def turn(model: Any, rows: torch.Tensor, slots: Any) -> Any:
        seen.append(rows[0].numpy())
        return real(model, rows, slots)

    monkeypatch.setattr(_answer, "arranged", turn)
    (sample,) = parts(9)
    over_clip(clip, published, models).predict([sample])
    state = _adapter.read(published)[1]["image"].state_dict()
    (joint,) = clip.embed([sample.image])
    assert np.linalg.norm(joint) == pytest.approx(1, abs=1e-5)
    want = state["linear.weight"].numpy() @ joint + state["linear.bias"].numpy()
    np.testing.assert_allclose(seen[0], want, atol=1e-5)


def test_few_shot_maps_are_shown_as_each_prompt_learner_knows_them(
    clip: Clip,
    published: Path,
    models: dict[str, Path],
    stand_ins: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = Shown(monkeypatch)
    (found,) = over_clip(clip, published, models).fit(parts(0, 1)).predict(parts(9))
    np.testing.assert_array_equal(shown.maps[0], found.maps[0])
    detector = reading(stand_ins, tmp_path).fit(parts(0, 1))
    (found,) = detector.predict(parts(9))
    assert detector.calibration is not None
    np.testing.assert_array_equal(shown.maps[0], detector.calibration.score(found.maps[0]))


@pytest.mark.parametrize("shots", [0, 3])
def test_the_maps_score_is_its_maximum(stand_ins: ModuleType, tmp_path: Path, shots: int) -> None:
    detector = reading(stand_ins, tmp_path).fit(parts(*range(shots)))
    for found in detector.predict(parts(9) + parts(9, defect="hole")):
        assert found.raw_score == pytest.approx(float(found.maps[0].max()))
    mean = reading(stand_ins, tmp_path, top=0.1).fit(parts(*range(shots)))
    both: Any = [one.predict(parts(9))[0].raw_score for one in (mean, detector)]
    assert both[0] < both[1]


def test_without_a_decoder_the_language_model_decides_alone(
    clip: Clip, published: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Shown(monkeypatch)
    detector = over_clip(clip, published, models, decoder=False)
    assert detector.fit(parts(0, 1)) is detector
    (found,) = detector.predict(parts(9))
    assert (found.maps, found.regions, shown.maps) == ((), (), [])
    assert shown.rows == [1 + 9]  # the picture and the base embeddings
    assert found.score == found.raw_score
    said = Causal.generate

    def yes(*given: Any, **how: Any) -> Any:
        return [replace(one, text="Yes, at the top of the image.") for one in said(*given, **how)]

    monkeypatch.setattr(Causal, "generate", yes)
    (found,) = detector.predict(parts(9))
    assert (found.verdict, found.explanation) == ("anomalous", "Yes, at the top of the image.")
    with pytest.raises(OptionError, match="Neither decoder nor language model came"):
        AnomalyGPT(encoder=clip, options=detector.options)


@pytest.mark.parametrize(
    ("options", "rows"), [({}, 19), ({"prompt_learner": False}, 1), ({"decoder": False}, 10)]
)
def test_what_the_language_model_is_shown(
    clip: Clip,
    published: Path,
    models: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, bool],
    rows: int,
) -> None:
    shown = Shown(monkeypatch)
    over_clip(clip, published, models, **options).predict(parts(9))
    assert shown.rows == [rows]


def test_changes_to_the_language_model_can_be_left_out(
    clip: Clip, published: Path, models: dict[str, Path]
) -> None:
    (with_lora,) = over_clip(clip, published, models).predict(parts(9))
    (without,) = over_clip(clip, published, models, lora=False).predict(parts(9))
    assert with_lora.raw_score == without.raw_score
    assert with_lora.score != without.score
    plain, options = Causal(models["llama"]), Options(adapter=str(published))
    with pytest.raises(WeightsError, match=r"llama has to be built with lora='.*/lora'"):
        AnomalyGPT(encoder=clip, language_model=plain, options=options)
    changed = Causal(models["llama"], **options.causal())
    bare = options.model_copy(update={"lora": False})
    with pytest.raises(WeightsError, match="has to be built without lora"):
        AnomalyGPT(encoder=clip, language_model=changed, options=bare)


def test_four_bits_reach_the_language_model(published: Path, models: dict[str, Path]) -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'blemish\[four-bit\]'"):
        Causal(models["llama"], **Options(adapter=str(published), four_bit=True).causal())


def test_a_layer_whose_class_token_the_adapter_does_not_know_is_refused(
    stand_ins: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=r"knows that of layer 2\. Give layers up to 2"):
        reading(stand_ins, tmp_path, layers=(1, 3))


def test_an_adapter_is_read_once_while_it_stays_as_it_is(
    stand_ins: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = reading(stand_ins, tmp_path)
    monkeypatch.setattr(_adapter, "read", lambda folder: pytest.fail("it was read again"))
    assert detector.fit(parts(0)).fit(parts(1)).adapter is detector.adapter
    monkeypatch.undo()
    config, made = _adapter.read(tmp_path)
    with torch.no_grad():
        next(made["decoder"].parameters()).add_(1)
    _adapter.write(tmp_path, config, made)
    options = Options(adapter=str(tmp_path))
    again = AnomalyGPT(
        encoder=stand_ins.Cells(), language_model=stand_ins.Reader(), options=options
    )
    assert again.fingerprint != detector.fingerprint
