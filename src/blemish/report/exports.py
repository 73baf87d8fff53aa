"""What was found, in the formats of labelling tools: drafts for a person to correct.

Every function takes rows of inspections.jsonl without failures, of pictures; `drafts` turns those
of recordings into such. Only regions of the first view are written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath, PurePosixPath
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from blemish import rle
from blemish.errors import InputError
from blemish.types import Mask

Row = Mapping[str, Any]
Size = tuple[int, int]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that a spreadsheet would run."""
CATEGORY = "anomaly"
"""The one class of things that a detector marks."""
LABEL_CONFIG = f"""<View>
  <Image name="image" value="$image" zoom="true"/>
  <PolygonLabels name="label" toName="image" strokeWidth="2" pointSize="small">
    <Label value="{CATEGORY}" background="#d81b60"/>
  </PolygonLabels>
</View>
"""
"""The labelling interface that a Label Studio project needs for the tasks of `label_studio`."""
_FINEST, _SHARE = 0.99, 1 / 500
"""Outlines are simplified by 0.99 pixels, which smooths the stairs of slanting edges and leaves a
scratch one pixel wide its two sides; on large pictures by this share of the longer side, about two
pixels of the screen, because a person cannot move hundreds of corners."""


def drafts(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows of pictures as they are, and a row for each kept view of a recording.

    A view's id is the path of its picture below the run's folder. Its verdict is the recording's.
    """
    for row in rows:
        if "modality" not in row:
            yield row
            continue
        for view, name in enumerate(row["pictures"]):
            marked = [{**r, "view": 0} for r in row["regions"] if r["view"] == view]
            yield {
                "id": name,
                "verdict": row["verdict"],
                "score": max((region["score"] for region in marked), default=None),
                "regions": marked,
                "sizes": [row["sizes"][view]],
            }


def mask_names(ids: Iterable[str]) -> dict[str, str]:
    """A relative path, with "/" between folders, for the mask of each picture.

    It is the picture's own with the ending .png. Where two pictures would get the same, as part.jpg
    and part.png of one folder, every mask keeps its picture's ending as well.

    Raises:
        InputError: an id does not stay below the folder of the pictures.

    >>> mask_names(["line 3/part.jpg"])
    {'line 3/part.jpg': 'line 3/part.png'}
    >>> mask_names(["part.jpg", "part.bmp"])
    {'part.jpg': 'part.jpg.png', 'part.bmp': 'part.bmp.png'}
    """
    paths = {name: PurePosixPath(name) for name in ids}
    for name, path in paths.items():
        if not path.name or ".." in path.parts or PurePath(name).anchor:
            raise InputError(
                f"The picture '{name}' does not lie below one folder with the others, so its mask "
                "has no place beside theirs. Name pictures of one folder or drive at a time."
            )
    names = {name: str(path.with_suffix(".png")) for name, path in paths.items()}
    if len({drawn.casefold() for drawn in names.values()}) < len(names):
        return {name: f"{name}.png" for name in names}
    return names


def mask(row: Row) -> NDArray[np.uint8]:
    """All regions of a picture as one mask, (H, W) uint8: 255 where a region is, else 0."""
    marked = np.zeros(_size(row), np.bool_)
    for region in _regions(row):
        marked |= rle.decode(region["mask"])
    return np.where(marked, np.uint8(255), np.uint8(0))


def coco(rows: Iterable[Row], made_by: str = "") -> dict[str, Any]:
    """A COCO data set: each region is an annotation with its score.

    Segmentations are compressed run-length encodings even of single objects, because polygons have
    no holes. `iscrowd` is 0 all the same: 1 would make evaluations ignore them.

    Args:
        rows: of the pictures.
        made_by: the detector, for the description.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, row in enumerate(rows, 1):
        height, width = _size(row)
        images.append({"id": number, "file_name": row["id"], "width": width, "height": height})
        for region in _regions(row):
            x0, y0, x1, y1 = region["box"]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": region["area"],
                    "segmentation": region["mask"],
                    "iscrowd": 0,
                    "score": region["score"],
                }
            )
    return {
        "info": {"description": f"Drafts by blemish{made_by and ', '}{made_by}, unchecked"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": CATEGORY, "supercategory": ""}],
    }


def label_studio(
    rows: Iterable[Row], *, image_root: str | Callable[[str], str], model_version: str
) -> list[dict[str, Any]]:
    """Label Studio's tasks, with what was found as predictions that a person can edit.

    Each outer outline of a region becomes a polygon along the edges of its pixels, simplified by
    about two pixels of the screen. Polygons have no holes; the masks and COCO keep them. A project
    needs `LABEL_CONFIG`.

    Args:
        rows: of the pictures.
        image_root: what to put in front of a picture's id, percent-encoded, to get its address; or
            a function from the id to that.
        model_version: what Label Studio calls who predicted.
    """
    tasks = []
    for number, row in enumerate(rows, 1):
        size = _size(row)
        prediction: dict[str, Any] = {
            "model_version": model_version,
            "result": [
                {
                    "id": f"{number}-{region['label']}-{part}",  # unique over all tasks
                    "type": "polygonlabels",
                    "from_name": "label",
                    "to_name": "image",
                    "original_width": size[1],
                    "original_height": size[0],
                    "image_rotation": 0,
                    "value": {"points": points, "closed": True, "polygonlabels": [CATEGORY]},
                    "score": region["score"],
                }
                for region in _regions(row)
                for part, points in enumerate(_polygons(region, size), 1)
            ],
        }
        if row["score"] is not None:
            prediction["score"] = row["score"]
        root = image_root if isinstance(image_root, str) else image_root(row["id"])
        shown = {"image": root + quote(row["id"]), "verdict": row["verdict"]}
        tasks.append({"data": shown, "predictions": [prediction]})
    return tasks


def yolo(rows: Iterable[Row]) -> dict[str, str]:
    """Label files of YOLO's format for segmentation, which its detection reads as boxes too.

    Returns:
        Paths below the data set's folder to contents: for each picture a text with a line for each
        outline, the class 0 and then x and y of each corner as shares of width and height, empty
        where nothing was found; and data.yaml, which names the class.
    """
    kept = list(rows)
    names = mask_names(row["id"] for row in kept)
    files = {"data.yaml": f"path: .\ntrain: images\nval: images\nnames:\n  0: {CATEGORY}\n"}
    for row in kept:
        lines = [
            " ".join(["0", *(f"{share / 100:.6f}" for corner in points for share in corner)])
            for region in _regions(row)
            for points in _polygons(region, _size(row))
        ]
        path = PurePosixPath("labels", names[row["id"]]).with_suffix(".txt")
        files[str(path)] = "".join(f"{line}\n" for line in lines)
    return files


def cell(value: Any) -> Any:
    """A cell that no spreadsheet runs; numbers stay as they are, None becomes empty.

    >>> cell("=1+1"), cell(-1.5), cell("part.png")
    ("'=1+1", -1.5, 'part.png')
    """
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value


def outline(inside: Mask, tolerance: float) -> list[NDArray[np.int32]]:
    """The outer outlines of a mask, one for each place that hangs together, if only by corners.

    Args:
        inside: (H, W) bool.
        tolerance: how far, in pixels, an outline may leave the edges of the pixels. One that would
            lose or gain a tenth of its area by this keeps to the edges.

    Returns:
        (N, 2) int32 each, N >= 4 where nothing was simplified: x, y of corners, in pixels from the
        mask's top left corner, so that a single pixel at the top left goes from (0, 0) to (1, 1).
    """
    import cv2

    # The contour goes through the middles of pixels. With two by two for each, those of an edge
    # are (2 x0, ...) on its one side and (2 x1 - 1, ...) on the other: half of it, rounded up, is
    # the edge.
    doubled = inside.repeat(2, 0).repeat(2, 1).astype(np.uint8)
    found, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outlines = []
    for contour in found:
        edges = np.asarray((contour[:, 0] + 1) // 2, np.int32)
        edges = edges[(edges != np.roll(edges, 1, axis=0)).any(1)]
        short = cv2.approxPolyDP(edges, tolerance, True)[:, 0]
        area = cv2.contourArea(edges)
        fits = len(short) > 2 and abs(cv2.contourArea(short) - area) <= area / 10
        outlines.append(np.asarray(short if fits else edges, np.int32))
    return outlines


def _polygons(region: Row, size: Size) -> Iterator[list[list[float]]]:
    """The outlines of a region, in percent of the picture's width and height."""
    x0, y0, x1, y1 = region["box"]
    height, width = size
    inside = rle.decode(region["mask"])[y0:y1, x0:x1]
    for corners in outline(inside, max(_FINEST, max(size) * _SHARE)):
        percent = np.add(corners, (x0, y0)) * (100 / width, 100 / height)
        yield percent.round(4).tolist()


def _size(row: Row) -> Size:
    """(height, width) in pixels, as a viewer shows the picture."""
    height, width = row["sizes"][0]
    return height, width


def _regions(row: Row) -> Sequence[Row]:
    return [region for region in row["regions"] if region["view"] == 0]
