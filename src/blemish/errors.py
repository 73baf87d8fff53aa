"""Every error blemish raises on purpose, in one short tree.

    BlemishError
    ├── InputError        a file, image, sample or folder that cannot be used
    │   ├── ImageError    a picture that cannot be read (missing, broken, too large, wrong type)
    │   ├── ReferencesError normal images missing, too few, or not usable together
    │   └── DatasetError  a data set whose layout is unknown, or whose files contradict each other
    ├── OptionError       an option, name or setting that does not exist or has a wrong value
    ├── WeightsError      weights that are missing, cannot be fetched, or fail their checksum
    ├── ChatError         a language model that gave no answer that can be used
    │   ├── AccessError   an endpoint that answers no question: wrong key, model or address
    │   └── BudgetError   the next call would cost more than was allowed
    ├── UndefinedMetricError a figure that these labels or scores do not define
    ├── MissingExtraError an optional dependency that is not installed
    ├── SavedError        a saved detector or run folder of another version, or damaged
    ├── OutputError       a result that cannot be written
    └── ServiceError      a request that the inspection station does not serve now
        ├── NotFoundError a line, version, job, inspection or file that does not exist
        ├── ConflictError a request against the state of things, such as a name that is taken
        └── StoreBusyError the database is locked or away; the same request may succeed later

A message says what came, what was expected and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class BlemishError(Exception):
    """Base of every error raised on purpose. Its text is meant to be shown to a person."""


class InputError(BlemishError):
    """A file, image, sample or folder that cannot be used."""


class ImageError(InputError):
    """A picture that cannot be read: missing, broken, too large or of a wrong type."""


class ReferencesError(InputError):
    """Normal images that are missing, too few, or not usable together."""


class DatasetError(InputError):
    """A data set whose layout is unknown, or whose files contradict each other."""


class OptionError(BlemishError):
    """An option, name or setting that does not exist or has a wrong value."""


class WeightsError(BlemishError):
    """Weights that are missing, cannot be fetched, or do not match their checksum."""


class ChatError(BlemishError):
    """A language model that gave no answer that can be used: not there, hanging, refusing."""


class AccessError(ChatError):
    """An endpoint that will answer no question: a wrong key, model or address, an empty account."""


class BudgetError(ChatError):
    """The next call would cost more, in money or in calls, than was allowed."""


class UndefinedMetricError(BlemishError):
    """A figure that is not defined for these labels or scores, such as one class only."""


class MissingExtraError(BlemishError):
    """An optional dependency that is not installed."""


class SavedError(BlemishError):
    """A saved detector or run folder that is damaged or of another version."""


class OutputError(BlemishError):
    """A result that cannot be written."""


class ServiceError(BlemishError):
    """A request that the inspection station does not serve now."""


class NotFoundError(ServiceError):
    """A line, version, job, inspection or file that does not exist."""


class ConflictError(ServiceError):
    """A request against the state of things, such as a name that is taken."""


class StoreBusyError(ServiceError):
    """The database is locked or away; the same request may succeed later."""


def unfit(name: str, cause: Any, known: Iterable[str]) -> OptionError:
    """What to say of options that a pydantic model refuses.

    Args:
        name: of what has the options.
        cause: a pydantic.ValidationError.
        known: the options that there are.
    """
    first = cause.errors()[0]
    at, said = str(first["loc"][0]) if first["loc"] else "", first["msg"]
    if first["type"] == "extra_forbidden":
        return OptionError(f"{name} has no option '{at}'. {nearest(at, known)}")
    said = said.removeprefix("Value error, ")
    if not at:
        return OptionError(f"The options of {name}: {said}.")
    return OptionError(f"Option {at}={first['input']!r} of {name}: {said}.")


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: a suggestion and the whole list.

    >>> nearest("patch-memry", ["musc", "patch-memory"])
    "Did you mean 'patch-memory'? Known: musc, patch-memory."
    >>> nearest("x", ["musc"])
    'Known: musc.'
    """
    names = sorted(known)
    close = difflib.get_close_matches(word.lower().replace("_", "-"), names, n=1, cutoff=0.5)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    return f"{hint}Known: {', '.join(names) or 'none'}."
