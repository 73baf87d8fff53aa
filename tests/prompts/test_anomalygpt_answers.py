"""What masks are said to show, and what is read out of such answers and of a model's worse ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from blemish.errors import InputError, OptionError
from blemish.places import POSITIONS, position
from blemish.prompts.anomalygpt import (
    TOPICS,
    Told,
    answer,
    description,
    marked,
    pairs,
    read,
    taught,
)
from blemish.types import Example, Mask, Sample

SAYING_WHERE = ("presence", "place", "number", "appearance")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def boxes(*found: tuple[int, int, int, int], size: tuple[int, int] = (192, 192)) -> Mask:
    """(H, W) bool with boxes of y, x, height and width."""
    mask = np.zeros(size, np.bool_)
    for y, x, height, width in found:
        mask[y : y + height, x : x + width] = True
    return mask


masks = st.builds(
    boxes,
    st.tuples(*[st.integers(0, 180)] * 2, *[st.integers(1, 190)] * 2),
    st.tuples(*[st.integers(0, 180)] * 2, *[st.integers(1, 30)] * 2),
    st.tuples(*[st.integers(0, 180)] * 2, *[st.integers(1, 8)] * 2),
    size=st.sampled_from([(192, 192), (200, 131), (97, 180)]),
).filter(lambda mask: bool(mask.any()))


def slowly(mask: Mask) -> tuple[int, set[str]]:
    """The number of anomalies and their places, from the definitions."""
    reach = min(mask.shape) // 64
    near = np.ones((2 * reach + 1, 2 * reach + 1))
    labels, count = ndimage.label(ndimage.binary_dilation(mask, near), np.ones((3, 3)))
    regions = [np.argwhere(mask & (labels == i)) for i in range(1, count + 1)]
    regions = [r for r in regions if len(r) >= 0.05 * max(map(len, regions))]
    places = set()
    for region in regions:
        words = [position(y + 0.5, x + 0.5, *mask.shape) for y, x in region]
        held = {word: words.count(word) for word in set(words)}
        places |= {word for word in held if 2 * held[word] >= max(held.values())}
    return len(regions), places


@settings(max_examples=40, deadline=None)
@given(masks)
def test_masks_are_counted_and_placed_by_the_definitions(mask: Mask) -> None:
    found = marked(mask)
    assert (found.number, set(found.places)) == slowly(mask)
    assert list(found.places) == [place for place in POSITIONS if place in found.places]


@settings(max_examples=60, deadline=None)
@given(masks, st.integers(0, 99), st.sampled_from(SAYING_WHERE))
def test_reading_gives_back_what_the_mask_shows(mask: Mask, seed: int, about: str) -> None:
    said = answer(mask, rng(seed), about)
    number, places = slowly(mask)
    assert read(said) == Told("yes", tuple(p for p in POSITIONS if p in places), number), said


def test_every_set_of_places_is_read() -> None:
    for number in range(1, 512):
        cells = np.array([number >> i & 1 for i in range(9)], np.bool_).reshape(3, 3)
        mask = np.kron(cells, np.ones((32, 32))).astype(np.bool_)
        said = answer(mask, rng(number), SAYING_WHERE[number % 4])
        assert read(said).places == tuple(np.array(POSITIONS)[cells.ravel()]), said


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("about", [*SAYING_WHERE, "kind"])
def test_a_mask_without_marks_reads_as_no(about: str, seed: int) -> None:
    said = answer(boxes(), rng(seed), about)
    assert read(said) == Told("no", (), 0), said
    if about == "presence":
        assert said.startswith("No, ")


def test_presence_is_answered_in_the_documents_words() -> None:
    corner = boxes((150, 5, 20, 20))
    said = {answer(corner, rng(i)) for i in range(60)}
    assert "Yes, there is an anomaly in the image, at the bottom left of the image." in said
    assert "No, there are no anomalies in the image." in {
        answer(boxes(), rng(i)) for i in range(60)
    }
    assert len(said) >= 4
    assert all(one.startswith("Yes, ") for one in said)


def test_many_anomalies_are_counted_in_words_and_digits() -> None:
    two = boxes((10, 10, 20, 20), (150, 150, 20, 20))
    assert " two anomalies" in answer(two, rng(), "number")
    many = boxes(*((y, x, 5, 5) for y in range(5, 190, 40) for x in range(5, 190, 40)))
    assert " 25 anomalies" in answer(many, rng(), "number")
    assert read(answer(many, rng(), "number")).number == 25


def test_crumbs_and_gaps_make_no_further_anomalies() -> None:
    broken_line = boxes(*((20, x, 3, 8) for x in range(10, 100, 12)))
    assert marked(broken_line).number == 1
    assert marked(broken_line).long
    assert marked(boxes((20, 20, 30, 30), (120, 120, 2, 2))).number == 1
    assert marked(boxes((20, 20, 30, 30), (20, 58, 30, 30))).number == 2


def test_pixels_that_meet_at_their_corners_are_one_anomaly() -> None:
    assert marked(np.eye(30, dtype=np.bool_)).number == 1


def test_size_and_shape_are_those_of_the_largest() -> None:
    assert "tiny and compact" in answer(boxes((90, 90, 5, 5)), rng(), "appearance")
    assert "large and compact" in answer(boxes((60, 60, 80, 80)), rng(), "appearance")
    scratch = answer(boxes((90, 30, 2, 120)), rng(), "appearance")
    assert "small and elongated" in scratch


def test_a_kind_is_named_where_it_is_known() -> None:
    mask = boxes((10, 10, 20, 20))
    assert answer(mask, rng(), "kind", "bent_wire") == "The anomaly is of this kind: bent wire."
    assert "missing piece" in answer(mask, rng(), "kind", "missing")
    for unknown in ("", "good", "Defect", "03", "combined"):
        said = answer(mask, rng(), "kind", unknown)
        assert said.startswith("I cannot tell")
        assert "name one to answer questions" in said


@pytest.mark.parametrize("seed", range(4))
def test_what_the_map_cannot_tell_is_said_to_be_so(seed: int) -> None:
    for mask in (boxes(), boxes((10, 10, 20, 20))):
        said = answer(mask, rng(seed), "beyond")
        assert said.startswith("I cannot tell")
        assert "name one to answer questions" in said
        assert read(said).verdict == "unclear"


def test_a_mask_answers_no_other_questions() -> None:
    for about in ("object", "colour"):
        with pytest.raises(OptionError, match=about):
            answer(boxes(), rng(), about)
    with pytest.raises(InputError, match="dtype uint8"):
        answer(np.zeros((9, 9), np.uint8), rng())


def example(mask: Mask | None, label: str = "anomalous", kind: str = "scratch") -> Example:
    sample = Sample(np.zeros((192, 192, 3), np.uint8), "metal nut", id="a.png")
    return Example(sample, label, mask, kind)  # type: ignore[arg-type]


def test_pairs_put_it_together() -> None:
    mask, described = boxes((150, 5, 20, 20)), 0
    for seed in range(40):
        taught = pairs(example(mask), rng(seed))
        about = [one.about for one in taught]
        assert taught[0].about == "presence"
        assert {one.description for one in taught} <= {"", description("metal nut")}
        described += bool(taught[0].description)
        assert about == [t for t in TOPICS if t != "object" or taught[0].description]
        assert read(taught[0].answer) == Told("yes", ("bottom left",), 1)
        answers = {one.about: one.answer for one in taught}
        assert "scratch" in answers["kind"]
        assert "a metal nut" in answers.get("object", "a metal nut")
    assert 10 < described < 30
    assert pairs(example(mask), rng(3)) == pairs(example(mask), rng(3))


def test_pairs_of_a_normal_picture_need_no_mask() -> None:
    for mask in (None, boxes()):
        taught = pairs(example(mask, "normal", "good"), rng())
        assert read(taught[0].answer).verdict == "no"


@pytest.mark.parametrize(
    ("mask", "label", "words"),
    [
        (None, "anomalous", "has no mask"),
        (boxes(), "anomalous", "has 0 marked pixels"),
        (boxes((1, 1, 2, 3)), "normal", "has 6 marked pixels"),
    ],
)
def test_a_mask_that_contradicts_the_label_is_refused(
    mask: Mask | None, label: str, words: str
) -> None:
    with pytest.raises(InputError, match=rf"a\.png is {label} and {words}"):
        pairs(example(mask, label), rng())


@given(masks, st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_what_is_taught_is_kept_whole_and_what_follows_is_cut(mask: Mask, seed: int) -> None:
    said = answer(mask, rng(seed))
    assert taught(said) == said
    assert taught(answer(np.zeros_like(mask), rng(seed))).startswith("No, ")
    assert taught(f"{said[:-1]}, the image shows a person. It is large.") == said
