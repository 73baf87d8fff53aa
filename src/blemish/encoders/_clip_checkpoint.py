"""Brings a CLIP checkpoint from a folder, a file or the hub, in either of its two formats."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from blemish.encoders import _clip_open, _clip_pixels
from blemish.encoders._clip_pixels import Preparation
from blemish.errors import WeightsError, nearest
from blemish.settings import settings

_OPEN = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_HUGGING_FACE = ("model.safetensors", "pytorch_model.bin")
_SMALL = ("*.json", "merges.txt")


@dataclass(frozen=True)
class Published:
    """A checkpoint that has a name here: its repository on the hub, and its publisher's own files.

    No row of the weights table, because a row states a checksum and theirs are not known here; the
    encoder's fingerprint tells which tensors were loaded.
    """

    repository: str
    files: tuple[str, ...] = ()


PUBLISHED: Mapping[str, Published] = {
    "clip-vit-b-16-plus-240": Published(
        "timm/vit_base_patch16_plus_clip_240.laion400m_e31",
        (
            "vit_b_16_plus_240-laion400m_e31-8fb26589.pt",
            "vit_b_16_plus_240-laion400m_e32-699c4b84.pt",
        ),
    ),
    "clip-vit-l-14-336": Published("timm/vit_large_patch14_clip_336.openai"),
    "clip-vit-h-14": Published("laion/CLIP-ViT-H-14-laion2B-s32B-b79K"),
}


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model.

    Attributes:
        model: a `transformers.CLIPModel` in evaluation mode on its device.
        folder: where its tokenizer may lie.
        preparation: how its publisher prepares pictures.
        logit_scale: what cosines are multiplied by, before any rounding to the model's dtype.
        digest: sha256 of the weights, the architecture and the preparation.
    """

    model: Any
    folder: Path
    preparation: Preparation
    logit_scale: float
    digest: str


def load(name: str | Path, device: str, dtype: str) -> Checkpoint:
    """Load a checkpoint.

    Args:
        name: of `PUBLISHED`; or a folder, a file or a repository of the hub.
        device: a torch device.
        dtype: name of a torch dtype.

    Raises:
        WeightsError: it is not there, is no such model, or cannot be loaded here.
    """
    import torch

    path = _find(name)
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
            f"The CLIP checkpoint {name} cannot be loaded from {path}: {_first_line(error)} "
            "Expected a folder of transformers' format (config.json with model.safetensors), one "
            "of open_clip's (open_clip_config.json with open_clip_model.safetensors), or an "
            "open_clip state dict with open_clip_config.json beside it."
        ) from error
    scale, digest = math.exp(model.logit_scale.item()), _digest(model, preparation)
    model = model.to(device, getattr(torch, dtype)).eval()
    return Checkpoint(model, folder, preparation, scale, digest)


def _find(name: str | Path) -> Path:
    """The folder or file of a checkpoint, fetched from the hub where that is allowed."""
    known = PUBLISHED.get(str(name))
    if known is None:
        path = Path(name).expanduser()
        if path.exists():
            return path
        if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(name)):
            raise WeightsError(
                f"There is no CLIP checkpoint {name}: no such folder or file, and no name of the "
                f"form owner/model on the hub. {nearest(str(name), PUBLISHED)}"
            )
        return _from_hub(str(name), str(name))
    own = settings().weights
    if own is not None:
        for place in (str(name), known.repository.split("/")[1], *known.files):
            if (own / place).exists():
                return own / place
    return _from_hub(str(name), known.repository)


def _from_hub(name: str, repository: str) -> Path:
    """The folder of the hub's cache that holds a repository's small files and one of weights."""
    from huggingface_hub import constants, list_repo_files, snapshot_download

    # The hub's client reads these when it is imported, which may have been before they were set.
    flags = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    said = next(
        (f for f in flags if os.environ.get(f, "").upper() in ("1", "ON", "YES", "TRUE")), ""
    )
    offline = bool(said) or constants.HF_HUB_OFFLINE
    try:
        if offline:
            return Path(snapshot_download(repository, local_files_only=True))
        there = list_repo_files(repository)
        # Some repositories have the same weights several times; gigabytes each.
        weights = [file for file in (*_OPEN, *_HUGGING_FACE) if file in there][:1]
        return Path(snapshot_download(repository, allow_patterns=[*_SMALL, *weights]))
    # It raises errors of its own, of the HTTP library and of the system.
    except Exception as error:
        why = f"{said or 'HF_HUB_OFFLINE'} forbids the network" if offline else _first_line(error)
        places = f"the hub's cache, {constants.HF_HUB_CACHE}, and on the hub, {repository}"
        cure = f"hf download {repository} --local-dir FOLDER\nand name that folder instead."
        if name in PUBLISHED:
            places = f"the folder that BLEMISH_WEIGHTS names ({settings().weights}), {places}"
            cure = (
                f"hf download {repository} --local-dir {name}\n"
                "and set BLEMISH_WEIGHTS to the folder that holds that folder."
            )
        raise WeightsError(
            f"The CLIP checkpoint {name} is not at hand. Looked in {places}: {why.rstrip('.')}. "
            f"To bring it by hand, run on a connected machine\n    {cure}"
        ) from error


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


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, WeightsError):
        return lines[0]
    return f"{type(error).__name__}: {lines[0] if lines else 'no words'}"
