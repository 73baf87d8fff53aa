"""`pip install "blemish[serve]"` brings what the station imports, and nothing that it does not."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
STATION = [
    *(ROOT / "src" / "blemish" / "service").rglob("*.py"),
    ROOT / "src" / "blemish" / "cli" / "serve.py",
]
UNSEEN = {"python-multipart"}
"""What FastAPI imports itself, once a route takes a form."""


def names(requirements: list[str]) -> set[str]:
    """Of distributions, without what other extras ask for."""
    wanted = [Requirement(one) for one in requirements if "extra ==" not in one]
    return {canonicalize_name(one.name) for one in wanted}


def imported(files: list[Path]) -> set[str]:
    """The distributions of everything that files import from elsewhere, in functions too."""
    tops = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                tops |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                tops.add(str(node.module).partition(".")[0])
    known = packages_distributions()
    ours = sys.stdlib_module_names | {"blemish"}
    return {canonicalize_name(known[top][0]) for top in tops - ours}


def test_the_serve_extra_is_what_the_station_imports() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = names(project["dependencies"])
    extra = names(project["optional-dependencies"]["serve"])
    found = imported(STATION)
    assert extra - found == UNSEEN
    brought = {name for one in extra for name in names(requires(one) or [])}
    assert found - core - extra - brought == set()
