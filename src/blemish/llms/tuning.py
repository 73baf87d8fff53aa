"""Fine-tuning a local vision-language model by LoRA (2106.09685): its own weights stay as they are.

Beside each linear layer of the part that speaks, two small matrices learn; what sees the pictures
learns nothing. They are written in peft's format, which other tools read too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blemish.errors import OptionError
from blemish.llms._conversation import taught
from blemish.llms._lora import Changes
from blemish.llms.local import LocalChat
from blemish.types import Message

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

Batch = tuple[Sequence[Sequence[Message]], Sequence[str]]
"""Conversations that hold equally many pictures, and the answer to each."""


class Tuning:
    """What a model learns, as `blemish.training.loop.Trainable`.

    Args:
        chat: the model; it answers as it has learnt so far, also between steps.
        base: its name on the hub or its folder, which whoever loads the result needs.
        rank: of the matrices; a layer's change is scaled by alpha / rank, which is 2.
        seed: of their first values; the change is zero before the first step.

    Raises:
        OptionError: a rank below 1, or a model without linear layers.
        MissingExtraError: peft is not installed.
    """

    def __init__(self, chat: LocalChat, base: str | Path, *, rank: int = 8, seed: int = 0) -> None:
        if rank < 1:
            raise OptionError(f"Rank {rank} came; expected 1 or more.")
        self.chat, self.rank = chat, rank
        self._model, self._processor = chat._model, chat._processor
        folder = Path(base).expanduser()
        self.base = str(folder.resolve()) if folder.is_dir() else str(base)
        layers = _layers(self._model, chat.name)
        self._changes = Changes(self._model, layers, rank=rank, alpha=2 * rank, seed=seed)

    def parameters(self, stage: int = 1) -> list[Parameter]:
        """What learns."""
        return self._changes.parameters()

    def loss(self, batch: Batch, stage: int = 1) -> tuple[Tensor, Mapping[str, float]]:
        """Mean cross-entropy of the answers' tokens and of the end after each.

        Raises:
            ChatError: the model cannot take a conversation.
        """
        inputs = taught(self._processor, *batch, self.chat.name)
        inputs = inputs.to(self._model.device, dtype=self._model.dtype)
        loss: Tensor = self._model(**inputs, use_cache=False).loss
        return loss, {"answers": float(loss.detach())}

    def adapter_state(self) -> dict[str, Tensor]:
        """What has been learnt, by the names of the layers."""
        return self._changes.state()

    def load_adapter(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `adapter_state` gave."""
        self._changes.load(state)

    def write(self, folder: Path) -> None:
        """Write an adapter that `local:FOLDER` reads; the configuration last.

        Raises:
            OSError: the folder cannot be written.
        """
        self._changes.write(folder, self.base)


def _layers(model: Any, name: str) -> list[str]:
    """The linear layers of the language model, those of the picture's encoder left out."""
    import torch

    inside = {id(module) for module in model.get_decoder().modules()}
    found = [
        path
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and id(module) in inside
    ]
    if not found:
        raise OptionError(f"{name} has no linear layers that could learn; take another model.")
    return found
