"""What the shipped adapters learn from a corpus of made-up parts, step by step.

Where to look is learnt first, from made-up maps, of which there is no end: until a frozen language
model finds the one embedding of thirteen that matters, everything else is noise. Then each batch
shows it three sorts of maps, so that it reads them all: few-shot maps through their calibration,
the decoder's own, and made-up ones; and now and then a question that has nothing to do with any
(alternate training).

IAD-GPT's three stages are as `blemish.training.anomalygpt.STAGES` has them. The first is short: of
a part that was never shown before, a picture alone says little. The second goes AnomalyGPT's way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from blemish.detectors._anomalygpt_turn import Seen
from blemish.prompts import anomalygpt as prompts
from blemish.training.anomalygpt import Batch
from blemish.training.corpus import SIDE, Corpus

ABOUT: Mapping[str, float] = {
    **{"presence": 0.7, "place": 0.12, "number": 0.06, "appearance": 0.06},
    **{"kind": 0.03, "object": 0.03},
}
"""How often a picture is asked about each; the verdict is what counts."""
FIRST, ALONE = 150, 350
"""Before these steps there are made-up maps alone, and before the first of them plain ones only:
where to look is learnt first, in how many words it can be said afterwards."""
PLAIN: Mapping[str, int] = {"plain": 12}
MADE_UP: Mapping[str, int] = {"plain": 6, "made-up": 6}
USUAL: Mapping[str, int] = {"plain": 3, "few-shot": 5, "decoded": 1, "made-up": 3}
TALK: Mapping[str, int] = {"plain": 3, "few-shot": 3, "decoded": 1, "made-up": 2, "general": 3}
"""Prompts of each sort in a batch: before FIRST, before ALONE, from then on, and in every fourth
one of these (alternate training). Plain ones are never left out: what is not practised is forgotten
within a hundred steps."""
EVERY = 4
Plan = Sequence[tuple[float, Mapping[str, int], Mapping[str, int]]]
"""Up to which step, what a batch has of each sort, and what every fourth one has."""
PLAN: Plan = ((FIRST, PLAIN, PLAIN), (ALONE, MADE_UP, MADE_UP), (math.inf, USUAL, TALK))
STAGES: Mapping[int, Plan] = {
    1: ((math.inf, {"few-shot": 12}, {"few-shot": 9, "general": 3}),),
    2: PLAN,
    3: PLAN[-1:],
}
"""Plans of IAD-GPT's stages; in the first one no map is shown."""
WORDED = 0.3
"""Share of questions and answers in other words than the document's."""
DESCRIBED = 0.5
"""Share of batches whose prompts describe the part, half of the made-up maps' as an object."""
BROAD = 0.2
"""Share of the made-up maps with anomalies of any size that have one over much of the picture."""
DECODER = 8
"""Pictures whose decoded maps are compared with their masks in a batch."""


class Batches:
    """The batch of a step, by its number.

    Args:
        corpus: pictures and their maps.
        layers: of the decoder.
        seed: of all draws.
        plan: what is shown when.
        fused: batches have the maps of each layer, which the corpus needs too, and cells.
    """

    def __init__(
        self,
        corpus: Corpus,
        layers: Sequence[int],
        seed: int = 0,
        *,
        plan: Plan = PLAN,
        fused: bool = False,
    ) -> None:
        self._corpus, self._layers, self._seed = corpus, tuple(layers), seed
        self._plan, self._fused = plan, fused
        maps = corpus.layered if fused else corpus.maps
        assert maps is not None
        self._maps = maps
        self._known = [corpus.class_tokens]
        if fused:
            self._known.append(corpus.cells(self._layers[-1]))
        self._marked = [prompts.marked(mask) for mask in corpus.masks]
        bad = np.array([mask.any() for mask in corpus.masks])
        self._good, self._bad = np.flatnonzero(~bad), np.flatnonzero(bad)
        self._general = prompts.dialogue()

    def __call__(self, step: int) -> Batch:
        """Always the same for the same step."""
        random = np.random.default_rng([self._seed, step])
        usual, talk = next(counts for end, *counts in self._plan if step < end)
        counts = usual if (step + 1) % EVERY else talk
        sorts = [sort for sort, n in counts.items() for _ in range(n)]
        described = counts is not PLAIN and random.random() < DESCRIBED
        chosen = [self._pick(random) for _ in sorts]
        shown = [p for p, sort in zip(chosen, sorts, strict=True) if sort == "decoded"]
        rows = [
            shown.index(p) if s == "decoded" else -1 for p, s in zip(chosen, sorts, strict=True)
        ]
        shown += [self._pick(random) for _ in range(DECODER - len(shown))]
        looks = [known[chosen] for known in self._known]
        maps, turns, answers = [], [], []
        for row, (picture, sort) in enumerate(zip(chosen, sorts, strict=True)):
            scores, found = self._maps[picture].astype(np.float32), self._marked[picture]
            name = self._corpus.names[picture]
            if sort in ("plain", "made-up"):
                scores, mask = self._made_up(random, sort == "plain")
                found = prompts.marked(mask)
                for look, known in zip(looks, self._known, strict=True):
                    look[row] = _elsewhere(random, known)
                name = "object" if random.random() < 0.5 else name
            if sort == "plain":
                turn, answer = plainly(random, found)
            elif sort == "general":
                turn, answer = self._apart(random)
            else:
                turn, answer = self._asked(random, name, found, described)
            maps.append(scores)
            turns.append(turn)
            answers.append(f" {answer}")
        return Batch(
            Seen(*map(torch.from_numpy, looks)),
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

    def _made_up(
        self, random: np.random.Generator, plain: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        most = 1 if plain else 3
        if not self._fused:
            return made_up(random, most)
        return layered(random, len(self._layers), most)

    def _asked(
        self, random: np.random.Generator, name: str, found: prompts.Marked, described: bool
    ) -> tuple[prompts.Slots, str]:
        """A question about one picture, and its answer.

        What an anomaly is, and what the picture shows, cannot be seen in a map of a part that was
        never shown before: the one is answered so, the other by what the prompt says.
        """
        about = str(random.choice(list(ABOUT), p=list(ABOUT.values())))
        question = _one(random, prompts.questions(about))
        words = prompts.description(name) if described or about == "object" else ""
        if about == "object":
            return prompts.prompt(question, words), prompts.shown(name, random)
        drawn = random if random.random() < WORDED else None
        return prompts.prompt(question, words), prompts.answer(found, drawn, about)


def _elsewhere(random: np.random.Generator, known: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features of no picture, so that maps are read whatever the part looks like."""
    mixed = known[random.integers(len(known), size=2)].mean(0)
    noise = random.standard_normal(known.shape[1:]) * known.std(0) * random.uniform(0, 1.5)
    return np.asarray(mixed + noise, np.float32)


def _one(random: np.random.Generator, wordings: Sequence[str]) -> str:
    """Another wording than the first, now and then."""
    return str(random.choice(wordings)) if random.random() < WORDED else wordings[0]


def plainly(random: np.random.Generator, found: prompts.Marked) -> tuple[prompts.Slots, str]:
    """Whether or where, in the first words of both."""
    about = "presence" if random.random() < 0.75 else "place"
    return prompts.prompt(prompts.questions(about)[0]), prompts.answer(found, about=about)


def made_up(
    random: np.random.Generator, most: int = 3
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A score map with or without anomalies, and where they are.

    A good part's scores stay under the operating point, 0.5; an anomaly is a blob above it. What
    lies between 0.45 and 0.55 is in neither, since nobody could say which it is.

    Args:
        random: draws.
        most: anomalies, up to 3; of one at most, each is small and inside a cell of the grid. With
            more, some maps have one that covers from a quarter of the picture to all of it.

    Returns:
        (112, 112) float32 in [0, 1], and (112, 112) bool.
    """
    noise, soft = _drawn(random, most)
    return np.maximum(noise, soft), soft > 0.5


def layered(
    random: np.random.Generator, layers: int, most: int = 3
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Made-up maps of several layers: the same anomalies, each with noise and a height of its own.

    Args:
        random: draws.
        layers: L.
        most: see `made_up`.

    Returns:
        (L, 112, 112) float32 in [0, 1], and (112, 112) bool.
    """
    _, soft = _drawn(random, most)
    peak = max(float(soft.max()), 0.5 + 1e-6)
    maps = []
    for _ in range(layers):
        noise = _noise(random) * np.float32(random.uniform(0.01, 0.45))
        steep = (random.uniform(0.58, 1.0) - 0.5) / (peak - 0.5)
        own = np.where(soft > 0.5, 0.5 + (soft - 0.5) * np.float32(steep), soft)
        maps.append(np.maximum(noise, own))
    return np.stack(maps).astype(np.float32), soft > 0.5


def _noise(random: np.random.Generator) -> NDArray[np.float32]:
    """(112, 112) float32, smooth, from 0 to 1."""
    import cv2

    noise = cv2.GaussianBlur(
        random.standard_normal((SIDE, SIDE)).astype(np.float32), (0, 0), random.uniform(2, 9)
    )
    return np.asarray((noise - noise.min()) / max(float(np.ptp(noise)), 1e-6), np.float32)


def _drawn(
    random: np.random.Generator, most: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a good part's scores are, and anomalies above 0.5; both (112, 112) float32."""
    import cv2

    noise = _noise(random)
    scores = noise * np.float32(random.uniform(0.01, 0.45))
    number = min(most, int(random.choice([0, 1, 2, 3], p=[0.45, 0.34, 0.14, 0.07])))
    if number and most > 1 and random.random() < BROAD:
        return scores, _broad(random, noise)
    softest = np.zeros((SIDE, SIDE), np.float32)
    for _ in range(number):
        centre = tuple(int(v) for v in random.integers(4, SIDE - 4, 2))
        axes = tuple(int(v) for v in np.clip(random.gamma(2.0, 4.0, 2), 3, 30))
        if most == 1:
            middle = (random.integers(0, 3, 2) + 0.5) * SIDE / 3 + random.uniform(-10, 10, 2)
            centre = tuple(int(v) for v in middle)
            axes = tuple(int(v) for v in random.integers(3, 9, 2))
        blob = np.zeros((SIDE, SIDE), np.float32)
        cv2.ellipse(blob, centre, axes, float(random.uniform(0, 180)), 0, 360, 1.0, -1)
        soft = cv2.GaussianBlur(blob, (0, 0), random.uniform(1, 4))
        soft = soft * (random.uniform(0.58, 1.0) / max(float(soft.max()), 1e-6))
        softest = np.maximum(softest, np.asarray(soft, np.float32))
    return scores, softest


def _broad(random: np.random.Generator, noise: NDArray[np.float32]) -> NDArray[np.float32]:
    """(112, 112) float32: an anomaly over much of the picture, of uneven scores."""
    import cv2

    rough = random.standard_normal((SIDE, SIDE)).astype(np.float32)
    smooth = cv2.GaussianBlur(rough, (0, 0), random.uniform(15, 40))
    share = min(random.uniform(0.25, 1.3), 1.0)
    inside = (smooth >= np.quantile(smooth, 1 - share)).astype(np.float32)
    low = random.uniform(0.58, 0.95)
    height = low + (random.uniform(low, 1) - low) * noise
    soft = np.asarray(cv2.GaussianBlur(inside, (0, 0), random.uniform(1, 4)) * height, np.float32)
    soft[(soft > 0.45) & (soft < 0.55)] = 0.45
    return soft
