"""Linear layers laid out for products with few rows: a batch's next tokens in half the time.

For a product in float32 on a CPU, torch copies the weights into blocks that the processor takes
fast. With the few rows of a batch's next tokens that copy costs as much as the product. oneDNN,
which comes with torch, multiplies blocks that were copied once. It records no gradients.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any

_ROWS = 8
"""For which the blocks are laid out; they serve any number."""
_AT_ONCE = 32
"""Layers that are packed before their plain weights' memory goes back to the system."""


class Packing:
    """How the linear layers of a model hold their weights: as they were, or in blocks.

    Args:
        model: of `transformers`. Of its layers, those in float32 on the CPU are packed.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._lock = Lock()
        self._done = False
        self._plain: list[tuple[Any, Callable[[], Any]]] = []

    def pack(self) -> None:
        """Hold them in blocks, where torch can; the layers compute what they did."""
        with self._lock:
            if self._done:
                return
            self._done = True
            try:
                for number, layer in enumerate(self._layers()):
                    self._plain.append((layer, _pack(layer, self._shared(layer.weight))))
                    if number % _AT_ONCE == 0:
                        _give_back()
            # The operators are those of torch's compiler, and not there for every processor.
            except (AttributeError, RuntimeError):
                return

    def unpack(self) -> None:
        """Hold them as they were, bit for bit."""
        with self._lock:
            for layer, plain in self._plain:
                layer.weight = plain()
                del layer.forward
            self._plain, self._done = [], False

    def _layers(self) -> list[Any]:
        import torch

        return [
            layer
            for layer in self._model.modules()
            if type(layer) is torch.nn.Linear
            and (layer.weight.device.type, layer.weight.dtype) == ("cpu", torch.float32)
        ]

    def _shared(self, weight: Any) -> bool:
        """The embeddings are the same tensor, so that it stays in memory."""
        return weight is self._model.get_input_embeddings().weight


def _pack(layer: Any, shared: bool) -> Callable[[], Any]:
    """Hold a layer's weights in blocks; gives what brings them back.

    Raises:
        AttributeError, RuntimeError: torch cannot here. The layer is as it was.
    """
    import torch

    weight, operators = layer.weight, torch.ops.mkldnn
    blocks = operators._reorder_linear_weight(weight.detach(), _ROWS)
    product = partial(
        operators._linear_pointwise, W=blocks, B=layer.bias, attr="none", scalars=[], algorithm=""
    )
    product(weight[:1].detach())
    layer.forward = product
    layer.weight = None
    if shared:
        return lambda: weight
    return lambda: torch.nn.Parameter(blocks.to_dense(), requires_grad=False)


def _give_back() -> None:
    """Return freed memory to the system, which the C library of Linux does not do by itself."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
