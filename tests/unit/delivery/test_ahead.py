"""A place that was moved back: what stands ahead of it is skipped, and each connection comes further than the last."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.delivery.batch import records_in
from bridge.delivery.intake import Intake
from bridge.delivery.replay import Ahead
from bridge.delivery.window import Window, digest_of
from bridge.masking import Secrets
from bridge.model.labels import GapReason
from bridge.model.place import START, Place
from bridge.model.records import Record
from bridge.source.sse import ServerSentEvent


def data(number: int) -> bytes:
    """Of an event."""
    return b'{"type": "t", "n": %d}' % number


def window(*numbers: int) -> Window:
    """It knows these, in this order."""
    made = Window(1000)
    for number in numbers:
        made.remember(str(number), digest_of(data(number)))
    return made


def intake(to: int | None, *stands: int) -> Intake:
    """Of a session whose place was moved behind ``to``, or to the start."""
    place = Place(cursor=None if to is None else str(to), seq=len(stands), commits=3)
    return Intake(place=place, window=window(*stands), secrets=Secrets())


def taken(session: Intake, *numbers: int) -> list[str]:
    """What is published of these."""
    events = [ServerSentEvent("message", data(number), str(number), str(number)) for number in numbers]
    return [record.key for record in session.accept(events, 1.0).records]  # type: ignore[union-attr]


def test_a_cursor_that_stands_last_has_nothing_ahead() -> None:
    """As ever, but where somebody has moved it; nor has one that the window does not know."""
    for cursor in ("3", "9"):
        ahead = Ahead(window(1, 2, 3), Place(cursor=cursor, seq=3))
        assert not any(ahead.passes(key, key) for key in "123")
    assert not Ahead(window(1), START).passes("1", "1")


def test_each_connection_goes_on_behind_what_the_last_one_passed() -> None:
    """However early they break off; and what is new comes in its turn."""
    session = intake(2, 1, 2, 3, 4, 5, 6)
    cursor = 2
    while cursor < 8:
        session.opened(resumed=True)
        assert session.cursor == str(cursor)
        assert taken(session, cursor + 1) == ([str(cursor + 1)] if cursor >= 6 else [])
        cursor += 1


def test_what_lies_behind_the_place_leads_nowhere() -> None:
    """A server that ignores the cursor sends that too."""
    session = intake(4, 1, 2, 3, 4, 5, 6)
    session.opened(resumed=True)
    assert taken(session, 2, 3) == []
    assert session.cursor == "4"
    assert taken(session, 5, 3) == []
    assert session.cursor == "5"


def test_once_something_new_has_led_on_the_rest_is_no_longer_taken_to_lie_ahead() -> None:
    """A server that ignores the cursor then may bring it from behind."""
    session = intake(2, 1, 2, 50, 51)
    session.opened(resumed=True)
    assert taken(session, 3, 4) == ["3", "4"]
    session.opened(resumed=True)
    assert taken(session, 50) == []
    assert session.cursor == "4"


def test_at_the_start_no_gap_is_told_a_second_time() -> None:
    """The marker of who moved the place has told of it."""
    session = intake(None, 1, 2)
    session.opened(resumed=False)
    assert session.gap(GapReason.NO_CURSOR, outage_seconds=0.0, at=1.0) is None
    assert taken(session, 1, 2, 3) == ["3"]
    session.opened(resumed=False)
    assert session.gap(GapReason.NO_CURSOR, outage_seconds=0.0, at=1.0) is not None


@given(st.data())
def test_whatever_breaks_off_nothing_is_repeated_and_nothing_that_is_new_is_missed(chosen: st.DataObject) -> None:
    """A server that honours the cursor, connections of any length, and a place moved back to anywhere."""
    count = chosen.draw(st.integers(1, 12), "events of the server")
    stands = [number for number in range(1, count + 1) if chosen.draw(st.booleans())] or [1]
    to = chosen.draw(st.sampled_from([None, *stands]))
    session = intake(to, *stands)
    published: list[int] = []
    for _ in range(3 * count):
        session.opened(resumed=session.cursor is not None)
        begin = int(session.cursor or 0)
        length = chosen.draw(st.integers(1, count))
        published += map(int, taken(session, *range(begin + 1, min(begin + length, count) + 1)))
    session.opened(resumed=True)
    published += map(int, taken(session, *range(int(session.cursor or 0) + 1, count + 1)))
    assert published == [number for number in range((to or 0) + 1, count + 1) if number not in stands]


def moved(stands: list[Record], to: str | None, size: int) -> tuple[Place, list[bytes]]:
    """As a command leaves a session behind whose place it has moved: the place, and the window that Redis has then."""
    known = Window(len(stands))
    for record in stands:
        known.remember(record.key, record.digest)
    return Place(cursor=to, seq=len(stands), commits=1), known.awaiting(to)


@settings(max_examples=500)
@given(st.data())
def test_more_than_a_window_may_come_before_what_stands_ahead_of_a_place(chosen: st.DataObject) -> None:
    """Places moved ahead and back, events with and without ids, connections that break off, workers that die."""
    size = 6
    runs = chosen.draw(st.lists(st.integers(0, 3), min_size=1, max_size=20), "so many without an id before each id")
    ids = [True, *(has_id for run in runs for has_id in (*[False] * run, True))]
    events = [
        ServerSentEvent("message", data(at), str(at) if has_id else None, str(at) if has_id else "")
        for at, has_id in enumerate(ids, 1)
    ]
    marks = [at for at, has_id in enumerate(ids, 1) if has_id]
    first = chosen.draw(st.integers(0, len(events)), "are read before the place is moved ahead")
    ahead = chosen.draw(st.sampled_from(marks), "is where it is moved to")
    last = chosen.draw(st.integers(0, len(events)), "is where the stream ends then")
    before = Intake(place=START, window=Window(1000), secrets=Secrets())
    before.opened(resumed=False)
    stands = records_in(before.accept(events[:first], 1.0).records)
    if ahead > first:
        live = Intake(place=Place(cursor=str(ahead), seq=first, commits=9), window=Window(1000), secrets=Secrets())
        live.opened(resumed=True)
        stands += records_in(live.accept(events[ahead:last], 1.0).records)
    standing_ids = [record.key for record in stands if record.key.isdecimal()]
    to = chosen.draw(st.sampled_from([None, *standing_ids]), "is where it is moved back to") if stands else None
    place, stored = moved(stands, to, size)

    window = Window(size, stored)
    session = Intake(place=place, window=window, secrets=Secrets())
    published: list[Record] = []
    buffered: list[Record] = []
    steps = chosen.draw(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.booleans()), max_size=15))
    for length, commits, crash in [*steps, *[(1000, 1000, False)] * 2]:
        session.opened(resumed=session.cursor is not None)
        begin = int(session.cursor or 0)
        for event in events[begin : begin + length]:
            buffered += records_in(session.accept([event], 1.0).records)
        for record in buffered[:commits]:
            seal = window.seal([record])
            stored += [seal.blob]
            del stored[: seal.drop]
            window.committed(seal)
            place = Place(cursor=record.cursor, ordinal=record.ordinal, seq=place.seq + 1, commits=place.commits + 1)
        published += buffered[:commits]
        del buffered[:commits]
        if crash:
            window, buffered = Window(size, stored), []
            session = Intake(place=place, window=window, secrets=Secrets())
    found = [record.data for record in (*stands, *published)]
    begin = int(to or 0)
    assert len(found) == len(set(found))
    assert {event.raw for event in events[begin:]} <= {*found}
