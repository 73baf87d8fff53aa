"""One request to an OpenAI-compatible endpoint, and what can go wrong with it, in words."""

from __future__ import annotations

import email.utils
import math
import os
import re
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from blemish.errors import MissingExtraError, OptionError
from blemish.llms import _answers
from blemish.llms._answers import Unanswered

_OPENAI = "https://api.openai.com/v1"
_NO_KEY = "none"
"""Sent to servers of one's own: Ollama wants a key, but any will do."""
_CONNECT = 10.0
"""Seconds to reach the endpoint at all, which takes no thinking."""
_LARGEST = 32 * 2**20
"""Bytes of an answer; a longer one is a stream that never ends."""
_REJECTED = {400, 403, 404, 422}
"""Statuses that may speak of a parameter; OpenAI rejects log-probabilities with 403."""
_HOPELESS = {401, 404}
"""Statuses that every other question would get as well; 403 may be about one picture."""
_ADVICE = {
    401: "Check the API key: the argument api_key, or OPENAI_API_KEY.",
    403: "Check that the API key may use this model.",
    404: "Check the model's name, and base_url, which mostly ends in /v1.",
    413: "Send smaller images (image_side).",
}


class Endpoint:
    """A chat completions endpoint; safe for any number of threads.

    Args:
        base_url: None for OPENAI_BASE_URL or OpenAI's own.
        api_key: None for OPENAI_API_KEY.
        timeout: seconds for one whole answer.
    """

    def __init__(self, base_url: str | None, api_key: str | None, timeout: float) -> None:
        self.url = base_url or os.environ.get("OPENAI_BASE_URL") or _OPENAI
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            typed = self.url.rpartition("@")[2].partition("?")[0]
            raise OptionError(
                f"base_url {typed!r} is no address of a server; expected something like "
                "http://localhost:11434/v1."
            )
        # The host alone: an address may carry a password or a token.
        self.shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._timeout = timeout
        self._key = (api_key or os.environ.get("OPENAI_API_KEY") or "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise OptionError(
                "The API key holds characters that no key has, such as a line break. Copy it anew."
            )
        self._client: Any = None
        self._making = threading.Lock()

    def post(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """One whole answer.

        Raises:
            Unanswered: there is none.
        """
        until = time.monotonic() + self._timeout
        data = bytearray()
        with self._exchange(body) as response:
            for chunk in response.iter_bytes():
                data += chunk
                # Each read has its time limit; an endpoint that trickles would pass them all.
                if time.monotonic() > until:
                    raise Unanswered(self._late(), again=True, charged=True)
                if len(data) > _LARGEST:
                    raise Unanswered(f"its answer is over {_LARGEST:,} bytes", charged=True)
        return _answers.decode(bytes(data))

    def stream(self, body: Mapping[str, Any]) -> Generator[Mapping[str, Any], None, None]:
        """An answer piece by piece; closing the iterator closes the connection.

        Raises:
            Unanswered: there is none, or it breaks off.
        """
        with self._exchange(body) as response:
            for line in response.iter_lines():
                field, _, value = line.partition(":")
                if field == "data" and value.strip() == "[DONE]":
                    return
                if field == "data":
                    yield _answers.decode(value.strip().encode())
                elif line.startswith("{"):  # An error that was not dressed as an event.
                    yield _answers.decode(line.encode())

    def close(self) -> None:
        """Close the connections; the next question opens new ones."""
        with self._making:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def cleaned(self, words: str) -> str:
        """Words of an endpoint as a sentence, without the key, on one line, and not too many."""
        if self._key:
            words = words.replace(self._key, "[the API key]")
        words = re.sub(r"[\s\x00-\x1f\x7f]+", " ", words).strip()
        return _sentence(words) if len(words) <= 500 else words[:500] + " ..."

    @contextmanager
    def _exchange(self, body: Mapping[str, Any]) -> Iterator[Any]:
        """The answer to one request, its body not read yet."""
        client = self.connect()
        import httpx2
        import openai

        try:
            with client.chat.completions.with_streaming_response.create(**body) as response:
                yield response
        except openai.APIStatusError as error:
            problem = self._refused(error.status_code, error.body, error.response.headers)
        except (openai.APITimeoutError, httpx2.TimeoutException) as error:
            problem = Unanswered(self._late(), again=True, charged=_was_sent(error))
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            kind = type(error.__cause__ or error).__name__
            problem = Unanswered(
                f"the connection failed or broke ({kind})", again=True, charged=_was_sent(error)
            )
        else:
            return
        raise problem

    def _late(self) -> str:
        return f"no whole answer came within {self._timeout:g} s"

    def _refused(self, status: int, body: Any, headers: Mapping[str, str]) -> Unanswered:
        words, error = _answers.error_words(body)
        wait = retry_after(headers)
        again = _answers.status_again(status)
        advice = _ADVICE.get(status, "")
        empty = error.get("code") == "insufficient_quota"
        if empty:
            # Says 429 as well, but no waiting fills an account.
            again, advice = False, "The account's credit is used up."
        param = error.get("param")
        return Unanswered(
            f"it answered {status}: {_sentence(words)} {advice}",
            again=again,
            wait=wait,
            rejected=status in _REJECTED,
            hopeless=empty or status in _HOPELESS,
            param=param if isinstance(param, str) else "",
        )

    def connect(self) -> Any:
        """The SDK's client, made at the first call; no connection is opened yet.

        Raises:
            MissingExtraError: the SDK is not installed.
            OptionError: OpenAI is to be asked without a key.
        """
        with self._making:
            if self._client is None:
                self._client = self._make()
            return self._client

    def _make(self) -> Any:
        try:
            import httpx2
            import openai
        except ImportError as cause:
            raise MissingExtraError(
                "Asking an endpoint needs openai, version 3 or newer, which is not installed: "
                'pip install "blemish[llm]"'
            ) from cause
        if not self._key and self.url == _OPENAI:
            raise OptionError(
                "No API key for OpenAI. Set OPENAI_API_KEY, or give base_url for a server of your "
                "own, such as http://localhost:11434/v1."
            )
        return openai.OpenAI(
            api_key=self._key or _NO_KEY,
            base_url=self.url,
            timeout=httpx2.Timeout(self._timeout, connect=min(self._timeout, _CONNECT)),
            max_retries=0,  # blemish asks again itself, within its budget and limits.
        )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an endpoint asks to wait, given as milliseconds, seconds or a date."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        date = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, date.timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _sentence(words: str) -> str:
    """Words with the full stop that something may follow."""
    words = words.strip()
    return words if not words or words[-1] in ".!?" else f"{words}."


def _was_sent(error: BaseException) -> bool:
    """Whether a question may have reached the endpoint before the connection failed."""
    cause = error.__cause__ or error
    return type(cause).__name__ not in ("ConnectError", "ConnectTimeout", "PoolTimeout")
