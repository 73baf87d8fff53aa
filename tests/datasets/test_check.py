"""`check` counts a data set beside what is published, and reads every file."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from blemish.datasets import check as check_module
from blemish.datasets.check import Count, check
from blemish.datasets.find import open_dataset
from blemish.datasets.published import PublishedSet


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishes the counts of the miniature of MVTec AD, and a third category."""
    each = {"train": (3, 0), "test": (1, 2)}
    known = {"bottle": each, "screw": each, "wood": each}
    row = PublishedSet("mvtec-ad", "MVTec AD", "CC", "a test", known, tuple(known), "A note.")
    monkeypatch.setattr(check_module, "published", lambda name: row)


@pytest.mark.usefixtures("publish")
def test_a_whole_set_is_counted_and_has_no_problems(layouts: ModuleType, tmp_path: Path) -> None:
    report = check(layouts.MINIATURES["mvtec-ad"].write(tmp_path))
    rows = [
        row
        for category in ("bottle", "screw")
        for row in (
            Count(category, "train", 3, 0, 0, 0, (3, 0)),
            Count(category, "test", 1, 2, 0, 2, (1, 2)),
        )
    ]
    totals = [Count("*", "train", 6, 0, 0, 0, None), Count("*", "test", 2, 4, 0, 4, None)]
    assert list(report.counts) == rows + totals
    assert report.absent == ("wood",)
    assert report.notes == ("A note.",)
    assert report.problems == ()
    assert report.dataset == open_dataset(tmp_path)


@pytest.mark.usefixtures("publish")
def test_another_count_than_published(layouts: ModuleType, tmp_path: Path) -> None:
    root = layouts.MINIATURES["mvtec-ad"].write(tmp_path)
    (root / "screw/train/good/002.png").unlink()
    (problem,) = check(root).problems
    assert (problem.what, problem.where) == ("count", "screw")
    assert "2 normal and 0 anomalous pictures of screw for train; published are 3 and 0" in (
        problem.message
    )


@pytest.mark.parametrize("complete", [True, False])
def test_totals_are_compared_where_every_category_is_here(
    complete: bool, layouts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"*": {"all": (8, 5)}}
    names = ("bottle", "screw") if complete else ("bottle", "screw", "wood")
    row = PublishedSet("mvtec-ad", "MVTec AD", "CC", "a test", counts, names)
    monkeypatch.setattr(check_module, "published", lambda name: row)
    report = check(layouts.MINIATURES["mvtec-ad"].write(tmp_path))
    assert [p.where for p in report.problems] == (["."] if complete else [])
    last = Count("*", "all", 8, 4, 0, 4, (8, 5))
    assert (last in report.counts) == complete


def test_pictures_without_a_label_are_counted_apart(layouts: ModuleType, tmp_path: Path) -> None:
    report = check(layouts.MINIATURES["mvtec-ad-2"].write(tmp_path))
    assert [c for c in report.counts if c.split == "test"] == [
        Count("vial", "test", 1, 1, 2, 1, None)
    ]
    assert report.problems == ()
    assert "can" in report.absent


def test_every_picture_counts_as_progress(layouts: ModuleType, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    check(layouts.MINIATURES["one"].write(tmp_path), lambda *done: seen.append(done))
    assert seen == [(n, 6) for n in range(1, 7)]


def test_an_empty_mask_is_a_note_and_no_problem(layouts: ModuleType, tmp_path: Path) -> None:
    root = layouts.MINIATURES["one"].write(tmp_path)
    layouts.draw_mask(root / "ground_truth/dull/001_mask.png", 0)
    report = check(root)
    assert report.problems == ()
    assert report.notes[0].startswith("1 anomalous picture has an empty mask")


def test_a_normal_picture_whose_mask_marks_pixels(layouts: ModuleType, tmp_path: Path) -> None:
    root = layouts.MINIATURES["mvtec-3d-ad"].write(tmp_path)
    layouts.draw_mask(root / "bagel/test/good/gt/000.png")
    found = [p for p in check(root).problems if p.what != "count"]
    assert [(p.what, p.where) for p in found] == [("odd", "bagel/test/good/rgb/000.png")]


def test_pictures_that_belong_to_nothing_are_counted(layouts: ModuleType, tmp_path: Path) -> None:
    root = layouts.MINIATURES["one"].write(tmp_path)
    for path in ("test/000.png", "notes/photo.jpg", ".cache/000.png"):
        layouts.draw(root / path)
    assert check(root).notes == ("2 picture files in this folder are not part of the data set.",)


def test_one_category_does_not_count_its_neighbours(layouts: ModuleType, tmp_path: Path) -> None:
    root = layouts.MINIATURES["mvtec-ad"].write(tmp_path)
    report = check(root / "screw")
    assert report.notes == ()
    assert {count.category for count in report.counts} == {"screw"}
