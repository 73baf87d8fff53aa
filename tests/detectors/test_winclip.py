"""CLIP-AC, WinCLIP, WinCLIP+ and AnoVL beside their formulas, written out in loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import blemish
from blemish import build
from blemish.calibration import Calibration
from blemish.detectors._windows import association
from blemish.detectors.anovl import AnoVL, AnoVLOptions
from blemish.detectors.clip_ac import ClipAC, ClipACOptions
from blemish.detectors.winclip import WinCLIP, WinCLIPOptions
from blemish.errors import InputError, OptionError, ReferencesError
from blemish.prompts import contrast
from blemish.synthesis.procedural import make_part
from blemish.types import Example, Sample

Raw = Callable[[Any, Sample], float]
NAME = "plate"


def texts(encoder: Any, ensemble: Callable[[str], contrast.Prompts]) -> list[NDArray[np.float64]]:
    """The normal and the abnormal text: the mean of each side, of length 1."""
    found = []
    for side in (ensemble(NAME).normal, ensemble(NAME).abnormal):
        mean: NDArray[np.float64] = np.zeros(8)
        for text in side:
            mean = mean + encoder.encode_text([text])[0]
        found.append(mean / np.linalg.norm(mean))
    return found


def share(encoder: Any, one: NDArray[Any], both: list[NDArray[np.float64]]) -> float:
    """Equation 1 of ALFA with the logit scale."""
    powers = [np.exp(encoder.logit_scale * float(np.float64(one) @ text)) for text in both]
    return float(powers[1] / sum(powers))


def covering(side: int, scale: int, y: int, x: int) -> list[int]:
    """Numbers of the windows over a patch."""
    steps = side - scale + 1
    return [
        top * steps + left
        for top in range(steps)
        for left in range(steps)
        if top <= y < top + scale and left <= x < left + scale
    ]


def windowed(values: list[float], side: int, scale: int) -> NDArray[np.float64]:
    """The harmonic mean of the windows that cover each patch."""
    made = np.empty((side, side))
    for y in range(side):
        for x in range(side):
            some = [values[i] for i in covering(side, scale, y, x)]
            made[y, x] = len(some) / sum(1 / v for v in some) if all(some) else 0
    return made


def zero_shot(encoder: Any, sample: Sample, scales: tuple[int, ...]) -> NDArray[np.float64]:
    both = texts(encoder, contrast.winclip)
    whole = encoder.joint([sample.image])
    side = whole.patches.shape[1]
    maps = [np.full((side, side), share(encoder, whole.embeddings[0], both))]
    for scale in scales:
        windows = encoder.windows([sample.image], scale).embeddings[0]
        maps.append(windowed([share(encoder, w, both) for w in windows], side, scale))
    return np.asarray(len(maps) / sum(1 / m for m in maps))


def unlike(
    encoder: Any, sample: Sample, normals: list[Sample], scales: tuple[int, ...]
) -> NDArray[np.float64]:
    """The association map: half of 1 - the largest cosine, over patches and scales."""

    def away(query: NDArray[Any], known: list[NDArray[Any]]) -> float:
        best = max(
            float(np.dot(query, k) / np.linalg.norm(query) / np.linalg.norm(k)) for k in known
        )
        return max(0.0, 1 - best) / 2

    def patches(some: Sample) -> NDArray[np.float64]:
        tokens = np.asarray(encoder.joint([some.image]).tokens[0], np.float64)
        return tokens.reshape(-1, tokens.shape[-1])

    bank = [row for normal in normals for row in patches(normal)]
    side = round(len(patches(sample)) ** 0.5)
    maps = [np.array([away(row, bank) for row in patches(sample)]).reshape(side, side)]
    for scale in scales:
        known = [w for n in normals for w in encoder.windows([n.image], scale).embeddings[0]]
        seen = encoder.windows([sample.image], scale).embeddings[0]
        maps.append(windowed([away(w, known) for w in seen], side, scale))
    return np.asarray(sum(maps) / len(maps))


def called(some: list[Sample], name: str = NAME) -> list[Sample]:
    return [blemish.Sample(one.image, class_name=name, id=one.id) for one in some]


def winclip(encoder: Any, **options: Any) -> Any:
    return blank(WinCLIP, WinCLIPOptions, encoder, **options)


def blank(detector: Any, checked: Any, encoder: Any, **options: Any) -> Any:
    return detector(encoder=encoder, options=checked(**options))


@pytest.mark.parametrize("scales", [(2,), (2, 3), (1, 4, 8)])
def test_the_zero_shot_map_is_the_formula(
    captions: Any, broken: Sample, scales: tuple[int, ...], bilinear: Callable[..., Any]
) -> None:
    sample = blemish.Sample(broken.image, class_name=NAME, id="p")
    (found,) = winclip(captions, scales=scales).predict([sample])
    expected = bilinear(zero_shot(captions, sample, scales), *sample.image.shape[:2])
    assert found.anomaly_map == pytest.approx(expected, rel=1e-4, abs=1e-6)
    both = texts(captions, contrast.winclip)
    whole = share(captions, captions.embed([sample.image])[0], both)
    assert found.raw_score == pytest.approx(whole, rel=1e-5)
    assert (found.decided_by, found.score) == ("probability", found.raw_score)


def test_with_normal_parts_their_association_is_averaged_in(
    captions: Any, broken: Sample, good: list[Sample], bilinear: Callable[..., Any]
) -> None:
    sample = blemish.Sample(broken.image, class_name=NAME, id="p")
    known = called(good[:2])
    fitted = winclip(captions).fit(known)
    (found,) = fitted.predict([sample])
    away = unlike(captions, sample, known, (2, 3))
    expected = (zero_shot(captions, sample, (2, 3)) + away) / 2
    factor = fitted._memory.scale
    assert found.anomaly_map == pytest.approx(
        bilinear(factor * expected, *sample.image.shape[:2]), rel=1e-3, abs=1e-5
    )
    whole = share(captions, captions.embed([sample.image])[0], texts(captions, contrast.winclip))
    assert found.raw_score == pytest.approx((whole + away.max()) / 2, rel=1e-4)
    assert found.decided_by == "calibration"


def test_a_reference_is_judged_by_the_others_alone(captions: Any, good: list[Sample]) -> None:
    known = called(good[:3])
    fitted = winclip(captions).fit(known)
    left_out = []
    for i, part in enumerate(known):
        others = winclip(captions).fit([k for j, k in enumerate(known) if j != i])
        left_out.append(others.predict([part])[0].raw_score or 0.0)
    expected = Calibration.from_normals(left_out, bound=1.0)
    assert fitted.calibration is not None
    assert fitted.calibration.location == pytest.approx(expected.location, rel=1e-5)
    assert fitted.calibration.scale == pytest.approx(expected.scale, rel=1e-5)


def test_a_patch_of_the_reference_itself_is_like_it(captions: Any, good: list[Sample]) -> None:
    fitted = winclip(captions).fit(good[:1])
    view = fitted._see([good[0].image])[0]
    assert association(view, fitted._memory.banks) == pytest.approx(0, abs=1e-6)


def test_clip_ac_is_equation_1_and_draws_nothing(captions: Any, broken: Sample, raw: Raw) -> None:
    sample = blemish.Sample(broken.image, class_name=NAME, id="p")
    detector = blank(ClipAC, ClipACOptions, captions)
    both = texts(captions, contrast.clip_ac)
    whole = share(captions, captions.embed([sample.image])[0], both)
    assert raw(detector, sample) == pytest.approx(whole, rel=1e-5)
    (found,) = detector.predict([sample])
    assert (found.maps, found.regions) == ((), ())
    assert "The words for an abnormal plate fit this one better" in found.explanation


def test_anovl_compares_the_local_tokens(
    captions: Any, broken: Sample, bilinear: Callable[..., Any]
) -> None:
    sample = blemish.Sample(broken.image, class_name=NAME, id="p")
    detector = blank(AnoVL, AnoVLOptions, captions)
    (found,) = detector.predict([sample])
    both = texts(captions, contrast.anovl)
    whole = share(captions, captions.embed([sample.image])[0], both)
    assert found.raw_score == pytest.approx(whole, rel=1e-5)
    assert found.raw_score != pytest.approx(float(found.anomaly_map.max()), rel=1e-3)
    local = captions.joint([sample.image], vv=True).patches[0]
    expected = [[share(captions, token, both) for token in row] for row in local]
    assert found.anomaly_map == pytest.approx(
        bilinear(np.array(expected), *sample.image.shape[:2]), rel=1e-4, abs=1e-6
    )


def test_normal_parts_calibrate_a_detector_without_a_bank(
    captions: Any, good: list[Sample], raw: Raw
) -> None:
    before = blank(ClipAC, ClipACOptions, captions)
    fitted = before.fit(good[:4])
    scores = [raw(before, part) for part in good[:4]]
    expected = Calibration.from_normals(scores, bound=1.0)
    assert fitted.calibration is not None
    assert fitted.calibration.location == pytest.approx(expected.location)
    assert raw(fitted, good[5]) == raw(before, good[5])  # they move the verdict, not the score


def test_without_normal_parts_fit_gives_the_detector_itself(captions: Any) -> None:
    detector = winclip(captions)
    assert detector.fit([]) is detector
    assert detector.fit([], [Example(blemish.Sample(np.zeros((9, 9, 3), np.uint8)), "anomalous")])


def test_an_encoder_without_words_is_refused(cells: Any) -> None:
    with pytest.raises(OptionError, match=r"cells has no text tower\. Name a CLIP model"):
        winclip(cells)


def test_each_class_has_its_own_texts(captions: Any, broken: Sample, raw: Raw) -> None:
    detector = winclip(captions)
    scores = {
        name: raw(detector, blemish.Sample(broken.image, class_name=name, id=name))
        for name in ("plate", "bottle", "metal_nut", "metal nut")
    }
    assert scores["plate"] != scores["bottle"]
    assert scores["metal_nut"] == scores["metal nut"]


def test_features_that_are_no_numbers_are_told(captions: Any, broken: Sample) -> None:
    class Broken(type(captions)):  # type: ignore[misc]
        def joint(self, images: Any, **more: Any) -> Any:
            found = super().joint(images, **more)
            found.embeddings[:] = np.nan
            return found

    with pytest.raises(InputError, match="features that are not finite"):
        winclip(Broken()).predict([broken])


def test_the_same_picture_twice_in_a_batch_and_views(captions: Any, broken: Sample) -> None:
    """A part of several views is as odd as its oddest."""
    good_view = make_part("brushed", 3, size=(112, 112)).sample.image
    detector = winclip(captions)
    pair = blemish.Sample([good_view, broken.image], class_name=NAME, id="pair")
    single = blemish.Sample(broken.image, class_name=NAME, id="one")
    both, one = detector.predict([pair, single])
    assert both.raw_score == one.raw_score
    assert len(both.maps) == 2


def test_regions_begin_where_the_highest_places_of_normal_parts_do_not(
    captions: Any, good: list[Sample]
) -> None:
    known = called(good[:6])
    for detector in (winclip(captions), blank(AnoVL, AnoVLOptions, captions)):
        fitted = detector.fit(known)
        peaks = []
        for i, part in enumerate(known):
            (view,) = fitted._see([part.image])
            without = i if isinstance(detector, WinCLIP) else None
            peaks.append(float(fitted._found(fitted._words(NAME), view, without).map.max()))
        places = Calibration.from_normals(peaks, bound=1.0)
        onto = fitted._memory.scale * places.threshold
        assert onto == pytest.approx(fitted.calibration.threshold, rel=1e-4)


@pytest.mark.parametrize("shots", [1, 4])
def test_the_worst_score_there_is_stays_anomalous(
    captions: Any, good: list[Sample], shots: int
) -> None:
    detector = blank(ClipAC, ClipACOptions, captions).fit(called(good[:shots]))
    assert detector.calibration.verdict(1.0)[0] == "anomalous"
    assert detector.calibration.threshold < 1


def test_normal_parts_of_another_class_are_refused(captions: Any, good: list[Sample]) -> None:
    fitted = winclip(captions).fit(called(good[:2]))
    with pytest.raises(ReferencesError, match="of the class 'plate', and a part of the class 'nut"):
        fitted.predict(called(good[3:4], "nut"))
    with pytest.raises(ReferencesError, match="Normal parts of 2 classes came: plate, nut"):
        winclip(captions).fit([*called(good[:1]), *called(good[1:2], "nut")])


def test_a_part_with_its_own_references_is_judged_by_these(
    captions: Any, good: list[Sample], broken: Sample, raw: Raw
) -> None:
    own = blemish.Sample(broken.image, class_name=NAME, references=good[:2], id="p")
    expected = raw(winclip(captions).fit(called(good[:2])), replace(own, references=()))
    assert raw(winclip(captions), own) == pytest.approx(expected)


def test_a_moved_operating_point_without_normal_parts_is_saved(
    captions: Any, broken: Sample, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build, "encoder", lambda name, **settings: captions)
    point = Calibration.from_normals([0.2, 0.3], bound=1.0)
    moved = winclip(captions).with_calibration(point)
    moved.save(tmp_path / "saved")
    back = blemish.load(tmp_path / "saved", device="cpu")
    assert back.calibration == point
    assert back.predict([broken])[0].raw_score == moved.predict([broken])[0].raw_score


def test_size_is_handed_on(captions: Any, broken: Sample) -> None:
    for detector, options in ((WinCLIP, WinCLIPOptions), (AnoVL, AnoVLOptions)):
        small = blank(detector, options, captions, size=56)
        view = small._see([broken.image])[0]
        assert len(view.patches.reshape(-1, view.patches.shape[-1])) == 16
