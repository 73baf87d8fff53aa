"""Small pictures: pages of many decode none, and whatever becomes of the folder, they come back."""

from __future__ import annotations

import io
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest

from blemish.service import shop, small
from blemish.service.station import Station
from blemish.service.types import NewLine, Upload


def large() -> Upload:
    """A part of 600 x 400 pixels, dark at the left."""
    image = np.full((400, 600, 3), 240, np.uint8)
    image[:, :300] = 0
    held = io.BytesIO()
    PIL.Image.fromarray(image).save(held, "PNG")
    return Upload("large.png", held.getvalue())


def size(data: bytes | None) -> tuple[int, int]:
    assert data is not None
    image = PIL.Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    pixels = np.asarray(image)
    assert pixels[0, 0].max() < 40
    assert pixels[0, -1].min() > 200
    return image.size


@pytest.fixture
def inspection(station: Station, caps: str) -> str:
    return station.wait(station.submit(caps, [large()]).id, 10).items[0].inspection


def test_small_pictures_are_there_as_soon_as_a_part_is_inspected(
    station: Station, inspection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(*_: Any) -> Any:
        raise AssertionError("a whole picture was decoded")

    monkeypatch.setattr(shop, "decode_image", decoded)
    assert size(station.picture(inspection, side=256)) == (256, 171)
    assert size(station.picture(inspection, side=60)) == (60, 40)
    with pytest.raises(AssertionError):
        station.picture(inspection, side=257)


@pytest.mark.parametrize("harm", [None, b"", b"\xff\xd8 half of it"])
def test_a_small_picture_that_is_gone_or_broken_is_made_again(
    station: Station, inspection: str, harm: bytes | None
) -> None:
    [path] = station.settings.folder.glob(f"small/*/{station.inspection(inspection).sha256}.jpg")
    whole = path.read_bytes()
    path.unlink()
    if harm is not None:
        path.write_bytes(harm)
    assert size(station.picture(inspection, side=256)) == (256, 171)
    assert path.read_bytes() == whole


def test_references_have_small_pictures_too(station: Station, shade: ModuleType) -> None:
    station.create_line(NewLine("caps", detector="shade", references=(large(),)))
    shade.until_fitted(station, "caps")
    reference = station.version("caps", 1).references[0].sha256
    assert size(station.image(reference, 256)) == (256, 171)
    assert station._shop.small.get(reference, 256) == station.image(reference, 256)


def test_a_full_disk_costs_time_alone(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"no folder")
    pictures = small.Small(tmp_path / "small")
    image = np.asarray(PIL.Image.open(io.BytesIO(large().data)))
    assert size(pictures.make("a" * 64, image)) == (256, 171)
    assert pictures.get("a" * 64, 256) is None
