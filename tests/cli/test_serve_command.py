"""`blemish serve` as a process of its own: it starts, answers, and stops when it is told."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

TOKEN = "canary-token-1234567890"
MAIN = "import sys; from blemish.cli import main; sys.argv[0] = 'blemish'; main()"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str, Path]]]:
    """Starts a station on a free port: the process, its address and its log."""
    processes: list[subprocess.Popen[str]] = []

    def start(*words: str) -> tuple[subprocess.Popen[str], str, Path]:
        log = tmp_path / f"{len(processes)}.log"
        folder = str(tmp_path / "station")
        command = [sys.executable, "-c", MAIN, "serve", "--port", "0", "--folder", folder, *words]
        with log.open("w") as file:
            processes.append(subprocess.Popen(command, stderr=file, text=True))
        for _ in range(600):
            found = re.search(r"blemish serves (\S+)", log.read_text())
            if found:
                return processes[-1], found[1], log
            assert processes[-1].poll() is None, log.read_text()
            time.sleep(0.05)
        raise AssertionError(log.read_text())

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_it_serves_and_stops(started: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    process, address, log = started("--token-file", str(tmp_path / "token"))
    with httpx2.Client(base_url=address) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/v1/lines?canary=prompt").status_code == 401
        held = client.get("/v1/lines", headers={"Authorization": f"Bearer {TOKEN}"})
        assert held.json() == []
        assert "server" not in held.headers
        forged = client.get("/healthz", headers={"Host": "evil.example"})
        assert forged.status_code == 421
    process.send_signal(signal.SIGINT)
    assert process.wait(20) in (0, 130, -signal.SIGINT)
    lines = log.read_text().splitlines()
    requests = [json.loads(line) for line in lines if '"message": "request"' in line]
    assert [request["status"] for request in requests] == [200, 401, 200, 421]
    assert TOKEN not in log.read_text()
    assert "canary=prompt" not in log.read_text()
    assert "Traceback" not in log.read_text()


def test_what_it_refuses_to_start_with(blemish: Callable[..., Any], tmp_path: Path) -> None:
    open_to_all = blemish("serve", "--host", "0.0.0.0", "--folder", tmp_path)
    assert (open_to_all.code, "token" in open_to_all.err) == (2, True)
    (tmp_path / "empty").write_text("\n")
    for name, said in (("empty", "holds no token"), ("missing", "cannot be read")):
        refused = blemish("serve", "--token-file", tmp_path / name)
        assert (refused.code, said in refused.err) == (2, True)


def test_a_missing_extra_is_named() -> None:
    # In a process of its own: modules that are taken out and put back are no longer those that
    # their packages name.
    missing = f"import sys; sys.modules['fastapi'] = None; sys.argv.append('serve'); {MAIN}"
    said = subprocess.run([sys.executable, "-c", missing], capture_output=True, text=True)
    assert said.returncode == 2
    assert 'needs fastapi, which is not installed. Install it: pip install "blemish[serve]"' in (
        said.stderr
    )
