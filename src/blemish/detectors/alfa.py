"""ALFA (2404.09654): prompts of a language model, scored for each picture, and aligned texts.

Run-time prompt adaptation (section 4.2) gathers prompts for both states of a class and keeps, for
each picture, those that tell something about it; the fine-grained aligner (4.3) takes the texts
into the local space of every window. What the document leaves open, and how it is read here:

- Contextual scoring: `_contextual`. The aligner: `_aligner`. Descriptors: `_anomaly_prompts`.
- Every softmax takes the model's own logit scale, 100 for trained models: at the printed scale of
  1 every score would be close to 0.5.
- A side's text is the mean of its kept prompts' embeddings, of length 1 again.
- The map is the harmonic mean over the scales' maps, each the harmonic mean over the windows that
  cover a patch, as in WinCLIP; the picture as a whole is no scale of it.
- Few-shot (section 4.3, last paragraph): the association map of WinCLIP+ is added to the zero-shot
  map, and equation 12 takes the maximum of the sum; S_G stays as it is (table 6).
- Table 2, first row, "normal prompts alone": neither template nor language model adds to the
  template's normal prompts; half of 1 - cosine to them stands for the probability. Its scores can
  be compared and calibrated, but nothing decides without normal parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from blemish.calibration import Calibration, OperatingPoint
from blemish.detectors import _saved, _windows
from blemish.detectors._aligner import aligned
from blemish.detectors._anomaly_prompts import AnomalyPrompts, PromptSource, assembled
from blemish.detectors._clip import ClipDetector, Floats, Found, JointEncoder, Normals, mean, sound
from blemish.detectors._contextual import contextual_scores, kept
from blemish.detectors._explained import Explained, PromptScore
from blemish.detectors._maps import inspect_all
from blemish.detectors._textual import over_scales, over_windows, probability
from blemish.detectors._windows import View, WindowOptions
from blemish.prompts import contrast
from blemish.prompts.contrast import Prompts
from blemish.types import ChatModel, Image, Sample

NAMED = 5
"""Descriptors that an explanation names, as figure 6 does."""


class ALFAOptions(WindowOptions):
    """Options of `alfa`; the switches are those of the document's ablations.

    Attributes:
        prompts: a file of prompts, or a folder with one for each class, in place of the language
            model's or the bank's.
        template_prompts: use those of the unified template.
        llm_prompts: use those of a language model. With both off, the template's normal prompts
            stand alone (table 2, first row).
        syntactic_consistency: ask the language model for sentences that begin alike (table 3).
        most_prompts: at most so many prompts of each kind and side, the first ones.
        contextual_scoring: keep only the prompts that tell something about the picture.
        aligner: take the texts into each window's local space.
        ridge: of the aligner; see `_aligner.transformation`.
        class_score: S_G, equation 10, takes part in the image score (table 6).
        map_score: the maximum of S_L, equation 11, takes part in it.
    """

    prompts: str = ""
    template_prompts: bool = True
    llm_prompts: bool = True
    syntactic_consistency: bool = True
    most_prompts: int | None = Field(None, ge=1)
    contextual_scoring: bool = True
    aligner: bool = True
    ridge: float = Field(1e-3, gt=0)
    class_score: bool = True
    map_score: bool = True

    @property
    def one_class(self) -> bool:
        """Normal prompts alone."""
        return not (self.template_prompts or self.llm_prompts)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not (self.class_score or self.map_score):
            raise ValueError("class_score or map_score has to be on: one of them is the score")
        if self.one_class and self.contextual_scoring:
            raise ValueError(
                "contextual_scoring compares two sides, and template_prompts and llm_prompts are "
                "both off, which leaves normal prompts alone; switch it off as well"
            )
        return self


@dataclass(frozen=True, eq=False)
class _Chosen:
    """What contextual scoring makes of the prompts for one view.

    Attributes:
        similarity: (P,) equations 2 and 3.
        scores: (P,) equation 4; 0 where it is switched off.
        kept: (P,) bool.
    """

    similarity: Floats
    scores: Floats
    kept: NDArray[np.bool_]


class ALFA(ClipDetector[ALFAOptions, View, AnomalyPrompts]):
    """The detector. `blemish.load("alfa")` builds it; see `ClipDetector`.

    It needs no normal part; those that come fill a memory bank and calibrate it.

    Args:
        encoder: a CLIP model.
        language_model: writes the prompts of a class, once; without one they come from the option
            `prompts` or from the bank.
        options: its own.
        seed: nothing here is random; kept for the record.
        memory: of a fitted detector.
        calibration: its operating point.
    """

    name = "alfa"

    def __init__(
        self,
        *,
        encoder: JointEncoder,
        language_model: ChatModel | None = None,
        options: ALFAOptions,
        seed: int = 0,
        memory: Normals | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.language_model = language_model
        self._source = PromptSource(options.prompts, language_model, options.syntactic_consistency)
        super().__init__(
            encoder=encoder, options=options, seed=seed, memory=memory, calibration=calibration
        )
        self.fingerprint = _saved.fingerprint(self.fingerprint, self._source.fingerprint)

    @property
    def parts(self) -> dict[str, Any]:
        """The parts that were given, by name."""
        model = {"language_model": self.language_model} if self.language_model else {}
        return super().parts | model

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each part, and of the prompts."""
        prompts = _saved.fingerprint(contrast.digest(), self._source.fingerprint)
        return super().fingerprints | {"prompts": prompts}

    def explain(self, sample: Sample) -> Explained:
        """What the decision on a sample stands on; of several views, on the one that decides.

        References of the sample's own are not looked at.

        Raises:
            OptionError: nothing has prompts for the sample's class.
            ChatError: the language model gave none.
        """
        sample = replace(sample, references=())
        self._check(sample.class_name)
        known = self._words(sample.class_name)
        views = self._see(sample.images)
        (inspection,) = inspect_all(
            [sample], see=lambda _: views, judge=self._judge, point=self._point()
        )
        number = int(np.argmax([self._found(known, view).score for view in views]))
        whole = views[number].whole
        best = tuple(_best(known, whole, len(known.descriptors)))
        prompts = tuple(self._told(known, self._chosen(known, whole)))
        return Explained(inspection, prompts, best, whole, known.embeddings)

    def scored(self, sample: Sample) -> tuple[PromptScore, ...]:
        """Every prompt beside a sample's first view, from the picture as a whole alone.

        Raises:
            OptionError, ChatError: as for `explain`.
        """
        known = self._words(sample.class_name)
        found = self.encoder.joint([sample.image], size=self.options.size)
        sound(found.embeddings)
        return tuple(self._told(known, self._chosen(known, found.embeddings[0])))

    def _point(self) -> OperatingPoint | None:
        if self.calibration is None and self.options.one_class:
            return None
        return super()._point()

    def _bounds(self) -> tuple[float, float]:
        o, top = self.options, 2.0  # S_L and the association, each up to 1
        return top, float(np.mean([1.0] * o.class_score + [top] * o.map_score))

    def _see(self, images: Sequence[Image]) -> list[View]:
        return _windows.seen(self.encoder, images, self.options, self.options.aligner)

    def _tokens(self, views: Sequence[View]) -> dict[int, Floats]:
        return _windows.tokens(views)

    def _gathered(self, class_name: str) -> AnomalyPrompts:
        """T_vanilla, as the switches have it."""
        o, most = self.options, self.options.most_prompts
        templates = contrast.alfa(class_name)
        if not o.template_prompts:
            templates = Prompts(templates.normal if o.one_class else (), ())
        templates = Prompts(templates.normal[:most], templates.abnormal[:most])
        written = self._source.written(class_name) if o.llm_prompts else None
        if written:
            normal, abnormal = written.normal[:most], written.abnormal[:most]
            written = replace(written, normal=normal, abnormal=abnormal)
        return assembled(class_name, templates, written, self.encoder.encode_text)

    def _found(self, words: AnomalyPrompts, view: View, without: int | None = None) -> Found:
        """Equations 10 to 12."""
        o, chosen = self.options, self._chosen(words, view.whole)
        sides = (~words.abnormal, words.abnormal)[: 1 if o.one_class else 2]
        texts = np.stack([mean(words.embeddings[chosen.kept & side]) for side in sides])
        whole = float(self._share(view.whole, texts))
        maps = []
        for scale, windows in view.windows.items():
            local = texts
            if view.values is not None:
                rows, values = view.rows[scale], view.window_values[scale]
                local = aligned(texts, view.values, rows, values, o.ridge)
            maps.append(over_windows(self._share(windows, local), view.side, scale))
        places = over_scales(maps)
        if self._memory is not None:
            places = places + _windows.association(view, self._memory.banks, without)
        highest = float(places.max())
        parts = [whole] * o.class_score + [highest] * o.map_score
        best = _best(words, view.whole, NAMED)
        kept_of = {
            label: f"{int((chosen.kept & side).sum())} of {int(side.sum())} kept"
            for label, side in (("normal", ~words.abnormal), ("abnormal", words.abnormal))
        }
        evidence = {
            "whole_picture": whole,
            "highest_place": highest,
            "prompts": {"by": words.made_by or "template", **kept_of},
            "descriptors": [{"text": t, "similarity": s} for t, s in best],
        }
        said = "; ".join(f"{text} ({similarity:.2f})" for text, similarity in best)
        said = f"Most like it of what an anomaly may be: {said}." if said else ""
        return Found(places, float(np.mean(parts)), evidence, said)

    def _chosen(self, words: AnomalyPrompts, whole: Floats) -> _Chosen:
        """Run-time prompt adaptation, algorithm 1."""
        similarity = words.embeddings @ whole
        if not self.options.contextual_scoring:
            return _Chosen(similarity, np.zeros_like(similarity), np.ones(len(similarity), bool))
        scores = contextual_scores(similarity, words.abnormal)
        return _Chosen(similarity, scores, kept(scores, words.abnormal))

    def _share(self, image: Floats, texts: Floats) -> NDArray[np.float64]:
        """Equations 10 and 11; with a normal text alone, half of 1 - cosine to it."""
        if not self.options.one_class:
            return probability(image, texts, self.encoder.logit_scale)
        away = 1 - np.einsum("...d,...d->...", image, texts[..., 0, :], dtype=np.float64)
        return np.asarray(np.maximum(away / 2, 0))

    def _told(self, words: AnomalyPrompts, chosen: _Chosen) -> Iterator[PromptScore]:
        """What became of each prompt."""
        for i, text in enumerate(words.texts):
            yield PromptScore(
                text=text,
                label="abnormal" if words.abnormal[i] else "normal",
                source=words.sources[i],
                similarity=float(chosen.similarity[i]),
                score=float(chosen.scores[i]),
                kept=bool(chosen.kept[i]),
                why=self._why(words, chosen, i),
            )

    def _why(self, words: AnomalyPrompts, chosen: _Chosen, number: int) -> str:
        """Why a prompt was kept or dropped, in a sentence."""
        if not self.options.contextual_scoring:
            return "contextual scoring is off"
        others = chosen.similarity[words.abnormal != words.abnormal[number]]
        other = "normal" if words.abnormal[number] else "abnormal"
        span = f"the {other} prompts, {others.min():.3f} to {others.max():.3f}"
        if chosen.scores[number] > 0:
            return f"outside {span}"
        if chosen.kept[number]:
            return f"inside {span}, but so is every prompt of its side, which stays whole"
        return f"inside {span}"


def _best(words: AnomalyPrompts, whole: Floats, most: int) -> Sequence[tuple[str, float]]:
    """Descriptors by their cosine to a picture, best first (section 5.4)."""
    if not words.descriptors:
        return []
    similarity = words.described @ whole
    order = np.argsort(-similarity, kind="stable")[:most]
    return [(words.descriptors[i], float(similarity[i])) for i in order]
