"""Trains an anomalib model and writes its maps; runs where anomalib is, without blemish.

    python -I _anomalib_runner.py job.json

The job (see `blemish.benchmark.anomalib`) names the model, its options, the pictures to learn from
and to judge, and the folder to write to. Run with anomalib 2.7.0 (its Engine, get_model and
ImageBatch). Maps and scores are the model's own: anomalib's normalisation by a validation set is
switched off, since it clips them.
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path
from typing import Any

NO_ANOMALIB = 3
"""Exit code where anomalib cannot be imported."""


def main(path: str) -> int:
    """Do the job; the exit code."""
    # The folder of this file holds a module called anomalib as well.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".") != Path(__file__).parent]
    try:
        import anomalib
        import torch
        from anomalib import LearningType
        from anomalib.engine import Engine
        from anomalib.models import get_model
        from lightning.pytorch import seed_everything
    except ImportError as cause:
        print(f"anomalib cannot be imported here: {cause}", file=sys.stderr)
        return NO_ANOMALIB
    job = json.loads(Path(path).read_text("utf-8"))
    out = Path(job["out"])
    seed_everything(job["seed"], workers=True)
    options = dict(job["options"])
    trainer = options.pop("trainer", {})
    model = get_model(
        job["model"], post_processor=False, evaluator=False, visualizer=False, **options
    )
    writer = _writer(out, {one["path"]: one for one in job["test"]})
    engine = Engine(
        callbacks=[writer],
        default_root_dir=out / "engine",
        enable_progress_bar=False,
        **trainer,
    )
    data = _data(job, model)
    begun = time.perf_counter()
    if model.learning_type not in (LearningType.ZERO_SHOT, LearningType.FEW_SHOT):
        engine.fit(model=model, datamodule=data)
    fitted = time.perf_counter()
    engine.predict(model=model, datamodule=data, return_predictions=False)
    with (out / "scores.csv").open("w", encoding="utf-8", newline="") as file:
        sheet = csv.writer(file)
        sheet.writerow(["id", "score"])
        sheet.writerows(writer.scores)
    about = {
        "versions": {"anomalib": anomalib.__version__, "torch": torch.__version__},
        "map_resize": writer.resize,
        "seconds": {"fit": fitted - begun, "predict": time.perf_counter() - fitted},
    }
    (out / "about.json").write_text(json.dumps(about), "utf-8")
    return 0


def _writer(out: Path, test: dict[str, dict[str, str]]) -> Any:
    """What writes each map as soon as it is there: all of them would not fit into the memory."""
    import numpy as np
    import torch
    from lightning.pytorch import Callback

    class Writer(Callback):  # type: ignore[misc]
        """Writes maps at the pictures' own size."""

        def __init__(self) -> None:
            self.scores: list[tuple[str, float]] = []
            self.resize = "none"

        def on_predict_batch_end(
            self, trainer: Any, pl_module: Any, outputs: Any, *rest: Any
        ) -> None:
            """See lightning."""
            maps = outputs.anomaly_map
            for place, path in enumerate(outputs.image_path):
                about = test[path]
                raw = None if maps is None else maps[place].detach().float().cpu()
                score = outputs.pred_score
                if score is not None:
                    self.scores.append((about["id"], float(score[place])))
                elif raw is not None:
                    self.scores.append((about["id"], float(raw.max())))
                if raw is not None:
                    self._write(out / f"{about['map']}.npy", raw, _read(path).shape[:2])

        def _write(self, target: Path, raw: Any, size: tuple[int, ...]) -> None:
            raw = raw.reshape(1, 1, *raw.shape[-2:])
            if raw.shape[-2:] != size:
                self.resize = f"bilinear, from {raw.shape[-2]} x {raw.shape[-1]}"
                raw = torch.nn.functional.interpolate(
                    raw, size=size, mode="bilinear", align_corners=False
                )
            found = raw[0, 0].numpy()
            target.parent.mkdir(parents=True, exist_ok=True)
            # float16 holds 2**-14 to 65,504 with three digits; anything else stays as it is.
            largest = float(np.abs(found).max())
            fits = largest <= 65504 and largest >= 2**-4
            np.save(target, found.astype(np.float16) if fits else found)

    return Writer()


def _data(job: dict[str, Any], model: Any) -> Any:
    """The job's pictures as anomalib takes them."""
    import torch
    from anomalib.data import ImageBatch, ImageItem
    from lightning.pytorch import LightningDataModule
    from torch.utils.data import DataLoader, Dataset

    resize = _resize(model)

    class Pictures(Dataset[Any]):
        """Pictures by their paths, resized as the model asks."""

        def __init__(self, paths: list[str]) -> None:
            self.paths = paths

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, place: int) -> Any:
            path = self.paths[place]
            image = torch.from_numpy(_read(path)).permute(2, 0, 1).float() / 255
            image = resize(image) if resize else image
            return ImageItem(image=image, image_path=path, gt_label=torch.tensor(0))

    class Job(LightningDataModule):  # type: ignore[misc]
        """No validation pictures: nothing of the test set may reach the model."""

        name = "blemish"
        category = job["category"]

        def train_dataloader(self) -> Any:
            """See lightning."""
            batch = min(job["batch_size"], max(len(job["train"]), 1))
            pictures = Pictures(job["train"])
            # Lightning makes the loader anew and knows its arguments by name only.
            return DataLoader(
                pictures, batch_size=batch, shuffle=True, collate_fn=ImageBatch.collate
            )

        def val_dataloader(self) -> Any:
            """See lightning."""
            return []

        def predict_dataloader(self) -> Any:
            """See lightning."""
            pictures = Pictures([one["path"] for one in job["test"] if _readable(one["path"])])
            return DataLoader(pictures, batch_size=1, collate_fn=ImageBatch.collate)

    return Job()


def _resize(model: Any) -> Any:
    """The resizing step of a model's transform, or None: a batch needs one size."""
    from torchvision.transforms.v2 import Resize

    transform = getattr(getattr(model, "pre_processor", None), "transform", None)
    steps = getattr(transform, "transforms", [transform])
    return next((step for step in steps if isinstance(step, Resize)), None)


def _read(path: str) -> Any:
    """(H, W, 3) uint8 RGB in the shown orientation."""
    import numpy as np
    from PIL import Image, ImageOps

    with Image.open(path) as picture:
        return np.array(ImageOps.exif_transpose(picture).convert("RGB"))


def _readable(path: str) -> bool:
    """Whether a picture can be read; blemish names those that cannot."""
    try:
        _read(path)
    except Exception:  # broken files raise nearly anything
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
