"""IAD-GPT over stand-ins: its texts, and what its language model is shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from blemish.detectors import _adapter, _language_reader
from blemish.detectors._anomalygpt_turn import cells
from blemish.detectors._maps import working_map
from blemish.detectors.anomalygpt import AnomalyGPT, AnomalyGPTOptions
from blemish.detectors.iad_gpt import IADGPT, IADGPTOptions
from blemish.errors import OptionError
from blemish.prompts import contrast, generated
from blemish.synthesis.procedural import make_part
from blemish.types import Sample

Options: Any = IADGPTOptions
READER: Any = _language_reader
Detector: Any = IADGPT


def part(seed: int, defect: str | None = None, name: str = "carpet") -> Sample:
    sample = make_part("brushed", seed, defect=defect, size=(112, 112)).sample
    return replace(sample, class_name=name)


GOOD = [part(seed) for seed in range(8)]


def written(folder: Path, kind: str = "iad-gpt", **config: Any) -> Path:
    """A random adapter for an encoder of 13 values a patch, whose joint space has 8."""
    texts: Any = {"encoder": "captions", "text": 8, "learned_texts": False, "joint": 8}
    own: Any = {"enhancer": True, "fusion": True, "apg": True} if kind == "iad-gpt" else {}
    base = _adapter.AdapterConfig(kind, "captions", (1, 2), 13, 8, False, "reader", 4, 1.0)
    made = replace(base, **(texts | own | config))
    torch.manual_seed(1)
    _adapter.write(folder, made, _adapter.modules(made))
    return folder


class Told:
    """A language model that says what it is told, and keeps what it was shown."""

    name, fingerprint, device, width, window = "reader", "told", "cpu", 4, 4096

    def __init__(self, says: str = "No, there are no anomalies in the image.") -> None:
        self.says, self.prompts = says, list[NDArray[np.float32]]()

    def embed(self, text: str) -> torch.Tensor:
        return torch.zeros(0, self.width)

    def generate(self, prompts: Any, **_: Any) -> list[SimpleNamespace]:
        self.prompts += [rows.numpy() for rows in prompts]
        first = {"Yes": 0.9, "No": 0.1} if self.says.startswith("Yes") else {"Yes": 0.1, "No": 0.9}
        return [SimpleNamespace(text=self.says, ended="stop", first=first) for _ in prompts]


def test_the_map_adds_what_each_abnormal_text_has(captions: Any, tmp_path: Path) -> None:
    """Equation 1 with T_win and T_apg, one patch and one text at a time."""
    folder = written(tmp_path)
    detector = Detector(encoder=captions, options=Options(adapter=str(folder), sigma=0))
    sample = part(9, "stain")
    known = generated.bank("carpet", "apg")
    assert known is not None
    texts = [
        *(captions.encode_text(some).mean(0) for some in _sides("carpet")),
        *captions.encode_text(known.abnormal),
    ]
    decoder: Any = _adapter.read(folder)[1]["decoder"]
    (seen,) = captions.encode([sample.image], layers=(1, 2), size=112)
    layers = []
    for fc, k in zip(decoder.fc, (1, 2), strict=True):
        grid = seen.patches[k]
        shares = np.zeros(grid.shape[:2], np.float32)
        for y, x in np.ndindex(*shares.shape):
            token = fc(torch.from_numpy(grid[y, x])).numpy()
            powers = [math.exp(100 * _cosine(token, text)) for text in texts]
            shares[y, x] = sum(powers[1:]) / sum(powers)
        layers.append(shares)
    (found,) = detector.predict([sample])
    np.testing.assert_allclose(found.maps[0], _upsampled(layers), atol=2e-3)
    bare = Detector(encoder=captions, options=Options(adapter=str(folder)))
    assert [len(bare._texts(name)) for name in ("gizmo", "carpet")] == [2, len(texts)]
    plain = Detector(
        encoder=captions, options=Options(adapter=str(written(tmp_path / "a", apg=False)))
    )
    assert plain._texts("carpet").shape == (2, 8)


def _sides(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    both = contrast.winclip(name)
    return both.normal, both.abnormal


def _cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def _upsampled(layers: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The mean over layers at the first one's grid, then 14 pixels a patch."""

    def enlarge(grid: NDArray[Any], times: int) -> NDArray[Any]:
        def line(values: NDArray[Any]) -> NDArray[Any]:
            places = (np.arange(len(values) * times) + 0.5) / times - 0.5
            return np.asarray(np.interp(places, np.arange(len(values)), values))

        rows = np.stack([line(row) for row in grid])
        return np.stack([line(column) for column in rows.T], 1)

    mean = (layers[0] + enlarge(layers[1], 2)) / 2
    return np.asarray(enlarge(mean, 14), np.float32)


def test_the_enhancer_is_shown_cells_and_the_texts_of_each_part(
    captions: Any, tmp_path: Path
) -> None:
    """Parts of two classes together get what each gets alone; the texts count."""
    folder = written(tmp_path)
    shown = []
    samples = [part(8), part(8, name="screw")]
    for some in (samples, samples[:1], samples[1:]):
        model: Any = Told()
        options = Options(adapter=str(folder), prompt_learner=False)
        Detector(encoder=captions, language_model=model, options=options).predict(some)
        shown.append(model.prompts)
    together, first, second = shown
    np.testing.assert_allclose(together[0], first[0], atol=1e-5)
    np.testing.assert_allclose(together[1], second[0], atol=1e-5)
    assert np.abs(first[0] - second[0]).max() > 1e-4
    assert first[0].shape == (1, 4)


def test_a_cell_is_the_mean_of_its_patches() -> None:
    patches = torch.rand(2, 6, 9, 5)
    found = cells(patches)
    for row in range(3):
        for column in range(3):
            inside = patches[:, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3]
            torch.testing.assert_close(found[:, 3 * row + column], inside.mean((1, 2)))
    assert cells(torch.rand(1, 2, 2, 5)).shape == (1, 9, 5)  # fewer patches than cells


@pytest.mark.parametrize("shots", [0, 8])
def test_the_fusion_is_shown_each_layers_mask(
    shots: int,
    cells: Any,
    reading_iad_gpt: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tokens_of: Callable[..., NDArray[np.float64]],
) -> None:
    """Of several views, those of the oddest, each through the calibration of their mean."""
    shown: list[Any] = []
    real = READER.embeddings

    def embeddings(learnt: Any, model: Any, seen: Any, maps: Any) -> Any:
        shown.extend(maps)
        return real(learnt, model, seen, maps)

    monkeypatch.setattr(_language_reader, "embeddings", embeddings)
    detector = reading_iad_gpt(cells, sigma=0, augment="none", layers=(1, 2)).fit(GOOD[:shots])
    odd = part(9, "stain")
    (found,) = detector.predict([Sample([part(11).image, odd.image], "carpet")])
    views = [m.max() for m in found.maps]
    ((first, second),) = shown
    if not shots:
        (seen,) = cells.encode(
            [(part(11), odd)[int(np.argmax(views))].image], layers=(1, 2), size=112
        )
        tokens = [torch.from_numpy(seen.patches[k])[None] for k in (1, 2)]
        raw = detector._learnt["decoder"].layers(tokens)[0].numpy()
        np.testing.assert_array_equal(first, working_map([raw[0]], 0))
        np.testing.assert_array_equal(second, working_map([raw[1]], 0))
        return
    assert views[1] > views[0]
    for mask, layer in ((first, 1), (second, 2)):
        bank = np.concatenate([tokens_of(g.image, layer).reshape(-1, 13) for g in GOOD])
        away = 1 - (tokens_of(odd.image, layer) @ bank.T).max(-1)
        raw = working_map([np.asarray(away, np.float32)], 0)
        np.testing.assert_allclose(mask, detector.calibration.score(raw), atol=2e-3)


def test_the_memory_bank_takes_the_decoders_layers(
    cells: Any, stand_ins: ModuleType, reading_iad_gpt: Callable[..., Any]
) -> None:
    class Deeper(stand_ins.Cells):  # type: ignore[misc,name-defined]
        default_layers = (2,)

    assert reading_iad_gpt(Deeper())._layers == (1, 2)
    with pytest.raises(
        OptionError, match=r"takes 1 layers, \(1,\), and the adapter fuses the maps"
    ):
        reading_iad_gpt(cells, layers=(1,))


@pytest.mark.parametrize("shots", [0, 4])
@pytest.mark.parametrize("parts", [{"enhancer"}, {"fusion"}, {"apg"}, set()])
def test_every_ablation_is_an_adapter(
    parts: set[str], shots: int, captions: Any, tmp_path: Path
) -> None:
    config: Any = {name: name in parts for name in ("enhancer", "fusion", "apg")}
    options = Options(adapter=str(written(tmp_path, **config)))
    model: Any = Told("Yes, there is an anomaly in the image, at the top of the image.")
    detector = Detector(encoder=captions, language_model=model, options=options)
    (found,) = detector.fit(GOOD[:shots]).predict([part(9, "stain")])
    assert found.evidence["answer"] == model.says
    assert [len(rows) for rows in model.prompts] == [1 + 4 + 9]


def test_the_enhancer_in_anomalygpt(captions: Any, tmp_path: Path) -> None:
    """Table III, and a map left out."""
    folder = str(written(tmp_path, "anomalygpt", enhancer=True))
    for decoder, rows in ((True, 1 + 4 + 9), (False, 1 + 4)):
        model: Any = Told()
        options: Any = AnomalyGPTOptions
        own = options(adapter=folder, decoder=decoder)
        AnomalyGPT(encoder=captions, language_model=model, options=own).predict(GOOD[:1])
        assert [len(one) for one in model.prompts] == [rows]
