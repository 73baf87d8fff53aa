"""The bytes that CLIP is given, against the publishers' own preparation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from blemish.encoders._clip_pixels import Preparation, from_open_clip, from_transformers
from blemish.errors import WeightsError


@pytest.mark.parametrize("shape", [(50, 97), (97, 50), (43, 42), (42, 47), (31, 200), (42, 42)])
def test_the_resized_bytes_are_those_of_the_publishers_processor(shape: tuple[int, int]) -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    image = np.random.default_rng(1).integers(0, 255, (*shape, 3), np.uint8)
    for size in ({"shortest_edge": 42}, {"height": 42, "width": 42}):
        processor: Any = CLIPImageProcessorPil(size=size, crop_size={"height": 42, "width": 42})
        want = processor(image, do_rescale=False, do_normalize=False)["pixel_values"][0]
        own = from_transformers(processor.to_dict(), 42).own(image)
        assert own.dtype == np.uint8
        assert np.array_equal(own, np.asarray(want).transpose(1, 2, 0))


@pytest.mark.parametrize(("spare", "start"), [(0, 0), (1, 0), (2, 1), (3, 2), (5, 2), (7, 4)])
def test_open_clip_crops_where_torchvision_does(spare: int, start: int) -> None:
    # int(round(spare / 2.0)), where a half goes to the even number.
    image = np.random.default_rng(1).integers(0, 255, (20, 20 + spare, 3), np.uint8)
    assert np.array_equal(Preparation(20).own(image), image[:, start : start + 20])


def test_preparations_that_are_not_clips_are_refused() -> None:
    assert from_open_clip({"resize_mode": "squash"}, 9).squash
    for found in ({"interpolation": "bilinear"}, {"resize_mode": "longest"}):
        with pytest.raises(WeightsError, match="not CLIP's"):
            from_open_clip(found, 9)
    with pytest.raises(WeightsError, match="not CLIP's"):
        from_transformers({"resample": 2}, 9)
    with pytest.raises(WeightsError, match="uncropped"):
        from_transformers({"do_center_crop": False}, 9)
