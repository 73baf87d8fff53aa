"""Drafts for labelling tools, read back by plain loops."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from blemish.errors import InputError
from blemish.report import exports
from blemish.runs.rows import region_row
from blemish.types import Region

SIZE = (20, 40)


def region(label: int, mask: Any, score: float = 0.75, view: int = 0) -> dict[str, Any]:
    """A region as a row holds it; `mask` is of the whole picture."""
    ys, xs = np.nonzero(mask)
    box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
    inside = mask[box[1] : box[3], box[0] : box[2]]
    return region_row(Region(label, box, inside, score, "top", view), mask.shape, ())


def rectangle(x0: int, y0: int, x1: int, y1: int) -> Any:
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


RING = rectangle(2, 4, 12, 14) & ~rectangle(5, 7, 8, 10)
BAR = rectangle(10, 12, 30, 16)
ROWS: list[dict[str, Any]] = [
    {
        "id": "line 3/a+b.png",
        "verdict": "unsure",
        "score": 0.55,
        "regions": [
            region(1, RING),
            region(2, BAR, 0.5),
            region(3, rectangle(0, 0, 3, 3), view=1),
        ],
        "sizes": [SIZE, SIZE],
    },
    {"id": "good.png", "verdict": "normal", "score": None, "regions": [], "sizes": [[7, 5]]},
]


def plain_decode(rle: dict[str, Any]) -> Any:
    """`rleFrString` and `rleDecode` of pycocotools' maskApi.c, in plain loops."""
    counts: list[int] = []
    text, place = rle["counts"], 0
    while place < len(text):
        number, shift, more = 0, 0, True
        while more:
            code = ord(text[place]) - 48
            number |= (code & 31) << shift
            more, place, shift = bool(code & 32), place + 1, shift + 5
            if not more and code & 16:
                number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
    height, width = rle["size"]
    pixels = [i % 2 for i, count in enumerate(counts) for _ in range(count)]
    return np.array([[pixels[x * height + y] for x in range(width)] for y in range(height)]) == 1


def drawn(polygons: list[Any], height: int, width: int) -> Any:
    """Pixels whose middles lie inside any polygon, by counting edges to their right."""
    mask = np.zeros((height, width), bool)
    for corners in polygons:
        for y in range(height):
            for x in range(width):
                inside = False
                for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
                    if (ay > y + 0.5) != (by > y + 0.5):
                        inside ^= x + 0.5 < ax + (y + 0.5 - ay) * (bx - ax) / (by - ay)
                mask[y, x] |= inside
    return mask


def filled(mask: Any) -> Any:
    """The mask without its holes: all that cannot be reached from outside of the picture."""
    outside = np.pad(np.zeros_like(mask), 1)
    outside[0, 0] = True
    free = ~np.pad(mask, 1)
    before = 0
    while outside.sum() != before:
        before = outside.sum()
        for axis in (0, 1):
            for step in (1, -1):
                outside |= np.roll(outside, step, axis) & free
    return ~outside[1:-1, 1:-1]


def test_a_mask_holds_all_regions_of_the_picture() -> None:
    mask = exports.mask(ROWS[0])
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, np.where(RING | BAR, 255, 0))
    empty = exports.mask(ROWS[1])
    assert empty.shape == (7, 5)
    assert not empty.any()


def test_coco_gives_each_region_with_box_area_and_mask() -> None:
    data = exports.coco(ROWS, "darkness-1")
    assert data["images"] == [
        {"id": 1, "file_name": "line 3/a+b.png", "width": 40, "height": 20},
        {"id": 2, "file_name": "good.png", "width": 5, "height": 7},
    ]
    ring, bar = data["annotations"]
    assert (ring["bbox"], ring["area"], ring["score"]) == ([2, 4, 10, 10], 91, 0.75)
    assert (bar["bbox"], bar["area"], bar["score"]) == ([10, 12, 20, 4], 80, 0.5)
    for entry, mask in ((ring, RING), (bar, BAR)):
        np.testing.assert_array_equal(plain_decode(entry["segmentation"]), mask)
        assert (entry["image_id"], entry["iscrowd"]) == (1, 0)
        assert entry["category_id"] == data["categories"][0]["id"]
    assert [ring["id"], bar["id"]] == [1, 2]
    assert [c["name"] for c in data["categories"]] == ["anomaly"]
    assert "darkness-1" in data["info"]["description"]


def test_label_studio_gets_polygons_in_percent() -> None:
    first, good = exports.label_studio(
        ROWS, image_root="/data/local-files/?d=parts/", model_version="darkness-1"
    )
    assert first["data"]["image"] == "/data/local-files/?d=parts/line%203/a%2Bb.png"
    assert first["data"]["verdict"] == "unsure"
    (prediction,) = first["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("darkness-1", 0.55)
    ring, bar = prediction["result"]
    points = bar["value"].pop("points")
    assert sorted(points) == [[25, 60], [25, 80], [75, 60], [75, 80]]
    assert bar == {
        "id": "1-2-1",
        "type": "polygonlabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 40,
        "original_height": 20,
        "image_rotation": 0,
        "value": {"closed": True, "polygonlabels": ["anomaly"]},
        "score": 0.5,
    }
    assert sorted(ring["value"]["points"]) == [[5, 20], [5, 70], [30, 20], [30, 70]]
    assert good["predictions"] == [{"model_version": "darkness-1", "result": []}]


def test_each_piece_of_a_region_is_a_polygon_with_an_id_of_its_own() -> None:
    pieces = rectangle(0, 0, 4, 4) | rectangle(20, 10, 30, 15)
    marked = {"regions": [region(1, pieces), region(2, BAR)], "sizes": [SIZE]}
    rows = [{**row, **marked} for row in ROWS]
    tasks = exports.label_studio(rows, image_root="", model_version="")
    ids = [shape["id"] for task in tasks for shape in task["predictions"][0]["result"]]
    assert len(ids) == len(set(ids)) == 6


def test_the_labelling_interface_has_the_names_that_the_tasks_use() -> None:
    task, _ = exports.label_studio(ROWS, image_root="", model_version="")
    shape = task["predictions"][0]["result"][0]
    view = ElementTree.fromstring(exports.LABEL_CONFIG)
    image, labels = view.find("Image"), view.find("PolygonLabels")
    assert image is not None
    assert labels is not None
    assert image.attrib["name"] == labels.attrib["toName"] == shape["to_name"]
    assert labels.attrib["name"] == shape["from_name"]
    assert image.attrib["value"].removeprefix("$") in task["data"]
    assert [label.attrib["value"] for label in labels] == shape["value"]["polygonlabels"]


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.booleans()))
def test_outlines_run_along_the_edges_of_the_pixels(mask: Any) -> None:
    found = [corners.tolist() for corners in exports.outline(mask, 0)]
    np.testing.assert_array_equal(drawn(found, *mask.shape), filled(mask))


def test_outlines_of_slanting_edges_have_few_corners() -> None:
    y, x = np.mgrid[:120, :120] + 0.5
    disc = (x - 60) ** 2 + (y - 60) ** 2 < 50**2
    (exact,) = exports.outline(disc, 0)
    (short,) = exports.outline(disc, 0.99)
    assert len(exact) > 150
    assert len(short) < 50
    again = drawn([short.tolist()], *disc.shape)
    assert (again & disc).sum() / (again | disc).sum() > 0.97


@pytest.mark.parametrize("mask", [np.eye(30, dtype=bool), np.ones((1, 30), bool)])
def test_a_scratch_one_pixel_wide_keeps_its_width(mask: Any) -> None:
    for tolerance in (0.99, 5):
        found = [corners.tolist() for corners in exports.outline(mask, tolerance)]
        np.testing.assert_array_equal(drawn(found, *mask.shape), mask)


def test_masks_keep_their_pictures_names_and_never_share_one() -> None:
    assert exports.mask_names(["a/1.jpg", "b/1.png", "2.tar.tif"]) == {
        "a/1.jpg": "a/1.png",
        "b/1.png": "b/1.png",
        "2.tar.tif": "2.tar.png",
    }
    clash = exports.mask_names(["1.jpg", "1.PNG", "1.jpg.bmp"])
    assert clash == {"1.jpg": "1.jpg.png", "1.PNG": "1.PNG.png", "1.jpg.bmp": "1.jpg.bmp.png"}


@pytest.mark.parametrize("name", ["../a.png", "a/../../b.png", "/etc/a.png", ""])
def test_no_mask_leaves_its_folder(name: str) -> None:
    with pytest.raises(InputError, match="does not lie below one folder"):
        exports.mask_names(["good.png", name])
