"""Entries as values, and what is JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from bridge.consumer import Ended, Event, Gap, Marker, NotAnEntryError
from bridge.consumer.core.entries import parse

FIELDS = {
    b"id": b"7",
    b"session_id": b"lsn-1",
    b"seq": b"3",
    b"type": b"inference.result",
    b"data": b'{"type": "inference.result"}',
    b"received_at": b"1741843200.123",
}


def entry(**fields: bytes) -> Any:
    """One with these fields changed or added."""
    return parse("s", "1700-5", FIELDS | {name.encode(): value for name, value in fields.items()})


def test_an_event_of_an_older_bridge_has_no_name() -> None:
    """All else is as ever."""
    event = entry()
    assert type(event) is Event
    assert (event.name, event.seq, event.event, event.deliveries, event.entry_ms) == (None, 3, "message", 1, 1700)
    assert dict(event.extra) == {}


@pytest.mark.parametrize("missing", sorted(FIELDS))
def test_what_lacks_a_field_is_no_entry(missing: bytes) -> None:
    """It is named."""
    with pytest.raises(NotAnEntryError, match=missing.decode()):
        parse("s", "1-0", {name: value for name, value in FIELDS.items() if name != missing})


@pytest.mark.parametrize(("field", "value"), [("seq", b"x"), ("received_at", b""), ("id", b"\xff")])
def test_nonsense_in_a_field_is_no_entry(field: str, value: bytes) -> None:
    """Whatever wrote it."""
    with pytest.raises(NotAnEntryError):
        entry(**{field: value})


def test_a_mark_is_told_by_type_and_id_together() -> None:
    """An event of a server may have either."""
    assert type(entry(type=b"bridge.gap", id=b"bridge-gap-1", data=b"{}")) is Gap
    assert type(entry(type=b"bridge.session.ended", id=b"bridge-x", data=b"{}")) is Ended
    assert type(entry(type=b"bridge.of-a-later-release", id=b"bridge-x")) is Marker
    assert type(entry(type=b"bridge.gap")) is Event
    assert type(entry(id=b"bridge-gap-1")) is Event


@pytest.mark.parametrize("data", [b"", b"[1]", b"\xff", b'{"from_seq": "2"}', b"[" * 100_000])
def test_a_mark_whose_data_says_nothing_names_no_numbers(data: bytes) -> None:
    """It is a mark all the same."""
    gap = entry(type=b"bridge.gap", id=b"bridge-gap-1", data=data)
    assert list(gap.missing) == []
    assert gap.reason == ""


def test_the_identity_of_an_event_is_session_number_and_id() -> None:
    """A published dead letter has no number of its own for ever."""
    assert entry().identity == ("lsn-1", 3, "7")
    assert entry(dead_letter=b"1-0").identity == ("lsn-1", 0, "7")


@pytest.mark.parametrize(
    "data",
    [
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b'"\xff"',
        rb'"\ud800"',
        rb'{"\udfff": 1}',
        b"{",
        b"",
        b'"\xed\xa0\x80"',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_strict_json_refuses_what_no_other_program_could_read(data: bytes) -> None:
    """What RFC 8259 forbids, and what it calls unpredictable."""
    with pytest.raises(ValueError):
        entry(data=data).json()


def test_lenient_json_reads_what_python_reads() -> None:
    """And replaces what is no UTF-8."""
    assert math.isnan(entry(data=b"NaN").json(strict=False))
    assert entry(data=b'"\xff"').json(strict=False) == "�"
    assert entry(data=rb'"\ud800"').json(strict=False) == "\ud800"
    with pytest.raises(ValueError):
        entry(data=b"{").json(strict=False)
    with pytest.raises(ValueError):
        entry(data=b"[" * 100_000 + b"]" * 100_000).json(strict=False)


@settings(max_examples=40)
@given(
    some.recursive(
        some.none()
        | some.booleans()
        | some.integers()
        | some.floats(allow_nan=False, allow_infinity=False)
        | some.text(),
        lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
    )
)
def test_what_is_json_is_read_as_it_was_written(value: Any) -> None:
    """With escapes and without: also characters that take two of them."""
    for escaped in (True, False):
        assert entry(data=json.dumps(value, ensure_ascii=escaped).encode()).json() == value
