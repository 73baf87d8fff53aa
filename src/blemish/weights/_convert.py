"""From published files to float32 arrays, under the names of the models that use them.

Called with files whose sha256 has been checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blemish.errors import WeightsError

Tensors = dict[str, NDArray[np.float32]]

_RENAMED = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}
_PREFIX = "backbone."


def dinov2(path: Path) -> Tensors:
    """The state dict of `transformers.Dinov2Model` from an ONNX export of it.

    The exporter kept the names of biases and norms. It transposed each linear layer's weight and
    made it anonymous, so a weight is known by the bias that is added to its product. The position
    embedding came out in two parts, class token (1, 1, D) and patches (1, N, D).
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path), load_external_data=False).graph
    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise WeightsError(
                f"{path} keeps tensor {tensor.name!r} in another file, which its sha256 does not "
                "cover. Export the model into one file."
            )
    raw = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {
        node.output[0]: raw[node.input[1]]
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in raw
    }
    found = {name: array for name, array in raw.items() if name.startswith(_PREFIX)}
    for node in (node for node in graph.node if node.op_type == "Add"):
        first, second = node.input
        for bias, product in ((first, second), (second, first)):
            if bias in found and product in weights:
                found[bias.removesuffix("bias") + "weight"] = weights[product].T
    tensors = {_renamed(name): array for name, array in found.items()}
    tensors["embeddings.position_embeddings"] = np.concatenate(
        [_embedding(raw, "onnx::Concat_"), _embedding(raw, "onnx::Reshape_")], axis=1
    )
    # Used in training only; the model has a place for it all the same.
    tensors["embeddings.mask_token"] = np.zeros(tensors["embeddings.cls_token"].shape[1:])
    return _contiguous(tensors)


def state_dict(path: Path) -> Tensors:
    """A PyTorch state dict, without the batch counters that only training uses."""
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    return _contiguous(
        {
            name: tensor.numpy()
            for name, tensor in state.items()
            if not name.endswith("num_batches_tracked")
        }
    )


def _renamed(name: str) -> str:
    """The name that transformers 5 gives to a tensor of the export."""
    name = name.removeprefix(_PREFIX)
    for old, new in _RENAMED.items():
        name = name.replace(old, new)
    return name


def _embedding(raw: Mapping[str, NDArray[np.float32]], prefix: str) -> NDArray[np.float32]:
    """The one anonymous (1, N, D) array under a prefix."""
    (found,) = [a for name, a in raw.items() if name.startswith(prefix) and a.ndim == 3]
    return found


def _contiguous(tensors: Mapping[str, NDArray[np.float32]]) -> Tensors:
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in tensors.items()}


CONVERSIONS: dict[str, Callable[[Path], Tensors]] = {"dinov2": dinov2, "state-dict": state_dict}
"""By the name that a row of the table states."""
