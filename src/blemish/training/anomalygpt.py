"""Training AnomalyGPT (2308.15366): decoder, prompt learner and image projection.

Encoder and language model stay frozen (section 4); in an ablation (table 4) LoRA learns beside the
language model's weights. The loss is the sum of cross-entropy on the answers, focal and dice loss
on the decoder's map, with weights of 1 (section 3.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as f

from blemish.detectors import _adapter
from blemish.detectors._adapter import AdapterConfig
from blemish.detectors._anomalygpt_turn import arranged, rows
from blemish.prompts import anomalygpt as prompts
from blemish.training.corpus import SIDE
from blemish.training.losses import dice, focal


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step sees.

    Attributes:
        class_tokens: (B, C) of the pictures that are asked about.
        maps: (B, 112, 112) in [0, 1]; those of decoded pictures are put in by the learner.
        decoded: the row of each decoded picture in `tokens`; -1 for other prompts.
        questions: B turns.
        answers: B.
        tokens: (D, h, w, C) of each of the decoder's layers, of the pictures that are decoded.
        masks: (D, 112, 112) bool, of these.
    """

    class_tokens: Tensor
    maps: Tensor
    decoded: tuple[int, ...]
    questions: tuple[prompts.Slots, ...]
    answers: tuple[str, ...]
    tokens: tuple[Tensor, ...]
    masks: Tensor


class Learner:
    """AnomalyGPT as the training loop sees it.

    Args:
        config: of the adapter.
        language_model: a `blemish.llms.causal.Causal`, which stays as it is.
        seed: of the first weights.
        lora: changes to the language model's weights learn too, in `self.language_model`.
    """

    def __init__(
        self, config: AdapterConfig, language_model: Any, seed: int = 0, *, lora: bool = False
    ) -> None:
        torch.manual_seed(seed)
        self.config = config
        self.language_model = language_model.learning(seed) if lora else language_model
        self.changes = self.language_model.changes if lora else None
        self.modules = _adapter.modules(config)
        for module in self.modules.values():
            module.to(language_model.device)

    def parameters(self, stage: int) -> Sequence[Parameter]:
        """All of them: there is one stage."""
        own = [p for module in self.modules.values() for p in module.parameters()]
        return own + (self.changes.parameters() if self.changes else [])

    def adapter_state(self) -> dict[str, Tensor]:
        """See `blemish.training.loop.Trainable`."""
        states = {name: module.state_dict() for name, module in self.modules.items()}
        states |= {_adapter.LORA: self.changes.state()} if self.changes else {}
        return {f"{name}.{key}": t for name, state in states.items() for key, t in state.items()}

    def load_adapter(self, state: Mapping[str, Tensor]) -> None:
        """See `blemish.training.loop.Trainable`."""
        loads = {name: module.load_state_dict for name, module in self.modules.items()}
        loads |= {_adapter.LORA: self.changes.load} if self.changes else {}
        for name, load in loads.items():
            start = f"{name}."
            load({k.removeprefix(start): t for k, t in state.items() if k.startswith(start)})

    def decoded(self, tokens: Sequence[Tensor]) -> Tensor:
        """(N, 112, 112) float32 in [0, 1]: the decoder's maps.

        Args:
            tokens: (N, h, w, C) of each layer.
        """
        found = self.modules["decoder"]([layer.to(self.language_model.device) for layer in tokens])
        sized = f.interpolate(
            found[:, None].float(), (SIDE, SIDE), mode="bilinear", align_corners=False
        )
        return sized[:, 0]

    def turns(
        self, class_tokens: Tensor, maps: Tensor | None, questions: Sequence[prompts.Slots]
    ) -> list[Tensor]:
        """What the language model reads of each question after its prefix, (T, W) each.

        Args:
            class_tokens: (N, C) of the pictures.
            maps: (N, 112, 112) in [0, 1]; None without a decoder.
            questions: N.
        """
        shown = rows(self.modules, class_tokens.to(self.language_model.device), maps)
        return [
            arranged(self.language_model, row, slots)
            for row, slots in zip(shown, questions, strict=True)
        ]

    def loss(self, batch: Batch, stage: int) -> tuple[Tensor, Mapping[str, float]]:
        """Equations 3 to 5, summed; equation 3 alone without a decoder."""
        maps, losses = None, {}
        if "decoder" in self.modules:
            decoded = self.decoded(batch.tokens)
            masks = batch.masks.to(decoded.device)
            shown = [
                batch.maps[i].to(decoded) if row < 0 else decoded[row]
                for i, row in enumerate(batch.decoded)
            ]
            maps = torch.stack(shown)
            losses = {"focal": focal(decoded, masks), "dice": dice(decoded, masks)}
        turns = self.turns(batch.class_tokens, maps, batch.questions)
        before = batch.questions[0].before
        answers = self.language_model.loss(turns, batch.answers, prefix=before)
        parts = {"answers": answers, **losses}
        return sum(parts.values(), torch.zeros(())), {
            k: float(v.detach()) for k, v in parts.items()
        }
