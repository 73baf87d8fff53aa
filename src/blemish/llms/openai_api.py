"""Any OpenAI-compatible chat endpoint: OpenAI, vLLM, Ollama, llama.cpp's server, blemish's own.

One place asks again, waits, and counts: the SDK's own retries are off. A question costs at least
one call; what may have been charged without an answer arriving counts as if paid in full.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any, Literal, TypeVar

from blemish.errors import AccessError, ChatError, OptionError
from blemish.llms import _answers
from blemish.llms._answers import Answer, Unanswered
from blemish.llms._endpoint import Endpoint
from blemish.llms._meter import Bill, Call, Meter
from blemish.llms._parameters import Parameters, dropped
from blemish.llms._pictures import Pictures
from blemish.llms.budget import Budget
from blemish.llms.prices import Price, price_of, question_tokens, text_tokens
from blemish.llms.rate import Limits
from blemish.types import Message, Reply, Usage

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 20.0
"""Seconds before asking again where the endpoint names none; doubled each time."""
BOUNDED_ANSWER = 4096
"""Tokens of an answer at most where a budget in money has to bound it and nothing else does."""
LONGEST_WAIT = 120.0
"""Seconds that an endpoint may ask to wait; a question that should wait longer is given up."""
MOST_LOGPROBS = 20
"""Alternatives a token that the interface knows."""
_DETAILS = ("auto", "low", "high", "original")
_OWN = {
    *("model", "messages", "n", "stream", "stream_options", "temperature", "seed"),
    *("max_tokens", "max_completion_tokens", "logprobs", "top_logprobs", "response_format"),
}
"""What `extra` may not hold: it would go past what is learnt, counted or cached."""
_T = TypeVar("_T")


class OpenAIChat:
    """A chat model behind an OpenAI-compatible endpoint. Any number of threads may use it.

    Args:
        name: the model, as the endpoint names it.
        base_url: such as "http://localhost:11434/v1"; None for OPENAI_BASE_URL or OpenAI itself.
        api_key: None for OPENAI_API_KEY; a server of one's own gets "none" where neither is set.
        temperature: 0 to 2; None for the endpoint's own.
        seed: `attempt` is added to it; None for none.
        max_tokens: of the answer, hidden reasoning included; None for the endpoint's own, and for
            4,096 where there is a budget in money.
        detail: of images: "auto", "low", "high" or "original".
        image_side: the longer side in pixels to which larger images are shrunk; None to send all.
        image_format: "png", which keeps every pixel, or "jpeg" of quality 95.
        timeout: seconds for one whole answer.
        retries: how often a question is asked again after 408, 409, 429, 5xx, a broken
            connection, a time-out or an answer that cannot be read.
        concurrency: questions under way at once; the others wait.
        requests_per_minute: None for no limit.
        tokens_per_minute: prompt and answer together; None for no limit.
        budget: what may be spent, possibly together with other models.
        prices: money per million tokens of prompt and of answer; None for those of `prices.json`.
        extra: further parameters of the request, passed on as they are.

    Attributes:
        budget: the one given, or one without limits that counts all the same.
        concurrency: as given.

    Raises:
        OptionError: an option has a value that cannot be used.
    """

    def __init__(
        self,
        name: str = "gpt-4o",
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        max_tokens: int | None = None,
        detail: Literal["auto", "low", "high", "original"] = "auto",
        image_side: int | None = None,
        image_format: Literal["png", "jpeg"] = "png",
        timeout: float = 60.0,
        retries: int = 5,
        concurrency: int = 16,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        budget: Budget | None = None,
        prices: tuple[float, float] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        _check("temperature", temperature, temperature is None or 0 <= temperature <= 2, "0 to 2")
        _check("max_tokens", max_tokens, max_tokens is None or max_tokens >= 1, "1 or more")
        _check("detail", detail, detail in _DETAILS, f"one of {_DETAILS}")
        _check("image_side", image_side, image_side is None or image_side >= 1, "1 or more pixels")
        _check("image_format", image_format, image_format in ("png", "jpeg"), "'png' or 'jpeg'")
        _check("timeout", timeout, timeout > 0, "more than 0 seconds")
        _check("retries", retries, retries >= 0, "0 or more")
        two = prices is None or (len(prices) == 2 and min(prices) >= 0)
        _check("prices", prices, two, "two numbers, 0 or more")
        _check("extra", extra, not _OWN & set(extra or ()), "no parameter that blemish sets itself")
        self.name = name
        self.concurrency = concurrency
        self.budget = budget or Budget()
        if max_tokens is None and self.budget.money is not None:
            max_tokens = BOUNDED_ANSWER
        self._endpoint = Endpoint(base_url, api_key, timeout)
        self._pictures = Pictures(detail, image_side, image_format)
        self._seed, self._max_tokens, self._retries = seed, max_tokens, retries
        self._fixed: dict[str, Any] = {
            "model": name,
            "temperature": temperature,
            "max_tokens": max_tokens,
        }
        self._extra = dict(extra or {})
        self._taken = Parameters(name)
        self._stopped = threading.Event()
        limits = Limits(concurrency, requests_per_minute, tokens_per_minute)
        price = Price(*prices) if prices else price_of(name)
        self._meter = Meter(name, price, max_tokens, self.budget, limits)
        told = [self._endpoint.shown, self._fixed, seed, detail, image_side, image_format]
        shaped = json.dumps([*told, self._extra], sort_keys=True, default=str)
        self.fingerprint = hashlib.sha256(shaped.encode()).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"OpenAIChat({self.name!r}, base_url={self._endpoint.shown!r})"

    def chat(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        logprobs: int = 0,
        attempt: int = 0,
    ) -> Reply:
        """One answer; see `blemish.types.ChatModel`.

        Raises:
            ChatError: no answer could be had.
            BudgetError: the answer would exceed the budget.
        """
        started = time.perf_counter()
        wanted, prompt = self._question(messages)
        if self._seed is not None:
            wanted["seed"] = self._seed + attempt
        if logprobs > 0:
            wanted |= {"logprobs": True, "top_logprobs": min(logprobs, MOST_LOGPROBS)}
        if schema is not None:
            named = {"name": "answer", "schema": schema, "strict": True}
            wanted["response_format"] = {"type": "json_schema", "json_schema": named}
            prompt += text_tokens(json.dumps(schema))
        bill = Bill()

        def ask(sent: Mapping[str, Any]) -> Answer:
            with self._meter.call(prompt, bill) as call:
                self._go_on()
                call.answer = answer = _answers.read(self._endpoint.post(sent))
            return answer

        answer, sent = self._persist(wanted, ask)
        return Reply(
            text=answer.text,
            usage=Usage(
                model_calls=bill.calls,
                tokens_in=answer.tokens_in or 0,
                tokens_out=answer.tokens_out or 0,
                cost=bill.cost,
                seconds={"language model": time.perf_counter() - started},
            ),
            ended=answer.ended,
            tokens=answer.tokens,
            model=answer.model or self.name,
            dropped=dropped(wanted, sent),
        )

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """The answer piece by piece; closing the iterator closes the connection.

        Nothing is asked before the first piece is. A stream that breaks off is an error: it is
        not asked again, since what was shown cannot be taken back.
        """
        wanted, prompt = self._question(messages)
        if self._seed is not None:
            wanted["seed"] = self._seed
        wanted |= {"stream": True, "stream_options": {"include_usage": True}}
        return self._pieces(wanted, prompt)

    def stop(self) -> None:
        """Ask nothing any more, not even again; what is under way is still answered.

        For a run that a person has stopped. Safe to call from any thread.
        """
        self._stopped.set()

    def _go_on(self) -> None:
        if self._stopped.is_set():
            raise Unanswered("it was told to stop")

    def close(self) -> None:
        """Close the connections; the next question opens new ones."""
        self._endpoint.close()

    def _question(self, messages: Sequence[Message]) -> tuple[dict[str, Any], int]:
        """The request that every way of asking begins with, and its tokens at most."""
        pairs = [self._pictures.message(message) for message in messages]
        sizes = [size for _, of_message in pairs for size in of_message]
        wanted = {name: value for name, value in self._fixed.items() if value is not None}
        wanted["messages"] = [message for message, _ in pairs]
        if self._extra:
            wanted["extra_body"] = self._extra
        return wanted, question_tokens(self.name, messages, sizes, self._pictures.detail)

    def _persist(
        self, wanted: Mapping[str, Any], ask: Callable[[Mapping[str, Any]], _T]
    ) -> tuple[_T, Mapping[str, Any]]:
        """Ask until there is an answer, and say with what it was got."""
        self._endpoint.connect()
        failed = 0
        while True:
            sent = self._taken.allowed(wanted)
            try:
                return ask(sent), sent
            except Unanswered as caught:
                problem = caught
            # Outside of the handler, so that no SDK error, which holds the key, hangs on ours.
            words = self._endpoint.cleaned(problem.words)
            if problem.rejected and self._taken.learn(sent, problem.param, words):
                continue
            failed += 1
            if not problem.again or failed > self._retries:
                error = AccessError if problem.hopeless else ChatError
                raise error(self._given_up(words, failed))
            self._stopped.wait(self._pause(failed, problem.wait, words))

    def _pause(self, failed: int, wait: float | None, words: str) -> float:
        """Seconds to wait, spread so that threads that failed together do not come back so."""
        if wait is None:
            pause = min(FIRST_PAUSE * 2.0 ** (failed - 1), LONGEST_PAUSE)
            return pause * random.uniform(0.5, 1.0)
        if wait > LONGEST_WAIT:
            raise ChatError(
                f"{self._given_up(words, failed)} It asks to wait {wait:,.0f} s, more than the "
                f"{LONGEST_WAIT:g} s that blemish waits. Start again then: what was answered and "
                "cached is not asked again."
            )
        return wait * random.uniform(1.0, 1.1)

    def _given_up(self, words: str, failed: int) -> str:
        times = "" if failed == 1 else f" {failed} times, the last time thus"
        return f"{self.name} at {self._endpoint.shown} gave no answer{times}: {words}"

    def _pieces(self, wanted: Mapping[str, Any], prompt: int) -> Iterator[str]:
        def ask(sent: Mapping[str, Any]) -> tuple[ExitStack, Call, Iterator[Mapping[str, Any]]]:
            with ExitStack() as stack:
                call = stack.enter_context(self._meter.call(prompt, Bill()))
                self._go_on()
                chunks = stack.enter_context(closing(self._endpoint.stream(sent)))
                first = next(chunks, None)
                if first is None:
                    raise Unanswered("its stream held nothing", again=True, charged=True)
                _answers.first_choice(first, "delta")
                return stack.pop_all(), call, _chain(first, chunks)

        (stack, call, chunks), _ = self._persist(wanted, ask)
        ended, problem = "", ""
        usage: dict[str, Any] = {}
        try:
            with stack:
                for chunk in chunks:
                    choice = _answers.first_choice(chunk, "delta")
                    usage = _answers.usage_of(chunk) or usage
                    ended = str(choice.get("finish_reason") or ended)
                    if text := _answers.delta_text(choice):
                        yield text
                call.answer = Answer("", "stop", **usage)
        except Unanswered as caught:
            problem = caught.words
        if not ended:
            problem = problem or "it ended without saying so"
        if ended == "content_filter":
            problem = "its content filter stopped it"
        if problem:
            words = self._endpoint.cleaned(problem)
            raise ChatError(f"{self.name} at {self._endpoint.shown} broke off its answer: {words}")


def _check(what: str, value: object, fine: bool, expected: str) -> None:
    if not fine:
        raise OptionError(f"{what}={value!r} came; expected {expected}.")


def _chain(
    first: Mapping[str, Any], rest: Iterator[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    yield first
    yield from rest
