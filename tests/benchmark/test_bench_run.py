"""Protocols and free combinations end to end on the miniature; kills, damage and other folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from blemish import build, registry
from blemish.benchmark import figures, folder, protocol, table
from blemish.benchmark.folder import Means
from blemish.benchmark.plan import Plan, free, of_protocol
from blemish.benchmark.run import run
from blemish.datasets.find import open_dataset
from blemish.datasets.model import Dataset
from blemish.errors import OptionError, OutputError, ReferencesError, SavedError
from blemish.metrics.ranking import auroc
from blemish.runs import pictures
from blemish.types import Encoder, Features, Image

Named = Callable[..., Mapping[str, Dataset]]


def quick(dataset: Dataset, categories: Sequence[str] = ("bottle",), **options: Any) -> Plan:
    """One shot, one seed, one category of a detector over the tiny encoder."""
    return free("patch-memory", dataset, (1,), (0,), {"encoder": "tiny"} | options, categories)


def rows_of(cell: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (cell / "inspections.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", protocol.names())
def test_every_protocol_runs_or_says_why_not(
    name: str, named: Named, embedded: Means, tmp_path: Path
) -> None:
    document = protocol.load(name)
    built = {run_.detector for run_ in document.runs}
    # Regions and windows take their time.
    few = ("hazelnut",) if built & {"gpt4v-ad", "winclip", "alfa"} else ()
    sets = named(*(document.data or ("mvtec-ad",)))
    plan = of_protocol(document, sets, seeds=(0,), categories=few, language_model=True)
    if plan.asks:
        examples = any(run_.options.get("examples") for run_ in document.runs)
        plan = plan.limited(4 if "musc" in built else 3 if examples else 1)
    refused = dict(plan.unavailable)
    ours = [r for r in document.runs if r.detector]
    assert {r.method for r in ours} == {*refused} | {c.method for c in plan.cells}
    for method, why in refused.items():
        run_ = next(r for r in ours if r.method == method)
        known = registry.detectors().get(str(run_.detector))
        assert (f"no detector '{run_.detector}'" in why) == (known is None)
        # What needs good parts and an encoder that is here, and nothing else, has to run.
        assert not known or known.needs != "references" or "encoder" in run_.options
    records = run(plan, tmp_path / "out", embedded)
    assert len(records) == len(plan.cells)
    for record in records:
        wanted = set(document.metrics) - {*record["figures"], *record["undefined"]}
        assert not wanted, record["cell"]
        assert all(0 <= v <= 1 or name == "latency" for name, v in record["figures"].items())
        assert bool(record["curve"]) == document.curve
    written = table.collect(records, document)
    assert written.rows or not (records or document.published)


class Noting:
    """An encoder that notes how often it was given each picture."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.given = encoder, []  # type: ignore[var-annotated]
        self.name, self.fingerprint = encoder.name, encoder.fingerprint
        self.default_layers, self.default_size = encoder.default_layers, encoder.default_size

    def encode(
        self, images: Sequence[Image], *, layers: Sequence[int], size: int
    ) -> list[Features]:
        self.given += [image.tobytes() for image in images]
        return self.encoder.encode(images, layers=layers, size=size)


def test_five_seeds_encode_a_test_picture_once(
    miniature: Dataset, tiny: Encoder, tmp_path: Path
) -> None:
    noting = Noting(tiny)
    plan = free("patch-memory", miniature, (1, 2), range(5), {"encoder": "tiny"}, ("bottle",))
    records = run(plan, tmp_path / "out", Means(encoders={"tiny": noting}))
    tested = [item.image().tobytes() for item in plan.items(plan.cells[0])]
    assert [noting.given.count(picture) for picture in tested] == [1] * 9
    assert len(records) == 10
    assert "latency" not in records[0]["figures"]


def test_one_seed_has_a_latency_and_says_where_it_is_from(
    miniature: Dataset, means: Means, tmp_path: Path
) -> None:
    (record,) = run(quick(miniature), tmp_path, means, command="typed")
    seconds = [
        sum(v for k, v in row["usage"]["seconds"].items() if k != "write")
        for row in rows_of(tmp_path / "cells/mvtec-ad/bottle/patch-memory/1-shot-seed0")
    ]
    assert record["figures"]["latency"] == pytest.approx(np.median(seconds))
    about = record["provenance"]
    (reference,) = miniature.references("bottle", 1, 0)
    assert about["references"] == [reference.id]
    assert (about["command"], about["version"]) == ("typed", "0.1.0")
    truth = (tmp_path / "cells/mvtec-ad/bottle/patch-memory/1-shot-seed0/truth.jsonl").read_text()
    first = json.loads(truth.splitlines()[0])
    item = miniature.select("bottle", "test")[0]
    assert (first["id"], first["label"], first["kind"]) == (item.id, item.label, item.kind)
    assert first["masks"] == [str(mask) for mask in item.masks]


def test_a_detector_of_a_folder_learns_from_the_test_pictures(
    miniature: Dataset, means: Means, tmp_path: Path
) -> None:
    plan = free("musc", miniature, None, (0,), {"encoder": "tiny"}, ("bottle",))
    (record,) = run(plan, tmp_path, means)
    assert sorted(record["provenance"]["references"]) == sorted(
        item.id for item in miniature.select("bottle", "test")
    )


def test_one_model_for_all_classes_learns_from_all(
    named: Named, means: Means, tmp_path: Path
) -> None:
    document = protocol.load("002/table1")
    plan = of_protocol(document, named("mvtec-ad"), categories=("bottle",))
    records = run(plan, tmp_path, means)
    ids = records[0]["provenance"]["references"]
    assert {name.split("/")[0] for name in ids} == {"bottle", "hazelnut", "leather"}
    assert len(ids) == 12


def test_rules_for_verdicts_share_one_inspection(
    named: Named, tiny: Encoder, tmp_path: Path
) -> None:
    noting = Noting(tiny)
    means = Means(encoders={"dinov2-small": noting, "efficientnet-lite0": noting})
    plan = of_protocol(protocol.load("003/figure7"), named("mvtec-ad"))
    plan = replace(plan, metrics=("latency", *plan.metrics))  # features are not remembered then
    unified, best = run(plan, tmp_path, means)[:2]
    tested = [item.image().tobytes() for item in plan.items(plan.cells[0])]
    assert [noting.given.count(picture) for picture in tested] == [1] * 9
    assert unified["threshold"] != best["threshold"] or unified["figures"] == best["figures"]
    assert unified["figures"]["accuracy"] <= best["figures"]["accuracy"]
    assert unified["figures"]["image_auroc"] == best["figures"]["image_auroc"]
    assert max(right for _, right in best["curve"]) == best["figures"]["accuracy"]
    again = run(plan, tmp_path, means)
    assert again[:2] == [unified, best]


@pytest.mark.parametrize("after", [1, 8, 9, 12])
def test_a_kill_loses_and_repeats_no_picture(
    after: int, miniature: Dataset, means: Means, tmp_path: Path
) -> None:
    plan = quick(miniature, ("bottle", "leather"))

    def kill(done: int, total: int) -> None:
        assert total == 18
        if done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plan, tmp_path, means, on_progress=kill)
    cells = [folder.cell_folder(tmp_path, cell) for cell in plan.cells]
    before = [rows_of(cell) for cell in cells if cell.exists()]
    kept = sum(map(len, before))
    assert kept >= min(after, 8)
    records = run(plan, tmp_path, means)
    for cell, rows in zip(cells, before, strict=False):
        assert rows_of(cell)[: len(rows)] == rows
    for cell, planned in zip(cells, plan.cells, strict=True):
        ids = [row["id"] for row in rows_of(cell)]
        assert sorted(ids) == sorted(item.id for item in plan.items(planned))
    unbroken = run(plan, tmp_path / "whole", means)
    for ours, theirs in zip(records, unbroken, strict=True):
        figures = {k: v for k, v in ours["figures"].items() if k != "latency"}
        assert figures == {k: v for k, v in theirs["figures"].items() if k != "latency"}


def test_a_kill_before_the_figures_repeats_no_inspection(
    miniature: Dataset, means: Means, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = quick(miniature)

    def killed(*_: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(figures, "of_cell", killed)
        with pytest.raises(KeyboardInterrupt):
            run(plan, tmp_path, means)
    cell = folder.cell_folder(tmp_path, plan.cells[0])
    before = rows_of(cell)
    assert not (cell / "figures.json").exists()
    run(plan, tmp_path, means)
    assert rows_of(cell) == before


def test_what_is_done_is_not_even_loaded(
    miniature: Dataset, means: Means, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = quick(miniature)
    first = run(plan, tmp_path, means)
    monkeypatch.setattr(build, "load", None)
    assert run(plan, tmp_path, means) == first


def test_a_truth_that_changed_is_looked_at_again(
    copied: Path, means: Means, tmp_path: Path
) -> None:
    plan = quick(open_dataset(copied))
    (first,) = run(plan, tmp_path / "out", means)
    item = next(item for item in plan.items(plan.cells[0]) if item.masks)
    PIL.Image.fromarray(np.full((64, 72), 255, np.uint8)).save(item.masks[0])
    (second,) = run(plan, tmp_path / "out", means)
    assert first["figures"]["pixel_auroc"] != second["figures"]["pixel_auroc"]
    assert first["figures"]["image_auroc"] == second["figures"]["image_auroc"]


def test_more_seeds_go_on_from_fewer(miniature: Dataset, means: Means, tmp_path: Path) -> None:
    few = free("patch-memory", miniature, (1,), (0, 1), {"encoder": "tiny"}, ("bottle",))
    more = free("patch-memory", miniature, (1,), (0, 1, 2), {"encoder": "tiny"}, ("bottle",))
    first = run(few, tmp_path, means)
    assert run(more, tmp_path, means)[:2] == first
    assert run(few, tmp_path, means) == first
    assert len(json.loads((tmp_path / "bench.json").read_text())["cells"]) == 3


def test_a_corrupt_picture_in_the_middle_is_named_and_not_scored(
    copied: Path, means: Means, tmp_path: Path
) -> None:
    plan = quick(open_dataset(copied))
    broken = plan.items(plan.cells[0])[4]
    broken.path.write_bytes(broken.path.read_bytes()[:500])
    (record,) = run(plan, tmp_path / "out", means)
    assert [note["id"] for note in record["failed"]] == [broken.id]
    assert broken.path.name in record["failed"][0]["message"]
    assert record["counts"]["failed"] == 1
    assert record["counts"]["normal"] + record["counts"]["anomalous"] == 8
    rows = rows_of(folder.cell_folder(tmp_path / "out", plan.cells[0]))
    labels = {item.id: item.label == "anomalous" for item in plan.items(plan.cells[0])}
    scored = [(labels[row["id"]], row["raw_score"]) for row in rows if "error" not in row]
    assert record["figures"]["image_auroc"] == auroc(*zip(*scored, strict=True))


def test_a_map_with_nan_is_named_and_its_picture_not_scored(
    miniature: Dataset, means: Means, tmp_path: Path
) -> None:
    plan = quick(miniature)
    run(plan, tmp_path, means)
    cell = folder.cell_folder(tmp_path, plan.cells[0])
    row = rows_of(cell)[3]
    (raw,) = pictures.read_maps(cell / row["map"])
    raw[5, 6] = np.nan
    pictures.write_maps(cell / row["map"], [raw])
    (cell / "figures.json").unlink()
    (record,) = run(plan, tmp_path, means)
    assert [note["id"] for note in record["failed"]] == [row["id"]]
    assert "1 of 4608 pixels" in record["failed"][0]["message"]
    assert record["counts"]["pixels"] == 8 * 64 * 72


def test_a_mask_of_another_size_leaves_pixel_figures_only(
    copied: Path, means: Means, tmp_path: Path
) -> None:
    plan = quick(open_dataset(copied))
    item = next(item for item in plan.items(plan.cells[0]) if item.masks)
    PIL.Image.fromarray(np.full((64, 70), 255, np.uint8)).save(item.masks[0])
    (record,) = run(plan, tmp_path / "out", means)
    assert [note["id"] for note in record["unmasked"]] == [item.id]
    assert "70 x 64" in record["unmasked"][0]["message"]
    counts = record["counts"]
    assert (counts["without_mask"], counts["failed"], counts["anomalous"]) == (1, 0, 5)
    assert counts["pixels"] == 8 * 64 * 72


def test_one_class_only_is_undefined_in_words(copied: Path, means: Means, tmp_path: Path) -> None:
    shutil.rmtree(copied / "bottle/test/good")
    records = run(quick(open_dataset(copied), ("bottle", "leather")), tmp_path / "out", means)
    alone, whole = records
    for name in ("image_auroc", "image_ap"):
        assert "anomalous" in alone["undefined"][name]
        assert name in whole["figures"]
    assert "normal" in alone["undefined"]["overkill"]
    assert alone["figures"]["recall"] == alone["figures"]["accuracy"]
    rows = [r for r in table.collect(records, None).averaged if r.metric == "image_auroc"]
    mean = next(r for r in rows if r.level == "mean")
    assert (mean.counted, mean.ours) == (1, 100 * whole["figures"]["image_auroc"])


def test_a_broken_reference_is_an_error(copied: Path, means: Means, tmp_path: Path) -> None:
    plan = quick(open_dataset(copied))
    (reference,) = plan.references(plan.cells[0])
    reference.path.write_bytes(b"no picture")
    with pytest.raises(ReferencesError, match="take it out"):
        run(plan, tmp_path / "out", means)


def test_a_folder_of_another_benchmark_is_refused(
    miniature: Dataset, named: Named, means: Means, tmp_path: Path
) -> None:
    run(quick(miniature), tmp_path / "out", means)
    other = of_protocol(protocol.load("002/table1"), named("mvtec-ad"))
    with pytest.raises(OutputError, match="protocol"):
        run(other, tmp_path / "out", means)
    with pytest.raises(OutputError, match="dtype"):
        run(quick(miniature), tmp_path / "out", replace(means, dtype="int8"))
    with pytest.raises(OutputError, match="other options"):
        run(quick(miniature, sigma=3.0), tmp_path / "out", means)
    with pytest.raises(OutputError, match="data"):
        run(quick(replace(miniature, root=tmp_path)), tmp_path / "out", means)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep me")
    with pytest.raises(OutputError, match="not empty"):
        run(quick(miniature), tmp_path / "mine", means)


def test_a_folder_of_another_version_is_refused(
    miniature: Dataset, means: Means, tmp_path: Path
) -> None:
    run(quick(miniature), tmp_path, means)
    record = json.loads((tmp_path / "bench.json").read_text())
    (tmp_path / "bench.json").write_text(json.dumps(record | {"version": "0.0.1"}))
    with pytest.raises(SavedError, match=r"0\.0\.1.*Choose another folder"):
        run(quick(miniature), tmp_path, means)
    (tmp_path / "bench.json").write_text("{")
    with pytest.raises(SavedError, match="cannot be read"):
        run(quick(miniature), tmp_path, means)


def test_each_choice_changes_the_run(miniature: Dataset, means: Means, tmp_path: Path) -> None:
    plan = free("patch-memory", miniature, (2,), (0,), {"encoder": "tiny"}, ("bottle",))
    (cell,) = plan.cells
    choices: list[dict[str, Any]] = [
        {},
        {"shots": 1},
        {"shots": None},
        {"seed": 1},
        {"unified": True},
        {"perturb": ("light",)},
        {"perturb": ("occlusion",)},
        {"options": {"encoder": "tiny", "augment": "none"}},
        {"options": {"encoder": "tiny", "top": 0.1}},
    ]
    prints, scores = set(), set()
    for number, choice in enumerate(choices):
        changed = replace(plan, cells=(replace(cell, **choice),))
        (record,) = run(changed, tmp_path / str(number), means)
        prints.add(record["provenance"]["fingerprint"])
        rows = rows_of(folder.cell_folder(tmp_path / str(number), changed.cells[0]))
        scores.add(tuple(row["raw_score"] for row in rows))
    assert len(prints) == len(scores) == len(choices)
    rules = [replace(cell, threshold=rule) for rule in ("own", "best", "max-of-normals")]
    records = [
        run(replace(plan, cells=(one,)), tmp_path / one.threshold, means)[0] for one in rules
    ]
    assert len({record["provenance"]["fingerprint"] for record in records}) == 3
    assert "threshold" not in records[0]
    assert records[1]["threshold"] != records[2]["threshold"]


def test_options_that_protocols_name_change_the_run(
    named: Named, means: Means, tmp_path: Path
) -> None:
    for name in protocol.names():
        document = protocol.load(name)
        plan = of_protocol(document, named(*document.data), encoders=means.encoders)
        others = [r for r in document.runs if r.detector != "alfa"]  # see test_clip_protocols
        for run_, option in [(r, o) for r in others for o in r.options if o != "encoder"]:
            cells = [cell for cell in plan.cells if cell.method == run_.method][:1]
            for cell in cells:
                left = {k: v for k, v in cell.options.items() if k != option}
                prints = [
                    build.load(
                        cell.detector, **{**options, "encoder": means.encoders["tiny"]}
                    ).fingerprint
                    for options in (cell.options, left)
                ]
                assert prints[0] != prints[1], f"{name}: {option} changes nothing"


def test_a_misspelt_option_is_an_error(miniature: Dataset, means: Means, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="sigma"):
        run(quick(miniature, sigmaa=1), tmp_path, means)


def test_highest_normal_of_one_reference_is_undefined_in_words(
    miniature: Dataset, means: Means, tmp_path: Path
) -> None:
    plan = quick(miniature)
    plan = replace(plan, cells=tuple(replace(c, threshold="max-of-normals") for c in plan.cells))
    (record,) = run(plan, tmp_path, means)
    assert "2 shots or more" in record["undefined"]["accuracy"]
    assert "accuracy" not in record["figures"]


def test_highest_normal_is_that_of_references_left_out_in_turn(
    miniature: Dataset, means: Means, tmp_path: Path, tiny: Encoder
) -> None:
    plan = free("patch-memory", miniature, (3,), (0,), {"encoder": "tiny"}, ("bottle",))
    plan = replace(plan, cells=tuple(replace(c, threshold="max-of-normals") for c in plan.cells))
    (record,) = run(plan, tmp_path, means)
    parts = [item.sample("bottle") for item in miniature.references("bottle", 3, 0)]
    detector = build.load("patch-memory", encoder=tiny, device="cpu")
    expected = max(
        detector.fit([p for p in parts if p is not one]).predict([one])[0].raw_score or 0.0
        for one in parts
    )
    assert record["threshold"] == pytest.approx(expected, rel=1e-5)


def test_batches_of_progress_add_up(miniature: Dataset, means: Means, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    run(
        quick(miniature, ("bottle", "leather")),
        tmp_path,
        means,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[0] == (0, 18)
    assert seen[-1] == (18, 18)
    assert seen == sorted(seen)
