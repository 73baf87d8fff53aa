"""A chat model that says what it was told to say: for tests, demos and dry runs."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, get_args, get_type_hints

from blemish.errors import ChatError, InputError
from blemish.types import Message, Reply, Usage

Rule = Callable[[Sequence[Message]], str | Reply]

_ENDS = get_args(get_type_hints(Reply)["ended"])


class Scripted:
    """Answers from a list, in order, or by a rule. Safe to call from many threads.

    Of a list, one question at a time should be asked, which `concurrency` says: in a folder of
    pictures, the first reply is then about the first picture.

    A reply given as text counts as one model call and ended by itself; one given as a `Reply` is
    returned as it is, so that tokens, a cut-off or a refusal can be played too.

    Args:
        replies: texts or `Reply`s, one a question; or a function of the messages, which may raise.
        name: what the model is called.

    Attributes:
        asked: the messages of every question so far, in order.

    >>> model = Scripted(["region 1: 0.9."])
    >>> model.chat([Message("user", "What is wrong?")]).text
    'region 1: 0.9.'
    >>> model.asked[0][0].text
    'What is wrong?'
    """

    def __init__(self, replies: Sequence[str | Reply] | Rule, *, name: str = "scripted") -> None:
        if isinstance(replies, str):
            replies = [replies]
        self.name = name
        self.asked: list[tuple[Message, ...]] = []
        self._rule = replies if callable(replies) else None
        self._replies = () if callable(replies) else tuple(replies)
        script = getattr(replies, "__qualname__", "") if callable(replies) else repr(replies)
        self.fingerprint = f"scripted:{name}:{_digest(script)}"
        self.concurrency: int | None = None if callable(replies) else 1
        self._lock = threading.Lock()
        self._used = 0

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a script.

        Args:
            path: a JSON file. A list holds replies, said in order. An object holds rules, "when
                the last message contains this text" to reply: the first that fits, in the file's
                order, is said; the text "" fits always. A reply is a text, or an object with
                "text" and "ended" ("stop", "length" or "refused").

        Raises:
            InputError: the file cannot be read as such.
        """
        try:
            script = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"The script {path} cannot be read: {error}.") from error
        try:
            if isinstance(script, list):
                return cls([_reply(entry) for entry in script])
            if isinstance(script, dict):
                rules = {words: _reply(entry) for words, entry in script.items()}
                model = cls(lambda messages: _first(rules, messages, path))
                model.fingerprint = f"scripted:{_digest(repr(rules))}"
                return model
        except ValueError as error:
            raise InputError(f"The script {path} holds {error}.") from None
        raise InputError(
            f"The script {path} holds {type(script).__name__}; expected a list of replies, or an "
            'object of {"text that the question contains": reply}.'
        )

    def chat(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        logprobs: int = 0,
        attempt: int = 0,
    ) -> Reply:
        """The next reply, or the rule's. See `blemish.types.ChatModel`.

        Raises:
            ChatError: the list has run out, or no rule fits.
        """
        with self._lock:
            self.asked.append(tuple(messages))
            place, self._used = self._used, self._used + 1
        if self._rule is not None:
            said = self._rule(messages)
        elif place < len(self._replies):
            said = self._replies[place]
        else:
            raise ChatError(
                f"The script of '{self.name}' has no reply left: it holds {len(self._replies)}, "
                "and every question takes one. Add replies, or use rules, which fit many questions."
            )
        if isinstance(said, str):
            said = Reply(said, Usage(model_calls=1))
        return said if said.model else replace(said, model=self.name)

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """The reply word by word."""
        yield from re.findall(r"\s*\S+|\s+", self.chat(messages).text)


def _digest(script: str) -> str:
    return hashlib.sha256(script.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _reply(entry: Any) -> Reply:
    if isinstance(entry, str):
        return Reply(entry, Usage(model_calls=1))
    if isinstance(entry, dict) and isinstance(entry.get("text"), str):
        ended = entry.get("ended", "stop")
        if set(entry) <= {"text", "ended"} and ended in _ENDS:
            return Reply(entry["text"], Usage(model_calls=1), ended)
    raise ValueError(
        f"the reply {json.dumps(entry)[:80]}; expected a text, or an object with 'text' and "
        f"perhaps 'ended' ({', '.join(_ENDS)})"
    )


def _first(rules: Mapping[str, Reply], messages: Sequence[Message], path: str | Path) -> Reply:
    for words, reply in rules.items():
        if words in messages[-1].text:
            return reply
    raise ChatError(
        f"No rule of the script {path} fits the question '{messages[-1].text[:80]}'. Add one; the "
        'rule "" fits always.'
    )
