"""AnomalyGPT (2308.15366): a language model reads a picture and its localisation map, and answers.

A frozen encoder gives patch tokens; a map comes from a memory bank of normal parts (equation 2), or
without any from the decoder (equation 1). The prompt learner turns the map into embeddings, a
linear layer the picture into one, and the frozen language model answers in words (section 3.3).
Readings:

- The map that the prompt learner sees is in [0, 1]: that of the decoder is; that of the memory bank
  is passed through the calibration of the normal parts, 0.5 at the operating point, so that maps of
  different parts can be compared and one adapter serves parts that it has never seen.
  The published prompt learner saw few-shot maps as they are, and is shown them so.
- Image score of the map: its maximum, as the published code has it.
- Score: the probability of "Yes" among "Yes" and "No" as the answer's first word.
- Where the answer and the map contradict each other, the verdict is "unsure": words never lower a
  finding of the map. Inside the map's band of doubt the answer decides.
- Without a language model (the document's ablation) the map decides alone; without a decoder there
  is no map, from a memory bank neither, and the language model decides alone. What an adapter was
  trained without is left out.
- What was published projects the picture's feature in ImageBind's joint space, of length 1, by one
  linear layer. ImageBind kept the towers of OpenCLIP's ViT-H/14, so that model's feature is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field

from blemish.calibration import Calibration
from blemish.conversation import Speaker
from blemish.detectors import _adapter, _saved
from blemish.detectors._anomalygpt_turn import arranged, embeddings
from blemish.detectors._answer import Answer, fused
from blemish.detectors._bank import BankDetector, BankOptions, Banks
from blemish.detectors._chat_speaker import ChatSpeaker, spoken
from blemish.detectors._clip import ensemble
from blemish.detectors._dialogue import OwnSpeaker
from blemish.detectors._maps import Judged, finite, image_score, inspect_all, working_map
from blemish.errors import OptionError
from blemish.prompts import anomalygpt as prompts
from blemish.prompts import contrast
from blemish.types import (
    AnomalyMap,
    ChatModel,
    Encoder,
    Example,
    Features,
    Image,
    Inspection,
    Sample,
)

if TYPE_CHECKING:
    from torch import Tensor

ANSWER = 48
"""Tokens up to which an answer is written."""
CLASSES = 64
"""Whose text features are kept."""


class AnomalyGPTOptions(BankOptions):
    """Options of `anomalygpt`; see `BankOptions`. The default of `top` is 0, the map's maximum.

    Attributes:
        false_alarms: share of normal parts that the map may mark; 0 for the share at which as many
            anomalous parts are missed, from what made-up parts show.
        adapter: folder of what was trained; "" for the one that ships with blemish.
        prompt_learner: show the language model base embeddings and map (this and the next two are
            the document's ablations, table 4).
        decoder: make a map, from normal parts too; without, the language model decides alone.
        lora: change the language model's weights as the adapter says, where it says so.
        four_bit: hold the language model's weights in 4 bits.
        description: tell it what a normal part of the class looks like, where that is known.
    """

    adapter: str = ""
    prompt_learner: bool = True
    decoder: bool = True
    lora: bool = True
    four_bit: bool = False
    description: bool = True
    top: float = Field(0.0, ge=0, le=1)
    false_alarms: float = Field(0.0, ge=0, le=0.5)

    def causal(self) -> dict[str, Any]:
        """What `blemish.llms.causal.Causal` is built with, beside its name, device and dtype."""
        folder = adapter_folder(self.adapter)
        return {"four_bit": self.four_bit, "lora": _adapter.lora(folder, self.lora)}


class AnomalyGPT(BankDetector[AnomalyGPTOptions]):
    """The detector. `blemish.load("anomalygpt")` builds it; see `BankDetector`.

    Args:
        encoder: gives patch tokens.
        language_model: a causal model that takes embeddings, `blemish.llms.causal.Causal`; None
            for the map alone.
        speaker: a chat model that explains what was found, in place of the language model's answer;
            verdict and score stay, but for "unsure" where its words contradict the finding.
        options: its own.
        seed: of the memory bank.
        memory: of a fitted detector.
        calibration: its operating point.

    Raises:
        SavedError: the adapter is damaged.
        WeightsError: it belongs to another encoder or language model.
        OptionError: neither map nor language model, or layers that the adapter does not go with.
    """

    name = "anomalygpt"
    zero_shot = True

    def __init__(
        self,
        *,
        encoder: Encoder,
        language_model: Any = None,
        speaker: ChatModel | None = None,
        options: AnomalyGPTOptions,
        seed: int = 0,
        memory: Banks | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.language_model, self._chat = language_model, speaker
        folder = adapter_folder(options.adapter)
        found = _adapter.opened(folder)
        self.adapter, self._learnt = found.config, found.modules
        options = options.model_copy(update=dict.fromkeys(self.adapter.left_out, False))
        super().__init__(
            encoder=encoder, options=options, seed=seed, memory=memory, calibration=calibration
        )
        _adapter.check(self.adapter, folder, encoder, language_model, self.name)
        if language_model is not None:
            _adapter.check_lora(found, folder, options.lora, language_model)
        self._check()
        self._read = tuple(sorted({*self._layers, *self.adapter.layers}))
        self._texts = lru_cache(maxsize=CLASSES)(self._gathered)
        self.fingerprint = _saved.fingerprint(
            self.fingerprint, prompts.version(), found.digest, self.fingerprints
        )

    @property
    def parts(self) -> dict[str, Any]:
        """The parts that were given, by name."""
        models = {"language_model": self.language_model, "speaker": self._chat}
        return super().parts | {name: model for name, model in models.items() if model}

    @property
    def _layers(self) -> tuple[int, ...]:
        """Of the memory bank; what was published keeps the decoder's."""
        own = self.adapter.layers if self.adapter.published else self.encoder.default_layers
        return self.options.layers or own

    def _check(self) -> None:
        if self.language_model is None and not self.options.decoder:
            raise OptionError(
                "Neither decoder nor language model came, so nothing would decide. Name a language "
                "model, or keep the decoder and take an adapter that has one."
            )
        last = max(self.adapter.layers)
        if self.language_model and max(self._layers) > last and not self.adapter.joint:
            raise OptionError(
                f"The memory bank takes layers {self._layers}, and the class token of the last of "
                f"all stands for the picture; the adapter knows that of layer {last}. Give layers "
                f"up to {last}."
            )

    def fit(self, normals: Sequence[Sample], feedback: Sequence[Example] = ()) -> Self:
        """See `EncoderDetector.fit`. Without a decoder there is nothing to learn."""
        return super().fit(normals, feedback) if self.options.decoder else self

    def _point_of(
        self,
        scores: Sequence[float],
        rule: str,
        known: Sequence[Sample],
        bound: float | None = None,
    ) -> Calibration:
        if len(known) > 1:
            point = Calibration.from_normals(scores, rule=rule, bound=bound).left_out()
        else:
            point = Calibration.from_copies(scores, rule=rule, bound=bound)
        target = self.options.false_alarms
        return point.moved(target) if target else point.even()

    def _see(self, images: Sequence[Image]) -> list[Features]:
        return finite(self.encoder.encode(images, layers=self._read, size=self._size))

    def shown(
        self, images: Sequence[Image], seen: Sequence[Features], maps: Sequence[AnomalyMap]
    ) -> list[Tensor]:
        """(1 + n, W) for each view: what the language model is shown of it; see the options.

        Args:
            images: N views.
            seen: the same, encoded as `_see` does.
            maps: their raw maps, of any sizes; none without a decoder.
        """
        import torch

        encoder: Any = self.encoder
        pictures = (
            np.asarray(encoder.embed(images), np.float32)
            if self.adapter.joint
            else np.stack([features.class_token for features in seen])
        )
        if (point := self._point()) and not self.adapter.published:
            maps = [point.score(m) for m in maps]
        with torch.inference_mode():
            rows = embeddings(self._learnt, self.language_model, pictures, maps)
        return rows if self.options.prompt_learner else [row[:1] for row in rows]

    def speaker(self) -> Speaker:
        """Who talks about this detector's inspections: its language model, or the chat model.

        Raises:
            OptionError: it has neither.
        """
        if self._chat is not None:
            return ChatSpeaker(self._chat)
        if self.language_model is None:
            raise OptionError(
                f"This {self.name} has no language model to talk with. Name one, or let a chat "
                "model speak: blemish.speaker('openai:gpt-5'), on the command line --llm."
            )
        # The compact adapter is trained on single turns, what was published on dialogues too.
        return OwnSpeaker(
            self.name,
            self.language_model,
            self._shown_of,
            described=self.options.description,
            history=self.adapter.published,
        )

    def _shown_of(self, sample: Sample, inspection: Inspection) -> Tensor:
        """What the language model was shown for an inspection; see `shown`."""
        judge = self
        if sample.references:
            judge = self.fit([r for r in sample.references if isinstance(r, Sample)])
        view = _oddest(inspection)
        images = [sample.images[view]]
        return judge.shown(images, judge._see(images), inspection.maps[view : view + 1])[0]

    def _predict(self, samples: Sequence[Sample]) -> list[Inspection]:
        if not samples:
            return []
        seen: list[Features] = []

        def see(images: Sequence[Image]) -> list[Features]:
            seen.extend(self._see(images))
            return seen

        point = self._point() if self.options.decoder else None
        found = inspect_all(samples, see=see, judge=self._judge, point=point)
        if self.language_model is not None:
            found = self._answered(samples, found, seen)
        return found if self._chat is None else spoken(self._chat, samples, found)

    def _judge(self, sample: Sample, seen: list[Features]) -> Judged:
        if not self.options.decoder:
            return Judged([], 0.0, {})
        if self._memory is not None:
            return super()._judge(sample, seen)
        maps = [self._decoded(view, sample.class_name) for view in seen]
        return Judged(maps, image_score(maps, self.options.top), {})

    def _decoded(self, features: Features, class_name: str) -> AnomalyMap:
        """Equation 1 for one view, at the working scale."""
        import torch

        tokens = [torch.from_numpy(features.patches[k])[None] for k in self.adapter.layers]
        with torch.inference_mode():
            decoded = self._learnt["decoder"](tokens, self._texts(class_name))[0].numpy()
        return working_map([np.asarray(decoded, np.float32)], self.options.sigma)

    def _gathered(self, class_name: str) -> Tensor | None:
        """(2, text): text features of a class; None where the decoder learnt its own."""
        import torch

        if self.adapter.learned_texts:
            return None
        encoder: Any = self.encoder
        return torch.from_numpy(ensemble(encoder, contrast.winclip(class_name)))

    def _answered(
        self, samples: Sequence[Sample], found: Sequence[Inspection], seen: Sequence[Features]
    ) -> list[Inspection]:
        """Inspections with what the language model says; of several views, of the oddest."""
        images, features, start = [], [], 0
        maps: list[AnomalyMap] = []
        for sample, inspection in zip(samples, found, strict=True):
            view = _oddest(inspection)
            images.append(sample.images[view])
            features.append(seen[start + view])
            maps += inspection.maps[view : view + 1]
            start += len(sample.images)
        described = [
            prompts.description(s.class_name) if self.options.description else "" for s in samples
        ]
        answers = self._ask(self.shown(images, features, maps), described)
        if not self.options.decoder:
            found = [
                replace(f, raw_score=a.probability, explanation=f"The answer: {a.text}")
                for f, a in zip(found, answers, strict=True)
            ]
        return [fused(f, answer) for f, answer in zip(found, answers, strict=True)]

    def _ask(self, rows: Sequence[Tensor], described: Sequence[str]) -> list[Answer]:
        import torch

        question = prompts.questions()[0]
        slots = [prompts.prompt(question, words) for words in described]
        with torch.inference_mode():
            said = self.language_model.generate(
                [arranged(self.language_model, r, s) for r, s in zip(rows, slots, strict=True)],
                prefix=slots[0].before,
                most=ANSWER,
                stop=(prompts.STOP,),
                deciding=prompts.DECIDING,
            )
        yes, no = prompts.DECIDING
        return [
            Answer(
                one.text,
                one.first[yes] / max(one.first[yes] + one.first[no], 1e-12),
                prompts.read(one.text, ended=one.ended),
            )
            for one in said
        ]


def _oddest(inspection: Inspection) -> int:
    """The view that the language model is shown."""
    return int(np.argmax([m.max() for m in inspection.maps])) if inspection.maps else 0


def adapter_folder(named: str) -> Path:
    """Where an adapter lies; "" for the one that ships."""
    if named:
        return Path(named).expanduser()
    return Path(__file__).parent / "adapters" / "anomalygpt"
