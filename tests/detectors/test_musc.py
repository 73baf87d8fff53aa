"""`musc` on a stand-in encoder: mutual scoring in plain loops, and folders large and small."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import blemish
from blemish import build
from blemish.detectors.musc import MuSc, mutual_score
from blemish.errors import InputError, ReferencesError, SavedError
from blemish.types import Encoder, Example, Features, Image, Inspection, Sample

Make = Callable[..., MuSc]
Facts = Callable[[Inspection], tuple[Any, ...]]
Tokens = Callable[..., NDArray[np.float64]]
Enlarge = Callable[[NDArray[Any], int, int], NDArray[np.float64]]
SIDE = 112


@pytest.fixture(scope="module")
def folder(good: list[Sample], broken: Sample) -> list[Sample]:
    """Twelve parts, the sixth of them stained."""
    return [*good[:5], broken, *good[5:11]]


def raws(detector: MuSc, samples: Sequence[Sample]) -> list[float]:
    scores = [f.raw_score for f in detector.predict(samples)]
    return [s for s in scores if s is not None]


def mutual(queries: NDArray[Any], others: Sequence[NDArray[Any]]) -> list[float]:
    """Mean of the lowest 30 % of the distances to the other pictures, patch by patch."""
    scores = []
    for query in queries:
        nearest = [min(1 - float(query @ row) for row in rows) for rows in others]
        lowest = sorted(nearest)[: max(1, 3 * len(others) // 10)]
        scores.append(sum(lowest) / len(lowest))
    return scores


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 5),
    st.lists(st.integers(1, 4), min_size=1, max_size=12),
)
def test_the_mutual_score_is_the_mean_of_the_lowest_third(
    seed: int, q: int, sizes: list[int]
) -> None:
    random = np.random.default_rng(seed)

    def rows(count: int) -> NDArray[np.float32]:
        values = random.standard_normal((count, 4))
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        return values.astype(np.float32)

    queries, others = rows(q), [rows(n) for n in sizes]
    assert mutual_score(queries, others) == pytest.approx(mutual(queries, others), abs=1e-5)


@pytest.mark.parametrize("neighbourhoods", [(1,), (1, 3)])
def test_a_picture_is_judged_against_all_others_but_itself(
    neighbourhoods: tuple[int, ...],
    musc: Make,
    folder: list[Sample],
    tokens_of: Tokens,
    bilinear: Enlarge,
) -> None:
    found = musc(sigma=0, neighbourhoods=neighbourhoods, top=1).fit(folder).predict(folder[5:6])[0]
    plain = np.zeros((8, 8))
    for layer in (1, 2):
        for r in neighbourhoods:
            tokens = [tokens_of(s.image, layer, r) for s in folder]
            rows = [t.reshape(-1, t.shape[-1]) for t in tokens]
            scores = mutual(rows[5], rows[:5] + rows[6:])
            plain += bilinear(np.reshape(scores, tokens[5].shape[:2]), 8, 8)
    plain /= 2 * len(neighbourhoods)
    assert found.maps[0] == pytest.approx(bilinear(plain, SIDE, SIDE), abs=1e-5)
    assert found.raw_score == pytest.approx(bilinear(plain, SIDE, SIDE).mean(), abs=1e-5)
    assert found.evidence["compared_with"] == 11


def test_a_picture_from_elsewhere_is_compared_with_the_whole_folder(
    musc: Make, folder: list[Sample], good: list[Sample]
) -> None:
    found = musc().fit(folder).predict([good[15]])[0]
    assert found.evidence["compared_with"] == 12


def test_the_odd_one_out_is_found(musc: Make, folder: list[Sample]) -> None:
    found = musc().fit(folder).predict(folder)
    scores = [f.score or 0 for f in found]
    assert int(np.argmax(scores)) == 5
    assert found[5].verdict == "anomalous"
    assert [f.verdict for f in found].count("normal") >= 9


def test_it_is_calibrated_on_the_folders_own_scores(musc: Make, folder: list[Sample]) -> None:
    for rescoring in (0, 2):
        detector = musc(rescoring=rescoring).fit(folder)
        calibration = detector.calibration
        assert calibration is not None
        assert calibration.location == pytest.approx(
            np.log(np.median(raws(detector, folder))), abs=0.2
        )
        middle = np.median(np.log(raws(detector, folder)))
        assert calibration.location == pytest.approx(middle, abs=1e-4)
        assert calibration.n == 12
        assert "12 unlabelled pictures, each judged against the others" in calibration.rule


@pytest.mark.parametrize("count", [0, 1, 7])
def test_fewer_than_8_pictures_is_an_error_that_says_what_to_do(
    count: int, musc: Make, good: list[Sample], broken: Sample
) -> None:
    with pytest.raises(
        ReferencesError, match=rf"at least 8; {count} came\..*patch-memory.*--normal"
    ):
        musc().fit(good[:count], [Example(broken, "anomalous")])


def test_eight_pictures_are_enough(musc: Make, good: list[Sample]) -> None:
    assert len(musc().fit(good[:8]).predict(good[:8])) == 8
    assert len(musc().fit(good[:7], [Example(good[7], "normal")]).references) == 8


def test_batches_and_the_order_of_the_folder_do_not_matter(
    musc: Make, folder: list[Sample], facts: Facts
) -> None:
    detector = musc(rescoring=2).fit(folder)
    together = {f.id: facts(f) for f in detector.predict(folder)}
    alone = {s.id: facts(detector.predict([s])[0]) for s in folder}
    backwards = {f.id: facts(f) for f in detector.predict(folder[::-1])}
    assert together == alone == backwards
    other_way = musc(rescoring=2).fit(folder[::-1])
    assert raws(other_way, folder) == pytest.approx(raws(detector, folder), rel=1e-5)


def test_a_large_folder_is_drawn_from_by_the_seed(
    musc: Make, good: list[Sample], facts: Facts
) -> None:
    def drawn(seed: int) -> list[str]:
        return [r["id"] for r in musc(others=8, seed=seed).fit(good).references]

    ids = drawn(1)
    assert drawn(2) != ids
    assert len(set(ids)) == 9
    assert ids == [s.id for s in good if s.id in ids]  # in the folder's order
    first, again = (musc(others=8, seed=1).fit(good).predict(good) for _ in range(2))
    assert [facts(f) for f in first] == [facts(f) for f in again]
    for found in first:
        assert found.evidence["compared_with"] == (8 if found.id in ids else 9)


def test_a_folder_of_one_more_than_others_is_used_whole(musc: Make, good: list[Sample]) -> None:
    assert len(musc(others=8).fit(good[:9]).references) == 9
    assert len(musc(others=8).fit(good[:10]).references) == 9


def test_rescoring_averages_with_the_pictures_most_alike_as_a_whole(
    musc: Make, folder: list[Sample], good: list[Sample], cells: Encoder
) -> None:
    plain = musc().fit(folder)
    rescored = musc(rescoring=3).fit(folder)
    own = raws(plain, folder)

    def token(sample: Sample) -> NDArray[np.float64]:
        found = cells.encode(sample.images, layers=(1, 2), size=SIDE)[0].class_token
        return np.asarray(found.astype(np.float64) / np.linalg.norm(found.astype(np.float64)))

    tokens = [token(s) for s in folder]
    for sample in (*folder[:6], good[15]):
        likeness = [
            (float(tokens[i] @ token(sample)), own[i])
            for i, s in enumerate(folder)
            if s is not sample
        ]
        near = sorted(likeness, reverse=True)[:3]
        (alone,) = raws(plain, [sample])
        expected = (alone + sum(w * score for w, score in near)) / (1 + sum(w for w, _ in near))
        assert raws(rescored, [sample]) == pytest.approx([expected], rel=1e-4)
    np.testing.assert_array_equal(
        plain.predict(folder[:1])[0].maps[0], rescored.predict(folder[:1])[0].maps[0]
    )


def test_a_picture_is_known_by_its_pixels_whatever_it_is_called(
    musc: Make, folder: list[Sample]
) -> None:
    detector = musc().fit(folder)
    renamed = Sample(folder[5].image.copy(), id="elsewhere/x.png")
    assert raws(detector, [renamed]) == raws(detector, folder[5:6])


def test_a_samples_own_references_replace_the_folder(
    musc: Make, folder: list[Sample], good: list[Sample], broken: Sample, facts: Facts
) -> None:
    own = Sample(broken.image, references=good[10:20])
    found = musc().fit(folder).predict([folder[0], own])
    assert facts(found[1]) == facts(musc().fit(good[10:20]).predict([Sample(broken.image)])[0])


def test_pictures_of_other_sizes_are_judged_together(musc: Make, good: list[Sample]) -> None:
    wide = Sample(np.ascontiguousarray(good[0].image[:60]))
    found = musc().fit([wide, *good[1:9]]).predict([wide, good[1]])
    assert [f.maps[0].shape for f in found] == [(60, SIDE), (SIDE, SIDE)]


def test_predict_and_save_before_fit_say_what_to_do(
    musc: Make, good: list[Sample], tmp_path: Path
) -> None:
    with pytest.raises(ReferencesError, match=r"detector\.fit\(samples\)"):
        musc().predict(good)
    with pytest.raises(ReferencesError, match="call fit first"):
        musc().save(tmp_path / "x")
    assert not (tmp_path / "x").exists()


class Broken:
    """An encoder whose features of the named pictures are not numbers."""

    name, fingerprint, default_layers, default_size = "broken", "broken", (1, 2), SIDE

    def __init__(self, whole: Encoder, bad: Sample) -> None:
        self.whole, self.bad = whole, bad

    def encode(
        self, images: Sequence[Image], *, layers: Sequence[int], size: int
    ) -> list[Features]:
        found = self.whole.encode(images, layers=layers, size=size)
        for image, features in zip(images, found, strict=True):
            if np.array_equal(image, self.bad.image):
                for patches in features.patches.values():
                    patches[1, 1] = np.nan
        return found


def test_features_that_are_not_numbers_are_an_error_and_never_normal(
    musc: Make, cells: Encoder, good: list[Sample], broken: Sample
) -> None:
    detector = musc(Broken(cells, broken))
    with pytest.raises(InputError):
        detector.fit([*good[:9], broken])
    with pytest.raises(InputError):
        detector.fit(good[:9]).predict([broken])


def test_the_fingerprint_tells_what_would_change_a_result(
    musc: Make, make_encoder: Callable[[str], Encoder], good: list[Sample]
) -> None:
    fitted = musc().fit(good[:9])
    others = [
        musc(),
        musc().fit(good[:8]),
        musc(seed=1).fit(good[:9]),
        musc(make_encoder("cells:2")).fit(good[:9]),
        musc(sigma=2).fit(good[:9]),
        musc(rescoring=1).fit(good[:9]),
        musc(neighbourhoods=(1,)).fit(good[:9]),
    ]
    assert len({d.fingerprint for d in (fitted, *others)}) == len(others) + 1
    assert fitted.calibration is not None
    moved = fitted.with_calibration(fitted.calibration.moved(0.1))
    assert moved.fingerprint == musc(false_alarms=0.3).fit(good[:9]).fingerprint
    assert moved.fingerprint == fitted.fingerprint


@pytest.fixture
def load(cells: Encoder, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Any]:
    monkeypatch.setattr(build, "encoder", lambda name, **settings: cells)
    return blemish.load


@pytest.mark.parametrize("options", [{}, {"rescoring": 3, "others": 8, "layers": (2,)}])
def test_a_saved_detector_comes_back_as_it_was(
    options: dict[str, Any],
    load: Callable[[Path], Any],
    musc: Make,
    good: list[Sample],
    broken: Sample,
    tmp_path: Path,
    facts: Facts,
) -> None:
    tall = Sample(np.ascontiguousarray(good[0].image[:, :60]))
    detector = musc(seed=2, **options).fit([tall, *good[1:11]])
    assert detector.calibration is not None
    detector = detector.with_calibration(detector.calibration.moved(0.07))
    detector.save(tmp_path)
    back = load(tmp_path)
    assert isinstance(back, MuSc)
    assert back.fingerprint == detector.fingerprint
    assert back.calibration == detector.calibration
    samples = [broken, tall, good[3], good[19]]
    assert [facts(f) for f in back.predict(samples)] == [
        facts(f) for f in detector.predict(samples)
    ]


def test_a_damaged_folder_is_refused(
    load: Callable[[Path], Any], musc: Make, good: list[Sample], tmp_path: Path
) -> None:
    musc().fit(good[:8]).save(tmp_path)
    (tmp_path / "state.safetensors").write_bytes(b"")
    with pytest.raises(SavedError, match="damaged"):
        load(tmp_path)


def test_a_part_with_several_views_is_compared_with_all_views_of_the_others(
    musc: Make, good: list[Sample]
) -> None:
    both = [Sample([s.image, s.image[::-1].copy()], id=s.id) for s in good]
    found = musc().fit(both).predict(both)
    alone = musc().fit(good).predict(good)
    for two, one in zip(found, alone, strict=True):
        # More views to find a like patch in: no distance can grow.
        assert len(two.maps) == 2
        assert (two.maps[0] <= one.maps[0] + 1e-5).all()
        assert (two.maps[0] < one.maps[0] - 1e-5).any()
