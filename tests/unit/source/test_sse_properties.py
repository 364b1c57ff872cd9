"""The decoder on bodies that nobody thought of, beside the standard's algorithm written down plainly."""

from __future__ import annotations

import re
from itertools import pairwise
from unittest.mock import patch

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.source import sse
from bridge.source.sse import MAX_LINE_BYTES, Decoder, ServerSentEvent

_USUAL = b'event: message\nid: 17-0\ndata: {"type": "a"}\n\n'
_FRAGMENTS = [
    *(b"data", b"id", b"event", b"retry", b"message", b"foo", b":", b": ", b" ", b"\n", b"\r", b"\r\n", b"\n\n"),
    *(b"data: ", b"id: ", b"event: message\n", b"id: 1\n", b"id:2\n", b"id: \n", b"data: x\n\n", b"data:y\n\n"),
    *(b"\0", b"\xff", b"\xe2\x82", "é\u2028\u0085".encode(), b"\xef\xbb\xbf", b"12", b"9" * 30, _USUAL, b"a" * 250),
]  # fmt: skip
_LONG = [b"b" * 1500, b"\xc3" * 1500, b"data: \n" * 300, b": c\n" * 700, b"retry: 7\n" * 500, b"data: " + b"d" * 4090]
_LONG += [
    b"\n\ndata: " + b"data: e" * 700 + b"\n\n",
    b"\n: " + b"data: f" * 700 + b"\n",
    b"\nid: 1\n" + b"data: g" * 700,
]


def _bodies(fragments: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(fragments) | st.binary(max_size=4), max_size=40).map(b"".join)


small_bodies = _bodies(_FRAGMENTS)
large_bodies = _bodies(_FRAGMENTS + _LONG)
cuts = st.lists(st.floats(0, 1), max_size=12)
quick = settings(max_examples=200)


def _pieces(body: bytes, at: list[float]) -> list[bytes]:
    places = [0, *sorted(int(part * len(body)) for part in at), len(body)]
    return [body[start:end] for start, end in pairwise(places)]


def _decode(decoder: Decoder, pieces: list[bytes]) -> list[ServerSentEvent]:
    return [event for piece in pieces for event in decoder.feed(piece)]


def _by_the_standard(body: bytes) -> tuple[list[tuple[str, str, str]], str, int | None]:
    """(data, event type, last event id) of each event, the last event id and the reconnection time at the end."""
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    events, retry_ms = [], None
    data, event_type, buffered_id, last_event_id = "", "", "", ""
    for line in re.split("\r\n|\n|\r", text)[:-1]:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            last_event_id = buffered_id
            if data:
                events.append((data.removesuffix("\n"), event_type or "message", last_event_id))
            data, event_type = "", ""
        elif name == "data":
            data += value + "\n"
        elif name == "event":
            event_type = value
        elif name == "id" and "\0" not in value:
            buffered_id = value
        elif name == "retry" and re.fullmatch("[0-9]+", value):
            retry_ms = min(int(value), 86_400_000)
    return events, last_event_id, retry_ms


@quick
@given(small_bodies, cuts)
@example(b"id: \n\ndata: \n\n", [])
def test_any_body_cut_anyhow_means_what_the_standard_says(body: bytes, at: list[float]) -> None:
    """Beside the standard's algorithm on the whole text."""
    decoder = Decoder()
    events = _decode(decoder, _pieces(body, at))
    expected, last_event_id, retry_ms = _by_the_standard(body)
    assert [(event.data, event.event, event.last_event_id) for event in events] == expected
    assert (decoder.last_event_id, decoder.retry_ms) == (last_event_id, retry_ms)


@quick
@given(large_bodies, cuts, st.sampled_from([0, 1, 100, 5000, 2**20]))
def test_no_cutting_changes_anything(body: bytes, at: list[float], max_event_bytes: int) -> None:
    """Lines and blocks over every cap too: what is dropped depends on the bytes alone."""
    whole, cut = Decoder(max_event_bytes), Decoder(max_event_bytes)
    assert _decode(cut, _pieces(body, at)) == whole.feed(body)
    assert (cut.last_event_id, cut.retry_ms, cut.pending) == (whole.last_event_id, whole.retry_ms, whole.pending)


@quick
@given(large_bodies, cuts)
def test_the_quick_way_gives_what_the_slow_way_gives(body: bytes, at: list[float]) -> None:
    """The pattern for usual blocks is only an abbreviation."""
    quick_way = _decode(Decoder(), _pieces(body, at))
    with patch.object(sse, "_BLOCKS", sse._OTHER_BLOCKS):
        assert _decode(Decoder(), _pieces(body, at)) == quick_way


@quick
@given(large_bodies, cuts, st.integers(0, 6000))
def test_the_cap_shortens_data_and_changes_nothing_else(body: bytes, at: list[float], max_event_bytes: int) -> None:
    """An oversize event is the event without a cap, cut, with the size that it would have had."""
    for capped, event in zip(_decode(Decoder(max_event_bytes), _pieces(body, at)), Decoder().feed(body), strict=True):
        size = len(event.raw)
        oversize_bytes = size if size > max_event_bytes else 0
        assert capped == event._replace(raw=event.raw[:max_event_bytes], oversize_bytes=oversize_bytes)


@quick
@given(large_bodies, cuts, st.integers(0, 6000))
def test_the_buffers_stay_under_the_cap(body: bytes, at: list[float], max_event_bytes: int) -> None:
    """After every chunk, whatever came."""
    decoder = Decoder(max_event_bytes)
    for piece in _pieces(body, at):
        decoder.feed(piece)
        assert decoder.buffered_bytes <= max_event_bytes + 3 * MAX_LINE_BYTES


@quick
@given(st.lists(st.binary()), st.text(), st.integers(0, 2**31))
def test_no_bytes_raise(pieces: list[bytes], last_event_id: str, max_event_bytes: int) -> None:
    """Garbage gives nothing, not an error."""
    decoder = Decoder(max_event_bytes, last_event_id)
    for event in _decode(decoder, pieces):
        assert event.data.encode()
        assert event.event.encode()
    assert decoder.retry_ms is None or decoder.retry_ms >= 0
