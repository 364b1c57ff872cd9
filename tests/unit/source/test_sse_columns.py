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
        b"data: " + b"long, without an id" * 700 + b"\n\n",
        b"event: named\nid: 3\ndata: " + b"z" * 20_000 + b"\n\n",
        b"id: 4\ndata: " + b"z" * 20_000 + b"\ndata: " + b"z" * 9_000 + b"\nretry: 7\n\n",
        b"id: 5\ndata: " + b"z" * 9_000 + b"\nevent: behind it\n\n",
        b"id: 6\rdata: " + b"z" * 9_000 + b"\r\r",
        b": " + b"long comment" * 1000 + b"\n\n",
        b"id: " + b"long id" * 1500 + b"\ndata: x\n\n",
    ]
)
_LARGE = st.tuples(st.integers(0, 10**6), st.sampled_from([4_090, 8_190, 8_200, 30_000, 66_000])).map(
    lambda one: b'event: message\nid: %d-a\ndata: {"type":"t","x":"%s"}\n\n' % (one[0], b"x" * one[1])
)
bodies = st.lists(_PLAIN | _PLAIN | _PLAIN | _LARGE | _OTHER, max_size=80).map(b"".join)


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


@pytest.mark.parametrize("data_bytes", [9_000, 64_000, 190_000])
@pytest.mark.parametrize("chunk_bytes", [5_000, 65_536, 262_144, 10**7])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_large_plain_events_come_by_column_wherever_they_are_cut(
    data_bytes: int, chunk_bytes: int, line_end: bytes
) -> None:
    """Embeddings are larger than what a socket gives at once."""
    raws = [b'{"type":"t","x":"%s"}' % (b"%d" % n * (data_bytes // len(str(n)))) for n in range(20)]
    body = b"".join(b"event: message\nid: %d\ndata: %s\n\n" % one for one in enumerate(raws))
    body = body.replace(b"\n", line_end)
    decoder = Decoder()
    chunks = [body[at : at + chunk_bytes] for at in range(0, len(body), chunk_bytes)]
    taken = [decoder.take(chunk) for chunk in chunks]
    assert all(
        isinstance(one, PlainEvents) for one, chunk in zip(taken, chunks, strict=True) if one and len(chunk) > 4096
    )
    assert [(one.id, one.raw) for part in taken for one in one_by_one(part)] == [
        (str(number), raw) for number, raw in enumerate(raws)
    ]


@pytest.mark.parametrize(
    ("block", "event"),
    [
        (b"event: named\nid: 1\ndata: %s\n\n", ("named", "1", 0)),
        (b"id: \xc3\xa9\ndata: %s\n\n", ("message", "é", 0)),
        (b"data: %s\n\n", ("message", None, 0)),
        (b"id: \ndata: %s\n\n", ("message", "", 0)),
        (b"id: 1\ndata: %s\nevent: named\n\n", ("named", "1", 0)),
        (b"id: 1\ndata: %sx\n\n", ("message", "1", 20_001)),
    ],
)
def test_a_large_event_that_is_not_plain_is_no_column(block: bytes, event: tuple[str, str | None, int]) -> None:
    """A name, no id or one that is not ASCII, and more than the cap; also where it comes in two pieces."""
    raw = b"y" * 20_000
    body = block % raw
    for cut in (0, 10_000):
        decoder = Decoder(20_000)
        assert decoder.take(body[:cut]) == []
        taken = decoder.take(body[cut:])
        assert isinstance(taken, list)
        assert [(one.event, one.id, one.oversize_bytes) for one in taken] == [event]
        assert taken[0].raw == raw


def test_a_large_event_that_has_not_ended_is_no_event() -> None:
    """Of several parts none completes one."""
    assert Decoder().take(b"data: " + b"x" * 200_000) == []
