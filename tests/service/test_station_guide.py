"""docs/station.md: every command in it is run against a real station, and answers as it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from blemish.service import problems
from blemish.service.settings import PREFIX, ServiceSettings
from blemish.synthesis.procedural import make_part

GUIDE = (Path(__file__).parents[2] / "docs" / "station.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8000"
NOT_RUN = ("pip", "blemish", "python3", "chmod")
"""Commands of the guide that install, start the station or make a token; others test `blemish`."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the guide's reader."""
    for seed in range(4):
        image = make_part("woven", seed, size=(112, 112)).sample.image
        PIL.Image.fromarray(image).save(tmp_path / f"{seed}.png")
    broken = make_part("woven", 100, defect="hole", size=(112, 112)).sample.image
    PIL.Image.fromarray(broken).save(tmp_path / "part.png")
    for name, files in (
        ("good_parts.zip", ("0.png", "1.png", "2.png")),
        ("shift_12.zip", ("3.png", "part.png")),
    ):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for file in files:
                archive.write(tmp_path / file, file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def station(here: Path) -> Iterator[str]:
    """The address of a running station."""
    if not shutil.which("curl"):
        pytest.skip("needs curl: apt-get install curl")
    log = here / "log"
    blemish = [str(Path(sys.executable).parent / "blemish"), "serve", "--port", "0"]
    with log.open("w") as file:
        process = subprocess.Popen([*blemish, "--folder", str(here / "station")], stderr=file)
    try:
        while not (found := re.search(r"blemish serves (\S+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        yield found[1]
    finally:
        process.terminate()
        process.wait(60)


class Reader:
    """Types the guide's commands one after the other, as a person does who reads the answers."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._known: dict[str, str] = {}

    def run(self, line: str) -> Any:
        """What a command answers: JSON, text, or "" where it writes a file."""
        # An HTTP error fails the command.
        line = line.replace(ADDRESS, self._address)
        line = re.sub(r"^curl", "curl -sS --fail-with-body", line)
        env = {**os.environ, **self._known}
        done = subprocess.run(["bash", "-uc", line], capture_output=True, text=True, env=env)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            return done.stdout
        self._note(answer)
        return answer

    def _note(self, answer: Any) -> None:
        if not isinstance(answer, dict):
            return
        if "total" in answer and "id" in answer:
            self._known["JOB"] = answer["id"]
            first = answer["items"][0]["inspection"]
            self._known.setdefault("INSPECTION", first)
        while answer.get("state") == "fitting":
            time.sleep(0.2)
            [newest, *_] = self.run(f"curl {ADDRESS}/v1/lines/fabric/versions")
            answer = newest
            assert answer["state"] != "failed", answer


def misses(shown: Any, came: Any, at: str = "") -> list[str]:
    """What the guide shows and no answer has: keys, and items where there are none.

    >>> misses({"a": [{"b": 1}], "c": 2}, {"a": [{"b": 5, "d": 6}]})
    ['.c']
    """
    if isinstance(shown, dict):
        gone = [f"{at}.{key}" for key in shown if key not in came]
        both = [key for key in shown if key in came]
        return gone + [one for key in both for one in misses(shown[key], came[key], f"{at}.{key}")]
    if isinstance(shown, list) and shown:
        return misses(shown[0], came[0], f"{at}[]") if came else [f"{at}[]"]
    return [] if isinstance(came, type(shown)) else [at]


def test_every_command_of_the_guide_runs_and_answers_as_it_says(
    station: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, answer, ran = Reader(station), None, 0
    for language, body in FENCE.findall(GUIDE):
        if language == "sh":
            for line in body.strip().splitlines():
                if line.split()[0] not in NOT_RUN:
                    answer = reader.run(line)
                    ran += 1
        elif language == "json":
            assert misses(json.loads(body), answer) == []
        elif language == "python":
            pytest.importorskip("openai", reason="needs openai: pip install 'blemish[dev]'")
            made: dict[str, Any] = {}
            exec(compile(body.replace(ADDRESS, station), "station.md", "exec"), made)
            made["client"].close()  # else some later test hears of a socket that was left open
            assert re.match(r"Anomalous, score \d\.\d\d \(decided by", capsys.readouterr().out)
    assert ran > 25
    assert "</html>" in (here / "report.html").read_text(encoding="utf-8")
    assert (here / "original.png").read_bytes() == (here / "part.png").read_bytes()


def test_every_setting_stands_in_the_guide() -> None:
    for name in ServiceSettings.model_fields:
        assert re.search(rf"`({PREFIX})?{name.upper()}\b", GUIDE), name


def test_every_status_stands_in_the_guide() -> None:
    for status in {*problems.STATUS.values(), 401, 403, 405, 408, 413, 421, 429}:
        assert re.search(rf"^\|[ \d,]*\b{status}\b", GUIDE, re.MULTILINE), status
