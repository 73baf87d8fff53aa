"""The public names: exactly these, each described, and cheap to import."""

from __future__ import annotations

import importlib.metadata
import inspect
import subprocess
import sys
from importlib.resources import files

import pytest

import blemish
import blemish.errors

PUBLIC = {
    "BlemishError",
    "Calibration",
    "Conversation",
    "Example",
    "Failure",
    "Inspection",
    "Region",
    "Sample",
    "Turn",
    "Usage",
    "__version__",
    "load",
    "read_image",
    "speaker",
}
HEAVY = {"torch", "cv2", "scipy", "transformers", "onnx", "onnxruntime", "matplotlib", "skimage"}


def test_the_public_names_are_exactly_these() -> None:
    assert set(blemish.__all__) == PUBLIC
    assert set(dir(blemish)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC - {"__version__"}))
def test_a_public_name_is_there_and_described(name: str) -> None:
    value = getattr(blemish, name)
    assert value.__name__ == name
    # A dataclass without a docstring gets its signature as one, which describes nothing.
    assert len((inspect.getdoc(value) or "").removeprefix(f"{name}(").split()) > 3


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        _ = blemish.lod


def test_every_error_descends_from_the_one_to_catch() -> None:
    known = vars(blemish.errors).values()
    errors = [e for e in known if inspect.isclass(e) and e.__module__ == "blemish.errors"]
    assert len(errors) > 5
    assert all(issubclass(error, blemish.BlemishError) for error in errors)
    # The tree drawn at the top of the file names them all.
    assert all(error.__name__ in (blemish.errors.__doc__ or "") for error in errors)


def test_the_version_is_the_one_that_is_installed() -> None:
    assert blemish.__version__ == importlib.metadata.version("blemish")


def test_the_package_is_typed() -> None:
    assert files("blemish").joinpath("py.typed").is_file()


def test_importing_and_reading_every_public_name_loads_nothing_heavy() -> None:
    code = (
        "import sys, blemish; [getattr(blemish, name) for name in blemish.__all__]; "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "blemish" in loaded
    assert loaded & HEAVY == set()
