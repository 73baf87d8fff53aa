"""Made-up parts: what is promised about pictures, masks, seeds, sets and files."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blemish.errors import OptionError, OutputError
from blemish.synthesis.procedural import DEFECTS, KINDS, make_part, make_set, write_set

SIZE = (96, 96)
EVERY = [(kind, defect) for kind in KINDS for defect in DEFECTS[kind]]


@pytest.mark.parametrize(("kind", "defect"), EVERY)
@pytest.mark.parametrize("size", [SIZE, (64, 200)])
def test_a_defective_part_is_the_good_part_outside_its_mask(
    kind: str, defect: str, size: tuple[int, int]
) -> None:
    good = make_part(kind, 5, size=size)
    bad = make_part(kind, 5, defect=defect, size=size)
    assert bad.mask is not None
    assert (bad.sample.id, bad.label, bad.kind) == (f"{kind}-0005-{defect}", "anomalous", defect)
    assert bad.sample.image.shape == (*size, 3)
    change = np.abs(bad.sample.image.astype(int) - good.sample.image.astype(int)).mean(axis=2)
    assert change[~bad.mask].max() == 0
    assert change[bad.mask].mean() > 5  # more than twice the camera's noise
    assert 0.0005 <= bad.mask.mean() <= 0.25


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_part_looks_like_a_photograph(kind: str) -> None:
    part = make_part(kind, 3)
    image = part.sample.image.astype(float)
    assert (part.sample.id, part.label, part.kind) == (f"{kind}-0003-good", "normal", "good")
    assert part.mask is not None
    assert not part.mask.any()
    assert part.sample.class_name not in ("", "object")
    # Surfaces are smooth where noise is not: neighbours agree.
    grey = image.mean(axis=2)
    assert np.corrcoef(grey[:, 1:].ravel(), grey[:, :-1].ravel())[0, 1] > 0.6
    assert np.corrcoef(grey[1:].ravel(), grey[:-1].ravel())[0, 1] > 0.6
    assert ((image <= 1) | (image >= 254)).mean() < 0.05  # exposed well
    assert grey.std() > 5


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_make_variation_and_nothing_else_does(kind: str) -> None:
    first = make_part(kind, 1, size=SIZE).sample.image
    np.random.seed(0)
    assert np.array_equal(first, make_part(kind, 1, size=SIZE).sample.image)
    other = make_part(kind, 2, size=SIZE).sample.image
    change = np.abs(first.astype(int) - other.astype(int)).mean()
    assert 3 < change < 80  # another part of the same product


def test_defects_of_one_kind_differ_from_seed_to_seed() -> None:
    masks = [make_part("brushed", seed, defect="scratch", size=SIZE).mask for seed in range(6)]
    assert len({mask.tobytes() for mask in masks if mask is not None}) == 6


def test_only_parts_taken_by_a_monochrome_camera_are_grey() -> None:
    def is_grey(kind: str) -> bool:
        image = make_part(kind, 0, defect=DEFECTS[kind][0], size=SIZE).sample.image
        return bool((image == image[..., :1]).all())

    assert {kind for kind in KINDS if is_grey(kind)} == {"cast", "cell", "poly"}


def test_a_missing_component_shows_bare_board() -> None:
    good = make_part("board", 4)
    bad = make_part("board", 4, defect="missing")
    assert bad.mask is not None
    # Green exceeds red on solder resist; on components and pads it does not.
    green = [p.sample.image[bad.mask].astype(int) for p in (good, bad)]
    share = [float((colours[:, 1] > colours[:, 0] + 20).mean()) for colours in green]
    assert share[1] > share[0] + 0.3


def test_a_set_has_good_parts_first_and_all_defects_in_turn() -> None:
    parts = make_set("nut", normals=3, anomalous=11, seed=2, size=SIZE)
    assert [p.label for p in parts] == ["normal"] * 3 + ["anomalous"] * 11
    counts = Counter(p.kind for p in parts[3:])
    assert set(counts) == set(DEFECTS["nut"])
    assert max(counts.values()) - min(counts.values()) <= 1
    others = make_set("nut", normals=3, anomalous=11, seed=3, size=SIZE)
    assert len({p.sample.image.tobytes() for p in [*parts, *others]}) == 28
    assert len({p.sample.id for p in [*parts, *others]}) == 28


def test_a_written_set_reads_back_as_it_was_made(tmp_path: Path) -> None:
    write_set(tmp_path / "wood", "wood", train=2, good=1, anomalous=5, seed=1, size=SIZE)
    parts = make_set("wood", normals=3, anomalous=5, seed=1, size=SIZE)
    expected = set()
    for i, part in enumerate(parts):
        name = part.sample.id
        picture = Path("train" if i < 2 else "test", part.kind, f"{name}.png")
        expected.add(picture)
        with Image.open(tmp_path / "wood" / picture) as image:
            assert np.array_equal(np.asarray(image), part.sample.image)
        if part.label == "anomalous":
            truth = Path("ground_truth", part.kind, f"{name}_mask.png")
            expected.add(truth)
            with Image.open(tmp_path / "wood" / truth) as image:
                assert part.mask is not None
                assert np.array_equal(np.asarray(image), np.where(part.mask, 255, 0))
    written = {p.relative_to(tmp_path / "wood") for p in (tmp_path / "wood").rglob("*.png")}
    assert written == expected


def test_a_set_is_not_written_over_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        write_set(tmp_path, "nut", train=1, good=0, anomalous=0, size=SIZE)
    with pytest.raises(OutputError, match="cannot be written"):
        write_set(tmp_path / "notes.txt", "nut", train=1, good=0, anomalous=0, size=SIZE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "wovn"}, "Did you mean 'woven'"),
        ({"defect": "scrach"}, "brushed part cannot have the defect 'scrach'.*'scratch'"),
        ({"defect": "good"}, "cannot have the defect 'good'"),
        ({"seed": -1}, "Seed -1"),
        ({"size": (63, 256)}, r"\(63, 256\).*64 to 1024"),
        ({"size": (256, 1025)}, "64 to 1024"),
    ],
)
def test_what_cannot_be_made_is_refused(arguments: dict[str, object], message: str) -> None:
    wanted: dict[str, object] = {"kind": "brushed", "seed": 0, **arguments}
    with pytest.raises(OptionError, match=message):
        make_part(**wanted)  # type: ignore[arg-type]


def test_importing_blemish_does_not_import_synthesis() -> None:
    code = "import sys, blemish; print('blemish.synthesis' in sys.modules or 'cv2' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
