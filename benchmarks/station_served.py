"""`blemish serve` as a process that can be watched and killed, with a stub for a detector.

The stub comes in through the entry-point door, as any other package's detector does, so the station
that is measured is the one that is shipped.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

HERE = Path(__file__).parent
TESTS = HERE.parent / "tests" / "service"
BLEMISH = (sys.executable, str(Path(sys.executable).with_name("blemish")))
START = 60.0
"""Seconds within which a station must be ready."""


def environment(folder: Path) -> dict[str, str]:
    """In which Python processes know the stubs; their doors are made in `folder`."""
    info = folder / "door" / "soak-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: soak\nVersion: 0\n")
    (info / "entry_points.txt").write_text(
        "[blemish.detectors]\nsoak = station_stub:DETECTORS\n"
        "[blemish.llms]\nsoak = station_stub:LANGUAGE_MODELS\n"
    )
    path = [str(info.parent), str(HERE), str(TESTS), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}


def processor(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Served:
    """A station in a process of its own, at the same address after each start.

    Args:
        folder: of the station, its log and its stub.
        database: a URL of PostgreSQL, where databases may be made; "" for SQLite.
        settings: further `BLEMISH_SERVE_...` and other variables.
    """

    def __init__(
        self, folder: Path, database: str = "", settings: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.log = folder / "station", folder / "log.txt"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._environment = environment(folder) | dict(settings or {})
        self._command = [*BLEMISH, "serve", "--port", str(self.port), "--folder", str(self.folder)]
        if database:
            self._command += ["--database", _fresh(database)]
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Start, and wait for nothing."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._environment
            )

    def start(self) -> float:
        """Start, and wait until it is ready; the seconds that took."""
        begun = time.monotonic()
        self.spawn()
        while self.status("/readyz") != 200:
            if not self.alive or time.monotonic() - begun > START:
                raise SystemExit(f"The station did not start; see {self.log}.")
            time.sleep(0.02)
        return time.monotonic() - begun

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def kill(self) -> None:
        """As a power cut ends it."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As Ctrl-C ends it."""
        self._end(signal.SIGINT)

    def _end(self, how: signal.Signals) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(how)
            self._process.wait(60)

    def status(self, path: str, seconds: float = 5.0) -> int:
        """The status of an answer to GET, 0 where none comes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def memory(self) -> float:
        """MiB that it holds now."""
        return self._kib("VmRSS") / 1024

    def peak(self) -> float:
        """MiB that it held at most since it started, or since `forget_peak`."""
        return self._kib("VmHWM") / 1024

    def forget_peak(self) -> None:
        """Let `peak` begin anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def processor(self) -> float:
        """Seconds of processor time that it has used."""
        return processor(self.pid)

    def _kib(self, field: str) -> int:
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(text.partition(f"{field}:")[2].split()[0])

    def tracebacks(self) -> int:
        """How often its log shows an error that nobody foresaw."""
        text = self.log.read_text("utf-8", "replace")
        return text.count("Traceback (most recent call last)")


@contextlib.contextmanager
def served(
    folder: Path, database: str = "", settings: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """A station that is ready, and is gone at the end."""
    station = Served(folder, database, settings)
    station.start()
    try:
        yield station
    finally:
        station.stop()


def _fresh(url: str) -> str:
    """The address of a new, empty database beside the one that is named."""
    import psycopg

    name = f"soak_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
