"""What a plan runs, what it leaves out, and what it says of that; nothing is loaded for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from blemish import registry
from blemish.benchmark import find
from blemish.benchmark.cell import Cell, safe_name
from blemish.benchmark.plan import free, of_protocol
from blemish.benchmark.possible import lacking
from blemish.benchmark.protocol import Protocol, Run, load
from blemish.datasets.model import Dataset
from blemish.errors import DatasetError, OptionError, ReferencesError
from blemish.registry import DetectorEntry

Named = Callable[..., Mapping[str, Dataset]]


def table(*runs: Run, data: tuple[str, ...] = ("mvtec-ad",)) -> Protocol:
    about = {"id": "9/made", "title": "made", "source": "made", "metrics": ["image_auroc"]}
    return Protocol.model_validate({**about, "data": data, "runs": runs})


def test_cells_come_category_by_category(miniature: Dataset) -> None:
    plan = free("patch-memory", miniature, (1, 2), (0, 1), {"sigma": 2}, ("leather", "bottle"))
    found = [(cell.category, cell.shots, cell.seed) for cell in plan.cells]
    assert found == [(c, n, s) for c in ("bottle", "leather") for n in (1, 2) for s in (0, 1)]
    assert {cell.method for cell in plan.cells} == {"patch-memory"}
    assert all(cell.options == {"sigma": 2} for cell in plan.cells)
    assert len({cell.key for cell in plan.cells}) == 8


@pytest.mark.parametrize("name", ["..", "/etc", "a/../b", "CON", "é", "", "a" * 300, "AnoVL⁻"])
def test_folders_of_cells_stay_inside_and_apart(name: str) -> None:
    found = safe_name(name)
    assert Path("x", found).resolve().parent == Path("x").resolve()
    assert found == found.lower()
    assert len(found) < 80
    assert found != safe_name(name + "x")


def test_keys_of_alike_methods_differ() -> None:
    names = ("AnoVL", "AnoVL⁻", "ANOVL", "anovl")
    assert len({Cell("visa", "pcb1", name, "anovl").key for name in names}) == 4


def test_shots_that_a_detector_cannot_take_are_told(miniature: Dataset) -> None:
    plan = free("patch-memory", miniature, (0, 1, 2))
    assert {cell.shots for cell in plan.cells} == {1, 2}
    assert plan.notes == ("patch-memory needs references: 0 shots are left out.",)
    assert {cell.shots for cell in free("patch-memory", miniature).cells} == {1}
    assert {cell.shots for cell in free("patch-memory", miniature, (None,)).cells} == {None}
    plan = free("musc", miniature, (0, 1, 2))
    assert {cell.shots for cell in plan.cells} == {0}
    assert "without shots" in plan.notes[0]
    assert free("musc", miniature).notes == ()
    for shots in ((0,), (-1, 2), ()):
        with pytest.raises(OptionError, match="--shots 1,2,4"):
            free("patch-memory", miniature, shots)


def test_a_detector_that_needs_nothing_runs_once(
    miniature: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = DetectorEntry("zero", "x:Y", "x:Z", "made")
    monkeypatch.setattr(registry, "detectors", lambda: {"zero": entry})
    plan = free("zero", miniature, (0, 1))
    assert {cell.shots for cell in plan.cells} == {0}
    assert "takes no references" in plan.notes[0]


def test_references_are_those_of_the_seed(miniature: Dataset) -> None:
    plan = free("patch-memory", miniature, (2, None), (3,), categories=("bottle",))
    few, every = plan.cells
    assert plan.references(few) == miniature.references("bottle", 2, 3)
    assert plan.references(every) == miniature.select("bottle", "train", "normal")
    together = plan.references(replace(few, unified=True))
    assert [item.category for item in together] == [
        c for c in ("bottle", "hazelnut", "leather") for _ in range(2)
    ]
    musc = free("musc", miniature, categories=("bottle",))
    assert musc.references(musc.cells[0]) == miniature.select("bottle", "test")


def test_pictures_whose_truth_is_secret_are_left_out(miniature: Dataset) -> None:
    secret = tuple(
        replace(item, label=None) if item.split == "test" and item.kind == "good" else item
        for item in miniature.items
    )
    plan = free("patch-memory", replace(miniature, items=secret))
    assert all(len(plan.items(cell)) == 5 for cell in plan.cells)
    none = tuple(replace(item, label=None) for item in miniature.items)
    with pytest.raises(DatasetError, match="no labelled test pictures"):
        free("patch-memory", replace(miniature, items=none))


def test_too_few_training_pictures_are_told_before_anything_runs(miniature: Dataset) -> None:
    with pytest.raises(ReferencesError, match=r"4 normal training pictures.*; 5 were asked"):
        free("patch-memory", miniature, (5,))


def test_unknown_names_get_the_nearest(miniature: Dataset) -> None:
    with pytest.raises(OptionError, match="Did you mean 'patch-memory'"):
        free("patch-memry", miniature)
    with pytest.raises(DatasetError, match="Did you mean 'leather'"):
        free("patch-memory", miniature, categories=("lether",))


def test_latency_is_measured_where_no_feature_is_remembered(miniature: Dataset) -> None:
    one = free("patch-memory", miniature)
    assert "latency" in one.metrics
    assert not one.remembers
    many = free("patch-memory", miniature, (1, 2))
    assert "latency" not in many.metrics
    assert many.remembers


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (Run(method="m"), ""),
        (Run(method="m", detector="patch-memory"), ""),
        (Run(method="m", detector="nobody"), "no detector 'nobody'"),
        (
            Run(method="m", detector="patch-memory", options={"encoder": "big"}),
            "no encoder 'big'",
        ),
        (Run(method="m", detector="patch-memory", train_on="mvtec-ad"), ""),
        (Run(method="m", detector="patch-memory", train_on="visa"), "cannot be trained on visa"),
        (
            Run(method="m", detector="zero", train_on="mvtec-ad"),
            "zero cannot be trained, and m was trained on mvtec-ad",
        ),
        (
            Run(method="m", detector="anomalygpt", options={"enhancer": True}),
            "anomalygpt of this version of blemish has no option 'enhancer'",
        ),
        (Run(method="m", detector="asking"), "needs a language model, and none is named"),
        (Run(method="m", detector="asking", options={"language_model": "x"}), ""),
    ],
)
def test_what_a_method_lacks_is_said(run: Run, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    zero = DetectorEntry("zero", "x:Y", "x:Z", "made")
    takes = {"language_model": ""}
    asking = DetectorEntry("asking", "x:Y", "x:Z", "made", "language model", parts=takes)
    entries = {**registry.detectors(), "zero": zero, "asking": asking}
    monkeypatch.setattr(registry, "detectors", lambda: entries)
    found = lacking(run, ("mvtec-ad",))
    assert why in found
    assert bool(found) == bool(why)


def test_an_encoder_that_the_caller_brings_is_known(named: Named) -> None:
    run = Run(method="m", detector="patch-memory", options={"encoder": "big"}, shots=(1,))
    assert of_protocol(table(run), named("mvtec-ad")).cells == ()
    plan = of_protocol(table(run), named("mvtec-ad"), encoders=("big",))
    assert plan.models(plan.cells[0]) == ("big",)
    lost = plan.without("big", "its weights are not at hand")
    assert lost.cells == ()
    assert lost.unavailable == (("m", "its weights are not at hand"),)


def test_a_protocol_runs_what_it_can_and_quotes_the_rest(named: Named) -> None:
    runs = (
        Run(method="ours", detector="patch-memory", shots=(1, 2), seeds=(0, 1)),
        Run(method="later", detector="nobody"),
        Run(method="theirs", published_by="them"),
        Run(method="there", detector="patch-memory", shots=(1,), data=("visa",)),
    )
    plan = of_protocol(table(*runs, data=("mvtec-ad", "visa")), named("mvtec-ad", "visa"))
    assert [method for method, _ in plan.unavailable] == ["later"]
    assert [run.method for run in plan.quoted] == ["theirs"]
    cells = {(c.data, c.method, c.shots, c.seed) for c in plan.cells}
    both = {(d, "ours", n, s) for d in ("mvtec-ad", "visa") for n in (1, 2) for s in (0, 1)}
    assert cells == both | {("visa", "there", 1, 0)}
    assert len(plan.cells) == 3 * len(cells)
    other = of_protocol(table(runs[0]), named("mvtec-ad"), seeds=(7,))
    assert {cell.seed for cell in other.cells} == {7}


def test_categories_that_are_not_there_are_told(named: Named) -> None:
    document = load("000/regions")  # hazelnut and leather
    plan = of_protocol(document, named("mvtec-ad"))
    assert plan.notes == ()
    assert {cell.category for cell in plan.cells} <= {"hazelnut", "leather"}
    (note,) = of_protocol(document, named("mvtec-ad"), categories=("leather",)).notes
    assert "1 of 2 categories" in note
    assert "without hazelnut" in note
    (note,) = of_protocol(load("002/table1"), named("mvtec-ad")).notes
    assert "3 of 15 categories" in note


def test_a_missing_data_set_is_an_error(named: Named, drawn: Path) -> None:
    with pytest.raises(DatasetError, match=r"runs on visa.*Found: mvtec-ad"):
        of_protocol(load("000/table2"), named("mvtec-ad"))
    assert find.datasets(drawn, ("mvtec-ad",))["mvtec-ad"].root == drawn
    assert set(find.datasets(drawn.parent, ("mvtec-ad",))) == {"mvtec-ad"}
    with pytest.raises(DatasetError, match=r"does not hold visa.*Found: mvtec-ad in"):
        find.datasets(drawn.parent, ("mvtec-ad", "visa"))
    with pytest.raises(DatasetError, match="no folder"):
        find.datasets(drawn / "nowhere", ("visa",))


def test_a_plan_reads_no_picture_and_loads_no_model(
    named: Named, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blemish.datasets.model.read_image", None)
    monkeypatch.setattr("blemish.build.load", None)
    assert of_protocol(load("002/table2"), named("mvtec-ad", "visa")).cells
