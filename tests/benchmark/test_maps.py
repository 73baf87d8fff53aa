"""Maps that another program wrote, against scikit-learn on the same arrays."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from blemish.benchmark import maps
from blemish.benchmark.folder import Record
from blemish.benchmark.reader import read
from blemish.datasets.model import Dataset, Item
from blemish.errors import DatasetError, InputError

HEIGHT, WIDTH = 6, 5
Maps = Mapping[str, NDArray[np.float64]]


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """Three good and three broken pictures of 5 x 6 pixels, the broken ones with masks."""
    root = tmp_path / "data"
    items = []
    for number in range(6):
        bad = number >= 3
        name = f"cup/test/{'crack' if bad else 'good'}/{number:03}.png"
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.full((HEIGHT, WIDTH, 3), 40 * number, np.uint8)).save(path)
        masks: tuple[Path, ...] = ()
        if bad:
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            mask[number - 3 : number, 1:3] = 255
            masks = (root / f"cup/ground_truth/{number:03}.png",)
            masks[0].parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(mask).save(masks[0])
        label: Any = "anomalous" if bad else "normal"
        items.append(Item(name, path, "cup", "test", label, "crack" if bad else "good", masks))
    return Dataset("folder", root, tuple(items))


@pytest.fixture
def made(data: Dataset) -> Maps:
    """A map for each picture: multiples of 1/1024, which float16 holds."""
    random = np.random.default_rng(0)
    return {
        item.id: (random.integers(0, 700, (HEIGHT, WIDTH)) + 200 * (item.label != "normal")) / 1024
        for item in data.items
    }


def put(folder: Path, found: Maps, write: Callable[[Path, Any], Any] = np.save) -> Path:
    """Write maps as another program would."""
    ending = {np.save: ".npy", tifffile.imwrite: ".tiff"}.get(write, ".png")
    for name, one in found.items():
        path = (folder / name).with_suffix(ending)
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, one)
    return folder


def scored(data: Dataset, folder: Path, out: Path) -> Record:
    (record,) = maps.score(data, folder, maps.cells_of(data, "theirs"), out)
    return record


def truth(data: Dataset) -> tuple[NDArray[np.bool_], list[NDArray[np.bool_]]]:
    """Labels and masks, read without blemish."""
    masks = []
    for item in data.items:
        mask = np.zeros((HEIGHT, WIDTH), np.bool_)
        for path in item.masks:
            with PIL.Image.open(path) as picture:
                mask |= np.asarray(picture) > 0
        masks.append(mask)
    return np.array([item.label == "anomalous" for item in data.items]), masks


def sklearn(data: Dataset, found: Maps) -> dict[str, float]:
    labels, masks = truth(data)
    each = [found[item.id] for item in data.items]
    pixels, values = np.concatenate(masks).ravel(), np.concatenate(each).ravel()
    return {
        "image_auroc": roc_auc_score(labels, [one.max() for one in each]),
        "pixel_auroc": roc_auc_score(pixels, values),
        "pixel_ap": average_precision_score(pixels, values),
    }


def as_png(path: Path, one: Any) -> None:
    PIL.Image.fromarray((one * 1024).astype(np.uint16)).save(path)


@pytest.mark.parametrize("write", [np.save, tifffile.imwrite, as_png])
def test_figures_equal_scikit_learns(
    data: Dataset, made: Maps, tmp_path: Path, write: Callable[[Path, Any], Any]
) -> None:
    record = scored(data, put(tmp_path / "maps", made, write), tmp_path / "out")

    for name, value in sklearn(data, made).items():
        assert record["figures"][name] == pytest.approx(value, abs=1e-12)
    assert record["counts"]["failed"] == 0
    assert record["computed"]["image_score"] == "the maximum of the map"
    assert not {"accuracy", "ece", "latency"} & {*record["figures"], *record["undefined"]}


@pytest.mark.parametrize("factor", [1e-9, 1e-3, 1e6])
def test_no_range_of_values_moves_a_figure(
    data: Dataset, made: Maps, tmp_path: Path, factor: float
) -> None:
    given = {name: one * factor for name, one in made.items()}

    record = scored(data, put(tmp_path / "maps", given), tmp_path / "out")

    for name, value in sklearn(data, made).items():
        assert record["figures"][name] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("ending", ["", ".png"])
def test_scores_go_before_the_maximum_of_the_map(
    data: Dataset, made: Maps, tmp_path: Path, ending: str
) -> None:
    folder = put(tmp_path / "maps", made)
    # The first good picture scores above every broken one: 2 of 3 good ones are below all.
    scores = [0.9, 0.1, 0.2, 0.5, 0.6, 0.7]
    lines = [
        f"{item.id.removesuffix('.png')}{ending},{score}"
        for item, score in zip(data.items, scores, strict=True)
    ]
    (folder / "scores.csv").write_text("\n".join(["id,score", *lines]))

    record = scored(data, folder, tmp_path / "out")

    assert record["figures"]["image_auroc"] == pytest.approx(6 / 9)
    assert record["computed"]["image_score"] == "scores.csv"


def test_scores_alone_give_the_figures_of_pictures(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    lines = [f"{item.id},{number}" for number, item in enumerate(data.items)]
    (tmp_path / "maps" / "scores.csv").write_text("\n".join(["id,score", *lines]))

    record = scored(data, tmp_path / "maps", tmp_path / "out")

    assert record["figures"] == {"image_auroc": 1.0, "image_ap": 1.0, "image_f1_max": 1.0}
    assert "no picture has an anomaly map" in record["undefined"]["pixel_auroc"]


def damaged(kind: str, path: Path, one: NDArray[np.float64]) -> str:
    """Damage the map at `path`; what must be said of it."""
    if kind == "missing":
        path.unlink()
        return "Expected one map"
    if kind == "another size":
        np.save(path, one.T)
        return "never resized"
    if kind == "NaN":
        np.save(path, np.where(one == one.max(), np.nan, one))
        return "NaN or infinite in 1 of 30 pixels"
    if kind == "pickled":
        np.save(path, np.array([{}], object))
        return "cannot be read"
    if kind == "8 bits":
        path.unlink()
        PIL.Image.fromarray(np.uint8(one * 255)).save(path.with_suffix(".png"))
        return "16-bit grey"
    tifffile.imwrite(path.with_suffix(".tiff"), one)
    return "Expected one map"


@pytest.mark.parametrize("kind", ["missing", "another size", "NaN", "pickled", "8 bits", "twice"])
def test_a_bad_map_is_named_and_the_others_are_scored(
    data: Dataset, made: Maps, tmp_path: Path, kind: str
) -> None:
    folder = put(tmp_path / "maps", made)
    worst = data.items[4].id
    said = damaged(kind, (folder / worst).with_suffix(".npy"), made[worst])

    record = scored(data, folder, tmp_path / "out")

    (failed,) = record["failed"]
    assert failed["id"] == worst
    assert said in failed["message"]
    left = Dataset("folder", data.root, tuple(i for i in data.items if i.id != worst))
    for name, value in sklearn(left, made).items():
        assert record["figures"][name] == pytest.approx(value, abs=1e-12)


def test_a_broken_picture_is_named(data: Dataset, made: Maps, tmp_path: Path) -> None:
    data.items[0].path.write_bytes(data.items[0].path.read_bytes()[:40])

    record = scored(data, put(tmp_path / "maps", made), tmp_path / "out")

    assert [one["id"] for one in record["failed"]] == [data.items[0].id]
    assert record["counts"]["normal"] == 2


def test_a_score_that_is_missing_is_no_score_of_zero(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    lines = [f"{item.id},{n}" for n, item in enumerate(data.items)]
    lines[1] = f"{data.items[1].id},nan"
    (tmp_path / "maps" / "scores.csv").write_text("\n".join(["id,score", *lines[:-1]]))

    record = scored(data, tmp_path / "maps", tmp_path / "out")

    assert {one["id"] for one in record["failed"]} == {data.items[1].id, data.items[5].id}


def test_two_pictures_of_one_stem_keep_their_endings(data: Dataset, tmp_path: Path) -> None:
    twin = data.items[0].path.with_suffix(".bmp")
    PIL.Image.fromarray(data.items[0].image()).save(twin)
    name = data.items[0].id.replace(".png", ".bmp")
    more = Dataset("folder", data.root, (*data.items, Item(name, twin, "cup", "test", "normal")))
    flat = {item.id: np.zeros((HEIGHT, WIDTH)) for item in data.items}
    folder = put(tmp_path / "maps", flat)

    failed = {one["id"] for one in scored(more, folder, tmp_path / "out")["failed"]}
    assert failed == {data.items[0].id, name}, "000.npy could be of either"

    for one in (data.items[0].id, name):
        np.save(folder / f"{one}.npy", flat[data.items[0].id])
    assert scored(more, folder, tmp_path / "again")["failed"] == []


def test_maps_below_the_category_are_found(data: Dataset, made: Maps, tmp_path: Path) -> None:
    folder = put(tmp_path / "maps" / "cup", made)

    assert scored(data, folder.parent, tmp_path / "out")["failed"] == []


def test_a_folder_of_something_else_says_what_was_expected(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()

    with pytest.raises(InputError, match=r"cup/test/good/000\.tiff or"):
        scored(data, tmp_path / "maps", tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,value\na,1", "expected id and score"),
        ("id,score\na,1\na,2", "two lines for a"),
        ("id,score\na,high", "could not convert"),
        ("id,score\na", "cannot be read"),
    ],
)
def test_a_wrong_scores_file_is_refused(
    data: Dataset, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "scores.csv").write_text(text)

    with pytest.raises(InputError, match=said):
        scored(data, tmp_path / "maps", tmp_path / "out")


def test_an_unknown_category_is_refused(data: Dataset) -> None:
    with pytest.raises(DatasetError, match="no labelled test pictures of saucer"):
        maps.cells_of(data, "theirs", categories=["saucer"])


def test_the_folder_is_that_of_a_benchmark(data: Dataset, made: Maps, tmp_path: Path) -> None:
    out = tmp_path / "out"
    record = scored(data, put(tmp_path / "maps", made), out)

    (ran,) = read(out)

    assert ran.method == "theirs"
    assert {name: ran.label(name) for name in ran.rows} == {i.id: i.label for i in data.items}
    first = data.items[3].id
    heat = ran.heat(first)
    assert heat is not None
    assert (heat == made[first].astype(np.float32)).all()
    assert json.loads((ran.folder / "figures.json").read_text()) == json.loads(json.dumps(record))
