"""Good pictures of a folder, and the anomalies put into them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from blemish.errors import DatasetError, InputError, OptionError
from blemish.images import read_image
from blemish.synthesis.procedural import write_set
from blemish.training.pictures import SIDE, Pictures
from blemish.types import Example


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes with four and three good pictures, and broken parts with masks."""
    root = tmp_path_factory.mktemp("parts")
    for kind, train in (("wood", 4), ("grid", 3)):
        write_set(root / kind, kind, train=train, good=1, anomalous=2, size=(96, 96))
    return root


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return shutil.copytree(made, tmp_path / "parts")


def same(first: Example, second: Example) -> bool:
    return (
        first.sample.id == second.sample.id
        and np.array_equal(first.sample.image, second.sample.image)
        and first.mask is not None
        and second.mask is not None
        and np.array_equal(first.mask, second.mask)
    )


def test_good_examples_are_the_files_each_once_an_epoch(made: Path) -> None:
    pictures = Pictures(made)
    assert (len(pictures), pictures.classes) == (7, ("metal grid", "wood"))
    assert pictures.counts == {"metal grid": 3, "wood": 4}
    epochs = [[pictures.example(n + 7 * e, False) for n in range(7)] for e in range(2)]
    files = {path.relative_to(made).as_posix() for path in made.glob("*/train/good/*.png")}
    for epoch in epochs:
        assert {example.sample.id for example in epoch} == files
    assert [e.sample.id for e in epochs[0]] != [e.sample.id for e in epochs[1]]
    for example in epochs[0]:
        assert np.array_equal(example.sample.image, read_image(made / example.sample.id))
        assert (example.label, example.kind) == ("normal", "good")
        name = "wood" if example.sample.id.startswith("wood") else "metal grid"
        assert example.sample.class_name == name
        assert example.mask is not None
        assert not example.mask.any()
    assert pictures.left_out == ()


@pytest.mark.parametrize("anomalies", ["nsa", "cutpaste", "both"])
def test_an_anomaly_changes_the_picture_inside_its_mask_only(made: Path, anomalies: str) -> None:
    pictures = Pictures(made, anomalies=anomalies)  # type: ignore[arg-type]
    for number in range(7):
        bad, good = pictures.example(number, True), pictures.example(number, False)
        assert (bad.label, bad.kind, bad.sample.id) == ("anomalous", "", good.sample.id)
        changed = (bad.sample.image != good.sample.image).any(2)
        assert bad.mask is not None
        assert changed[bad.mask].mean() > 0.7
        assert not changed[~bad.mask].any()


def test_a_number_gives_the_same_whatever_came_before(made: Path) -> None:
    asked = [(9, True), (0, False), (9, True), (3, True)]
    first, fresh = Pictures(made), [Pictures(made).example(*each) for each in asked]
    assert all(same(first.example(*a), e) for a, e in zip(asked, fresh, strict=True))
    assert not same(Pictures(made, seed=1).example(9, True), fresh[0])


def test_what_is_anomalous_in_the_set_stays_unseen(folder: Path) -> None:
    before = Pictures(folder)
    for path in [*folder.glob("*/test/*/*"), *folder.glob("*/ground_truth/*/*")]:
        path.write_bytes(b"never read")
    after = Pictures(folder)
    assert all(same(before.example(n, True), after.example(n, True)) for n in range(7))
    assert after.left_out == ()
    for path in folder.glob("*/test"):
        shutil.rmtree(path)
    assert same(Pictures(folder).example(0, True), after.example(0, True))


def test_a_patch_comes_from_another_picture_of_the_class(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for category, channel in (("red", 0), ("green", 1)):
        (tmp_path / category / "train" / "good").mkdir(parents=True)
        for number in range(3):
            noise = np.zeros((64, 64, 3), np.uint8)
            noise[..., channel] = random.integers(0, 80 * (number + 1), (64, 64))
            PIL.Image.fromarray(noise).save(tmp_path / category / f"train/good/{number}.png")
        (tmp_path / category / "test" / "good").mkdir(parents=True)
    pictures = Pictures(tmp_path)
    for number in range(6):
        example = pictures.example(number, True)
        other = 1 if example.sample.class_name == "red" else 0
        assert example.sample.image[..., other].max() == 0


def test_broken_and_tiny_pictures_are_left_out_and_the_rest_goes_on(folder: Path) -> None:
    whole = [Pictures(folder).example(n, bool(n % 2)) for n in range(7)]
    broken, tiny = sorted(folder.glob("wood/train/good/*.png"))[:2]
    broken.write_bytes(broken.read_bytes()[:200])
    PIL.Image.new("RGB", (12, 40)).save(tiny)
    pictures = Pictures(folder)
    got = [pictures.example(n, bool(n % 2)) for n in range(7)]
    names = [path.relative_to(folder).as_posix() for path in (broken, tiny)]
    assert not {e.sample.id for e in got} & {*names}
    assert [failure.id for failure in pictures.left_out] == names
    assert "12 x 40 pixels" in pictures.left_out[1].message
    kept = [n for n in range(7) if whole[n].sample.id not in names]
    assert len(kept) == 5
    assert all(got[n].sample.id == whole[n].sample.id for n in kept)
    assert all(same(Pictures(folder).example(n, bool(n % 2)), got[n]) for n in range(7))


def test_not_one_usable_picture_is_told(folder: Path) -> None:
    for path in folder.glob("*/train/good/*.png"):
        path.write_bytes(b"\x89PNG\r\n\x1a\nno")
    with pytest.raises(DatasetError, match=r"Not one of the 7 normal training pictures .*grid"):
        Pictures(folder).example(0, False)


def test_a_set_without_normal_pictures_is_told(folder: Path) -> None:
    for path in folder.glob("*/train"):
        shutil.rmtree(path)
    with pytest.raises(DatasetError, match=r"no normal training pictures.*train/good"):
        Pictures(folder)


def test_a_class_of_one_picture_makes_its_anomalies_of_itself(folder: Path) -> None:
    only = folder / "wood"
    first, *others = sorted(only.glob("train/good/*.png"))
    for path in others:
        path.unlink()
    pictures = Pictures(only)
    assert (len(pictures), pictures.classes) == (1, ("wood",))
    example = pictures.example(0, True)
    assert not np.array_equal(example.sample.image, read_image(first))


def test_a_plain_folder_of_good_pictures_is_a_class_without_a_name(folder: Path) -> None:
    pictures = Pictures(folder / "wood" / "train" / "good")
    assert (len(pictures), pictures.classes) == (4, ("object",))
    assert {pictures.example(n, False).sample.class_name for n in range(4)} == {"object"}


def test_a_picture_of_one_colour_serves_as_a_good_one_only(tmp_path: Path) -> None:
    for number in range(2):
        PIL.Image.new("RGB", (64, 64), "grey").save(tmp_path / f"{number}.png")
    pictures = Pictures(tmp_path)
    assert pictures.example(0, False).label == "normal"
    with pytest.raises(DatasetError, match="No patch changed the picture visibly"):
        pictures.example(0, True)


def test_large_pictures_are_shrunk_before_an_anomaly_is_put_in(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (SIDE * 2, SIDE * 3, 3), np.uint8)
    for number in range(2):
        PIL.Image.fromarray(noise[:, ::-1] if number else noise).save(tmp_path / f"{number}.png")
    example = Pictures(tmp_path).example(0, True)
    assert example.sample.image.shape == (SIDE, SIDE * 3 // 2, 3)
    assert example.mask is not None
    assert example.mask.shape == (SIDE, SIDE * 3 // 2)


def test_the_fingerprint_is_of_files_and_draws(folder: Path, tmp_path: Path) -> None:
    before = Pictures(folder).fingerprint
    assert Pictures(shutil.copytree(folder, tmp_path / "moved")).fingerprint == before
    assert Pictures(folder, seed=1).fingerprint != before
    assert Pictures(folder, anomalies="both").fingerprint != before
    next(folder.glob("wood/train/good/*.png")).unlink()
    assert Pictures(folder).fingerprint != before


def test_descriptions_and_sorts_are_checked_at_once(made: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"version": 1, "descriptions": {"wood": "Oak."}}))
    assert Pictures(made, descriptions=own).descriptions == {"wood": "Oak."}
    own.write_text("{}")
    with pytest.raises(InputError, match=r"own\.json cannot be used"):
        Pictures(made, descriptions=own)
    with pytest.raises(OptionError, match=r"sort 'poisson'.*Known: both, cutpaste, nsa"):
        Pictures(made, anomalies="poisson")  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="does not exist"):
        Pictures(tmp_path / "missing")
