"""What the clients of a measured station send, and what they note of its answers."""

from __future__ import annotations

import http.client
import io
import json
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import numpy as np
import PIL.Image

LINE = "caps"
_BORDER = "0b0undary0b0undary"
File = tuple[str, bytes]


def _png(spot: int | None) -> bytes:
    """A light part of 120 x 160 with a little noise; `spot` is the grey of a dark place."""
    noise = np.random.default_rng(0).integers(0, 3, (120, 160, 1), np.uint8)
    image = np.repeat(238 + noise, 3, axis=2)
    if spot is not None:
        image[50:70, 70:100] = spot
    held = io.BytesIO()
    PIL.Image.fromarray(image).save(held, "PNG", compress_level=1)
    return held.getvalue()


GOOD, BAD = _png(None), _png(60)


def part(number: int) -> File:
    """A picture like no other number's, and its name; every third part is defective."""
    text = b"n\0" + str(number).encode()
    chunk = struct.pack(">I", len(text)) + b"tEXt" + text
    chunk += struct.pack(">I", zlib.crc32(b"tEXt" + text))
    plain = GOOD if number % 3 else BAD
    return f"part-{number}.png", plain[:-12] + chunk + plain[-12:]


def drawn(seed: int) -> File:
    """A picture that has other pixels with each seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8)
    held = io.BytesIO()
    PIL.Image.fromarray(pixels).save(held, "PNG")
    return f"part-{seed}.png", held.getvalue()


def form(fields: Sequence[tuple[str, str]], files: Sequence[File], of: str = "files") -> bytes:
    """A multipart body; `Client.send` knows its border."""
    out = bytearray()
    for name, value in fields:
        out += f'--{_BORDER}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
        out += value.encode() + b"\r\n"
    for name, data in files:
        head = f'--{_BORDER}\r\nContent-Disposition: form-data; name="{of}"; '
        head += f'filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        out += head.encode("utf-8", "surrogatepass") + data + b"\r\n"
    return bytes(out) + f"--{_BORDER}--\r\n".encode()


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 where nothing did."""

    status: int
    body: bytes
    seconds: float

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Noted:
    """Times and statuses of many clients together."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    accepted: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, answer: Answer, names: Sequence[str] = ()) -> None:
        with self.lock:
            self.seconds.append(answer.seconds)
            self.statuses[answer.status] += 1
            if names and answer.status in (200, 202):
                self.accepted += names

    def percentile(self, share: float) -> float:
        return float(np.percentile(self.seconds, share)) if self.seconds else float("nan")

    @property
    def broken(self) -> int:
        """5xx, and answers that never came."""
        return sum(n for status, n in self.statuses.items() if status >= 500 or not status)


class Client:
    """A connection that is made anew when it is lost."""

    def __init__(self, port: int, timeout: float = 60.0) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """An answer; nothing is raised where there is none."""
        begun = time.perf_counter()
        sent = {"Content-Type": f"multipart/form-data; boundary={_BORDER}"} if body else {}
        try:
            self._connection.request(method, path, body, sent | (headers or {}))
            response = self._connection.getresponse()
            data = response.read()
            status = response.status
            if response.will_close:
                self.close()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            status, data = 0, repr(error).encode()
        return Answer(status, data, time.perf_counter() - begun)

    def inspect(
        self, files: Sequence[File], wait: float = 0, key: str = "", line: str = LINE
    ) -> Answer:
        """Send pictures."""
        path = f"/v1/inspections?wait={wait:g}" if wait else "/v1/inspections"
        return self.send("POST", path, form([("line", line)], files), {"Idempotency-Key": key})

    def get(self, path: str) -> Any:
        """JSON. Raises RuntimeError for any other answer than 200."""
        answer = self.send("GET", path)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {answer.body[:500]!r}")
        return answer.json()

    def ended(self, job: str, seconds: float = 900) -> Any:
        """A job with its items, once it has ended."""
        until = time.monotonic() + seconds
        while (found := self.get(f"/v1/jobs/{job}"))["state"] in ("queued", "running"):
            if time.monotonic() > until:
                raise SystemExit(f"The job {job} does not end: {found['state']}.")
            time.sleep(0.2)
        return found

    def close(self) -> None:
        self._connection.close()


def together(works: Sequence[Callable[[], None]]) -> None:
    """Each in a thread of its own, until all have ended."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def make_line(
    port: int, references: Sequence[File] = (("good.png", GOOD),), line: str = LINE, **fields: str
) -> None:
    """A line that is ready when this returns; its detector is the stub unless another is told."""
    client = Client(port)
    told = {"name": line, "class_name": "cap", "detector": "shade", **fields}
    body = form(list(told.items()), references, "references")
    made = client.send("POST", "/v1/lines", body)
    if made.status != 201:
        raise SystemExit(f"The line was not made: {made.body.decode()}")
    while (state := client.get(f"/v1/lines/{quote(line)}")["state"]) == "fitting":
        time.sleep(0.05)
    if state != "ready":
        raise SystemExit(f"The line is {state}.")


def inspections(port: int, line: str = LINE) -> list[dict[str, Any]]:
    """All that the station has of a line, the newest first."""
    client, found, after = Client(port), [], ""
    while True:
        page = client.get(f"/v1/inspections?line={quote(line)}&limit=500{after}")
        found += page["items"]
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"


def settle(port: int, seconds: float = 900) -> float:
    """Wait until nothing that was accepted waits; the seconds that took."""
    client, begun = Client(port), time.monotonic()
    while True:
        text = client.send("GET", "/metrics").body.decode()
        if "\nblemish_queued_files 0.0" in text:
            return time.monotonic() - begun
        if time.monotonic() - begun > seconds:
            raise SystemExit("The station does not come to an end with what it accepted.")
        time.sleep(0.2)
