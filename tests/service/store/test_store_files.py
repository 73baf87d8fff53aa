from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
import tracemalloc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from blemish.errors import NotFoundError, OutputError, SavedError
from blemish.service.store.files import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "files")


def everything(files: Files) -> list[Path]:
    return [path for path in files.folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 4096])
def test_content_comes_back_under_its_sha256(files: Files, data: bytes) -> None:
    name = files.put(data)
    assert name == hashlib.sha256(data).hexdigest()
    assert files.read(name) == data
    assert files.path(name).read_bytes() == data


def test_the_same_content_is_kept_once_also_by_many_at_once(files: Files) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(files.put, [b"the same" * 1000] * 64))
    assert len(names) == len(everything(files)) == 1
    assert files.read(names.pop()) == b"the same" * 1000


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "a" * 63, "A" * 64, "g" * 64, "a" * 64 + "\n", "a" * 65]
)
def test_a_name_that_is_no_sha256_leads_nowhere(files: Files, name: str) -> None:
    for use in (files.path, files.read):
        with pytest.raises(NotFoundError, match="64 hexadecimal digits"):
            use(name)


def test_what_was_never_kept_is_not_found(files: Files) -> None:
    with pytest.raises(NotFoundError, match="keeps no file"):
        files.read("a" * 64)


@pytest.mark.parametrize("harm", [b"", b"pixelz", b"pixels and more"])
def test_a_damaged_file_is_noticed_and_the_next_upload_mends_it(files: Files, harm: bytes) -> None:
    name = files.put(b"pixels")
    files.path(name).write_bytes(harm)
    with pytest.raises(SavedError, match="damaged"):
        files.read(name)
    assert files.put(b"pixels") == name
    assert files.read(name) == b"pixels"


def test_a_full_disk_is_said_and_leaves_nothing(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match=r"No space left on device.*Make room"):
            files.put(b"pixels")
    assert everything(files) == []
    assert files.read(files.put(b"pixels")) == b"pixels"


def test_content_its_name_and_a_new_folder_are_on_the_disk_when_put_returns(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, fsync = set(), os.fsync

    def note(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    path = files.path(files.put(b"pixels"))
    wanted = {path} if os.name == "nt" else {path, path.parent, path.parent.parent}
    assert {each.stat().st_ino for each in wanted} <= synced


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "files").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot write to its folder 'files'"):
        Files(tmp_path / "files")


def test_tidying_takes_old_scratch_files_alone(files: Files) -> None:
    kept = files.path(files.put(b"pixels"))
    old, new = kept.with_name(".writing-old"), kept.with_name(".writing-new")
    for path in (old, new):
        path.write_bytes(b"pix")
    days_ago = time.time() - 3 * 24 * 3600
    for path in (old, kept):
        os.utime(path, (days_ago, days_ago))
    assert files.tidy() == 1
    assert sorted(everything(files)) == sorted([kept, new])


def test_a_file_that_is_larger_than_the_memory_may_be_is_kept(files: Files, tmp_path: Path) -> None:
    piece = os.urandom(2**20)
    source = tmp_path / "large"
    with source.open("wb") as file:
        for _ in range(48):
            file.write(piece)
    tracemalloc.start()
    with source.open("rb") as file:
        name = files.put(file)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 * 2**20
    assert name == hashlib.sha256(piece * 48).hexdigest()
    assert files.path(name).read_bytes() == source.read_bytes()


def test_what_no_row_names_goes_and_what_one_names_stays(files: Files) -> None:
    named, loose, other = (files.put(data) for data in (b"named", b"loose", b"other"))
    assert files.drop([named, loose], lambda names: names & {named}) == {loose}
    assert sorted(files.names()) == sorted([named, other])


def test_what_is_held_or_put_meanwhile_stays(files: Files) -> None:
    """Rows come after their files, so that no row names these yet."""
    first, second = files.put(b"first"), files.put(b"second")
    with files.held() as put:
        assert put(b"first") == first
        assert files.drop([first], lambda _: set()) == set()

    def named(_: set[str]) -> set[str]:
        files.put(b"second")  # somebody brings it again after the rows were read
        return set()

    assert files.drop([first, second], named) == {first}
    assert files.read(second) == b"second"
    assert files.drop([second], lambda _: set()) == {second}


def test_many_who_put_and_drop_the_same_lose_nothing(files: Files) -> None:
    """A name is a row as soon as it is put and until it is taken away; its file must be there."""
    rows: Counter[str] = Counter()
    changing = threading.Lock()

    def work(_: int) -> None:
        for _ in range(40):
            with files.held() as put:
                name = put(b"the same")
                with changing:
                    rows[name] += 1
            assert files.read(name) == b"the same"
            with changing:
                rows[name] -= 1
            files.drop([name], lambda names: {name for name in names if rows[name] > 0})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_names_of_a_request_that_failed_are_loose(files: Files) -> None:
    def fail() -> None:
        with files.held() as put:
            put(b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    [name] = files.loose.get_nowait()
    assert files.read(name) == b"x"
