"""Which payloads are envelopes, and what their type is: Python's own `json` is the judge."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.delivery import envelopes
from bridge.delivery.batch import records_in
from bridge.delivery.envelopes import NotAnEnvelope, timestamp_of, type_of
from bridge.delivery.intake import Intake
from bridge.delivery.window import Window
from bridge.masking import Secrets
from bridge.model.labels import DeadLetterReason
from bridge.model.place import START
from bridge.model.records import Accepted, ServerSentEvent

INVALID, MISSING = DeadLetterReason.INVALID_JSON, DeadLetterReason.MISSING_TYPE
NUL = "\0"
quick = settings(max_examples=200)


@pytest.mark.parametrize(
    ("raw", "envelope_type"),
    [
        (b'{"type": "inference.result"}', "inference.result"),
        (b' \t\r\n{"type":"a"}\n ', "a"),
        (b'{"x": {"type": "inner"}, "type": "outer"}', "outer"),
        (b'{"type": ""}', ""),
        (b'{"type": "a", "type": "b"}', "b"),
        (b'{"type": 1, "type": "b"}', "b"),
        (b'{"t\\u0079pe": "a"}', "a"),
        (b'{"type": "a", "t\\u0079pe": "b"}', "b"),
        (b'{"type": "a\\u0000\\n\\ud83d\\ude00"}', f"a{NUL}\n\U0001f600"),
        ('{"type": "zażółć"}'.encode(), "zażółć"),
        (b'{"type": "a", "x": NaN}', "a"),
        (b'{"x": [Infinity, -Infinity, -1.5e300, 1e999], "type": "a"}', "a"),
        (b'{"type": "NaN", "x": NaN}', "NaN"),
        (b'{"type": " 0 ", "x": NaN}', " 0 "),
        (b'{"type": "", "x": NaN}', ""),
        (b'{"type": "a", "x": "\\ud800"}', "a"),
        (b'{"type": "\\ud800b"}', "\ufffdb"),
        (b'{"type": "a", "x": "\xff"}', "a"),
        (b'{"type": "a\xff"}', "a\ufffd"),
        (b'{"type": "a", "\xff": 1}', "a"),
        (b'\xef\xbb\xbf{"type": "a"}', "a"),
        (b'{"type": "a", "x": ' + b"9" * 5000 + b"}", "a"),
        (b'{"type": "a", "y": NaN, "x": ' + b"9" * 5000 + b"}", "a"),
        (b'{"type": "a", "y": "\\ud800", "x": -' + b"9" * 5000 + b"}", "a"),
        (b'{"type": "a", "x": "NaN \\\\Infinity"}', "a"),
    ],
    ids=repr,
)
def test_the_type_of_an_envelope(raw: bytes, envelope_type: str) -> None:
    """All that Python's own `json` reads, and integers of any length."""
    assert type_of(raw) == envelope_type


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", INVALID),
        (b" ", INVALID),
        (b"{", INVALID),
        (b'{"type": "a"', INVALID),
        (b'{"type": "a",}', INVALID),
        (b'{"type": "a"} x', INVALID),
        (b'{"type": "a"}{"type": "b"}', INVALID),
        (b"{'type': 'a'}", INVALID),
        (b'b\'{"type": "a"}\'', INVALID),
        (b'{"type": "a", "x": 01}', INVALID),
        (b'{"type": "a", "x": -NaN}', INVALID),
        (b'{"type": "a", "x": 1NaN}', INVALID),
        (b'{"type": "a", "x": NaN.5}', INVALID),
        (b'{"type": "a", "x": NaN1}', INVALID),
        (b'{"type": "a", "x": NaNe5}', INVALID),
        (b'{"type": "a", "x": Infinity.5}', INVALID),
        (b'{"type": "a", "x": -Infinity.5}', INVALID),
        (b'{"type": "a", "x": NaNNaN}', INVALID),
        (b'{"type": "a", "x": --Infinity}', INVALID),
        (b'{"type": "a", "x": "\\NaN"}', INVALID),
        (b'{"type": "a", NaN: 1}', INVALID),
        (b'{"type": "a", "x": nan}', INVALID),
        (b'{"type": "a", "x": "\x01"}', INVALID),
        (b'{"type": "a", "x": "\n"}', INVALID),
        (b'\xef\xbb\xbf\xef\xbb\xbf{"type": "a"}', INVALID),
        ('{"type": "a"}'.encode("utf-16"), INVALID),
        ('{"type": "a"}'.encode("utf-32-le"), INVALID),
        (b"\xff", INVALID),
        (b"[" * 100_000, INVALID),
        (b'{"type": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", INVALID),
        (b'{"type": "a", "x": ' + b'{"x":' * 100_000 + b"NaN" + b"}" * 100_000 + b"}", INVALID),
        (b"null", MISSING),
        (b"NaN", MISSING),
        (b"17", MISSING),
        (b'"type"', MISSING),
        (b"[]", MISSING),
        (b'[{"type": "a"}]', MISSING),
        (b"{}", MISSING),
        (b'{"Type": "a"}', MISSING),
        (b'{"x": {"type": "a"}}', MISSING),
        (b'{"type": null}', MISSING),
        (b'{"type": 1}', MISSING),
        (b'{"type": NaN}', MISSING),
        (b'{"type": ["a"]}', MISSING),
        (b'{"type": {"type": "a"}}', MISSING),
        (b'{"type": "a", "type": 1}', MISSING),
        (b'{"type": "a", "type": NaN}', MISSING),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_not_an_envelope_has_a_reason(raw: bytes, reason: DeadLetterReason) -> None:
    """Not JSON at all, or JSON without a type."""
    found = type_of(raw)
    assert isinstance(found, NotAnEnvelope)
    assert found.reason is reason
    assert found.detail


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b'{"type": "a", "x": secret}', "Expecting value at character 19"),
        (b'{"secret": "\x01"}', "Invalid control character at character 12"),
        (b'{"type": "a"} secret', "Extra data at character 14"),
        (b"[" * 100_000, "nested too deeply"),
        (b'["secret"]', "the payload is not a JSON object"),
        (b'{"secret": 1}', "the payload has no member `type`"),
        (b'{"type": ["secret"]}', "the member `type` is not a string"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_the_detail_tells_the_reason_and_nothing_of_the_payload(raw: bytes, detail: str) -> None:
    """A payload may hold what must not stand in a log."""
    found = type_of(raw)
    assert isinstance(found, NotAnEnvelope)
    assert found.detail == detail


def _judged_by_python(raw: bytes) -> str | DeadLetterReason:
    try:
        value = json.loads(raw.decode("utf-8-sig", "replace"))
    except ValueError:
        return INVALID
    found = value.get("type") if isinstance(value, dict) else None
    return found.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(found, str) else MISSING


_texts = st.text(max_size=8) | st.sampled_from(["type", "NaN", "-Infinity", " 0 ", "\ud800", "\udc00\ud800", "\ufeff"])
_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=8,
)
_members = st.lists(st.tuples(st.just("type") | _texts, _values), max_size=4)
_TOKENS = [
    *(b'"type"', b'"a"', b":", b",", b"{", b"}", b"[", b"]", b'{"type":"a","x":', b'{"type":"a","x":"', b'"', b" "),
    *(b"NaN", b"Infinity", b"-", b"0", b"1", b".", b"e", b"E+", b"true", b"null", b"tru", b"\n", b"\x0b", b"\0"),
    *(b"\\", b"\\u", b"\\n", b"00", b"d800", b"\\ud83d\\ude00", b"/", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"'"),
]
_tokens = st.lists(st.sampled_from(_TOKENS) | st.binary(max_size=2), max_size=14).map(b"".join)


@quick
@given(_members, st.booleans())
def test_every_object_that_python_writes_is_read_as_python_reads_it(
    members: list[tuple[str, Any]], ascii: bool
) -> None:
    """Equal keys, NaN, lone surrogates and numbers of any size included."""
    text = ", ".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=ascii)}" for key, value in members)
    raw = f"{{{text}}}".encode("utf-8", "surrogatepass")
    found = type_of(raw)
    assert (found.reason if isinstance(found, NotAnEnvelope) else found) == _judged_by_python(raw)


@settings(max_examples=500)
@given(_tokens)
@example(b'{"type":"a","x":"\\NaN"}')
@example(b'{"type":"a","x":"\\ud800\\"}')
def test_what_python_refuses_is_refused(raw: bytes) -> None:
    """The quick reader is neither more nor less strict, and both find the same type."""
    found = type_of(raw)
    assert (found.reason if isinstance(found, NotAnEnvelope) else found) == _judged_by_python(raw)


@quick
@given(st.binary() | _tokens)
def test_no_bytes_raise_and_every_type_is_text(raw: bytes) -> None:
    """What comes out can be written to Redis."""
    found = type_of(raw)
    assert (found.detail if isinstance(found, NotAnEnvelope) else found).encode() is not None
    timestamp_of(raw)


def test_an_embedding_with_nan_does_not_need_the_slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own reader builds every number of it first."""
    monkeypatch.setattr(envelopes, "_type_by_python", lambda raw: pytest.fail("the slow reader was asked"))
    assert type_of(b'{"type": "a", "x": [[0.25, NaN, -Infinity,NaN], [Infinity]]}') == "a"


def received(envelope_type: str) -> Accepted:
    """What becomes of an event of this type."""
    raw = json.dumps({"type": envelope_type}).encode()
    intake = Intake(place=START, window=Window(10), secrets=Secrets())
    return intake.accept([ServerSentEvent("message", raw, "7", "7")], received_at=1.0)


@pytest.mark.parametrize("envelope_type", ["sse.stream.start", "sse.stream.heartbeat", "sse.stream.end"])
def test_three_types_are_control_frames(envelope_type: str) -> None:
    """They are about the connection: neither published nor counted as lens events."""
    accepted = received(envelope_type)
    assert (accepted.records, accepted.types) == ([], {})
    assert (accepted.heartbeats, accepted.ended) == (
        envelope_type == "sse.stream.heartbeat",
        envelope_type == "sse.stream.end",
    )


@pytest.mark.parametrize("envelope_type", ["stream.end", "sse.stream.error", "sse.stream.END", "", "inference.result"])
def test_any_other_type_is_a_lens_event(envelope_type: str) -> None:
    """Also those that look like one."""
    accepted = received(envelope_type)
    assert [record.type for record in records_in(accepted.records)] == [envelope_type]
    assert (accepted.heartbeats, accepted.ended) == (0, False)


TIMES = pytest.mark.parametrize(
    ("raw", "timestamp"),
    [
        (b'{"type": "a", "timestamp": 1741843200.25}', 1741843200.25),
        (b'{"type":"a","timestamp":1741843200}', 1741843200.0),
        (b'{"type": "a", "timestamp": 17418432000}', None),
        (b'{"type": "a", "timestamp": 1741843200e3}', None),
        (b'{"timestamp": 9999999999, "event_data": {"query_metadata": {"query_timestamp": 1741843200}}}', 1741843200.0),
        (b'{"timestamp": 1741843200}', 1741843200.0),
        (b'{"event_data": {"query_metadata": {"query_timestamp": 1741843200.5}}}', 1741843200.5),
        (b'{"timestamp": 1741843201, "event_data": {"query_metadata": {"query_timestamp": 1741843200}}}', 1741843201.0),
        (b'{"timestamp": "now", "event_data": {"query_metadata": {"query_timestamp": 1741843200}}}', 1741843200.0),
        (b'{"timestamp": 1741843200, "event_data": [1, 2]}', 1741843200.0),
        (b'{"timestamp": 1741843200, "event_data": {"query_metadata": null}}', 1741843200.0),
        (b'{"event_data": {"query_metadata": {"query_metadata": {"query_timestamp": 1741843200}}}}', None),
        (b'{"event_data": {"query_metadata": "x"}}', None),
        (b'{"event_data": []}', None),
        (b'{"type": "a"}', None),
        (b'{"timestamp": true}', None),
        (b'{"timestamp": null}', None),
        (b'{"timestamp": 0}', None),
        (b'{"timestamp": -1741843200}', None),
        (b'{"timestamp": 1741843200123}', None),
        (b'{"timestamp": 946684800}', 946684800.0),
        (b'{"timestamp": 946684799}', None),
        (b'{"timestamp": 4102444799.5}', 4102444799.5),
        (b'{"timestamp": 4102444800}', None),
        (b'{"timestamp": 1e999}', None),
        (b'{"timestamp": ' + b"9" * 5000 + b"}", None),
        (b'{"timestamp": NaN}', None),
        (b'{"timestamp": 1741843200', None),
        (b"[]", None),
        (b"", None),
        (b'{"event_data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
        (b'{"timestamp": "\xff"}', None),
    ],
    ids=lambda value: repr(value)[:70],
)


@TIMES
def test_the_servers_own_time_is_taken_where_it_can_be_true(raw: bytes, timestamp: float | None) -> None:
    """Unix seconds from 2000 to 2099; anything else is no time."""
    assert timestamp_of(raw) == timestamp


@TIMES
def test_a_large_payload_has_the_time_of_a_small_one(raw: bytes, timestamp: float | None) -> None:
    """Also where it is found by a look at how the payload opens."""
    large = raw.removesuffix(b"}") + b', "more": "' + b"x" * 5000 + b'"}' if raw.endswith(b"}") else raw
    assert timestamp_of(large) == timestamp


def test_of_a_large_payload_that_opens_with_its_time_no_more_is_read() -> None:
    """That would cost as much as finding its type did."""
    assert timestamp_of(b'{"type": "a", "timestamp": 1741843200.25, ' + b"x" * 5000) == 1741843200.25
