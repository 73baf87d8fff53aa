"""What `blemish.images` reads by a rule or refuses, over HTTP: the status, and why."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest
from PIL import ImageFile
from starlette.testclient import TestClient

from blemish.service.app import create_app
from blemish.service.settings import ServiceSettings
from blemish.service.station import Station
from blemish.service.types import Upload


@pytest.fixture
def settings(tmp_path: Any) -> ServiceSettings:
    return ServiceSettings.of(folder=tmp_path / "station", max_body=8 * 2**20)


@pytest.fixture
def client(station: Station, caps: str) -> Iterator[TestClient]:
    """A client of a station with the line "caps", whose good part is light all over."""
    with TestClient(create_app(station), base_url="http://localhost:8000") as made:
        yield made


def saved(image: PIL.Image.Image, form: str = "PNG", **how: Any) -> bytes:
    held = io.BytesIO()
    image.save(held, form, **how)
    return held.getvalue()


def grey(value: int = 240, mode: str = "RGB", size: tuple[int, int] = (60, 40)) -> PIL.Image.Image:
    return PIL.Image.new("RGB", size, (value,) * 3).convert(mode)


def many_pixels() -> bytes:
    """A PNG of 13,000 x 13,000 pixels in 20 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 13_000, 13_000, 1, 0, 0, 0, 0)
    packed = zlib.compress(bytes(13_000 * (1 + 13_000 // 8)), 9)
    ends = chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + ends


def nan() -> bytes:
    values = np.full((4, 4), np.nan, np.float32)
    return saved(PIL.Image.fromarray(values), "TIFF")


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty"),
    "text": (lambda: b"no picture\n", "begins like a text"),
    "series": (lambda: b"time,value\n0,1\n1,2\n", "begins like a text"),
    "cut PNG": (lambda: saved(grey(size=(300, 300)))[:-40], "cannot be decoded"),
    "cut JPEG": (
        lambda: saved(PIL.Image.effect_noise((300, 300), 90), "JPEG")[:-400],
        "cannot be decoded",
    ),
    "broken header": (lambda: saved(grey())[:20] + b"\xff" * 20, "cannot be decoded"),
    "many pixels": (many_pixels, "pixels allowed"),
    "NaN": (nan, "NaN"),
    "signed": (
        lambda: saved(PIL.Image.fromarray(np.zeros((4, 4), np.int32)), "TIFF"),
        "32-bit",
    ),
    "video": (lambda: b"\0\0\0\x20ftypisom" + bytes(64), "MP4 or QuickTime video"),
    "Matroska": (lambda: b"\x1a\x45\xdf\xa3" + bytes(64), "Matroska or WebM video"),
    "AVI": (lambda: b"RIFF\0\0\0\0AVI LIST" + bytes(64), "AVI video"),
    "point cloud": (lambda: b"ply\nformat ascii 1.0\nend_header\n", "a point cloud"),
    "array": (lambda: b"\x93NUMPY\x01\0" + bytes(64), "a NumPy array"),
    "PDF": (lambda: b"%PDF-1.7" + bytes(64), "a PDF document"),
    "photo": (lambda: b"\0\0\0\x18ftypheic" + bytes(64), "HEIC"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_whole_picture_is_refused_with_a_reason(
    client: TestClient, shade: ModuleType, name: str
) -> None:
    make, why = REFUSED[name]
    data = make()
    file: Any = ("<b>.png", data, "image/png")
    alone = client.post("/v1/inspections?wait=20", data={"line": "caps"}, files={"files": file})
    made = client.post(
        "/v1/lines", data={"name": "x", "detector": "shade"}, files={"references": file}
    )
    for said in (alone, made):
        assert said.status_code == 422, said.text
        assert said.headers["content-type"] == "application/problem+json"
        problem = said.json()
        assert (problem["status"], problem["error"]) == (422, "ImageError")
        assert why in problem["detail"]
        assert "<b>.png" in problem["detail"]
    assert client.get("/v1/lines/x").status_code == 404

    # Among good ones it costs them nothing.
    files = [("files", file), ("files", ("good.png", shade.picture().data))]
    job = client.post("/v1/inspections?wait=20", data={"line": "caps"}, files=files)
    assert job.status_code == 200
    assert [item["state"] for item in job.json()["items"]] == ["failed", "done"]
    assert why in job.json()["items"][0]["fault"]["message"]


def rotated(turn: int) -> bytes:
    exif = PIL.Image.Exif()
    exif[0x0112] = turn
    return saved(grey(), "JPEG", exif=exif)


def clear() -> PIL.Image.Image:
    return PIL.Image.new("RGBA", (60, 40), (0, 0, 0, 0))


READ: dict[str, tuple[Callable[[], bytes], int, tuple[int, int]]] = {
    **{f"turned {n}": (lambda n=n: rotated(n), 240, (40, 60)) for n in (1, 2, 3, 4)},  # type: ignore[misc]
    **{f"turned {n}": (lambda n=n: rotated(n), 240, (60, 40)) for n in (5, 6, 7, 8)},  # type: ignore[misc]
    "grey": (lambda: saved(grey(mode="L")), 240, (40, 60)),
    "CMYK": (lambda: saved(grey(mode="CMYK"), "TIFF"), 240, (40, 60)),
    "palette": (lambda: saved(grey().quantize(2)), 240, (40, 60)),
    "transparent": (lambda: saved(clear()), 255, (40, 60)),
    "16 bits": (
        lambda: saved(PIL.Image.fromarray(np.full((40, 60), 240 * 257, np.uint16))),
        240,
        (40, 60),
    ),
    "animation": (
        lambda: saved(grey().quantize(2), "GIF", save_all=True, append_images=[grey(0)]),
        240,
        (40, 60),
    ),
}


@pytest.mark.parametrize("name", READ)
def test_what_has_a_rule_is_read_by_it(client: TestClient, name: str) -> None:
    """Every picture is one light grey as it is shown, and so a good part."""
    make, value, size = READ[name]
    files = {"files": ("its name says nothing.txt", make())}
    said = client.post("/v1/inspections?wait=20", data={"line": "caps"}, files=files)
    assert said.status_code == 200, said.text
    [item] = said.json()["items"]
    row = client.get(f"/v1/inspections/{item['inspection']}").json()
    assert (row["verdict"], row["sizes"]) == ("normal", [list(size)])
    shown = client.get(f"/v1/inspections/{item['inspection']}/picture").content
    pixels = np.asarray(PIL.Image.open(io.BytesIO(shown))).astype(int)
    assert np.abs(pixels - value).max() <= 2


def test_a_picture_longer_than_jpeg_takes_is_shown_smaller(client: TestClient) -> None:
    files = {"files": ("long.png", saved(grey(size=(70_000, 40))))}
    said = client.post("/v1/inspections?wait=20", data={"line": "caps"}, files=files)
    at = f"/v1/inspections/{said.json()['items'][0]['inspection']}"
    assert client.get(at).json()["sizes"] == [[40, 70_000]]
    for side, size in ((0, (65_500, 37)), (256, (256, 1))):
        shown = client.get(f"{at}/picture?side={side}")
        assert shown.status_code == 200, shown.text
        assert PIL.Image.open(io.BytesIO(shown.content)).size == size


@pytest.mark.parametrize(
    "options",
    [
        '{"pause": NaN}',
        '{"pause": Infinity}',
        '{"pause": -Infinity}',
        '{"pause": 1e999}',
        '{"encoder": "\\ud800"}',
        '{"\\ud800": 1}',
        '{"deep": [{"\\udfff": 1}]}',
    ],
)
def test_options_that_are_no_json_are_refused(
    client: TestClient, shade: ModuleType, options: str
) -> None:
    fields = {"name": "x", "detector": "shade", "options": options}
    said = client.post("/v1/lines", data=fields, files={"references": shade.picture().data})
    assert said.status_code == 422, said.text
    assert said.json()["detail"].startswith("The options are no JSON")


@pytest.mark.parametrize(
    ("name", "plain", "whole"),
    [
        ("part 7.PNG", "part 7.PNG", ""),
        ("shift/../part", "part.png", ""),
        ("C:\\shift\\part.", "part.png", ""),
        ("Teil \u00fc \u6f22.png", "Teil _ _.png", "Teil%20%C3%BC%20%E6%BC%A2.png"),
        ('a"; x="b.png', "a__ x__b.png", "a%22%3B%20x%3D%22b.png"),
        ("a\u202egnp.exe\r\n", "agnp.exe", ""),
        ("..", "part.png", ""),
        ("x" * 300 + ".png", "x" * 96 + ".png", ""),
    ],
)
def test_the_file_as_it_came_is_saved_under_its_name(
    client: TestClient, station: Station, shade: ModuleType, name: str, plain: str, whole: str
) -> None:
    job = station.submit("caps", [Upload(name, shade.picture(0).data)])
    at = f"/v1/inspections/{station.wait(job.id, 20).items[0].inspection}/original"
    header = client.get(at).headers["content-disposition"]
    assert header == f'attachment; filename="{plain}"' + (whole and f"; filename*=UTF-8''{whole}")


def test_half_pictures_are_never_let_pass(
    client: TestClient, shade: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    files = {"files": ("a.png", shade.picture().data)}
    said = client.post("/v1/inspections?wait=20", data={"line": "caps"}, files=files)
    assert said.status_code == 422
    assert "LOAD_TRUNCATED_IMAGES" in said.json()["detail"]


def test_a_bit_that_flips_on_the_disk_is_noticed(
    client: TestClient, station: Station, shade: ModuleType
) -> None:
    files = {"files": ("a.png", shade.picture(0).data)}
    job = client.post("/v1/inspections?wait=20", data={"line": "caps"}, files=files).json()
    at = f"/v1/inspections/{job['items'][0]['inspection']}"
    path = station._shop.files.path(client.get(at).json()["sha256"])
    data = bytearray(path.read_bytes())
    data[-30] ^= 1
    path.write_bytes(data)
    for what in ("original", "picture", "overlay"):
        said = client.get(f"{at}/{what}")
        assert (said.status_code, said.json()["error"]) == (500, "SavedError")
        assert "damaged" in said.json()["detail"]
    assert client.get(at).json()["verdict"] == "anomalous"
