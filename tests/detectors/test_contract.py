"""What every registered detector promises, whichever it is: a new one is tested by itself."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import BaseModel

import blemish
from blemish import build, registry
from blemish.calibration import Calibration
from blemish.errors import OptionError
from blemish.images import resize
from blemish.llms.scripted import Scripted
from blemish.synthesis.procedural import make_part
from blemish.types import Detector, Encoder, Message, Sample

Facts = Callable[[Any], tuple[Any, ...]]
Load = Callable[..., Detector]
GIVEN = {"references": 4, "folder": 10, "nothing": 0, "language model": 0}
"""How many good parts a detector is fitted on, by what it needs."""
QUICK: dict[str, dict[str, Any]] = {"gpt4v-ad": {"regions": "grid", "cells": 4}}
"""Options that promise the same in less time; superpixels have tests of their own."""


@pytest.fixture(scope="module", params=sorted(registry.detectors()))
def entry(request: pytest.FixtureRequest) -> registry.DetectorEntry:
    return registry.detector(request.param)


@pytest.fixture(scope="module")
def load(
    entry: registry.DetectorEntry,
    captions: Encoder,
    stand_ins: ModuleType,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Load]:
    """`blemish.load` of this detector, or of a folder, on the stand-in encoder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "encoder", lambda name, **settings: captions)
        kept = SimpleNamespace(cache=tmp_path_factory.mktemp("cache"))
        patch.setattr("blemish.detectors._anomaly_prompts.settings", lambda: kept)
        asked: dict[str, Any] = {}
        quick = QUICK.get(entry.name, {})
        if entry.embeds:
            asked["language_model"] = stand_ins.Reader()
            folder = tmp_path_factory.mktemp("adapter")
            quick = {"adapter": str(stand_ins.reading_adapter(folder, captions.name, entry.name))}
        elif "language_model" in entry.parts:
            asked["language_model"] = Scripted(seeing)

        def build_or_open(name: str | Path = entry.name, **options: Any) -> Detector:
            own = quick if name == entry.name else {}
            return blemish.load(name, device="cpu", **{**asked, **own, **options})

        yield build_or_open


def seeing(messages: Sequence[Message]) -> str:
    """Stands in for a language model: a part is as odd as one place is beside row and column."""
    if not messages[0].images:
        return "\n".join(f"- An image of a plate that is number {i}" for i in range(3))
    cells = resize(messages[0].images[-1], 8, 8).mean(2)
    flat = np.median(cells, axis=0) + np.median(cells, axis=1)[:, None] - np.median(cells)
    odd = min(1.0, -float((cells - flat).min()) / 128)
    if "numerical identifier" in messages[0].text:
        return f"region 1: {odd:.3f}."
    said = "Yes, there is a stain at the top" if odd >= 0.2 else "No, there are no defects"
    return f"{said}. Anomaly score: {odd:.3f}"


@pytest.fixture(scope="module")
def normals(entry: registry.DetectorEntry, good: list[Sample]) -> list[Sample]:
    return good[: 4 if entry.few_shot else GIVEN[entry.needs]]


@pytest.fixture(scope="module")
def fitted(load: Load, normals: list[Sample]) -> Detector:
    return load().fit(normals)


@pytest.fixture(scope="module")
def samples(good: list[Sample], broken: Sample) -> list[Sample]:
    """A stained part, good ones known and unknown, one of another size, one of two views."""
    wide = make_part("brushed", 77, size=(90, 160)).sample
    pair = Sample([good[13].image, wide.image], class_name=wide.class_name, id="two views")
    return [broken, good[0], good[12], wide, pair]


def test_the_record_is_sensible(entry: registry.DetectorEntry) -> None:
    target = registry.resolve(entry.target)
    assert entry.name == target.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.name)
    assert 20 <= len(entry.summary) <= 80
    assert "\n" not in entry.summary
    assert entry.needs in get_args(registry.Needs)
    assert entry.needs in GIVEN
    assert entry.licence
    if "encoder" in entry.parts:
        assert registry.encoder(entry.parts["encoder"]).name == entry.parts["encoder"]


def test_every_option_has_a_line_in_the_docstring(entry: registry.DetectorEntry) -> None:
    model = registry.resolve(entry.options)
    documents = [c.__doc__ for c in reversed(model.__mro__) if issubclass(c, BaseModel)][1:]
    described = re.findall(r"^ {8}(\w+): \S", "\n".join(documents), re.MULTILINE)
    assert described == list(model.model_fields)
    assert model.model_config["extra"] == "forbid"
    assert model.model_config["frozen"]
    assert not set(model.model_fields) & set(entry.parts)


def test_a_misspelt_option_names_the_nearest(entry: registry.DetectorEntry, load: Load) -> None:
    for option in (*registry.resolve(entry.options).model_fields, *entry.parts):
        with pytest.raises(OptionError) as caught:
            load(**{f"{option}x": 1})
        assert f"{entry.name} has no option '{option}x'. Did you mean '{option}'?" in str(
            caught.value
        )


def test_it_is_a_detector(load: Load, entry: registry.DetectorEntry) -> None:
    detector = load()
    assert isinstance(detector, Detector)
    assert detector.name == entry.name


def test_fit_gives_a_new_detector_and_leaves_the_old_one(
    load: Load, entry: registry.DetectorEntry, normals: list[Sample]
) -> None:
    blank = load()
    before = blank.fingerprint, blank.calibration
    fitted = blank.fit(normals)
    assert (blank.fingerprint, blank.calibration) == before
    assert type(fitted) is type(blank)
    if entry.needs in ("references", "folder"):
        assert fitted is not blank
        assert fitted.fingerprint != blank.fingerprint
        assert isinstance(fitted.calibration, Calibration)
        with pytest.raises(blemish.errors.ReferencesError):
            blank.predict(normals[:1])
        again = fitted.fit(normals)  # a fitted one starts anew and adds nothing to what it knew
        assert again.fingerprint == fitted.fingerprint


def test_fitting_leaves_the_pictures_alone(load: Load, normals: list[Sample]) -> None:
    before = [s.image.tobytes() for s in normals]
    load().fit(normals)
    assert [s.image.tobytes() for s in normals] == before


def test_one_whole_inspection_a_sample_in_order(fitted: Detector, samples: list[Sample]) -> None:
    found = fitted.predict(samples)
    assert [f.id for f in found] == [s.id for s in samples]
    for inspection, sample in zip(found, samples, strict=True):
        assert inspection.raw_score is not None
        assert math.isfinite(inspection.raw_score)
        assert inspection.explanation
        json.dumps(dict(inspection.evidence), allow_nan=False)
        assert all(seconds >= 0 for seconds in inspection.usage.seconds.values())
        if inspection.maps:
            assert [m.shape for m in inspection.maps] == [v.shape[:2] for v in sample.images]
        for anomaly_map in inspection.maps:
            assert anomaly_map.dtype == np.float32
            assert np.isfinite(anomaly_map).all()
        if inspection.verdict == "normal":
            assert inspection.regions == ()
        for number, region in enumerate(inspection.regions, 1):
            height, width = sample.images[region.view].shape[:2]
            assert region.label == number
            assert region.box[2] <= width
            assert region.box[3] <= height
            assert region.mask.any()
        scores = [r.score for r in inspection.regions]
        assert scores == sorted(scores, reverse=True)


def test_no_sample_is_no_inspection(fitted: Detector) -> None:
    assert fitted.predict([]) == []


def test_score_and_verdict_follow_from_the_calibration(
    fitted: Detector, samples: list[Sample]
) -> None:
    for found in fitted.predict(samples):
        if found.decided_by == "calibration":
            assert found.raw_score is not None
            assert found.score == fitted.calibration.score(found.raw_score)
            assert (found.verdict, found.reason) == fitted.calibration.verdict(found.raw_score)


def test_the_stained_part_scores_above_the_good_ones(
    fitted: Detector, broken: Sample, good: list[Sample]
) -> None:
    stained, *others = (f.raw_score or 0 for f in fitted.predict([broken, *good[10:]]))
    assert stained > max(others)


def test_predict_changes_nothing(fitted: Detector, samples: list[Sample], facts: Facts) -> None:
    before = fitted.fingerprint, fitted.calibration
    first, second = ([facts(f) for f in fitted.predict(samples)] for _ in range(2))
    assert first == second
    assert (fitted.fingerprint, fitted.calibration) == before


def test_a_batch_gives_what_each_sample_gives_alone(
    fitted: Detector, samples: list[Sample], facts: Facts
) -> None:
    alone = [facts(fitted.predict([s])[0]) for s in samples]
    assert [facts(f) for f in fitted.predict(samples)] == alone
    assert [facts(f) for f in fitted.predict(samples[::-1])] == alone[::-1]


@pytest.mark.parametrize("seed", [0, 7])
def test_the_seed_settles_everything(
    seed: int, load: Load, normals: list[Sample], samples: list[Sample], facts: Facts
) -> None:
    first, second = (load(seed=seed).fit(normals) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    assert first.calibration == second.calibration
    found = [[facts(f) for f in d.predict(samples)] for d in (first, second)]
    assert found[0] == found[1]


def test_another_calibration_moves_verdicts_and_no_raw_score(
    fitted: Detector, samples: list[Sample]
) -> None:
    if fitted.calibration is None:
        pytest.skip("this detector decides without a calibration")
    before = fitted.predict(samples)
    kept = fitted.calibration
    for shift, verdict in ((9.0, "normal"), (-9.0, "anomalous")):
        moved = fitted.with_calibration(replace(kept, location=kept.location + shift, scale=0.1))
        found = moved.predict(samples[:1])[0]
        assert found.verdict == verdict
        assert found.raw_score == before[0].raw_score
        np.testing.assert_array_equal(found.maps, before[0].maps)
    assert fitted.calibration == kept


def test_a_saved_detector_comes_back_and_gives_the_same(
    load: Load, fitted: Detector, samples: list[Sample], facts: Facts, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "new" / "folder")
    for folder in (tmp_path / "new" / "folder", str(tmp_path / "new" / "folder")):
        back = load(folder)
        assert type(back) is type(fitted)
        assert back.fingerprint == fitted.fingerprint
        assert back.calibration == fitted.calibration
        assert [facts(f) for f in back.predict(samples)] == [
            facts(f) for f in fitted.predict(samples)
        ]


def test_saving_twice_gives_the_same_bytes(fitted: Detector, tmp_path: Path) -> None:
    for name in ("a", "b"):
        fitted.save(tmp_path / name)
    first, second = (
        {f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("a", "b")
    )
    assert first == second
