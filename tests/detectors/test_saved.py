"""What a picture's content hash and a detector's fingerprint depend on."""

from __future__ import annotations

import numpy as np

from blemish.detectors._saved import content, fingerprint
from blemish.types import Sample

IMAGE = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)


def test_the_same_pixels_have_the_same_content_whatever_they_are_called() -> None:
    same = [
        Sample(IMAGE, id="a"),
        Sample(IMAGE.copy(), class_name="nut", id="b"),
        Sample(np.ascontiguousarray(IMAGE[:, ::-1])[:, ::-1]),  # another order in memory
    ]
    assert len({content(s) for s in same}) == 1
    assert len(content(same[0])) == 64


def test_other_pixels_shapes_and_views_have_another_content() -> None:
    changed = IMAGE.copy()
    changed[-1, -1, -1] ^= 1
    others = [
        [IMAGE],
        [changed],
        [IMAGE.reshape(6, 4, 3)],
        [IMAGE[:2], IMAGE[2:]],
        [IMAGE, IMAGE],
        [IMAGE[::-1]],
    ]
    assert len({content(Sample(views)) for views in others}) == len(others)


def test_a_fingerprint_changes_with_each_of_its_parts_and_nothing_else() -> None:
    parts = ["musc", {"sigma": 1.5, "size": None}, 0, ["ab"]]
    assert fingerprint(*parts) == fingerprint("musc", {"size": None, "sigma": 1.5}, 0, ["ab"])
    others = [
        ["music", *parts[1:]],
        [parts[0], {"sigma": 1.6, "size": None}, 0, ["ab"]],
        [*parts[:2], 1, ["ab"]],
        [*parts[:3], ["a", "b"]],
    ]
    assert len({fingerprint(*p) for p in (parts, *others)}) == 5
