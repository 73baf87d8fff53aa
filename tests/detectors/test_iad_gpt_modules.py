"""IAD-GPT's learnt parts against plain loops, and against the document's counts."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from math import erf, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from blemish.detectors import _adapter
from blemish.detectors._adapter import AdapterConfig
from blemish.detectors._anomalygpt_modules import (
    LEVELS,
    STEEP,
    CompactPromptLearner,
    Decoder,
    ImageProjection,
    PublishedPromptLearner,
    parameters,
)
from blemish.detectors._iad_gpt_modules import HEAD, MultiMaskFusion, TextGuidedEnhancer

Floats = NDArray[np.float64]
CONFIG = AdapterConfig(
    *("iad-gpt", "cells", (1, 2, 3), 13, 5, True, "parrot", 8, 0.1),
    enhancer=True,
    fusion=True,
    apg=True,
    abnormal=8,
)


def drawn(module: nn.Module) -> nn.Module:
    """The module with every number drawn anew, so that none is zero and none is one."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    return module.eval().requires_grad_(False)


def linear(layer: Any, row: Floats) -> Floats:
    return np.asarray(layer.weight.numpy() @ row + layer.bias.numpy())


def normed(row: Floats, norm: Any = None) -> Floats:
    centred = (row - row.mean()) / np.sqrt(row.var() + 1e-5)
    if norm is not None:
        centred = centred * norm.weight.numpy() + norm.bias.numpy()
    return np.asarray(centred)


def softmax(row: Floats) -> Floats:
    powers = np.exp(row - row.max())
    return np.asarray(powers / powers.sum())


gelu = np.vectorize(lambda v: v * (1 + erf(v / sqrt(2))) / 2)


def attended(block: Any, sequence: list[Floats]) -> list[Floats]:
    """Each row, and what each head takes from all rows."""
    seen = [normed(row, block.norm) for row in sequence]
    joined, bias = block.attend.in_proj_weight.numpy(), block.attend.in_proj_bias.numpy()
    inner = len(seen[0])
    query, key, value = ([joined[k : k + inner] @ row + bias[k : k + inner] for row in seen]
                         for k in (0, inner, 2 * inner))  # fmt: skip
    out = []
    for place, row in enumerate(sequence):
        taken = np.zeros(inner)
        for start in range(0, inner, HEAD):
            head = slice(start, start + HEAD)
            alike = np.array([query[place][head] @ other[head] for other in key]) / sqrt(HEAD)
            for share, other in zip(softmax(alike), value, strict=True):
                taken[head] += share * other[head]
        out.append(row + linear(block.attend.out_proj, taken))
    return out


def test_the_enhancer_is_equations_3_and_4() -> None:
    enhancer: Any = drawn(TextGuidedEnhancer((6, 7, 4), 5, 0.3))
    pictures, cells = torch.randn(2, 6), torch.randn(2, 9, 7)
    found = enhancer(pictures, cells)
    assert found.shape == (2, 5)
    for n in range(2):
        sequence = [linear(enhancer.picture, normed(pictures[n].numpy()))]
        sequence += [linear(enhancer.patch, normed(cell.numpy())) for cell in cells[n]]
        sequence = attended(enhancer.attention, sequence)
        texts = [t / np.linalg.norm(t) for t in enhancer.texts.numpy()]
        similar = [sequence[0] @ linear(enhancer.text, t) / sqrt(128) for t in texts]
        total = np.zeros(5)
        for weight, expert in zip(softmax(np.array(similar)), enhancer.experts, strict=True):
            image = attended(expert.attention, sequence)[0]
            norm, wide, _, narrow = expert.feed
            image = image + linear(narrow, gelu(linear(wide, normed(image, norm))))
            total += weight * linear(expert.out, image)
        expected = 0.3 * normed(total, enhancer.norm)
        np.testing.assert_allclose(found[n].numpy(), expected, atol=1e-4)


def test_texts_of_a_text_tower_choose_the_expert() -> None:
    """The expert of the text that is like the picture weighs most; each picture has its texts."""
    enhancer: Any = drawn(TextGuidedEnhancer((6, 7, 4), 5, 0.3, learned=False))
    pictures, cells, texts = torch.randn(3, 6), torch.randn(3, 9, 7), torch.randn(3, 2, 4)
    assert enhancer.texts is None
    together = enhancer(pictures, cells, texts)
    for n in range(3):
        alone = enhancer(pictures[n : n + 1], cells[n : n + 1], texts[n])
        torch.testing.assert_close(together[n : n + 1], alone)
    image = enhancer.text(nn.functional.normalize(texts[0, 1], dim=-1))[None] * 100
    weights = enhancer._weights(image, texts[0])
    assert weights[0, 1] > 0.99
    torch.testing.assert_close(weights.flip(1), enhancer._weights(image, texts[0].flip(0)))


def test_the_published_enhancer_can_begin_as_a_linear_layer() -> None:
    """Whatever cells and texts are, since an expert's branches begin at zero."""
    torch.manual_seed(0)
    for picture in (6, 128):
        enhancer = TextGuidedEnhancer((picture, 7, 4), 5, None, learned=False)
        weight, bias = torch.randn(5, picture), torch.randn(5)
        enhancer.begin(weight, bias)
        pictures, cells, texts = torch.randn(3, picture), torch.randn(3, 9, 7), torch.randn(3, 2, 4)
        expected = pictures.numpy() @ weight.numpy().T + bias.numpy()
        np.testing.assert_allclose(enhancer(pictures, cells, texts).detach(), expected, atol=1e-4)


def test_every_number_of_the_enhancer_learns_in_two_steps() -> None:
    """Branches that begin at zero must not stay there."""
    torch.manual_seed(0)
    enhancer = TextGuidedEnhancer((6, 7, 4), 5, 0.3)
    before = {name: p.detach().clone() for name, p in enhancer.named_parameters()}
    steps = torch.optim.SGD(enhancer.parameters(), lr=0.1)
    pictures, cells, wanted = torch.randn(4, 6), torch.randn(4, 9, 7), torch.randn(4, 5)
    for _ in range(2):
        steps.zero_grad()
        (enhancer(pictures, cells) - wanted).square().sum().backward()
        steps.step()
    still = {n for n, p in enhancer.named_parameters() if torch.equal(p, before[n])}
    assert not still


def convolved(layer: Any, image: Floats) -> Floats:
    """A convolution place by place; each channel by itself where it is depthwise."""
    weight, side, step = layer.weight.numpy(), layer.kernel_size[0], layer.stride[0]
    edge = layer.padding[0]
    padded = np.pad(image, ((0, 0), (edge, edge), (edge, edge)))
    size = (padded.shape[1] - side) // step + 1
    out = np.zeros((len(weight), size, size))
    for y, x in product(range(size), repeat=2):
        window = padded[:, y * step : y * step + side, x * step : x * step + side]
        if layer.groups > 1:
            out[:, y, x] = (weight[:, 0] * window).sum((1, 2))
        else:
            out[:, y, x] = weight.reshape(len(weight), -1) @ window.ravel()
    return np.asarray(out + layer.bias.numpy()[:, None, None])


def test_the_compact_fusion_is_equations_5_and_6() -> None:
    fusion: Any = drawn(MultiMaskFusion(7, 0.3, 2))
    masks = torch.rand(1, 2, 112, 112)
    found = fusion(masks)[0].numpy()
    rows: list[list[float]] = [[] for _ in range(9)]
    for block, mask in zip(fusion.blocks, masks[0].numpy(), strict=True):
        seen = mask[None] * 2 - 1
        assert any(isinstance(m, nn.Conv2d) and m.groups > 1 for m in block.meta_net)
        for layer in block.meta_net:
            seen = convolved(layer, seen) if isinstance(layer, nn.Conv2d) else gelu(seen)
        for cell, (row, column) in enumerate(product(range(3), repeat=2)):
            # A cell ends where the next whole pixel begins, so that none is left out.
            places = [(k * 14 // 3, -((k + 1) * -14 // 3)) for k in (row, column)]
            part = seen[:, slice(*places[0]), slice(*places[1])]
            places = [(k * 112 // 3, -((k + 1) * -112 // 3)) for k in (row, column)]
            highest = mask[slice(*places[0]), slice(*places[1])].max()
            levels = 1 / (1 + np.exp(-STEEP * (highest - np.array(LEVELS)))) - 0.5
            pooled = np.concatenate([part.mean((1, 2)), part.max((1, 2)), levels])
            hidden = gelu(linear(block.mix, pooled) + block.cells[cell].numpy())
            rows[cell] += linear(block.out, hidden).tolist()
    expected = [0.3 * normed(np.array(row), fusion.norm) for row in rows]
    np.testing.assert_allclose(found[4:], expected, atol=1e-4)
    np.testing.assert_array_equal(found[:4], fusion.base_prompts.numpy())


def test_a_cell_of_any_layer_changes_its_own_embedding_most() -> None:
    """At first, from 0.4 to 0.6 as much as AnomalyGPT's prompt learner does where all four do."""
    torch.manual_seed(0)
    learner = CompactPromptLearner(64, 0.1).requires_grad_(False)
    fusion = MultiMaskFusion(64, 0.1).requires_grad_(False)
    plain = torch.full((1, 4, 112, 112), 0.4)
    for layers in (slice(1, 2), slice(0, 4)):
        marked = plain.clone()
        marked[0, layers, 80:105, 5:30] = 0.6  # the cell at the bottom left, the seventh
        change = (fusion(marked) - fusion(plain)).norm(dim=-1)[0]
        assert change[:4].max() == 0  # the base embeddings
        assert int(change[4:].argmax()) == 6
    usual = (learner(marked[:, 0]) - learner(plain[:, 0])).norm(dim=-1)[0]
    assert change[10] > 0.5 * usual[10]
    assert fusion(plain)[0, 4:].std() == pytest.approx(0.1, rel=0.05)


def test_each_mask_of_the_published_fusion_has_its_own_channels() -> None:
    """Where W cannot be divided by the layers, the first have one more: 3, 3, 2 and 2 of 10."""
    torch.manual_seed(0)
    fusion = MultiMaskFusion(10, None).requires_grad_(False)
    masks = torch.rand(1, 4, fusion.side, fusion.side)
    before = fusion(masks)
    assert before.shape == (1, 18, 10)
    masks[0, 1] = 0
    torch.testing.assert_close(fusion(masks)[:, :, [0, 1, 2, *range(6, 10)]],
                               before[:, :, [0, 1, 2, *range(6, 10)]])  # fmt: skip
    assert (fusion(masks)[0, 9:, 3:6] != before[0, 9:, 3:6]).all()


def multiply_adds(module: nn.Module, *shape: int) -> float:
    with FlopCounterMode(display=False) as counter:
        module(torch.empty(shape, device="meta"))
    return float(counter.get_total_flops()) / 2


def test_the_published_counts_of_table_v() -> None:
    """Numbers as printed; multiply-adds a tenth of what is, as for the prompt learner."""
    with torch.device("meta"):
        learner, fusion = PublishedPromptLearner(4096), MultiMaskFusion(4096, None)
    assert parameters(learner) == pytest.approx(107.4e6, rel=0.1)
    assert multiply_adds(learner, 1, 224, 224) == pytest.approx(15.6e9 / 10, rel=0.01)
    assert parameters(fusion) == pytest.approx(10.2e6, rel=0.1)
    assert multiply_adds(fusion, 1, 4, 224, 224) == pytest.approx(49.3e9 / 10, rel=0.1)


def test_the_decoder_adds_the_shares_of_all_abnormal_texts_in_each_layer() -> None:
    torch.manual_seed(0)
    decoder = Decoder([3, 3], 4, learned=0).requires_grad_(False)
    tokens, texts = [torch.randn(2, 2, 3, 3) for _ in range(2)], torch.randn(4, 4)
    assert "texts" not in decoder.state_dict()
    found = decoder.layers(tokens, texts)
    assert found.shape == (2, 2, 2, 3)
    for n, layer, y, x in np.ndindex(2, 2, 2, 3):
        row = linear(decoder.fc[layer], tokens[layer][n, y, x].numpy())
        cosines = [t @ row / np.linalg.norm(t) / np.linalg.norm(row) for t in texts.numpy()]
        abnormal = softmax(100 * np.array(cosines))[1:].sum()
        assert found[n, layer, y, x] == pytest.approx(abnormal, abs=1e-4)
    torch.testing.assert_close(decoder(tokens, texts), found.mean(1))


def test_the_decoder_gives_each_layer_on_the_finest_grid() -> None:
    torch.manual_seed(0)
    decoder = Decoder([3, 3], 4, learned=3).requires_grad_(False)
    fine, coarse = torch.randn(1, 4, 6, 3), torch.randn(1, 1, 1, 3)
    found = decoder.layers([coarse, fine])
    assert found.shape == (1, 2, 4, 6)
    everywhere = decoder.layers([coarse.expand(1, 4, 6, 3), fine])
    torch.testing.assert_close(found, everywhere)


@pytest.mark.parametrize("enhancer", [False, True])
@pytest.mark.parametrize("fusion", [False, True])
def test_an_adapter_has_the_parts_that_its_switches_say(enhancer: bool, fusion: bool) -> None:
    made = _adapter.modules(replace(CONFIG, enhancer=enhancer, fusion=fusion))
    assert isinstance(made["image"], TextGuidedEnhancer if enhancer else ImageProjection)
    learner = MultiMaskFusion if fusion else CompactPromptLearner
    assert isinstance(made["prompt_learner"], learner)
    assert made["decoder"].get_parameter("texts").shape == (9, 5)
    fewer = _adapter.modules(replace(CONFIG, left_out=("decoder", "prompt_learner")))
    assert set(fewer) == {"image"}


def test_the_published_sizes_go_with_an_encoder_that_has_a_text_tower() -> None:
    published = replace(
        CONFIG, prompt_learner="published", learned_texts=False, joint=6, layers=(1, 2, 3, 4)
    )
    made: Any = _adapter.modules(published)
    assert (made["decoder"].texts, made["image"].texts) == (None, None)
    assert {expert.out.in_features for expert in made["image"].experts} == {6}
    assert (made["prompt_learner"].side, len(made["prompt_learner"].base_prompts)) == (224, 9)


def test_an_adapter_comes_back_and_one_from_before_is_still_read(tmp_path: Path) -> None:
    made = _adapter.modules(CONFIG)
    _adapter.write(tmp_path, CONFIG, made)
    config, back = _adapter.read(tmp_path)
    assert config == CONFIG
    shown = torch.rand(2, 3, 112, 112)
    torch.testing.assert_close(back["prompt_learner"](shown), made["prompt_learner"](shown))

    old = replace(CONFIG, enhancer=False, fusion=False, apg=False, abnormal=1)
    _adapter.write(tmp_path, old, _adapter.modules(old))
    said = json.loads((tmp_path / _adapter.CONFIG).read_text())
    for name in ("enhancer", "fusion", "apg", "abnormal"):
        del said[name]
    (tmp_path / _adapter.CONFIG).write_text(json.dumps(said))
    assert _adapter.read(tmp_path)[0] == old
