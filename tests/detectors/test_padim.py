"""`padim` on a stand-in encoder: scipy's Mahalanobis distance a position, and what it promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.spatial.distance import mahalanobis

from blemish.detectors import padim
from blemish.detectors._concatenated import joined
from blemish.detectors.padim import PaDiM, PaDiMOptions, left_out_distances
from blemish.synthesis.procedural import make_part
from blemish.types import Encoder, Inspection, Sample

Enlarge = Callable[[NDArray[Any], int, int], NDArray[np.float64]]
Make = Callable[..., PaDiM]
SIDE = 112


@pytest.fixture
def make(cells: Encoder) -> Make:
    """Builds the detector at the stand-in encoder's size."""

    def build(seed: int = 0, **options: Any) -> PaDiM:
        checked = PaDiMOptions(**{"size": SIDE, **options})
        return PaDiM(encoder=cells, options=checked, seed=seed)

    return build


def one(detector: PaDiM, sample: Sample) -> Inspection:
    (found,) = detector.predict([sample])
    return found


def raw(detector: PaDiM, sample: Sample) -> float:
    score = one(detector, sample).raw_score
    assert score is not None
    return score


def saved(detector: PaDiM, folder: Path) -> dict[str, NDArray[Any]]:
    detector.save(folder)
    return dict(load_file(folder / "state.safetensors"))


def descriptors(
    cells: Encoder, sample: Sample, grid: tuple[int, int] = (8, 8)
) -> NDArray[np.float64]:
    (features,) = cells.encode(sample.images[:1], layers=(1, 2), size=SIDE)
    return joined(features, (1, 2), grid).astype(np.float64)


def distances(normal: NDArray[np.float64], part: NDArray[np.float64]) -> NDArray[np.float64]:
    """One position after the other; `normal` (n, P, D), `part` (P, D)."""
    away = []
    for place in range(len(part)):
        here = normal[:, place]
        covariance = np.cov(here, rowvar=False) if len(here) > 1 else np.zeros((here.shape[1],) * 2)
        inverse = np.linalg.inv(covariance + 0.01 * np.eye(here.shape[1]))
        away.append(mahalanobis(part[place], here.mean(axis=0), inverse))
    return np.array(away)


@pytest.mark.parametrize("count", [1, 2, 6])
@pytest.mark.parametrize("positions", [7, 256])
def test_each_position_has_the_mahalanobis_distance(
    count: int,
    positions: int,
    make: Make,
    cells: Encoder,
    good: list[Sample],
    broken: Sample,
    bilinear: Enlarge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(padim, "_POSITIONS", positions)
    normal = np.stack([descriptors(cells, s) for s in good[:count]])
    plain = distances(normal, descriptors(cells, broken)).reshape(8, 8)
    found = one(make(sigma=0).fit(good[:count]), broken)
    assert found.maps[0] == pytest.approx(bilinear(plain, SIDE, SIDE), rel=1e-4)
    assert found.raw_score == found.maps[0].max()


def test_channels_are_drawn_by_the_seed(
    make: Make, cells: Encoder, good: list[Sample], broken: Sample, tmp_path: Path
) -> None:
    state = [saved(make(seed=s, channels=7).fit(good[:3]), tmp_path / str(s)) for s in (0, 1)]
    drawn = state[0]["channels"]
    assert len(set(drawn.tolist())) == 7
    assert drawn.tolist() != state[1]["channels"].tolist()
    assert saved(make(channels=100).fit(good[:3]), tmp_path)["channels"].tolist() == [*range(26)]
    normal = np.stack([descriptors(cells, s)[:, drawn] for s in good[:3]])
    plain = distances(normal, descriptors(cells, broken)[:, drawn])
    found = one(make(seed=0, channels=7, sigma=0, top=1).fit(good[:3]), broken)
    assert found.raw_score == pytest.approx(plain.mean(), rel=1e-3)


def test_a_stained_part_is_found_where_the_stain_is(make: Make, good: list[Sample]) -> None:
    example = make_part("brushed", 103, defect="stain", size=(SIDE, SIDE))
    assert example.mask is not None
    detector = make().fit(good)
    found = one(detector, example.sample)
    assert found.maps[0][example.mask].mean() > 2 * found.maps[0][~example.mask].mean()
    assert example.mask[np.unravel_index(int(found.maps[0].argmax()), (SIDE, SIDE))]


def test_the_mean_of_the_references_has_nothing_odd(make: Make, good: list[Sample]) -> None:
    found = one(make().fit(good[:1]), good[0])
    assert (found.raw_score, found.maps[0].max()) == (0, 0)


@pytest.mark.parametrize("count", [2, 5])
def test_it_is_calibrated_on_each_reference_against_the_others(
    count: int, make: Make, good: list[Sample]
) -> None:
    pairs = [Sample([good[i].image, good[-i].image]) for i in (6, 7)]
    known = [*good[:count], *pairs[: count - 2]]
    rest = [[s for s in known if s is not one] for one in known]
    scores = [raw(make().fit(some), own) for some, own in zip(rest, known, strict=True)]
    calibration = make().fit(known).calibration
    assert calibration is not None
    assert calibration.n == len(known)
    assert calibration.location == pytest.approx(np.log(scores).mean(), abs=1e-4)


def test_leaving_out_by_update_is_leaving_out_by_fitting_anew() -> None:
    random = np.random.default_rng(1)
    tokens = random.normal(3, 2, (4, 9, 5))
    owner = np.array([0, 0, 1, 2, 3, 3, 3, 4, 5])
    found = left_out_distances(tokens, owner)
    for picture in range(9):
        normal = tokens[:, owner != owner[picture]].transpose(1, 0, 2)
        expected = distances(normal, tokens[:, picture])
        assert found[:, picture] == pytest.approx(expected, rel=1e-9)


def test_pictures_of_another_aspect_are_compared_on_the_commonest_grid(
    make: Make, cells: Encoder, good: list[Sample], bilinear: Enlarge
) -> None:
    wide = [make_part("brushed", s, size=(80, 160)).sample for s in (50, 51)]
    detector = make(sigma=0).fit([wide[0], *good[:2]])
    normal = np.stack([descriptors(cells, s) for s in (wide[0], *good[:2])])
    plain = distances(normal, descriptors(cells, wide[1])).reshape(8, 8)
    found = one(detector, wide[1])
    assert found.evidence == {**found.evidence, "grid": [8, 8], "references": 3}
    assert found.maps[0].shape == (80, 160)
    sized = bilinear(plain, SIDE, SIDE)
    assert found.raw_score == pytest.approx(sized.max(), rel=1e-4)


def test_a_part_is_as_odd_as_its_oddest_view(
    make: Make, good: list[Sample], broken: Sample
) -> None:
    detector = make().fit(good[:3])
    views = [good[5], broken, good[6]]
    found = one(detector, Sample([v.image for v in views]))
    assert found.raw_score == max(raw(detector, v) for v in views)


def test_the_image_score_takes_the_map_where_top_asks_for_it(
    make: Make, good: list[Sample], broken: Sample
) -> None:
    found = one(make(top=1).fit(good[:3]), broken)
    assert found.raw_score == pytest.approx(found.maps[0].mean(), rel=1e-5)
