"""Turns messages into what a `transformers` model takes, and what it gives into tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from blemish.errors import ChatError
from blemish.types import Message, Token


def prepare(processor: Any, conversations: Sequence[Sequence[Message]], name: str) -> Any:
    """Put conversations that hold equally many pictures into one batch.

    Args:
        processor: the checkpoint's; pads on the left.
        conversations: N of them.
        name: of the model, for the message.

    Returns:
        A mapping of tensors: "input_ids" and "attention_mask" (N, T) int64, pictures in the
        family's own form, and whatever else it needs.

    Raises:
        ChatError: the chat template or the processor refuses a conversation.
    """
    control = _control_tokens(processor)
    try:
        turns = [[_turn(message, control) for message in some] for some in conversations]
        texts = processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        images = [[i for message in some for i in message.images] for some in conversations]
        begin = processor.tokenizer.bos_token
        return processor(
            text=texts,
            images=images if images[0] else None,
            padding=True,
            return_tensors="pt",
            # A template that writes the first token must not get it twice.
            add_special_tokens=not (begin and texts[0].startswith(begin)),
        )
    # Each chat template and processor complains in its own way.
    except Exception as error:
        raise ChatError(
            f"{name} cannot take this conversation: {type(error).__name__}: {error}"
        ) from error


def spoken(
    tokenizer: Any, ids: Sequence[int], logits: Sequence[Any], row: int, count: int
) -> tuple[Token, ...]:
    """The tokens of one reply with their probabilities.

    Args:
        tokenizer: the checkpoint's.
        ids: what was said.
        logits: a tensor (N, V) for each step, at least as many as `ids`.
        row: which of the N.
        count: how many alternatives a token.
    """
    tokens = []
    for own, step in zip(ids, logits, strict=False):
        logprobs = step[row].float().log_softmax(-1)
        top = logprobs.topk(min(count, len(logprobs)))
        others: dict[str, float] = {}
        # Two tokens may have one text, such as two halves of a character: the likelier stands.
        for value, other in zip(top.values.tolist(), top.indices.tolist(), strict=True):
            others.setdefault(tokenizer.decode([other]), value)
        text = tokenizer.decode([own])
        others.setdefault(text, logprobs[own].item())
        tokens.append(Token(text, logprobs[own].item(), others))
    return tuple(tokens)


def _turn(message: Message, control: Sequence[str]) -> dict[str, Any]:
    """A message in the form that chat templates read; the pictures themselves go beside it."""
    text = message.text
    for token in control:  # What is said must not end a turn, or stand for a picture.
        text = text.replace(token, f"{token[0]} {token[1:]}")
    content: list[dict[str, str]] = [{"type": "image"} for _ in message.images]
    return {"role": message.role, "content": [*content, {"type": "text", "text": text}]}


def _control_tokens(processor: Any) -> list[str]:
    """Texts that the tokenizer reads as commands, longest first."""
    tokenizer = processor.tokenizer
    added = (str(t) for t in tokenizer.added_tokens_decoder.values() if t.special)
    named = (getattr(processor, f"{kind}_token", None) for kind in ("image", "video"))
    found = {*tokenizer.all_special_tokens, *added, *(n for n in named if isinstance(n, str))}
    return sorted((token for token in found if len(token) > 1), key=lambda t: (-len(t), t))
