"""The decoder against the standard, case by case, however the bytes are cut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bridge.source.sse import Decoder
from tests.support.sse_vectors import VECTORS, Seen, Vector


def _decode(vector: Vector, chunks: list[bytes]) -> None:
    decoder = Decoder(last_event_id=vector.resumed)
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    assert [Seen(e.data, e.event, e.id, e.last_event_id) for e in events] == list(vector.events)
    assert decoder.last_event_id == vector.last_event_id
    assert decoder.pending is vector.pending
    assert decoder.retry_ms == vector.retry_ms


def _spellings() -> Iterator[Vector]:
    for vector in VECTORS:
        yield vector
        if b"\r" not in vector.body and b"\n" in vector.body:
            for name, line_end in (("CR", b"\r"), ("CRLF", b"\r\n")):
                yield vector._replace(name=f"{vector.name}, {name}", body=vector.body.replace(b"\n", line_end))


each_spelling = pytest.mark.parametrize("vector", list(_spellings()), ids=lambda vector: vector.name)


@each_spelling
def test_a_body_in_one_piece_gives_the_events_of_the_standard(vector: Vector) -> None:
    """All of the body in one chunk."""
    _decode(vector, [vector.body])


@each_spelling
def test_a_body_cut_in_two_anywhere_gives_the_same_events(vector: Vector) -> None:
    """A cut between any two bytes, with and without an empty chunk in it."""
    for at in range(len(vector.body) + 1):
        _decode(vector, [vector.body[:at], vector.body[at:]])
        _decode(vector, [vector.body[:at], b"", vector.body[at:]])


@each_spelling
def test_a_body_one_byte_at_a_time_gives_the_same_events(vector: Vector) -> None:
    """As a slow network may bring it."""
    _decode(vector, [vector.body[at : at + 1] for at in range(len(vector.body))])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_asking_between_any_two_bytes_changes_nothing(vector: Vector) -> None:
    """The properties may be read at any time."""
    decoder = Decoder(last_event_id=vector.resumed)
    events = []
    for at in range(len(vector.body)):
        events += decoder.feed(vector.body[at : at + 1])
        _ = decoder.retry_ms, decoder.pending, decoder.buffered_bytes, decoder.last_event_id
    assert [Seen(e.data, e.event, e.id, e.last_event_id) for e in events] == list(vector.events)
    assert decoder.retry_ms == vector.retry_ms


def test_the_vectors_have_names_of_their_own() -> None:
    """A failed case must be found by its name."""
    names = [vector.name for vector in VECTORS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("line_ends", [b"\n\n", b"\r\r", b"\r\n\r", b"\n\r"], ids=repr)
def test_an_event_is_out_with_the_byte_that_ends_it(line_ends: bytes) -> None:
    """A bare CR is a line end at once; the decoder does not wait to see whether a LF follows."""
    decoder = Decoder()
    assert decoder.feed(b"data: x" + line_ends[:-1]) == []
    assert [event.raw for event in decoder.feed(line_ends[-1:])] == [b"x"]
    assert decoder.feed(b"\n") == []
    assert [event.raw for event in decoder.feed(b"data: y\n\n")] == [b"y"]


def test_raw_data_keeps_the_bytes_that_are_not_utf_8() -> None:
    """Consumers get what the server sent, not what a decoder made of it."""
    (event,) = Decoder().feed(b"data: \xff\xfe\ndata: \xe2\x82\r\n\r\n")
    assert event.raw == b"\xff\xfe\n\xe2\x82"
    assert event.data == "\ufffd\ufffd\n\ufffd"


def test_an_event_carries_the_place_of_its_own_not_of_the_chunk() -> None:
    """Several events of one chunk each have their own last event id."""
    events = Decoder().feed(b"id: 1\ndata: a\n\ndata: b\n\nid: 2\n\ndata: c\n\nid\nevent: e\ndata: d\n\ndata: e\n\n")
    assert [(event.id, event.last_event_id) for event in events] == [
        ("1", "1"), (None, "1"), (None, "2"), ("", ""), (None, ""),
    ]  # fmt: skip


def test_a_heartbeat_comment_keeps_the_id_and_dispatches_nothing() -> None:
    """Keep-alives come between any two events."""
    decoder = Decoder()
    decoder.feed(b"id: 1\ndata: x\n\n")
    assert decoder.feed(b": keep-alive\n\n") == []
    assert decoder.last_event_id == "1"


def test_a_decoder_that_saw_whole_events_only_buffers_nothing() -> None:
    """An idle connection costs no memory."""
    decoder = Decoder()
    decoder.feed(b"event: message\nid: 1\ndata: x\n\n: hi\n\ndata: y\ndata: z\n\n")
    assert decoder.buffered_bytes == 0
    assert not decoder.pending
