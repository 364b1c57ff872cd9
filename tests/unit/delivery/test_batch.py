"""How much goes into one commit: below the limits that are known, and found out where they are not."""

from __future__ import annotations

from collections.abc import Sequence

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.delivery.batch import MAX_ARGUMENTS, MAX_REQUEST_BYTES, BatchSize, Room, counts_in
from bridge.delivery.markers import marker
from bridge.delivery.window import Window, digest_of
from bridge.masking import Secrets
from bridge.model.keys import session_keys
from bridge.model.labels import DeadLetterReason, Phase
from bridge.model.place import Place, Session
from bridge.model.records import DeadLetter, Piece, Record, Run
from bridge.session.buffer import Buffer
from bridge.settings import RedisSettings, StreamSettings
from bridge.store.commits import RedisSink
from bridge.store.link import RedisLink

SESSION = Session(name="n" * 128, session_id="s" * 128)
KEYS = session_keys("lens:{<name>}:events", SESSION)
ALLOWED_ARGUMENTS, ALLOWED_BYTES = 3_999, 1_048_576

texts = st.text(max_size=30) | st.integers(1_000, 1_300).map("\u20ac".__mul__)  # ids and names of up to 4 KB in UTF-8
payloads = st.binary(max_size=30) | st.integers(30, 3_000).map(b"x".__mul__)
records = st.one_of(
    st.builds(
        lambda key, type, data, event: Record(key, type, data, 1.0, event, digest_of(data), key, 0),
        *(texts, texts, payloads, st.just("message") | texts),
    ),
    st.builds(
        lambda key, data: Record(
            *(key, "", data, 1.0, key, digest_of(data), key, 0),
            DeadLetter(DeadLetterReason.INVALID_JSON, "x" * 60, truncated=True),
        ),
        *(texts, payloads),
    ),
    st.builds(lambda: marker("gap", {"reason": "no_cursor"}, at=1.0, cursor=None, ordinal=0)),
)


def packed(batch: Sequence[Piece]) -> bytes:
    """The request that it makes."""
    sink = RedisSink(RedisLink(RedisSettings(), Secrets()), KEYS, SESSION, StreamSettings())
    after = Place(commits=1, mark="m" * 12)
    return sink.pack("1-token", Place(), after, batch, Window(2048).seal(batch), Phase.ACTIVE)


def arguments_in(request: bytes) -> list[bytes]:
    """Parsed as Redis does it."""
    reader = hiredis.Reader()
    reader.feed(request)
    found = reader.gets()
    assert isinstance(found, list)
    return found


ascii_texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128)
runs = st.builds(
    lambda rows: Run.of(
        [key for key, _, _ in rows],
        [type for _, type, _ in rows],
        [data for _, _, data in rows],
        [digest_of(data) for _, _, data in rows],
        1.0,
    ),
    st.lists(st.tuples(ascii_texts, ascii_texts, payloads), min_size=1, max_size=300),
)
pieces = records | runs
NONE = Room(0, 0, 0)


@given(pieces)
def test_nothing_adds_more_to_a_request_than_it_is_counted_for(piece: Piece) -> None:
    """In arguments never; in bytes by less than the slack between what is taken and what is allowed."""
    without, request = packed([]), packed([piece])
    counted = NONE.after(piece)
    assert len(arguments_in(request)) - len(arguments_in(without)) <= -counted.arguments
    slack = (ALLOWED_BYTES - MAX_REQUEST_BYTES) * -counted.arguments // MAX_ARGUMENTS
    assert len(request) - len(without) <= -counted.bytes + slack
    assert counted.events == -counts_in([piece]).events


@settings(max_examples=50)
@given(st.lists(pieces, min_size=1, max_size=12), st.integers(1, 400))
def test_no_batch_that_is_taken_makes_a_request_over_the_limits(few: list[Piece], times: int) -> None:
    """Whatever the pieces are; counted in the bytes that are sent."""
    buffer = Buffer(max_events=10**6, max_bytes=10**9)
    buffer.put((few * times)[:3_000])
    batch = buffer.take(1500, MAX_REQUEST_BYTES, MAX_ARGUMENTS)
    request = packed(batch)
    assert len(arguments_in(request)) <= 3_900
    assert len(request) < ALLOWED_BYTES
    assert batch


def test_a_record_is_counted_as_it_is_sent() -> None:
    """An event named `message` in five arguments; any other record in up to nine; in a run up to three each."""
    event = Record("key", "type", b"data", 1.0, "message", b"digest", None, 0)
    assert -NONE.after(event).arguments == 5
    assert -NONE.after(event._replace(event="custom")).arguments == 9
    dead = DeadLetter(DeadLetterReason.OVERSIZE, "", truncated=True)
    assert -NONE.after(event._replace(dead=dead)).arguments == 9
    assert -NONE.after(event).bytes == 4 + 4 + 2 * 3 + 7 + 90
    assert NONE.after(event._replace(event="\u20ac")).bytes == NONE.after(event).bytes + 7 - 3
    run = Run.of(["key"] * 10, ["type"] * 10, [b"data"] * 10, [b"digest"] * 10, 1.0)
    assert NONE.after(run) == Room(-10, -10 * (4 + 4 + 2 * 3 + 60), -34)


@given(runs, st.integers(0, 400), st.integers(0, 100_000), st.integers(0, 1_000))
def test_as_much_of_a_run_fits_as_there_is_room_for_and_one_more_does_not(
    run: Run, events: int, bytes: int, arguments: int
) -> None:
    """By number, bytes and arguments, whichever ends first."""
    room = Room(events, bytes, arguments)
    fitting = room.fitting(run)
    assert fitting == 0 or not room.after(run.cut(fitting)[0]).exceeded
    assert fitting == len(run) or room.after(run.cut(fitting + 1)[0]).exceeded


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 36, 100, 499, 775, 1000])
def test_the_size_that_a_server_takes_is_found_with_few_refusals_and_kept(limit: int) -> None:
    """At least three quarters of what it would take."""
    size = BatchSize(1000)
    refusals = 0
    for _ in range(300):
        if size.events > limit:
            refusals += 1
            size.refused(size.events)
        else:
            size.passed(size.events)
    assert refusals <= 15
    assert limit * 3 // 4 <= size.events <= limit


def test_a_batch_that_was_not_full_tells_nothing_about_the_size() -> None:
    """At a low rate each event goes alone."""
    size = BatchSize(1000)
    size.refused(1000)
    size.passed(3)
    assert size.events == 500


def test_where_a_single_event_was_to_blame_sizes_are_as_before_again() -> None:
    """It takes as many commits as there were halvings."""
    size = BatchSize(1000)
    while size.events > 1:
        size.refused(size.events)
    size.explained()
    for _ in range(10):
        size.passed(size.events)
    assert size.events == 1000


def test_a_size_that_passed_before_is_given_up_where_events_have_grown() -> None:
    """It was their bytes that were limited, not their number."""
    size = BatchSize(1000)
    size.refused(1000)
    size.passed(500)
    size.refused(500)
    assert size.events == 250
