"""What is shown of a secret: nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bridge.masking import Secrets
from bridge.settings.loading import hide_secrets, load, masked, secret_values
from tests.support.configuration import KEY, problems, warnings


def test_no_message_repeats_a_secret(write: Any, tmp_path: Path) -> None:
    """Wherever it was put by mistake."""
    for environment in (
        {"ATAI_API_KEY": f"{KEY}\n"},
        {"ATAI_API_KEY": f"Bearer {KEY}"},
        {"BRIDGE_SOURCE__PROXY": f"http://me:{KEY}/@h"},
        {"BRIDGE_REDIS__URL": f"redis://:{KEY}#@h"},
        {"BRIDGE_REDIS__URL": f"redis://{KEY}:x/@h:port"},
        {"BRIDGE_SOURCE__BASE_URL": f"https://:{KEY}@h"},
        {"BRIDGE_API_KEY": KEY},
    ):
        assert KEY not in "\n".join(problems(environment))
    for text in (
        f"source: {KEY}",
        f"source: {{api_key: [{KEY}]}}",
        f"source: {{apikey: {KEY}}}",
        f"source:\n  api_key: *{KEY}",
        f"source:\n  api_key: @{KEY}",
        f"redis: {{password: {{a: {KEY}}}}}",
    ):
        assert KEY not in "\n".join(problems(file=write(text)))


def test_printing_the_settings_shows_no_secret() -> None:
    """Not by repr, not by str, not by the masked values."""
    environment = {
        "ATAI_API_KEY": KEY,
        "BRIDGE_REDIS__URL": f"rediss://bridge:{KEY}-url@redis.example:6380/2",
        "BRIDGE_REDIS__PASSWORD": f"{KEY}-password",
        "BRIDGE_SOURCE__PROXY": f"http://bridge:{KEY}-proxy@proxy.example:3128",
    }
    settings = load(None, {}, environment)
    shown = masked(settings)
    assert KEY not in f"{settings!r} {settings!s} {settings.redis!r} {settings.source!r} {json.dumps(shown)}"
    assert shown["source"]["api_key"] == "**********"
    assert shown["redis"]["password"] == "**********"
    assert shown["redis"]["url"] == "rediss://bridge:**********@redis.example:6380/2"
    assert shown["source"]["proxy"] == "http://bridge:**********@proxy.example:3128"
    assert set(secret_values(settings)) == {KEY, f"{KEY}-url", f"{KEY}-password", f"{KEY}-proxy"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:pass%2Fword@h", "redis://:**********@h"),
        ("redis://default@h/1", "redis://default@h/1"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
        ("redis+sentinel://me:word@a:1,[::1]:2/s/1", "redis+sentinel://me:**********@a:1,[::1]:2/s/1"),
        ("valkeys+cluster://a:1,[::1],b:2", "valkeys+cluster://a:1,[::1],b:2"),
        ("unix://:word@/run/redis.sock?db=2", "unix://:**********@/run/redis.sock?db=2"),
    ],
)
def test_of_the_redis_url_all_but_the_password_is_shown(url: str, expected: str) -> None:
    """Host and database are what one looks for in `config show`."""
    assert masked(load(None, {}, {"BRIDGE_REDIS__URL": url}))["redis"]["url"] == expected


def test_a_percent_encoded_password_is_a_secret_in_both_spellings() -> None:
    """Redis gets one, errors may show the other."""
    settings = load(None, {}, {"BRIDGE_REDIS__URL": "redis://:pass%2Fword@h"})
    assert secret_values(settings) == ("pass%2Fword", "pass/word")


def test_the_passwords_of_a_topology_are_secrets() -> None:
    """Those of the servers of data, and those of the Sentinels."""
    url = "redis+sentinel://me:word-of-data@a:1,[::1]:2/s/1"
    settings = load(None, {}, {"BRIDGE_REDIS__URL": url, "BRIDGE_REDIS__SENTINEL_PASSWORD": "word-of-sentinels"})
    assert set(secret_values(settings)) == {"word-of-data", "word-of-sentinels"}
    assert masked(settings)["redis"]["sentinel_password"] == "**********"


def test_a_warning_repeats_no_secret() -> None:
    """Warnings are logged, and pasted into tickets."""
    environment = {
        "ATAI_API_KEY": KEY,
        "BRIDGE_SOURCE__BASE_URL": "http://lens.example",
        "BRIDGE_REDIS__URL": f"redis://:{KEY}@h",
        "BRIDGE_REDIS__CA_FILE": "/none",
    }
    told = warnings(environment)
    assert len(told) == 2
    assert KEY not in "".join(told)


def test_every_secret_of_the_settings_is_hidden_however_many_there_are() -> None:
    """A register keeps the last few of each origin: theirs are the settings."""
    environment = {
        "ATAI_API_KEY": KEY,
        "BRIDGE_REDIS__URL": "redis+sentinel://me:pass%2Fword-1@h/s",
        "BRIDGE_REDIS__PASSWORD": "pass-word-2",
        "BRIDGE_REDIS__SENTINEL_PASSWORD": "pass-word-3",
        "BRIDGE_SOURCE__PROXY": "http://me:pass%2Fword-4@proxy.example:3128",
    }
    secrets = Secrets()
    settings = load(None, {}, environment)
    hide_secrets(settings, secrets)
    assert len(secret_values(settings)) == 7
    assert all(secrets.contains(value.encode()) for value in secret_values(settings))
