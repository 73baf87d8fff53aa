"""Which files a source names, and what is said where it names none."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from blemish.errors import InputError, ReferencesError
from blemish.runs.references import comparable, evenly, references
from blemish.runs.sources import find
from blemish.settings import settings
from blemish.types import Sample


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


@pytest.fixture
def mixed(tmp_path: Path, recorded: ModuleType, stub: ModuleType) -> Path:
    """Pictures with a table, a video and clouds beside them."""
    for number in range(2):
        stub.draw(tmp_path / "mixed" / "frames" / f"{number}.png")
    recorded.log(tmp_path / "mixed" / "labels.csv")
    recorded.film(tmp_path / "mixed" / "clips" / "a.mp4", frames=2)
    recorded.scan(tmp_path / "mixed" / "xyz" / "a.tiff")
    (tmp_path / "mixed" / "xyz" / "b.tiff").write_bytes(b"damaged")
    recorded.scan(tmp_path / "mixed" / "xyz" / "c.tiff")
    return tmp_path / "mixed"


@pytest.mark.parametrize(
    ("source", "modality", "expected"),
    [
        ("frames", None, [("0.png", None), ("1.png", None)]),
        ("labels.csv", None, [("labels.csv", "time-series")]),
        ("*.csv", None, [("labels.csv", "time-series")]),
        ("*/*.mp4", None, [("clips/a.mp4", "video")]),
        ("clips", None, [("a.mp4", "video")]),
        ("xyz", None, [(f"{name}.tiff", "point-cloud") for name in "abc"]),
        ("xyz/a.tiff", None, [("a.tiff", "point-cloud")]),
        (".", "time-series", [("labels.csv", "time-series")]),
        (".", "point-cloud", [(f"xyz/{name}.tiff", "point-cloud") for name in "abc"]),
        (".", "video", [("clips/a.mp4", "video")]),
        ("frames", "video", [("frames", "video")]),
        ("frames/*.png", "video", [("frames", "video")]),
        ("frames/0.png", "time-series", [("0.png", "time-series")]),
    ],
)
def test_recordings_are_found_where_they_are_meant(
    source: str, modality: Any, expected: list[Any], mixed: Path
) -> None:
    items = find(mixed / source, modality)
    assert [(item.id, item.modality) for item in items] == expected


def test_pictures_win_over_tables_and_films_beside_them(mixed: Path) -> None:
    kinds = {item.modality for item in find(mixed)}
    assert kinds == {None}
    assert "frames/0.png" in ids(mixed)
    assert "labels.csv" not in ids(mixed)


def test_a_folder_without_the_wanted_kind_is_refused(mixed: Path) -> None:
    (mixed / "empty").mkdir()
    with pytest.raises(InputError, match="holds no time series; expected files that end in"):
        find(mixed / "frames", "time-series")
    with pytest.raises(InputError, match="holds no video and no frame of one"):
        find(mixed / "empty", "video")


def test_each_folder_of_frames_is_a_video(mixed: Path, stub: ModuleType) -> None:
    stub.draw(mixed / "frames" / "late" / "0.png")
    items = find(mixed / "frames", "video")
    assert [item.id for item in items] == ["frames", "frames/late"]
    before = items[0].sha256()
    stub.draw(mixed / "frames" / "1.png", 0)
    after = find(mixed / "frames", "video")[0].sha256()
    assert before != after
    (mixed / "frames" / "1.png").rename(mixed / "frames" / "2.png")
    assert find(mixed / "frames", "video")[0].sha256() != after


def test_the_content_of_a_large_film_is_named_too(
    mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLEMISH_MAX_BYTES", "10")
    settings.cache_clear()
    (item,) = find(mixed / "clips")
    digest = item.sha256()
    settings.cache_clear()
    assert digest == hashlib.sha256((mixed / "clips" / "a.mp4").read_bytes()).hexdigest()


@pytest.mark.parametrize("count", [0, 1, 64, 65, 100, 128, 1000])
def test_references_lie_evenly(count: int) -> None:
    pixel = np.zeros((1, 1, 3), np.uint8)
    given = [Sample(pixel, id=str(number)) for number in range(count)]
    taken = evenly(iter(given), 64)
    numbers = [int(sample.id) for sample in taken.samples]
    assert taken.of == count
    assert min(count, 33) <= len(numbers) <= 64
    steps = set(np.diff(numbers))
    assert len(steps) <= 1
    assert count - (numbers[-1] if numbers else 0) <= max(steps, default=1)


def test_views_of_normal_recordings_are_references(
    tmp_path: Path, recorded: ModuleType, stub: ModuleType
) -> None:
    recorded.film(tmp_path / "good" / "1.mp4")
    recorded.film(tmp_path / "good" / "2.mp4")
    found = references(tmp_path / "good", "street", "video", {"every": 2})
    names = [
        f"{tmp_path}/good/{number}.mp4, {second}.00 s" for number in (1, 2) for second in (0, 2, 4)
    ]
    assert [sample.id for sample in found.samples] == names
    assert {sample.class_name for sample in found.samples} == {"street"}
    frame = stub.draw(tmp_path / "frame.png")
    (one,) = references(frame, "street", "video").samples
    assert one.image.shape == (40, 60, 3)
    (tmp_path / "good" / "2.mp4").write_bytes(b"")
    with pytest.raises(ReferencesError, match=r"2\.mp4 is empty"):
        references(tmp_path / "good", "street", "video")


def test_series_are_comparable_on_one_scale(tmp_path: Path, recorded: ModuleType) -> None:
    recorded.log(tmp_path / "logs" / "1.csv", level=2)
    recorded.log(tmp_path / "logs" / "2.csv", level=5)
    items = find(tmp_path / "logs")
    made = comparable(items, {"window": 50})
    assert made["limits"]["level"] == pytest.approx([-5.5, 5.5], abs=0.02)
    assert (made["bare"], made["window"]) == (True, 50)
    assert comparable(items, {"bare": False, "limits": {}}) == {"bare": False, "limits": {}}
    (tmp_path / "logs" / "2.csv").write_bytes(b"")
    with pytest.raises(ReferencesError, match=r"2\.csv"):
        comparable(items, {})
    assert comparable(items, {}, strict=False)["limits"]["level"] == pytest.approx(
        [-2.2, 2.2], abs=0.02
    )


def test_references_are_read_and_a_broken_one_is_named(stub: ModuleType, ten: Path) -> None:
    samples = references(ten, "nut").samples
    assert len(samples) == 10
    assert samples[3].image[5, 5].tolist() == [0, 0, 0]
    assert {sample.class_name for sample in samples} == {"nut"}
    (ten / "4.png").write_bytes(b"")
    with pytest.raises(ReferencesError, match=r"4\.png is empty"):
        references(ten)
