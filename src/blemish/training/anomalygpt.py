"""Training AnomalyGPT (2308.15366): decoder, prompt learner and image projection.

Encoder and language model stay frozen (section 4). The loss is the sum of cross-entropy on the
answers, focal and dice loss on the decoder's map, with weights of 1 (section 3.4). Each batch shows
the language model three sorts of maps, so that it reads them all: few-shot maps through their
calibration, the decoder's own, and made-up ones, of which there is no end; and now and then a
question that has nothing to do with any (alternate training).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as f

from blemish.detectors import _adapter
from blemish.detectors._adapter import AdapterConfig
from blemish.detectors.anomalygpt import arranged
from blemish.prompts import anomalygpt as prompts
from blemish.training.corpus import SIDE, Corpus
from blemish.training.losses import dice, focal

ABOUT: Mapping[str, float] = {
    **{"presence": 0.62, "place": 0.13, "number": 0.07, "appearance": 0.06},
    **{"kind": 0.05, "object": 0.07},
}
"""How often a picture is asked about each; the verdict is what counts."""
SORTS: Mapping[str, int] = {"few-shot": 6, "decoded": 2, "made-up": 4, "general": 0}
TALK: Mapping[str, int] = {"few-shot": 4, "decoded": 2, "made-up": 2, "general": 4}
"""Prompts of each sort in a batch, and in every fourth one: alternate training. Long texts come
together, so that short ones are not padded to them."""
EVERY = 4
DESCRIBED = 0.25
"""Share of batches whose prompts describe the part."""
DECODER = 8
"""Pictures whose decoded maps are compared with their masks in a batch."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step sees.

    Attributes:
        class_tokens: (B, C) of the pictures that are asked about.
        maps: (B, 112, 112) in [0, 1]; those of decoded pictures are put in by the learner.
        decoded: the row of each decoded picture in `tokens`; -1 for other prompts.
        questions: B turns.
        answers: B.
        tokens: (DECODER, h, w, C) of each of the decoder's layers.
        masks: (DECODER, 112, 112) bool, of these.
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
        language_model: a `blemish.llms.causal.Causal`.
        seed: of the first weights.
    """

    def __init__(self, config: AdapterConfig, language_model: Any, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.config = config
        self.language_model = language_model
        self.modules = _adapter.modules(config)

    def parameters(self, stage: int) -> Sequence[Parameter]:
        """All of them: there is one stage."""
        return [p for module in self.modules.values() for p in module.parameters()]

    def adapter_state(self) -> dict[str, Tensor]:
        """See `blemish.training.loop.Trainable`."""
        return {
            f"{name}.{key}": tensor
            for name, module in self.modules.items()
            for key, tensor in module.state_dict().items()
        }

    def load_adapter(self, state: Mapping[str, Tensor]) -> None:
        """See `blemish.training.loop.Trainable`."""
        for name, module in self.modules.items():
            start = f"{name}."
            own = {k.removeprefix(start): t for k, t in state.items() if k.startswith(start)}
            module.load_state_dict(own)

    def loss(self, batch: Batch, stage: int) -> tuple[Tensor, Mapping[str, float]]:
        """Equations 3 to 5, summed."""
        decoded = self.modules["decoder"](batch.tokens)
        decoded = f.interpolate(
            decoded[:, None].float(), (SIDE, SIDE), mode="bilinear", align_corners=False
        )[:, 0]
        shown = [batch.maps[i] if row < 0 else decoded[row] for i, row in enumerate(batch.decoded)]
        learnt = self.modules["prompt_learner"](torch.stack(shown))
        images = self.modules["image"](batch.class_tokens)
        rows = torch.cat([images[:, None], learnt], 1)
        turns = [
            arranged(self.language_model, row, slots)
            for row, slots in zip(rows, batch.questions, strict=True)
        ]
        before = batch.questions[0].before
        parts = {
            "answers": self.language_model.loss(turns, batch.answers, prefix=before),
            "focal": focal(decoded, batch.masks),
            "dice": dice(decoded, batch.masks),
        }
        return sum(parts.values(), torch.zeros(())), {
            k: float(v.detach()) for k, v in parts.items()
        }


class Batches:
    """The batch of a step, by its number.

    Args:
        corpus: pictures and their maps.
        layers: of the decoder.
        seed: of all draws.
    """

    def __init__(self, corpus: Corpus, layers: Sequence[int], seed: int = 0) -> None:
        self._corpus, self._layers, self._seed = corpus, tuple(layers), seed
        self._marked = [prompts.marked(mask) for mask in corpus.masks]
        bad = np.array([mask.any() for mask in corpus.masks])
        self._good, self._bad = np.flatnonzero(~bad), np.flatnonzero(bad)
        self._general = prompts.dialogue()

    def __call__(self, step: int) -> Batch:
        """Always the same for the same step."""
        random = np.random.default_rng([self._seed, step])
        talk = step % EVERY == EVERY - 1
        sorts = [sort for sort, n in (TALK if talk else SORTS).items() for _ in range(n)]
        described = random.random() < DESCRIBED
        chosen = [self._pick(random) for _ in sorts]
        shown = [p for p, sort in zip(chosen, sorts, strict=True) if sort == "decoded"]
        rows = [
            shown.index(p) if s == "decoded" else -1 for p, s in zip(chosen, sorts, strict=True)
        ]
        shown += [self._pick(random) for _ in range(DECODER - len(shown))]
        maps, turns, answers = [], [], []
        for picture, sort in zip(chosen, sorts, strict=True):
            scores, found = self._corpus.maps[picture].astype(np.float32), self._marked[picture]
            kind = self._corpus.kinds[picture]
            if sort == "made-up":
                scores, mask = made_up(random)
                found, kind = prompts.marked(mask), "good"
            turn, answer = self._asked(random, picture, found, kind, described)
            if sort == "general":
                turn, answer = self._apart(random)
            maps.append(scores)
            turns.append(turn)
            answers.append(f" {answer}")
        return Batch(
            torch.from_numpy(self._corpus.class_tokens[chosen]),
            torch.from_numpy(np.stack(maps)),
            tuple(rows),
            tuple(turns),
            tuple(answers),
            tuple(
                torch.from_numpy(self._corpus.tokens[k][shown].astype(np.float32))
                for k in self._layers
            ),
            torch.from_numpy(self._corpus.masks[shown]),
        )

    def _apart(self, random: np.random.Generator) -> tuple[prompts.Slots, str]:
        """A question that no map answers."""
        if random.random() < 0.3:
            question = str(random.choice(prompts.questions("beyond")))
            nothing = np.zeros((SIDE, SIDE), np.bool_)
            return prompts.prompt(question), prompts.answer(nothing, random, "beyond")
        pair = self._general[int(random.integers(len(self._general)))]
        return prompts.prompt(pair.question), pair.answer

    def _pick(self, random: np.random.Generator) -> int:
        """A good picture as often as a bad one."""
        return int(random.choice(self._good if random.random() < 0.5 else self._bad))

    def _asked(
        self,
        random: np.random.Generator,
        picture: int,
        found: prompts.Marked,
        kind: str,
        described: bool,
    ) -> tuple[prompts.Slots, str]:
        """A question about one picture, and its answer."""
        name = self._corpus.names[picture]
        about = str(random.choice(list(ABOUT), p=list(ABOUT.values())))
        question = str(random.choice(prompts.questions(about)))
        if about == "object":
            return prompts.prompt(question), prompts.shown(name, random)
        words = prompts.description(name) if described else ""
        said = prompts.answer(found, random, about, "" if kind == "good" else kind)
        return prompts.prompt(question, words), said


def made_up(random: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A score map with or without anomalies, and where they are.

    A good part's scores stay under the operating point, 0.5; an anomaly is a blob above it. What
    lies between 0.45 and 0.55 is in neither, since nobody could say which it is.

    Returns:
        (112, 112) float32 in [0, 1], and (112, 112) bool.
    """
    import cv2

    noise = cv2.GaussianBlur(
        random.standard_normal((SIDE, SIDE)).astype(np.float32), (0, 0), random.uniform(2, 9)
    )
    noise = (noise - noise.min()) / max(float(np.ptp(noise)), 1e-6)
    scores = noise * np.float32(random.uniform(0.01, 0.45))
    mask = np.zeros((SIDE, SIDE), np.bool_)
    for _ in range(int(random.choice([0, 1, 2, 3], p=[0.5, 0.3, 0.13, 0.07]))):
        centre = tuple(int(v) for v in random.integers(4, SIDE - 4, 2))
        axes = tuple(int(v) for v in np.clip(random.gamma(2.0, 4.0, 2), 3, 30))
        blob = np.zeros((SIDE, SIDE), np.float32)
        cv2.ellipse(blob, centre, axes, float(random.uniform(0, 180)), 0, 360, 1.0, -1)
        soft = cv2.GaussianBlur(blob, (0, 0), random.uniform(1, 4))
        soft = soft * (random.uniform(0.58, 1.0) / max(float(soft.max()), 1e-6))
        scores = np.maximum(scores, soft)
        mask |= soft > 0.5
    return scores.astype(np.float32), mask
