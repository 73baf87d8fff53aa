"""What a browser shows instead of the token: a pass that ends by itself and cannot be made up."""

from __future__ import annotations

import hashlib
import hmac
import time

COOKIE = "blemish"
LIFETIME = 30 * 24 * 3600
"""Seconds from signing in to signing in again."""


def issue(token: str, lifetime: int = LIFETIME) -> str:
    """A pass of somebody who knows the token: when it ends, and a signature.

    It ends early only where the token is changed.
    """
    ends = str(int(time.time()) + lifetime)
    return f"{ends}.{_signature(token, ends)}"


def valid(token: str, shown: str) -> bool:
    """Whether a pass was issued for this token and has not ended."""
    ends, _, signature = shown.partition(".")
    genuine = same(signature, _signature(token, ends))
    return genuine and int(ends) > time.time()


def same(given: str, secret: str) -> bool:
    """Whether both are equal, in a time that does not tell how much of them is."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), secret.encode())


def _signature(token: str, ends: str) -> str:
    text = f"blemish pass {ends}".encode("utf-8", "surrogatepass")
    return hmac.new(token.encode(), text, hashlib.sha256).hexdigest()
