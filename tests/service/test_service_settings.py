"""Who may connect, and what the environment says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from blemish.errors import OptionError
from blemish.service.settings import ServiceSettings

TOKEN = "a-long-and-random-token"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.3.4"])
def test_this_computer_needs_no_token(host: str) -> None:
    assert ServiceSettings.of(host=host).local


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "station.plant", ""])
def test_another_address_demands_one(host: str) -> None:
    with pytest.raises(OptionError, match="token"):
        ServiceSettings.of(host=host)
    assert not ServiceSettings.of(host=host, token=TOKEN).local


@pytest.mark.parametrize(
    "given",
    [{"token": "short"}, {"token": "with blanks in between"}, {"port": 70_000}, {"workers": 0}],
)
def test_what_cannot_be_used_is_refused_without_being_quoted(given: dict[str, Any]) -> None:
    with pytest.raises(OptionError) as caught:
        ServiceSettings.of(**given)
    assert str(next(iter(given.values()))) not in str(caught.value).replace("at least 16", "")


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BLEMISH_SERVE_FOLDER", str(tmp_path))
    monkeypatch.setenv("BLEMISH_SERVE_ALLOWED_HOSTS", "Station.Plant, 10.0.0.7")
    monkeypatch.setenv("BLEMISH_SERVE_TOKEN", TOKEN)
    found = ServiceSettings.of()
    assert found.folder == tmp_path
    assert found.allowed_hosts == ("station.plant", "10.0.0.7")
    assert TOKEN not in repr(found)


def test_the_public_address_is_one_without_a_path() -> None:
    found = ServiceSettings.of(public_url="https://Station.example:8443/").public
    assert (found.scheme, found.hostname, found.port) == ("https", "station.example", 8443)
    assert ServiceSettings.of().public.hostname is None
    for wrong in (
        *("station.example", "ftp://station.example", "https://", "https://station.example/x"),
        *("https://user:canary@station.example", "https://station.example?x", "https://a:port"),
    ):
        with pytest.raises(OptionError, match="PUBLIC_URL") as caught:
            ServiceSettings.of(public_url=wrong)
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"host": "münchen.example", "token": TOKEN},
        {"allowed_hosts": ("plant.example", "münchen.example")},
        {"image_hosts": "münchen.example:8080"},
        {"public_url": "https://münchen.example"},
    ],
    ids=lambda given: next(iter(given)),
)
def test_names_are_those_that_browsers_send(given: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"xn--mnchen-3ya\.example") as caught:
        ServiceSettings.of(**given)
    assert f"BLEMISH_SERVE_{next(iter(given)).upper()}" in str(caught.value)
    sent = "münchen.example".encode("idna").decode()
    assert f"{sent} for" in str(caught.value)
    assert ServiceSettings.of(public_url=f"https://{sent}").public.hostname == sent
