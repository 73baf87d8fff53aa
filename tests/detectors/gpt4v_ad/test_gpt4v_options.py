"""Options of GPT-4V-AD, what it learns, its fingerprint, and that it can be saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from blemish.detectors.gpt4v_ad import GPT4VAD
from blemish.errors import OptionError
from blemish.llms.scripted import Scripted
from blemish.types import (
    Example,
    Mask,
    Message,
    Sample,
)

Build = Callable[..., GPT4VAD]
Asked = Callable[..., Message]


def test_fitting_asks_nothing_and_teaches_the_map_source(
    detector: Build, fixed: type[Any], part: Sample
) -> None:
    model = Scripted([])
    ready = detector(model, fixed(0.9))
    assert ready.fit([]) is ready
    fitted = ready.fit([part])
    assert model.asked == []
    assert isinstance(fitted.map_source, fixed)
    assert fitted.map_source.knows == [part.id]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"regions": "sam"}, "needs a segmenter"),
        ({"heat": "image"}, "needs the map of another detector"),
        ({"prompt": "documnt"}, "Did you mean 'document'"),
        ({"preprocessing": "contrst"}, "Did you mean 'contrast'"),
        ({"regions": "boxes", "prompt": "json"}, "does not ask for boxes"),
        ({"regions": "boxes", "repeats": 3}, "repeats=3 has nothing to act on"),
        ({"regions": "boxes", "scores": "log-probabilities"}, "nothing to act on"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    detector: Build, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(OptionError, match=words):
        detector(["none"], **options)


def test_whatever_changes_results_changes_the_fingerprint(
    detector: Build, fixed: type[Any]
) -> None:
    prints = [
        detector(["none"]).fingerprint,
        detector(["none"], cells=8).fingerprint,
        detector(["other"]).fingerprint,
        detector(["none"], fixed(0.9)).fingerprint,
        detector(["none"], threshold=0.4).fingerprint,
        detector(["none"], preprocessing="grey").fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    assert detector(["none"]).fingerprint == prints[0]


def test_a_calibration_is_refused(detector: Build) -> None:
    ready = detector(["none"])
    assert ready.with_calibration(None) is ready
    with pytest.raises(OptionError, match="threshold"):
        ready.with_calibration(object())


def test_what_is_saved_comes_back(
    detector: Build, asked: Asked, fixed: type[Any], part: Sample, tmp_path: Path
) -> None:
    mask: Mask = np.zeros((96, 160), bool)
    mask[-3:] = True
    feedback = [Example(Sample(255 - part.image, id="bad"), "anomalous", mask)]
    source = fixed(0.9)
    saved = detector(["none"], source, references=1, examples=1).fit([part], feedback)
    saved.save(tmp_path / "a")
    header = json.loads((tmp_path / "a" / "detector.json").read_text())
    assert header["parts"] == {"language_model": "scripted", "map_source": "map_source"}
    assert header["fingerprints"]["language_model"] == saved.language_model.fingerprint
    assert (tmp_path / "a" / "map_source" / "fixed").read_text() == "saved"
    arrays = load_file(tmp_path / "a" / "state.safetensors")
    blank = detector(["none"], source.fit([part]), **header["options"])
    back = blank.restore(header, arrays)
    assert back.fingerprint == saved.fingerprint
    back.predict([part])
    saved.predict([part])
    assert asked(back).text == asked(saved).text
    for first, second in zip(asked(back).images, asked(saved).images, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_zero_shot_detector_can_be_saved_too(detector: Build, tmp_path: Path) -> None:
    ready = detector(["none"])
    for name in "ab":
        ready.save(tmp_path / name)
    header = json.loads((tmp_path / "a" / "detector.json").read_text())
    assert header["calibration"] is None
    assert header["options"]["cells"] == 4
    files = [(tmp_path / n / "state.safetensors").read_bytes() for n in "ab"]
    assert files[0] == files[1]
