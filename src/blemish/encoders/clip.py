"""CLIP (Radford et al., 2103.00020): pictures, their parts, and texts in one space.

Checkpoints of `transformers` and of open_clip; the towers are `transformers.CLIPModel`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.encoders import _clip_checkpoint, _clip_texts, _clip_words
from blemish.encoders._batches import Grid, check_dtype, checked, grid_of, in_batches
from blemish.encoders._clip_vision import Vision, windows_of
from blemish.errors import OptionError
from blemish.images import resize
from blemish.settings import settings
from blemish.types import Features, Image

Floats = NDArray[np.float32]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Joint:
    """N pictures in the joint space, each resized whole to a square of h x h patches.

    Attributes:
        embeddings: (N, D) float32, L2-normalised.
        patches: (N, h, h, D) float32, patch tokens through the last norm and the projection,
            L2-normalised; row 0 is the top.
        values: (N, 1 + h * h, W) float32, value vectors of the last attention layer, all heads
            side by side: the class token's first, then the patches' row by row.
        tokens: (N, h, h, W) float32, patch tokens as they leave the last layer, without norm or
            projection.
    """

    embeddings: Floats
    patches: Floats
    values: Floats
    tokens: Floats


@dataclass(frozen=True, eq=False)
class Windows:
    """N pictures' square windows of k x k patches, each encoded as if nothing else existed.

    Attributes:
        places: (n, 2) int, row and column of each window's top left patch, row by row.
        rows: (n, 1 + k * k) int, which rows of `Joint.values` the window's values stand beside:
            the class token, 0, then its patches row by row.
        embeddings: (N, n, D) float32, the window's own class token in the joint space,
            L2-normalised.
        values: (N, n, 1 + k * k, W) float32, value vectors of the last attention layer; None where
            they were not asked for.
    """

    places: NDArray[np.int64]
    rows: NDArray[np.int64]
    embeddings: Floats
    values: Floats | None


class Clip:
    """A CLIP model.

    Args:
        name_or_folder: "clip-vit-b-16-plus-240", "clip-vit-l-14-336" or "clip-vit-h-14", looked
            for in the folder that BLEMISH_WEIGHTS names and on the hub; or a folder, an open_clip
            state dict, or a repository of the hub.
        device: a torch device.
        dtype: "float32"; "float16" or "bfloat16" on devices other than the CPU.
        batch_size: images a pass.

    Attributes:
        name: what brings the model back as an encoder: as given, or "clip:" and the folder, file
            or repository.
        fingerprint: of weights, architecture, preparation, dtype and kind of device.
        logit_scale: what cosines are multiplied by before a softmax; 100 for trained models.
        dim: D, the width of the joint space.
        patch: side of a patch in pixels.
        depth: layers of the image tower.
        default_size: the checkpoint's own side in pixels.
        default_layers: layers 7 and 9 of 12, and the same shares of other depths, as for DINOv2.

    Raises:
        OptionError: a dtype that the device does not offer.
        WeightsError: the checkpoint cannot be had, is incomplete, or is no CLIP.
    """

    def __init__(
        self,
        name_or_folder: str | Path = "clip-vit-b-16-plus-240",
        *,
        device: str = "cpu",
        dtype: str = "float32",
        batch_size: int = 4,
    ) -> None:
        offered = ("float32",) if device == "cpu" else ("float32", "float16", "bfloat16")
        check_dtype(str(name_or_folder), dtype, device, offered)
        found = _clip_checkpoint.load(name_or_folder, device, dtype)
        self.name = found.name
        self.batch_size = batch_size
        self._model, self._folder = found.model, found.folder
        self._preparation = found.preparation
        self._vision = Vision(found.model, found.preparation.mean, found.preparation.std)
        self.fingerprint = f"clip:{found.digest[:16]}:{dtype}:{found.model.device.type}"
        self.logit_scale = found.logit_scale
        self.dim = int(found.model.config.projection_dim)
        self.patch, self.depth = self._vision.patch, self._vision.depth
        self.default_size = found.preparation.size
        self.default_layers = tuple(sorted({math.ceil(self.depth * s / 12) for s in (7, 9)}))

    def encode(
        self, images: Sequence[Image], *, layers: Sequence[int], size: int
    ) -> list[Features]:
        """See `blemish.types.Encoder`. Tokens are as they leave their layer, without a norm.

        Args:
            images: each (H, W, 3) uint8 RGB, of any sizes.
            layers: from 1 to the encoder's depth; computation stops at the last of them, from
                which the class token comes.
            size: side in pixels of the square whose area the resized image keeps.

        Raises:
            OptionError: a layer or size that the encoder does not have.
        """
        import torch

        wanted = checked(self.name, layers, self.depth, size, self.patch)

        def batch(some: list[Image], grid: Grid) -> list[Features]:
            sized = [resize(image, *(self.patch * side for side in grid)) for image in some]
            with torch.inference_mode():
                states = self._vision.states(self._vision.tokens(sized), wanted)
            tokens = {k: _numbers(state) for k, state in states.items()}
            return [
                Features(
                    tokens[wanted[-1]][place, 0],
                    {k: tokens[k][place, 1:].reshape(*grid, -1) for k in wanted},
                )
                for place in range(len(some))
            ]

        grids = [grid_of(image, size, self.patch) for image in images]
        return in_batches(images, grids, self.batch_size, batch)

    def embed(self, images: Sequence[Image], *, crop: bool = False) -> Floats:
        """(N, D) float32, L2-normalised: each picture as a whole.

        Args:
            images: each (H, W, 3) uint8 RGB, of any sizes.
            crop: prepare as the checkpoint's publisher does, to compare figures with others':
                that loses what lies beyond the central square. Without it the whole picture is
                resized to a square.
        """
        import torch

        def own(image: Image) -> Image:
            return self._preparation.own(image) if crop else self._square(image, self.default_size)

        found = [np.empty((0, self.dim), np.float32)]
        with torch.inference_mode():
            for some in self._batches(images):
                tokens = self._vision.tokens([own(image) for image in some])
                last, _ = self._vision.whole(tokens, 1)
                found.append(_numbers(self._vision.joint(last[:, 0])))
        return np.concatenate(found)

    def joint(self, images: Sequence[Image], *, size: int | None = None, vv: bool = False) -> Joint:
        """Pictures, their patches and the last values, from one pass.

        Args:
            images: each (H, W, 3) uint8 RGB, of any sizes, at least one; resized whole to a square.
            size: its side in pixels, rounded down to whole patches; the checkpoint's own if None.
            vv: `patches`, and nothing else, come by the V-V path: see `Vision.both`.
        """
        import torch

        vision, side = self._vision, self._side(size)
        found = []
        with torch.inference_mode():
            for some in self._batches(images):
                sized = [self._square(image, side * self.patch) for image in some]
                start = vision.tokens(sized)
                last, values, *beside = vision.both(start) if vv else vision.whole(start)
                seen = vision.joint((beside or [last])[0][:, 1:])
                parts = (vision.joint(last[:, 0]), seen, values, last[:, 1:])
                found.append([_numbers(part) for part in parts])
        embeddings, patches, values, tokens = map(np.concatenate, zip(*found, strict=True))
        grid = (len(images), side, side, -1)
        return Joint(embeddings, patches.reshape(grid), values, tokens.reshape(grid))

    @property
    def value_projection(self) -> Floats:
        """(W, D) float32: `values @ value_projection` are value vectors in the joint space.

        The output projection of the last attention layer, then the visual projection; no bias, no
        norm.
        """
        return self._vision.value_projection

    def windows(
        self,
        images: Sequence[Image],
        scale: int,
        *,
        size: int | None = None,
        values: bool = False,
    ) -> Windows:
        """Every window of scale x scale patches, one patch apart (WinCLIP, 2303.14814).

        Only the class token and the tokens inside go through the tower, with the positions that
        they have in the picture: what masking all others in every layer's attention would give.

        Args:
            images: as for `joint`.
            scale: side of a window in patches.
            size: as for `joint`.
            values: keep the last values too, some ten megabytes a picture.

        Raises:
            OptionError: a window larger than the picture.
        """
        import torch

        side = self._side(size)
        places, rows = windows_of(side, scale)
        # As many tokens a pass as in a batch of whole pictures.
        most = max(1, self.batch_size * (1 + side * side) // rows.shape[1])
        embeddings, last = [], []
        with torch.inference_mode():
            for some in self._batches(images):
                sized = [self._square(image, side * self.patch) for image in some]
                one, two = self._vision.parts(self._vision.tokens(sized), rows, most)
                embeddings.append(_numbers(one))
                if values:
                    last.append(_numbers(two))
        kept = np.concatenate(last) if values else None
        return Windows(places, rows, np.concatenate(embeddings), kept)

    def encode_text(self, texts: Sequence[str]) -> Floats:
        """(T, D) float32, L2-normalised: texts in the joint space.

        Kept in the cache folder, by the model's fingerprint and the text's tokens. A text that is
        longer than the model takes is cut there, as CLIP's own code does, and that is logged.

        Raises:
            WeightsError: the checkpoint has no tokenizer, and CLIP's own cannot be had.
        """
        if not texts:
            return np.empty((0, self.dim), np.float32)
        found = self._tokenizer(list(texts))["input_ids"]
        most = int(self._model.config.text_config.max_position_embeddings)
        for text, tokens in zip(texts, found, strict=True):
            if len(tokens) > most:
                _log.warning("%s reads %d tokens; the rest of %r is cut.", self.name, most, text)
        cut = [tuple(t if len(t) <= most else [*t[: most - 1], t[-1]]) for t in found]
        folder = settings().cache / "texts"
        tower = partial(_clip_texts.encoded, self._model)
        return _clip_texts.embeddings(cut, tower, self.fingerprint, folder)

    @cached_property
    def _tokenizer(self) -> Any:
        words = int(self._model.config.text_config.vocab_size)
        return _clip_words.tokenizer(self._folder, words)

    def _batches(self, images: Sequence[Image]) -> Iterator[Sequence[Image]]:
        for start in range(0, len(images), self.batch_size):
            yield images[start : start + self.batch_size]

    def _side(self, size: int | None) -> int:
        """Patches along a side."""
        size = self.default_size if size is None else size
        if size < self.patch:
            raise OptionError(f"Size {size} came; {self.name} needs at least {self.patch} pixels.")
        return size // self.patch

    def _square(self, image: Image, size: int) -> Image:
        return resize(image, size, size)


def _numbers(tensor: Any) -> Floats:
    return np.ascontiguousarray(tensor.float().cpu().numpy())
