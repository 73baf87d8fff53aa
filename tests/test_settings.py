"""The environment is read once, and a wrong value is named in plain words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blemish.errors import OptionError
from blemish.settings import Settings, default_cache, settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("WEIGHTS", "CACHE", "MAX_PIXELS", "MAX_BYTES"):
        monkeypatch.delenv(f"BLEMISH_{name}", raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_defaults() -> None:
    assert settings() == Settings(
        weights=None, cache=default_cache(), max_pixels=67_108_864, max_bytes=268_435_456
    )


def test_each_setting_is_read_from_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BLEMISH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("BLEMISH_CACHE", "~/kept")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("BLEMISH_MAX_PIXELS", "5")
    monkeypatch.setenv("BLEMISH_MAX_BYTES", "7")
    assert settings().weights == tmp_path / "weights"
    assert settings().cache == tmp_path / "kept"
    assert (settings().max_pixels, settings().max_bytes) == (5, 7)


def test_the_environment_is_read_once_and_an_empty_variable_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BLEMISH_WEIGHTS", "")
    first = settings()
    assert first.weights is None
    monkeypatch.setenv("BLEMISH_MAX_PIXELS", "5")
    assert settings() is first


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("MAX_PIXELS", "many", "should be a valid integer"),
        ("MAX_PIXELS", "0", "greater than or equal to 1"),
        ("MAX_PIXELS", "178956971", "less than or equal to 178956970"),
        ("MAX_BYTES", "-1", "greater than or equal to 1"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str
) -> None:
    monkeypatch.setenv(f"BLEMISH_{name}", value)
    with pytest.raises(OptionError, match=f"BLEMISH_{name}='{value}': .*{why}.*Correct the"):
        settings()


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "{home}/xdg"}, "xdg/blemish"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, ".cache/blemish"),
        ("linux", {}, ".cache/blemish"),
        ("darwin", {}, "Library/Caches/blemish"),
        ("win32", {"LOCALAPPDATA": "{home}/Local"}, "Local/blemish/cache"),
        ("win32", {}, "AppData/Local/blemish/cache"),
    ],
)
def test_the_cache_lies_where_the_platform_keeps_caches(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    platform: str,
    variables: dict[str, str],
    expected: str,
) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(home=tmp_path))
    monkeypatch.setattr(sys, "platform", platform)
    assert default_cache() == tmp_path / expected


def test_an_account_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", none)
    with pytest.raises(OptionError, match="Set BLEMISH_CACHE"):
        settings()
