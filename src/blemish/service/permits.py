"""What lines and questions may make the station open: folders, files, names on the hub, endpoints.

Without a token only programs of this computer can connect, and whoever starts the station may read
what it may read. With one, anybody who has the token may: nothing that is not allowed by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Literal, get_args, get_origin

from blemish import registry
from blemish.errors import OptionError
from blemish.service.settings import ServiceSettings

_WORDS = ("preprocessing", "prompt")
"""Options that are free text for the type alone: their detector takes names that it knows."""


def check_options(detector: str, options: Mapping[str, Any], settings: ServiceSettings) -> None:
    """Raises OptionError where an option names what the station may not open."""
    entry = registry.detector(detector)
    fields = registry.resolve(entry.options).model_fields
    for name, value in options.items():
        if name in entry.parts and not isinstance(value, str):
            raise OptionError(f"{name} is {type(value).__name__}; expected the name of one.")
        free = name in entry.parts or (name in fields and _free(fields[name].annotation))
        if not free or name in _WORDS or not value or value in settings.sources:
            continue
        if settings.token.get_secret_value() and not _known(name, value):
            raise OptionError(
                f"{name} is {str(value)[:200]!r}, and this station opens nothing for its lines but "
                "what is allowed: name it in BLEMISH_SERVE_SOURCES if it is to."
            )


def check_language_model(given: str, settings: ServiceSettings) -> None:
    """Raises OptionError unless it is a kind that is known, a colon and a name, and allowed."""
    kind, colon, name = given.partition(":")
    if not (colon and name):
        raise OptionError(
            f"The language model '{given}' came; expected KIND:NAME, such as openai:gpt-5."
        )
    registry.language_model(kind)
    allowed = settings.language_models
    if given not in allowed and (allowed or settings.token.get_secret_value()):
        raise OptionError(
            f"The language model '{given}' came; this station allows {', '.join(allowed) or 'none'}"
            ". Name it in BLEMISH_SERVE_LANGUAGE_MODELS if it is to be asked."
        )


def _known(part: str, name: str) -> bool:
    """Whether a part comes with blemish, or with what is installed beside it."""
    if part == "encoder":
        return not registry.encoder(name).anywhere
    return part == "map_source" and name in registry.detectors()


def _free(kind: Any) -> bool:
    """Whether an option of this type takes any text, and so the name of a file."""
    if get_origin(kind) is Literal:
        return False
    if inner := get_args(kind):
        return any(map(_free, inner))
    return kind is Any or (isinstance(kind, type) and issubclass(kind, (str, PurePath)))
