"""What the shipped adapters learn from: made-up parts, and maps of them.

Nobody's pictures: procedural parts with procedural defects, and others with anomalies by NSA. Each
line of parts has normal references of its own, so that its maps come from a memory bank and a
calibration as those of a real line do. The encoder is frozen, so everything that it gives is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish import build
from blemish.calibration import Calibration
from blemish.detectors._anomalygpt_turn import cells
from blemish.detectors._maps import working_map
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
        layered: (P, L, 112, 112) float16 in [0, 1], few-shot maps of each layer through the
            calibration of their mean; None where nobody asked for them.
    """

    class_tokens: NDArray[np.float32]
    tokens: Mapping[int, NDArray[np.float16]]
    maps: NDArray[np.float16]
    masks: NDArray[np.bool_]
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    layered: NDArray[np.float16] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def cells(self, layer: int) -> NDArray[np.float32]:
        """(P, 9, C): see `blemish.detectors._anomalygpt_turn.cells`."""
        import torch

        parts = (torch.from_numpy(part.astype(np.float32)) for part in self.tokens[layer])
        return torch.cat([cells(part[None]) for part in parts]).numpy()


def corpus(
    folder: Path,
    encoder: Encoder,
    layers: tuple[int, ...],
    *,
    lines: int,
    seed: int = 0,
    layered: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Corpus:
    """The pictures of so many lines of parts; kept in a folder, line by line.

    Args:
        folder: where they are kept; a line that is there is not made again.
        encoder: frozen.
        layers: whose patch tokens are kept.
        lines: how many; their kinds of part take turns.
        seed: of parts, defects and draws.
        layered: few-shot maps of each of these layers are made too, in files of their own.
        progress: called with the lines done and all of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = json.dumps([_FORMAT, encoder.fingerprint, layers, PARTS, SHOTS, SIDE, seed])
    code = hashlib.sha256(key.encode()).hexdigest()[:8]
    found: list[dict[str, NDArray[Any]]] = []
    for number in range(lines):
        name = f"{code}-{number:04d}.npz"
        make = partial(_line, number, seed, encoder, layers)
        line = _kept(folder / f"line-{name}", make)
        if layered:
            make = partial(_layered, number, seed, encoder, layers, line)
            line |= _kept(folder / f"layers-{name}", make)
        found.append(line)
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
        joined.get("layered"),
    )


def _kept(path: Path, make: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """The arrays of a file, which is made where it is not there."""
    if not path.exists():
        unfinished = path.with_suffix(".part.npz")
        np.savez(unfinished, **make())  # type: ignore[arg-type]  # its stub takes no mapping
        unfinished.replace(path)
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def _line(
    number: int, seed: int, encoder: Encoder, layers: tuple[int, ...]
) -> dict[str, NDArray[Any]]:
    """One line: fit on its references, look at its parts."""
    random, kind, start, references = _started(number, seed)
    examples = list(_parts(kind, start + len(references), references, random))
    samples = [example.sample for example in examples]
    images = [sample.image for sample in samples]
    features = [
        Features(f.class_token, {k: _rounded(f.patches[k]) for k in layers})
        for f in encoder.encode(images, layers=layers, size=encoder.default_size)
    ]
    # AnomalyGPT's own memory bank, image score and operating point, before there is an adapter to
    # build it with.
    known = _Known(encoder, dict(zip(map(id, images), features, strict=True)))
    detector: Any = build.load("patch-memory", encoder=known, seed=seed, top=0.0)
    detector = detector.fit(references)
    point = _point(detector.calibration, references)
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


def _layered(
    number: int,
    seed: int,
    encoder: Encoder,
    layers: tuple[int, ...],
    line: Mapping[str, NDArray[Any]],
) -> dict[str, NDArray[Any]]:
    """The few-shot maps of a line's parts as IAD-GPT's fusion is shown them."""
    references = _started(number, seed)[-1]
    detector: Any = build.load(
        "patch-memory", encoder=encoder, seed=seed, top=0.0, layers=layers
    ).fit(references)
    point, sigma = _point(detector.calibration, references), detector.options.sigma
    found = []
    for part, token in enumerate(line["class_tokens"]):
        patches = {k: line[f"tokens.{k}"][part].astype(np.float32) for k in layers}
        distances = detector._distances(Features(token, patches))
        maps = [_sized(working_map([layer], sigma)) for layer in distances]
        found.append(point.score(np.stack(maps)))
    return {"layered": np.stack(found).astype(np.float16)}


def _started(number: int, seed: int) -> tuple[np.random.Generator, str, int, list[Sample]]:
    """A line's draws, its kind, the seed of its first part, and its normal references."""
    random = np.random.default_rng([seed, number])
    kind = KINDS[number % len(KINDS)]
    start = 1000 * (1 + number + 100_000 * seed)
    shots = int(random.choice(SHOTS))
    return random, kind, start, [make_part(kind, start + i).sample for i in range(shots)]


def _point(calibration: Calibration, references: Sequence[Sample]) -> Calibration:
    return (calibration if len(references) == 1 else calibration.left_out()).even()


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
