"""A causal language model that reads embeddings: words, and what is no word, in one prompt.

AnomalyGPT (2308.15366, section 3) shows its language model pictures and maps as embeddings among
those of the words. The model itself is not trained, but for LoRA in the document's ablation.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from blemish.errors import OptionError
from blemish.llms import _lora
from blemish.llms._causal_model import load
from blemish.llms._causal_steps import Steps
from blemish.llms._causal_words import Words, first_tokens

if TYPE_CHECKING:
    from torch import Tensor

_WORDS = 8
"""Sets of deciding words whose tokens are kept."""
_WINDOW = 2048
"""Of a model that states none, such as one without position embeddings."""
_IGNORED = -100
"""What torch's cross-entropy leaves out."""
_ATTENTION = re.compile(r"attn|attention")
"""In the path of a part of a model, for the projections of its attention."""


@dataclass(frozen=True)
class Said:
    """An answer.

    Attributes:
        text: without white space around it.
        ended: "stop" where the model or a stop text ended it, "length" where it was cut off.
        first: the probability that the answer's first token is this deciding word, of all tokens.
        tokens: that the model wrote.
    """

    text: str
    ended: Literal["stop", "length"]
    first: dict[str, float] = field(default_factory=dict)
    tokens: int = 0


class Causal:
    """A causal language model of `transformers`, frozen, that takes embeddings.

    A prompt is a tensor of shape (T, W), one row a token: what `embed` gives of words, and
    anything else of that width. A `prefix` is text that comes before each prompt and is the same
    for many; its keys and values are computed once. Where a model's texts begin with a token of
    their own, as Llama's do, it is put before the prefix.

    The most likely token is taken at each step. Prompts that are answered together are padded on
    the left, masked and numbered so that each reads what it would read alone. Only a model whose
    layers look back a limited number of tokens, as Mistral's first does, counts the padding among
    these where a prompt is longer than that.

    Args:
        name_or_folder: "smollm2-135m", which comes with blemish; a folder; or a repository of the
            hub, which is fetched into the hub's cache.
        device: "cpu" or another torch device, such as "cuda".
        dtype: "float32", "float16", "bfloat16", or "auto", the checkpoint's own.
        four_bit: hold the weights of linear layers in 4 bits, by bitsandbytes.
        lora: folder of changes to its weights, in peft's format.

    Attributes:
        name: of the model.
        fingerprint: tells models, precisions and kinds of device apart.
        width: W, values in an embedding.
        depth: its layers.
        window: tokens that it reads and writes together.
        spread: standard deviation of all values of its token embeddings; what stands among them
            should be of that size.
        device: as given.
        lora: digest of the changes to its weights; "" for none.
        changes: those that learn; see `learning`.

    Raises:
        OptionError: there is no such dtype.
        MissingExtraError: 4 bits need bitsandbytes, which is not installed.
        WeightsError: the model or the LoRA is not there or cannot be used.
    """

    def __init__(
        self,
        name_or_folder: str | Path = "smollm2-135m",
        *,
        device: str = "cpu",
        dtype: str = "float32",
        four_bit: bool = False,
        lora: str | Path | None = None,
    ) -> None:
        loaded = load(name_or_folder, device, dtype, four_bit)
        model, self._tokenizer = loaded.model, loaded.tokenizer
        self.lora = "" if lora is None else _lora.add(model, Path(lora))
        table = model.get_input_embeddings().weight
        self.name = loaded.name
        self.device = device
        kind = model.device.type + (":4-bit" if four_bit else "")
        kind += f":lora-{self.lora[:16]}" if self.lora else ""
        self.fingerprint = f"causal:{self.name}:{loaded.revision}:{model.dtype}:{kind}"
        self.width = int(table.shape[1])
        config = model.config.get_text_config()
        self.depth = int(getattr(config, "num_hidden_layers", 0))
        self.window = int(getattr(config, "max_position_embeddings", None) or _WINDOW)
        self.spread = float(table.float().std())
        own = model.generation_config.eos_token_id
        self._end = int(self._tokenizer.eos_token_id)
        self._ends = {self._end, *(own if isinstance(own, list) else [own])}
        start = self._tokenizer.bos_token_id
        begins = start is not None and self._tokenizer("a").input_ids[:1] == [start]
        begin = [start] if begins else []
        self._model = model
        self.changes: _lora.Changes | None = None
        self._steps = Steps(model, self.name, self.window, begin, self.tokens)
        self._first = lru_cache(maxsize=_WORDS)(lambda words: first_tokens(self._tokenizer, words))

    def learning(self, seed: int = 0, begin: Path | None = None) -> Causal:
        """The same model with changes to its weights that learn; this one stays as it is.

        They are LoRA's, on the projections of its attention. The weights are in memory once.

        Args:
            seed: of the changes' first values.
            begin: folder of changes that they begin with, in peft's format.

        Raises:
            MissingExtraError: peft is not installed.
            OptionError, WeightsError: it has no such layers, or changes; the folder's do not fit.
        """
        import torch

        self._steps.weights.unpack()
        held = (*self._model.parameters(), *self._model.buffers())
        model = copy.deepcopy(self._model, {id(tensor): tensor for tensor in held})
        layers = [
            path
            for path, layer in model.named_modules()
            if isinstance(layer, torch.nn.Linear) and _ATTENTION.search(path.rpartition(".")[0])
        ]
        if not layers or self.lora:
            why = "has a LoRA already" if self.lora else "has no linear layers in its attention"
            raise OptionError(f"{self.name} {why}, so it cannot learn by LoRA; take another model.")
        own = copy.copy(self)
        own.changes = _lora.begun(model, begin, seed) if begin else _lora.new(model, layers, seed)
        own._model, own._steps = model, self._steps.learning(model)
        return own

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, without any that mark its beginning or end."""
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)

    def text(self, ids: Sequence[int]) -> str:
        """The text of tokens; what marks beginning or end is left out."""
        return str(
            self._tokenizer.decode(
                list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def embed(self, text: str) -> Tensor:
        """(T, W) on the model's device and in its dtype: the embeddings of a text's tokens."""
        return self._embedded(self.tokens(text))

    def generate(
        self,
        prompts: Sequence[Tensor],
        *,
        prefix: str = "",
        most: int,
        stop: Sequence[str] = (),
        deciding: Sequence[str] = (),
    ) -> list[Said]:
        """Answers, all prompts at once.

        Args:
            prompts: each (T, W), of any T from 1.
            prefix: text before each of them.
            most: tokens an answer.
            stop: texts at which an answer ends; they are no part of it.
            deciding: words whose probability to come first is wanted. It is that of all tokens
                which spell the word, in small or capital letters, after a space or not.

        Raises:
            OptionError: `most` below 1; a prompt of another width; deciding words that the model
                cannot tell apart.
            ChatError: a prompt and its answer are longer than the window, or the model computes
                no numbers.
        """
        import torch

        if not prompts:
            return []
        wanted = self._first(tuple(deciding))
        answers = [Words(self.text, self._ends, stop) for _ in prompts]
        first: list[dict[str, float]] = []
        for logits in self._write(answers, prompts, prefix, most):
            if not first:
                first = [
                    {word: float(chances[ids].sum()) for word, ids in wanted.items()}
                    for chances in torch.softmax(logits, 1)
                ]
        return [
            Said(words.text, "stop" if words.ended else "length", chances, words.tokens)
            for words, chances in zip(answers, first, strict=True)
        ]

    def stream(
        self, prompt: Tensor, *, prefix: str = "", most: int, stop: Sequence[str] = ()
    ) -> Iterator[str]:
        """One answer piece by piece; closing the iterator ends it.

        Args:
            prompt: (T, W), T from 1.
            prefix: text before it.
            most: tokens.
            stop: texts at which it ends.

        Raises:
            OptionError, ChatError: as for `generate`, when the first piece is asked for.
        """
        words = Words(self.text, self._ends, stop)
        given = 0
        for _ in self._write([words], [prompt], prefix, most):
            if piece := words.sure()[given:]:
                given += len(piece)
                yield piece
        if piece := words.text[given:]:
            yield piece

    def loss(
        self, prompts: Sequence[Tensor], answers: Sequence[str], *, prefix: str = ""
    ) -> Tensor:
        """Mean cross-entropy of the answers' tokens and of the end after each; equation 3.

        Equation 3 is a sum; its mean over the tokens of all answers is taken, so that long answers
        and large batches weigh no more than short ones.

        Args:
            prompts: each (T, W), of any T from 1.
            answers: one a prompt.
            prefix: text before each of them.

        Returns:
            (), float32. Gradients reach the prompts, and the changes that learn.

        Raises:
            OptionError: no prompt, another number of answers, or a prompt of another width.
            ChatError: a prompt and its answer are longer than the window.
        """
        import torch

        if not prompts or len(prompts) != len(answers):
            raise OptionError(
                f"{len(prompts)} prompts and {len(answers)} answers came; expected one each."
            )
        wanted = [[*self.tokens(answer), self._end] for answer in answers]
        rows = [
            torch.cat([self._steps.checked(prompt), self._embedded(ids[:-1])])
            for prompt, ids in zip(prompts, wanted, strict=True)
        ]
        longest = max(len(ids) for ids in wanted)
        logits = next(self._steps.run(rows, prefix, 0, keep=longest, grad=True))
        labels = [[_IGNORED] * (longest - len(ids)) + ids for ids in wanted]
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), self._steps.ids(labels).flatten(), ignore_index=_IGNORED
        )

    def _embedded(self, ids: Sequence[int]) -> Tensor:
        return self._steps.embed(self._steps.ids(ids))  # type: ignore[no-any-return]

    def _write(
        self, answers: Sequence[Words], prompts: Sequence[Tensor], prefix: str, most: int
    ) -> Iterator[Tensor]:
        """Add tokens to answers until all are over.

        Gives at each step the logits (B, V) of those that were not over before it.
        """
        if most < 1:
            raise OptionError(f"most {most} came; expected at least 1 token an answer.")
        steps = self._steps.run(prompts, prefix, most)
        logits = next(steps)
        for left in reversed(range(most)):
            tokens = logits.argmax(1).tolist()
            for words, token in zip(answers, tokens, strict=True):
                words.add(token)
            yield logits
            on = [row for row, words in enumerate(answers) if not words.ended]
            if not left or not on:
                return
            answers = [answers[row] for row in on]
            logits = steps.send((on, [tokens[row] for row in on]))
