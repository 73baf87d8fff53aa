"""The model and the pictures that `clip.py` measures with, clock and memory."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from blemish.encoders import _clip_open, _clip_words
from blemish.settings import settings
from blemish.synthesis.procedural import make_part
from blemish.types import Sample

CLASS = "bottle"
"""One of the bank's."""


def part(seed: int) -> Sample:
    return replace(make_part("brushed", seed, size=(400, 400)).sample, class_name=CLASS)


def write(model: str, seed: int) -> None:
    """A checkpoint of ViT-B/16+ 240 with random weights, in the format of transformers."""
    import torch
    from transformers import CLIPConfig, CLIPModel, utils

    def tower(described: Mapping[str, Any]) -> dict[str, Any]:
        width, head = described["width"], 64
        return {
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": described["layers"],
            "num_attention_heads": width // head,
            "hidden_act": "gelu",
        }

    known = _clip_open.VIT_B_16_PLUS_240
    vision, text = known["vision_cfg"], known["text_cfg"]
    sizes = {"image_size": vision["image_size"], "patch_size": vision["patch_size"]}
    words = {
        "vocab_size": text["vocab_size"],
        "max_position_embeddings": text["context_length"],
    }
    logging: Any = utils.logging
    logging.disable_progress_bar()
    torch.manual_seed(seed)
    made: Any = CLIPModel(
        CLIPConfig(
            projection_dim=known["embed_dim"],
            logit_scale_init_value=float(np.log(100)),
            vision_config=tower(vision) | sizes,
            text_config=tower(text) | words,
        )
    )
    made.save_pretrained(model)
    _clip_words.tokenizer(None, text["vocab_size"]).save_pretrained(model)


@contextmanager
def empty_cache() -> Iterator[None]:
    """The cache folder is a new one."""
    before = os.environ.get("BLEMISH_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BLEMISH_CACHE"] = folder
        settings.cache_clear()
        try:
            yield
        finally:
            del os.environ["BLEMISH_CACHE"]
            if before is not None:
                os.environ["BLEMISH_CACHE"] = before
            settings.cache_clear()


def timed(call: Callable[..., Any], *given: Any, **named: Any) -> tuple[float, Any]:
    """Seconds, and what the call gave."""
    start = time.perf_counter()
    result = call(*given, **named)
    return time.perf_counter() - start, result


def peak() -> float:
    """The most memory that this process ever held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
