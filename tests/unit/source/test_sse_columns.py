"""The decoder's columns: whatever the bytes are, they say what it says one by one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.model.records import PlainEvents, ServerSentEvent
from bridge.source.sse import Decoder

_PLAIN = st.tuples(st.integers(0, 10**6), st.integers(0, 4000)).map(
    lambda one: b'event: message\nid: %d-a\ndata: {"type":"t","x":"%s"}\n\n' % (one[0], b"x" * one[1])
)
_OTHER = st.sampled_from(
    [
        b"data: without an id\n\n",
        b": comment\n\n",
        b"id: \ndata: empty id\n\n",
        b"id: \xc3\xa9\ndata: not ASCII\n\n",
        b"event: named\nid: 7\ndata: x\n\n",
        b"id: 8\ndata: two\ndata: lines\n\n",
        b"id: 9\r\ndata: other line ends\r\n\r\n",
        b"\n",
        b"id: only\n\n",
        b"retry: 5\n\n",
        b"id: 1\ndata: " + b"y" * 70_000 + b"\n\n",
    ]
)
bodies = st.lists(_PLAIN | _PLAIN | _PLAIN | _OTHER, max_size=80).map(b"".join)


def one_by_one(taken: PlainEvents | list[ServerSentEvent]) -> list[ServerSentEvent]:
    """Of either form."""
    return taken.events() if isinstance(taken, PlainEvents) else taken


@settings(max_examples=200)
@given(bodies, st.lists(st.floats(0, 1), max_size=6), st.sampled_from([3_000, 8 << 20]))
def test_by_column_or_one_by_one_it_is_the_same(body: bytes, cuts: list[float], cap: int) -> None:
    """Events, the place for a reconnect and what is kept, cut anywhere."""
    columns, singly = Decoder(cap), Decoder(cap)
    places = [0, *sorted(int(part * len(body)) for part in cuts), len(body)]
    for start, end in pairwise(places):
        expected = [event for at in range(start, end, 100) for event in singly.feed(body[at : min(at + 100, end)])]
        assert one_by_one(columns.take(body[start:end])) == expected
        assert columns.last_event_id == singly.last_event_id
        assert (columns.pending, columns.retry_ms) == (singly.pending, singly.retry_ms)


@pytest.mark.parametrize("events", [4, 300, 2_000])
def test_plain_events_come_by_column(events: int) -> None:
    """Also where they are more than one step takes, and end with a few."""
    body = b"".join(b'id: %d\ndata: {"type":"t","x":"%s"}\n\n' % (n, b"x" * 200) for n in range(events))
    taken = Decoder().take(body + b"id: unfinished")
    assert isinstance(taken, PlainEvents)
    assert taken.ids == [str(n) for n in range(events)]
    assert len(taken.raws) == events


def test_a_large_event_that_has_not_ended_is_no_event() -> None:
    """Of several parts none completes one."""
    assert Decoder().take(b"data: " + b"x" * 200_000) == []
