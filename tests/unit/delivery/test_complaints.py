"""Refusals in words: error bodies of every shape, and error frames on a stream that stands."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.delivery.complaints import CLOSE_SECONDS, Complaint, ErrorFrames, error_text
from bridge.model.records import ServerSentEvent

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["errors", "error", "detail", "message", "suggestion"]), inner)
    ),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_error_body_is_one_short_printable_line(body: bytes) -> None:
    """It ends up on a terminal and in a log."""
    text = error_text(body)
    assert text.isprintable()
    assert len(text) <= 201


@pytest.mark.parametrize("opening", [b'{"error":', b'{"errors":[', b"["])
def test_an_error_body_may_be_nested_to_any_depth(opening: bytes) -> None:
    """Around the limits of the JSON reader and of the interpreter, whichever comes first."""
    closing = opening.replace(b'{"error":', b"}").replace(b'{"errors":[', b"]}").replace(b"[", b"]")
    for depth in (*range(300, 1100, 7), 5000, 20_000):
        assert error_text(opening * depth + b'"x"' + closing * depth).isprintable()


def frame(data: str, id: str | None = None) -> ServerSentEvent:
    """An event."""
    return ServerSentEvent("message", data.encode(), id, id or "")


START, BEAT = frame('{"type":"sse.stream.start"}'), frame('{"type":"sse.stream.heartbeat"}')
ERROR = frame('{"type":"error","message":"no such reader"}')
OTHER = frame('{"type":"error","message":"another"}')
RESULT = frame('{"type":"inference.result"}')


def connection(
    frames: ErrorFrames, *events: ServerSentEvent, stands_seconds: float = 0.0
) -> tuple[list[ServerSentEvent], Complaint | None]:
    """What one connection gives whose events come one by one, and how it ended."""
    frames.opened()
    taken = [one for event in events for one in frames.sift([event], 100.0)]
    return taken, frames.closed(100.0 + stands_seconds)


def test_a_new_refusal_is_published_and_told() -> None:
    """Its type is a lens type."""
    taken, complaint = connection(ErrorFrames(), START, ERROR)
    assert taken == [START, ERROR]
    assert complaint == Complaint(words="no such reader")


def test_the_same_refusal_of_the_next_connections_is_not_published_again() -> None:
    """It would be, at each attempt, for ever."""
    frames = ErrorFrames()
    connection(frames, START, ERROR)
    for _ in range(3):
        taken, complaint = connection(frames, START, ERROR, BEAT)
        assert taken == [START, BEAT]
        assert complaint == Complaint(words="no such reader", repeated=True, dropped=1)
    assert connection(frames, START) == ([START], None)
    assert connection(frames, ERROR)[0] == []


def test_other_words_are_another_refusal() -> None:
    """And the first ones are new again after them."""
    frames = ErrorFrames()
    for error in (ERROR, OTHER, ERROR):
        taken, complaint = connection(frames, error)
        assert taken == [error]
        assert complaint is not None
        assert not complaint.repeated


@pytest.mark.parametrize("after", [RESULT, OTHER, frame("no json"), frame('{"type":"error"}', "7")])
def test_an_equal_error_before_anything_else_is_an_event(after: ServerSentEvent) -> None:
    """In its place before what follows."""
    frames = ErrorFrames()
    connection(frames, ERROR)
    assert connection(frames, START, ERROR, after)[0] == [START, ERROR, after]


def test_an_equal_error_on_a_connection_that_goes_on_is_an_event() -> None:
    """The close must follow at once."""
    frames = ErrorFrames()
    connection(frames, ERROR)
    frames.opened()
    assert frames.sift([ERROR], 100.0) == []
    assert frames.sift([BEAT], 100.0 + CLOSE_SECONDS) == [ERROR, BEAT]
    assert frames.closed(101.0 + CLOSE_SECONDS) == Complaint()
    assert connection(frames, ERROR, stands_seconds=CLOSE_SECONDS) == ([], Complaint(late=(ERROR,)))


def test_an_error_after_events_is_no_refusal() -> None:
    """And the next lone one is new."""
    frames = ErrorFrames()
    connection(frames, ERROR)
    assert connection(frames, RESULT, ERROR) == ([RESULT, ERROR], None)
    assert connection(frames, ERROR)[0] == [ERROR]


def test_an_error_with_an_id_is_left_to_its_id() -> None:
    """Replays are known by it; it is a refusal all the same."""
    frames, error = ErrorFrames(), frame(ERROR.raw.decode(), "9")
    assert connection(frames, error) == ([error], Complaint(words="no such reader"))
    assert connection(frames, error) == ([error], Complaint(words="no such reader", repeated=True))


def test_two_errors_that_come_again_are_one_refusal() -> None:
    """And where the second one does not come, the first one is an event."""
    frames = ErrorFrames()
    connection(frames, ERROR, OTHER)
    assert connection(frames, ERROR, OTHER) == ([], Complaint(words="another", repeated=True, dropped=2))
    assert connection(frames, ERROR) == ([], Complaint(words="no such reader", late=(ERROR,)))


def test_what_is_kept_back_at_a_stop_is_published() -> None:
    """It can't be told any more what it was."""
    frames = ErrorFrames()
    connection(frames, ERROR)
    frames.opened()
    assert frames.sift([ERROR], 100.0) == []
    assert frames.release() == [ERROR]
    assert frames.release() == []


def test_a_flood_of_errors_is_not_kept() -> None:
    """Neither many of them nor large ones."""
    frames = ErrorFrames()
    flood = [ERROR] * 50
    for _ in range(2):
        assert connection(frames, *flood) == (flood, None)
    large = frame('{"type":"error","message":"' + "x" * 100_000 + '"}')
    for _ in range(2):
        assert connection(frames, large) == ([large], None)


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from([START, BEAT, ERROR, OTHER, RESULT])), st.sampled_from([0.0, 9.0])),
        max_size=6,
    )
)
def test_nothing_but_a_repeated_refusal_is_dropped_and_nothing_changes_places(
    connections: list[tuple[list[ServerSentEvent], float]],
) -> None:
    """Whatever comes over how many connections."""
    frames, before = ErrorFrames(), list[ServerSentEvent]()
    lens = [ERROR, OTHER, RESULT]
    for events, stands_seconds in connections:
        taken, complaint = connection(frames, *events, stands_seconds=stands_seconds)
        came = [event for event in events if event in lens]
        given = [event for event in taken if event in lens] + list(complaint.late if complaint else ())
        dropped = complaint.dropped if complaint else 0
        assert given == came[: len(came) - dropped]
        assert not dropped or came == before
        before = came or before
