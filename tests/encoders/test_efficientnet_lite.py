"""EfficientNet-Lite0 against the same network with its batch norms apart."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as f

from blemish.encoders.efficientnet_lite import EfficientNetLite
from blemish.errors import OptionError

Weights = dict[str, NDArray[np.float32]]
# kernel, input and output channels, stride of the first block, number of blocks, expansion:
# the published table of EfficientNet-B0, stages 1 to 7
STAGES = (
    (3, 32, 16, 1, 1, 1),
    (3, 16, 24, 2, 2, 6),
    (5, 24, 40, 2, 2, 6),
    (3, 40, 80, 2, 3, 6),
    (5, 80, 112, 1, 3, 6),
    (5, 112, 192, 2, 4, 6),
    (3, 192, 320, 1, 1, 6),
)


def blocks() -> list[tuple[int, int, int, int, int]]:
    """Kernel, input, output, stride and expansion of each of the sixteen blocks."""
    found = []
    for kernel, first, out, stride, count, expansion in STAGES:
        for i in range(count):
            found.append(
                (kernel, first if i == 0 else out, out, stride if i == 0 else 1, expansion)
            )
    return found


def random_weights() -> Weights:
    random = np.random.default_rng(0)
    table: Weights = {}

    def conv(name: str, out: int, given: int, kernel: int, norm: str) -> None:
        fan = given * kernel * kernel
        table[f"{name}.weight"] = random.normal(0, fan**-0.5, (out, given, kernel, kernel)).astype(
            np.float32
        )
        for part, low, high in (
            ("weight", 0.5, 1.5),
            ("bias", -0.5, 0.5),
            ("running_mean", -0.5, 0.5),
            ("running_var", 0.5, 1.5),
        ):
            table[f"{norm}.{part}"] = random.uniform(low, high, out).astype(np.float32)

    conv("_conv_stem", 32, 3, 3, "_bn0")
    for i, (kernel, given, out, _, expansion) in enumerate(blocks()):
        wide = given * expansion
        p = f"_blocks.{i}."
        if expansion > 1:
            conv(p + "_expand_conv", wide, given, 1, p + "_bn0")
        conv(p + "_depthwise_conv", wide, 1, kernel, p + "_bn1")
        conv(p + "_project_conv", out, wide, 1, p + "_bn2")
    return table


def plain_forward(table: Weights, image: NDArray[np.uint8]) -> dict[int, NDArray[np.float32]]:
    """The published network, convolution and batch norm one after the other."""
    t = {k: torch.tensor(v) for k, v in table.items()}

    def step(x: torch.Tensor, conv: str, norm: str, stride: int, act: bool) -> torch.Tensor:
        kernel = t[f"{conv}.weight"]
        k = kernel.shape[-1]
        height, width = x.shape[2:]
        down = max((-(-height // stride) - 1) * stride + k - height, 0)
        across = max((-(-width // stride) - 1) * stride + k - width, 0)
        x = f.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
        x = f.conv2d(x, kernel, stride=stride, groups=x.shape[1] // kernel.shape[1])
        x = f.batch_norm(
            x, t[f"{norm}.running_mean"], t[f"{norm}.running_var"], t[f"{norm}.weight"],
            t[f"{norm}.bias"], eps=1e-3,
        )  # fmt: skip
        return f.relu6(x) if act else x

    x = (torch.tensor(image).permute(2, 0, 1)[None].float() - 127) / 128
    x = step(x, "_conv_stem", "_bn0", 2, True)
    ends, kept = np.cumsum([s[4] for s in STAGES]), {}
    for i, (_, given, out, stride, expansion) in enumerate(blocks()):
        p = f"_blocks.{i}."
        y = step(x, p + "_expand_conv", p + "_bn0", 1, True) if expansion > 1 else x
        y = step(y, p + "_depthwise_conv", p + "_bn1", stride, True)
        y = step(y, p + "_project_conv", p + "_bn2", 1, False)
        x = x + y if stride == 1 and given == out else y
        if i + 1 in ends:
            kept[int(np.searchsorted(ends, i + 1)) + 1] = x[0].permute(1, 2, 0).numpy()
    return kept


def test_every_layer_equals_the_network_with_its_norms_apart() -> None:
    table = random_weights()
    image = np.random.default_rng(1).integers(0, 255, (64, 96, 3), np.uint8)
    size = int((64 * 96) ** 0.5) + 1
    (found,) = EfficientNetLite("random", weights=table).encode(
        [image], layers=range(1, 8), size=size
    )
    for layer, want in plain_forward(table, image).items():
        assert found.patches[layer].shape == want.shape
        np.testing.assert_allclose(found.patches[layer], want, atol=1e-3, rtol=1e-3)
    np.testing.assert_allclose(found.class_token, want.mean((0, 1)), atol=1e-3)


def test_the_embedded_weights_see_a_defect() -> None:
    image = np.full((96, 96, 3), 120, np.uint8)
    spoilt = image.copy()
    spoilt[40:56, 40:56] = 20
    encoder = EfficientNetLite()
    good, bad = encoder.encode([image, spoilt], layers=[3], size=96)
    away = np.linalg.norm(good.patches[3] - bad.patches[3], axis=-1)
    y, x = np.unravel_index(int(away.argmax()), away.shape)
    assert 4 <= y <= 7
    assert 4 <= x <= 7


def test_wrong_settings_are_refused() -> None:
    encoder = EfficientNetLite("random", weights=random_weights())
    image = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(OptionError, match="1 to 7"):
        encoder.encode([image], layers=[8], size=64)
    with pytest.raises(OptionError, match="at least 32"):
        encoder.encode([image], layers=[1], size=16)
    with pytest.raises(OptionError, match="no dtype 'int8' on cpu"):
        EfficientNetLite("random", weights=random_weights(), dtype="int8")
