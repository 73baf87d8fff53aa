"""AnomalyGPT (2308.15366): a language model reads a picture and its localisation map, and answers.

A frozen encoder gives patch tokens; a map comes from a memory bank of normal parts (equation 2), or
without any from the decoder (equation 1). The prompt learner turns the map into embeddings, a
linear layer the picture into one, and the frozen language model answers in words (section 3.3).
Readings:

- The map that the prompt learner sees is in [0, 1]: that of the decoder is; that of the memory bank
  is passed through the calibration of the normal parts, 0.5 at the operating point, so that maps of
  different parts can be compared and one adapter serves parts that it has never seen.
- Score: the probability of "Yes" among "Yes" and "No" as the answer's first word.
- Where the answer and the map contradict each other, the verdict is "unsure": words never lower a
  finding of the map. Inside the map's band of doubt the answer decides.
- Without a language model (the document's ablation) the map decides alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from blemish.calibration import Calibration, OperatingPoint
from blemish.detectors import _adapter, _saved
from blemish.detectors._bank import BankDetector, BankOptions, Banks
from blemish.detectors._maps import Judged, finite, inspect_all, working_map
from blemish.prompts import anomalygpt as prompts
from blemish.types import AnomalyMap, Encoder, Features, Image, Inspection, Sample, Usage, Verdict

if TYPE_CHECKING:
    from torch import Tensor

ANSWER = 48
"""Tokens up to which an answer is written."""


class AnomalyGPTOptions(BankOptions):
    """Options of `anomalygpt`; see `BankOptions`.

    Attributes:
        adapter: folder of what was trained; "" for the one that ships with blemish.
        prompt_learner: show the language model the map (the document's ablation).
        description: tell it what a normal part of the class looks like, where that is known.
    """

    adapter: str = ""
    prompt_learner: bool = True
    description: bool = True


@dataclass(frozen=True)
class _Answer:
    """What the language model said of one picture.

    Attributes:
        text: as written.
        probability: of "Yes" among "Yes" and "No".
        told: what it says.
    """

    text: str
    probability: float
    told: prompts.Told


class AnomalyGPT(BankDetector[AnomalyGPTOptions]):
    """The detector. `blemish.load("anomalygpt")` builds it; see `BankDetector`.

    Args:
        encoder: gives patch tokens.
        language_model: a causal model that takes embeddings, `blemish.llms.causal.Causal`; None
            for the map alone.
        options: its own.
        seed: of the memory bank.
        memory: of a fitted detector.
        calibration: its operating point.

    Raises:
        SavedError: the adapter is damaged.
        WeightsError: it belongs to another encoder or language model.
    """

    name = "anomalygpt"
    zero_shot = True

    def __init__(
        self,
        *,
        encoder: Encoder,
        language_model: Any = None,
        options: AnomalyGPTOptions,
        seed: int = 0,
        memory: Banks | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.language_model = language_model
        super().__init__(
            encoder=encoder, options=options, seed=seed, memory=memory, calibration=calibration
        )
        folder = adapter_folder(options.adapter)
        self.adapter, self._learnt = _adapter.read(folder)
        _adapter.check(self.adapter, folder, encoder, language_model, self.name)
        self._read = tuple(sorted({*self._layers, *self.adapter.layers}))
        tensors = (folder / _adapter.TENSORS).read_bytes()
        self.fingerprint = _saved.fingerprint(
            self.fingerprint, prompts.version(), _saved.digest(tensors), self.fingerprints
        )

    @property
    def parts(self) -> dict[str, Any]:
        """The parts that were given, by name."""
        model = {"language_model": self.language_model} if self.language_model else {}
        return super().parts | model

    def _see(self, images: Sequence[Image]) -> list[Features]:
        return finite(self.encoder.encode(images, layers=self._read, size=self._size))

    def _predict(self, samples: Sequence[Sample]) -> list[Inspection]:
        if not samples:
            return []
        seen: list[Features] = []

        def see(images: Sequence[Image]) -> list[Features]:
            seen.extend(self._see(images))
            return seen

        point = self._point()
        found = inspect_all(samples, see=see, judge=self._judge, point=point)
        if self.language_model is None or point is None:
            return found
        return self._answered(samples, found, seen, point)

    def _judge(self, sample: Sample, seen: list[Features]) -> Judged:
        if self._memory is not None:
            return super()._judge(sample, seen)
        maps = [self._map(view) for view in seen]
        return Judged(maps, max(float(m.max()) for m in maps), {})

    def _map(self, features: Features, without: int | None = None) -> AnomalyMap:
        if self._memory is not None:
            return super()._map(features, without)
        import torch

        tokens = [torch.from_numpy(features.patches[k])[None] for k in self.adapter.layers]
        with torch.inference_mode():
            decoded = self._learnt["decoder"](tokens)[0].numpy()
        return working_map([np.asarray(decoded, np.float32)], self.options.sigma)

    def _answered(
        self,
        samples: Sequence[Sample],
        found: Sequence[Inspection],
        seen: Sequence[Features],
        point: OperatingPoint,
    ) -> list[Inspection]:
        """Inspections with what the language model says; of several views, of the oddest."""
        tokens, maps, start = [], [], 0
        for inspection in found:
            view = int(np.argmax([m.max() for m in inspection.maps]))
            tokens.append(seen[start + view].class_token)
            maps.append(point.score(inspection.maps[view]))
            start += len(inspection.maps)
        described = [
            prompts.description(s.class_name) if self.options.description else "" for s in samples
        ]
        answers = self._ask(np.stack(tokens), maps, described)
        return [fused(f, answer) for f, answer in zip(found, answers, strict=True)]

    def _ask(
        self, tokens: NDArray[np.float32], maps: Sequence[Any], described: Sequence[str]
    ) -> list[_Answer]:
        import torch

        question = prompts.questions()[0]
        with torch.inference_mode():
            rows = embeddings(self._learnt, self.language_model, tokens, maps)
            if not self.options.prompt_learner:
                rows = [row[:1] for row in rows]
            slots = [prompts.prompt(question, words) for words in described]
            said = self.language_model.generate(
                [arranged(self.language_model, r, s) for r, s in zip(rows, slots, strict=True)],
                prefix=slots[0].before,
                most=ANSWER,
                stop=(prompts.STOP,),
                deciding=prompts.DECIDING,
            )
        yes, no = prompts.DECIDING
        return [
            _Answer(
                one.text,
                one.first[yes] / max(one.first[yes] + one.first[no], 1e-12),
                prompts.read(one.text, ended=one.ended),
            )
            for one in said
        ]


def adapter_folder(named: str) -> Path:
    """Where an adapter lies; "" for the one that ships."""
    if named:
        return Path(named).expanduser()
    return Path(__file__).parent / "adapters" / "anomalygpt"


def embeddings(
    learnt: Mapping[str, Any],
    language_model: Any,
    class_tokens: NDArray[np.float32],
    maps: Sequence[NDArray[np.float32]],
) -> list[Tensor]:
    """(1 + n, W) for each picture: E_img, then E_prompt.

    Args:
        learnt: the adapter's modules.
        language_model: reads them.
        class_tokens: (N, C) float32.
        maps: (H, W) float32 in [0, 1] each, of any sizes.
    """
    import torch

    learner = learnt["prompt_learner"]
    sized = torch.from_numpy(np.stack([squared(m, learner.side) for m in maps]))
    images = learnt["image"](torch.from_numpy(class_tokens))
    rows = torch.cat([images[:, None], learner(sized)], 1)
    return list(rows.to(language_model.device))


def squared(scores: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """A map at the prompt learner's size: bilinear, the mean over an area where it shrinks."""
    import cv2

    how = cv2.INTER_AREA if side * side < scores.size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(scores, (side, side), interpolation=how), np.float32)


def arranged(language_model: Any, rows: Tensor, slots: prompts.Slots) -> Tensor:
    """(T, W): a turn after its prefix, section 3.3: E_img, text, E_prompt, text."""
    import torch

    texts = [language_model.embed(text).to(rows) for text in (slots.between, slots.after)]
    return torch.cat([rows[:1], texts[0], rows[1:], texts[1]])


def fused(found: Inspection, answer: _Answer) -> Inspection:
    """An inspection of the map with the language model's answer; see the top of the file."""
    says = {"yes": "anomalous", "no": "normal"}.get(answer.told.verdict)
    places = {region.position for region in found.regions}
    evidence = {
        **found.evidence,
        "answer": answer.text,
        "map": {"verdict": found.verdict, "score": found.score},
        "answer_names": list(answer.told.places),
        "map_marks": sorted(places),
        "places_agree": bool(places & set(answer.told.places)),
    }
    spoken = replace(
        found,
        decided_by="language model",
        score=answer.probability,
        evidence=evidence,
        usage=found.usage + Usage(1),
    )
    if says is None:
        return replace(spoken, verdict="unsure", reason="unparsed")
    if found.verdict not in ("unsure", says):
        words = (
            f"The answer and the map contradict each other. The answer: {answer.text} The map: "
            f"{found.explanation}"
        )
        return replace(spoken, verdict="unsure", reason="contradicted", explanation=words)
    verdict: Verdict = "anomalous" if says == "anomalous" else "normal"
    regions = found.regions if verdict == "anomalous" else ()
    return replace(spoken, verdict=verdict, reason="", regions=regions, explanation=answer.text)
