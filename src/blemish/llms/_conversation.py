"""Turns messages into what a `transformers` model takes, and what it gives into tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from blemish.errors import ChatError
from blemish.types import Message, Token

IGNORED = -100
"""The label of what is no part of an answer; `transformers` learns nothing from it."""


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
    with _refused(name):
        texts = _texts(processor, conversations, asked=True)
        return _encoded(processor, texts, conversations)


def taught(
    processor: Any,
    conversations: Sequence[Sequence[Message]],
    answers: Sequence[str],
    name: str,
) -> Any:
    """Put conversations that hold equally many pictures, and their answers, into one batch.

    An answer stands as the chat template writes it, where that goes on from the question as it
    is asked; and has the token that ends it in any case.

    Args:
        processor: the checkpoint's.
        conversations: N of them.
        answers: what is to be said after each.
        name: of the model, for the message.

    Returns:
        As `prepare`, padded on the right; and "labels" (N, T) int64, the answers' tokens, and -100
        where there is none.

    Raises:
        ChatError: the chat template or the processor refuses a conversation.
    """
    with _refused(name):
        tokenizer = processor.tokenizer
        ended = [
            [*some, Message("assistant", answer.strip())]
            for some, answer in zip(conversations, answers, strict=True)
        ]
        questions = _texts(processor, conversations, asked=True)
        texts = _texts(processor, ended, asked=False)
        for row, (question, answer) in enumerate(zip(questions, answers, strict=True)):
            same = texts[row].startswith(question)
            said = texts[row].removeprefix(question).rstrip() if same else answer.strip()
            end = tokenizer.eos_token if said.strip() == answer.strip() else ""
            texts[row] = question + said + end
        inputs = _encoded(processor, texts, conversations, padding_side="right")
        labels = inputs["input_ids"].new_full(inputs["input_ids"].shape, IGNORED)
        lengths = [[len(ids) for ids in tokenizer(t).input_ids] for t in (questions, texts)]
        for row, (before, whole) in enumerate(zip(*lengths, strict=True)):
            end = int(inputs["attention_mask"][row].sum())
            answered = slice(end - (whole - before), end)
            labels[row, answered] = inputs["input_ids"][row, answered]
        inputs["labels"] = labels
        return inputs


@contextmanager
def _refused(name: str) -> Iterator[None]:
    try:
        yield
    # Each chat template and processor complains in its own way.
    except Exception as error:
        raise ChatError(
            f"{name} cannot take this conversation: {type(error).__name__}: {error}"
        ) from error


def _texts(processor: Any, conversations: Sequence[Sequence[Message]], *, asked: bool) -> list[str]:
    """Conversations as the chat template writes them; where `asked`, up to the next answer."""
    control = _control_tokens(processor)
    turns = [[_turn(message, control) for message in some] for some in conversations]
    texts: list[str] = processor.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=asked
    )
    return texts


def _encoded(
    processor: Any,
    texts: Sequence[str],
    conversations: Sequence[Sequence[Message]],
    **options: Any,
) -> Any:
    images = [[i for message in some for i in message.images] for some in conversations]
    begin = processor.tokenizer.bos_token
    return processor(
        text=list(texts),
        images=images if images[0] else None,
        padding=True,
        return_tensors="pt",
        # A template that writes the first token must not get it twice.
        add_special_tokens=not (begin and texts[0].startswith(begin)),
        **options,
    )


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
