"""A language model from prompt to logits: prefixes kept ready, prompts of any lengths at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from blemish.errors import ChatError, OptionError
from blemish.llms._packed import Packing

if TYPE_CHECKING:
    from torch import Tensor

_PREFIXES = 8
"""How many are kept ready."""


class Steps:
    """Runs a frozen language model over embeddings, one token after the other.

    Args:
        model: of `AutoModelForCausalLM`.
        name: of it, for messages.
        window: tokens that it reads and writes together.
        begin: tokens that come before every prefix.
        tokens: those of a text.

    Attributes:
        weights: of its linear layers, packed while words are written.
        embed: from tokens of any shape to their embeddings.
    """

    def __init__(
        self,
        model: Any,
        name: str,
        window: int,
        begin: Sequence[int],
        tokens: Callable[[str], list[int]],
    ) -> None:
        self._model, self._name, self._window, self._learns = model, name, window, False
        self._begin, self._tokens = begin, tokens
        self.weights = Packing(model)
        self.embed = model.get_input_embeddings()
        self._width = int(self.embed.weight.shape[1])
        self._prefix = lru_cache(maxsize=_PREFIXES)(self._read)

    def learning(self, model: Any) -> Steps:
        """The same with a model that learns, so that no prefix can be kept ready."""
        own = Steps(model, self._name, self._window, self._begin, self._tokens)
        own._learns = True
        return own

    def run(
        self,
        prompts: Sequence[Tensor],
        prefix: str,
        most: int,
        *,
        keep: int = 0,
        grad: bool = False,
    ) -> Generator[Tensor, tuple[list[int], list[int]], None]:
        """Logits of the next token, (B, V) float32.

        Sent back are the rows, by their numbers among these B, that go on, and the token each took.

        Args:
            prompts: each (T, W), of any T from 1.
            prefix: text before each of them.
            most: tokens that may be sent back.
            keep: give logits (B, keep, V) of the last places instead.
            grad: record gradients.

        Raises:
            OptionError: a prompt of another width.
            ChatError: prompts too long for the window, or not-a-number in the logits.
        """
        import torch
        from transformers import DynamicCache

        rows = [self.checked(prompt) for prompt in prompts]
        if grad:
            self.weights.unpack()
        elif not self._learns:
            self.weights.pack()
        if self._learns:
            before = self.embed(self.ids([*self._begin, *self._tokens(prefix)]))
            rows = [torch.cat([before, row]) for row in rows]
            cache, kept = DynamicCache(config=self._model.config), 0
        else:
            cache, kept = self._prefix(prefix)
        self._fits(kept + max(len(row) for row in rows), most)
        cache = copy.deepcopy(cache)
        cache.batch_repeat_interleave(len(rows))
        embeddings, mask = _padded(rows, kept)
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, kept:]
        while True:
            length = embeddings.shape[1]
            with torch.set_grad_enabled(grad), self._precision(grad):
                out = self._model(
                    inputs_embeds=embeddings,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=cache,
                    use_cache=True,
                    # By number they are copied; a slice of rows is slow to multiply.
                    logits_to_keep=torch.arange(length - max(keep, 1), length, device=mask.device),
                ).logits.float()
            self._numbers(out)
            on, tokens = yield out if keep else out[:, 0]
            if len(on) < len(mask):
                mask, positions = mask[on], positions[on]
                cache.batch_select_indices(self.ids(on))
            embeddings = self.embed(self.ids(tokens)[:, None])
            mask = torch.cat([mask, mask.new_ones(len(on), 1)], 1)
            positions = positions[:, -1:] + 1

    def _read(self, prefix: str) -> tuple[Any, int]:
        """Keys and values of a prefix, and how many tokens it has."""
        import torch
        from transformers import DynamicCache

        cache = DynamicCache(config=self._model.config)
        ids = [*self._begin, *self._tokens(prefix)]
        self._fits(len(ids), 0)
        # They serve everyone, whatever the first who needs them is doing.
        with torch.no_grad(), self._precision(grad=False):
            if ids:
                self._model(
                    input_ids=self.ids([ids]),
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
        return cache, len(ids)

    def _precision(self, grad: bool) -> AbstractContextManager[Any]:
        """Gradients may be recorded in mixed precision; packed weights are read in their own."""
        import torch

        kind = self._model.device.type
        return nullcontext() if grad else torch.autocast(kind, enabled=False)

    def ids(self, ids: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
        """Tokens on the model's device."""
        import torch

        return torch.tensor(ids, dtype=torch.long, device=self._model.device)

    def checked(self, prompt: Tensor) -> Tensor:
        """A prompt on the model's device and in its dtype."""
        if prompt.ndim != 2 or prompt.shape[1] != self._width or not len(prompt):
            raise OptionError(
                f"A prompt of shape {tuple(prompt.shape)} came; {self._name} takes embeddings of "
                f"shape (T, {self._width}), T from 1. What was made for another language model "
                "does not fit this one."
            )
        return prompt.to(self._model.device, self._model.dtype)

    def _fits(self, length: int, most: int) -> None:
        if length + most > self._window:
            raise ChatError(
                f"{self._name} reads and writes {self._window} tokens together; a prompt of "
                f"{length} and an answer of up to {most} came. Say less, or allow a shorter answer."
            )

    def _numbers(self, logits: Tensor) -> None:
        if logits.isnan().any():
            raise ChatError(
                f"{self._name} computed not-a-number in {self._model.dtype}. Take dtype 'float32' "
                "or 'bfloat16', and check that the checkpoint is whole."
            )


def _padded(rows: Sequence[Tensor], kept: int) -> tuple[Tensor, Tensor]:
    """Rows (T, W) of any T as (B, longest, W), filled up on the left, and (B, kept + longest) ones.

    The mask is 0 at what was filled up; the first `kept` are those of a prefix.
    """
    import torch

    longest = max(len(row) for row in rows)
    pad = torch.nn.functional.pad
    embeddings = torch.stack([pad(row, (0, 0, longest - len(row), 0)) for row in rows])
    mask = embeddings.new_ones(len(rows), kept + longest, dtype=torch.long)
    for place, row in enumerate(rows):
        mask[place, kept : kept + longest - len(row)] = 0
    return embeddings, mask
