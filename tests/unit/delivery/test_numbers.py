"""Numbers after a rollback: the same event has the same one, none goes to another event, and holes are declared."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.delivery.markers import marker
from bridge.delivery.numbers import REMEMBERED_EVENTS, Numbers
from bridge.model.labels import DeadLetterReason
from bridge.model.place import Place
from bridge.model.records import DeadLetter, Record


def event(key: str) -> Record:
    """An event that takes a number."""
    return Record(key, "t", b"{}", 1.0, "message", b"digest", key, 0)


def letter(key: str) -> Record:
    """One that takes none."""
    return event(key)._replace(dead=DeadLetter(DeadLetterReason.INVALID_JSON, "", truncated=False))


def ended() -> Record:
    """The end of a session."""
    return marker("session.ended", {"reason": "end"}, at=1.0, cursor=None, ordinal=0)


def acknowledged(*keys: str, size_events: int = 100) -> Numbers:
    """What is remembered of commits of three events each."""
    numbers = Numbers(size_events)
    for at in range(0, len(keys), 3):
        numbers.landed([event(key) for key in keys[at : at + 3]], at)
    return numbers


def numbered(numbers: Numbers, seq: int, *records: Record, markers: bool = True) -> list[tuple[str, int]]:
    """The keys of the events with the numbers they get behind ``seq``; holes as ``from-to``."""
    reissue = numbers.reissue(seq)
    assert reissue is not None
    found = []
    place = Place(cursor="before", seq=seq)
    for record in reissue.declared(records, place, at=1.0, markers=markers):
        if record.skip:
            detail = json.loads(record.data)
            found.append((f"{detail['from_seq']}-{detail['to_seq']}", seq))
            assert detail["to_seq"] - detail["from_seq"] + 1 == record.skip
            assert (detail["reason"], record.type) == ("numbers_lost", "bridge.gap" if markers else "")
            seq += record.skip
        else:
            seq += record.numbered
            found.append((record.key if record.numbered else "-", seq))
    return found


def test_nothing_is_to_be_done_where_redis_has_forgotten_nothing() -> None:
    """At each taking but those behind a rollback."""
    assert acknowledged("a", "b").reissue(2) is None
    assert acknowledged("a", "b").reissue(7) is None
    assert Numbers().reissue(0) is None


def test_events_that_come_again_have_their_numbers_again() -> None:
    """And what is new goes on behind them."""
    numbers = acknowledged(*"abcde")
    assert numbered(numbers, 2, *map(event, "cdef")) == [("c", 3), ("d", 4), ("e", 5), ("f", 6)]


def test_a_number_whose_event_is_not_served_again_goes_to_nobody() -> None:
    """A gap marker names it."""
    numbers = acknowledged(*"abcde")
    assert numbered(numbers, 1, *map(event, "cefg")) == [
        ("2-2", 1),
        ("c", 3),
        ("4-4", 3),
        ("e", 5),
        ("f", 6),
        ("g", 7),
    ]


def test_where_nothing_is_served_again_the_next_event_goes_on_behind_all_numbers() -> None:
    """The server has forgotten them too."""
    assert numbered(acknowledged(*"abcde"), 2, event("x"), event("y")) == [("3-5", 2), ("x", 6), ("y", 7)]


def test_without_markers_the_numbers_are_left_out_all_the_same() -> None:
    """Nobody says so, but nobody takes another event for one that it knows."""
    assert numbered(acknowledged(*"abcde"), 2, event("x"), markers=False) == [("3-5", 2), ("x", 6)]


def test_the_end_of_the_session_declares_what_never_came_again() -> None:
    """Behind it nothing else will."""
    assert numbered(acknowledged(*"abc"), 1, ended()) == [("2-3", 1), ("-", 3)]


def test_dead_letters_and_other_markers_take_no_number_and_declare_nothing() -> None:
    """They may stand anywhere."""
    gap = marker("gap", {"reason": "no_cursor"}, at=1.0, cursor=None, ordinal=0)
    assert numbered(acknowledged(*"abc"), 1, gap, letter("l"), event("b")) == [("-", 1), ("-", 1), ("b", 2)]


def test_an_event_that_comes_out_of_turn_gets_a_number_of_its_own() -> None:
    """Its old one is declared already."""
    assert numbered(acknowledged(*"abcd"), 1, event("c"), event("b")) == [("2-2", 1), ("c", 3), ("4-4", 3), ("b", 5)]


def test_numbers_that_were_given_unseen_are_taken_to_come_in_order() -> None:
    """A commit whose reply never came, or another worker's time between two of ours: nobody is known to have them."""
    numbers = acknowledged(*"abc")
    numbers.landed([event("g"), event("h")], 6)
    assert numbered(numbers, 1, *map(event, "bcdefghi")) == [(key, at) for at, key in enumerate("bcdefghi", 2)]
    assert numbered(numbers, 1, *map(event, "bxg")) == [("b", 2), ("3-8", 2), ("x", 9), ("g", 10)]
    assert numbered(numbers, 1, *map(event, "bcdg")) == [("b", 2), ("c", 3), ("d", 4), ("5-6", 4), ("g", 7)]


@pytest.mark.parametrize("lost", [1, 5])
def test_numbers_that_were_declared_lost_stay_so(lost: int) -> None:
    """They had events once, though nobody remembers which."""
    numbers = Numbers()
    hole = marker("gap", {}, at=1.0, cursor=None, ordinal=0)._replace(skip=lost)
    numbers.landed([event("a"), hole, event("b")], 0)
    highest = 2 + lost
    assert numbered(numbers, 0, *map(event, "axb")) == [
        *[("a", 1), (f"2-{highest}", 1), ("x", highest + 1), ("b", highest + 2)]
    ]


def test_letters_and_holes_in_a_commit_are_not_counted_as_events() -> None:
    """What is remembered has the numbers that the script gave."""
    numbers = Numbers()
    hole = marker("gap", {}, at=1.0, cursor=None, ordinal=0)._replace(skip=5)
    numbers.landed([event("a"), letter("l"), hole, event("b"), ended(), event("c")], 0)
    assert numbers.highest == 8
    assert numbered(numbers, 0, *map(event, "abc")) == [("a", 1), ("2-6", 1), ("b", 7), ("c", 8)]


def test_what_lies_further_back_than_is_remembered_is_taken_to_come_in_order() -> None:
    """Memory is bounded; the first event that is remembered puts the numbers right."""
    numbers = acknowledged(*"abcdefghi", size_events=3)
    assert numbered(numbers, 0, *map(event, "bcdeghi")) == [
        *[("b", 1), ("c", 2), ("d", 3), ("e", 4)],
        *[("5-6", 4), ("g", 7), ("h", 8), ("i", 9)],
    ]


def test_lone_events_take_no_more_room_than_those_of_large_commits() -> None:
    """A thousand sessions with ten events a second each, for half an hour, were 3 GB."""
    tracemalloc.start()
    try:
        numbers = Numbers()
        before, _ = tracemalloc.get_traced_memory()
        for seq in range(3 * REMEMBERED_EVENTS):
            numbers.landed([event(str(seq))], seq)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2 * 8 * REMEMBERED_EVENTS
    last = 3 * REMEMBERED_EVENTS
    assert numbered(numbers, 0, event(str(last - REMEMBERED_EVENTS)), event(str(last - 1))) == [
        *[(f"1-{last - REMEMBERED_EVENTS}", 0), (str(last - REMEMBERED_EVENTS), last - REMEMBERED_EVENTS + 1)],
        *[(f"{last - REMEMBERED_EVENTS + 2}-{last - 1}", last - REMEMBERED_EVENTS + 1), (str(last - 1), last)],
    ]


@pytest.mark.parametrize("times", [2, 3])
def test_a_second_rollback_finds_the_numbers_of_the_first(times: int) -> None:
    """Also those that were given out again in between."""
    numbers = acknowledged(*"abcde")
    for _ in range(times):
        numbers.landed([event("c")], 2)
    assert numbered(numbers, 1, *map(event, "bcdex")) == [("b", 2), ("c", 3), ("d", 4), ("e", 5), ("x", 6)]


@given(st.integers(1, 30), st.data())
def test_whatever_is_served_again_no_number_has_two_events_and_no_event_two_numbers(
    count: int, data: st.DataObject
) -> None:
    """A server that serves some of the old events, in their order, and new ones behind them, over several rollbacks."""
    numbers = Numbers()
    given_out: dict[int, str] = {}
    history = [f"old{n}" for n in range(count)]
    numbers.landed(map(event, history), 0)
    given_out.update(enumerate(history, start=1))
    for round in range(3):
        seq = data.draw(st.integers(0, numbers.highest), label="redis knows")
        known = sorted(n for n in given_out if n > seq)
        served = [given_out[n] for n in known if data.draw(st.booleans())]
        served += [f"new{round}-{n}" for n in range(data.draw(st.integers(0, 3)))]
        reissue, at = numbers.reissue(seq), seq
        records = list(map(event, served))
        if reissue:
            records = reissue.declared(records, Place(seq=seq), at=1.0, markers=True)
        numbers.landed(records, seq)
        for record in records:
            if record.skip:
                at += record.skip
                continue
            at += 1
            assert given_out.setdefault(at, record.key) == record.key, "a number went to another event"
        assert len(set(given_out.values())) == len(given_out), "an event got another number"


def test_a_commit_of_older_numbers_leaves_the_highest_as_it_is() -> None:
    """What comes again after a rollback lies below it, until it has caught up."""
    numbers = acknowledged(*"abcde")
    numbers.landed([event("b")], 1)
    assert numbers.highest == 5
    numbers.landed([], 9)
    assert numbers.highest == 9, "the number behind which an empty commit stands was given out"


def test_numbering_begins_anew_one_behind_the_last_event_that_came_again() -> None:
    """Where all have come, what follows declares nothing."""
    assert numbered(acknowledged(*"abc"), 1, *map(event, "bcx")) == [("b", 2), ("c", 3), ("x", 4)]


def test_a_hole_is_declared_at_the_place_of_the_record_before_it() -> None:
    """Its marker must not move the cursor, neither forward nor back; it names the id it stands behind."""
    reissue = acknowledged(*"abcd").reissue(0)
    assert reissue is not None
    place = Place(cursor="before", ordinal=7)
    first, a, second, c = reissue.declared([event("b"), event("d")._replace(ordinal=2)], place, at=3.5, markers=True)
    assert (first.cursor, first.ordinal, first.received_at) == ("before", 7, 3.5)
    assert (second.cursor, second.ordinal) == ("b", 0)
    assert [json.loads(hole.data)["last_id"] for hole in (first, second)] == ["before", "b"]
    assert json.loads(first.data)["outage_seconds"] == 0
    assert [a.key, c.key] == ["b", "d"]


def test_as_many_events_are_remembered_as_asked_for_and_whole_commits_are_forgotten() -> None:
    """At least so many, counted in events and not in commits."""
    numbers = acknowledged(*"abcdef", size_events=3)
    assert numbered(numbers, 2, event("d")) == [("3-3", 2), ("d", 4)], "the first three are forgotten"
    numbers = acknowledged(*"abcdef", size_events=4)
    assert numbered(numbers, 0, event("b")) == [("1-1", 0), ("b", 2)], "with three alone there would be too few"
