"""Entries as Server-Sent Events, read back by the bridge's own decoder, which keeps to the WHATWG standard."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model.records import ServerSentEvent
from bridge.serve.frames import HEARTBEAT, Entry, Format, begin, hole_frame, place_frame
from bridge.serve.places import EntryId, Hole, HoleReason
from bridge.source.sse import Decoder
from tests.support.sse_vectors import VECTORS, Vector

PLACE = EntryId(1764143000000, 3)
FIELDS = {b"id": b"41", b"session_id": b"lsn-1", b"seq": b"7", b"type": b"inference.result"}


def _read(sent: bytes) -> list[ServerSentEvent]:
    return Decoder().feed(sent)


def _entry(data: bytes, **others: bytes) -> Entry:
    return Entry(PLACE, {**FIELDS, b"data": data, **{name.encode(): value for name, value in others.items()}})


def test_an_entry_is_one_event_of_json_with_its_fields_as_they_stand_there() -> None:
    """Under the default name, so that `onmessage` of an EventSource gets it, and with the entry's id."""
    (event,) = _read(_entry(b'{"a": 1}').frame(Format.ENTRY))
    assert (event.event, event.id) == ("message", "1764143000000-3")
    assert json.loads(event.data) == {
        "id": "41", "session_id": "lsn-1", "seq": "7", "type": "inference.result", "data": '{"a": 1}'
    }  # fmt: skip


@pytest.mark.parametrize("format", Format)
@given(data=st.binary(max_size=200) | st.text("a\r\n\0: \u2028\ufeff", max_size=20).map(str.encode))
def test_whatever_the_data_is_it_comes_back_to_the_byte_in_one_event(format: Format, data: bytes) -> None:
    """Nothing in it ends a line, an event, or the stream; what UTF-8 cannot say comes as base64."""
    sent = _entry(data).frame(format) + _entry(b"next").frame(format)
    event, after = _read(sent)
    assert event.id == after.id == str(PLACE)
    if format is Format.DATA and event.event == "message":
        assert event.raw == data
        event.raw.decode()
        assert after.raw == b"next"
        return
    assert event.event == ("message" if format is Format.ENTRY else "bridge.entry")
    said = json.loads(event.data)
    assert {said["id"], said["seq"]} == {"41", "7"}
    assert (said["data"].encode() if "data" in said else base64.b64decode(said["data_base64"])) == data


@pytest.mark.parametrize("data", [b"a\rb", b"\xff", b"a\r\nb"])
def test_data_that_no_event_stream_can_carry_is_sent_whole_and_under_a_name_of_its_own(data: bytes) -> None:
    """A reader of the plain data would take a changed text for the sent one."""
    (event,) = _read(_entry(data).frame(Format.DATA))
    assert event.event == "bridge.entry"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_what_the_bridge_read_from_a_source_is_read_the_same_from_here(vector: Vector) -> None:
    """Each case of the standard, through the decoder, as entries, out again, and through the decoder once more."""
    read = [(event.event, event.raw) for event in Decoder(last_event_id=vector.resumed).feed(vector.body)]
    entries = [_entry(raw, event=name.encode()) for name, raw in read]
    again = _read(b"".join(one.frame(Format.DATA) for one in entries))
    for (name, raw), event in zip(read, again, strict=True):
        if event.event == "bridge.entry":
            fields = json.loads(event.data)
            assert base64.b64decode(fields["data_base64"]) == raw, "only bytes that are no UTF-8 come otherwise"
        else:
            assert (event.event, event.raw) == (name, raw)


@pytest.mark.parametrize("event", [b"bridge.hole", b"bridge.entry", b"a\nid: 9", b"a\rid: 9", b"", b"\xff"])
def test_no_entry_passes_for_a_word_of_our_own_or_breaks_out_of_its_line(event: bytes) -> None:
    """Whoever may write to the stream chooses the name of an event."""
    (seen,) = _read(_entry(b"x", event=event).frame(Format.DATA))
    assert (seen.event, seen.id) == ("bridge.entry", str(PLACE))
    assert "data" in json.loads(seen.data)


def test_an_entry_that_is_not_the_bridges_is_sent_as_it_is() -> None:
    """Somebody else's, without data, and with a field whose name is no UTF-8."""
    entry = Entry(PLACE, {b"hello": b"world", b"\xff": b"\xfe"})
    for format in Format:
        (event,) = _read(entry.frame(format))
        assert json.loads(event.data) == {"hello": "world", "\\xff_base64": "/g=="}


def test_a_hole_is_told_under_its_own_name_with_where_it_goes_on() -> None:
    """`onmessage` does not get it; the id is told with it where it is a new one, so that it is told once."""
    lost = Hole(reason=HoleReason.AHEAD, after=PLACE, place=EntryId(5, 0))
    (event,) = _read(hole_frame(lost))
    assert (event.event, event.id) == ("bridge.hole", "5-0")
    said = {"reason": "ahead", "after": "1764143000000-3", "goes_on_after": "5-0"}
    assert json.loads(event.data) == said
    (event,) = _read(hole_frame(Hole(reason=HoleReason.TRIMMED, after=PLACE, place=PLACE)))
    assert event.id is None


def test_a_place_and_a_heartbeat_are_no_events() -> None:
    """The first one moves the place of who comes back, the second one nothing."""
    decoder = Decoder()
    assert decoder.feed(begin(2.5) + place_frame(PLACE) + HEARTBEAT) == []
    assert (decoder.last_event_id, decoder.retry_ms) == (str(PLACE), 2500)
    decoder.feed(HEARTBEAT)
    assert decoder.last_event_id == str(PLACE)


def test_a_frame_is_made_once_for_all_readers() -> None:
    """A thousand readers of one stream cost one encoding."""
    entry = _entry(b"x")
    assert entry.frame(Format.ENTRY) is entry.frame(Format.ENTRY)
