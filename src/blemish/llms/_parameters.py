"""Which parameters a model at an endpoint takes: learnt from what it rejects."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from typing import Any

_DROPPABLE = {
    "temperature": r"temperature",
    "seed": r"\bseed\b",
    "logprobs": r"log.?prob",
    "response_format": r"response.?format|json.?schema|structured.?output",
    "stream_options": r"stream.?options|include_usage",
}
"""Parameters without which a question still makes sense, and how endpoints speak of them."""
_LIMITS = ("max_tokens", "max_completion_tokens")
"""Two names of one thing. OpenAI's reasoning models reject the first, which all others know; some
of those ignore the second without a word, so it comes second."""
_COMPANIONS = {"logprobs": ("top_logprobs",)}
_log = logging.getLogger(__name__)


class Parameters:
    """What one model at one endpoint takes; safe for any number of threads.

    What is known is one immutable value that is replaced as a whole: readers need no lock.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._left_out: frozenset[str] = frozenset()
        self._limit = _LIMITS[0]
        self._learning = threading.Lock()

    def allowed(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """What is wanted, as far as the model takes it."""
        left_out = self._left_out
        gone = left_out.union(*(_COMPANIONS.get(name, ()) for name in left_out))
        sent = {name: value for name, value in wanted.items() if name not in gone}
        if _LIMITS[0] in sent:
            sent[self._limit] = sent.pop(_LIMITS[0])
        return sent

    def learn(self, sent: Mapping[str, Any], param: str, words: str) -> bool:
        """Take note of a rejection; False where it names nothing that can be left out or renamed.

        Args:
            sent: the parameters of the question that was rejected.
            param: what the endpoint's error names as the parameter; may be empty.
            words: what the error says.
        """
        named = _named(sent, param) if param else _named(sent, words)
        if named is None or named == _LIMITS[1]:
            return False
        with self._learning:
            if named == _LIMITS[0]:
                known, self._limit = self._limit == _LIMITS[1], _LIMITS[1]
            else:
                known = named in self._left_out
                self._left_out |= {named}
        if not known:
            instead = _LIMITS[1] if named == _LIMITS[0] else "nothing in its place"
            _log.warning("%s does not take %s, and gets %s: %s", self._name, named, instead, words)
        return True


def dropped(wanted: Mapping[str, Any], sent: Mapping[str, Any]) -> tuple[str, ...]:
    """The parameters that were wanted and not sent, other than those that change no answer."""
    names = (name for name in _DROPPABLE if name != "stream_options")
    return tuple(name for name in names if name in wanted and name not in sent)


def _named(sent: Mapping[str, Any], words: str) -> str | None:
    """The parameter that a text names first, among those that were sent."""
    patterns = _DROPPABLE | {name: rf"\b{name}\b" for name in _LIMITS}
    found = {
        name: match.start()
        for name, pattern in patterns.items()
        if name in sent and (match := re.search(pattern, words, re.IGNORECASE))
    }
    return min(found, key=found.__getitem__) if found else None
