"""Training AnomalyGPT (2308.15366) and IAD-GPT (2510.16036) over frozen models.

AnomalyGPT: decoder, prompt learner and image projection learn together (section 4); in an ablation
(table 4) LoRA learns beside the language model's weights. The loss is the sum of cross-entropy on
the answers, focal and dice loss on the decoder's map, with weights of 1 (section 3.4). The
projection that comes from PandaGPT stays as it is; the compact one, which comes from nowhere,
learns.

IAD-GPT: enhancer, decoder and fusion learn in three stages (figure 6). Focal and dice loss count
where the decoder learns, cross-entropy always (equation 10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as f

from blemish.detectors import _adapter
from blemish.detectors._adapter import AdapterConfig
from blemish.detectors._anomalygpt_turn import Seen, arranged, rows
from blemish.prompts import anomalygpt as prompts
from blemish.training.corpus import SIDE
from blemish.training.losses import dice, focal

ALPHA = 0.75
"""Weight of anomalous pixels in IAD-GPT's focal loss, whose value the document does not give. It
wants more recall of the minority, which are they; a quarter, usual where easy negatives are many,
would do the opposite."""


@dataclass(frozen=True)
class Stage:
    """A part of a training.

    Attributes:
        learns: modules, by their names in the adapter; all others stay as they are.
        maps: the language model is shown base embeddings and maps; else the picture alone.
    """

    learns: tuple[str, ...] = ("image", "decoder", "prompt_learner")
    maps: bool = True


TOGETHER = Stage()
"""A training in one stage."""
PROJECTED = Stage(("decoder", "prompt_learner"))
"""AnomalyGPT's at the published size, whose projection is PandaGPT's."""
STAGES: Mapping[int, Stage] = {
    1: Stage(("image",), maps=False),
    2: Stage(("decoder", "prompt_learner")),
    3: Stage(("image", "prompt_learner")),
}
"""IAD-GPT's three. "image" is the enhancer, "prompt_learner" the fusion; see `_adapter.modules`."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step sees.

    Attributes:
        seen: of the B pictures that are asked about, without texts; cells may be left out where
            there is no enhancer.
        maps: (B, 112, 112) in [0, 1], (B, L, 112, 112) for a fusion; those of decoded pictures are
            put in by the learner.
        decoded: the row of each decoded picture in `tokens`; -1 for other prompts.
        questions: B turns.
        answers: B.
        tokens: (D, h, w, C) of each of the decoder's layers, of the pictures that are decoded.
        masks: (D, 112, 112) bool, of these.
        texts: (1 + n, text) of the class of each of these; none where the decoder learns its own.
    """

    seen: Seen
    maps: Tensor
    decoded: tuple[int, ...]
    questions: tuple[prompts.Slots, ...]
    answers: tuple[str, ...]
    tokens: tuple[Tensor, ...]
    masks: Tensor
    texts: tuple[Tensor, ...] = ()


class Learner:
    """AnomalyGPT or IAD-GPT as the training loop sees it.

    Args:
        config: of the adapter.
        language_model: a `blemish.llms.causal.Causal`, which stays as it is.
        seed: of the first weights.
        lora: changes to the language model's weights learn too, in `self.language_model`.
        staged: it learns in the stages of `STAGES`; else all of it in stage 1.
        given: folder of the changes to the language model's weights that it has, or begins with
            where they learn; None for none.
    """

    def __init__(
        self,
        config: AdapterConfig,
        language_model: Any,
        seed: int = 0,
        *,
        lora: bool = False,
        staged: bool = False,
        given: Path | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.config, self.staged, self.given = config, staged, given
        self.language_model = language_model.learning(seed, given) if lora else language_model
        self.changes = self.language_model.changes if lora else None
        self.modules = _adapter.modules(config)
        for module in self.modules.values():
            module.to(language_model.device)

    def stage(self, number: int) -> Stage:
        """What learns in a stage, and from what."""
        if self.staged:
            return STAGES[number]
        config = self.config
        projected = config.published and config.kind == "anomalygpt" and not config.enhancer
        return PROJECTED if projected else TOGETHER

    def parameters(self, stage: int) -> Sequence[Parameter]:
        """What learns in a stage; the rest is frozen until another stage is asked for."""
        learns = self.stage(stage).learns
        for name, module in self.modules.items():
            module.requires_grad_(name in learns)
        own = [p for module in self.modules.values() for p in module.parameters()]
        changes = self.changes.parameters() if self.changes else []
        return [p for p in own if p.requires_grad] + changes

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

    def decoded(self, tokens: Sequence[Tensor], texts: Sequence[Tensor] = ()) -> Tensor:
        """(N, K, 112, 112) float32 in [0, 1]: the decoder's map of each layer for a fusion, or one.

        Args:
            tokens: (N, h, w, C) of each layer.
            texts: (1 + n, text) of each picture's class; none where the decoder learns its own.
        """
        on = [layer.to(self.language_model.device) for layer in tokens]
        decoder: Any = self.modules["decoder"]
        each = [  # by itself, since classes differ in how many texts they have
            decoder.layers([layer[i : i + 1] for layer in on], own.to(on[0]))
            for i, own in enumerate(texts)
        ]
        found: Tensor = torch.cat(each) if each else decoder.layers(on)
        if not self.config.fusion:
            found = found.mean(1, keepdim=True)
        return f.interpolate(found.float(), (SIDE, SIDE), mode="bilinear", align_corners=False)

    def turns(
        self,
        seen: Seen,
        maps: Tensor | None,
        questions: Sequence[prompts.Slots],
        stage: int = 1,
    ) -> list[Tensor]:
        """What the language model reads of each question after its prefix, (T, W) each.

        Args:
            seen: of N pictures.
            maps: (N, K, 112, 112) in [0, 1]; None without a decoder.
            questions: N.
            stage: of the training.
        """
        learner: Any = self.modules.get("prompt_learner")
        if maps is not None and learner and learner.side != SIDE:
            maps = f.interpolate(maps, (learner.side, learner.side), mode="bilinear")
        if maps is not None and not self.config.fusion:
            maps = maps[:, 0]
        shown = rows(self.modules, self._here(seen), maps)
        if not self.stage(stage).maps:
            shown = shown[:, :1]
        return [
            arranged(self.language_model, row, slots)
            for row, slots in zip(shown, questions, strict=True)
        ]

    def loss(self, batch: Batch, stage: int) -> tuple[Tensor, Mapping[str, float]]:
        """The answers' cross-entropy; and focal and dice loss, where a decoder learns."""
        part, maps, losses = self.stage(stage), None, {}
        if "decoder" in self.modules and part.maps:
            decoded = self.decoded(batch.tokens, batch.texts)
            given = batch.maps.reshape(len(batch.maps), -1, SIDE, SIDE)
            shown = [
                given[i].to(decoded) if row < 0 else decoded[row]
                for i, row in enumerate(batch.decoded)
            ]
            maps = torch.stack(shown)
            if "decoder" in part.learns:
                losses = self._compared(decoded.mean(1), batch.masks.to(decoded.device))
        turns = self.turns(batch.seen, maps, batch.questions, stage)
        before = batch.questions[0].before
        answers = self.language_model.loss(turns, batch.answers, prefix=before)
        parts = {"answers": answers, **losses}
        return sum(parts.values(), torch.zeros(())), {
            k: float(v.detach()) for k, v in parts.items()
        }

    def _compared(self, maps: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """AnomalyGPT's equations 4 and 5, or IAD-GPT's equation 8 and dice loss."""
        alpha = ALPHA if self.config.kind == "iad-gpt" else None
        return {"focal": focal(maps, masks, alpha=alpha), "dice": dice(maps, masks)}

    def _here(self, seen: Seen) -> Seen:
        """On the language model's device; cells and texts where there is an enhancer."""
        device = self.language_model.device
        if not self.config.enhancer:
            return Seen(seen.pictures.to(device))
        cells, texts = (None if t is None else t.to(device) for t in (seen.cells, seen.texts))
        return Seen(seen.pictures.to(device), cells, texts)
