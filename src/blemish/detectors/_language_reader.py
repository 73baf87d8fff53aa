"""A language model that reads a picture and its map as embeddings: AnomalyGPT's and IAD-GPT's base.

A frozen encoder gives patch tokens; a map comes from a memory bank of normal parts (equation 2), or
without any from the decoder (equation 1). What an adapter learnt turns map and picture into
embeddings, and the frozen language model answers in words. What the documents leave open, for both:

- The map that is shown to the language model is in [0, 1]: that of the decoder is; that of the
  memory bank is passed through the calibration of the normal parts, 0.5 at the operating point, so
  that maps of different parts can be compared and one adapter serves parts that it has never seen.
  Where a defect raises the whole map, 0.5 is where its regions begin.
- Where the masks of all layers are shown (IAD-GPT's fusion), each is calibrated and smoothed as
  their mean is.
- Image score of the map: its maximum, as AnomalyGPT's published code has it.
- Score: the probability of "Yes" among "Yes" and "No" as the answer's first word.
- Where the answer and the map contradict each other, the verdict is "unsure": words never lower a
  finding of the map. Inside the map's band of doubt the answer decides.
- Without a language model (an ablation) the map decides alone; without a decoder there is no map,
  from a memory bank neither, and the language model decides alone. What an adapter was trained
  without is left out.
- The picture's feature is that of ImageBind's joint space, of length 1, where an encoder has one.
  ImageBind kept the towers of OpenCLIP's ViT-H/14, so that model's feature is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from blemish.calibration import Calibration
from blemish.conversation import Speaker
from blemish.detectors import _adapter, _answer, _class_texts, _saved
from blemish.detectors._anomalygpt_turn import Shown, embeddings, scored
from blemish.detectors._bank import BankDetector, Banks
from blemish.detectors._chat_speaker import ChatSpeaker, spoken
from blemish.detectors._dialogue import OwnSpeaker
from blemish.detectors._encoded import decoded, encoded, map_of, oddest, view_of
from blemish.detectors._maps import Judged, finite, image_score, inspect_all, working_map
from blemish.detectors._reading_options import ReadingOptions, check_parts
from blemish.errors import OptionError
from blemish.prompts import anomalygpt as prompts
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

Options = TypeVar("Options", bound=ReadingOptions)


class LanguageReader(BankDetector[Options]):
    """A detector of this family; see `BankDetector`.

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

    zero_shot = True

    def __init__(
        self,
        *,
        encoder: Encoder,
        language_model: Any = None,
        speaker: ChatModel | None = None,
        options: Options,
        seed: int = 0,
        memory: Banks | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.language_model, self._chat = language_model, speaker
        found = _adapter.opened(folder := options.folder)
        self.adapter, self._learnt = found.config, found.modules
        options = options.model_copy(update=dict.fromkeys(self.adapter.left_out, False))
        super().__init__(
            encoder=encoder, options=options, seed=seed, memory=memory, calibration=calibration
        )
        _adapter.check(self.adapter, folder, encoder, language_model, self.name)
        if language_model is not None:
            _adapter.check_lora(found, folder, options.lora, language_model)
        check_parts(self.adapter, self._layers, language_model, options.decoder)
        self._read = tuple(sorted({*self._layers, *self.adapter.layers}))
        self._texts = lru_cache(maxsize=_class_texts.KEPT)(self._gathered)
        self.fingerprint = _saved.fingerprint(
            self.fingerprint, prompts.version(), found.digest, self.fingerprints
        )

    @property
    def parts(self) -> dict[str, Any]:
        """The parts that were given, by name."""
        models = {"language_model": self.language_model, "speaker": self._chat}
        return super().parts | {name: model for name, model in models.items() if model}

    @property
    def _imported(self) -> bool:
        """The adapter came with readings of its publishers: raw maps, and turns that follow."""
        return False

    @property
    def _layers(self) -> tuple[int, ...]:
        """Of the memory bank: the decoder's."""
        return self.options.layers or self.adapter.layers

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
        self, views: Sequence[Sample], seen: Sequence[Features], maps: Sequence[Shown]
    ) -> list[Tensor]:
        """(1 + n, W) for each view: what the language model is shown of it; see the options.

        Args:
            views: N, each as a sample of its own.
            seen: the same, encoded as `_see` does.
            maps: their raw maps, of any sizes, or those of each layer where the adapter fuses
                them; none without a decoder.
        """
        import torch

        texts = [self._texts(v.class_name) for v in views] if self.adapter.enhancer else []
        if self.calibration and not self._imported:
            maps = [scored(m, self.calibration) for m in maps]
        with torch.inference_mode():
            known = encoded(self.adapter, self.encoder, [v.image for v in views], seen, texts)
            rows = embeddings(self._learnt, self.language_model, known, maps)
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
        # What blemish trains learns from single turns, what was published from dialogues too.
        return OwnSpeaker(
            self.name,
            self.language_model,
            self._shown_of,
            described=self.options.description,
            history=self._imported,
        )

    def _shown_of(self, sample: Sample, inspection: Inspection) -> Tensor:
        """What the language model was shown for an inspection; see `shown`."""
        judge = self
        if sample.references:
            judge = self.fit([r for r in sample.references if isinstance(r, Sample)])
        view = view_of(sample, inspection)
        seen = judge._see(view.images)
        if self.adapter.fusion:
            maps = [judge._smooth(layers) for layers in judge._layered(view, seen)]
            return judge.shown([view], seen, maps)[0]
        return judge.shown([view], seen, map_of(inspection))[0]

    def _predict(self, samples: Sequence[Sample]) -> list[Inspection]:
        if not samples:
            return []
        seen: list[Features] = []
        layered: list[Sequence[AnomalyMap]] = []

        def see(images: Sequence[Image]) -> list[Features]:
            seen.extend(self._see(images))
            return seen

        def judge(sample: Sample, views: list[Features]) -> Judged:
            own = self._layered(sample, views)
            layered.extend(own)
            return self._judged(own, views)

        point = self._point() if self.options.decoder else None
        found = inspect_all(samples, see=see, judge=judge, point=point)
        if self.language_model is not None:
            found = self._answered(samples, found, seen, layered)
        found = [self._told(s, f) for s, f in zip(samples, found, strict=True)]
        return found if self._chat is None else spoken(self._chat, samples, found)

    def _told(self, sample: Sample, found: Inspection) -> Inspection:
        """An inspection with whatever else a detector has to say."""
        return found

    def _judge(self, sample: Sample, seen: list[Features]) -> Judged:
        return self._judged(self._layered(sample, seen), seen)

    def _judged(self, layered: Sequence[Sequence[AnomalyMap]], seen: list[Features]) -> Judged:
        if self._memory is not None:
            return super()._judged(layered, seen)
        maps = [working_map(layers, self.options.sigma) for layers in layered]
        return Judged(maps, image_score(maps, self.options.top) if maps else 0.0, {})

    def _layered(self, sample: Sample, seen: Sequence[Features]) -> list[Sequence[AnomalyMap]]:
        """For each view, (h, w) of each layer: equation 2, or 1 where no normal part is known."""
        if not self.options.decoder:
            return []
        if self._memory is not None:
            return [self._distances(view) for view in seen]
        texts, decoder = self._texts(sample.class_name), self._learnt["decoder"]
        return [decoded(decoder, self.adapter.layers, view, texts) for view in seen]

    def _smooth(self, layers: Sequence[AnomalyMap]) -> list[AnomalyMap]:
        """Each layer's map as `working_map` has their mean."""
        return [working_map([layer], self.options.sigma) for layer in layers]

    def _gathered(self, class_name: str) -> Tensor | None:
        """Text features of a class; see `_class_texts.texts`."""
        return _class_texts.texts(self.adapter, self.encoder, class_name, None)

    def _answered(
        self,
        samples: Sequence[Sample],
        found: Sequence[Inspection],
        seen: Sequence[Features],
        layered: Sequence[Sequence[AnomalyMap]],
    ) -> list[Inspection]:
        """Inspections with what the language model says; of several views, of the oddest."""
        views = [view_of(*both) for both in zip(samples, found, strict=True)]
        starts = np.cumsum([0, *(len(sample.images) for sample in samples[:-1])])
        at = [start + oddest(one) for start, one in zip(starts, found, strict=True)]
        maps: list[Shown] = [m for one in found for m in map_of(one)]
        if self.adapter.fusion and layered:
            maps = [self._smooth(layered[place]) for place in at]
        described = [
            prompts.description(s.class_name) if self.options.description else "" for s in samples
        ]
        rows = self.shown(views, [seen[place] for place in at], maps)
        answers = _answer.asked(self.language_model, rows, described, free=self._imported)
        if not self.options.decoder:
            found = [
                replace(f, raw_score=a.probability, explanation=f"The answer: {a.text}")
                for f, a in zip(found, answers, strict=True)
            ]
        return [_answer.fused(f, answer) for f, answer in zip(found, answers, strict=True)]
