"""Focal and dice loss against loops over pixels, and against their own slopes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from blemish.training.losses import dice, focal


def drawn(shape: tuple[int, int, int] = (2, 3, 4), seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.uniform(0.02, 0.98, shape)), torch.tensor(rng.random(shape) < 0.3)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 3.5])
def test_focal_is_the_equation_pixel_by_pixel(gamma: float) -> None:
    probability, target = drawn()
    terms = []
    for p, anomalous in zip(probability.flatten().tolist(), target.flatten().tolist(), strict=True):
        right = p if anomalous else 1 - p
        terms.append((1 - right) ** gamma * math.log(right))
    assert float(focal(probability, target, gamma)) == pytest.approx(-sum(terms) / 24, rel=1e-12)


def test_focal_defaults_to_the_documents_gamma_and_without_one_is_cross_entropy() -> None:
    probability, target = drawn()
    entropy = torch.nn.functional.binary_cross_entropy(probability, target.double())
    assert torch.allclose(focal(probability, target, 0), entropy)
    assert focal(probability, target) == focal(probability, target, 2)


def test_dice_is_the_equation_with_its_two_picture_by_picture() -> None:
    probability, target = drawn()
    losses = []
    for y, t in zip(probability.numpy(), target.numpy(), strict=True):
        overlap = sum(float(y[i, j]) for i in range(3) for j in range(4) if t[i, j])
        squares = sum(float(y[i, j]) ** 2 for i in range(3) for j in range(4)) + int(t.sum())
        losses.append(1 - (2 * overlap + 1) / (squares + 1))
    assert losses[0] != pytest.approx(losses[1])
    assert float(dice(probability, target)) == pytest.approx(sum(losses) / 2, rel=1e-12)


@pytest.mark.parametrize("loss", [focal, dice])
def test_both_are_least_for_the_truth_and_most_for_its_contrary(loss: object) -> None:
    assert callable(loss)
    _, target = drawn((3, 8, 8))
    truth = target.double()
    values = [float(loss(torch.lerp(truth, 1 - truth, w), target)) for w in (0, 0.2, 0.6, 1)]
    assert values[0] == pytest.approx(0, abs=1e-9)
    assert values == sorted(set(values))


def test_an_empty_target_is_defined_and_asks_for_an_empty_map() -> None:
    target = torch.zeros(1, 4, 4, dtype=torch.bool)
    assert float(dice(torch.zeros(1, 4, 4), target)) == 0
    found = torch.full((1, 4, 4), 0.5, requires_grad=True)
    dice(found, target).backward()  # type: ignore[no-untyped-call]
    assert found.grad is not None
    assert bool((found.grad > 0).all())


@pytest.mark.parametrize("loss", [focal, dice])
def test_the_slopes_are_those_of_the_values(loss: object) -> None:
    assert callable(loss)
    probability, target = drawn()
    assert torch.autograd.gradcheck(lambda p: loss(p, target), probability.requires_grad_())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("loss", [focal, dice])
def test_certainty_and_few_bits_stay_finite(loss: object, kind: torch.dtype) -> None:
    assert callable(loss)
    target = torch.tensor([[[True, False], [True, False]]] * 2)
    edges = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]] * 2, dtype=kind, requires_grad=True)
    value = loss(edges, target)
    value.backward()
    assert value.dtype == torch.float32
    assert math.isfinite(value.item())
    assert edges.grad is not None
    assert bool(edges.grad.isfinite().all())


def test_a_large_map_of_few_bits_is_summed_with_more() -> None:
    found = torch.full((1, 512, 512), 0.5, dtype=torch.float16)
    target = torch.ones(1, 512, 512, dtype=torch.bool)
    assert float(dice(found, target)) == pytest.approx(1 - 1 / 1.25, abs=1e-4)
    assert float(focal(found, target)) == pytest.approx(0.25 * math.log(2), rel=1e-4)


@pytest.mark.parametrize(
    ("shape", "target"),
    [
        ((2, 3), torch.zeros(2, 3, dtype=torch.bool)),
        ((2, 3, 4), torch.zeros(2, 4, 3, dtype=torch.bool)),
        ((2, 3, 4), torch.zeros(2, 3, 4)),
    ],
)
def test_other_shapes_and_types_are_told(shape: tuple[int, ...], target: Tensor) -> None:
    for loss in (focal, dice):
        with pytest.raises(ValueError, match=r"expected \(N, H, W\) floating and .* bool"):
            loss(torch.zeros(shape), target)
