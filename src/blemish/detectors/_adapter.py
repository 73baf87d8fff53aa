"""Adapters: what a detector learnt over a frozen encoder and a frozen language model, as a folder.

`adapter.json` says what it fits and how it was made, `adapter.safetensors` holds its tensors. Where
the language model's weights were changed too, the folder `lora` has the changes in peft's format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from blemish import weights
from blemish.detectors import _saved
from blemish.errors import SavedError, WeightsError
from blemish.files import install

if TYPE_CHECKING:
    from torch import Tensor, nn

VERSION = 1
CONFIG, TENSORS, LORA = "adapter.json", "adapter.safetensors", "lora"


@dataclass(frozen=True)
class AdapterConfig:
    """What an adapter fits, and where it comes from.

    Attributes:
        kind: the detector that it belongs to.
        encoder: its name, such as "dinov2-small".
        layers: of the encoder whose patch tokens the decoder takes.
        features: values of a patch token; and of the class token, which stands for the picture.
        text: values of a text feature.
        learned_texts: the text features are learned, since the encoder has no text tower.
        language_model: its name.
        width: values of its embeddings.
        spread: standard deviation of its token embeddings.
        prompt_learner: "compact", or "published" as in AnomalyGPT's checkpoints.
        trained_on: what it saw, for people.
        version: of this format.
        joint: where a feature of an encoder's joint space stands for the picture instead, its
            values; else 0.
        left_out: modules that it was trained without, "decoder" or "prompt_learner".
        enhancer: the text-guided enhancer stands in the place of the image projection.
        fusion: multi-mask fusion stands in the place of the prompt learner.
        apg: the decoder compares with the texts of the abnormal prompt generator too.
        abnormal: abnormal texts that are learned, where texts are.
        staged: it was trained stage by stage, as IAD-GPT is, and not all at once.
        anomalies: how those that it was trained on were made: "nsa", "cutpaste" or "both".
        tuned: the language model's weights were changed in the same training, by LoRA.
        imported: it is what others published, with their readings, and has learnt nothing here.
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
    joint: int = 0
    left_out: tuple[str, ...] = ()
    enhancer: bool = False
    fusion: bool = False
    apg: bool = False
    abnormal: int = 1
    staged: bool = False
    anomalies: str = "nsa"
    tuned: bool = False
    imported: bool = False

    @property
    def published(self) -> bool:
        """It has the published sizes, which go with an encoder that has a joint space."""
        return self.prompt_learner == "published"


def modules(config: AdapterConfig) -> dict[str, nn.Module]:
    """New modules by name: "image", and "decoder" and "prompt_learner" unless left out.

    The names say what a module is for: an enhancer is "image", a fusion "prompt_learner".
    """
    from blemish.detectors import _anomalygpt_modules as parts

    made: dict[str, nn.Module] = {"image": _image(config)}
    if "decoder" not in config.left_out:
        learned = 1 + config.abnormal if config.learned_texts else 0
        made["decoder"] = parts.Decoder(
            [config.features] * len(config.layers), config.text, learned
        )
    if "prompt_learner" not in config.left_out:
        made["prompt_learner"] = _prompt_learner(config)
    return made


def _image(config: AdapterConfig) -> nn.Module:
    from blemish.detectors import _anomalygpt_modules as anomalygpt
    from blemish.detectors import _iad_gpt_modules as iad_gpt

    values, spread = config.joint or config.features, None if config.published else config.spread
    if not config.enhancer:
        return anomalygpt.ImageProjection(values, config.width, spread)
    return iad_gpt.TextGuidedEnhancer(
        (values, config.features, config.text),
        config.width,
        spread,
        learned=config.learned_texts,
    )


def _prompt_learner(config: AdapterConfig) -> nn.Module:
    from blemish.detectors import _anomalygpt_modules as anomalygpt
    from blemish.detectors import _iad_gpt_modules as iad_gpt

    if config.fusion:
        spread = None if config.published else config.spread
        return iad_gpt.MultiMaskFusion(config.width, spread, len(config.layers))
    if config.published:
        return anomalygpt.PublishedPromptLearner(config.width)
    return anomalygpt.CompactPromptLearner(config.width, config.spread)


def write(folder: Path, config: AdapterConfig, made: Mapping[str, nn.Module]) -> None:
    """Write an adapter."""
    from blemish.detectors._anomalygpt_modules import state

    write_tensors(folder, config, state(dict(made)))


def write_tensors(folder: Path, config: AdapterConfig, tensors: Mapping[str, Tensor]) -> None:
    """Write an adapter; the configuration last, so that a folder with one is whole.

    Raises:
        OSError: it cannot be written.
    """
    from safetensors.torch import save

    install(folder / TENSORS, save({k: tensor.contiguous() for k, tensor in tensors.items()}))
    install(folder / CONFIG, (json.dumps(asdict(config), indent=1) + "\n").encode())


def lora(folder: Path, wanted: bool = True) -> Path | None:
    """Where an adapter keeps changes to the language model's weights.

    None where it has none, or none are wanted.
    """
    inside = folder / LORA
    return inside if wanted and inside.is_dir() else None


@dataclass(frozen=True, eq=False)
class Opened:
    """An adapter for use; nobody changes its modules.

    Attributes:
        config: what it fits.
        modules: see `modules`.
        digest: of its tensors.
        lora: digest of the changes to the language model's weights; "" for none.
    """

    config: AdapterConfig
    modules: Mapping[str, nn.Module]
    digest: str
    lora: str


def opened(folder: Path) -> Opened:
    """An adapter, read once as long as its files stay as they are.

    Raises:
        SavedError: as `read`.
    """
    files = [file for file in (folder / CONFIG, folder / TENSORS) if file.is_file()]
    files += [file for file in (lora(folder) or folder / LORA).glob("*") if file.is_file()]
    return _opened(folder, tuple((str(f), f.stat().st_mtime_ns, f.stat().st_size) for f in files))


@lru_cache(maxsize=2)
def _opened(folder: Path, files: tuple[tuple[str, int, int], ...]) -> Opened:
    config, made = read(folder)
    changes = lora(folder)
    tensors = _saved.digest((folder / TENSORS).read_bytes())
    return Opened(config, made, tensors, weights.digest_folder(changes) if changes else "")


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
        lists = {"layers": tuple(found["layers"]), "left_out": tuple(found.get("left_out", ()))}
        config = AdapterConfig(**{**found, **lists})
        tensors: dict[str, Tensor] = load_file(folder / TENSORS)
        made = modules(config)
        for name, module in made.items():
            start = f"{name}."
            own = {k.removeprefix(start): t for k, t in tensors.items() if k.startswith(start)}
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
    elif (
        language_model is not None
        and not config.published  # whose Vicuna has whatever name its folder has
        and config.language_model != language_model.name
    ):
        said = f"was trained with {config.language_model}, and {language_model.name} came"
    if said:
        raise WeightsError(
            f"The adapter {folder} {said}. Name the parts that it was trained with, or train one "
            "for these (blemish train)."
        )


def check_lora(adapter: Opened, folder: Path, wanted: bool, language_model: Any) -> None:
    """Whether a language model has the changes to its weights that it should have.

    Raises:
        WeightsError: it has not, or has others.
    """
    if getattr(language_model, "lora", "") != (adapter.lora if wanted else ""):
        own = lora(folder, wanted)
        should = f"with lora={str(own)!r}" if own else "without lora"
        raise WeightsError(
            f"For the adapter {folder} the language model {language_model.name} has to be built "
            f"{should}. Name the model instead of giving an object, or build it so."
        )
