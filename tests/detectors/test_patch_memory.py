"""`patch-memory` on a stand-in encoder: equation 2 in plain loops, and what each option does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

import blemish
from blemish import build
from blemish.calibration import COPIES_SCALE, COPIES_SHIFT
from blemish.detectors._augment import changed_copies
from blemish.detectors.patch_memory import PatchMemory
from blemish.errors import InputError, ReferencesError
from blemish.synthesis.procedural import make_part
from blemish.types import Detector, Encoder, Example, Features, Image, Inspection, Sample

Make = Callable[..., PatchMemory]
Facts = Callable[[Inspection], tuple[Any, ...]]
Tokens = Callable[..., NDArray[np.float64]]
One = Callable[[Detector, Sample], Inspection]
Raw = Callable[[Detector, Sample], float]
Enlarge = Callable[[NDArray[Any], int, int], NDArray[np.float64]]
SIDE = 112


def rows(detector: PatchMemory, folder: Path) -> dict[str, int]:
    """How many rows each layer's saved bank has."""
    detector.save(folder)
    arrays = load_file(folder / "state.safetensors")
    return {k: len(a) for k, a in arrays.items() if k.endswith(".tokens")}


def distances(queries: NDArray[np.float64], bank: Sequence[NDArray[np.float64]]) -> Any:
    """Equation 2 for one layer: 1 - the largest cosine to any patch of any reference."""
    h, w = queries.shape[:2]
    out = np.zeros((h, w))
    for y in range(h):
        for x in range(w):
            likeness = [q @ queries[y, x] for patches in bank for line in patches for q in line]
            out[y, x] = 1 - max(likeness)
    return out


@pytest.mark.parametrize("layers", [(1, 2), (1,), (2,)])
@pytest.mark.parametrize("pooling", [1, 3])
def test_the_map_is_equation_2_over_layers_enlarged(
    layers: tuple[int, ...],
    pooling: int,
    patch_memory: Make,
    good: list[Sample],
    broken: Sample,
    tokens_of: Tokens,
    bilinear: Enlarge,
    one: One,
) -> None:
    side = 8 if 1 in layers else 4
    plain = np.zeros((side, side))
    for k in layers:
        bank = [tokens_of(s.image, k, pooling) for s in good[:2]]
        plain += bilinear(distances(tokens_of(broken.image, k, pooling), bank), side, side)
    detector = patch_memory(sigma=0, layers=layers, pooling=pooling, top=0.2).fit(good[:2])
    found = one(detector, broken)
    expected = bilinear(bilinear(plain / len(layers), 14 * side, 14 * side), SIDE, SIDE)
    assert found.maps[0] == pytest.approx(expected, abs=1e-5)
    highest = np.sort(bilinear(plain / len(layers), 14 * side, 14 * side), axis=None)
    assert found.raw_score == pytest.approx(highest[-round(0.2 * highest.size) :].mean(), abs=1e-5)


def test_a_stained_part_is_found_where_the_stain_is(
    patch_memory: Make, good: list[Sample], one: One
) -> None:
    example = make_part("brushed", 103, defect="stain", size=(SIDE, SIDE))
    assert example.mask is not None
    detector = patch_memory().fit(good[:8])
    found = one(detector, example.sample)
    assert found.verdict == "anomalous"
    assert found.maps[0][example.mask].mean() > 3 * found.maps[0][~example.mask].mean()
    x0, y0, x1, y1 = found.regions[0].box
    assert example.mask[y0:y1, x0:x1][found.regions[0].mask].mean() > 0.3
    verdicts = [f.verdict for f in detector.predict(good[8:])]
    assert verdicts.count("normal") >= 10


def test_a_reference_has_nothing_odd(patch_memory: Make, good: list[Sample], one: One) -> None:
    detector = patch_memory(coreset=0).fit(good[:3])
    for sample in good[:3]:
        found = one(detector, sample)
        assert found.maps[0] == pytest.approx(np.zeros((SIDE, SIDE)), abs=1e-5)
        assert found.verdict == "normal"


@pytest.mark.parametrize("foreground", [False, True])
def test_it_is_calibrated_on_each_reference_against_the_others(
    foreground: bool, patch_memory: Make, good: list[Sample], raw: Raw
) -> None:
    detector = patch_memory(coreset=0, foreground=foreground).fit(good[:4])
    scores = []
    for i in range(4):
        rest = [s for j, s in enumerate(good[:4]) if j != i]
        scores.append(raw(patch_memory(coreset=0, foreground=foreground).fit(rest), good[i]))
    assert detector.calibration is not None
    assert detector.calibration.n == 4
    assert detector.calibration.location == pytest.approx(np.log(scores).mean(), abs=1e-4)
    assert detector.calibration.rule == "scores of 4 references, none compared with itself"


def test_one_reference_is_calibrated_on_changed_copies_of_it(
    patch_memory: Make, good: list[Sample], raw: Raw
) -> None:
    detector = patch_memory(seed=5).fit(good[:1])
    copies = [Sample(c) for c in changed_copies(good[0].image, 5)]
    scores = [raw(detector, c) for c in copies]
    assert len({c.image.tobytes() for c in copies}) == 8
    assert detector.calibration is not None
    raised = np.log(scores).mean() + COPIES_SHIFT
    assert detector.calibration.location == pytest.approx(raised, abs=1e-5)
    assert detector.calibration.scale == COPIES_SCALE
    assert detector.calibration.rule == "scores of 8 changed copies of the one reference"


def test_changed_copies_stay_close_to_the_picture(good: list[Sample]) -> None:
    image = good[0].image
    for copy in changed_copies(image, 0):
        assert copy.shape == image.shape
        assert copy.dtype == np.uint8
        assert abs(copy.mean() / image.mean() - 1) < 0.1
        assert not np.array_equal(copy, image)


def test_the_false_alarm_target_is_the_options(patch_memory: Make, good: list[Sample]) -> None:
    few, many = (patch_memory(false_alarms=a).fit(good[:4]).calibration for a in (0.01, 0.2))
    assert few is not None
    assert many is not None
    assert (few.false_alarms, many.false_alarms) == (0.01, 0.2)
    assert few.threshold > many.threshold


@pytest.mark.parametrize(
    ("how", "views"), [("none", 1), ("flips", 3), ("rotations", 4), ("both", 8)]
)
def test_turned_references_join_the_bank(
    how: str, views: int, patch_memory: Make, good: list[Sample], tmp_path: Path
) -> None:
    detector = patch_memory(augment=how, coreset=0).fit(good[:2])
    assert rows(detector, tmp_path) == {
        "bank.1.tokens": 2 * views * 64,
        "bank.2.tokens": 2 * views * 16,
    }


@pytest.mark.parametrize(
    ("how", "known"),
    [
        ("flips", [lambda i: i[:, ::-1], lambda i: i[::-1]]),
        ("rotations", [lambda i, k=k: np.rot90(i, k) for k in (1, 2, 3)]),
        ("both", [lambda i: np.rot90(i), lambda i: i[::-1], lambda i: i.transpose(1, 0, 2)]),
    ],
)
def test_a_part_that_lies_another_way_is_known_once_references_are_turned(
    how: str,
    known: list[Callable[[Image], Image]],
    patch_memory: Make,
    good: list[Sample],
    raw: Raw,
) -> None:
    plain, turned = (patch_memory(augment=a, coreset=0).fit(good[:2]) for a in ("none", how))
    for turn in known:
        sample = Sample(np.ascontiguousarray(turn(good[0].image)))
        assert raw(turned, sample) < 1e-5
        assert raw(plain, sample) > 1e-3


@pytest.mark.parametrize("keep", [1, 5, 60, 0])
def test_the_coreset_bounds_each_layers_bank(
    keep: int, patch_memory: Make, good: list[Sample], tmp_path: Path
) -> None:
    found = rows(patch_memory(coreset=keep).fit(good[:3]), tmp_path)
    bound = keep or 10**9
    assert found == {"bank.1.tokens": min(bound, 192), "bank.2.tokens": min(bound, 48)}


def test_the_seed_chooses_the_coreset(
    patch_memory: Make, good: list[Sample], broken: Sample
) -> None:
    first, again, other = (
        patch_memory(coreset=9, seed=s).fit(good[:3]).predict([broken])[0].maps[0]
        for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_sigma_smooths_and_top_averages(
    patch_memory: Make, good: list[Sample], broken: Sample, one: One
) -> None:
    rough, smooth = (one(patch_memory(sigma=s).fit(good[:3]), broken).maps[0] for s in (0, 5))
    assert np.abs(np.diff(smooth)).sum() < np.abs(np.diff(rough)).sum() * 0.9
    whole = one(patch_memory(top=1).fit(good[:3]), broken)
    assert whole.raw_score == pytest.approx(whole.maps[0].mean(), rel=1e-5)


def test_size_sets_the_encoders_input(
    patch_memory: Make, good: list[Sample], tmp_path: Path
) -> None:
    found = rows(patch_memory(size=224, coreset=0).fit(good[:1]), tmp_path)
    assert found == {"bank.1.tokens": 256, "bank.2.tokens": 64}


def on_a_table(seed: int, dirt: bool = False) -> Sample:
    """A textured square part in the middle of a dark table; `dirt` lies on the table's corner."""
    random = np.random.default_rng(seed)
    image = random.normal(20, 2, (224, 224, 3))
    image[49:175, 49:175] = random.normal(180, 30, (126, 126, 3))
    if dirt:
        image[2:12, 2:12] = 45
    return Sample(image.clip(0, 255).astype(np.uint8))


def test_foreground_silences_a_background_that_can_be_told_apart(
    patch_memory: Make, one: One
) -> None:
    normals = [on_a_table(seed) for seed in range(4)]
    options = {"size": 224, "layers": (1,), "sigma": 0}
    everything = patch_memory(**options).fit(normals)
    part_only = patch_memory(**options, foreground=True).fit(normals)
    dirty = on_a_table(9, dirt=True)
    assert one(everything, dirty).verdict == "anomalous"
    assert one(part_only, dirty).verdict == "normal"
    assert (one(part_only, dirty).maps[0][:7, :7] == 0).all()
    # two patches beyond the part count, so that a burr on its rim is seen
    assert (one(part_only, dirty).maps[0][60:160, 60:160] > 0).mean() > 0.9
    np.testing.assert_array_equal(
        one(part_only, dirty).maps[0][35:189, 35:189],
        one(everything, dirty).maps[0][35:189, 35:189],
    )


def test_foreground_changes_nothing_where_there_is_no_background(
    patch_memory: Make, good: list[Sample], broken: Sample, one: One
) -> None:
    plain, masked = (patch_memory(foreground=f).fit(good[:3]) for f in (False, True))
    np.testing.assert_array_equal(one(plain, broken).maps[0], one(masked, broken).maps[0])


def test_feedback_that_is_normal_joins_the_bank_and_a_found_defect_changes_nothing(
    patch_memory: Make, good: list[Sample], broken: Sample, facts: Facts, one: One
) -> None:
    feedback = [Example(broken, "anomalous"), Example(good[5], "normal")]
    taught = patch_memory().fit(good[:3], feedback)
    same = patch_memory().fit([*good[:3], good[5]])
    assert facts(one(taught, broken)) == facts(one(same, broken))
    assert [r["id"] for r in taught.references] == [s.id for s in (*good[:3], good[5])]
    assert taught.fingerprint == same.fingerprint


def test_a_missed_defect_lowers_the_operating_point_until_it_is_found(
    patch_memory: Make, good: list[Sample], broken: Sample, one: One
) -> None:
    fitted = patch_memory().fit(good[:3])
    raw, point = one(fitted, broken).raw_score, fitted.calibration
    assert raw is not None
    assert point is not None
    # An operating point that just misses it.
    targets = np.geomspace(0.05, 1e-9, 60)
    lax = next(a for a in targets if point.moved(a).verdict(raw)[0] == "normal")
    missing = patch_memory(false_alarms=float(lax))
    before = one(missing.fit(good[:3]), broken)
    after = one(missing.fit(good[:3], [Example(broken, "anomalous")]), broken)
    assert (before.verdict, after.verdict) == ("normal", "anomalous")
    assert before.raw_score == after.raw_score
    assert after.regions
    assert not before.regions


def test_a_samples_own_references_replace_the_bank(
    patch_memory: Make, good: list[Sample], broken: Sample, facts: Facts, one: One
) -> None:
    own = Sample(broken.image, references=[good[7], Example(good[8], "normal"), good[9]])
    for detector in (patch_memory(), patch_memory().fit(good[:3])):
        found = (
            detector.predict([own])
            if detector.calibration is None
            else detector.predict([broken, own, good[4]])[1:2]
        )
        wanted = one(patch_memory().fit([good[7], good[9], good[8]]), Sample(broken.image))
        assert facts(found[0]) == facts(wanted)


def test_a_part_is_as_odd_as_its_oddest_view(
    patch_memory: Make, good: list[Sample], broken: Sample, one: One, raw: Raw
) -> None:
    detector = patch_memory().fit([Sample([good[0].image, good[1].image]), good[2]])
    views = [good[5], broken, good[6]]
    found = one(detector, Sample([v.image for v in views]))
    alone = [one(detector, v) for v in views]
    assert found.raw_score == max(raw(detector, v) for v in views)
    for view, single in zip(found.maps, alone, strict=True):
        assert view == pytest.approx(single.maps[0], abs=1e-6)
    assert {r.view for r in found.regions} == {1}
    assert raw(detector, good[1]) < 1e-5  # the second view of a reference is known too


def test_evidence_names_the_reference_that_matches_the_oddest_patch_best(
    patch_memory: Make, good: list[Sample], broken: Sample, tokens_of: Tokens, one: One
) -> None:
    detector = patch_memory(coreset=0, sigma=0, layers=(1,)).fit(good[:6])
    found = one(detector, broken)
    y, x = np.unravel_index(int(found.maps[0].argmax()), found.maps[0].shape)
    patch = tokens_of(broken.image, 1)[y // 14, x // 14]
    likeness = [
        max(float(q @ patch) for q in tokens_of(s.image, 1).reshape(64, -1)) for s in good[:6]
    ]
    assert found.evidence["nearest_reference"] == good[int(np.argmax(likeness))].id


@pytest.mark.parametrize("shape", [(64, 64), (200, 80), (80, 200), (300, 290), (40, 30)])
def test_references_and_parts_may_have_any_size(
    shape: tuple[int, int], patch_memory: Make, good: list[Sample]
) -> None:
    other = make_part("brushed", 50, size=(max(64, shape[0]), max(64, shape[1]))).sample.image
    sample = Sample(other[: shape[0], : shape[1]])
    detector = patch_memory().fit([good[0], sample, good[1]])
    found = detector.predict([good[0], sample])
    assert [f.maps[0].shape for f in found] == [(SIDE, SIDE), shape]
    assert all(f.raw_score is not None and f.raw_score < 1e-5 for f in found)


@pytest.mark.parametrize("feedback", [False, True])
def test_fitting_on_no_normal_part_says_what_to_give(
    feedback: bool, patch_memory: Make, broken: Sample
) -> None:
    with pytest.raises(ReferencesError, match=r"none came.*--normal"):
        patch_memory().fit([], [Example(broken, "anomalous")] if feedback else [])


def test_predict_and_save_before_fit_say_what_to_do(
    patch_memory: Make, good: list[Sample], tmp_path: Path
) -> None:
    with pytest.raises(ReferencesError, match=r"detector\.fit\(samples\)"):
        patch_memory().predict(good[:1])
    with pytest.raises(ReferencesError, match="call fit first"):
        patch_memory().save(tmp_path / "x")
    assert not (tmp_path / "x").exists()


class Broken:
    """An encoder whose features of dark pictures are not numbers, from the patch (1, 1) on."""

    name, fingerprint, default_layers, default_size = "broken", "broken", (1, 2), SIDE

    def __init__(self, whole: Encoder, everywhere: bool) -> None:
        self.whole, self.everywhere = whole, everywhere

    def encode(
        self, images: Sequence[Image], *, layers: Sequence[int], size: int
    ) -> list[Features]:
        found = self.whole.encode(images, layers=layers, size=size)
        for image, features in zip(images, found, strict=True):
            for patches in features.patches.values():
                if image[0, 0, 0] == 0:
                    patches[... if self.everywhere else (1, 1)] = np.nan
        return found


@pytest.mark.parametrize("foreground", [False, True])
@pytest.mark.parametrize("everywhere", [False, True])
def test_features_that_are_not_numbers_are_an_error_and_never_normal(
    foreground: bool, everywhere: bool, patch_memory: Make, cells: Encoder
) -> None:
    dark = on_a_table(8).image.copy()
    dark[0, 0] = 0
    options = {"size": 224, "layers": (1,), "foreground": foreground}
    make = patch_memory(Broken(cells, everywhere), **options)
    normals = [on_a_table(seed) for seed in range(3)]
    with pytest.raises(InputError):
        make.fit(normals).predict([Sample(dark)])
    with pytest.raises(InputError):
        make.fit([*normals, Sample(dark)])


def test_the_fingerprint_tells_what_would_change_a_result(
    patch_memory: Make, make_encoder: Callable[[str], Encoder], good: list[Sample]
) -> None:
    fitted = patch_memory().fit(good[:3])
    others = [
        patch_memory(),
        patch_memory().fit(good[:2]),
        patch_memory().fit(good[1:4]),
        patch_memory(seed=1).fit(good[:3]),
        patch_memory(make_encoder("cells:2")).fit(good[:3]),
        patch_memory(sigma=2).fit(good[:3]),
        patch_memory(top=0.02).fit(good[:3]),
        patch_memory(layers=(2,)).fit(good[:3]),
        patch_memory(size=126).fit(good[:3]),
        patch_memory(coreset=8).fit(good[:3]),
        patch_memory(pooling=3).fit(good[:3]),
        patch_memory(foreground=True).fit(good[:3]),
        patch_memory(augment="flips").fit(good[:3]),
    ]
    assert len({d.fingerprint for d in (fitted, *others)}) == len(others) + 1
    renamed = [Sample(s.image, id=f"{i}") for i, s in enumerate(good[:3])]
    assert fitted.calibration is not None
    same = [
        patch_memory().fit(good[:3]),
        patch_memory().fit(renamed),
        patch_memory(false_alarms=0.1).fit(good[:3]),
        fitted.with_calibration(fitted.calibration.moved(0.1)),
    ]
    assert {d.fingerprint for d in same} == {fitted.fingerprint}


@pytest.mark.parametrize(
    "options",
    [{}, {"foreground": True, "layers": (1,), "size": 224}, {"augment": "both", "coreset": 30}],
)
def test_a_saved_detector_comes_back_as_it_was(
    options: dict[str, Any],
    patch_memory: Make,
    cells: Encoder,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    facts: Facts,
) -> None:
    monkeypatch.setattr(build, "encoder", lambda name, **settings: cells)
    detector = patch_memory(seed=3, **options).fit([on_a_table(seed) for seed in range(3)])
    assert detector.calibration is not None
    detector = detector.with_calibration(detector.calibration.moved(0.07))
    detector.save(tmp_path / "saved")
    back = blemish.load(tmp_path / "saved")
    assert isinstance(back, PatchMemory)
    assert back.fingerprint == detector.fingerprint
    assert (back.options, back.seed) == (detector.options, detector.seed)
    assert back.calibration == detector.calibration
    assert back.references == detector.references
    samples = [on_a_table(9, dirt=True), on_a_table(7)]
    assert [facts(f) for f in back.predict(samples)] == [
        facts(f) for f in detector.predict(samples)
    ]


def test_a_picture_that_comes_twice_does_not_blind_the_detector(
    patch_memory: Make, good: list[Sample], broken: Sample, one: One
) -> None:
    doubled = patch_memory().fit([*good[:7], good[0]])
    assert one(doubled, broken).verdict == "anomalous"


def test_a_moved_operating_point_holds_for_a_sample_s_own_references(
    patch_memory: Make, good: list[Sample], broken: Sample
) -> None:
    detector = patch_memory().fit(good)
    assert detector.calibration is not None
    moved = detector.with_calibration(detector.calibration.moved(0.3))
    own = Sample(broken.image, references=good, id="own")
    plain = Sample(broken.image, id="plain")
    with_own, with_bank = moved.predict([own, plain])
    assert with_own.score == with_bank.score
    assert with_own.score != detector.predict([plain])[0].score
