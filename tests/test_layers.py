"""Imports point down only: the table of ARCHITECTURE.md, held against every file of src."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
BASE = {
    *("types", "errors", "settings", "files", "images", "places", "rle", "classes"),
    *("registry", "weights", "calibration", "conversation"),
}
FREE_OF_EACH_OTHER = {
    *("encoders", "llms", "regions", "prompts", "modalities", "synthesis", "datasets"),
    *("metrics", "report"),
}
MAY_IMPORT = {
    **{room: BASE for room in BASE},
    **{room: BASE | {room} for room in FREE_OF_EACH_OTHER},
    "detectors": BASE | {"regions", "prompts", "detectors"},
    "build": BASE,
    "runs": BASE | {"build", "regions", "modalities", "report", "runs", "__init__"},
    "benchmark": BASE
    | {"datasets", "synthesis", "metrics", "modalities", "report", "build", "runs", "benchmark"}
    | {"__init__"},
    "training": BASE
    | {"datasets", "synthesis", "metrics", "modalities", "prompts", "report", "build", "runs"}
    | {"detectors", "training", "__init__"},
    "service": BASE
    | {"metrics", "modalities", "report", "synthesis", "build", "runs", "service", "__init__"},
    "cli": BASE
    | FREE_OF_EACH_OTHER
    | {"detectors", "build", "runs", "training", "benchmark", "service", "cli", "__init__"},
    "__init__": BASE | {"build"},
}
BY_NAME = FREE_OF_EACH_OTHER | {"detectors"}
"""What the registry may name as strings, and `build` resolves."""
OUTSIDE = sys.stdlib_module_names | {"numpy", "PIL", "pydantic", "pydantic_settings"}
"""What level 0 may import from other packages."""
OUTSIDE_LATE = {
    "weights": {"safetensors", "huggingface_hub", "onnx", "gguf", "torch"},
    "calibration": {"scipy"},
}
NAME = re.compile(r"blemish(\.\w+)+(:\w+)?")


def imports(node: ast.AST, module: str, how: str = "at once") -> Iterator[tuple[str, str]]:
    """Each name a file imports, and how: at once, late (in a function) or as a string."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from imports(ast.Module(child.orelse, []), module, how)
            continue
        if isinstance(child, ast.Import):
            yield from ((alias.name, how) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            package = ".".join(module.split(".")[: -child.level]) + "." if child.level else ""
            base = (package + (child.module or "")).rstrip(".")
            yield from ((f"{base}.{alias.name}", how) for alias in child.names)
        elif isinstance(child, ast.Constant) and NAME.fullmatch(str(child.value)):
            yield str(child.value).replace(":", "."), "string"
        nested = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from imports(child, module, "late" if nested else how)


def violations(source: str, module: str) -> list[str]:
    """The imports of a file that the table forbids."""
    room, *inner = module.split(".")[1:]
    if room not in MAY_IMPORT:
        return [f"{module}: room {room!r} is not in the table"]
    found = []
    for name, how in imports(ast.parse(source), module):
        top, *rest = name.split(".")
        if top != "blemish":
            late = OUTSIDE_LATE.get(room, set()) if how == "late" else set()
            wrong = room in BASE and top not in OUTSIDE | late
        else:
            target = rest[0] if rest and rest[0] in MAY_IMPORT else "__init__"
            by_name = BY_NAME if room in ("registry", "build") and how == "string" else set()
            wrong = target not in MAY_IMPORT[room] | by_name
            if room == target == "detectors" and rest[1:2] != inner[:1]:
                wrong = not rest[1:] or not rest[1].startswith("_")
        if wrong:
            found.append(f"{module} imports {name}")
    return found


def test_every_import_of_the_package_points_down() -> None:
    files = sorted((SRC / "blemish").rglob("*.py"))
    assert len(files) > 10
    found = []
    for file in files:
        module = ".".join(file.relative_to(SRC).with_suffix("").parts)
        found += violations(file.read_text(encoding="utf-8"), module)
    assert found == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("blemish.images", "import torch"),
        ("blemish.images", "from blemish.build import load"),
        ("blemish.weights", "import torch"),
        ("blemish.types", "from blemish import load"),
        ("blemish.encoders.dinov2", "def f():\n    from blemish.report import html"),
        ("blemish.encoders.dinov2", "from ..regions import from_map"),
        ("blemish.detectors.musc", "from blemish.detectors.patch_memory import PatchMemory"),
        ("blemish.detectors.musc", "from . import patch_memory"),
        ("blemish.runs.folder", "parser = 'blemish.encoders.dinov2:load'"),
        ("blemish.runs.folder", "import blemish.cli"),
        ("blemish.registry", "TARGET = 'blemish.runs.folder:run'"),
        ("blemish.build", "def f():\n    from blemish.detectors.musc import MuSc"),
        ("blemish.images", "if TYPE_CHECKING:\n    pass\nelse:\n    import torch"),
        ("blemish.novelty", ""),
    ],
)
def test_the_reader_of_imports_sees_each_kind_of_violation(module: str, source: str) -> None:
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("blemish.images", "import os.path\nfrom PIL import Image\nfrom blemish import errors"),
        ("blemish.images", "if TYPE_CHECKING:\n    import torch"),
        ("blemish.weights", "def f():\n    import torch"),
        ("blemish.registry", "TARGET = 'blemish.detectors.musc:Musc'"),
        ("blemish.build", "resolve('blemish.detectors._saved:read_header')"),
        ("blemish.detectors.musc", "from blemish.detectors._maps import smooth"),
        ("blemish.detectors.musc", "from blemish.regions.from_map import regions_from_map"),
        ("blemish.encoders.dinov2", "import torch\nfrom blemish.encoders import _vit"),
        ("blemish.cli.inspect", "from blemish import __version__, runs"),
    ],
)
def test_the_reader_of_imports_lets_the_rest_pass(module: str, source: str) -> None:
    assert violations(source, module) == []
