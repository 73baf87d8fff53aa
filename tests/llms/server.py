"""A local endpoint that speaks OpenAI's chat completions, and fails as it is told to.

    python tests/llms/server.py --delay 1 --seed 0 --faults

runs it by itself with seeded faults (5 % 429, 2 % 500, 1 % hang, 1 % garbage) and prints its
address. A line "counts" on standard input is answered with what it counted; it ends with its input.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal


@dataclass(frozen=True)
class Act:
    """What the server does with one question.

    Attributes:
        how: "answer"; "hang" says nothing; "drop" closes the connection; "cut" closes it in the
            middle of the answer; "trickle" sends blanks without end.
        status: of the answer.
        body: JSON values, or bytes as they are; None for a proper completion.
        headers: beside the usual ones.
        delay: seconds before it, beside the server's own.
    """

    how: Literal["answer", "hang", "drop", "cut", "trickle"] = "answer"
    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0


def error(status: int, message: str = "Not now.", **more: Any) -> Act:
    """An error as OpenAI words them; `retry_after` becomes a header."""
    headers = {"Retry-After": str(more.pop("retry_after"))} if "retry_after" in more else {}
    return Act(status=status, body={"error": {"message": message, **more}}, headers=headers)


HANG, DROP, CUT, TRICKLE = Act("hang"), Act("drop"), Act("cut"), Act("trickle")
GARBAGE = Act(body=b'{"choices": [{"mess')


def completion(text: str | None = "No anomaly.", **more: Any) -> dict[str, Any]:
    """A proper answer; `message`, `finish_reason`, `logprobs`, `usage` and others replace parts."""
    message = {"role": "assistant", "content": text} | more.pop("message", {})
    choice = {"index": 0, "finish_reason": more.pop("finish_reason", "stop"), "message": message}
    if "logprobs" in more:
        choice["logprobs"] = more.pop("logprobs")
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "stub-2026-11-01"}
    return whole | {"choices": [choice], "usage": usage} | more


class Server:
    """An endpoint on a free port of this machine, in threads of its own.

    Args:
        script: what it does with its first questions; a function of the question for all of them.
        rejects: parameters that it turns down with a 400 that names them.
        delay: seconds before every answer.

    Attributes:
        asked: the bodies that came, in order.
        keys: the Authorization headers that came.
        at: when each came, in seconds of `time.monotonic`.
        paid: how many answers it would charge for: all that it did not turn down.
        proper: the text of each question that it did answer properly.
        most: how many questions it had at once.
        left: set once a client has gone away in the middle of a stream.
    """

    def __init__(
        self,
        script: Iterable[Act] | Callable[[Mapping[str, Any]], Act] = (),
        rejects: Iterable[str] = (),
        delay: float = 0.0,
    ) -> None:
        self._script = script if callable(script) else iter(script)
        self._rejects, self._delay = tuple(rejects), delay
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.at: list[float] = []
        self.proper: list[str] = []
        self.paid = self.most = self._now = 0
        self.left, self._stopping = threading.Event(), threading.Event()
        self.lock = threading.Lock()
        self._http = _Http(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def act(self, body: dict[str, Any], key: str) -> Act:
        """Take note of a question, and say what to do with it."""
        with self.lock:
            self.asked.append(body)
            self.keys.append(key)
            self.at.append(time.monotonic())
            self._now += 1
            self.most = max(self.most, self._now)
            act = self._script(body) if callable(self._script) else next(self._script, Act())
            for name in self._rejects:
                if name in body and act == Act():
                    words = f"Unsupported parameter: '{name}' is not supported with this model."
                    act = error(400, words, param=name, code="unsupported_parameter")
            self.paid += act.status == 200
            if act == Act():
                content = body["messages"][-1]["content"]
                self.proper.append(content if isinstance(content, str) else content[-1]["text"])
            return act

    def wait(self, seconds: float) -> bool:
        """Sleep, but not longer than the server lives; whether it is at its end."""
        return self._stopping.wait(seconds)

    def done(self) -> None:
        """Take note that a question was answered."""
        with self.lock:
            self._now -= 1

    @property
    def delay(self) -> float:
        """Seconds before every answer."""
        return self._delay


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away; that is what many tests are about."""


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            act = server.act(body, self.headers.get("Authorization", ""))
            try:
                server.wait(server.delay * (act.status == 200) + act.delay)
                self._answer(act, body)
            finally:
                server.done()

        def _answer(self, act: Act, body: Mapping[str, Any]) -> None:
            if act.how == "hang":
                server.wait(3600)
            if act.how in ("hang", "drop"):
                self.close_connection = True
                return
            said = completion() if act.body is None else act.body
            if body.get("stream") and act.status == 200:
                self._stream(act, said, body)
                return
            data = said if isinstance(said, bytes) else json.dumps(said).encode()
            head = f"HTTP/1.1 {act.status} Told\r\nContent-Type: application/json\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in act.headers.items())
            more = 1 if act.how != "answer" else 0
            head += f"Content-Length: {len(data) + more * 10**6}\r\n\r\n"
            self.wfile.write(head.encode() + data[: len(data) // (1 + more)])
            while act.how == "trickle" and not server.wait(0.02):
                self._piece(b" ")
            self.close_connection = bool(more)

        def _stream(self, act: Act, said: Any, body: Mapping[str, Any]) -> None:
            """A completion word by word; a list of values or bytes is sent as it is."""
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            )
            self.close_connection = True
            for piece in said if isinstance(said, list) else _pieces(said, body):
                data = piece if isinstance(piece, bytes) else json.dumps(piece).encode()
                self._piece(b"data: " + data + b"\n\n")
                server.wait(act.delay)
            if act.how != "cut":
                self._piece(b"data: [DONE]\n\n")

        def _piece(self, data: bytes) -> None:
            try:
                self.wfile.write(data)
            except OSError:
                server.left.set()
                raise

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def _pieces(said: Mapping[str, Any], body: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    choice = said["choices"][0]
    for word in (choice["message"]["content"] or "").split(" "):
        yield {"choices": [{"index": 0, "delta": {"content": word + " "}}]}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]}
    if body.get("stream_options", {}).get("include_usage"):
        yield {"choices": [], "usage": said["usage"]}


def seeded_faults(seed: int) -> Callable[[Mapping[str, Any]], Act]:
    """5 % 429, 2 % 500, 1 % hang, 1 % garbage, drawn in the order in which questions come."""
    draw = random.Random(seed)
    faults = ((0.05, error(429, retry_after=1)), (0.02, error(500)), (0.01, HANG), (0.01, GARBAGE))

    def act(_: Mapping[str, Any]) -> Act:
        at = draw.random()
        for share, fault in faults:
            if at < share:
                return fault
            at -= share
        return Act()

    return act


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", action="store_true")
    options = parser.parse_args()
    script = seeded_faults(options.seed) if options.faults else ()
    with Server(script, delay=options.delay) as server:
        print(server.url, flush=True)
        for line in sys.stdin:
            if line.strip() == "counts":
                with server.lock:
                    print(json.dumps({"paid": server.paid, "proper": server.proper}), flush=True)


if __name__ == "__main__":
    main()
