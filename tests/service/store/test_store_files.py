from __future__ import annotations

import errno
import hashlib
import os
import time
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
