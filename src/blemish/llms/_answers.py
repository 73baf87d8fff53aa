"""What an endpoint answered, read without trusting it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from blemish.types import Token

_WORTH_ASKING_AGAIN = {408, 409, 429}


class Unanswered(Exception):
    """One request that brought no answer.

    Attributes:
        words: what happened, for a person.
        again: asking again may help.
        charged: the endpoint may charge for it all the same.
        wait: seconds that the endpoint asked to wait.
        rejected: it turned the question down as it stands, so that a parameter may be at fault.
        hopeless: it would turn down every other question as well.
        param: the parameter that it named.
    """

    def __init__(
        self,
        words: str,
        *,
        again: bool = False,
        charged: bool = False,
        wait: float | None = None,
        rejected: bool = False,
        hopeless: bool = False,
        param: str = "",
    ) -> None:
        super().__init__(words)
        self.words, self.again, self.charged, self.wait = words, again, charged, wait
        self.rejected, self.hopeless, self.param = rejected, hopeless, param


@dataclass(frozen=True)
class Answer:
    """One answer; token counts are None where the endpoint did not say."""

    text: str
    ended: Literal["stop", "length", "refused"]
    model: str = ""
    tokens: tuple[Token, ...] = ()
    tokens_in: int | None = None
    tokens_out: int | None = None
    cached: int = 0
    written: int = 0


def status_again(status: int) -> bool:
    """Whether a question that got this status may be answered when it is asked once more."""
    return status in _WORTH_ASKING_AGAIN or status >= 500


def decode(data: bytes) -> Mapping[str, Any]:
    """The JSON object of a body.

    Raises:
        Unanswered: it is none.
    """
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        start = data[:80].decode("utf-8", "replace")
        raise Unanswered(
            f"it answered 200 with something that is no JSON object: {start!r}",
            again=True,
            charged=True,
        )
    return body


def error_words(body: Any) -> tuple[str, Mapping[str, Any]]:
    """The message of an error body, and the error itself; servers put it in various places."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return str(error or ""), {}
    for name in ("message", "detail", "msg", "error"):
        if error.get(name):
            return str(error[name]), error
    return json.dumps(error)[:300] if error else "", error


def first_choice(body: Mapping[str, Any], part: Literal["message", "delta"]) -> Mapping[str, Any]:
    """The first choice of an answer or of a piece of one; empty for a piece that has none.

    Raises:
        Unanswered: the body is an error, or has no choice where one must be.
    """
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    for place in (body, choice):
        if isinstance(place, dict) and (place.get("error") or place.get("object") == "error"):
            words, error = error_words(place)
            code = _count(error.get("code")) or 500
            raise Unanswered(
                f"it answered 200 with an error: {words}", again=status_again(code), charged=True
            )
    if part == "delta":
        return choice if isinstance(choice, dict) else {}
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        words = error_words({k: v for k, v in body.items() if k in ("message", "detail")})[0]
        raise Unanswered(
            f"it answered 200 with no choices. {words}".strip(), again=True, charged=True
        )
    return choice


def read(body: Mapping[str, Any]) -> Answer:
    """The answer in a chat completion.

    Raises:
        Unanswered: the body is an error, or has no choice.
    """
    choice = first_choice(body, "message")
    message = choice["message"]
    refusal = message.get("refusal")
    ended: Literal["stop", "length", "refused"] = "stop"
    if choice.get("finish_reason") == "length":
        ended = "length"
    if choice.get("finish_reason") == "content_filter" or text_of(refusal):
        ended = "refused"
    usage = usage_of(body)
    return Answer(
        text=text_of(message.get("content")) or text_of(refusal),
        ended=ended,
        model=str(body.get("model") or ""),
        tokens=_tokens(choice.get("logprobs")),
        **usage,
    )


def text_of(content: Any) -> str:
    """The text of a message's content: a string, parts of which some are text, or nothing."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def delta_text(choice: Mapping[str, Any]) -> str:
    """What a piece of a streamed answer adds to it."""
    delta = choice.get("delta")
    delta = delta if isinstance(delta, dict) else {}
    return text_of(delta.get("content") or delta.get("refusal"))


def usage_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The token counts of an answer, as far as the endpoint tells them."""
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return {}
    details = usage.get("prompt_tokens_details")
    details = details if isinstance(details, dict) else {}
    return {
        "tokens_in": _count(usage.get("prompt_tokens")),
        "tokens_out": _count(usage.get("completion_tokens")),
        "cached": _count(details.get("cached_tokens")) or 0,
        "written": _count(details.get("cache_write_tokens")) or 0,
    }


def _count(value: Any) -> int | None:
    """A number that is one, also as digits in a string."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:12])
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _tokens(logprobs: Any) -> tuple[Token, ...]:
    """The tokens of an answer; none where one of them is not readable, so that none is missing."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    tokens = [_token(entry) for entry in content] if isinstance(content, list) else []
    known = [token for token in tokens if token is not None]
    return tuple(known) if len(known) == len(tokens) else ()


def _token(entry: Any) -> Token | None:
    pair = _pair(entry)
    if pair is None:
        return None
    others = entry.get("top_logprobs")
    pairs = [_pair(other) for other in others] if isinstance(others, list) else []
    return Token(*pair, dict(other for other in pairs if other is not None))


def _pair(entry: Any) -> tuple[str, float] | None:
    if not isinstance(entry, dict):
        return None
    text, logprob = entry.get("token"), entry.get("logprob")
    if not isinstance(text, str) or not isinstance(logprob, int | float):
        return None
    return (text, float(logprob)) if math.isfinite(logprob) else None
