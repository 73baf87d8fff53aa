"""DINOv2 in ONNX Runtime against `transformers.Dinov2Model` fed the publisher's way."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

from blemish import weights
from blemish.encoders._batches import grid_of
from blemish.encoders.dinov2 import Dinov2, torch_model
from blemish.errors import OptionError

Weights = dict[str, NDArray[np.float32]]


def tiny(width: int = 128, depth: int = 3, side: int = 5) -> Weights:
    """Random weights of a small model of the same architecture."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=width // 64,
        image_size=14 * side,
        patch_size=14,
    )
    state = Dinov2Model(config).state_dict()
    # Published weights are not all ones and zeros where a fresh model is.
    return {k: (v + 0.02 * torch.randn_like(v)).numpy() for k, v in state.items()}


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    small = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    return np.asarray(Pillow.fromarray(small).resize((width, height), Pillow.Resampling.BICUBIC))


def reference(
    table: Weights, image: NDArray[np.uint8], rows: int, columns: int, layer: int
) -> NDArray[np.float32]:
    """Tokens of one layer by transformers: the publisher's resize and normalisation by hand."""
    sized = Pillow.fromarray(image).resize((14 * columns, 14 * rows), Pillow.Resampling.BICUBIC)
    pixels = (np.asarray(sized) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    depth = 1 + max(int(k.split(".")[2]) for k in table if k.startswith("encoder.layer."))
    model = torch_model(table, depth)
    with torch.inference_mode():
        batch = torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None]
        states = model(batch, output_hidden_states=True).hidden_states
        return np.asarray(model.layernorm(states[layer])[0].numpy(), np.float32)


@pytest.mark.parametrize(("height", "width"), [(70, 70), (100, 60), (60, 200)])
def test_every_layer_equals_transformers(height: int, width: int) -> None:
    table = tiny()
    image = picture(height, width)
    encoder = Dinov2("tiny", weights=table)
    rows, columns = grid_of(image, 98, 14)
    (found,) = encoder.encode([image], layers=[1, 3], size=98)
    for layer in (1, 3):
        want = reference(table, image, rows, columns, layer)
        assert found.patches[layer].shape == (rows, columns, 128)
        np.testing.assert_allclose(
            found.patches[layer].reshape(-1, 128), want[1:], atol=2e-4, rtol=1e-4
        )
    np.testing.assert_allclose(found.class_token, want[0], atol=2e-4, rtol=1e-4)


def test_the_embedded_weights_equal_transformers() -> None:
    table = weights.tensors("dinov2-small")
    image = picture(120, 160)
    encoder = Dinov2()
    rows, columns = grid_of(image, 126, 14)
    (found,) = encoder.encode([image], layers=[9], size=126)
    want = reference(table, image, rows, columns, 9)
    np.testing.assert_allclose(found.patches[9].reshape(-1, 384), want[1:], atol=2e-3, rtol=1e-3)


def test_8_bit_tokens_point_the_same_way() -> None:
    image = picture(120, 160)
    plain = Dinov2().encode([image], layers=[7, 9], size=126)[0]
    short = Dinov2(dtype="int8").encode([image], layers=[7, 9], size=126)[0]
    for layer in (7, 9):
        a, b = plain.patches[layer].reshape(-1, 384), short.patches[layer].reshape(-1, 384)
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert cosine.min() > 0.98
        assert cosine.mean() > 0.995


def test_torch_and_onnxruntime_agree() -> None:
    table = tiny()
    encoder = Dinov2("tiny", weights=table)
    from blemish.encoders.dinov2 import _patches

    pixels = _patches(picture(100, 60), (7, 5))[None]
    ours = encoder._onnx((2, 3))(pixels, (7, 5))
    torchs = encoder._torch((2, 3))(pixels, (7, 5))
    for layer in (2, 3):
        np.testing.assert_allclose(ours[layer], torchs[layer], atol=2e-4, rtol=1e-4)


def test_order_and_batches_do_not_matter() -> None:
    encoder = Dinov2("tiny", weights=tiny(), batch_size=2)
    images = [picture(h, w, i) for i, (h, w) in enumerate([(70, 70), (60, 90), (140, 140)] * 2)]
    together = encoder.encode(images, layers=[2], size=70)
    for image, found in zip(images, together, strict=True):
        (alone,) = encoder.encode([image], layers=[2], size=70)
        np.testing.assert_allclose(found.patches[2], alone.patches[2], atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(300, 300), (100, 400), (37, 911), (1, 5000)])
def test_the_grid_keeps_area_and_aspect(height: int, width: int) -> None:
    rows, columns = grid_of(np.zeros((height, width, 3), np.uint8), 336, 14)
    assert rows * columns <= 1.15 * 24**2
    if max(height / width, width / height) < 20:
        assert rows * columns >= 0.85 * 24**2
        assert columns / rows == pytest.approx(width / height, rel=0.15)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(OptionError, match="no dtype 'float16' on cpu"):
        Dinov2("tiny", weights=tiny(), dtype="float16")
    encoder = Dinov2("tiny", weights=tiny())
    with pytest.raises(OptionError, match="1 to 3"):
        encoder.encode([picture(70, 70)], layers=[4], size=70)
    with pytest.raises(OptionError, match="at least 14"):
        encoder.encode([picture(70, 70)], layers=[1], size=8)
