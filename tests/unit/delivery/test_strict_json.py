"""`events.strict_json`: exactly what RFC 8259 permits is published, and what is refused is told by its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.delivery.batch import records_in
from bridge.delivery.envelopes import NotAnEnvelope, kind_of
from bridge.delivery.filters import Selection
from bridge.delivery.intake import Intake
from bridge.delivery.window import Window
from bridge.masking import Secrets
from bridge.model.labels import DeadLetterReason
from bridge.model.place import START
from bridge.model.records import PlainEvents, Record, Run, ServerSentEvent

INVALID, MISSING = DeadLetterReason.INVALID_JSON, DeadLetterReason.MISSING_TYPE
STRICT = Selection(strict_json=True)


def event(raw: bytes) -> ServerSentEvent:
    """One with an id."""
    return ServerSentEvent("message", raw, "1", "1")


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b'{"type":"a","x":NaN}', "NaN at byte 16 is no JSON (RFC 8259)"),
        (b'{"type":"a","x":[1,-Infinity]}', "-Infinity at byte 19 is no JSON (RFC 8259)"),
        (b'{"type":"a","\\"NaN":"\\\\","y":Infinity,"z":NaN}', "Infinity at byte 29 is no JSON (RFC 8259)"),
        ('{"type":"ä","x":NaN}'.encode(), "NaN at byte 17 is no JSON (RFC 8259)"),
        (b'{"type":"a","x":"\xff"}', "no UTF-8 at byte 17 (RFC 8259)"),
        (b'{"type":"a","x":"\xed\xa0\x80"}', "no UTF-8 at byte 17 (RFC 8259)"),
        (b'{"type":"a","x":"\xc3', "Unterminated string starting at character 16"),
        (b'\xef\xbb\xbf{"type":"a"}', "a byte order mark at byte 0 is no JSON (RFC 8259)"),
        (b"[NaN]", "NaN at byte 1 is no JSON (RFC 8259)"),
        (b'{"type":NaN}', "NaN at byte 8 is no JSON (RFC 8259)"),
        (b'{"type":"a","x":"\x01"}', "Invalid control character at character 17"),
        (b'{"type":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_the_rfc_forbids_is_no_event_and_the_detail_tells_what_and_where(raw: bytes, detail: str) -> None:
    """In bytes, since there may be no characters to count."""
    assert STRICT.kind(event(raw)) == NotAnEnvelope(INVALID, detail)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"type":"a","x":"NaN"}',
        b'{"type":"a","NaN\\"":"Infinity\\\\"}',
        b'{"type":"a","x":"\\ud800"}',
        b'{"type":"a","x":1e400,"y":-0,"z":' + b"9" * 5000 + b"}",
        b'{"type":"b","type":"a"}',
        '{"type":"a","x":"\u2028\ufeff\x7f"}'.encode(),
        b' \t\r\n{"type":"a"}\n',
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_the_rfc_permits_is_an_event_though_readers_may_differ_about_it(raw: bytes) -> None:
    """Halves of surrogate pairs, numbers beyond a double, equal names: permitted, and called unpredictable."""
    assert STRICT.kind(event(raw)) == "a"


def test_what_has_no_type_or_is_too_large_keeps_its_reason() -> None:
    """It would have been no event anyway."""
    assert STRICT.kind(event(b"[1]")) == NotAnEnvelope(MISSING, "the payload is not a JSON object")
    large = event(b'{"type":"\xff')._replace(oversize_bytes=9_000_000)
    assert STRICT.kind(large) == kind_of(large)


@pytest.mark.parametrize("type", ["start", "heartbeat", "end"])
def test_a_control_frame_is_one_however_it_is_written(type: str) -> None:
    """It is not published; an end that went unseen would be waited for."""
    assert STRICT.kind(event(b'{"type":"sse.stream.%s","x":NaN}' % type.encode())) == f"sse.stream.{type}"


def test_what_is_filtered_out_is_so_by_its_type_alone() -> None:
    """Who leaves out a type whose data is no JSON has no dead letters of it."""
    selection = Selection(exclude=["noise"], strict_json=True)
    assert selection.kind(event(b'{"type":"noise","x":NaN}')) == "noise"
    assert isinstance(selection.kind(event(b'{"type":"a","x":NaN}')), NotAnEnvelope)


def test_a_change_of_the_setting_holds_from_the_next_chunk_on() -> None:
    """For all intakes that share it; a replay of what was decided before changes nothing."""
    selection = Selection()
    intake = Intake(place=START, window=Window(10), secrets=Secrets(), selection=selection)
    intake.opened(resumed=False)

    def kinds(*ids: str) -> list[tuple[str, str]]:
        raws = [b'{"type":"a","n":%s,"x":"\xff"}' % id.encode() for id in ids]
        taken = records_in(intake.accept(PlainEvents(list(ids), raws), 1.0).records)
        return [(one.type, one.dead.reason if one.dead else "") for one in taken]

    assert kinds("1", "2") == [("a", "")] * 2
    selection.use(["*"], [], strict_json=True)
    assert kinds("3", "4") == [("", INVALID)] * 2
    intake.opened(resumed=False)
    assert kinds("1", "2", "3") == []
    selection.use(["b"], [], strict_json=True)
    assert kinds("5") == [("", "")]


def test_a_chunk_that_is_all_permitted_stays_together() -> None:
    """With bytes beyond ASCII too."""
    intake = Intake(place=START, window=Window(10), secrets=Secrets(), selection=STRICT)
    intake.opened(resumed=False)
    raws = [b'{"type":"a"}', '{"type":"a","x":"\u00e9"}'.encode()]
    [run] = intake.accept(PlainEvents(["1", "2"], raws), 1.0).records
    assert isinstance(run, Run)


def _by_the_rfc(raw: bytes) -> str | DeadLetterReason:
    """Python's own parser without its leniency: UTF-8 alone, no mark in front, none of its own numbers."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        value = json.loads(raw.decode("utf-8", "strict"), parse_constant=refuse, parse_int=float)
    except ValueError:
        return INVALID
    found = value.get("type") if isinstance(value, dict) else None
    return found.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(found, str) else MISSING


_texts = st.text(max_size=8) | st.sampled_from(["type", "NaN", "-Infinity", "\ud800", "\udc00\ud800", "\ufeff", '"\\'])
_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=8,
)
_TOKENS = [
    *(b'"type"', b'"a"', b":", b",", b"{", b"}", b"[", b"]", b'{"type":"a","x":', b'{"type":"a","x":"', b'"', b" "),
    *(b"NaN", b"Infinity", b"-", b"0", b"1", b".", b"e", b"E+", b"true", b"null", b"\n", b"\0", b"\x7f", b'"}', b"1}"),
    *(b"\\", b"\\u", b"00", b"d800", b"\\ud83d\\ude00", b"/", b"\xff", b"\xc3", b"\xa9", b"\xef\xbb\xbf", b"\xed\xa0"),
]
_raws = st.one_of(
    st.lists(st.sampled_from(_TOKENS) | st.binary(max_size=2), max_size=12).map(b"".join),
    st.builds(
        lambda members, ascii: json.dumps({"type": "a", **members}, ensure_ascii=ascii).encode(
            "utf-8", "surrogatepass"
        ),
        st.dictionaries(_texts, _values, max_size=4),
        st.booleans(),
    ),
)


@settings(max_examples=1000)
@given(_raws)
@example(b'{"type":"a","x":"\\NaN"}')
@example(b'{"type":"a","x":"NaN","y":NaN}')
def test_exactly_what_a_strict_parser_reads_is_published(raw: bytes) -> None:
    """By itself or in a chunk with others, whose reader is another one."""
    due = _by_the_rfc(raw)
    kind = STRICT.kind(event(raw))
    assert (kind.reason if isinstance(kind, NotAnEnvelope) else kind) == due
    intake = Intake(place=START, window=Window(10), secrets=Secrets(), selection=STRICT)
    intake.opened(resumed=False)
    taken = intake.accept(PlainEvents(["1", "2"], [raw, b'{"type":"b"}']), 1.0).records
    if due not in ("sse.stream.start", "sse.stream.heartbeat", "sse.stream.end"):
        first: Record = records_in(taken)[0]
        assert (first.dead.reason if first.dead else first.type) == due
