"""What AnomalyGPT's shipped adapter learns from: made-up parts, and maps of them.

Nobody's pictures: procedural parts with procedural defects, and others with anomalies by NSA. Each
line of parts has normal references of its own, so that its maps come from a memory bank and a
calibration as those of a real line do. The encoder is frozen, so everything that it gives is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish import build
from blemish.synthesis import nsa
from blemish.synthesis.procedural import DEFECTS, KINDS, make_part
from blemish.types import Encoder, Example, Features, Image, Sample

SIDE = 112
"""Side in pixels of the kept maps and masks."""
PARTS = (4, 4, 4)
"""Good parts, parts with a procedural defect, and parts with one by NSA, of each line."""
SHOTS = (1, 2, 4, 8)
_FORMAT = 3


@dataclass(frozen=True, eq=False)
class Corpus:
    """P pictures.

    Attributes:
        class_tokens: (P, C) float32.
        tokens: layer to (P, h, w, C) float16, patch tokens.
        maps: (P, 112, 112) float16 in [0, 1], few-shot maps through their calibration.
        masks: (P, 112, 112) bool.
        names: P class names.
        kinds: P kinds of anomaly, "good" for none and "" where it has no name.
    """

    class_tokens: NDArray[np.float32]
    tokens: Mapping[int, NDArray[np.float16]]
    maps: NDArray[np.float16]
    masks: NDArray[np.bool_]
    names: tuple[str, ...]
    kinds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


def corpus(
    folder: Path,
    encoder: Encoder,
    layers: tuple[int, ...],
    *,
    lines: int,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Corpus:
    """The pictures of so many lines of parts; kept in a folder, line by line.

    Args:
        folder: where they are kept; a line that is there is not made again.
        encoder: frozen.
        layers: whose patch tokens are kept.
        lines: how many; their kinds of part take turns.
        seed: of parts, defects and draws.
        progress: called with the lines done and all of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = json.dumps([_FORMAT, encoder.fingerprint, layers, PARTS, SHOTS, SIDE, seed])
    code = hashlib.sha256(key.encode()).hexdigest()[:8]
    found: list[dict[str, Any]] = []
    for number in range(lines):
        path = folder / f"line-{code}-{number:04d}.npz"
        if not path.exists():
            made = _line(number, seed, encoder, layers)
            unfinished = path.with_suffix(".part.npz")
            np.savez(unfinished, **made)  # type: ignore[arg-type]  # its stub takes no mapping
            unfinished.replace(path)
        with np.load(path) as file:
            found.append({name: file[name] for name in file.files})
        if progress:
            progress(number + 1, lines)
    joined = {name: np.concatenate([line[name] for line in found]) for name in found[0]}
    return Corpus(
        joined["class_tokens"],
        {k: joined[f"tokens.{k}"] for k in layers},
        joined["maps"],
        joined["masks"],
        tuple(joined["names"].tolist()),
        tuple(joined["kinds"].tolist()),
    )


def _line(
    number: int, seed: int, encoder: Encoder, layers: tuple[int, ...]
) -> dict[str, NDArray[Any]]:
    """One line: fit on its references, look at its parts."""
    random = np.random.default_rng([seed, number])
    kind = KINDS[number % len(KINDS)]
    start = 1000 * (1 + number + 100_000 * seed)
    shots = int(random.choice(SHOTS))
    references = [make_part(kind, start + i).sample for i in range(shots)]
    examples = list(_parts(kind, start + shots, references, random))
    samples = [example.sample for example in examples]
    images = [sample.image for sample in samples]
    features = [
        Features(f.class_token, {k: _rounded(f.patches[k]) for k in layers})
        for f in encoder.encode(images, layers=layers, size=encoder.default_size)
    ]
    # AnomalyGPT's own memory bank, image score and operating point, before there is an adapter to
    # build it with.
    known = _Known(encoder, dict(zip(map(id, images), features, strict=True)))
    detector = build.load("patch-memory", encoder=known, seed=seed, top=0.0).fit(references)
    point = detector.calibration
    point = (point if shots == 1 else point.left_out()).even()
    scores = [point.score(f.anomaly_map) for f in detector.predict(samples)]
    return {
        "class_tokens": np.stack([f.class_token for f in features]),
        **{
            f"tokens.{k}": np.stack([f.patches[k] for f in features]).astype(np.float16)
            for k in layers
        },
        "maps": np.stack([_sized(s) for s in scores]).astype(np.float16),
        "masks": np.stack([_sized(_mask(e).astype(np.float32)) > 0 for e in examples]),
        "names": np.array([s.class_name for s in samples]),
        "kinds": np.array([e.kind for e in examples]),
    }


class _Known:
    """An encoder that gives known pictures what it gave before; see `blemish.types.Encoder`."""

    def __init__(self, encoder: Encoder, features: Mapping[int, Features]) -> None:
        self._encoder, self._features = encoder, features
        self.name, self.fingerprint = encoder.name, encoder.fingerprint
        self.default_layers, self.default_size = encoder.default_layers, encoder.default_size

    def encode(
        self, images: Sequence[Image], *, layers: Sequence[int], size: int
    ) -> list[Features]:
        if all(id(image) in self._features for image in images):
            return [self._features[id(image)] for image in images]
        return self._encoder.encode(images, layers=layers, size=size)


def _parts(
    kind: str, start: int, references: list[Sample], random: np.random.Generator
) -> Iterator[Example]:
    good, broken, pasted = PARTS
    for i in range(good):
        yield make_part(kind, start + i)
    for i in range(broken):
        defect = str(random.choice(list(DEFECTS[kind])))
        yield make_part(kind, start + good + i, defect=defect)
    how = nsa.parameters("procedural", kind)
    for i in range(pasted):
        part = make_part(kind, start + good + broken + i).sample
        made = nsa.nsa(part.image, [r.image for r in references], random, how)
        yield Example(Sample(made.image, part.class_name, id=part.id), "anomalous", made.mask, "")


def _mask(example: Example) -> NDArray[np.bool_]:
    shape = example.sample.image.shape[:2]
    return np.zeros(shape, np.bool_) if example.mask is None else example.mask


def _rounded(tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    """As they are kept, so that the maps are those of the tokens that the decoder learns from."""
    return tokens.astype(np.float16).astype(np.float32)


def _sized(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean over the area of each pixel of the kept size."""
    import cv2

    return np.asarray(cv2.resize(array, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.float32)
