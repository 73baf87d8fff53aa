"""A DINOv2 vision transformer as an ONNX graph, built from its weights for the layers asked for.

The graph is built here rather than exported because that lets it stop at the last layer that is
asked for, fold what is constant (pixel normalisation into the patch projection, layer scale into
the matrices before it, the three attention projections into one) and name ONNX Runtime's fused
operators. It is tested against `transformers.Dinov2Model`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = Mapping[str, NDArray[np.float32]]

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
EPSILON = 1e-6
HEAD_WIDTH = 64  # every published DINOv2 size uses heads of this width


class _Graph:
    """Collects nodes and constants; each call returns the name of its one result."""

    def __init__(self, int8: bool) -> None:
        self.int8 = int8
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, array: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def __call__(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], domain=domain, **attributes))
        return name

    def linear(self, x: str, name: str, matrix: NDArray[Any], bias: NDArray[Any]) -> str:
        b = self.constant(f"{name}.bias", bias)
        if not self.int8:
            return self("Add", self("MatMul", x, self.constant(f"{name}.weight", matrix)), b)
        # Weights to 8 bits once, symmetric, one scale per output column; activations to 8 bits
        # on the fly, one scale per matrix.
        scale = (np.abs(matrix).max(0) / 127).astype(np.float32)
        steps = np.round(matrix / scale).astype(np.int8)
        return self(
            "DynamicQuantizeMatMul", x, self.constant(f"{name}.weight", steps),
            self.constant(f"{name}.scale", scale), "", b, domain="com.microsoft",
        )  # fmt: skip

    def norm(self, x: str, name: str, weights: Weights) -> str:
        scale = self.constant(f"{name}.weight", weights[f"{name}.weight"])
        bias = self.constant(f"{name}.bias", weights[f"{name}.bias"])
        return self("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON)


def patch_projection(weights: Weights) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The patch projection for raw pixels: (14 * 14 * 3, D) and (D,), row order y, x, channel."""
    kernel = weights["embeddings.patch_embeddings.projection.weight"]  # (D, 3, 14, 14)
    scaled = kernel / (255 * STD[:, None, None])
    bias = weights["embeddings.patch_embeddings.projection.bias"] - (
        kernel * (MEAN / STD)[:, None, None]
    ).sum((1, 2, 3))
    return scaled.transpose(2, 3, 1, 0).reshape(-1, kernel.shape[0]), bias


def _block(graph: _Graph, x: str, weights: Weights, number: int) -> str:
    """One transformer block; `number` counts from 0."""
    prefix = f"encoder.layer.{number}."

    def w(name: str) -> NDArray[np.float32]:
        return weights[prefix + name]

    width = w("norm1.weight").shape[0]
    normed = graph.norm(x, prefix + "norm1", weights)
    parts = []
    for part in "qkv":
        name = f"attention.{part}_proj"
        parts.append(graph.linear(normed, prefix + name, w(name + ".weight").T, w(name + ".bias")))
    attended = graph(
        "MultiHeadAttention", *parts, domain="com.microsoft", num_heads=width // HEAD_WIDTH
    )
    for name, scale, after in (
        ("attention.o_proj", "layer_scale1.lambda1", None),
        ("mlp.fc2", "layer_scale2.lambda1", "norm2"),
    ):
        if after:
            hidden = graph.norm(x, prefix + after, weights)
            hidden = graph.linear(
                hidden, prefix + "mlp.fc1", w("mlp.fc1.weight").T, w("mlp.fc1.bias")
            )
            attended = graph("Gelu", hidden, domain="com.microsoft")
        lam = w(scale)
        out = graph.linear(
            attended, prefix + name, (w(name + ".weight") * lam[:, None]).T, w(name + ".bias") * lam
        )
        x = graph("Add", x, out)
    return x


def build(weights: Weights, layers: Sequence[int], *, int8: bool = False) -> bytes:
    """The serialised graph up to the last of `layers`.

    Inputs: `pixels` (B, N, 588) uint8, each patch's pixels in row, column, channel order;
    `position` (1, N, D) float32, the interpolated position embedding of the patches.
    Outputs: `layer<k>` for each of `layers`, (B, 1 + N, D) float32, class token first, through
    the final layer norm.
    """
    from onnx import TensorProto, helper

    graph = _Graph(int8)
    matrix, bias = patch_projection(weights)
    width = matrix.shape[1]
    class_token = weights["embeddings.cls_token"] + weights["embeddings.position_embeddings"][:, :1]
    pixels = graph("Cast", "pixels", to=TensorProto.FLOAT)
    patches = graph("Add", graph.linear(pixels, "patch", matrix, bias), "position")
    # The class token is repeated over the batch by adding it to a slice of zeros of that length.
    first = graph(
        "Slice",
        patches,
        graph.constant("zero", np.array([0], np.int64)),
        graph.constant("one", np.array([1], np.int64)),
        graph.constant("axis", np.array([1], np.int64)),
    )
    zeros = graph("Mul", first, graph.constant("nothing", np.zeros((1, 1, 1), np.float32)))
    token = graph("Add", zeros, graph.constant("class", class_token))
    x = graph("Concat", token, patches, axis=1)
    outputs: list[Any] = []
    final = [
        graph.constant(f"layernorm.{part}", weights[f"layernorm.{part}"])
        for part in ("weight", "bias")
    ]
    for number in range(max(layers)):
        x = _block(graph, x, weights, number)
        if number + 1 in layers:
            normed = graph("LayerNormalization", x, *final, axis=-1, epsilon=EPSILON)
            name = f"layer{number + 1}"
            graph.nodes.append(helper.make_node("Identity", [normed], [name]))
            shape = ["B", "T", width]
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "dinov2",
            [
                helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["B", "N", len(matrix)]),
                helper.make_tensor_value_info("position", TensorProto.FLOAT, [1, "N", width]),
            ],
            outputs,
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=9,
    )
    return bytes(model.SerializeToString())
