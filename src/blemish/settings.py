"""What the environment decides: where weights and the cache lie, and how large a picture may be.

Each setting is an environment variable whose name is the field's in capitals after `BLEMISH_`,
such as `BLEMISH_CACHE=/srv/blemish`.
"""

from __future__ import annotations

import os
import sys
from functools import cache as remembered
from pathlib import Path

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from blemish.errors import OptionError


def _home() -> Path:
    """The user's home folder, which an account in a container need not have."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise OptionError(
            "This account has no home folder to keep a cache in. Set BLEMISH_CACHE to a folder "
            "that can be written."
        ) from error


def default_cache() -> Path:
    """The folder where this platform keeps what can be fetched again."""
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else _home() / "AppData" / "Local") / "blemish" / "cache"
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "blemish"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says to ignore a relative path.
    return (Path(xdg) if os.path.isabs(xdg) else _home() / ".cache") / "blemish"


class Settings(BaseSettings):
    """Settings, read from the environment once.

    Attributes:
        weights: a folder that holds weights files or wheels by name, looked into before any
            network; None where BLEMISH_WEIGHTS is not set.
        cache: where fetched weights are kept.
        max_pixels: pictures with more pixels are refused before they are decoded. The default,
            8192 x 8192, admits 65-megapixel cameras; reading so large a picture takes about 1 GB
            of memory. The highest value, 178,956,970, is where Pillow itself refuses.
        max_bytes: files with more bytes are refused before they are read. The default, 256 MiB,
            admits an uncompressed RGB picture of `max_pixels`.
    """

    model_config = SettingsConfigDict(env_prefix="BLEMISH_", env_ignore_empty=True, frozen=True)

    weights: Path | None = None
    cache: Path = Field(default_factory=default_cache)
    max_pixels: int = Field(default=8192 * 8192, ge=1, le=178_956_970)
    max_bytes: int = Field(default=256 * 2**20, ge=1)

    @field_validator("weights", "cache")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else Path(os.path.abspath(os.path.expanduser(path)))


@remembered
def settings() -> Settings:
    """The settings in force; the environment is read at the first call.

    Raises:
        OptionError: a variable holds a value that cannot be used.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = (
            f"BLEMISH_{str(problem['loc'][0]).upper()}={problem['input']!r}: "
            f"{problem['msg'][:1].lower()}{problem['msg'][1:]}"
            for problem in error.errors()
        )
        raise OptionError(
            f"The environment holds a setting that cannot be used: {'; '.join(problems)}. "
            "Correct the variable or unset it."
        ) from None
