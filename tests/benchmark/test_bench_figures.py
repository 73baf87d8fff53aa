"""Figures of a cell against scikit-learn and plain statements, from made rows, maps and masks."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sk

from blemish.benchmark import figures, thresholds
from blemish.benchmark.cell import Cell
from blemish.benchmark.plan import Plan
from blemish.datasets.model import Dataset, Item, Saturation
from blemish.errors import UndefinedMetricError
from blemish.metrics.overlap import au_pro, spro
from blemish.runs.pictures import write_maps

SHAPE = (12, 15)
Row = dict[str, Any]


@dataclass
class Made:
    """A cell's folder with rows, maps and truth."""

    folder: Path
    items: list[Item]
    rows: dict[str, Row]
    maps: dict[str, NDArray[np.float16]]
    masks: dict[str, NDArray[np.bool_]]
    pixels: bool = True
    saturations: Mapping[str, Mapping[int, Saturation]] = field(default_factory=dict)

    def figures(self, normals: Sequence[float] | None = None, **changes: Any) -> dict[str, Any]:
        names = {"curve", "metrics", "au_pro_limit"} & changes.keys()
        of_plan = {name: changes.pop(name) for name in names}
        cell = replace(Cell("folder", "part", "m", "patch-memory"), **changes)
        dataset = Dataset(
            "folder",
            self.folder,
            tuple(self.items),
            pixels=self.pixels,
            saturations=self.saturations,
        )
        plan = Plan(None, "made", (cell,), {"folder": dataset}, ("image_auroc", "latency"))
        plan = replace(plan, **of_plan)
        return figures.of_cell(plan, cell, self.folder, self.items, self.rows, normals)

    @property
    def labels(self) -> list[bool]:
        return [item.label == "anomalous" for item in self.items]

    def values(self, name: str) -> list[Any]:
        return [self.rows[item.id][name] for item in self.items]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Ten pictures, six of them anomalous, with some ties in the scores."""
    random = np.random.default_rng(5)
    found = Made(tmp_path, [], {}, {}, {})
    verdicts = itertools.cycle(["normal", "anomalous", "anomalous", "unsure"])
    for number in range(10):
        bad, name = number >= 4, f"part/test/{number}.png"
        mask = np.zeros(SHAPE, np.bool_)
        if bad:
            y, x = random.integers(0, 8, 2)
            mask[y : y + 4, x : x + 3] = True
            mask[0, 0] = True  # a second region
            PIL.Image.fromarray(mask).save(tmp_path / f"{number}.png")
        raw = (random.random(SHAPE) + mask * 0.4).round(2).astype(np.float16)
        write_maps(tmp_path / "maps" / f"{number}.tiff", [raw.astype(np.float32)])
        masks = (tmp_path / f"{number}.png",) if bad else ()
        found.items.append(
            Item(
                name,
                tmp_path / name,
                "part",
                "test",
                "anomalous" if bad else "normal",
                "hole" if bad else "good",
                masks,
            )
        )
        score = round(random.random() + 0.4 * bad, 1) / 2
        found.rows[name] = {
            "id": name,
            "verdict": next(verdicts),
            "score": score,
            "raw_score": 10 * score,
            "map": f"maps/{number}.tiff",
            "usage": {"seconds": {"read": 1.0, "encode": float(number), "write": 50.0}},
        }
        found.maps[name], found.masks[name] = raw, mask
    return found


def test_ranking_and_pixel_figures_equal_scikit_learn(made: Made) -> None:
    found = made.figures()["figures"]
    labels, scores = made.labels, made.values("raw_score")
    truth = np.concatenate([made.masks[i.id].ravel() for i in made.items])
    pixels = np.concatenate([made.maps[i.id].ravel() for i in made.items]).astype(np.float64)
    for prefix, y, s in (("image", labels, scores), ("pixel", truth, pixels)):
        assert found[f"{prefix}_auroc"] == pytest.approx(sk.roc_auc_score(y, s), abs=1e-12)
        assert found[f"{prefix}_ap"] == pytest.approx(sk.average_precision_score(y, s), abs=1e-12)
        best = max(sk.f1_score(y, np.asarray(s) >= t) for t in np.unique(s))
        assert found[f"{prefix}_f1_max"] == pytest.approx(best, abs=1e-12)
    maps = [made.maps[i.id].astype(np.float32) for i in made.items]
    masks = [made.masks[i.id] for i in made.items]
    assert found["au_pro"] == pytest.approx(au_pro(maps, masks, 0.3), abs=1e-9)
    less = made.figures(au_pro_limit=0.05)
    assert less["figures"]["au_pro"] == pytest.approx(au_pro(maps, masks, 0.05), abs=1e-9)
    assert less["computed"]["fpr_limit"] == 0.05


def test_figures_of_verdicts_count_unsure_as_wrong(made: Made) -> None:
    found = made.figures()["figures"]
    said = made.values("verdict")
    pairs = list(zip(made.labels, said, strict=True))
    assert found["accuracy"] == sum(
        v == ("anomalous" if bad else "normal") for bad, v in pairs
    ) / len(pairs)
    assert found["unsure"] == said.count("unsure") / len(said)
    assert found["overkill"] == sum(v == "anomalous" for bad, v in pairs if not bad) / 4
    assert found["miss"] == sum(v == "normal" for bad, v in pairs if bad) / 6
    assert found["recall"] == sum(v == "anomalous" for bad, v in pairs if bad) / 6


def test_latency_is_the_median_from_file_to_verdict(made: Made) -> None:
    assert made.figures()["figures"]["latency"] == 1.0 + 4.5
    remembered = made.figures(metrics=("image_auroc",))
    assert "latency" not in remembered["figures"]
    assert "remembered" in remembered["computed"]["features"]


def test_calibration_error_is_that_of_the_calibrated_scores(made: Made) -> None:
    bins: dict[int, list[tuple[float, bool]]] = {}
    for score, bad in zip(made.values("score"), made.labels, strict=True):
        bins.setdefault(max(0, int(np.ceil(score * 15)) - 1), []).append((score, bad))
    gap = sum(abs(sum(s for s, _ in some) - sum(b for _, b in some)) for some in bins.values())
    assert made.figures()["figures"]["ece"] == pytest.approx(gap / 10)


def test_the_best_threshold_is_the_best_of_all(made: Made) -> None:
    found = made.figures(threshold="best", curve=True)
    scores, labels = np.array(made.values("raw_score")), np.array(made.labels)

    def accuracy(threshold: float) -> float:
        return float(((scores > threshold) == labels).mean())

    assert found["figures"]["accuracy"] == max(map(accuracy, [*scores, -1.0, 99.0]))
    assert found["figures"]["accuracy"] == accuracy(found["threshold"])
    assert found["figures"]["unsure"] == 0
    assert "oracle" in found["computed"]["threshold"]
    assert [right for _, right in found["curve"]] == [accuracy(t) for t, _ in found["curve"]]
    assert len(found["curve"]) == len(set(scores)) + 1
    assert made.figures()["curve"] == []


def test_the_highest_normal_decides(made: Made) -> None:
    found = made.figures([0.5, 3.0, 1.0], threshold="max-of-normals")
    assert found["threshold"] == 3.0
    right = [(s > 3.0) == bad for s, bad in zip(made.values("raw_score"), made.labels, strict=True)]
    assert found["figures"]["accuracy"] == sum(right) / 10
    assert "2 shots" in made.figures([], threshold="max-of-normals")["undefined"]["accuracy"]


def test_one_threshold_for_all_categories_has_the_best_mean_accuracy() -> None:
    random = np.random.default_rng(3)
    for _ in range(30):
        sets = []
        for count in random.integers(1, 9, 3):
            scores = random.integers(0, 6, count).astype(float)
            sets.append(((random.random(count) < 0.5).tolist(), scores.tolist()))

        def mean(threshold: float, sets: Any = sets) -> float:
            return float(
                np.mean([np.mean((np.array(s) > threshold) == np.array(y)) for y, s in sets])
            )

        best = thresholds.best(sets)
        assert mean(best) == pytest.approx(max(map(mean, np.arange(-1, 7, 0.5))))
    with pytest.raises(UndefinedMetricError, match="no threshold"):
        thresholds.best([([], [])])


def test_no_score_is_unsure_and_ranks_nowhere(made: Made) -> None:
    made.rows["part/test/9.png"] |= {"raw_score": None, "score": None}
    found = made.figures(threshold="best")
    assert found["counts"]["without_score"] == 1
    assert found["figures"]["unsure"] == 0.1
    expected = sk.roc_auc_score(made.labels[:-1], made.values("raw_score")[:-1])
    assert found["figures"]["image_auroc"] == pytest.approx(expected)
    for row in made.rows.values():
        row |= {"raw_score": None, "score": None}
    found = made.figures(threshold="best", curve=True)
    for name in ("image_auroc", "ece", "accuracy"):
        assert found["undefined"][name]
    assert found["curve"] == []


@pytest.mark.parametrize("value", [np.nan, np.inf, 70000.0])
def test_a_map_that_is_not_finite_is_named_and_not_scored(made: Made, value: float) -> None:
    raw = made.maps["part/test/5.png"].astype(np.float32)
    raw[3, 4] = value
    with np.errstate(over="ignore"):
        write_maps(made.folder / "maps/5.tiff", [raw])
    found = made.figures()
    (note,) = found["failed"]
    assert note["id"] == "part/test/5.png"
    assert "1 of 180 pixels" in note["message"]
    kept = [i for i in made.items if i.id != note["id"]]
    expected = sk.roc_auc_score(
        [i.label == "anomalous" for i in kept], [made.rows[i.id]["raw_score"] for i in kept]
    )
    assert found["figures"]["image_auroc"] == pytest.approx(expected)
    assert found["counts"]["pixels"] == 9 * 180


def test_a_failure_is_counted_apart(made: Made) -> None:
    made.rows["part/test/2.png"] = {
        "id": "part/test/2.png",
        "error": "ImageError",
        "message": "cut",
    }
    found = made.figures()
    assert found["failed"] == [{"id": "part/test/2.png", "message": "cut"}]
    counts = found["counts"]
    assert (counts["images"], counts["normal"], counts["anomalous"]) == (10, 3, 6)
    assert counts["failed"] == 1


def test_masks_that_cannot_be_used_leave_pixel_figures_only(made: Made) -> None:
    PIL.Image.fromarray(np.zeros(SHAPE, np.bool_)).save(made.folder / "4.png")
    PIL.Image.fromarray(np.ones((3, 4), np.bool_)).save(made.folder / "5.png")
    (made.folder / "6.png").write_bytes(b"no picture")
    made.items[7] = replace(made.items[7], masks=())
    found = made.figures()
    said = {note["id"][-5]: note["message"] for note in found["unmasked"]}
    assert sorted(said) == ["4", "5", "6", "7"]
    assert "empty" in said["4"]
    assert "4 x 3" in said["5"]
    assert "no picture" in said["6"]
    assert found["counts"]["without_mask"] == 4
    assert found["counts"]["anomalous"] == 6
    kept = [i for i in made.items if i.id[-5] not in said]
    truth = np.concatenate([made.masks[i.id].ravel() for i in kept])
    pixels = np.concatenate([made.maps[i.id].ravel() for i in kept])
    assert found["figures"]["pixel_auroc"] == pytest.approx(sk.roc_auc_score(truth, pixels))


def test_one_class_only_is_undefined_in_words(made: Made) -> None:
    made.items = made.items[:4]
    found = made.figures()
    for name in ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "au_pro", "recall"):
        assert name not in found["figures"]
        assert "anomalous" in found["undefined"][name]
    assert found["figures"]["overkill"] == 0.5
    assert not {*found["figures"]} & {*found["undefined"]}


def test_no_picture_at_all_is_undefined_in_words(made: Made) -> None:
    made.items = []
    for rule in ("own", "best", "unified"):
        found = made.figures(threshold=rule)
        assert found["figures"] == {}
        assert {"image_auroc", "accuracy", "latency", "pixel_ap"} <= {*found["undefined"]}


def test_sets_and_methods_without_pixels_say_so(made: Made) -> None:
    made.pixels = False
    assert "folder has no masks" in made.figures()["undefined"]["pixel_auroc"]
    made.pixels = True
    for row in made.rows.values():
        row["map"] = None
    assert "no picture has an anomaly map" in made.figures()["undefined"]["au_pro"]


def test_figures_that_nothing_here_measures_are_told(made: Made) -> None:
    found = made.figures(metrics=("agreement", "flops", "parameters", "throughput", "spro"))
    for name in ("agreement", "flops", "parameters", "throughput", "spro"):
        assert found["undefined"][name]


def test_spro_is_the_mean_of_logical_and_structural(made: Made) -> None:
    kinds = ["logical_anomalies", "structural_anomalies"]
    made.saturations = {
        "part": {255: Saturation("gap", 5, False), 254: Saturation("dent", 0.5, True)}
    }
    regions: dict[str, list[tuple[NDArray[np.bool_], int]]] = {}
    for number, item in enumerate(made.items):
        if item.label == "normal":
            regions[item.id] = []
            continue
        value = 255 - number % 2
        made.items[number] = replace(item, kind=kinds[number % 2])
        mask = made.masks[item.id]
        PIL.Image.fromarray((mask * np.uint8(value)).astype(np.uint8)).save(item.masks[0])
        area = 5 if value == 255 else int(0.5 * mask.sum())
        regions[item.id] = [(mask, area)]
    expected = []
    for kind in kinds:
        chosen = [i for i in made.items if i.kind in ("good", kind)]
        maps = [made.maps[i.id].astype(np.float32) for i in chosen]
        expected.append(spro(maps, [regions[i.id] for i in chosen], (0.05,))[0.05])
    found = made.figures()
    assert found["figures"]["spro"] == pytest.approx(np.mean(expected), abs=1e-12)
    assert found["computed"]["spro_limit"] == 0.05


def test_everything_can_be_written_as_json(made: Made) -> None:
    for rule in ("own", "best", "max-of-normals", "unified"):
        found = made.figures([1.0], threshold=rule, curve=True)
        assert json.loads(json.dumps(found, allow_nan=False)) == found
