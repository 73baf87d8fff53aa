"""References: drawn by the seed, nested, and the same files on every machine."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType

import pytest

from blemish.datasets.find import open_dataset
from blemish.datasets.model import Dataset, Item
from blemish.errors import ReferencesError


@pytest.fixture
def dataset() -> Dataset:
    """Forty good pictures of a category, ten of another, and what must never be drawn."""

    def item(category: str, split: str, label: str, n: int) -> Item:
        item_id = f"{category}/{split}/{label}/{n:03}.png"
        return Item(item_id, Path("/data") / item_id, category, split, label)  # type: ignore[arg-type]

    items = [item("nut", "train", "normal", n) for n in range(40)]
    items += [item("bolt", "train", "normal", n) for n in range(10)]
    items += [item("nut", "train", "anomalous", n) for n in range(5)]
    items += [item("nut", split, "normal", n) for split in ("validation", "test") for n in range(5)]
    return Dataset("folder", Path("/data"), tuple(sorted(items, key=lambda item: item.id)))


def test_the_rule_is_the_sha256_of_seed_category_and_name(dataset: Dataset) -> None:
    names = [f"{n:03}" for n in range(40)]
    for seed in (0, 1, 12345):
        expected = sorted(names, key=lambda n: hashlib.sha256(f"{seed}:nut/{n}".encode()).digest())
        assert [item.path.stem for item in dataset.references("nut", 40, seed)] == expected


def test_the_draw_does_not_move_with_the_version(dataset: Dataset) -> None:
    # `for n in $(seq -w 000 039); do echo "$(echo -n 0:nut/$n | sha256sum) $n"; done | sort`: the
    # first three lines.
    drawn = [item.path.stem for item in dataset.references("nut", 3, 0)]
    assert drawn == ["013", "026", "038"]


def test_more_shots_keep_the_fewer(dataset: Dataset) -> None:
    longest = dataset.references("nut", 16, 3)
    assert len({item.id for item in longest}) == 16
    for shots in (0, 1, 2, 4):
        assert dataset.references("nut", shots, 3) == longest[:shots]


def test_seeds_and_categories_differ(dataset: Dataset) -> None:
    drawn = {tuple(item.id for item in dataset.references("nut", 4, seed)) for seed in range(20)}
    assert len(drawn) == 20
    assert {item.category for item in dataset.references("bolt", 10, 0)} == {"bolt"}


def test_only_normal_training_pictures_are_drawn(dataset: Dataset) -> None:
    drawn = dataset.references("nut", 40, 0)
    assert {(item.split, item.label) for item in drawn} == {("train", "normal")}
    with pytest.raises(ReferencesError, match=r"40 normal training pictures of nut.*41 were asked"):
        dataset.references("nut", 41, 0)


def test_the_folder_does_not_decide_which_are_drawn(layouts: ModuleType, tmp_path: Path) -> None:
    for place in ("here", "else/where"):
        layouts.MINIATURES["mvtec-ad"].write(tmp_path / place)
    one, other = (open_dataset(tmp_path / place) for place in ("here", "else/where"))
    for seed in range(5):
        ids = [[i.id for i in d.references("screw", 2, seed)] for d in (one, other)]
        assert ids[0] == ids[1]


def test_a_limited_set_keeps_so_many_of_each_label_and_all_that_is_not_for_testing(
    dataset: Dataset,
) -> None:
    bad = [
        Item(
            f"nut/test/bad/{n}.png", Path(f"/data/nut/test/bad/{n}.png"), "nut", "test", "anomalous"
        )
        for n in range(7)
    ]
    whole = Dataset("folder", Path("/data"), (*dataset.items, *bad))
    small, smaller = whole.limited(4), whole.limited(2)
    assert [len(small.select("nut", "test", label)) for label in ("normal", "anomalous")] == [4, 4]
    assert [len(smaller.select("nut", "test", x)) for x in ("normal", "anomalous")] == [2, 2]
    assert set(smaller.items) < set(small.items)
    for split in ("train", "validation"):
        assert small.select(split=split) == whole.select(split=split)
    assert len(whole.limited(7).items) == len(whole.items)
