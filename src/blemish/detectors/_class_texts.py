"""The texts of a class in an encoder's joint space: T_win and T_apg of IAD-GPT (2510.16036)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from blemish.detectors._adapter import AdapterConfig
from blemish.detectors._clip import ensemble
from blemish.prompts import apg, contrast, generated

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 64
"""Classes whose texts whoever asks for them again and again should keep."""


@dataclass(frozen=True, eq=False)
class Kinds:
    """The kinds of anomaly of one class.

    Attributes:
        names: K keywords.
        texts: (K, D) float32, their prompts in the joint space, L2-normalised.
        author: who wrote them.
    """

    names: tuple[str, ...]
    texts: NDArray[np.float32]
    author: str


def reads(encoder: Any) -> bool:
    """Whether an encoder has a text tower."""
    return hasattr(encoder, "encode_text")


def kinds(encoder: Any, class_name: str, path: str = "") -> Kinds | None:
    """T_apg of a class; None where there is none, or nothing to read it.

    Args:
        encoder: with a text tower or without.
        class_name: such as "metal nut".
        path: of a file or folder of prompts; the bank's where "".
    """
    if not reads(encoder):
        return None
    found = generated.find(path, class_name, "apg") if path else generated.bank(class_name, "apg")
    if found is None:
        return None
    named = apg.kinds(found)
    return Kinds(tuple(named.values()), encoder.encode_text(list(named)), found.author)


def texts(
    config: AdapterConfig, encoder: Any, class_name: str, known: Kinds | None
) -> Tensor | None:
    """(2 + K, D) float32: T_n, T_a and, where the adapter takes them, T_apg.

    None where the adapter learnt its own.

    Args:
        config: of the adapter.
        encoder: with a text tower, if the adapter learnt none.
        class_name: such as "metal nut".
        known: T_apg of the class; see `kinds`.
    """
    import torch

    if config.learned_texts:
        return None
    found = ensemble(encoder, contrast.winclip(class_name))
    if config.apg and known:
        found = np.concatenate([found, known.texts])
    return torch.from_numpy(found)
