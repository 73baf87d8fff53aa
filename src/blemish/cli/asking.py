"""What commands that ask a language model share: which one, its settings, its budget, its cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from blemish.errors import OptionError

if TYPE_CHECKING:
    from blemish.types import ChatModel


def language_model(
    name: str,
    settings: Mapping[str, Any],
    *,
    device: str,
    dtype: str,
    no_cache: bool,
    cache_only: bool,
) -> ChatModel:
    """The language model that a command names.

    Args:
        name: such as "openai:gpt-5".
        settings: of the model, such as base_url or temperature; "max_cost" (money) and "max_calls"
            become its budget.
        device: of a local model.
        dtype: of a local model.
        no_cache: ask again what was asked before.
        cache_only: ask nothing that was not asked before.

    Raises:
        OptionError: both cache switches, or a setting that the model does not have.
    """
    from blemish import build
    from blemish.llms.budget import Budget

    if no_cache and cache_only:
        raise OptionError("--no-cache and --cache-only came together. Leave one of both out.")
    given = dict(settings)
    money, calls = given.pop("max_cost", None), given.pop("max_calls", None)
    if money is not None or calls is not None:
        given["budget"] = Budget(money=money, calls=calls)
    cache = "off" if no_cache else "only" if cache_only else "use"
    return build.language_model(name, device=device, dtype=dtype, cache=cache, **given)
