"""All figures of a cell, from its run folder and the truth.

A figure that these pictures do not define is left out, with the reason in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import median
from typing import Any

from blemish.benchmark import asked, thresholds
from blemish.benchmark.cell import Cell
from blemish.benchmark.judged import Judged, judge
from blemish.benchmark.plan import Plan
from blemish.datasets import loco
from blemish.datasets.model import Dataset, Item
from blemish.errors import InputError, UndefinedMetricError
from blemish.metrics import answers, overlap, ranking
from blemish.runs.folder import Row
from blemish.runs.pictures import read_maps

SPRO_LIMIT = 0.05
"""False positive rate up to which sPRO is taken: MVTec LOCO's headline."""
_FEATURES = {
    True: "features of pictures were remembered between seeds and shots",
    False: "every picture was encoded",
}
_VERDICTS = tuple(one.name for one in fields(answers.VerdictFigures) if one.name != "coverage")
_WHY_NONE = {
    "balanced_accuracy": "Balanced accuracy needs normal and anomalous pictures.",
    "precision": "Precision is not defined: no picture was called anomalous.",
    "recall": "Recall is not defined: there is no anomalous picture.",
    "f1": "F1 is not defined: there is no anomalous picture.",
    "overkill": "Overkill is not defined: there is no normal picture.",
    "miss": "Miss is not defined: there is no anomalous picture.",
}
_NOT_HERE = {
    "spro": "sPRO needs the saturation areas that come with MVTec LOCO.",
    "agreement": "Agreement needs repeated answers to the same picture (option repeats).",
    "score_spread": "The spread of scores needs repeated answers to a picture (option repeats).",
    "parameters": "Parameters are not measured by this version.",
    "flops": "FLOPs are not measured by this version.",
    "throughput": "Throughput is not measured by this version.",
}


@dataclass
class _Figures:
    """Figures by name, and the words for those that are not defined."""

    values: dict[str, float] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, figure: Callable[[], float]) -> None:
        try:
            self.values[name] = float(figure())
        except (UndefinedMetricError, InputError) as why:
            self.undefined[name] = str(why)


def of_cell(
    plan: Plan,
    cell: Cell,
    folder: Path,
    items: Sequence[Item],
    rows: Mapping[str, Row],
    normals: Sequence[float] | None = None,
) -> dict[str, Any]:
    """The figures of a cell.

    Args:
        plan: that the cell belongs to.
        cell: what was run.
        folder: its run folder, for the maps.
        items: the truth, of pictures with a label.
        rows: what was found, by id.
        normals: raw scores of normal pictures for the threshold "max-of-normals".

    Returns:
        "figures" in [0, 1] (latency in seconds), "undefined", "curve" where the plan wants it,
        "counts", "language_model" and "prompts" (see `asked`), "failed", "unmasked" and "computed";
        "threshold" where the detector's own verdict does not count. One threshold for all
        categories is found by `unify`, once all are there.
    """
    dataset = plan.datasets[cell.data]
    judged = judge(dataset, folder, items, rows)
    found = _Figures()
    _rank(found, judged)
    _overlap(found, plan, dataset, folder, judged)
    found.take("ece", lambda: answers.expected_calibration_error(*_scored(judged, "score")))
    if not plan.remembers:
        found.take("latency", lambda: _latency(judged))
    judged_rows = [row for _, row in judged.rows]
    if asked.repeated(judged_rows):
        found.take("agreement", lambda: asked.agreement(judged_rows))
        found.take("score_spread", lambda: asked.score_spread(judged_rows))
    for name in plan.metrics:
        if name in _NOT_HERE and name not in found.values:
            found.undefined.setdefault(name, _NOT_HERE[name])
    labels, scores = judged.scored("raw_score")
    record: dict[str, Any] = {
        "figures": found.values,
        "undefined": found.undefined,
        "curve": list(map(list, thresholds.curve(labels, scores) if plan.curve and scores else ())),
        "counts": _counts(items, judged),
        "language_model": asked.record(judged_rows),
        "prompts": asked.writers(judged_rows),
        "failed": judged.failed,
        "unmasked": judged.unmasked,
        "computed": _computed(plan, cell, dataset),
    }
    try:
        if cell.threshold == "own":
            decide(record, judged)
        else:
            decide(record, judged, _threshold(cell, labels, scores, normals or []))
    except UndefinedMetricError as why:
        record["undefined"] |= dict.fromkeys(_VERDICTS, str(why))
    return record


def _threshold(
    cell: Cell, labels: Sequence[bool], scores: Sequence[float], normals: Sequence[float]
) -> float:
    if cell.threshold == "max-of-normals":
        return thresholds.above_normals(normals)
    if cell.threshold == "best":
        return thresholds.best([(labels, scores)])
    raise UndefinedMetricError("The one threshold of all categories has not been found.")


def decide(record: dict[str, Any], judged: Judged, threshold: float | None = None) -> None:
    """Put the figures of verdicts into a record: the rows' own, or those of a threshold."""
    if threshold is None:
        said = [row["verdict"] for _, row in judged.rows]
    else:
        said = thresholds.verdicts([row["raw_score"] for _, row in judged.rows], threshold)
        record["threshold"] = threshold
    found: dict[str, float | None] = dict.fromkeys(_VERDICTS)
    words = {**_WHY_NONE}
    try:
        every = asdict(answers.verdict_figures(judged.labels, said))
        found = {name: every[name] for name in _VERDICTS}
    except UndefinedMetricError as why:
        words = dict.fromkeys(_VERDICTS, str(why))
    for name, value in found.items():
        for kind in ("figures", "undefined"):
            record[kind].pop(name, None)
        if value is None:
            record["undefined"][name] = words[name]
        else:
            record["figures"][name] = value


def _rank(found: _Figures, judged: Judged) -> None:
    found.take("image_auroc", lambda: ranking.auroc(*_scored(judged)))
    found.take("image_ap", lambda: ranking.average_precision(*_scored(judged)))
    found.take("image_f1_max", lambda: ranking.f1_max(*_scored(judged))[0])


def _scored(judged: Judged, name: str = "raw_score") -> tuple[list[bool], list[float]]:
    labels, scores = judged.scored(name)
    if judged.rows and not scores:
        raise UndefinedMetricError("No picture has a score.")
    return labels, scores


def _overlap(found: _Figures, plan: Plan, dataset: Dataset, folder: Path, judged: Judged) -> None:
    pixels = judged.pixels
    figures: dict[str, Callable[[], float]] = {
        "pixel_auroc": pixels.auroc,
        "pixel_ap": pixels.average_precision,
        "pixel_f1_max": lambda: pixels.f1_max()[0],
        "au_pro": lambda: pixels.au_pro(plan.au_pro_limit),
    }
    if dataset.saturations:
        figures["spro"] = lambda: _spro(dataset, folder, judged)
    for name, figure in figures.items():
        found.take(name, figure if pixels.counts.images else lambda: _no_pixels(dataset, judged))


def _no_pixels(dataset: Dataset, judged: Judged) -> float:
    if not dataset.pixels:
        why = f"{dataset.name} has no masks"
    elif any(row.get("map") for _, row in judged.rows):
        why = "no picture has a mask that can be used"
    else:
        why = "no picture has an anomaly map"
    raise UndefinedMetricError(f"Pixel figures are not defined: {why}.")


def _spro(dataset: Dataset, folder: Path, judged: Judged) -> float:
    left_out = {note["id"] for note in judged.unmasked}
    kept = [(item, row) for item, row in judged.rows if item.id not in left_out and row.get("map")]
    regions = [
        # A share of a tiny defect is rounded down to 0 pixels, which no overlap is defined for.
        [(mask, max(1, area)) for mask, area in loco.regions(item, dataset.saturations)]
        for item, _ in kept
    ]
    maps = _Maps([folder / row["map"] for _, row in kept])
    kinds = [item.kind for item, _ in kept]
    return overlap.loco_spro(maps, regions, kinds, (SPRO_LIMIT,)).mean[SPRO_LIMIT]


class _Maps(Sequence[Any]):
    """Maps that are read when they are asked for: a category of MVTec LOCO has gigabytes."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: Any) -> Any:
        return read_maps(self.paths[place])[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[place] for place in range(len(self)))


def _latency(judged: Judged) -> float:
    if not judged.rows:
        raise UndefinedMetricError("Latency is not defined: no picture was judged.")
    seconds = [row["usage"]["seconds"] for _, row in judged.rows if asked.now(row)]
    if not seconds:
        raise UndefinedMetricError("Latency is not defined: every answer came from the cache.")
    return float(
        median(sum(t for stage, t in stages.items() if stage != "write") for stages in seconds)
    )


def _counts(items: Sequence[Item], judged: Judged) -> dict[str, int]:
    anomalous = sum(judged.labels)
    return {
        "images": len(items),
        "normal": len(judged.rows) - anomalous,
        "anomalous": anomalous,
        "failed": len(judged.failed),
        "without_mask": len(judged.unmasked),
        "without_score": sum(row["raw_score"] is None for _, row in judged.rows),
        "without_map": sum(not row.get("map") for _, row in judged.rows),
        "pixels": judged.pixels.counts.pixels,
    }


def _computed(plan: Plan, cell: Cell, dataset: Dataset) -> dict[str, Any]:
    pictures = f"at most {plan.limit} of each label" if plan.limit else "all"
    if examples := len(plan.examples(cell)):
        pictures += f", but for {examples} anomalous ones that are shown as examples"
    return {
        "test_pictures": pictures,
        "eval_size": "native",
        "mask_resize": "none",
        "map_dtype": "float16",
        "fpr_limit": plan.au_pro_limit,
        **({"spro_limit": SPRO_LIMIT} if dataset.saturations else {}),
        "connectivity": 8,
        "image_score": "the detector's raw score",
        "threshold": thresholds.RULES[cell.threshold],
        "ece_bins": 15,
        "latency": "median seconds from reading the file to the verdict, per picture; one with an "
        "answer from the cache does not count",
        "features": _FEATURES[plan.remembers],
        "perturbed": " and ".join(cell.perturb) or "no",
    }
