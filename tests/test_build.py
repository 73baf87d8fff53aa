"""`load`: names, parts, devices and options become a detector, or an error that says what to do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blemish import build, load
from blemish.detectors.musc import MuSc
from blemish.detectors.patch_memory import PatchMemory
from blemish.errors import OptionError, SavedError
from blemish.types import Features, Image, Sample


class Corners:
    """Stands in for an encoder: four patches, the mean colours of an image's quarters."""

    default_layers, default_size = (1,), 28

    def __init__(self, name: str = "corners", fingerprint: str = "corners:1") -> None:
        self.name, self.fingerprint = name, fingerprint

    def encode(
        self, images: Sequence[Image], *, layers: Sequence[int], size: int
    ) -> list[Features]:
        found = []
        for image in images:
            h, w = image.shape[0] // 2, image.shape[1] // 2
            quarters = image[: 2 * h, : 2 * w].reshape(2, h, 2, w, 3).mean((1, 3)) + 1
            patches = np.asarray(quarters, np.float32)
            found.append(Features(patches.mean((0, 1)), {1: patches}))
        return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What encoders were asked for; each is a `Corners` under the name asked for."""
    calls: list[dict[str, Any]] = []

    def encoder(name: str, **settings: Any) -> Corners:
        calls.append({"name": name, **settings})
        return Corners(name)

    monkeypatch.setattr(build, "encoder", encoder)
    return calls


@pytest.fixture
def saved(asked: list[dict[str, Any]], tmp_path: Path) -> Path:
    """A saved `patch-memory` of three made-up pictures."""
    random = np.random.default_rng(0)
    normals = [Sample(random.integers(0, 256, (8, 8, 3), np.uint8)) for _ in range(3)]
    load("patch-memory", seed=5, sigma=2.0, device="cpu").fit(normals).save(tmp_path / "line")
    asked.clear()
    return tmp_path / "line"


def test_a_name_becomes_a_detector_with_its_default_parts(asked: list[dict[str, Any]]) -> None:
    detector = load("patch-memory", device="cpu")
    assert isinstance(detector, PatchMemory)
    assert detector.seed == 0
    assert asked == [{"name": "dinov2-small", "device": "cpu", "dtype": "float32"}]


def test_parts_options_seed_and_batch_size_reach_what_they_are_for(
    asked: list[dict[str, Any]],
) -> None:
    detector = load(
        "musc",
        device="cpu",
        dtype="int8",
        batch_size=3,
        seed=7,
        encoder="efficientnet-lite0",
        neighbourhoods=(1,),
        size=224,
    )
    assert isinstance(detector, MuSc)
    assert detector.seed == 7
    assert (detector.options.neighbourhoods, detector.options.size) == ((1,), 224)
    assert asked == [
        {"name": "efficientnet-lite0", "device": "cpu", "dtype": "int8", "batch_size": 3}
    ]


def test_an_underscore_will_do_for_a_hyphen(asked: list[dict[str, Any]]) -> None:
    assert load("patch_memory", device="cpu").name == "patch-memory"


@pytest.mark.parametrize("name", ["patch-memry", "Patch-Memory2", "patchmemory"])
def test_an_unknown_detector_is_met_with_the_nearest(name: str) -> None:
    with pytest.raises(
        OptionError, match=rf"no detector called '{name}'\. Did you mean 'patch-mem"
    ):
        load(name)


def test_an_unknown_detector_far_from_any_is_met_with_the_list() -> None:
    with pytest.raises(
        OptionError, match=r"no detector called 'xyzzy'\. Known: alfa, anomalygpt, anovl, "
    ):
        load("xyzzy")


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("sgima", "sigma"),
        ("false_alarm", "false_alarms"),
        ("false-alarms", "false_alarms"),
        ("core_set", "coreset"),
        ("encodr", "encoder"),
    ],
)
def test_a_misspelt_option_is_met_with_the_nearest(option: str, meant: str) -> None:
    options: dict[str, Any] = {option: 1}
    with pytest.raises(OptionError) as caught:
        load("patch-memory", **options)
    message = str(caught.value)
    assert message.startswith(f"patch-memory has no option '{option}'. Did you mean '{meant}'?")
    assert "sigma" in message
    assert "encoder" in message


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("patch-memory", "pooling", 2),
        ("patch-memory", "augment", "spin"),
        ("patch-memory", "sigma", -1),
        ("patch-memory", "top", "high"),
        ("patch-memory", "top", -1),
        ("patch-memory", "false_alarms", 0.9),
        ("patch-memory", "size", 13),
        ("patch-memory", "coreset", 1.5),
        ("patch-memory", "layers", "seven"),
        ("patch-memory", "sigma", float("nan")),
        ("musc", "others", 6),
        ("musc", "neighbourhoods", 3),
        ("musc", "neighbourhoods", ()),
        ("musc", "neighbourhoods", (2,)),
        ("musc", "neighbourhoods", (-1,)),
    ],
)
def test_a_wrong_value_is_named_with_its_option(name: str, option: str, value: object) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(OptionError, match=f"{option}.*of {name}: "):
        load(name, **options)


def test_an_unknown_encoder_is_met_with_the_nearest() -> None:
    with pytest.raises(
        OptionError, match=r"no encoder called 'dinov2-smal'\. Did you mean 'dinov2-sm"
    ):
        load("patch-memory", device="cpu", encoder="dinov2-smal")


@pytest.mark.parametrize("device", ["tpu9", "", "cuda:977"])
def test_an_unknown_device_is_an_error_that_says_what_to_use(device: str) -> None:
    with pytest.raises(OptionError, match=rf"Device '{device}' cannot be used .*'auto' or 'cpu'"):
        load("patch-memory", device=device)


@pytest.mark.parametrize(
    ("encoder", "dtype", "offered"),
    [
        ("dinov2-small", "float16", "float32, int8"),
        ("dinov2-small", "double", "float32, int8"),
        ("efficientnet-lite0", "int8", "float32"),
    ],
)
def test_a_dtype_that_is_not_offered_is_met_with_those_that_are(
    encoder: str, dtype: str, offered: str
) -> None:
    with pytest.raises(OptionError, match=rf"{encoder} has no dtype '{dtype}' on cpu.*{offered}\."):
        load("patch-memory", device="cpu", dtype=dtype, encoder=encoder)


@pytest.mark.parametrize("size", [0, -4])
def test_a_batch_holds_at_least_one(size: int) -> None:
    with pytest.raises(OptionError, match=rf"batch_size is {size}; expected at least 1"):
        load("patch-memory", device="cpu", batch_size=size)


@pytest.mark.parametrize(
    ("driver", "cuda", "device", "dtype"),
    [
        (False, True, "cpu", "float32"),
        (True, False, "cpu", "float32"),
        (True, True, "cuda", "float16"),
    ],
)
def test_auto_takes_the_gpu_that_torch_can_use_or_else_the_cpu(
    driver: bool,
    cuda: bool,
    device: str,
    dtype: str,
    asked: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ctypes.util.find_library", lambda name: "libcuda.so" if driver else None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    load("patch-memory")
    assert [(a["device"], a["dtype"]) for a in asked] == [(device, dtype)]


def test_auto_imports_no_torch_where_there_is_no_driver(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.setitem(sys.modules, "torch", None)  # makes its import fail
    load("patch-memory")
    assert asked[0]["device"] == "cpu"


def test_a_saved_detector_is_built_as_it_was(saved: Path, asked: list[dict[str, Any]]) -> None:
    for folder in (saved, str(saved)):
        back = load(folder, device="cpu", batch_size=2)
        assert isinstance(back, PatchMemory)
        assert (back.seed, back.options.sigma) == (5, 2.0)
    assert (
        asked
        == [{"name": "dinov2-small", "device": "cpu", "dtype": "float32", "batch_size": 2}] * 2
    )


def test_a_folder_in_the_way_does_not_hide_a_detector(
    asked: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "musc").mkdir()
    monkeypatch.chdir(tmp_path)
    assert isinstance(load("musc", device="cpu"), MuSc)
    with pytest.raises(SavedError, match="not a saved detector"):
        load(Path("musc"))


def test_the_name_of_a_folder_beside_it_is_enough(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(saved.parent)
    assert isinstance(load("line", device="cpu"), PatchMemory)


@pytest.mark.parametrize("name", ["no/such/folder", Path("nothing")])
def test_a_folder_that_is_not_there_is_not_a_saved_detector(name: str | Path) -> None:
    with pytest.raises(SavedError, match=r"is not a saved detector: detector\.json is missing"):
        load(name)


def test_a_saved_detector_takes_no_options(saved: Path) -> None:
    with pytest.raises(OptionError, match=r"own options; sigma cannot.*blemish calibrate"):
        load(saved, sigma=3, encoder="efficientnet-lite0")


def test_a_detector_saved_with_other_weights_is_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "encoder", lambda name, **settings: Corners(name, "corners:2"))
    with pytest.raises(
        SavedError, match=r"corners:1, this one is corners:2\. Load it with the same"
    ):
        load(saved, device="cpu")
