"""The ring of frames and the record, against a plain list."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.lab.simulator.lens.history import History
from bridge.lab.simulator.lens.resume import CursorRefused, decode_cursor, start_position
from bridge.lab.simulator.lens.switches import Switches, UnknownCursorRule


@given(capacity=st.integers(0, 3000), bursts=st.lists(st.integers(1, 1500), max_size=8), forgotten=st.integers(0, 500))
def test_the_ring_serves_the_newest_and_knows_only_their_ids(capacity: int, bursts: list[int], forgotten: int) -> None:
    """Whatever the capacity: positions are stable, the newest frames are there, older ids are unknown."""
    history, total = History(), 0
    for burst in bursts:
        for _ in range(burst):
            history.append(b"%d" % total, str(total), capacity)
            total += 1
        history.forget(forgotten)
        assert history.end == total
        assert history.oldest >= max(0, total - capacity)
        served = history.take(history.oldest, total + 1, 1 << 30)
        assert served == [b"%d" % n for n in range(history.oldest, total)]
        for n in (0, history.oldest - 1, history.oldest, total - 1):
            known = history.oldest <= n < total
            assert history.position_of(str(n)) == (n if known else None)


@given(sizes=st.lists(st.integers(1, 50), min_size=1), max_events=st.integers(1, 10), max_bytes=st.integers(1, 120))
def test_taking_is_bounded_and_always_gets_on(sizes: list[int], max_events: int, max_bytes: int) -> None:
    """No take is larger than asked, except one frame that is larger by itself; nothing is left out."""
    history = History()
    for size in sizes:
        history.append(b"x" * size, None, 1000)
    position, taken = 0, []
    while frames := history.take(position, max_events, max_bytes):
        assert len(frames) <= max_events
        assert len(frames) == 1 or sum(map(len, frames)) <= max_bytes
        taken += frames
        position += len(frames)
    assert [len(one) for one in taken] == sizes


def test_an_id_that_is_used_twice_means_its_last_use() -> None:
    """Servers do reuse ids; losing the first use from the ring keeps the second one known."""
    history = History()
    for event_id in ("a", "b", "a"):
        history.append(b"x", event_id, 1000)
    assert history.position_of("a") == 2
    history.forget(2)
    assert history.position_of("a") == 2
    assert history.position_of("b") is None


def test_the_record_keeps_what_the_ring_has_lost() -> None:
    """An entry is the id, the hash of the data, the type, and the fault where there is one."""
    history = History()
    history.note("1", "data", "x", None)
    history.note(None, "", None, "empty")
    history.append(b"frame", "1", 0)
    assert history.take(0, 10, 10) == []
    assert [entry.as_json() for entry in history.record] == [
        {"id": "1", "sha256": hashlib.sha256(b"data").hexdigest(), "type": "x"},
        {"id": None, "sha256": hashlib.sha256(b"").hexdigest(), "type": None, "poison": "empty"},
    ]


def test_a_cursor_is_read_as_utf8_or_else_latin1() -> None:
    """The SSE standard sends UTF-8; other clients send what they received as Latin-1. Empty is none at all."""
    assert decode_cursor("é☃".encode()) == "é☃"
    assert decode_cursor("é".encode("latin-1")) == "é"
    assert decode_cursor(b"") is None
    assert decode_cursor(None) is None


def test_an_overlap_stops_at_the_oldest_frame() -> None:
    """More overlap than history begins at its beginning; an unknown cursor is refused with its status."""
    history = History()
    for n in range(5):
        history.append(b"x", str(n), 4)
    assert start_position(Switches(overlap_events=100), history, "4") == 1
    refusing = Switches(unknown_cursor=UnknownCursorRule.REFUSE, unknown_cursor_status=404)
    with pytest.raises(CursorRefused) as refused:
        start_position(refusing, history, "0")
    assert refused.value.status == 404
