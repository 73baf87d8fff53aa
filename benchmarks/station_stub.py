"""The doors through which a measured station finds its stubs: a detector, and an impatient model.

The detector is `tests/service/shade.py`. The model is the one of OpenAI's clients, which gives up
early, so that hundreds of endpoints that hang are tried within minutes.
"""

from __future__ import annotations

import os
from importlib import import_module

from blemish.llms.openai_api import OpenAIChat
from blemish.registry import LanguageModelEntry


def impatient(name: str) -> OpenAIChat:
    """A model at the address that SOAK_ENDPOINT names."""
    return OpenAIChat(
        name, base_url=os.environ["SOAK_ENDPOINT"], api_key="none", timeout=2.0, retries=1
    )


DETECTORS = (import_module("shade").ENTRY,)
LANGUAGE_MODELS = (
    LanguageModelEntry("impatient", "station_stub:impatient", "gives up after two seconds"),
)
