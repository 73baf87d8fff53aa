"""Options of the detectors whose language model reads embeddings, and where their adapters lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from blemish.detectors import _adapter
from blemish.detectors._adapter import AdapterConfig
from blemish.detectors._bank import BankOptions
from blemish.errors import OptionError


class ReadingOptions(BankOptions):
    """Options of a language model over a map; see `BankOptions`.

    The default of `top` is 0, the map's maximum. That of `false_alarms`, which counts for the map,
    is 0 too: the share at which as many anomalous parts are missed, from what made-up parts show.

    Attributes:
        adapter: folder of what was trained; "" for the one that ships with blemish.
        prompt_learner: show the language model base embeddings and map (this and the next two are
            AnomalyGPT's ablations, table 4 of its document).
        decoder: make a map, from normal parts too; without, the language model decides alone.
        lora: change the language model's weights as the adapter says, where it says so.
        four_bit: hold the language model's weights in 4 bits.
        description: tell it what a normal part of the class looks like, where that is known.
    """

    kind: ClassVar[str]
    """The detector's name, which its adapters go by."""

    adapter: str = ""
    prompt_learner: bool = True
    decoder: bool = True
    lora: bool = True
    four_bit: bool = False
    description: bool = True
    top: float = Field(0.0, ge=0, le=1)
    false_alarms: float = Field(0.0, ge=0, le=0.5)

    @property
    def folder(self) -> Path:
        """Where the adapter lies."""
        return adapter_folder(self.adapter, self.kind)

    def causal(self) -> dict[str, Any]:
        """What `blemish.llms.causal.Causal` is built with, beside its name, device and dtype."""
        return {"four_bit": self.four_bit, "lora": _adapter.lora(self.folder, self.lora)}


def adapter_folder(named: str, kind: str) -> Path:
    """Where an adapter lies; "" for the one that ships with a detector.

    Args:
        named: by a person.
        kind: the detector's name.
    """
    if named:
        return Path(named).expanduser()
    return Path(__file__).parent / "adapters" / kind.replace("-", "_")


def check_parts(
    config: AdapterConfig, layers: tuple[int, ...], language_model: Any, decoder: bool
) -> None:
    """Whether something decides, and the memory bank's layers go with the adapter.

    Args:
        config: of the adapter.
        layers: of the memory bank.
        language_model: None for none.
        decoder: there is a map.

    Raises:
        OptionError: nothing does, or they do not.
    """
    if language_model is None and not decoder:
        raise OptionError(
            "Neither decoder nor language model came, so nothing would decide. Name a language "
            "model, or keep the decoder and take an adapter that has one."
        )
    last = max(config.layers)
    if language_model and max(layers) > last and not config.joint:
        raise OptionError(
            f"The memory bank takes layers {layers}, and the class token of the last of all "
            f"stands for the picture; the adapter knows that of layer {last}. Give layers up to "
            f"{last}."
        )
    if config.fusion and len(layers) != len(config.layers):
        raise OptionError(
            f"The memory bank takes {len(layers)} layers, {layers}, and the adapter fuses the maps "
            f"of {len(config.layers)}. Give as many, or leave the option out: {config.layers}."
        )
