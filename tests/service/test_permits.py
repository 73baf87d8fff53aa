"""What a station that wants a token opens for nobody, and what the settings let it open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest

from blemish import registry
from blemish.errors import OptionError
from blemish.service import permits
from blemish.service.permits import check_language_model, check_options
from blemish.service.settings import ServiceSettings

TOKEN = "canary-token-1234567890"
CLOSED = ServiceSettings.of(token=TOKEN)
PATH = "/etc/passwd"


def texts(kind: Any) -> bool:
    """Whether a type takes text that is none of some words."""
    if get_origin(kind) is Literal:
        return False
    return kind is str or any(texts(one) for one in get_args(kind))


def openable() -> Iterator[tuple[str, str]]:
    """Every option and part of every detector that could name a file or an address."""
    for entry in registry.detectors().values():
        fields = registry.resolve(entry.options).model_fields
        for name in (*entry.parts, *(n for n, f in fields.items() if texts(f.annotation))):
            if name not in ("language_model", "speaker"):  # which lines name elsewhere
                yield entry.name, name


def test_every_option_is_known_to_open_something_or_not() -> None:
    found = {name for _, name in openable()}
    assert found == {"encoder", "segmenter", "map_source", "adapter", "prompts", *permits._WORDS}


@pytest.mark.parametrize(("detector", "option"), list(openable()))
def test_with_a_token_no_option_opens_what_is_not_allowed(detector: str, option: str) -> None:
    if option in permits._WORDS:
        return
    for value in (PATH, f"clip:{PATH}", "owner/model", "~/x", "https://evil.example/x"):
        if option == "encoder" and not value.startswith("clip:"):
            continue  # there is no such encoder at all
        with pytest.raises(OptionError, match="BLEMISH_SERVE_SOURCES"):
            check_options(detector, {option: value}, CLOSED)
        allowed = ServiceSettings.of(token=TOKEN, sources=(value,))
        check_options(detector, {option: value}, allowed)
        check_options(detector, {option: value}, ServiceSettings.of())


def test_what_comes_with_blemish_needs_no_leave() -> None:
    check_options("patch-memory", {"encoder": "efficientnet-lite0", "size": 448}, CLOSED)
    check_options("patch-memory", {"augment": "none"}, CLOSED)
    check_options("gpt4v-ad", {"map_source": "musc", "segmenter": ""}, CLOSED)
    check_options("gpt4v-ad", {"prompt": "document", "preprocessing": "none"}, CLOSED)
    check_options("anomalygpt", {"adapter": ""}, CLOSED)


def test_a_part_is_a_name() -> None:
    for value in ({"target": "os:system"}, ["x"], 3, None):
        with pytest.raises(OptionError, match="expected the name"):
            check_options("patch-memory", {"encoder": value}, ServiceSettings.of())


@pytest.mark.parametrize("model", ["openai:gpt-5", f"scripted:{PATH}", f"local:{PATH}"])
def test_with_a_token_only_named_language_models_are_asked(model: str) -> None:
    with pytest.raises(OptionError, match="allows none"):
        check_language_model(model, CLOSED)
    check_language_model(model, ServiceSettings.of(token=TOKEN, language_models=(model,)))
    check_language_model(model, ServiceSettings.of())
    with pytest.raises(OptionError, match=r"allows openai:other\."):
        check_language_model(model, ServiceSettings.of(language_models=("openai:other",)))
