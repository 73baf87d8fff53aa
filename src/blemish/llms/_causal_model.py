"""Brings a causal language model of `transformers`: from the weights table, a folder or the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blemish import weights
from blemish.errors import MissingExtraError, OptionError, WeightsError
from blemish.llms import _bars
from blemish.llms.local import DTYPES


@dataclass(frozen=True)
class Loaded:
    """A language model and what belongs to it.

    Attributes:
        model: of `AutoModelForCausalLM`, frozen, in evaluation mode on its device.
        tokenizer: its tokenizer.
        name: how it is called.
        revision: digits that tell its weights from others.
    """

    model: Any
    tokenizer: Any
    name: str
    revision: str


def load(name_or_folder: str | Path, device: str, dtype: str, four_bit: bool) -> Loaded:
    """Load a causal language model.

    Raises:
        OptionError: there is no such dtype.
        MissingExtraError: 4-bit weights were asked for and bitsandbytes is not installed.
        WeightsError: the model is not there, is no such model, or cannot be loaded here.
    """
    if dtype not in DTYPES:
        raise OptionError(f"dtype {dtype!r} came; expected one of {', '.join(DTYPES)}.")
    options = _four_bit(device) if four_bit else {}
    folder, name, revision = _find(name_or_folder)
    try:
        with _bars.hidden():
            model, tokenizer = _load(folder, dtype, options)
        if not four_bit:
            model = model.to(device)
    # Transformers raises nearly every kind of error about a folder it cannot use.
    except Exception as error:
        raise WeightsError(
            f"The language model {name_or_folder} cannot be loaded from {folder}: "
            f"{weights.reason(error)} Expected a folder of transformers' format for text "
            "(config.json, a tokenizer, model*.safetensors or pytorch_model*.bin)."
        ) from error
    if model.config.is_encoder_decoder or tokenizer.eos_token_id is None:
        raise WeightsError(
            f"{folder} holds a {model.config.model_type} that cannot go on from a prompt to an "
            "end of its own; expected a causal language model with an end token, such as Llama."
        )
    return Loaded(model.requires_grad_(False).eval(), tokenizer, name, revision[:16])


def _find(name_or_folder: str | Path) -> tuple[Path, str, str]:
    """Folder, name and revision."""
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        return folder, folder.resolve().name, weights.digest_folder(folder)
    name = str(name_or_folder)
    rows = {row.name: row for row in weights.table()}
    if name in rows:
        return weights.folder(name), name, rows[name].sha256
    if name in {row.name for row in weights.checkpoints()}:
        folder = weights.pull(name)
        kept = folder.parent.name == "snapshots"  # the hub's, named after the commit
        return folder, name, folder.name if kept else weights.digest_folder(folder)
    folder = weights.repository(name, weights.CAUSAL)
    return folder, name, folder.name


def _load(folder: Path, dtype: str, options: dict[str, Any]) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    wanted = "auto" if dtype == "auto" else getattr(torch, dtype)
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=wanted, local_files_only=True, **options
    )
    return model, tokenizer


def _four_bit(device: str) -> dict[str, Any]:
    try:
        import accelerate  # noqa: F401
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"A language model in 4 bits needs {error.name}, which is not installed. Install it "
            "with: pip install 'blemish[four-bit]'"
        ) from error
    import torch
    from transformers import BitsAndBytesConfig

    made: Any = BitsAndBytesConfig
    config = made(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )
    return {"quantization_config": config, "device_map": {"": device}}
