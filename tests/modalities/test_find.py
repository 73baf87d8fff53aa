"""What a file is taken for, and how options of a modality are checked."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from blemish.errors import ImageError, OptionError
from blemish.modalities import find
from blemish.modalities.recording import Modality


def gif(path: Path, frames: int) -> Path:
    images = [PIL.Image.new("RGB", (8, 8), (40 * i, 0, 0)) for i in range(frames)]
    images[0].save(path, format="GIF", save_all=True, append_images=images[1:])
    return path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.MP4", "video"),
        ("a.mkv", "video"),
        ("a.ply", "point-cloud"),
        ("a.PCD", "point-cloud"),
        ("a.csv", "time-series"),
        ("a.parquet", "time-series"),
        ("a.png", None),
        ("a.gif", None),
        ("a.tif", None),
        ("a.dat", None),
    ],
)
def test_the_ending_decides_where_it_can(name: str, expected: str | None, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"damaged")
    assert find.modality_of(tmp_path / name) == expected


def test_the_content_decides_where_the_ending_cannot(tmp_path: Path, recorded: ModuleType) -> None:
    assert find.modality_of(gif(tmp_path / "still.gif", 1)) is None
    assert find.modality_of(gif(tmp_path / "moves.gif", 2)) == "video"
    assert find.modality_of(gif(tmp_path / "moves.dat", 2)) == "video"
    assert find.modality_of(recorded.scan(tmp_path / "xyz.tiff")) == "point-cloud"
    recorded.scan(tmp_path / "a.ply").rename(tmp_path / "a.dat")
    assert find.modality_of(tmp_path / "a.dat") == "point-cloud"
    for kind in (np.uint8, np.uint16):
        tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((9, 9, 3), kind), photometric="rgb")
        assert find.modality_of(tmp_path / "rgb.tif") is None
    tifffile.imwrite(tmp_path / "grey.tif", np.zeros((9, 9), np.float32))
    assert find.modality_of(tmp_path / "grey.tif") is None
    assert find.modality_of(tmp_path) is None
    assert find.modality_of(tmp_path / "none.gif") is None


def test_each_modality_opens_with_its_own_options(tmp_path: Path, recorded: ModuleType) -> None:
    made: dict[str, tuple[Path, dict[str, Any], int]] = {
        "video": (recorded.film(tmp_path / "a.mp4"), {"every": 2}, 3),
        "point-cloud": (recorded.scan(tmp_path / "a.ply"), {"views": "front", "size": 32}, 1),
        "time-series": (recorded.log(tmp_path / "a.csv"), {"window": 100}, 4),
    }
    assert set(made) == set(find.MODALITIES)
    for name, (path, options, count) in made.items():
        opened = find.open_recording(path, find.modality(name), options, id="a", class_name="thing")
        samples = list(opened.samples())
        assert opened.modality == name
        assert len(samples) == count
        assert {sample.class_name for sample in samples} == {"thing"}


@pytest.mark.parametrize(
    ("modality", "options", "said"),
    [
        ("video", {"evry": 1}, "modality video has no option 'evry'. Did you mean 'every'?"),
        ("point-cloud", {"every": 1}, "modality point-cloud has no option 'every'. Known: axes,"),
        ("video", {"every": 0}, "Option every=0 of modality video: Input should be greater than 0"),
        ("video", {"step": 3, "window": 2}, "step 3 is more than window 2"),
        ("time-series", {"window": "x"}, "Option window='x' of modality time-series"),
    ],
)
def test_a_wrong_option_is_named(modality: Modality, options: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        find.checked(modality, options)
    assert said in str(caught.value)


def test_modalities_are_known_by_name() -> None:
    assert find.modality("Point_Cloud") == "point-cloud"
    with pytest.raises(OptionError, match="Did you mean 'video'"):
        find.modality("vidoe")


def test_a_file_of_another_kind_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="is no video"):
        find.open_recording(tmp_path / "a.png", "video", {}, id="a", class_name="x")
