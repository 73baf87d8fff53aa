"""CutPaste: what is promised about blocks, scars, colours, labels, places and bad input."""

from __future__ import annotations

import numpy as np
import pytest

from blemish.errors import InputError
from blemish.synthesis.cutpaste import cutpaste
from blemish.synthesis.nsa import Parameters, Synthetic, parameters
from blemish.synthesis.procedural import KINDS, make_part
from blemish.types import Image

SURFACE = Parameters(background=None, slope=0.2, onset=12)


def plain(grey: int, size: tuple[int, int] = (256, 256)) -> Image:
    return np.full((*size, 3), grey, np.uint8)


def many(count: int, image: Image, source: Image, p: Parameters = SURFACE) -> list[Synthetic]:
    rng = np.random.default_rng(0)
    return [cutpaste(image, source, rng, p) for _ in range(count)]


@pytest.fixture(scope="module")
def made() -> list[Synthetic]:
    """A plain bright patch on a plain dark picture, many times."""
    return many(400, plain(60), plain(150))


def is_block(made: Synthetic) -> bool:
    return bool(made.mask.mean() > 0.015)


def test_the_mask_is_the_patch_and_the_label_tells_how_much_brighter_it_is(
    made: list[Synthetic],
) -> None:
    for one in made[:60]:
        (x0, y0, x1, y1), pasted = one.boxes[0], one.image[one.mask].mean(axis=1)
        patch = np.median(pasted)
        expected = 1 / (1 + np.exp(-0.2 * (patch - 60 - 12)))
        assert (one.image[~one.mask] == 60).all()
        assert (pasted == patch).mean() > 0.9  # but for jags of a turned edge
        assert (np.abs(one.label[one.mask] - expected) < 1e-4).mean() > 0.9
        assert (one.label[~one.mask] == 0).all()
        if is_block(one):
            assert one.mask[y0:y1, x0:x1].all()
            assert one.mask.sum() == (y1 - y0) * (x1 - x0)


def test_blocks_have_the_papers_areas_and_shapes(made: list[Synthetic]) -> None:
    boxes = np.array([one.boxes[0] for one in made if is_block(one)])
    width, height = (boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    area, aspect = width * height / 256**2, width / height
    assert 0.0195 < area.min() < 0.03
    assert 0.14 < area.max() < 0.154
    assert area.mean() == pytest.approx(0.085, abs=0.01)
    assert 0.29 < aspect.min() < 0.4
    assert 3 < aspect.max() < 3.4
    assert (aspect < 1).mean() == pytest.approx(0.5, abs=0.1)


def test_half_of_the_patches_are_scars_long_thin_and_turned(made: list[Synthetic]) -> None:
    scars = [one for one in made if not is_block(one)]
    assert len(scars) / len(made) == pytest.approx(0.5, abs=0.08)
    areas = np.array([one.mask.sum() for one in scars])
    assert 15 < areas.min() < 60  # 10 x 2 less what turning takes from its corners
    assert 330 < areas.max() < 430  # 25 x 16
    turns = []
    for one in scars:
        y, x = np.nonzero(one.mask)
        values, vectors = np.linalg.eigh(np.cov(np.stack([x, y])))
        if values[1] > 8 * values[0]:  # long enough to have a direction
            turns.append(np.degrees(np.arctan(vectors[0, 1] / vectors[1, 1])))
    assert len(turns) > 20
    assert 30 < max(turns) < 47
    assert -47 < min(turns) < -30


def test_colours_change_a_little_and_grey_stays_grey(made: list[Synthetic]) -> None:
    pasted = np.array([np.median(one.image[one.mask], axis=0) for one in made])
    assert (pasted == pasted[:, :1]).all()
    assert 134 <= pasted.min() < 140  # 150 x 0.9 ..
    assert 160 < pasted.max() <= 166  # .. 150 x 1.1
    red = np.broadcast_to(np.array([200, 90, 90], np.uint8), (64, 64, 3)).copy()
    hues = [one.image[one.mask].mean(axis=0) for one in many(60, plain(0, (64, 64)), red)]
    assert all(hue.argmax() == 0 for hue in hues)
    assert np.std([hue[1] - hue[2] for hue in hues]) > 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_changes_within_its_mask_and_nowhere_else(kind: str) -> None:
    good, other = (make_part(kind, seed, size=(128, 96)).sample.image for seed in (1, 2))
    for one in many(5, good, other, parameters("procedural", kind)):
        differs = np.abs(one.image.astype(float) - good).mean(axis=2)
        assert differs[~one.mask].max() == 0
        assert (differs[one.mask] > 1).mean() > 0.9
        assert one.label.max() >= 0.5
        (x0, y0, x1, y1) = one.boxes[0]
        assert one.mask.sum() == one.mask[y0:y1, x0:x1].sum()


def test_a_patch_of_an_object_overlaps_the_object() -> None:
    y, x = np.mgrid[:128, :128]
    part = np.hypot(x - 64, y - 64) < 45
    image = np.where(part[..., None], np.uint8(90), np.uint8(220)).repeat(3, axis=2)
    source = np.where(part[..., None], np.uint8(150), np.uint8(220)).repeat(3, axis=2)
    knows = SURFACE.model_copy(update={"background": "estimated", "object_share": 0.5})
    assert all((one.mask & part).any() for one in many(60, image, source, knows))
    assert not all((one.mask & part).any() for one in many(60, image, source))


def test_the_same_seed_gives_the_same_bytes_and_touches_no_input() -> None:
    image = make_part("board", 1, size=(96, 96)).sample.image
    before = image.tobytes()
    first, again, other = (
        cutpaste(image, image, np.random.default_rng(seed), SURFACE) for seed in (4, 4, 5)
    )
    assert first.image.tobytes() == again.image.tobytes() != other.image.tobytes()
    assert first.label.tobytes() == again.label.tobytes()
    assert image.tobytes() == before


@pytest.mark.parametrize("size", [(16, 16), (16, 80), (33, 17)])
def test_tiny_pictures_and_sources_of_another_size_work(size: tuple[int, int]) -> None:
    for one in many(5, plain(40, size), plain(200, (17, 19))):
        assert one.mask.any()


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(InputError, match="The source is 15 x 20 pixels; patches need 16"):
        many(1, plain(40), plain(90, (20, 15)))
    with pytest.raises(InputError, match="No patch changed the picture visibly"):
        many(1, plain(0), plain(0))
