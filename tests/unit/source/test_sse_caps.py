"""What an endless or hostile body can cost: bounded memory, and work in proportion to its length."""

from __future__ import annotations

import sys
import tracemalloc
from types import FrameType
from typing import Any

import pytest

from bridge.source.sse import MAX_LINE_BYTES, MAX_RETRY_MS, Decoder

KIB = 1024


def _chunks(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


@pytest.mark.parametrize("size", [1, 7, 4096, 10**6])
def test_data_up_to_the_cap_is_whole(size: int) -> None:
    """The line ends between data lines count, the last one does not."""
    decoder = Decoder(max_event_bytes=10)
    events = [e for chunk in _chunks(b"data: 1234\ndata: 67890\n\n" * 2, size) for e in decoder.feed(chunk)]
    assert [(event.raw, event.oversize_bytes) for event in events] == [(b"1234\n67890", 0)] * 2


@pytest.mark.parametrize("size", [1, 7, 4096, 10**6])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_an_oversize_event_is_out_with_its_first_bytes_and_its_size(size: int, line_end: bytes) -> None:
    """It keeps its name and id, moves the place, and leaves the next event alone."""
    body = b"event: e\ndata: 1234\ndata: 678901\nid: 5\n\ndata: x\n\n".replace(b"\n", line_end)
    decoder = Decoder(max_event_bytes=10)
    large, small = (event for chunk in _chunks(body, size) for event in decoder.feed(chunk))
    assert large == ("e", b"1234\n67890", "5", "5", 11)
    assert small == ("message", b"x", None, "5", 0)


def test_a_large_oversize_event_keeps_its_prefix_and_counts_the_rest() -> None:
    """The rest is read to the block's end, not stored."""
    decoder = Decoder(max_event_bytes=100 * KIB)
    for chunk in [b"id: 1\ndata: ", *[b"y" * 64 * KIB] * 64]:
        assert decoder.feed(chunk) == []
        assert decoder.buffered_bytes <= 100 * KIB + 3 * MAX_LINE_BYTES
    (event,) = decoder.feed(b"\ndata: z\n\n")
    assert event == ("message", b"y" * 100 * KIB, "1", "1", 4096 * KIB + 2)
    assert decoder.buffered_bytes == 0


@pytest.mark.parametrize("field", [b"id: ", b"event: ", b"retry: 0", b"foo: ", b": ", b""], ids=repr)
@pytest.mark.parametrize("size", [1, 4000, 10**6])
def test_a_line_of_the_longest_length_is_read_and_a_longer_one_ignored(field: bytes, size: int) -> None:
    """The length of the line alone decides, not how it was cut."""
    longest = field + b"1" * (MAX_LINE_BYTES - len(field))

    def read(line: bytes) -> tuple[str, str | None, int | None]:
        decoder = Decoder()
        (event,) = (event for chunk in _chunks(line + b"\ndata: x\n\n", size) for event in decoder.feed(chunk))
        assert event.raw == b"x"
        return event.event, event.id, decoder.retry_ms

    value = longest.removeprefix(field).decode()
    changed = {
        b"id: ": ("message", value, None),
        b"event: ": (value, None, None),
        b"retry: 0": ("message", None, MAX_RETRY_MS),
    }
    assert read(longest) == changed.get(field, ("message", None, None))
    assert read(longest + b"1") == ("message", None, None)


def test_a_long_id_is_ignored_like_one_with_a_nul() -> None:
    """The earlier id stays in force: a shortened one could be that of another event."""
    decoder = Decoder()
    events = decoder.feed(b"id: 1\ndata: a\n\nid: " + b"2" * 5000 + b"\ndata: b\n\n")
    assert [(event.id, event.last_event_id) for event in events] == [("1", "1"), (None, "1")]


@pytest.mark.parametrize("size", [*range(1, 40), 4095, 4096, 4097, 10**6])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_long_lines_end_where_they_end(size: int, line_end: bytes) -> None:
    """Data lines, comments and unknown fields that are too long to be kept, whatever text a chunk begins with."""
    long = b"data: no id: no " * 500
    lines = [b"id: 1", b":" + long, b"data: " + long, b"", b"foo: " + long, b"data: " + long, b"event: e", b"data: x"]
    body = line_end.join([*lines, b"id: 2", b": " + long, b"", b"data: " + long, b"", b": " + long, b"", b""])
    decoder = Decoder()
    events = [event for chunk in _chunks(body, size) for event in decoder.feed(chunk)]
    assert events == [
        ("message", long, "1", "1", 0),
        ("e", long + b"\nx", "2", "2", 0),
        ("message", long, None, "2", 0),
    ]
    assert decoder.buffered_bytes == 0


@pytest.mark.parametrize("size", [1, 7, 4096, 10**6])
def test_a_block_of_many_lines_is_one_event(size: int) -> None:
    """What was digested before stays part of it."""
    body = b"event: e\nid: 1\n" + b"data: abc\n" * 3000 + b"\ndata: x\n\n"
    decoder = Decoder()
    first, second = (event for chunk in _chunks(body, size) for event in decoder.feed(chunk))
    assert first == ("e", b"\n".join([b"abc"] * 3000), "1", "1", 0)
    assert second == ("message", b"x", None, "1", 0)


@pytest.mark.parametrize("size", [2, 64, 5_000, 64 * KIB])
def test_a_long_line_in_small_pieces_takes_the_room_of_its_bytes(size: int) -> None:
    """Not that of an object for each piece, which would be twenty times as much."""
    chunks = _chunks(b"id: 1\ndata: " + b"x" * 512 * KIB, size)
    decoder = Decoder()
    decoder.feed(b"\n" * 8)
    tracemalloc.start()
    try:
        for chunk in chunks:
            decoder.feed(chunk)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1024 * KIB
    (event,) = decoder.feed(b"\n\n")
    assert len(event.raw) == 512 * KIB


def test_all_that_is_kept_is_counted() -> None:
    """An id, a name, data and an unfinished line."""
    decoder = Decoder()
    decoder.feed(b"id: " + b"1" * 3000 + b"\nevent: " + b"2" * 3000 + b"\ndata: " + b"3" * 3000 + b"\nda")
    assert decoder.buffered_bytes == 9000 + len(b"\nda")


ENDLESS = {
    "a data line": b"data: " + b"x" * 100 * KIB,
    "data lines": b"data: x\n" * 12 * KIB,
    "bare data lines": b"data\n" * 20 * KIB,
    "an id": b"id: " + b"x" * 100 * KIB,
    "ids": b"id: xxxxxxxxxxx\n" * 6 * KIB,
    "an event name": b"event: " + b"x" * 100 * KIB,
    "digits": b"retry: " + b"9" * 100 * KIB,
    "a comment": b":" + b"x" * 100 * KIB,
    "comments": b":\n" * 50 * KIB,
    "a name without a colon": b"x" * 100 * KIB,
    "carriage returns": b"\r" * 100 * KIB,
    "blank lines": b"\n" * 100 * KIB,
    "events": b"event: message\nid: 1\ndata: x\n\n" * 3 * KIB,
    "other events": b"event: e\nid: 1\ndata: x\n\n" * 3 * KIB,
    "line ends of two kinds": b"data: x\r\n\r\n" * 9 * KIB,
}
each_endless = pytest.mark.parametrize("body", ENDLESS.values(), ids=list(ENDLESS))


@each_endless
@pytest.mark.parametrize("size", [1, 64, 16 * KIB])
def test_nothing_that_never_ends_is_kept(body: bytes, size: int) -> None:
    """The cap holds after every chunk. Byte by byte, less than half of it shows that: it is twice what may be kept."""
    decoder = Decoder(max_event_bytes=10 * KIB)
    for chunk in _chunks(body if size > 1 else body[: 44 * KIB], size):
        decoder.feed(chunk)
        assert decoder.buffered_bytes <= 10 * KIB + 3 * MAX_LINE_BYTES


@each_endless
@pytest.mark.parametrize("size", [1, 64, 16 * KIB])
def test_work_grows_with_the_length_and_not_with_its_square(body: bytes, size: int) -> None:
    """Work is counted as the bytes that methods of `bytes` are called on, not timed; its square would be four times."""
    half = 12 * KIB
    assert _work(body[: 2 * half], size) <= 3 * _work(body[:half], size)


def _work(body: bytes, size: int) -> int:
    """How many bytes the decoder has C functions look at, and how many calls it makes."""
    work = 0

    def count(_frame: FrameType, kind: str, called: Any) -> None:
        nonlocal work
        work += 1
        owner = getattr(called, "__self__", None) if kind == "c_call" else None
        if isinstance(owner, bytes | bytearray):
            work += len(owner)

    chunks = _chunks(body, size)
    decoder = Decoder()
    decoder.feed(b"\n" * 8)  # what the first feed does once is no part of the measure
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for chunk in chunks:
            decoder.feed(chunk)
    finally:
        sys.setprofile(before)
    return work
