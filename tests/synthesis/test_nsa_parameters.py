"""nsa.json: which classes have parameters of their own, and the published ones among them."""

from __future__ import annotations

import pytest

from blemish.classes import noun
from blemish.synthesis.nsa import Parameters, parameters
from blemish.synthesis.procedural import KINDS

CLASSES = {
    "mvtec-ad": "bottle cable capsule carpet grid hazelnut leather metal_nut pill screw tile "
    "toothbrush transistor wood zipper",
    "visa": "candle capsules cashew chewinggum fryum macaroni1 macaroni2 pcb1 pcb2 pcb3 pcb4 "
    "pipe_fryum",
    "mvtec-loco": "breakfast_box juice_bottle pushpins screw_bag splicing_connectors",
    "magnetic-tiles": "magnetic-tiles",
    "solar-cells": "mono poly",
}


@pytest.mark.parametrize(
    ("dataset", "category"),
    [*((d, c) for d, names in CLASSES.items() for c in names.split())],
)
def test_every_class_of_the_named_sets_has_its_own_row(dataset: str, category: str) -> None:
    assert noun(dataset, category).description  # spelt as elsewhere
    assert parameters(dataset, category) != Parameters()


def test_parameters_are_the_published_ones_where_there_are_some() -> None:
    assert all(parameters("procedural", kind) != Parameters() for kind in KINDS)
    assert parameters("", "left_hinge") == Parameters()
    capsule = parameters("mvtec-ad", "capsule")
    assert (capsule.half_height, capsule.half_width) == ((0.03, 0.15), (0.03, 0.4))
    assert (capsule.slope, capsule.onset, capsule.background) == (0.5, 4, (200, 60))
    screw = parameters("mvtec-ad", "screw")
    assert (screw.patches, screw.object_share, screw.overlap) == (4, 0.5, 0.25)
    tile = parameters("mvtec-ad", "tile")
    assert (tile.resize, tile.background, tile.patches) == ((0.5, 2), None, 4)
    with pytest.raises(ValueError, match="expected 0 < least <= greatest"):
        Parameters(half_width=(0.4, 0.1))
