"""Settings of `lens-bridge serve` that would not do what is meant."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.settings.loading import load, masked, secret_values
from tests.support.configuration import problems

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("TOKEN", "short", "16 characters or more"),
        ("TOKEN", "Bearer 0123456789abcdef", "without the word Bearer"),
        ("TOKEN", "0123456789 abcdef", "holds a space"),
        ("CORS_ORIGINS", "app.example.com", "must be scheme, host and port alone"),
        ("CORS_ORIGINS", "https://app.example.com/page", "must be scheme, host and port alone"),
        ("CORS_ORIGINS", "https://user@app.example.com", "must be scheme, host and port alone"),
        ("CORS_ORIGINS", "https://a.example,ftp://b.example", "must be scheme, host and port alone"),
        ("STREAMS", "", "pattern"),
        ("MAX_STREAM_SECONDS", "soon", "e.g. 3600"),
        ("HEARTBEAT_SECONDS", "0", "greater than or equal"),
    ],
)
def test_a_mistake_names_the_setting_and_says_what_to_write(setting: str, value: str, said: str) -> None:
    """And repeats no token."""
    (line,) = problems({f"BRIDGE_SERVE__{setting}": value or "a,,b"})
    assert f"BRIDGE_SERVE__{setting}" in line
    assert said in line
    assert setting != "TOKEN" or value not in line


def test_a_token_stands_in_one_place() -> None:
    """Which of two would be asked for?"""
    (line,) = problems({"BRIDGE_SERVE__TOKEN": TOKEN, "BRIDGE_SERVE__TOKEN_FILE": "/run/token"})
    assert line.endswith("set only one")


def test_the_token_is_never_shown() -> None:
    """Not by `config show`, nor in a log."""
    settings = load(None, {}, {"BRIDGE_SERVE__TOKEN": TOKEN})
    shown: Any = masked(settings)
    assert TOKEN not in str(shown)
    assert TOKEN in secret_values(settings)


def test_origins_are_as_browsers_send_them() -> None:
    """In lower case, without a slash at the end; several with commas."""
    settings = load(None, {}, {"BRIDGE_SERVE__CORS_ORIGINS": "https://App.example.com/,http://localhost:3000,*"})
    assert settings.serve.cors_origins == ("https://app.example.com", "http://localhost:3000", "*")
