"""Brings a CLIP checkpoint from a folder, a file or the hub, in either of its two formats."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from blemish import weights
from blemish.encoders import _clip_open, _clip_pixels
from blemish.encoders._clip_pixels import Preparation
from blemish.errors import WeightsError, nearest

_OPEN = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model.

    Attributes:
        name: what brings it back: of `weights.checkpoints()`, or "clip:" and a folder, a file or
            a repository of the hub.
        model: a `transformers.CLIPModel` in evaluation mode on its device.
        folder: where its tokenizer may lie.
        preparation: how its publisher prepares pictures.
        logit_scale: what cosines are multiplied by, before any rounding to the model's dtype.
        digest: sha256 of the weights, the architecture and the preparation.
    """

    name: str
    model: Any
    folder: Path
    preparation: Preparation
    logit_scale: float
    digest: str


def load(name: str | Path, device: str, dtype: str) -> Checkpoint:
    """Load a checkpoint.

    Args:
        name: of `weights.checkpoints()`; or a folder, a file or a repository of the hub.
        device: a torch device.
        dtype: name of a torch dtype.

    Raises:
        WeightsError: it is not there, is no such model, or cannot be loaded here.
    """
    import torch

    known, path = _find(name)
    folder = path if path.is_dir() else path.parent
    try:
        file = path if path.is_file() else _one_of(folder, _OPEN)
        if file is not None:
            model, preparation = _from_open_clip(file)
        else:
            model, preparation = _from_transformers(folder)
    # Both libraries raise nearly every kind of error about a file they cannot use.
    except Exception as error:
        raise WeightsError(
            f"The CLIP checkpoint {name} cannot be loaded from {path}: {weights.reason(error)} "
            "Expected a folder of transformers' format (config.json with model.safetensors), one "
            "of open_clip's (open_clip_config.json with open_clip_model.safetensors), or an "
            "open_clip state dict with open_clip_config.json beside it."
        ) from error
    scale, digest = math.exp(model.logit_scale.item()), _digest(model, preparation)
    model = model.to(device, getattr(torch, dtype)).eval()
    return Checkpoint(known, model, folder, preparation, scale, digest)


def _find(name: str | Path) -> tuple[str, Path]:
    """Name, and folder or file, of a checkpoint; fetched from the hub where that is allowed."""
    known = [row.name for row in weights.checkpoints() if row.kind == weights.CLIP.what]
    if str(name) in known:
        return str(name), weights.pull(str(name))
    path = Path(name).expanduser()
    if path.exists():
        return f"clip:{path.resolve()}", path
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(name)):
        raise WeightsError(
            f"There is no CLIP checkpoint {name}: no such folder or file, and no name of the "
            f"form owner/model on the hub. {nearest(str(name), known)}"
        )
    return f"clip:{name}", weights.repository(str(name), weights.CLIP)


def _from_open_clip(file: Path) -> tuple[Any, Preparation]:
    state = _clip_open.plain(_tensors(file))
    written = _json(file.with_name("open_clip_config.json"))
    described = written.get("model_cfg") or _clip_open.recognised(state)
    if described is None:
        raise WeightsError(
            "there is no open_clip_config.json beside it, and its shapes are not those of "
            "ViT-B-16-plus-240, which alone is known without one."
        )
    config = _clip_open.configuration(state, described)
    model = _model(None, config, _clip_open.converted(state))
    size = config["vision_config"]["image_size"]
    return model, _clip_pixels.from_open_clip(written.get("preprocess_cfg", {}), size)


def _from_transformers(folder: Path) -> tuple[Any, Preparation]:
    config = _json(folder / "config.json")
    if config.get("model_type") != "clip":
        raise WeightsError(
            f"{folder} has no config.json of a CLIP model."
            if not config
            else f"its config.json describes {config.get('model_type')!r}, not 'clip'."
        )
    model = _model(folder)
    size = int(model.config.vision_config.image_size)
    found = _json(folder / "preprocessor_config.json")
    return model, _clip_pixels.from_transformers(found, size)


def _model(
    folder: Path | None,
    config: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
) -> Any:
    """A model in float32, none of whose weights were made up."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    given: dict[str, Any] = {}
    if config is not None:
        given = {"config": CLIPConfig(**config), "state_dict": state}
    kind: Any = CLIPModel
    with _quiet():
        model, told = kind.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # to be told of them with the others, below
            **given,
        )
    # Older files hold these numbers, which are no weights.
    extra = [name for name in told["unexpected_keys"] if not name.endswith("position_ids")]
    shapes = [name for name, *_ in told["mismatched_keys"]]
    problems = {"lacks": told["missing_keys"], "has other shapes of": shapes, "has beside": extra}
    for what, names in problems.items():
        if names:
            some = ", ".join(sorted(names)[:3]) + (" and more" if len(names) > 3 else "")
            raise WeightsError(f"it {what} the weights of a CLIP model: {some}.")
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bar and report: what is wrong with a checkpoint is said here."""
    from transformers import utils

    logging: Any = utils.logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _tensors(file: Path) -> Mapping[str, Any]:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        found: Mapping[str, Any] = load_file(file)
    else:
        import torch

        # With `weights_only`, a pickle can make nothing but tensors and containers.
        found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    return found


def _json(path: Path) -> dict[str, Any]:
    """A file's content; empty where there is none."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def _one_of(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _digest(model: Any, preparation: Preparation) -> str:
    import torch

    vision, text = model.config.vision_config, model.config.text_config
    shape = [(c.num_attention_heads, c.hidden_act, c.layer_norm_eps) for c in (vision, text)]
    found = hashlib.sha256(json.dumps([shape, astuple(preparation)]).encode())
    for name, tensor in sorted(model.state_dict().items()):
        found.update(f"{name} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
