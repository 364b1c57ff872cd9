"""The place of a session, read off its own entries."""

from __future__ import annotations

import pytest

from bridge.events import Place
from bridge.recovery import seed_from_entries
from bridge.window import Window, digest_of


def entry(key: str, seq: int) -> dict[bytes, bytes]:
    """An entry of the stream, as far as it matters."""
    return {b"id": key.encode(), b"seq": b"%d" % seq, b"data": b'{"n":%d}' % seq, b"session_id": b"lsn-1"}


@pytest.mark.parametrize(
    ("keys", "cursor", "ordinal"),
    [
        (["7", "8"], "8", 0),
        (["8", "8#1-0a1b2c3d", "8#2-0a1b2c3d"], "8", 2),
        (["0#1-0a1b2c3d"], None, 1),
        (["8", "8~0a1b2c3d"], "8", 0),
        (["8", "bridge-gap-1"], "8", 0),
        (["bridge-gap-1"], None, 0),
        (["a#b#3-0a1b2c3d"], "a#b", 3),
        (["#1-zz"], "#1-zz", 0),
    ],
)
def test_the_last_entries_tell_the_place(keys: list[str], cursor: str | None, ordinal: int) -> None:
    """Whatever kind of key came last."""
    seed = seed_from_entries([entry(key, seq) for seq, key in enumerate(keys, 41)])
    assert seed is not None
    assert seed.place == Place(cursor=cursor, ordinal=ordinal, seq=40 + len(keys))


def test_the_window_recognises_what_the_entries_hold() -> None:
    """So that a replay of them is skipped."""
    seed = seed_from_entries([entry("7", 1), entry("bridge-gap-1", 2), entry("8", 3)])
    assert seed is not None
    window = Window(10, seed.window)
    assert window.get("7") == digest_of(b'{"n":1}')
    assert window.get("8") == digest_of(b'{"n":3}')
    assert window.get("bridge-gap-1") is None


def test_a_stream_without_the_session_tells_nothing() -> None:
    """A new session starts from the beginning."""
    assert seed_from_entries([]) is None
