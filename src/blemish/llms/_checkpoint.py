"""Brings an image-text-to-text checkpoint of `transformers` from a folder or the hub.

A folder may hold no model but what one has learnt, by LoRA; then its base model is brought too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blemish import weights
from blemish.errors import WeightsError
from blemish.llms import _bars
from blemish.llms import _lora as lora

_KIND = weights.Kind(
    "vision-language model", ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model")
)
"""What a checkpoint is made of here: safetensors only, never a pickle or the code beside it."""


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model.

    Attributes:
        model: of `AutoModelForImageTextToText`, in evaluation mode on its device.
        processor: turns text and pictures into the model's inputs; pads on the left.
        revision: the hub's commit, or the sha256 of a folder's files; 16 digits. Of an adapter
            its base model's, "+" and its own.
    """

    model: Any
    processor: Any
    revision: str


def load(name_or_folder: str | Path, device: str, dtype: str) -> Checkpoint:
    """Load a checkpoint.

    Args:
        name_or_folder: a folder that exists, or a repository of the hub.
        device: a torch device.
        dtype: "auto" for the checkpoint's own, or the name of a torch dtype.

    Raises:
        WeightsError: it is not there, is no such model, or cannot be loaded here.
    """
    folder = Path(name_or_folder).expanduser()
    on_disk = folder.is_dir()
    if not on_disk:
        folder = weights.repository(str(name_or_folder), _KIND)
    revision = (weights.digest_folder(folder) if on_disk else folder.name)[:16]
    if (folder / lora.CONFIG).is_file() and not (folder / "config.json").is_file():
        return _adapted(folder, revision, device, dtype)
    try:
        processor = _processor(folder)
        _prepare(processor, name_or_folder)
        with _bars.hidden():
            model = _model(folder, device, dtype)
    except WeightsError:
        raise
    # Transformers raises nearly every kind of error about a folder it cannot use.
    except Exception as error:
        raise WeightsError(
            f"The vision-language model {name_or_folder} cannot be loaded from {folder}: "
            f"{weights.reason(error)} Expected a folder of transformers' image-text-to-text format "
            "(config.json, *.safetensors, a tokenizer, a processor, a chat template)."
        ) from error
    return Checkpoint(model, processor, revision)


def _adapted(folder: Path, revision: str, device: str, dtype: str) -> Checkpoint:
    """The base model of an adapter, with the changes to its weights."""
    config = folder / lora.CONFIG
    try:
        base = str(json.loads(config.read_text("utf-8"))["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{config} does not say in base_model_name_or_path which model the adapter changes "
            f"({type(error).__name__}: {error}). Restore it from a copy."
        ) from error
    try:
        below = load(base, device, dtype)
    except WeightsError as error:
        raise WeightsError(
            f"{folder} is an adapter: it changes the weights of the model {base}, which cannot be "
            f"used. {error} If that model is elsewhere now, correct base_model_name_or_path in "
            f"{config}."
        ) from error
    lora.add(below.model, folder)
    return Checkpoint(below.model, below.processor, f"{below.revision}+{revision}")


def _processor(folder: Path) -> Any:
    import transformers

    auto: Any = transformers.AutoProcessor
    # One backend everywhere: pictures must not change when torchvision is installed.
    options = {"backend": "pil", "local_files_only": True}
    try:
        return auto.from_pretrained(folder, **options)
    except ImportError as error:
        if "video" not in str(error).lower():
            raise
    return _without_video(folder).from_pretrained(folder, **options)


def _without_video(folder: Path) -> Any:
    """The checkpoint's class of processor, less its part for videos, which needs torchvision.

    Most recent models (Qwen-VL, InternVL, LLaVA-OneVision, Gemma 4) have that part; pictures do
    not pass through it.
    """
    from transformers import AutoConfig
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    whole: Any = PROCESSOR_MAPPING[type(AutoConfig.from_pretrained(folder, local_files_only=True))]

    class Parts(whole):  # type: ignore[misc]
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [part for part in whole.get_attributes() if part != "video_processor"]

    class Still(whole):  # type: ignore[misc]
        @classmethod
        def _get_arguments_from_pretrained(cls, *args: Any, **kwargs: Any) -> list[Any]:
            parts: list[Any] = Parts._get_arguments_from_pretrained(*args, **kwargs)
            parts.insert(whole.get_attributes().index("video_processor"), None)
            return parts

        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            if argument_name == "video_processor":
                return None
            return super().check_argument_for_proper_class(argument_name, argument)

    return Still


def _prepare(processor: Any, name: str | Path) -> None:
    if not hasattr(processor, "image_processor"):
        raise WeightsError(
            f"The vision-language model {name} has nothing that reads pictures; a model of words "
            "only cannot be used. Take an image-text-to-text model, such as SmolVLM or Qwen2-VL."
        )
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None or not getattr(processor, "chat_template", None):
        missing = "chat template" if tokenizer else "tokenizer"
        raise WeightsError(
            f"The vision-language model {name} has no {missing}, so it cannot be asked "
            "questions. Take a checkpoint that was trained for chat."
        )
    # Replies start where the prompt ends, so padding must stand before the prompt.
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token


def _model(folder: Path, device: str, dtype: str) -> Any:
    import torch
    from transformers import AutoModelForImageTextToText

    model: Any = AutoModelForImageTextToText.from_pretrained(
        folder,
        dtype="auto" if dtype == "auto" else getattr(torch, dtype),
        use_safetensors=True,
        local_files_only=True,
    )
    if model.config.is_encoder_decoder:
        raise WeightsError(
            f"{folder} holds an encoder-decoder ({model.config.model_type}); expected a model that "
            "goes on from its prompt, such as LLaVA or Qwen-VL."
        )
    return model.to(device).eval()
