"""The wheel holds everything: installed outside the checkout, it inspects a part."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    here = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(pip + here, check=True)
    (built,) = folder.glob("blemish-*.whl")
    return built


@pytest.fixture(scope="module")
def files() -> set[str]:
    """Every file of the package; among them what no import finds, a file of each kind."""
    source = ROOT / "src"
    found = {
        file.relative_to(source).as_posix()
        for file in (source / "blemish").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    station = ("texts.json", "templates/base.html", "static/style.css", "static/viewer.js")
    step = "store/migrations/versions/r0001_first.py"
    assert {f"blemish/service/{name}" for name in (*station, step)} | {"blemish/py.typed"} <= found
    return found


def test_every_file_of_the_package_is_inside(wheel: Path, files: set[str]) -> None:
    assert files - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_every_file_of_the_package_is_in_the_source_archive(
    files: set[str], tmp_path: Path
) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "sdist"]
    subprocess.run([*build, "--directory", str(tmp_path)], check=True, cwd=ROOT)
    (archive,) = tmp_path.glob("blemish-*.tar.gz")
    with tarfile.open(archive) as opened:
        inside = {name.partition("/")[2] for name in opened.getnames()}
    assert {f"src/{name}" for name in files} - inside == set()
    beside = {"pyproject.toml", "README.md", "ARCHITECTURE.md", "LICENSE", "tests/conftest.py"}
    assert beside - inside == set()


def test_it_inspects_a_part_outside_the_checkout(wheel: Path, parts: Path) -> None:
    # Libraries come from the running interpreter, so that PyTorch is not installed again: a path
    # in a .pth file is searched, but the .pth files in it are not run, an editable blemish's
    # among them.
    venv.create(parts / "env", with_pip=False)
    python = parts / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    paths = {"base": str(parts / "env"), "platbase": str(parts / "env")}
    site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    install = ["install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", str(wheel)]
    subprocess.run(pip + install, check=True)

    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}

    def run(*args: str) -> str:
        done = subprocess.run(
            [str(python), *args], cwd=parts, env=clean, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = Path(run("-c", "import blemish; print(blemish.__file__)").strip())
    assert site in where.parents
    script = str(python.parent / "blemish")
    run(script, "inspect", "part.png", "--normal", "good_parts", "--out", "run")
    lines = (parts / "run" / "inspections.jsonl").read_text(encoding="utf-8").splitlines()
    (row,) = [json.loads(line) for line in lines]
    assert row["verdict"] == "anomalous"
    assert "<html" in (parts / "run" / "report.html").read_text(encoding="utf-8")
