"""A configuration that is read again: what of it takes effect at once, and what is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigurationError
from bridge.settings.loading import Configuration, read
from bridge.settings.reference import SETTINGS
from bridge.worker.reload.changes import LIVE, difference, merged, weigh


def configuration(write: Any, text: str) -> Configuration:
    return read(write(text), {}, {})


def test_a_setting_that_can_takes_effect_and_one_that_cannot_is_named(write: Any) -> None:
    """What is in force is the new list of sessions at the old Redis."""
    old = configuration(write, "sessions: [lsn-a]")
    change = weigh(old, configuration(write, "sessions: [lsn-a, lsn-b]\nredis: {url: redis://other:6379}\n"))
    assert (change.taken, change.held) == (("sessions",), ("redis.url",))
    in_force = change.in_force
    assert [one.session_id for one in in_force.settings.sessions] == ["lsn-a", "lsn-b"]
    assert in_force.settings.redis.url == old.settings.redis.url
    assert in_force.origins["redis.url"] == "default"
    assert in_force.origins["sessions"].endswith(":1")


def test_what_is_held_is_named_again_until_it_is_taken_back(write: Any) -> None:
    """Compared is always what is in force."""
    old = configuration(write, "log: {level: info}")
    text = "lease: {ttl_seconds: 30}"
    once = weigh(old, configuration(write, text))
    assert weigh(once.in_force, configuration(write, text)).held == ("lease.ttl_seconds",)
    assert weigh(once.in_force, configuration(write, "log: {level: info}")).held == ()


def test_an_id_that_each_reading_makes_up_is_no_change(write: Any) -> None:
    """One that a person gives is."""
    first, second = configuration(write, ""), configuration(write, "")
    assert first.settings.worker.id != second.settings.worker.id
    assert difference(first, second) == ()
    assert weigh(first, second).in_force.settings.worker.id == first.settings.worker.id
    assert difference(first, configuration(write, "worker: {id: w}")) == ("worker.id",)


def test_what_is_good_alone_and_wrong_beside_what_stays_is_refused_in_words(write: Any) -> None:
    """The new sessions go with the new key of streams; with the old one they would share a place."""
    old = configuration(write, "stream: {key: 'lens:{all}:events'}\nsessions: [lsn-a]")
    new = configuration(write, "stream: {key: 'lens:{<name>}:events'}\nsessions: [a=lsn-a, b=lsn-a]")
    with pytest.raises(ConfigurationError) as caught:
        weigh(old, new)
    (line,) = str(caught.value).splitlines()
    assert line.startswith("sessions (BRIDGE_SESSIONS): a and b read lsn-a into the same place")
    assert line.endswith("(until a restart, what it was at the start is in force of stream.key)")


def test_a_secret_that_rotates_in_the_secrets_directory_is_a_change(tmp_path: Path) -> None:
    """The key, and the passwords."""
    environment = {"BRIDGE_SECRETS_DIR": str(tmp_path)}
    for name in ("atai_api_key", "bridge_redis__password"):
        (tmp_path / name).write_text("first-secret")
    old = read(None, {}, environment)
    for name in ("atai_api_key", "bridge_redis__password"):
        (tmp_path / name).write_text("second-secret")
    assert weigh(old, read(None, {}, environment)).taken == ("redis.password", "source.api_key")


def test_what_is_said_to_be_live_is_a_setting() -> None:
    """A name that was mistyped would never take effect."""
    assert SETTINGS.keys() >= LIVE


@given(paths=st.sets(st.sampled_from(["log.level", "log.format", "lease.ttl_seconds", "sessions", "stream.markers"])))
def test_of_the_new_settings_those_that_are_named_count_and_no_others(paths: set[str]) -> None:
    """Whichever they are."""
    old = read(None, {"worker.id": "w"}, {})
    flags: dict[str, Any] = {
        "log.level": "debug",
        "log.format": "json",
        "lease.ttl_seconds": 77,
        "sessions": "lsn-a",
        "stream.markers": False,
    }
    new = read(None, {"worker.id": "w", **flags}, {})
    mixed = merged(old.settings, new.settings, paths)
    alone = read(None, {"worker.id": "w", **{path: flags[path] for path in paths}}, {})
    assert mixed == alone.settings
