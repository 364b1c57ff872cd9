"""Markers: how they are told from events, and that no event passes for one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.delivery.markers import escaped, is_marker, marker, unescaped

texts = st.one_of(st.text(max_size=8), st.sampled_from(["bridge-", "bridge-gap-1", "server-bridge-1", "bridge.", "t"]))


def test_a_marker_takes_no_number_and_no_part_in_replays() -> None:
    """It stands at the place of the event before it, under a key of its own."""
    made = marker("gap", {"reason": "no_cursor", "last_id": "é"}, at=2.5, cursor="c", ordinal=3)
    assert (made.type, made.event, made.digest, made.skip) == ("bridge.gap", "message", b"", 0)
    assert (made.cursor, made.ordinal, made.received_at) == ("c", 3, 2.5)
    assert made.key.startswith("bridge-gap-")
    assert made.data == '{"reason": "no_cursor", "last_id": "é"}'.encode()
    assert json.loads(made.data)["last_id"] == "é"
    assert not made.numbered
    assert marker("gap", {}, at=2.5, cursor=None, ordinal=0).key != made.key
    assert is_marker(made.key, made.type)


@pytest.mark.parametrize(
    ("key", "type", "published"),
    [
        ("bridge-1", "bridge.x", "server-bridge-1"),
        ("bridge-1", "t", "bridge-1"),
        ("1", "bridge.x", "1"),
        ("server-bridge-1", "bridge.x", "server-bridge-1"),
    ],
)
def test_only_a_key_that_would_pass_for_a_markers_is_changed(key: str, type: str, published: str) -> None:
    """Both its key and its type must look like one."""
    assert escaped(key, type) == published
    assert not is_marker(published, type)


def test_the_servers_own_id_is_read_off_the_key() -> None:
    """As the cursor that it is resumed from."""
    assert unescaped("server-bridge-1", "bridge.x") == "bridge-1"
    assert unescaped("server-bridge-1", "t") == "server-bridge-1"
    assert unescaped("server-1", "bridge.x") == "server-1"


@given(texts, texts)
def test_no_event_ever_passes_for_a_marker(key: str, type: str) -> None:
    """Whatever the server calls it."""
    assert not is_marker(escaped(key, type), type)
