"""The published counts add up to the published totals, and every name has its row."""

from __future__ import annotations

import pytest

from blemish.datasets.published import published, table
from blemish.errors import OptionError

NAMES = [
    *(
        "mvtec-ad",
        "visa",
        "mvtec-loco",
        "mvtec-3d-ad",
        "mvtec-ad-2",
        "btad",
        "mpdd",
        "real-iad",
        "kolektor-sdd2",
        "dagm",
    ),
    *(
        "magnetic-tiles",
        "solar-cells",
        "chest-x-ray",
        "oct2017",
        "head-ct",
        "brain-mri",
        "isic-2017",
        "isic-2016",
        "mood",
    ),
    *("hyper-kvasir", "endotect", "real3d-ad", "ucf-crime", "meta-json", "folder"),
]


def test_every_name_has_a_row() -> None:
    assert sorted(row.name for row in table()) == sorted(NAMES)
    for row in table():
        assert row.title
        assert row.licence
        assert row.source


@pytest.mark.parametrize(
    ("name", "categories", "totals"),
    [
        # Totals as the data sets' own papers and pages state them.
        ("mvtec-ad", 15, {"train": (3629, 0), "test": (467, 1258)}),
        ("visa", 12, {"train": (8659, 0), "test": (962, 1200)}),
        ("mvtec-loco", 5, {"train": (1772, 0), "validation": (304, 0), "test": (575, 561 + 432)}),
        ("mvtec-3d-ad", 10, {"train": (2656, 0), "validation": (294, 0), "test": (249, 948)}),
        ("btad", 3, {"train": (1799, 0), "test": (451, 290)}),
        ("mpdd", 6, {"train": (888, 0), "test": (176, 282)}),
        ("dagm", 10, {"train": (7004, 1046), "test": (6996, 1054)}),
        ("solar-cells", 2, {"all": (1508, 715)}),
    ],
)
def test_categories_add_up(name: str, categories: int, totals: dict[str, tuple[int, int]]) -> None:
    row = published(name)
    assert len(row.categories) == len(row.counts) == categories
    sums: dict[str, tuple[int, int]] = {}
    for splits in row.counts.values():
        for split, (normal, anomalous) in splits.items():
            before = sums.get(split, (0, 0))
            sums[split] = (before[0] + normal, before[1] + anomalous)
    assert sums == totals


def test_categories_without_counts() -> None:
    assert len(published("mvtec-ad-2").categories) == 8
    assert len(published("real-iad").categories) == 30
    assert sum(map(sum, published("real-iad").counts["*"].values())) == 151050


def test_no_category_tells_two_sets_of_one_layout_apart_wrongly() -> None:
    alike = [set(published(name).categories) for name in ("mvtec-ad", "mpdd", "visa")]
    assert len(set.union(*alike)) == sum(map(len, alike))


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(OptionError, match="Did you mean 'mvtec-ad'"):
        published("mvtec_ad")
