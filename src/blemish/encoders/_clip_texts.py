"""Text embeddings kept on disk, so that a class's prompts are encoded once.

One small file an embedding: its sha256, then float32 values. The key is the sha256 of the model's
fingerprint and of the text's tokens, which are all that the model sees of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.files import install

_FORMAT = 1
"""Goes up whenever a text would get another embedding, or a file another form."""
_TOGETHER = 32
"""Texts a pass."""
_log = logging.getLogger(__name__)

Tokens = tuple[int, ...]


def embeddings(
    texts: Sequence[Tokens],
    encode: Callable[[Sequence[Tokens]], NDArray[np.float32]],
    fingerprint: str,
    folder: Path,
) -> NDArray[np.float32]:
    """Embeddings from the cache; `encode` is asked once for those that are not there.

    Args:
        texts: each the numbers of its tokens.
        encode: (T, D) float32 for T texts of different tokens.
        fingerprint: of the model.
        folder: of the cache; made if need be.

    Returns:
        (T, D) float32, in the order of the texts.
    """
    keys = {tokens: _key(fingerprint, tokens) for tokens in texts}
    found = {tokens: _read(folder, key) for tokens, key in keys.items()}
    missing = [tokens for tokens, kept in found.items() if kept is None]
    if missing:
        made = dict(zip(missing, encode(missing), strict=True))
        found.update(made)
        _keep(folder, {keys[tokens]: values for tokens, values in made.items()})
    return np.stack([values for values in (found[t] for t in texts) if values is not None])


def encoded(model: Any, texts: Sequence[Tokens]) -> NDArray[np.float32]:
    """(T, D) float32, L2-normalised: what the text tower of `transformers.CLIPModel` gives.

    Texts of like length go together: nothing behind a text's end can change it, so none is filled
    up to the 77 tokens that the model could read.
    """
    import torch
    from torch.nn import functional as f

    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out = np.empty((len(texts), int(model.config.projection_dim)), np.float32)
    for start in range(0, len(order), _TOGETHER):
        some = order[start : start + _TOGETHER]
        ids = torch.zeros(len(some), len(texts[some[-1]]), dtype=torch.long)
        for row, i in zip(ids, some, strict=True):
            row[: len(texts[i])] = torch.tensor(texts[i])
        with torch.inference_mode():
            ends = model.text_model(ids.to(model.device)).pooler_output
            joint = f.normalize(model.text_projection(ends).float(), dim=-1)
        out[some] = joint.cpu().numpy()
    return out


def _key(fingerprint: str, tokens: Tokens) -> str:
    return hashlib.sha256(json.dumps([_FORMAT, fingerprint, tokens]).encode()).hexdigest()


def _path(folder: Path, key: str) -> Path:
    return folder / key[:2] / key


def _read(folder: Path, key: str) -> NDArray[np.float32] | None:
    """The kept embedding; None where there is none, or its file is damaged."""
    try:
        data = _path(folder, key).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        _log.warning("The kept embedding %s counts as absent: damaged.", _path(folder, key))
        return None
    return np.frombuffer(data, "<f4", offset=32).astype(np.float32)


def _keep(folder: Path, made: Mapping[str, NDArray[np.float32]]) -> None:
    """Write each embedding whole or not at all; where that fails, it is made again next time."""
    try:
        for key, values in made.items():
            data = values.astype("<f4").tobytes()
            # Not synced: a file that a power cut left in part fails its checksum.
            install(_path(folder, key), hashlib.sha256(data).digest() + data, sync=False)
    except OSError as error:
        _log.warning("Text embeddings could not be kept in %s: %s", folder, error)
