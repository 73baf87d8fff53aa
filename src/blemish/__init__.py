"""Inspect pictures of parts and say, in words and in pixels, what is wrong with them.

import blemish
detector = blemish.load("patch-memory").fit([blemish.Sample(blemish.read_image("good.png"))])
sample = blemish.Sample(blemish.read_image("part.png"))
result = detector.predict([sample])[0]
result.verdict, result.score, result.anomaly_map, result.regions, result.explanation

talk = blemish.Conversation().show(sample, result).ask("Where is it?")
"".join(detector.speaker().reply(talk))     # of anomalygpt; blemish.speaker("openai:gpt-5") of any
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from blemish.build import load as load
    from blemish.build import speaker as speaker
    from blemish.calibration import Calibration as Calibration
    from blemish.conversation import Conversation as Conversation
    from blemish.conversation import Turn as Turn
    from blemish.errors import BlemishError as BlemishError
    from blemish.images import read_image as read_image
    from blemish.types import Example as Example
    from blemish.types import Failure as Failure
    from blemish.types import Inspection as Inspection
    from blemish.types import Region as Region
    from blemish.types import Sample as Sample
    from blemish.types import Usage as Usage

_HOMES = {
    "load": "build",
    "speaker": "build",
    "Calibration": "calibration",
    "Conversation": "conversation",
    "Turn": "conversation",
    "BlemishError": "errors",
    "read_image": "images",
    "Example": "types",
    "Failure": "types",
    "Inspection": "types",
    "Region": "types",
    "Sample": "types",
    "Usage": "types",
}
"""Public names and the modules they live in; imported when first asked for."""

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'blemish' has no attribute '{name}'")
    value = getattr(import_module(f"blemish.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
