"""SAM's masks on a tiny random checkpoint, against `transformers`' own steps and plain loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from blemish.errors import InputError, WeightsError
from blemish.regions import division
from blemish.regions.sam import Sam, _different
from blemish.synthesis.procedural import make_part

SIDE, POINTS, IOU, STABILITY = 192, 5, 0.9, 0.9


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random SAM of 64 px."""
    from transformers import SamConfig, SamModel

    torch.manual_seed(0)
    both = {"hidden_size": 16, "image_size": 64, "patch_size": 8}
    config = SamConfig(
        vision_config={
            **both,
            **{"num_hidden_layers": 2, "num_attention_heads": 2, "output_channels": 16},
            **{"window_size": 4, "global_attn_indexes": [1], "num_pos_feats": 8, "mlp_dim": 32},
        },
        prompt_encoder_config={**both, "mask_input_channels": 4},
        mask_decoder_config={
            **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2},
            **{"mlp_dim": 32, "iou_head_hidden_dim": 16},
        },
    )
    model = SamModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 1)  # far from its initial values, so that masks depend on points
    folder = tmp_path_factory.mktemp("sam")
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def segmenter(checkpoint: Path) -> Sam:
    return Sam(checkpoint, points=POINTS, batch_size=7, least_iou=IOU, least_stability=STABILITY)


def by_the_library(folder: Path, image: NDArray[np.uint8]) -> list[tuple[float, NDArray[np.bool_]]]:
    """Score and mask, through `transformers`' preprocessing, grid of points and filter."""
    from transformers import SamImageProcessorPil, SamModel

    model: Any = SamModel.from_pretrained(folder)
    processor: Any = SamImageProcessorPil(
        size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}
    )
    inputs = processor(image, return_tensors="pt")
    channels_first = np.ascontiguousarray(image.transpose(2, 0, 1))
    _, points, _, labels = processor.generate_crop_boxes(channels_first, 64, points_per_crop=POINTS)
    with torch.no_grad():
        found = model(
            pixel_values=inputs["pixel_values"],
            input_points=points[:, :, 0, None].float(),
            input_labels=labels[:, :, 0, None],
        )
    logits = processor.post_process_masks(
        found.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"], binarize=False
    )[0]
    kept = []
    for mask, score in zip(logits.flatten(0, 1), found.iou_scores[0].flatten(), strict=True):
        inner, outer = int((mask > 1).sum()), int((mask > -1).sum())
        if score > IOU and outer and inner / outer > STABILITY:
            kept.append((float(score), (mask > 0).numpy()))
    return kept


def test_candidates_are_those_of_the_library(
    checkpoint: Path, segmenter: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, NDArray[Any]] = {}

    def every(boxes: NDArray[np.float64], scores: NDArray[np.float32]) -> NDArray[np.int64]:
        seen.update(boxes=boxes, scores=scores)
        return np.arange(len(scores))

    monkeypatch.setattr("blemish.regions.sam._different", every)
    image = make_part("board", 1, size=(SIDE, SIDE)).sample.image
    found = segmenter.masks(image)
    scores, expected = zip(*by_the_library(checkpoint, image), strict=True)
    assert 3 * POINTS**2 > len(expected) > POINTS  # the thresholds have left some out
    assert found.shape == (len(expected), SIDE, SIDE)
    assert (found == np.stack(expected)).mean(axis=(1, 2)).min() > 0.999
    assert seen["scores"] == pytest.approx(np.array(scores), rel=1e-4, abs=1e-3)
    for (x0, y0, x1, y1), mask in zip(seen["boxes"], found, strict=True):
        ys, xs = np.nonzero(mask)
        assert (x0, y0, x1, y1) == (xs.min(), ys.min(), xs.max(), ys.max())


@given(st.integers(0, 999), st.integers(0, 25))
def test_of_masks_in_the_same_place_the_best_is_kept(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 6, (count, 2))
    boxes = np.hstack((corners, corners + rng.integers(5, 15, (count, 2)))).astype(float)
    scores = rng.integers(0, 9, count).astype(np.float32)
    kept: list[int] = []
    for i in sorted(range(count), key=lambda i: (-scores[i], i)):
        pixels = [
            {(x, y) for x in range(int(b[0]), int(b[2])) for y in range(int(b[1]), int(b[3]))}
            for b in (boxes[i], *boxes[kept])
        ]
        if all(len(pixels[0] & p) <= 0.7 * len(pixels[0] | p) for p in pixels[1:]):
            kept.append(i)
    assert _different(boxes, scores).tolist() == kept


def test_the_same_picture_gives_the_same_masks(segmenter: Sam) -> None:
    image = division.working(make_part("nut", 1).sample.image)
    first = segmenter.masks(image)
    assert len(first) > 0
    assert (first == segmenter.masks(image)).all()


def test_nothing_above_the_thresholds_is_no_region(checkpoint: Path) -> None:
    strict = Sam(checkpoint, points=2, least_iou=2.0)
    found = division.sam(make_part("nut", 1).sample.image, strict)
    assert (found.count, found.areas[0]) == (0, 768 * 768)


def test_the_fingerprint_changes_with_what_changes_the_masks(checkpoint: Path) -> None:
    a, b = Sam(checkpoint, points=2), Sam(checkpoint, points=3)
    assert a.fingerprint == Sam(checkpoint, points=2).fingerprint != b.fingerprint
    changed = Sam(checkpoint, points=2)
    with torch.no_grad():
        next(changed._model.parameters())[0] += 1
    assert a.fingerprint != changed.fingerprint


def test_what_cannot_be_used_is_refused(segmenter: Sam, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="square"):
        segmenter.masks(np.zeros((10, 20, 3), np.uint8))
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        Sam(tmp_path)
