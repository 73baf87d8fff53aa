"""From patch distances to an inspection: each step against a plain one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from blemish.calibration import Calibration
from blemish.detectors._maps import (
    Judged,
    image_score,
    inspect_all,
    with_own_references,
    working_map,
)
from blemish.errors import InputError
from blemish.types import Example, Features, Image, Inspection, Sample

Enlarge = Callable[[NDArray[Any], int, int], NDArray[np.float64]]
CALIBRATION = Calibration.from_normals([0.10, 0.12, 0.11, 0.13], rule="four made-up scores")
NO_FEATURES = Features(np.zeros(1, np.float32), {})
random = np.random.default_rng(0)


def picture(height: int, width: int, name: str = "") -> Sample:
    return Sample(np.full((height, width, 3), 200, np.uint8), class_name="nut", id=name)


def inspect(sample: Sample, raw: float, *maps: NDArray[np.float32]) -> Inspection:
    """What `inspect_all` makes of a judgement."""
    (found,) = inspect_all(
        [sample],
        see=lambda images: [NO_FEATURES] * len(images),
        judge=lambda sample, features: Judged(maps, raw, {"seen": len(features)}),
        point=CALIBRATION,
    )
    return found


def spot(value: float, rest: float = 0.0) -> NDArray[np.float32]:
    """A working map with one square spot at its top right."""
    anomaly_map = np.full((56, 56), rest, np.float32)
    anomaly_map[4:14, 40:50] = value
    return anomaly_map


def test_the_working_map_is_the_mean_of_layers_enlarged_to_14_pixels_a_patch(
    bilinear: Enlarge,
) -> None:
    fine, coarse = (random.random(s).astype(np.float32) for s in [(4, 6), (2, 3)])
    plain = bilinear((fine + bilinear(coarse, 4, 6)) / 2, 56, 84)
    assert working_map([coarse, fine], 0) == pytest.approx(plain, abs=1e-6)
    assert working_map([fine], 0) == pytest.approx(bilinear(fine, 56, 84), abs=1e-6)


@pytest.mark.parametrize("shape", [(8, 8), (4, 16)])
def test_smoothing_is_a_gaussian_in_hundredths_of_the_mean_side(shape: tuple[int, int]) -> None:
    patches = random.random(shape).astype(np.float32)
    rough = working_map([patches], 0)
    plain = gaussian_filter(rough, 0.03 * 112, mode="nearest")
    assert working_map([patches], 3) == pytest.approx(plain, abs=2e-3)


@pytest.mark.parametrize("sigma", [0, 1.5, 4])
def test_smoothing_conserves_the_mean(sigma: float) -> None:
    patches = np.zeros((9, 9), np.float32)
    patches[4, 4] = 1
    assert working_map([patches], sigma).mean() == pytest.approx(1 / 81, rel=1e-3)


@settings(max_examples=25)
@given(st.floats(0, 2, width=32), st.sampled_from([0, 1.5, 20]), st.integers(1, 5))
def test_a_constant_stays_constant(value: float, sigma: float, width: int) -> None:
    layers = [np.full((3, width), value, np.float32), np.full((1, 1), value, np.float32)]
    anomaly_map = working_map(layers, sigma)
    assert anomaly_map.shape == (42, 14 * width)
    assert anomaly_map == pytest.approx(np.full((42, 14 * width), value), abs=1e-5)


@given(
    st.lists(
        arrays(
            np.float32,
            st.tuples(st.integers(1, 9), st.integers(1, 9)),
            elements=st.floats(0, 2, width=32),
        ),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([0.001, 0.01, 0.2, 0.5, 1.0]),
)
def test_the_image_score_is_the_mean_of_the_highest_share_of_the_worst_view(
    maps: list[NDArray[np.float32]], top: float
) -> None:
    plain = []
    for view in maps:
        count = max(1, round(top * view.size))
        plain.append(sum(sorted(map(float, view.flat), reverse=True)[:count]) / count)
    assert image_score(maps, top) == pytest.approx(max(plain), abs=1e-6)


def test_samples_come_out_in_order_with_the_features_of_their_own_views() -> None:
    samples = [
        Sample([np.full((4, 4, 3), 10 * i + v, np.uint8) for v in range(views)], id=str(i))
        for i, views in enumerate((1, 3, 2))
    ]

    def encode(images: Sequence[Image]) -> list[Features]:
        return [Features(image[0, 0].astype(np.float32), {}) for image in images]

    def judge(sample: Sample, features: list[Features]) -> Judged:
        seen = [int(f.class_token[0]) for f in features]
        return Judged([spot(0)] * len(features), len(seen) / 10, {"seen": seen})

    found = inspect_all(samples, see=encode, judge=judge, point=CALIBRATION)
    assert [f.id for f in found] == ["0", "1", "2"]
    assert [f.evidence["seen"] for f in found] == [[0], [10, 11, 12], [20, 21]]
    assert [len(f.maps) for f in found] == [1, 3, 2]
    assert [f.raw_score for f in found] == [0.1, 0.3, 0.2]
    for f in found:
        assert list(f.usage.seconds) == ["encode", "match", "verdict"]
        assert all(seconds >= 0 for seconds in f.usage.seconds.values())


def test_encoding_is_shared_out_over_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0, 6, 10, 11, 13, 20, 22, 25, 30, 31, 32])  # encode 6 s; then 1 + 2 and 2 + 3 s
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    found = inspect_all(
        [picture(8, 8)] * 2,
        see=lambda images: [NO_FEATURES] * len(images),
        judge=lambda sample, features: Judged([spot(0)], 0.1, {}),
        point=CALIBRATION,
    )
    assert [f.usage.seconds for f in found] == [
        {"encode": 3, "match": 1, "verdict": 2},
        {"encode": 3, "match": 2, "verdict": 3},
    ]


def test_evidence_names_the_operating_point_and_the_rule() -> None:
    found = inspect(picture(56, 56), 0.1, spot(0))
    assert found.evidence == {
        "operating_point": CALIBRATION.threshold,
        "calibration": "four made-up scores",
        "seen": 1,
    }
    assert found.decided_by == "calibration"


@pytest.mark.parametrize("raw", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_an_error_that_names_the_sample(raw: float) -> None:
    with pytest.raises(InputError, match=r"shelf/3\.png.*not finite.*weights verify"):
        inspect(picture(56, 56, "shelf/3.png"), raw, spot(0))


def test_a_sample_with_references_of_its_own_is_judged_by_these_and_keeps_its_place() -> None:
    seen: list[tuple[list[str], list[str]]] = []

    class Told:
        """Answers with the references it was fitted on."""

        name = fingerprint = "told"
        calibration = None

        def __init__(self, known: str = "own bank") -> None:
            self.known = known

        def fit(self, normals: Sequence[Sample], feedback: Sequence[Example] = ()) -> Told:
            seen.append(([s.id for s in normals], [e.sample.id for e in feedback]))
            return Told(f"{len(normals)} + {len(feedback)}")

        def predict(self, samples: Sequence[Sample]) -> list[Inspection]:
            assert not any(s.references for s in samples)
            return [
                Inspection(s.id, "normal", "calibration", explanation=self.known) for s in samples
            ]

        def with_calibration(self, calibration: Any) -> Told:
            return self

        def save(self, folder: Path) -> None:
            raise NotImplementedError

    judged = Example(picture(4, 4, "judged"), "normal")
    own = Sample(picture(4, 4).image, references=[picture(4, 4, "r"), judged], id="b")
    samples = [picture(4, 4, "a"), own, picture(4, 4, "c")]
    found = with_own_references(samples, Told(), Told().predict)
    assert [(f.id, f.explanation) for f in found] == [
        ("a", "own bank"),
        ("b", "1 + 1"),
        ("c", "own bank"),
    ]
    assert seen == [(["r"], ["judged"])]


@pytest.mark.parametrize(("height", "width"), [(56, 56), (20, 31), (200, 150), (1, 1)])
def test_maps_have_the_size_of_their_views(height: int, width: int, bilinear: Enlarge) -> None:
    working = spot(0.9, 0.1)
    found = inspect(picture(height, width), 0.5, working)
    assert found.maps[0].shape == (height, width)
    assert found.maps[0].dtype == np.float32
    if height * width >= working.size:
        assert found.maps[0] == pytest.approx(bilinear(working, height, width), abs=1e-4)
    else:  # an area's mean, so that no spot falls between the pixels
        assert found.maps[0].mean() == pytest.approx(working.mean(), rel=1e-4)


def test_each_view_has_a_map_of_its_own_size_and_its_own_regions() -> None:
    views = Sample([picture(56, 56).image, picture(112, 28).image])
    found = inspect(views, 0.9, spot(0), spot(0.9))
    assert [m.shape for m in found.maps] == [(56, 56), (112, 28)]
    assert [r.view for r in found.regions] == [1]
    x0, y0, x1, y1 = found.regions[0].box  # 10 x 10 of 56 x 56 at (40, 4), in the view's pixels
    assert (x0, x1) == pytest.approx((20, 25), abs=1)
    assert (y0, y1) == pytest.approx((8, 28), abs=2)


def test_a_normal_part_has_no_regions_and_says_so() -> None:
    found = inspect(picture(56, 56), 0.11, spot(0.9))
    assert (found.verdict, found.reason, found.regions) == ("normal", "", ())
    score = CALIBRATION.score(0.11)
    assert found.score == score
    assert found.explanation == (
        f"Nothing on this nut stands out from the normal parts (score {score:.2f})."
    )


def test_an_anomalous_part_says_how_many_regions_and_where() -> None:
    working = spot(0.9)
    found = inspect(picture(56, 56), 0.9, working)
    assert (found.verdict, found.reason) == ("anomalous", "")
    assert found.explanation == (
        f"1 region of this nut unlike any normal part at top right (score {found.score:.2f})."
    )
    working[50:54, 40:50] = 0.8
    working[30:34, 2:6] = 0.7
    working[2:6, 2:6] = 0.6
    working[20:24, 2:6] = 0.55
    found = inspect(picture(56, 56), 0.9, working)
    assert found.explanation.startswith(
        "5 regions of this nut unlike any normal part at top right, bottom right, left (score"
    )


def test_a_part_too_close_to_call_is_unsure_and_says_so() -> None:
    found = inspect(picture(56, 56), CALIBRATION.threshold, spot(CALIBRATION.threshold * 1.1))
    assert (found.verdict, found.reason) == ("unsure", "inside the band")
    assert math.isclose(found.score or 0, 0.5, abs_tol=1e-6)
    assert found.explanation == (
        "1 region of this nut may be odd at top right: score 0.50 is too close to call."
    )
