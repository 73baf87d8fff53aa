"""The solar cells: 64 to train, and a wheel that becomes a folder of the cache or nothing."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from blemish import weights
from blemish.datasets import solar_cells
from blemish.datasets.find import open_dataset
from blemish.errors import DatasetError
from blemish.settings import settings


def test_64_of_each_kind_are_for_training(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    lines = []
    for n in range(300):
        name = f"images/cell{n:04}.png"
        (tmp_path / name).write_bytes(b"")
        lines.append(f"{name} {(n % 3 == 2) * 1.0} {'poly' if n < 240 else 'mono'}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    dataset = open_dataset(tmp_path)
    normal = [line.split()[0] for line in lines if "poly" in line and " 0.0 " in line]
    assert len(normal) == 160
    ranked = sorted(normal, key=lambda i: hashlib.sha256(f"0:{i}".encode()).hexdigest())
    assert {i.id for i in dataset.select("poly", "train")} == set(ranked[:64])
    assert len(dataset.select("poly", "test", "normal")) == 96
    assert len(dataset.select("mono", "train")) == 20
    assert {i.label for i in dataset.select(split="train")} == {"normal"}


@pytest.fixture
def wheel(layouts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A wheel with the miniature, and an empty cache."""
    tree = layouts.MINIATURES["solar-cells"].write(tmp_path / "tree")
    (tree / "elpv_dataset" / "code.py").write_text("raise SystemExit")
    packed = tmp_path / "elpv.whl"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(tree.rglob("*.*")):
            archive.write(path, path.relative_to(tree).as_posix())
    wheels = {"elpv-dataset==1.0.0.post1": packed}
    monkeypatch.setattr(weights, "wheel", lambda name, progress=None: wheels[name])
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    settings.cache_clear()
    yield packed
    settings.cache_clear()


def test_fetch_unpacks_the_data_once(wheel: Path, tmp_path: Path) -> None:
    folder = solar_cells.fetch()
    assert folder == tmp_path / "cache" / "datasets" / "solar-cells"
    dataset = open_dataset(folder)
    assert (dataset.name, len(dataset.items), dataset.problems) == ("solar-cells", 4, ())
    assert not list(folder.rglob("code.py"))
    assert [path.name for path in folder.parent.iterdir()] == ["solar-cells"]
    wheel.write_bytes(b"not needed any more")
    assert solar_cells.fetch() == folder


def test_a_fetch_that_is_cut_off_leaves_nothing(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: zipfile.ZipFile, path: Path, members: list[str]) -> None:
        self.extract(members[0], path)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extractall", full)
        with pytest.raises(DatasetError, match="No space left on device"):
            solar_cells.fetch()
    assert list((tmp_path / "cache" / "datasets").iterdir()) == []
    assert solar_cells.fetch().is_dir()
