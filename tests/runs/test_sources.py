"""Which files a source names, and what is said where it names none."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import ModuleType

import pytest

from blemish.errors import InputError, ReferencesError
from blemish.runs.sources import find, references


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def ids(source: object) -> list[str]:
    return [item.id for item in find(source)]  # type: ignore[arg-type]


def test_a_folder_gives_its_pictures_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "10.png", "2.PNG", "b/1.jpg", "b/notes.txt", ".hidden.png", ".git/a.png")
    assert ids(tmp_path) == ["2.PNG", "10.png", "b/1.jpg"]
    assert [item.path for item in find(tmp_path)][2] == tmp_path / "b" / "1.jpg"


def test_a_single_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "scan.dat")
    assert ids(tmp_path / "scan.dat") == ["scan.dat"]


def test_a_glob_names_pictures_below_its_fixed_part(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "a/x.txt", "b/1.png", "b/deep/2.png")
    assert ids(f"{tmp_path}/*/*.*") == ["a/1.png", "b/1.png"]
    assert ids(f"{tmp_path}/b/**/*.png") == ["1.png", "deep/2.png"]


def test_several_sources_keep_their_ids_apart_and_each_file_once(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png")
    assert ids([tmp_path / "a", tmp_path / "b"]) == ["a/1.png", "b/1.png"]
    assert ids([tmp_path / "a", tmp_path / "a" / "1.png"]) == ["1.png"]


@pytest.mark.skipif(os.name == "nt", reason="file names there are Unicode")
def test_a_name_that_is_not_unicode_gets_an_id_that_is(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(b"x")
    (item,) = find(tmp_path)
    assert item.id == "caf\ufffd.png"
    assert item.path.exists()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("none.png", "none.png does not exist"),
        ("empty", "holds no picture; expected files that end in .bmp"),
        ("*.tif", "matches 0 files and folders"),
        ("texts/*", "matches 1 files and folders, none of them a picture"),
    ],
)
def test_a_source_without_pictures_is_refused(
    source: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "texts/notes.txt")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        find(source)
    assert said in str(caught.value)


def test_no_source_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="No source came"):
        find([])


def test_folders_of_runs_are_not_searched(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "out/run.json", "out/inspections.jsonl", "out/overlays/1.png")
    assert ids(tmp_path) == ["1.png"]
    with pytest.raises(InputError, match="folder of a finished run"):
        find(tmp_path / "out")


def test_a_folder_that_may_not_be_read_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "1.png", "locked/2.png")
    plain = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "locked":  # permissions do not stop root
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match="locked cannot be searched: Permission denied"):
        find(tmp_path)


def test_references_are_read_and_a_broken_one_is_named(stub: ModuleType, ten: Path) -> None:
    samples = references(ten, "nut")
    assert len(samples) == 10
    assert samples[3].image[5, 5].tolist() == [0, 0, 0]
    assert {sample.class_name for sample in samples} == {"nut"}
    (ten / "4.png").write_bytes(b"")
    with pytest.raises(ReferencesError, match=r"4\.png is empty"):
        references(ten)
