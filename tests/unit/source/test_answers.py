"""The rules about answers, on their own: for any input there is an outcome, and never an exception."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model.labels import ConnectOutcome
from bridge.model.outcomes import Listed, Unanswered
from bridge.source.answers import (
    classify_status,
    content_coding,
    is_event_stream,
    is_over,
    listed_in,
    looks_like_events,
    media_type,
    plain_status,
    retry_after_seconds,
    sendable,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=3)
ROWS = st.dictionaries(
    st.sampled_from(["session_id", "lens_id", "session_status", "session_duration_sec"]), JSON
) | st.just({"session_id": "a"})


@given(st.integers(100, 999).filter(lambda status: status != 200), st.booleans())
def test_every_status_has_an_outcome(status: int, cursor_sent: bool) -> None:
    """And only a 4xx that was sent a cursor is about the cursor."""
    outcome = classify_status(status, cursor_sent=cursor_sent)
    assert outcome is not ConnectOutcome.OK
    if outcome is ConnectOutcome.CURSOR_REFUSED:
        assert cursor_sent
        assert 400 <= status < 500
    assert (outcome is ConnectOutcome.SERVER_ERROR) == (status >= 500)


@given(st.text(st.characters(exclude_characters=',"')))
def test_any_content_type_is_judged(value: str) -> None:
    """By what stands before the first semicolon."""
    assert is_event_stream([f" Text/Event-Stream ;{value}"])
    assert not is_event_stream([f"x{value}"])


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], ""),
        ([""], ""),
        (["text/event-stream", "text/event-stream; charset=utf-8"], "text/event-stream"),
        (["text/plain", "text/event-stream"], "text/event-stream"),
        (["text/event-stream, text/html"], "text/html"),
        (["text/event-stream", "*/*"], "text/event-stream"),
        (["text/event-stream", "none"], "text/event-stream"),
        (["text/event-stream,"], "text/event-stream"),
        (['text/event-stream; note="a, text/html"'], "text/event-stream"),
        (['text/event-stream; note="a\\", text/html'], "text/event-stream"),
        (["event-stream"], ""),
    ],
)
def test_the_last_valid_content_type_counts(values: list[str], found: str) -> None:
    """A proxy may add its own, and the two may be joined."""
    assert media_type(values) == found


@pytest.mark.parametrize(
    ("value", "coding"),
    [
        ("", ""),
        ("identity", ""),
        (" Identity , identity", ""),
        ("none", ""),
        ("UTF-8", ""),
        ("x-gzip", "x-gzip"),
        ("identity, GZIP", "gzip"),
        ("br", "br"),
        ("gzip, br", "gzip, br"),
    ],
)
def test_what_is_no_coding_is_passed_over(value: str, coding: str) -> None:
    """As browsers do."""
    assert content_coding(value) == coding


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: x", True),
        (b": beat\n\n", True),
        (b"\xef\xbb\xbfid:1", True),
        (b"\r\n\nevent: message", True),
        (b'{"data": 1}', False),
        (b"database: gone", False),
        (b"", False),
    ],
)
def test_a_body_of_events_is_known_by_its_beginning(body: bytes, events: bool) -> None:
    """Whatever it is called: it is payload, not an error report."""
    assert looks_like_events(body) == events


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("120", 120.0),
        (" 5 ", 5.0),
        ("86401", 86400.0),
        ("9" * 9, 86400.0),
        ("9" * 10, None),
        ("+5", None),
        ("1e3", None),
        ("\u0663", None),
        ("tomorrow", None),
    ],
)
def test_retry_after_in_seconds(value: str | None, seconds: float | None) -> None:
    """ASCII digits; at most a day."""
    assert retry_after_seconds(value, NOW) == seconds


@given(st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.just(UTC)))
def test_retry_after_as_any_date_lies_between_now_and_a_day(moment: datetime) -> None:
    """A server's clock may be anywhere."""
    seconds = retry_after_seconds(format_datetime(moment, usegmt=True), NOW)
    assert seconds is not None
    assert seconds == min(max((moment.replace(microsecond=0) - NOW) / timedelta(seconds=1), 0.0), 86400.0)


@pytest.mark.parametrize(
    "value",
    [
        "Sun, 01 Mar 2026 12:01:00",
        "Sun, 01 Mar 2026 12:01:00 -0000",
        "Sunday, 01-Mar-26 12:01:00 GMT",
        "Sun Mar  1 12:01:00 2026",
        "Sun, 01 Mar 2026 13:01:00 +0100",
    ],
)
def test_retry_after_dates_are_read_in_each_of_their_forms(value: str) -> None:
    """The two old ones of RFC 9110 too; without a zone it is UTC."""
    assert retry_after_seconds(value, NOW) == 60.0


@given(st.text() | st.text("0123456789 ,:+-GMTJanSu", max_size=40))
def test_any_retry_after_is_seconds_or_none(value: str) -> None:
    """Never an exception."""
    seconds = retry_after_seconds(value)
    assert seconds is None or 0.0 <= seconds <= 86400.0


@pytest.mark.parametrize("status", ["DESTROYED", "session_status_failed", "X.SESSION_STATUS_FAILED", "6"])
def test_final_statuses(status: str) -> None:
    """In each of their spellings."""
    assert is_over(status)


@given(st.text())
def test_unknown_statuses_are_not_final(status: str) -> None:
    """A new word must not end a session."""
    if is_over(status):
        assert status.upper().endswith(("DESTROYED", "FAILED", "6"))
    assert not is_over(f"{status}?")


@given(st.text())
def test_what_can_be_sent_is_a_header_value(cursor: str) -> None:
    """No control characters, no spaces outside, and as many bytes as the id has inside."""
    value = sendable(cursor)
    if value is None:
        return
    assert value == value.strip(b" \t")
    assert all(byte == 0x09 or 0x20 <= byte != 0x7F for byte in value)
    assert value == cursor.encode("utf-8", "replace").strip(b" \t")


@pytest.mark.parametrize("cursor", ["", "  ", "\t", "a\x0bb", "a\x0cb", "\x00", "\x1b[0m", "a\x7f", "a\r\nX: y"])
def test_what_cannot_be_sent_is_none(cursor: str) -> None:
    """It would break the request, or say something else."""
    assert sendable(cursor) is None


@pytest.mark.parametrize(
    ("spelled", "plain"),
    [
        ("SESSION_STATUS_RUNNING", "RUNNING"),
        ("LensSessionStatus.SESSION_STATUS_RUNNING", "RUNNING"),
        ("running ", "RUNNING"),
        ("3", "RUNNING"),
        ("6", "FAILED"),
        ("5", "5"),
        ("SESSION_STATUS_HIBERNATING", "HIBERNATING"),
        ("", ""),
    ],
)
def test_a_status_has_one_plain_spelling(spelled: str, plain: str) -> None:
    """Of the numbers only those that were seen are known."""
    assert plain_status(spelled) == plain
    assert plain_status(plain) == plain


def test_a_row_of_the_list_tells_what_it_has() -> None:
    """All but the id may be missing, or be of any type."""
    body = json.dumps(
        [
            {"session_id": "a", "lens_id": "l", "session_status": "3", "session_duration_sec": 1.5},
            {"session_id": "b", "session_status": "SESSION_STATUS_DESTROYED", "session_duration_sec": "long"},
            {"session_id": "c", "lens_id": None, "session_status": None, "session_duration_sec": -1},
        ]
    ).encode()
    assert listed_in(body) == (
        Listed(session_id="a", lens_id="l", status="RUNNING", seconds=1.5),
        Listed(session_id="b", status="DESTROYED", over=True),
        Listed(session_id="c"),
    )


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"type": "error", "message": "no"}', b'[{"lens_id": "l"}]', b'[{"session_id": "a"}, 5]']
)
def test_what_is_no_list_of_sessions_lists_nobody_and_ends_nobody(body: bytes) -> None:
    """An error in the shape of an answer, for one."""
    assert isinstance(listed_in(body), Unanswered)


@given(st.binary(max_size=200) | st.lists(ROWS).map(json.dumps).map(str.encode))
def test_any_answer_is_a_list_or_none(body: bytes) -> None:
    """Whatever an API sends, nothing is raised."""
    assert isinstance(listed_in(body), tuple | Unanswered)
