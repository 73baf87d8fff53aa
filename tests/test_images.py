"""Every kind of picture becomes the pixels that its rule states, or one clear refusal."""

from __future__ import annotations

import hashlib
import io
import os
import random
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import ImageFile

from blemish.errors import ImageError, InputError
from blemish.images import IMAGE_SUFFIXES, content_hash, decode_image, read_image, resize
from blemish.settings import settings

RAMP = np.arange(60, dtype=np.uint8).reshape(4, 5, 3) * 4
"""(4, 5, 3) uint8, every sample another value."""


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Set limits of the settings for one test."""

    def put(**limits: int) -> None:
        for name, value in limits.items():
            monkeypatch.setenv(f"BLEMISH_{name.upper()}", str(value))
        settings.cache_clear()

    yield put
    settings.cache_clear()


def packed(
    array: NDArray[Any], kind: str = "PNG", mode: str | None = None, **options: Any
) -> bytes:
    """A picture file of an array."""
    picture = PIL.Image.fromarray(array)
    return saved(picture.convert(mode) if mode else picture, kind, **options)


def saved(picture: PIL.Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def tiff(array: NDArray[Any], **options: Any) -> bytes:
    """A TIFF written by another library than the one that reads it."""
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def grey(values: Any) -> NDArray[np.uint8]:
    """(H, W, 3) of equal channels."""
    return np.repeat(np.asarray(values, dtype=np.uint8)[:, :, None], 3, axis=2)


def png(header: bytes, rows: bytes, *extra: bytes) -> bytes:
    """A PNG put together by hand; `header` is IHDR's content, `extra` chunks before the data."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *(chunk(item[:4], item[4:]) for item in extra),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("TIFF", {}), ("BMP", {}), ("WEBP", {"lossless": True})],
)
def test_lossless_formats_give_the_pixels_that_were_saved(kind: str, options: Any) -> None:
    image = decode_image(packed(RAMP, kind, **options), "part")
    np.testing.assert_array_equal(image, RAMP)
    assert image.dtype == np.uint8


def test_jpeg_and_gif_give_the_colour_that_was_saved() -> None:
    plain = np.full((16, 16, 3), (200, 40, 90), dtype=np.uint8)
    for data in (packed(plain, "JPEG", quality=95, subsampling=0), packed(plain, "GIF")):
        np.testing.assert_allclose(decode_image(data, "part"), plain, atol=3)


ORIENTED: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
"""EXIF's eight orientations: how the stored rows become the shown ones."""


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", list(ORIENTED))
def test_each_exif_orientation_is_applied_once(kind: str, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    stored = np.kron(RAMP, np.ones((16, 16, 1), np.uint8)) if kind == "JPEG" else RAMP
    lossless = {"lossless": True} if kind == "WEBP" else {}
    options: dict[str, Any] = {"quality": 100, "subsampling": 0} if kind == "JPEG" else lossless
    shown = decode_image(packed(stored, kind, exif=exif, **options), "part")
    expected = ORIENTED[orientation](stored)
    assert shown.shape == expected.shape
    np.testing.assert_allclose(shown, expected, atol=4 if kind == "JPEG" else 0)


def test_a_rotated_16_bit_tiff_is_both_scaled_and_turned() -> None:
    values = np.arange(6, dtype=np.uint16).reshape(2, 3) * 5000
    data = tiff(values, extratags=[(274, "H", 1, 6)])
    np.testing.assert_array_equal(decode_image(data, "x"), grey(np.rot90(values // 256, -1)))


SIXTEEN = np.array([[0, 255, 256, 4095], [32767, 32768, 65279, 65535]], dtype=np.uint16)
UPPER = [[0, 0, 1, 15], [127, 128, 254, 255]]


@pytest.mark.parametrize(
    "data",
    [
        packed(SIXTEEN),
        tiff(SIXTEEN),
        tiff(SIXTEEN, byteorder=">"),
        tiff(65535 - SIXTEEN, photometric="miniswhite"),
        tiff(np.stack([SIXTEEN] * 3, axis=-1), photometric="rgb"),
        tiff(np.stack([SIXTEEN] * 3, axis=-1), photometric="rgb", byteorder=">"),
        png(
            struct.pack(">IIBBBBB", 4, 2, 16, 2, 0, 0, 0),
            b"".join(b"\0" + np.repeat(row, 3).astype(">u2").tobytes() for row in SIXTEEN),
        ),
    ],
    ids=["png", "tiff", "big-endian", "white-is-0", "rgb-tiff", "rgb-big-endian", "rgb-png"],
)
def test_16_bit_samples_keep_their_upper_byte_whatever_the_picture_holds(data: bytes) -> None:
    np.testing.assert_array_equal(decode_image(data, "part"), grey(UPPER))


def test_12_bit_packed_tiff_keeps_its_upper_8_bits() -> None:
    # 0x000, 0xfff, 0x800, 0x7ff, packed into 6 bytes; made from an 8-bit TIFF of 6 pixels.
    data = bytearray(tiff(np.frombuffer(b"\x00\x0f\xff\x80\x07\xff", np.uint8)[None]))
    tags = struct.unpack_from("<I", data, 4)[0]
    for entry in range(tags + 2, tags + 2 + 12 * struct.unpack_from("<H", data, tags)[0], 12):
        code = struct.unpack_from("<H", data, entry)[0]
        if code in (256, 258):  # Width and bits of a sample.
            struct.pack_into("<HI", data, entry + 2, 3, 1)
            struct.pack_into("<HH", data, entry + 8, 4 if code == 256 else 12, 0)
    np.testing.assert_array_equal(decode_image(bytes(data), "x"), grey([[0, 255, 128, 127]]))


def test_floating_point_tiff_from_0_to_1_is_scaled_and_rounded() -> None:
    values = np.array([[0, 0.25, 0.5, 1]], dtype=np.float32)
    np.testing.assert_array_equal(decode_image(tiff(values), "x"), grey([[0, 64, 128, 255]]))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.01, -0.01])
def test_floating_point_tiff_outside_0_to_1_is_refused(value: float) -> None:
    with pytest.raises(ImageError, match=r"part holds floating point values.*expected 0 to 1"):
        decode_image(tiff(np.array([[0.5, value]], dtype=np.float32)), "part")
    with pytest.raises(ImageError, match="floating point"):
        decode_image(tiff(np.full((1, 2), np.nan, dtype=np.float32)), "part")


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32])
def test_integers_without_a_stated_grey_range_are_refused(dtype: Any) -> None:
    with pytest.raises(ImageError, match=r"signed or 32-bit integers.*Save it as"):
        decode_image(tiff(np.ones((3, 3), dtype=dtype)), "part")


def test_separate_planes_are_read_at_8_bits_and_refused_at_16() -> None:
    planes = np.moveaxis(RAMP, -1, 0)
    options: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate"}
    np.testing.assert_array_equal(decode_image(tiff(planes, **options), "x"), RAMP)
    with pytest.raises(ImageError, match="separate planes"):
        decode_image(tiff(planes.astype(np.uint16), **options), "x")


def test_grey_and_one_bit_become_three_equal_channels() -> None:
    values = RAMP[:, :, 0]
    np.testing.assert_array_equal(decode_image(packed(values), "x"), grey(values))
    bits = values > 100
    for data in (packed(bits), packed(bits, "TIFF"), packed(bits, "BMP")):
        np.testing.assert_array_equal(decode_image(data, "x"), grey(bits * 255))


def test_4_bit_grey_spans_black_to_white() -> None:
    header = struct.pack(">IIBBBBB", 4, 1, 4, 0, 0, 0, 0)
    data = png(header, b"\0" + bytes([0x01, 0x8F]))
    np.testing.assert_array_equal(decode_image(data, "x"), grey([[0, 17, 136, 255]]))


def test_a_palette_is_looked_up_and_its_transparent_entry_is_white() -> None:
    picture = PIL.Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), mode=None).convert("P")
    picture.putdata([0, 1, 2])
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    opaque = [[(10, 20, 30), (40, 50, 60), (70, 80, 90)]]
    np.testing.assert_array_equal(decode_image(saved(picture), "x"), opaque)
    for transparency in (1, b"\xff\x00\xff"):
        image = decode_image(saved(picture, transparency=transparency), "x")
        np.testing.assert_array_equal(image, [[(10, 20, 30), (255,) * 3, (70, 80, 90)]])


def test_transparency_lies_over_white() -> None:
    colour = np.array([[(200, 100, 0, 255), (200, 100, 0, 128), (200, 100, 0, 0)]], np.uint8)
    over_white = [[(200, 100, 0), (227, 177, 127), (255, 255, 255)]]
    for data in (packed(colour), packed(colour, "TIFF"), packed(colour, "WEBP", lossless=True)):
        np.testing.assert_allclose(decode_image(data, "x"), over_white, atol=1)
    both = np.array([[(100, 255), (100, 128), (100, 0)]], dtype=np.uint8)
    data = saved(PIL.Image.fromarray(both))
    np.testing.assert_allclose(decode_image(data, "x"), grey([[100, 177, 255]]), atol=1)


def test_a_transparent_colour_of_an_opaque_png_is_white() -> None:
    rows = b"\0" + bytes([10, 20, 30, 40, 50, 60])
    data = png(struct.pack(">IIBBBBB", 2, 1, 8, 2, 0, 0, 0), rows, b"tRNS\0\x0a\0\x14\0\x1e")
    np.testing.assert_array_equal(decode_image(data, "x"), [[(255, 255, 255), (40, 50, 60)]])


def test_cmyk_ycbcr_and_lab_become_rgb() -> None:
    inks = np.array([[(0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)]], np.uint8)
    data = tiff(inks, photometric="separated")
    mixed = [[(255, 255, 255), (0, 255, 255), (255, 255, 0), (0, 0, 0)]]
    np.testing.assert_array_equal(decode_image(data, "x"), mixed)
    # Luma and chroma of pure red, by the formulas of JFIF.
    data = tiff(np.array([[(76, 85, 255)]], np.uint8), photometric="ycbcr", subsampling=(1, 1))
    np.testing.assert_allclose(decode_image(data, "x"), [[(254, 0, 0)]], atol=2)
    # White, black, and the grey of lightness 53.4 that sRGB writes as 127.
    lab = np.array([[(255, 0, 0), (0, 0, 0), (136, 0, 0)]], np.uint8)
    image = decode_image(tiff(lab, photometric="cielab"), "x")
    np.testing.assert_allclose(image, grey([[255, 0, 127]]), atol=2)


def test_a_cmyk_jpeg_is_not_inverted() -> None:
    white = saved(PIL.Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG")
    np.testing.assert_array_equal(decode_image(white, "x"), np.full((16, 16, 3), 255))


def test_the_first_frame_of_an_animation_and_the_first_page_are_read() -> None:
    frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        np.testing.assert_array_equal(decode_image(data, kind)[4, 4], (255, 0, 0))


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "part.jpg"
    path.write_bytes(packed(RAMP))
    np.testing.assert_array_equal(read_image(path), RAMP)
    np.testing.assert_array_equal(read_image(str(path)), RAMP)
    assert ".jpg" in IMAGE_SUFFIXES


def test_the_content_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "part.png"
    path.write_bytes(packed(RAMP))
    assert content_hash(path) == hashlib.sha256(packed(RAMP)).hexdigest()
    with pytest.raises(ImageError, match="does not exist"):
        content_hash(tmp_path / "none.png")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"The part is fine.\n", "begins like a text"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "an MP4 or QuickTime video"),
        (b"\0\0\0\x20ftypheic\0\0\0\0", "HEIC"),
        (b"PK\x03\x04\x14\0", "a ZIP archive"),
        (b"RIFF\0\0\0\0AVI ", "AVI video"),
        (b"\x00\x01\x02\x03", "unknown data .00 01 02 03"),
        (b"\x89PNG\r\n\x1a\n", "is a PNG file that cannot be decoded"),
        (b"BM is how this text begins", "is a BMP file that cannot be decoded"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "part.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=words) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "BytesIO" not in str(caught.value)


def test_what_cannot_be_opened_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImageError, match=r"none\.png does not exist. Check"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="could not be read"):
        read_image("part\0.png")
    path = tmp_path / "part.png"
    path.write_bytes(packed(RAMP))

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    # An administrator may read anything, so that permissions alone would not show it.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"part\.png may not be read by this account"):
        read_image(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "part.png")
    with pytest.raises(ImageError, match="is a device or a pipe"):
        read_image(tmp_path / "part.png")


def test_limits_hold_before_reading_and_before_decoding(
    tmp_path: Path, limit: Callable[..., None]
) -> None:
    path = tmp_path / "part.png"
    path.write_bytes(packed(RAMP))
    size = path.stat().st_size
    limit(max_bytes=size, max_pixels=20)
    assert read_image(path).shape == (4, 5, 3)
    limit(max_bytes=size - 1)
    for read in (read_image, lambda path: decode_image(path.read_bytes(), "part.png")):
        with pytest.raises(ImageError, match=r"part\.png has more than .* bytes"):
            read(path)
    limit(max_bytes=size, max_pixels=19)
    with pytest.raises(ImageError, match=r"more than the 19 pixels allowed \(5 x 4\)"):
        read_image(path)


@pytest.mark.parametrize("side", [13_000, 20_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    # The second is over Pillow's own limit too; the data itself is never reached.
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    with pytest.raises(ImageError, match="more than the 67,108,864 pixels allowed"):
        decode_image(png(header, b"\0"), "bomb.png")


def test_a_global_switch_that_lets_half_a_picture_pass_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ImageError, match="LOAD_TRUNCATED_IMAGES"):
        decode_image(packed(RAMP), "part")


NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
SAMPLES = {
    "png": packed(NOISE),
    "png palette": packed(NOISE, mode="P"),
    "jpeg": packed(NOISE, "JPEG", exif=PIL.Image.Exif()),
    "jpeg progressive": packed(NOISE, "JPEG", progressive=True),
    "tiff": packed(NOISE, "TIFF"),
    "tiff lzw": packed(NOISE, "TIFF", compression="tiff_lzw"),
    "tiff deflate": packed(NOISE, "TIFF", compression="tiff_adobe_deflate"),
    "tiff 16": tiff(NOISE[:, :, 0].astype(np.uint16) * 257),
    "bmp": packed(NOISE, "BMP"),
    "webp": packed(NOISE, "WEBP"),
    "webp lossless": packed(NOISE, "WEBP", lossless=True),
    "gif": packed(NOISE, "GIF"),
}


@pytest.mark.parametrize("sample", list(SAMPLES))
def test_half_a_file_is_refused_in_every_format(sample: str) -> None:
    whole = SAMPLES[sample]
    assert decode_image(whole, "part").shape == NOISE.shape
    for share in (0.3, 0.5, 0.8):
        with pytest.raises(ImageError, match="part"):
            decode_image(whole[: int(len(whole) * share)], "part")


@pytest.mark.parametrize("sample", list(SAMPLES))
def test_a_damaged_file_gives_a_picture_or_one_kind_of_error(sample: str) -> None:
    chance = random.Random(sample)
    for _ in range(80):
        data = bytearray(SAMPLES[sample])
        # Most formats are decided in their first bytes, so half of the damage goes there.
        reach = chance.choice([64, len(data)])
        for _ in range(chance.choice([1, 3, 20])):
            data[chance.randrange(min(reach, len(data)))] = chance.randrange(256)
        del data[chance.choice([len(data), chance.randrange(1, len(data))]) :]
        try:
            image = decode_image(bytes(data), "part")
        except ImageError:
            continue
        assert image.dtype == np.uint8
        assert image.shape[2:] == (3,)


def test_warnings_of_pillow_stay_inside(limit: Callable[..., None]) -> None:
    # 90 million pixels make Pillow warn; the picture is allowed here, but cut short.
    limit(max_pixels=100_000_000)
    header = struct.pack(">IIBBBBB", 10_000, 9_000, 1, 0, 0, 0, 0)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(ImageError, match="cannot be decoded"):
            decode_image(png(header, b"\0"), "part")
    assert not seen


def test_resize_gives_the_size_and_keeps_a_plain_picture_plain() -> None:
    plain = np.full((9, 7, 3), (10, 20, 30), dtype=np.uint8)
    image = resize(plain, 28, 14)
    assert image.shape == (28, 14, 3)
    assert (image == (10, 20, 30)).all()


def test_shrinking_is_antialiased() -> None:
    # Stripes finer than the new pixels become their mean, where picking pixels would keep stripes.
    stripes = grey(np.tile([[0, 255]], (64, 32)))
    inner = resize(stripes, 8, 8)[1:-1, 1:-1]
    np.testing.assert_allclose(inner, 127.5, atol=3)


def test_enlarging_is_bicubic() -> None:
    # Weights of the cubic kernel (a = -0.5) at a quarter pixel from a step, 0 | 255.
    step = grey(np.repeat([[0, 0, 0, 0, 255, 255, 255, 255]], 4, axis=0))
    row = resize(step, 4, 16)[0, :, 0]

    def kernel(x: float) -> float:
        x, a = abs(x), -0.5
        if x < 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0

    for at in (6, 7, 8, 9):
        centre = (at + 0.5) / 2 - 0.5
        exact = sum(255 * kernel(centre - pixel) for pixel in range(4, 8))
        assert row[at] == pytest.approx(min(max(exact, 0), 255), abs=1)


@pytest.mark.parametrize(
    ("array", "size"),
    [
        (RAMP[:, :, 0], (2, 2)),
        (RAMP.astype(np.float32), (2, 2)),
        (RAMP[:0], (2, 2)),
        (RAMP, (0, 2)),
        (RAMP, (2, -1)),
    ],
)
def test_resize_refuses_what_is_no_image_or_no_size(array: Any, size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="expected"):
        resize(array, *size)
