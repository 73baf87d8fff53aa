"""Masks are read as stored, and what is likely a mistake in 16-bit pictures is mentioned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from blemish.errors import ImageError
from blemish.images import read_image, read_mask


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "1", "RGB", "RGBA"])
def test_a_mask_keeps_the_values_that_are_stored(tmp_path: Path, mode: str) -> None:
    values = np.zeros((5, 7), np.uint16)
    values[1:3, 2:6] = 3
    if mode == "I;16":
        values[2, 3] = 300
        picture = PIL.Image.fromarray(values)
    elif mode == "1":
        picture = PIL.Image.fromarray(values.astype(bool))
        values = np.where(values, 255, 0).astype(np.uint16)
    elif mode in ("RGB", "RGBA"):
        stacked = np.zeros((5, 7, len(mode)), np.uint8)
        stacked[:, :, 1] = values
        stacked[:, :, 3:] = 255
        picture = PIL.Image.fromarray(stacked)
    else:
        picture = PIL.Image.fromarray(values.astype(np.uint8))
        if mode == "P":
            picture = PIL.Image.new("P", (7, 5))
            picture.putpalette([9, 9, 9] * 256)
            picture.putdata(values.ravel().tolist())
    picture.save(tmp_path / "m.png")
    found = read_mask(tmp_path / "m.png")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, values)


def test_a_jpeg_mask_is_cut_at_half_its_range(tmp_path: Path) -> None:
    values = np.zeros((64, 64), np.uint8)
    values[11:39, 21:53] = 255
    PIL.Image.fromarray(values).save(tmp_path / "m.jpg", quality=60)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.jpg") > 0, values > 0)


def test_a_broken_mask_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(ImageError, match=r"m\.png"):
        read_mask(tmp_path / "m.png")


def test_twelve_bits_in_sixteen_are_mentioned_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("blemish.images._WARNED", [])
    dark = np.full((4, 4), 4095, np.uint16)
    for name in ("a.png", "b.png"):
        PIL.Image.fromarray(dark).save(tmp_path / name)
        read_image(tmp_path / name)
    PIL.Image.fromarray(dark * 16).save(tmp_path / "c.png")
    read_image(tmp_path / "c.png")
    assert [record.getMessage().split()[0] for record in caplog.records] == [
        str(tmp_path / "a.png")
    ]
