"""Replies kept on disk, so that no question is paid for twice.

One JSON file a reply, in folders by the first two digits of its key. The key is the sha256 of
everything that shaped the reply; the file says what that was, what came, and what it had cost.
Refusals and cut-off replies are kept like any other, since they were paid for and would come
again; a caller that wants another try asks with the next `attempt`. Errors are not kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import threading
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, get_args

from blemish.errors import ChatError, OptionError, OutputError
from blemish.files import install
from blemish.types import ChatModel, Message, Reply, Token, Usage

Mode = Literal["use", "only", "off"]

_FORMAT = 1
"""Goes up whenever a question or a reply is written in another way."""
_log = logging.getLogger(__name__)


class Cached:
    """A chat model that answers from disk what it has answered before.

    A reply from disk has `cached=True` and an empty `Usage`: usage counts what this run paid. A
    reply is stored, and the file synced, before anyone sees it, so that a run that was killed pays
    again at most for the calls that were in flight. Threads that ask the same question at the
    same time share one call; of two processes, each may pay once, and the later reply stays.
    Where a reply cannot be stored, because the disk is full, that is logged and the reply is used.

    Args:
        model: the model that is asked where no reply is kept.
        folder: where replies are kept; made if need be. Several models and processes may share it.
        mode: "use"; "only" never asks the model; "off" always asks and keeps nothing.

    Raises:
        OptionError: another mode.
        OutputError: the folder cannot be written.
    """

    def __init__(self, model: ChatModel, folder: str | Path, *, mode: Mode = "use") -> None:
        if mode not in get_args(Mode):
            raise OptionError(f"Cache mode {mode!r} came; expected one of {get_args(Mode)}.")
        self.name = model.name
        self.fingerprint = model.fingerprint
        # Beyond the protocol, a model may have this.
        self.concurrency: int | None = getattr(model, "concurrency", None)
        self._model = model
        self._folder = Path(folder)
        self._mode = mode
        # A lock lives as long as a thread holds or awaits it.
        self._locks: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        self._guard = threading.Lock()
        if mode == "use":
            _check_writable(self._folder)

    def chat(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        logprobs: int = 0,
        attempt: int = 0,
    ) -> Reply:
        """The kept reply, or the model's. See `blemish.types.ChatModel`.

        Raises:
            ChatError: as the model does; or, where only kept replies are allowed, there is none.
        """

        def ask() -> Reply:
            return self._model.chat(messages, schema=schema, logprobs=logprobs, attempt=attempt)

        if self._mode == "off":
            return ask()
        question = self._question("chat", messages, schema, logprobs, attempt)
        key = _digest(question)
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            reply = self._read(key)
            if reply is None:
                self._must_ask(key)
                reply = ask()
                self._write(key, question, reply)
            return reply

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """The kept reply at once, or the model's as it comes, which is kept if it ends.

        Streams that run at the same time do not wait for each other.

        Raises:
            ChatError: as `chat`.
        """
        if self._mode == "off":
            yield from self._model.stream(messages)
            return
        question = self._question("stream", messages)
        key = _digest(question)
        kept = self._read(key) or self._read(_digest(self._question("chat", messages)))
        if kept is not None:
            yield kept.text
            return
        self._must_ask(key)
        pieces = []
        stream = self._model.stream(messages)
        try:
            for piece in stream:
                pieces.append(piece)
                yield piece
        finally:
            if isinstance(stream, Generator):
                stream.close()
        self._write(key, question, Reply("".join(pieces), model=self.name))

    def stop(self) -> None:
        """Have the model stop, where it can; see `blemish.llms.openai_api.OpenAIChat.stop`."""
        if stop := getattr(self._model, "stop", None):
            stop()

    def _question(
        self,
        kind: Literal["chat", "stream"],
        messages: Sequence[Message],
        schema: Mapping[str, Any] | None = None,
        logprobs: int = 0,
        attempt: int = 0,
    ) -> dict[str, Any]:
        """Everything that shapes the reply, as JSON values. A schema's order of keys is part."""
        return {
            "format": _FORMAT,
            "kind": kind,
            "model": self.fingerprint,
            "messages": [
                {
                    "role": message.role,
                    "text": message.text,
                    "images": [
                        [*image.shape, hashlib.sha256(image.tobytes()).hexdigest()]
                        for image in message.images
                    ],
                }
                for message in messages
            ],
            "schema": None if schema is None else dict(schema),
            "logprobs": logprobs,
            "attempt": attempt,
        }

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"

    def _must_ask(self, key: str) -> None:
        if self._mode == "only":
            raise ChatError(
                f"This question to {self.name} has no reply in the cache {self._folder}, and only "
                f"kept replies are allowed (it would be {self._path(key).name}). Allow the model "
                "to be asked, or bring the cache of the run that asked it."
            )

    def _read(self, key: str) -> Reply | None:
        """The kept reply; None where there is none, or its file is damaged."""
        try:
            entry = json.loads(self._path(key).read_bytes())
            if [_digest(entry["question"]), _digest(entry["reply"])] != [key, entry["sha256"]]:
                raise ValueError("it does not match its checksum")
            reply = _reply(entry["reply"])
        except FileNotFoundError:
            return None
        # What a damaged file may hold is anybody's guess.
        except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
            _log.warning("The kept reply %s counts as absent: %s", self._path(key), error)
            return None
        return replace(reply, usage=Usage(), cached=True)

    def _write(self, key: str, question: Mapping[str, Any], reply: Reply) -> None:
        said = asdict(reply)
        path = self._path(key)
        try:
            kept = {"question": question, "reply": said, "sha256": _digest(said)}
            install(path, json.dumps(kept).encode())
        except OSError as error:
            _log.warning("A reply of %s could not be kept as %s: %s", self.name, path, error)


def _digest(value: Any) -> str:
    # The default separators and ASCII escapes: the same value always gives the same bytes.
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _reply(said: dict[str, Any]) -> Reply:
    parts = {
        "usage": Usage(**said["usage"]),
        "tokens": tuple(Token(**token) for token in said["tokens"]),
        "dropped": tuple(said["dropped"]),
    }
    return Reply(**said | parts)


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"Replies cannot be kept in {folder}: {error.strerror}. Name another folder, or go "
            "without a cache."
        ) from error
