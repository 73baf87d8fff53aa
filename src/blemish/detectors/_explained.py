"""What a decision on one picture stands on: `blemish explain` prints and draws it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from blemish.types import Inspection

Source = Literal["template", "language model", "written"]
"""What made a prompt; "written" by a person, such as those of the bank."""


@dataclass(frozen=True)
class PromptScore:
    """One anomaly prompt beside one picture (ALFA, 2404.09654, section 4.2).

    Attributes:
        text: the prompt.
        label: which side it speaks for.
        source: what made it.
        similarity: cosine to the picture, equations 2 and 3.
        score: contextual score, equation 4, in [0, 1); 0 where scoring is switched off.
        kept: whether it takes part in the decision.
        why: one sentence.
    """

    text: str
    label: Literal["normal", "abnormal"]
    source: Source
    similarity: float
    score: float
    kept: bool
    why: str


@dataclass(frozen=True, eq=False)
class Explained:
    """One picture's decision and what led to it.

    Attributes:
        inspection: the decision itself.
        prompts: every prompt, those of the template first.
        descriptors: what an anomaly may look like, with its cosine to the picture; best first.
        image: (D,) float32, the picture in the joint space, L2-normalised.
        embeddings: (P, D) float32, the prompts there, in their order, L2-normalised.
    """

    inspection: Inspection
    prompts: tuple[PromptScore, ...]
    descriptors: tuple[tuple[str, float], ...]
    image: NDArray[np.float32]
    embeddings: NDArray[np.float32]
