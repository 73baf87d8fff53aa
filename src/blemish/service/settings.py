"""What decides where the station keeps things, who may talk to it, and how much it takes on.

Each setting is an environment variable whose name is the field's in capitals after
`BLEMISH_SERVE_`, such as `BLEMISH_SERVE_PORT=8080`.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from blemish.errors import OptionError

PREFIX = "BLEMISH_SERVE_"
SHORTEST_TOKEN = 16


def default_folder() -> Path:
    """The folder where this platform keeps what a user would miss."""
    try:
        home = Path.home()
    except RuntimeError as error:
        raise OptionError(
            "This account has no home folder to keep inspections in. Name a folder that can be "
            f"written: --folder, or {PREFIX}FOLDER."
        ) from error
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "blemish"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "blemish"
    xdg = os.environ.get("XDG_DATA_HOME", "")
    # The XDG specification says to ignore a relative path.
    return (Path(xdg) if os.path.isabs(xdg) else home / ".local" / "share") / "blemish"


class ServiceSettings(BaseSettings):
    """Settings of the station; `ServiceSettings.of` says in words which one cannot be used.

    Attributes:
        folder: where pictures, maps, fitted detectors and the SQLite database lie.
        database: a URL such as "postgresql+psycopg://user@host/name"; "" for SQLite in `folder`.
        host: the address that is listened at.
        port: its port; 0 for any that is free.
        token: what programs send as "Authorization: Bearer ..." and people log in with; "" for
            none, which only an address of this computer allows.
        allowed_hosts: names under which the station is reached, beside `host` and this computer's.
        max_body: bytes of one request.
        max_files: pictures of one request, a ZIP's among them.
        max_zip_entries: entries of all ZIPs of one request.
        zip_ratio: how many times larger than itself a ZIP may become.
        max_requests: requests at once; more are told to come back.
        max_queue: pictures that wait; more are told to come back.
        slowest: seconds that a sender may take for a request.
        workers: threads that read, judge and store; a computer's own models judge for one of them
            at a time.
        batch: pictures that a detector is given at once.
        device, dtype: of detectors, as `blemish.load` takes them.
        language_models: what lines and questions may name, such as "openai:gpt-5"; where empty,
            anything without a token, and none with one.
        sources: folders, files and names on the hub that the options of lines may name, such as
            "clip:/srv/clip"; where empty, any without a token, and none with one.
        image_hosts: from which the pictures of OpenAI's clients are fetched where they come as
            addresses, such as "cameras.example" or "10.0.0.7:8080"; none without their names.
        talk_seconds: within which a language model must say its next piece.
        history: inspections that comparisons and previews look at, the newest.
        keep_days: after which files and what was found on them are deleted; 0 for never.
        public_url: the address that people type, where a proxy stands in front of the station, such
            as "https://inspection.example"; its name is allowed, and its scheme decides whether
            browsers show their pass without encryption.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    folder: Path = Field(default_factory=default_folder)
    database: str = ""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    token: SecretStr = SecretStr("")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    max_body: int = Field(default=512 * 2**20, ge=1024)
    max_files: int = Field(default=1000, ge=1)
    max_zip_entries: int = Field(default=2000, ge=1)
    zip_ratio: float = Field(default=100, gt=1)
    max_requests: int = Field(default=64, ge=1)
    max_queue: int = Field(default=20_000, ge=1)
    slowest: float = Field(default=60, gt=0)
    workers: int = Field(default=3, ge=1, le=64)
    batch: int = Field(default=8, ge=1, le=256)
    device: str = "auto"
    dtype: str = "auto"
    language_models: Annotated[tuple[str, ...], NoDecode] = ()
    image_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    talk_seconds: float = Field(default=60, gt=0)
    sources: Annotated[tuple[str, ...], NoDecode] = ()
    history: int = Field(default=500, ge=1)
    keep_days: float = Field(default=0, ge=0, le=36500)
    public_url: str = ""

    @field_validator("folder")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return Path(os.path.abspath(os.path.expanduser(path)))

    @field_validator("allowed_hosts", "image_hosts", "language_models", "sources", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """From the environment the names come with commas between them."""
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("allowed_hosts", "image_hosts")
    @classmethod
    def _lower(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_as_sent(name.lower()) for name in names)

    @field_validator("host")
    @classmethod
    def _host(cls, name: str) -> str:
        return _as_sent(name)

    @field_validator("public_url")
    @classmethod
    def _address(cls, given: str) -> str:
        given = _as_sent(given.rstrip("/"))
        parts = urlsplit(given)
        plain = parts.hostname and "@" not in parts.netloc and (parts.port or 1)
        if given and not (plain and given in (f"{s}://{parts.netloc}" for s in ("http", "https"))):
            raise ValueError("expected an address without a path, such as https://station.example")
        return given

    @property
    def public(self) -> SplitResult:
        """The parts of `public_url`."""
        return urlsplit(self.public_url)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no log may hold."""
        token, password = self.token.get_secret_value(), urlsplit(self.database).password or ""
        found = (token, self.database, password, unquote(password))
        return tuple(secret for secret in found if secret)

    @classmethod
    def of(cls, **given: Any) -> ServiceSettings:
        """Settings from the environment, and those that are given, checked.

        Raises:
            OptionError: one cannot be used, or the host needs a token and has none.
        """
        try:
            made = cls(**given)
        except ValidationError as error:
            # The value is not quoted: it may be a secret, or a database's address with one.
            said = [f"{PREFIX}{str(p['loc'][0]).upper()}: {p['msg']}" for p in error.errors()]
            raise OptionError(
                f"A setting of the station cannot be used: {'; '.join(said)}. Correct the variable "
                "or the option of that name."
            ) from None
        made.check()
        return made

    @property
    def local(self) -> bool:
        """Whether only programs on this computer can connect."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    def check(self) -> None:
        """Refuse what would let anybody on the network in.

        Raises:
            OptionError: another address than this computer's without a token, or a short token.
        """
        token = self.token.get_secret_value()
        if not token and not self.local:
            raise OptionError(
                f"The host {self.host} can be reached from other computers, and no token was set. "
                "Set one that is long and random (--token-file FILE, or "
                f"{PREFIX}TOKEN), or listen at 127.0.0.1."
            )
        if token and (len(token) < SHORTEST_TOKEN or not token.isascii() or " " in token):
            raise OptionError(
                f"The token has {len(token)} characters; expected at least {SHORTEST_TOKEN}, all "
                "of them ASCII and no blank, such as what `python -c 'import secrets; "
                "print(secrets.token_urlsafe())'` prints."
            )


def _as_sent(name: str) -> str:
    """A host's name or address, refused where no client would send it as it is written."""
    if not name.isascii():
        raise ValueError(
            "expected a name as browsers send it, in ASCII: xn--mnchen-3ya.example for "
            "münchen.example"
        )
    return name
