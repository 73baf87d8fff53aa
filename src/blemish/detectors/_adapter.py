"""Adapters: what a detector learnt over a frozen encoder and a frozen language model, as a folder.

`adapter.json` says what it fits and how it was made, `adapter.safetensors` holds its tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from blemish.errors import SavedError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

VERSION = 1
CONFIG, TENSORS = "adapter.json", "adapter.safetensors"


@dataclass(frozen=True)
class AdapterConfig:
    """What an adapter fits, and where it comes from.

    Attributes:
        kind: the detector that it belongs to.
        encoder: its name, such as "dinov2-small".
        layers: of the encoder whose patch tokens the decoder takes.
        features: values of a token.
        text: values of a text feature.
        learned_texts: the text features are learned, since the encoder has no text tower.
        language_model: its name.
        width: values of its embeddings.
        spread: standard deviation of its token embeddings.
        prompt_learner: "compact", or "published" as in AnomalyGPT's checkpoints.
        trained_on: what it saw, for people.
        version: of this format.
    """

    kind: str
    encoder: str
    layers: tuple[int, ...]
    features: int
    text: int
    learned_texts: bool
    language_model: str
    width: int
    spread: float
    prompt_learner: Literal["compact", "published"] = "compact"
    trained_on: str = ""
    version: int = VERSION


def modules(config: AdapterConfig) -> dict[str, nn.Module]:
    """New modules by name: "image", "decoder", "prompt_learner"."""
    from blemish.detectors import _anomalygpt_modules as parts

    compact = config.prompt_learner == "compact"
    return {
        "image": parts.ImageProjection(
            config.features, config.width, config.spread if compact else None
        ),
        "decoder": parts.Decoder(
            [config.features] * len(config.layers), config.text, config.learned_texts
        ),
        "prompt_learner": parts.CompactPromptLearner(config.width, config.spread)
        if compact
        else parts.PublishedPromptLearner(config.width),
    }


def write(folder: Path, config: AdapterConfig, made: Mapping[str, nn.Module]) -> None:
    """Write an adapter; the configuration last, so that a folder with one is whole."""
    from safetensors.torch import save_file

    from blemish.detectors._anomalygpt_modules import state

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: tensor.contiguous() for key, tensor in state(dict(made)).items()}
    save_file(tensors, folder / TENSORS)
    (folder / CONFIG).write_text(json.dumps(asdict(config), indent=1) + "\n", "utf-8")


def read(folder: Path) -> tuple[AdapterConfig, dict[str, nn.Module]]:
    """The modules of an adapter, in evaluation mode.

    Raises:
        SavedError: there is none, it is damaged, or of another version.
    """
    from safetensors.torch import load_file

    try:
        found: dict[str, Any] = json.loads((folder / CONFIG).read_text("utf-8"))
        if found.get("version") != VERSION:
            raise SavedError(
                f"The adapter {folder} has format {found.get('version')}; this version of blemish "
                f"reads format {VERSION}. Train it again, or take the release that wrote it."
            )
        config = AdapterConfig(**{**found, "layers": tuple(found["layers"])})
        tensors: dict[str, Tensor] = load_file(folder / TENSORS)
        made = modules(config)
        for name, module in made.items():
            own = {k.removeprefix(f"{name}."): t for k, t in tensors.items() if k.startswith(name)}
            module.load_state_dict(own)
            module.eval().requires_grad_(False)
    except SavedError:
        raise
    # A damaged file meets either library with nearly any kind of error.
    except Exception as error:
        raise SavedError(
            f"The adapter {folder} cannot be used ({type(error).__name__}: {error}). Expected "
            f"{CONFIG} and {TENSORS} as `blemish train` writes them. Restore it from a copy."
        ) from error
    return config, made


def check(
    config: AdapterConfig, folder: Path, encoder: Any, language_model: Any, kind: str
) -> None:
    """Whether an adapter belongs to a detector, its encoder and its language model.

    Raises:
        WeightsError: it does not; the message says what came and what fits.
    """
    said = ""
    if config.kind != kind:
        said = f"is one of {config.kind}, not of {kind}"
    elif config.encoder != encoder.name:
        said = f"was trained on the encoder {config.encoder}, and {encoder.name} came"
    elif language_model is not None and config.width != language_model.width:
        said = (
            f"speaks to {config.language_model}, whose embeddings have {config.width} values; "
            f"those of {language_model.name} have {language_model.width}"
        )
    elif language_model is not None and config.language_model != language_model.name:
        said = f"was trained with {config.language_model}, and {language_model.name} came"
    if said:
        raise WeightsError(
            f"The adapter {folder} {said}. Name the parts that it was trained with, or train one "
            "for these (blemish train)."
        )
