"""The remembering encoder gives what its encoder gives, to the bit, and asks it once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from blemish import build
from blemish.benchmark.features import Remembering
from blemish.synthesis.procedural import make_part
from blemish.types import Encoder, Features, Image, Sample


class Counting:
    """Features that depend on the batch, as those of 8-bit encoders do."""

    name, fingerprint, depth = "counting", "c-1", 12
    default_layers: tuple[int, ...] = (1, 2)
    default_size = 28

    def __init__(self) -> None:
        self.calls = 0

    def encode(
        self, images: Sequence[Image], *, layers: Sequence[int], size: int
    ) -> list[Features]:
        self.calls += 1
        shade = np.float32(np.mean([image.mean() for image in images]))
        return [
            Features(
                np.full(4, shade + size, np.float32),
                {k: np.full((2, 2, 4), image.mean() * k, np.float32) for k in layers},
            )
            for image in images
        ]


def pictures(*shades: int, side: int = 8) -> list[Image]:
    return [np.full((side, side, 3), shade, np.uint8) for shade in shades]


def equal(a: list[Features], b: list[Features]) -> bool:
    return all(
        np.array_equal(x.class_token, y.class_token)
        and list(x.patches) == list(y.patches)
        and all(np.array_equal(x.patches[k], y.patches[k]) for k in x.patches)
        for x, y in zip(a, b, strict=True)
    )


def test_the_same_call_is_encoded_once() -> None:
    plain, memory = Counting(), Remembering(counting := Counting())
    for _ in range(3):
        for shades in ((1, 2), (2, 1), (1,), (1, 2, 3)):
            images = pictures(*shades)
            found = memory.encode(images, layers=(1, 2), size=28)
            assert equal(found, plain.encode(images, layers=(1, 2), size=28))
    assert counting.calls == 4


@pytest.mark.parametrize(
    ("images", "layers", "size"),
    [
        (pictures(1, 3), (1, 2), 28),
        (pictures(1, 2), (1,), 28),
        (pictures(1, 2), (2, 1), 28),
        (pictures(1, 2), (1, 2), 42),
        (pictures(1, 2, side=4), (1, 2), 28),
        ([p.reshape(4, 16, 3) for p in pictures(1, 2)], (1, 2), 28),
    ],
)
def test_another_call_is_encoded_anew(
    images: list[Image], layers: tuple[int, ...], size: int
) -> None:
    memory = Remembering(counting := Counting())
    memory.encode(pictures(1, 2), layers=(1, 2), size=28)
    found = memory.encode(images, layers=layers, size=size)
    assert counting.calls == 2
    assert equal(found, Counting().encode(images, layers=layers, size=size))


def test_the_oldest_call_goes_first_once_the_bytes_are_used_up() -> None:
    one = 4 * 4 + 4 * 16  # a class token and one layer
    memory = Remembering(counting := Counting(), most_bytes=2 * one)

    def calls(*shades: int) -> int:
        before = counting.calls
        memory.encode(pictures(*shades), layers=(1,), size=28)
        return counting.calls - before

    assert [calls(1), calls(2), calls(1), calls(3)] == [1, 1, 0, 1]
    assert [calls(1), calls(3), calls(2)] == [0, 0, 1]
    assert calls(5, 6, 7) == 1  # more than all there is room for: not kept, nothing lost for it
    assert [calls(5, 6, 7), calls(2), calls(3)] == [1, 0, 0]


def test_attributes_are_those_of_the_encoder() -> None:
    memory = Remembering(Counting())
    assert (memory.name, memory.fingerprint, memory.depth) == ("counting", "c-1", 12)
    assert (memory.default_layers, memory.default_size) == ((1, 2), 28)
    encoder: Encoder = memory
    assert isinstance(encoder, Encoder)
    with pytest.raises(AttributeError, match="nothing"):
        memory.nothing()


def test_a_caller_that_empties_its_list_harms_nobody() -> None:
    memory = Remembering(Counting())
    for _ in range(2):
        found = memory.encode(pictures(1, 2), layers=(1,), size=28)
        assert len(found) == 2
        found.clear()
        memory.encode(pictures(1, 2), layers=(1,), size=28).clear()


def test_threads_get_their_own_results() -> None:
    memory = Remembering(Counting(), most_bytes=2000)

    def ask(shade: int) -> bool:
        images = pictures(shade % 7)
        return equal(
            memory.encode(images, layers=(1,), size=28),
            Counting().encode(images, layers=(1,), size=28),
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(400)))


def test_a_detector_judges_the_same_to_the_bit(tiny: Encoder) -> None:
    parts = [Sample(make_part("woven", s, size=(64, 72)).sample.image, id=str(s)) for s in range(5)]

    def judged(encoder: Any) -> list[tuple[float | None, bytes]]:
        detector = build.load("patch-memory", encoder=encoder, device="cpu").fit(parts[:2])
        found = detector.predict(parts)
        return [(f.raw_score, f.maps[0].tobytes()) for f in found]

    memory = Remembering(tiny)
    assert judged(memory) == judged(memory) == judged(tiny)
