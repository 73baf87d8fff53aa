"""What an adapter's training starts from: another adapter, or PandaGPT (2305.16355) as published.

AnomalyGPT (section 4) and IAD-GPT (section IV.C) start from PandaGPT: a linear layer from the
picture's feature in ImageBind's joint space to Vicuna's embeddings, and a LoRA of Vicuna. What
starts from these has the published sizes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blemish import weights
from blemish.detectors import _adapter, _saved
from blemish.detectors import _anomalygpt_import as published
from blemish.detectors._adapter import AdapterConfig
from blemish.detectors._anomalygpt_modules import state
from blemish.errors import OptionError
from blemish.runs.folder import writing

if TYPE_CHECKING:
    from torch import Tensor, nn

_HINT = (
    "--start takes pytorch_model.pt of PandaGPT's 7B delta, with --encoder clip-vit-h-14 and --llm "
    "VICUNA. Of AnomalyGPT's own checkpoint make an adapter first (blemish weights import "
    "anomalygpt), and name its folder."
)
_BLOCK = re.compile(r"\.layers\.(\d+)\.")


@dataclass(frozen=True, eq=False)
class Start:
    """An adapter, or what PandaGPT's file has of one.

    Attributes:
        path: of the folder or file.
        config: what it fits.
        tensors: by their names in an adapter.
        lora: folder of changes to the language model's weights; None for none.
        blocks: of the language model that these should change; 0 where that is not told.
        digest: of all tensors.
    """

    path: Path
    config: AdapterConfig
    tensors: Mapping[str, Tensor]
    lora: Path | None
    blocks: int
    digest: str

    def into(self, modules: Mapping[str, nn.Module]) -> None:
        """Have modules begin with what there is for them; others stay as they are.

        A linear layer for the picture is what a text-guided enhancer begins with.

        Raises:
            OptionError: there is nothing for the module that reads the picture.
        """
        for name, module in modules.items():
            start = f"{name}."
            own = {k.removeprefix(start): t for k, t in self.tensors.items() if k.startswith(start)}
            if own.keys() == module.state_dict().keys():
                module.load_state_dict(own)
            elif own.keys() == {"linear.weight", "linear.bias"}:
                enhancer: Any = module
                enhancer.begin(own["linear.weight"], own["linear.bias"])
            elif name == "image":
                raise OptionError(
                    f"{self.path} reads the picture by IAD-GPT's enhancer, which cannot become "
                    "AnomalyGPT's projection. Keep the enhancer, or start from PandaGPT."
                )


def read(path: Path, encoder: Any, work: Path) -> Start:
    """Read what a training starts from.

    Args:
        path: folder of an adapter, or the file pytorch_model.pt of PandaGPT's delta.
        encoder: of the pictures.
        work: folder that gets the LoRA of a file.

    Raises:
        SavedError: there is no adapter, or it is damaged.
        WeightsError: the file cannot be read, holds more than tensors, or not those expected.
        OptionError: the encoder has no joint space, and a file came.
        OutputError: the LoRA cannot be written.
    """
    if path.is_file():
        return _of_pandagpt(path, encoder, work)
    config, modules = _adapter.read(path)
    lora = _adapter.lora(path)
    digest = _saved.digest((path / _adapter.TENSORS).read_bytes())
    if lora:
        digest += weights.digest_folder(lora)
    return Start(path, config, state(modules), lora, 0, digest)


def _of_pandagpt(path: Path, encoder: Any, work: Path) -> Start:
    joint = getattr(encoder, "dim", 0)
    if not joint:
        raise OptionError(
            f"PandaGPT's {path.name} takes pictures in a joint space with texts, and the encoder "
            f"{encoder.name} has none. {_HINT}"
        )
    found = published.tensors(path)
    bias = found.get("llama_proj.bias")
    width = published.PUBLISHED.width if bias is None else bias.numel()
    named = [int(match[1]) for name in found if (match := _BLOCK.search(name))]
    blocks = 1 + max(named, default=published.BLOCKS - 1)
    config = replace(
        published.PUBLISHED,
        encoder=encoder.name,
        width=width,
        joint=joint,
        trained_on=f"PandaGPT as published, {path.parent.resolve().name}/{path.name}",
    )
    projection, changes = published.of_pandagpt(found, config, blocks, _HINT)
    own = {f"image.linear.{end}": projection[f"llama_proj.{end}"] for end in ("weight", "bias")}
    lora = work / _adapter.LORA
    with writing(work):
        published.write_lora(lora, changes, config.language_model)
    return Start(path, config, own, lora, blocks, _saved.digest(path.read_bytes()))
