"""The exchange with anomalib: jobs go out as files, maps and scores come back as files.

anomalib itself is not installed where these tests run. A tiny script stands in for the other
environment's Python; the runner is driven through modules that have the names and signatures of
anomalib's that it uses, and no more.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from sklearn.metrics import roc_auc_score

from blemish.benchmark import _anomalib_runner, anomalib
from blemish.benchmark.reader import read
from blemish.datasets.model import Dataset
from blemish.errors import InputError, MissingExtraError, OptionError
from blemish.images import read_image

WORKS = """
import csv, json, pathlib, sys
import numpy as np
from PIL import Image
assert sys.argv[1] == "-I" and sys.argv[2].endswith("_anomalib_runner.py"), sys.argv
job = json.loads(pathlib.Path(sys.argv[3]).read_text())
out = pathlib.Path(job["out"])
with open(out / "calls.txt", "a") as calls:
    calls.write("called ")
with open(out / "scores.csv", "w", newline="") as file:
    sheet = csv.writer(file)
    sheet.writerow(["id", "score"])
    for one in job["test"]:
        with Image.open(one["path"]) as picture:
            grey = np.asarray(picture.convert("L"), np.float32) / 256
        path = out / (one["map"] + ".npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, grey.astype(np.float16))
        sheet.writerow([one["id"], 1 - grey.mean()])
about = {"versions": {"anomalib": "2.9"}, "map_resize": "none", "seconds": {"fit": 1.5}}
(out / "about.json").write_text(json.dumps(about))
"""
STUBS = """
import sys, types
import numpy as np, torch

def module(name, **names):
    sys.modules[name] = made = types.ModuleType(name)
    made.__dict__.update(names)
    return made

class Resize(torch.nn.Module):
    def forward(self, image):
        return torch.nn.functional.interpolate(image[None], (8, 8))[0]

class Item:
    def __init__(self, image, image_path, gt_label):
        assert image.dtype == torch.float32 and 0 <= image.min() and image.max() <= 1
        self.image, self.image_path = image, image_path

class Batch:
    @staticmethod
    def collate(items):
        made = Batch()
        made.image = torch.stack([item.image for item in items])
        made.image_path = [item.image_path for item in items]
        return made

class Model:
    learning_type = "one class"
    def __init__(self, name, options):
        self.name, self.options, self.mean = name, options, None
        transform = types.SimpleNamespace(transforms=[Resize()])
        self.pre_processor = types.SimpleNamespace(transform=transform)

class Engine:
    def __init__(self, callbacks, default_root_dir, enable_progress_bar, max_epochs):
        assert max_epochs == 7
        self.callbacks = callbacks
    def fit(self, model, datamodule):
        assert datamodule.val_dataloader() == []
        model.mean = torch.cat([b.image for b in datamodule.train_dataloader()]).mean(0)
    def predict(self, model, datamodule, return_predictions):
        for number, batch in enumerate(datamodule.predict_dataloader()):
            batch.anomaly_map = (batch.image - model.mean).abs().mean(1, keepdim=True)
            batch.pred_score = batch.anomaly_map.amax((1, 2, 3))
            self.callbacks[0].on_predict_batch_end(None, model, batch, batch, number, 0)

def get_model(name, post_processor, evaluator, visualizer, **options):
    assert not (post_processor or evaluator or visualizer) and options == {"layers": ["a"]}
    return Model(name, options)

kinds = types.SimpleNamespace(ZERO_SHOT="zero", FEW_SHOT="few")
module("anomalib", __version__="2.7.0", LearningType=kinds)
module("anomalib.engine", Engine=Engine)
module("anomalib.models", get_model=get_model)
module("anomalib.data", ImageItem=Item, ImageBatch=Batch)
seeded = lambda seed, workers: torch.manual_seed(seed)
module("lightning")
module("lightning.pytorch", Callback=object, LightningDataModule=object, seed_everything=seeded)
for name in ("torchvision", "torchvision.transforms"):
    module(name)
module("torchvision.transforms.v2", Resize=Resize)
import runpy
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def python(folder: Path, text: str) -> Path:
    """An executable that stands in for another environment's Python."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return path


def test_a_job_names_pictures_draws_and_options(miniature: Dataset, tmp_path: Path) -> None:
    cells = anomalib.cells_of(
        miniature, "patchcore", shots=(2, None), seeds=(0, 1), options={"layers": ["layer2"]}
    )
    first = cells[0]

    job = anomalib.job_of(miniature, first, tmp_path)

    assert [(c.category, c.shots, c.seed) for c in cells[:4]] == [
        *(("bottle", 2, 0), ("bottle", 2, 1)),
        *(("bottle", None, 0), ("bottle", None, 1)),
    ]
    assert job["train"] == [
        str(item.path.resolve()) for item in miniature.references("bottle", 2, 0)
    ]
    assert len(anomalib.job_of(miniature, cells[2], tmp_path)["train"]) == 4
    assert (job["model"], job["options"], job["seed"]) == ("patchcore", {"layers": ["layer2"]}, 0)
    tested = {item.id for item in miniature.select("bottle", "test")}
    assert {one["id"] for one in job["test"]} == tested
    assert all(one["map"] == one["id"].removesuffix(".png") for one in job["test"])
    assert not {str(item.path.resolve()) for item in miniature.select("bottle", "test")} & {
        *job["train"]
    }


def test_what_comes_back_is_scored(miniature: Dataset, tmp_path: Path) -> None:
    cells = anomalib.cells_of(miniature, "patchcore", shots=(1,), categories=["leather"])

    (record,) = anomalib.run(
        miniature, cells, tmp_path / "out", python=python(tmp_path, WORKS), command="typed"
    )

    items = miniature.select("leather", "test")
    labels = [item.label == "anomalous" for item in items]
    plain = [PIL.Image.fromarray(read_image(item.path)).convert("L") for item in items]
    grey = [np.asarray(one, np.float32) / np.float32(256) for one in plain]
    masks = [mask for item in items if (mask := item.mask(item.image())) is not None]
    assert record["figures"]["image_auroc"] == pytest.approx(
        roc_auc_score(labels, [1 - one.mean() for one in grey])
    )
    assert record["figures"]["pixel_auroc"] == pytest.approx(
        roc_auc_score(np.concatenate(masks, None), np.concatenate(grey, None))
    )
    assert record["cell"]["detector"] == "anomalib:patchcore"
    assert record["computed"]["image_score"] == "scores.csv"
    provenance = record["provenance"]
    assert provenance["anomalib"] == {"anomalib": "2.9"}
    assert provenance["references"] == [miniature.references("leather", 1, 0)[0].id]
    (ran,) = read(tmp_path / "out")
    assert json.loads((ran.folder / "figures.json").read_text())["computed"]["map_resize"] == "none"


def test_a_job_that_is_done_is_not_done_again(miniature: Dataset, tmp_path: Path) -> None:
    def run(*seeds: int) -> None:
        cells = anomalib.cells_of(miniature, "padim", shots=(1,), seeds=seeds)[: len(seeds)]
        anomalib.run(miniature, cells, tmp_path / "out", python=python(tmp_path, WORKS))

    run(0)
    run(0, 1)

    calls = sorted((tmp_path / "out" / "anomalib").rglob("calls.txt"))
    assert [one.read_text() for one in calls] == ["called ", "called "]


def test_what_goes_wrong_there_is_told_here(miniature: Dataset, tmp_path: Path) -> None:
    cells = anomalib.cells_of(miniature, "padim", shots=(1,))[:1]
    out = tmp_path / "out"

    fails = python(tmp_path, "raise SystemExit('there is no model padim')")
    with pytest.raises(InputError, match=r"code 1: there is no model padim.*log\.txt"):
        anomalib.run(miniature, cells, out, python=fails)
    with pytest.raises(OptionError, match="cannot be started"):
        anomalib.run(miniature, cells, out, python=tmp_path / "nowhere")
    silent = python(tmp_path, "")
    with pytest.raises(InputError, match="no map and no score"):
        anomalib.run(miniature, cells, out, python=silent)
    anomalib.run(miniature, cells, out, python=python(tmp_path, WORKS))  # it is tried again


@pytest.mark.skipif(
    importlib.util.find_spec("anomalib") is not None, reason="anomalib is installed here"
)
def test_an_environment_without_anomalib_is_told_how_to_get_it(
    miniature: Dataset, tmp_path: Path
) -> None:
    """The runner's own folder holds an `anomalib.py`, which it must not take for anomalib."""
    cells = anomalib.cells_of(miniature, "padim", shots=(1,))[:1]

    with pytest.raises(MissingExtraError, match=r'-m pip install "anomalib>=2"'):
        anomalib.run(miniature, cells, tmp_path / "out", python=Path(sys.executable))
    plain = subprocess.run(
        [sys.executable, _anomalib_runner.__file__, "job.json"], capture_output=True, check=False
    )
    assert plain.returncode == _anomalib_runner.NO_ANOMALIB


def test_the_runner_writes_maps_at_the_pictures_size(miniature: Dataset, tmp_path: Path) -> None:
    cell = anomalib.cells_of(
        miniature,
        "padim",
        shots=(2,),
        options={"layers": ["a"], "trainer": {"max_epochs": 7}},
        categories=["bottle"],
    )[0]
    broken = miniature.select("bottle", "test")[0]
    job = anomalib.job_of(miniature, cell, tmp_path)
    (tmp_path / "cut.png").write_bytes(broken.path.read_bytes()[:60])
    job["test"][0]["path"] = str(tmp_path / "cut.png")
    (tmp_path / "job.json").write_text(json.dumps(job))
    (tmp_path / "stubs.py").write_text(STUBS)
    runner = [_anomalib_runner.__file__, str(tmp_path / "job.json")]

    done = subprocess.run(
        [sys.executable, str(tmp_path / "stubs.py"), *runner],
        capture_output=True,
        check=False,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.npy"))
    assert [str(path) for path in written] == [f"{one['map']}.npy" for one in job["test"][1:]]
    found = np.load(tmp_path / f"{job['test'][1]['map']}.npy")
    assert found.shape == read_image(job["test"][1]["path"]).shape[:2]
    about = json.loads((tmp_path / "about.json").read_text())
    assert about["map_resize"] == "bilinear, from 8 x 8"
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert len(lines) == len(job["test"])  # a heading, and no line of the broken picture
    assert lines[0] == "id,score"
    # Interpolation never exceeds the map's maximum, which is the score here.
    assert float(found.max()) <= float(lines[1].rpartition(",")[2]) + 1e-3
