"""Pictures at addresses that OpenAI's clients send: fetched from hosts that are named, else never.

Whoever may ask the station could otherwise have it ask anything that it reaches: other programs of
its computer, machines of the plant, the cloud's own addresses.
"""

from __future__ import annotations

import http.client
import time
import urllib.request
from collections.abc import Collection
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit, urlunsplit

from blemish.errors import ImageError, InputError

LONGEST = 20.0
"""Seconds for one picture."""
LARGEST = 64 * 2**20
"""Bytes of one picture."""
_PIECE = 2**16


class _Stays(urllib.request.HTTPRedirectHandler):
    """Follows nobody to another address, which could be anywhere."""

    def redirect_request(self, *_: Any) -> None:
        """None, so that the redirection is an error."""


# Without the proxies of the environment: hosts are named because they are near.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stays())


def fetched(address: str, hosts: Collection[str]) -> bytes:
    """The file at an address.

    Args:
        address: begins with http:// or https://.
        hosts: from which pictures may be fetched, in lower case, such as "cameras.example" or
            "10.0.0.7:8080"; without a port only the scheme's own.

    Raises:
        InputError: the host is none of them.
        ImageError: no file came, or too slowly, or a larger one than `LARGEST`.
    """
    try:
        parts = urlsplit(address)
    except ValueError as cause:
        raise InputError(f"The picture's address cannot be read: {cause}.") from cause
    host = parts.netloc.lower().removesuffix({"http": ":80", "https": ":443"}.get(parts.scheme, ""))
    if parts.scheme not in ("http", "https") or host not in hosts:
        raise InputError(
            f"The picture's address begins with {address[:20]!r}; expected a data address, "
            "data:image/png;base64,... Addresses elsewhere are not fetched, but from hosts that "
            "BLEMISH_SERVE_IMAGE_HOSTS names."
        )
    until = time.monotonic() + LONGEST
    try:
        with _OPENER.open(urlunsplit(parts._replace(fragment="")), timeout=LONGEST) as file:
            data = bytearray()
            while piece := file.read1(_PIECE):
                data += piece
                if len(data) > LARGEST:
                    raise ImageError(f"The picture at {host} is larger than {LARGEST} bytes.")
                if time.monotonic() > until:
                    raise TimeoutError(f"it takes longer than {LONGEST:g} s")
            return bytes(data)
    except HTTPError as answer:
        why = f"it answers {answer.code}"
    except (OSError, ValueError, http.client.HTTPException) as cause:
        why = str(getattr(cause, "reason", "") or cause or type(cause).__name__)
    raise ImageError(f"The picture at {host} cannot be fetched: {why}. Send it as a data address.")
