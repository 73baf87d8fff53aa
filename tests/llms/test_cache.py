"""The cache of replies: what makes a question the same, and what survives what."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from blemish.errors import ChatError, OptionError, OutputError
from blemish.llms.cache import Cached
from blemish.llms.scripted import Scripted
from blemish.types import ChatModel, Message, Reply, Token, Usage

PICTURE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
QUESTION = [Message("system", "Be brief."), Message("user", "What is wrong?", (PICTURE,))]
RICH = Reply(
    'region 1: 0.9. "\ud800" \u0000 é',
    Usage(1, 100, 7, 0.25, {"language model": 1.5}),
    "length",
    (Token("re", -0.1, {"re": -0.1, "no": -math.inf}), Token("gion", -1e-9)),
    "gpt-4o-2024-11-20",
    ("seed", "schema"),
)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("??/*.json"))


def test_a_question_is_paid_for_once(tmp_path: Path) -> None:
    model = Scripted([RICH])
    cached = Cached(model, tmp_path)
    assert isinstance(cached, ChatModel)
    assert (cached.name, cached.fingerprint) == (model.name, model.fingerprint)
    assert cached.chat(QUESTION) == RICH
    again = Cached(Scripted([RICH]), tmp_path).chat(QUESTION)
    assert again == replace(RICH, usage=Usage(), cached=True)
    (file,) = entries(tmp_path)
    assert file.parent.name == file.stem[:2]
    entry = json.loads(file.read_text())
    assert entry["reply"]["usage"]["cost"] == 0.25
    assert entry["question"]["messages"][1]["text"] == "What is wrong?"


def keyed(folder: Path, fingerprint: str, messages: Sequence[Message], **options: Any) -> str:
    """The name of the file that a question is kept in."""
    before = set(entries(folder))
    model = Scripted(["a"])
    model.fingerprint = fingerprint
    Cached(model, folder).chat(messages, **options)
    (new,) = set(entries(folder)) - before
    return new.stem


def test_everything_that_shapes_a_reply_is_in_its_key(tmp_path: Path) -> None:
    one_off = PICTURE.copy()
    one_off[1, 2, 2] ^= 1
    user = Message("user", "What is wrong?", (PICTURE,))
    questions: list[tuple[str, list[Message], dict[str, Any]]] = [
        ("m", [user], {}),
        ("m2", [user], {}),
        ("m", [replace(user, role="system")], {}),
        ("m", [replace(user, text="What is wrong? ")], {}),
        ("m", [replace(user, images=())], {}),
        ("m", [replace(user, images=(PICTURE, PICTURE))], {}),
        ("m", [replace(user, images=(one_off,))], {}),
        ("m", [replace(user, images=(PICTURE.reshape(3, 2, 3),))], {}),
        ("m", [Message("user", "", (PICTURE,)), replace(user, images=())], {}),
        ("m", [user], {"schema": {}}),
        ("m", [user], {"schema": {"score": {}, "why": {}}}),
        ("m", [user], {"schema": {"why": {}, "score": {}}}),
        ("m", [user], {"logprobs": 5}),
        ("m", [user], {"attempt": 1}),
    ]
    keys = {keyed(tmp_path, name, messages, **more) for name, messages, more in questions}
    assert len(keys) == len(questions)


def test_the_same_pixels_are_the_same_question_however_they_lie(tmp_path: Path) -> None:
    cached = Cached(Scripted(["a"]), tmp_path)
    cached.chat([Message("user", "?", (PICTURE,))])
    wide = np.zeros((2, 6, 3), np.uint8)
    wide[:, ::2] = PICTURE
    assert cached.chat([Message("user", "?", (wide[:, ::2],))]).cached


class Slow:
    """Counts its calls, and takes a while over each."""

    name = fingerprint = "slow"

    def __init__(self) -> None:
        self.calls = 0
        self.together = 0
        self._inside = 0
        self._lock = threading.Lock()

    def chat(self, messages: Sequence[Message], **_: Any) -> Reply:
        with self._lock:
            self.calls += 1
            self._inside += 1
            self.together = max(self.together, self._inside)
        time.sleep(0.05)
        with self._lock:
            self._inside -= 1
        return Reply(messages[0].text, Usage(1, cost=1.0))

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        yield self.chat(messages).text


def test_threads_that_ask_the_same_share_one_call_and_others_do_not_wait(tmp_path: Path) -> None:
    model = Slow()
    cached = Cached(model, tmp_path)
    with ThreadPoolExecutor(16) as pool:
        asked = [[Message("user", str(i % 4))] for i in range(16)]
        replies = list(pool.map(cached.chat, asked))
    assert [r.text for r in replies] == [str(i % 4) for i in range(16)]
    assert model.calls == 4
    assert sum(r.usage.cost for r in replies) == 4
    assert sum(r.cached for r in replies) == 12
    assert model.together == 4


def test_errors_are_not_kept(tmp_path: Path) -> None:
    tries: Iterator[ChatError | Reply] = iter([ChatError("429"), Reply("at last")])

    def rule(_: Sequence[Message]) -> Reply:
        outcome = next(tries)
        if isinstance(outcome, ChatError):
            raise outcome
        return outcome

    cached = Cached(Scripted(rule), tmp_path)
    with pytest.raises(ChatError, match="429"):
        cached.chat(QUESTION)
    assert entries(tmp_path) == []
    assert cached.chat(QUESTION).text == "at last"


@pytest.mark.parametrize("ended", ["refused", "length", "stop"])
def test_what_was_paid_for_is_kept_even_if_it_is_no_answer(
    tmp_path: Path, ended: Literal["refused", "length", "stop"]
) -> None:
    cached = Cached(Scripted([Reply("", ended=ended), "second"]), tmp_path)
    cached.chat(QUESTION)
    assert cached.chat(QUESTION).ended == ended
    assert cached.chat(QUESTION, attempt=1).text == "second"


def damages(whole: bytes, other: bytes) -> Iterator[bytes]:
    yield from (whole[:length] for length in (0, 1, len(whole) // 2, len(whole) - 1))
    yield whole.replace(b"0.9", b"0.1")  # In the reply.
    yield whole.replace(b"What", b"That")  # In the question.
    yield other  # A whole entry, of another question.
    yield whole.replace(b'"ended": ', b'"finished": ')
    yield from (b"[]", b"null", b"{}", b'{"question": 1, "reply": 2}', b"\xff" * 40, b"[" * 100_000)


def test_a_damaged_entry_is_absent_and_replaced(tmp_path: Path) -> None:
    cached = Cached(Scripted(lambda m: Reply("region 1: 0.9.")), tmp_path)
    cached.chat([Message("user", "another")])
    (other,) = entries(tmp_path)
    cached.chat(QUESTION)
    (file,) = set(entries(tmp_path)) - {other}
    whole = file.read_bytes()
    for damaged in damages(whole, other.read_bytes()):
        file.write_bytes(damaged)
        with pytest.raises(ChatError, match="no reply in the cache"):
            Cached(Scripted(lambda m: "x"), tmp_path, mode="only").chat(QUESTION)
        assert not cached.chat(QUESTION).cached
        assert file.read_bytes() == whole
        assert cached.chat(QUESTION).cached


def test_only_kept_replies(tmp_path: Path) -> None:
    model = Scripted(["a", "b"])
    Cached(model, tmp_path).chat(QUESTION)
    only = Cached(model, tmp_path, mode="only")
    assert only.chat(QUESTION).text == "a"
    with pytest.raises(ChatError, match=r"no reply in the cache .* only kept replies are allowed"):
        only.chat(QUESTION, attempt=1)
    with pytest.raises(ChatError, match="only kept replies"):
        next(only.stream([Message("user", "else")]))
    assert len(model.asked) == 1
    assert len(entries(tmp_path)) == 1


def test_off_asks_always_and_keeps_nothing(tmp_path: Path) -> None:
    Cached(Scripted(["kept"]), tmp_path / "c").chat(QUESTION)
    off = Cached(Scripted(["a", "b", "c d"]), tmp_path / "c", mode="off")
    assert [off.chat(QUESTION).text, off.chat(QUESTION).text] == ["a", "b"]
    assert list(off.stream(QUESTION)) == ["c", " d"]
    assert len(entries(tmp_path / "c")) == 1
    Cached(Scripted([]), tmp_path / "none", mode="off")
    assert not (tmp_path / "none").exists()
    with pytest.raises(OptionError, match="'never'"):
        Cached(Scripted([]), tmp_path, mode="never")  # type: ignore[arg-type]


def test_a_stream_that_ended_is_kept_and_then_comes_at_once(tmp_path: Path) -> None:
    cached = Cached(Scripted(["a b c"]), tmp_path)
    assert list(cached.stream(QUESTION)) == ["a", " b", " c"]
    assert list(cached.stream(QUESTION)) == ["a b c"]
    # Whether it was cut off is unknown, so it is no answer to chat.
    with pytest.raises(ChatError, match="has no reply left"):
        cached.chat(QUESTION)


def test_a_kept_answer_is_streamed_at_once(tmp_path: Path) -> None:
    cached = Cached(Scripted(["a b c"]), tmp_path)
    cached.chat(QUESTION)
    assert list(cached.stream(QUESTION)) == ["a b c"]


def test_a_stream_that_was_closed_or_broke_is_not_kept(tmp_path: Path) -> None:
    closed: list[bool] = []

    class Streaming(Slow):
        def stream(self, messages: Sequence[Message]) -> Iterator[str]:
            try:
                yield "a"
                yield "b"
                raise ChatError("The connection broke.")
            finally:
                closed.append(True)

    cached = Cached(Streaming(), tmp_path)
    stream: Any = cached.stream(QUESTION)
    assert next(stream) == "a"
    assert not closed
    stream.close()
    assert closed == [True]
    with pytest.raises(ChatError, match="broke"):
        list(cached.stream(QUESTION))
    assert entries(tmp_path) == []


def test_a_full_disk_loses_no_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    cached = Cached(Scripted(["a"]), tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with caplog.at_level(logging.WARNING):
        assert cached.chat(QUESTION).text == "a"
    assert "No space left" in caplog.text
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_paid(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"Replies cannot be kept in .*file"):
        Cached(Scripted(["a"]), tmp_path / "file")


WRITER = """
import os, signal, sys, time
from pathlib import Path
from blemish.llms.cache import Cached
from blemish.types import Message, Reply, Usage

folder, how = sys.argv[1:]

class Model:
    name = fingerprint = "m"
    def chat(self, messages, **_):
        with open(folder + "/calls", "a") as calls:
            calls.write(messages[0].text + "\\n")
        time.sleep(0.01 if how == "share" else 0)
        return Reply(messages[0].text * 20000, Usage(1))

if how in ("fsync", "replace"):
    setattr(os, how, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
cached = Cached(Model(), folder + "/cache")
print("ready", flush=True)
for question in range({"share": 40, "run": 10**6}.get(how, 1)):
    reply = cached.chat([Message("user", f"{question} ")])
    print(question, reply.text == f"{question} " * 20000, flush=True)
"""


def start(folder: Path, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def check_whole(files: Sequence[Path]) -> None:
    for file in files:
        entry: Mapping[str, Any] = json.loads(file.read_text())
        asked = entry["question"]["messages"][0]["text"]
        assert entry["reply"]["text"] == asked * 20000


@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
@pytest.mark.parametrize("how", ["fsync", "replace"])
def test_a_writer_killed_in_the_middle_leaves_no_half_entry(tmp_path: Path, how: str) -> None:
    with start(tmp_path, how) as writer:
        said = writer.communicate()[0]
    assert said == "ready\n"  # The reply was not used before it was stored.
    assert entries(tmp_path / "cache") == []
    assert list((tmp_path / "cache").glob("??/.writing-*"))  # It did die in the middle.
    model = Scripted(["a"])
    assert not Cached(model, tmp_path / "cache").chat(QUESTION).cached


def test_a_run_killed_at_any_moment_pays_again_for_one_call(tmp_path: Path) -> None:
    for _ in range(3):
        with start(tmp_path, "run") as writer:
            assert writer.stdout
            seen = [writer.stdout.readline() for _ in range(12)]
            writer.kill()
            writer.communicate()
        assert seen[-1] == "10 True\n"
    check_whole(entries(tmp_path / "cache"))
    calls = (tmp_path / "calls").read_text().split()
    assert len(calls) - len(set(calls)) <= 3


def test_two_processes_that_ask_the_same(tmp_path: Path) -> None:
    with start(tmp_path, "share") as one, start(tmp_path, "share") as two:
        said = [one.communicate()[0], two.communicate()[0]]
    assert said == ["ready\n" + "".join(f"{i} True\n" for i in range(40))] * 2
    files = entries(tmp_path / "cache")
    assert len(files) == 40
    check_whole(files)
    assert 40 <= len((tmp_path / "calls").read_text().splitlines()) <= 80
