"""What a bad endpoint costs: questions lost, time against the ideal, calls paid.

    python benchmarks/endpoint.py faults         1,000 questions, 16 connections, 1 s an answer
    python benchmarks/endpoint.py kill           the same, killed half way and started again

--count 1000  --delay 1  --connections 16  --seed 0  --image 64 (pixels a side)

A server of its own process answers after the stated delay, and 5 % of the questions with 429
(Retry-After: 1), 2 % with 500, 1 % never, 1 % with garbage, drawn by the seed in the order in which
they come. Each question shows one made-up picture, encoded when it is asked. A question that hangs
is given up after four delays. The ideal time is count / connections * delay: no fault, no client.
A call counts as paid twice where the server had answered the same question properly before; those
in flight when the process was killed cannot be known to it. Rows are printed as Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from blemish.errors import ChatError
from blemish.llms.cache import Cached
from blemish.llms.openai_api import OpenAIChat
from blemish.types import Message

SERVER = Path(__file__).parents[1] / "tests" / "llms" / "server.py"


@contextmanager
def server(options: argparse.Namespace) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(SERVER), "--delay", str(options.delay)]
    command += ["--seed", str(options.seed), "--faults"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        yield process
        process.stdin.close()  # type: ignore[union-attr]


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def counts(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdin
    print("counts", file=process.stdin, flush=True)
    answer: dict[str, Any] = json.loads(line(process))
    return answer


def question(number: int, side: int) -> list[Message]:
    pixels = np.random.default_rng(number).integers(0, 255, (side, side, 3), np.uint8)
    return [Message("user", f"What is wrong with part {number}?", (pixels,))]


def ask_all(url: str, options: argparse.Namespace) -> dict[str, Any]:
    """Ask every question in as many threads as there are connections."""
    chat = OpenAIChat(
        base_url=url,
        api_key="none",
        max_tokens=100,
        timeout=4 * options.delay,
        concurrency=options.connections,
    )
    model: Any = Cached(chat, options.cache) if options.cache else chat
    chat.chat([Message("user", "Warm up.")])  # The SDK takes a second to import.

    def ask(number: int) -> bool:
        try:
            model.chat(question(number, options.image))
        except ChatError as error:
            print(f"Question {number} was lost: {error}", file=sys.stderr)
            return False
        return True

    started = time.perf_counter()
    with ThreadPoolExecutor(options.connections) as pool:
        answered = sum(pool.map(ask, range(options.count)))
    seconds = time.perf_counter() - started
    return {"answered": answered, "seconds": seconds, "paid": chat.budget.made - 1}


def ideal(options: argparse.Namespace) -> float:
    return float(options.count / options.connections * options.delay)


def faults(options: argparse.Namespace) -> None:
    with server(options) as process:
        told = ask_all(line(process), options)
        counted = counts(process)
    print("| questions | lost | s | ideal s | ratio | counted as paid | paid at the server |")
    print("|---|---|---|---|---|---|---|")
    print(
        f"| {options.count} | {options.count - told['answered']} | {told['seconds']:.1f} "
        f"| {ideal(options):.1f} | {told['seconds'] / ideal(options):.2f} | {told['paid']} "
        f"| {counted['paid'] - 1} |"
    )


def kill(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder, server(options) as process:
        url = line(process)
        command = [sys.executable, __file__, "part", "--url", url, "--cache", folder]
        for name in ("count", "delay", "connections", "seed", "image"):
            command += [f"--{name}", str(getattr(options, name))]
        first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while len(counts(process)["proper"]) < options.count / 2:
            time.sleep(0.05)
        first.kill()
        first.wait()
        before = len(list(Path(folder).rglob("*.json")))
        second = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
        proper = Counter(text for text in counts(process)["proper"] if "part" in text)
    twice = sum(number - 1 for number in proper.values())
    print("| questions | kept at the kill | lost | paid twice | connections |")
    print("|---|---|---|---|---|")
    lost = options.count - second["answered"]
    print(f"| {options.count} | {before} | {lost} | {twice} | {options.connections} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mode", choices=["faults", "kill", "part"])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--delay", type=float, default=1.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--image", type=int, default=64)
    parser.add_argument("--cache", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["NO_PROXY"] = "127.0.0.1"
    if options.mode == "part":
        print(json.dumps(ask_all(options.url, options)))
    else:
        {"faults": faults, "kill": kill}[options.mode](options)


if __name__ == "__main__":
    main()
