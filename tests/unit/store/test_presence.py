"""Who lives, by one's own clock: silence counts from when it was heard last, and never while one was deaf oneself."""

from __future__ import annotations

import pytest

from bridge.store.fleet.presence import Presence

TTL = 30.0
DIGEST = "0123456789abcdef"


def row(owner: str = "w/1", score: int = 1, fresh: bool = True, ttl_seconds: float = TTL) -> tuple[bytes, bytes, bool]:
    """A worker's record as the register gives it."""
    return f"{owner} {DIGEST} 0 {ttl_seconds * 1000:.0f}".encode(), b"%d" % score, fresh


@pytest.fixture
def presence() -> Presence:
    """Nobody was heard yet."""
    return Presence(TTL)


def listen(presence: Presence, *rows: tuple[bytes, bytes, bool], begin: float, end: float) -> None:
    """Hear the same each second."""
    now = begin
    while now <= end:
        presence.note(rows, now)
        now += 1


def owners(presence: Presence) -> list[str]:
    """Who counts."""
    return [one.owner for one in presence.live]


def test_one_that_redis_calls_fresh_counts_at_once_and_until_it_was_silent_for_its_time_to_live(
    presence: Presence,
) -> None:
    """Whatever Redis calls it then: a clock that went back would keep it fresh for an hour."""
    listen(presence, row(), begin=0, end=TTL)
    assert owners(presence) == ["w/1"]
    presence.note([row()], TTL + 1)
    assert owners(presence) == []


def test_the_time_is_the_one_that_the_worker_says_of_itself(presence: Presence) -> None:
    """Two workers may be set up with other times to live."""
    listen(presence, row(ttl_seconds=5), row("x/2", ttl_seconds=60), begin=0, end=31)
    assert owners(presence) == ["x/2"]


def test_one_that_changes_counts_whatever_redis_calls_it(presence: Presence) -> None:
    """A clock that went forth makes all of them look dead."""
    for now in range(100):
        presence.note([row(score=now, fresh=False)], now)
    assert owners(presence) == ["w/1"]


def test_one_that_is_not_fresh_and_never_changes_does_not_count(presence: Presence) -> None:
    """A stale record, of yesterday or of a wrong clock."""
    presence.note([row(fresh=False)], 0)
    assert owners(presence) == []
    listen(presence, row(fresh=False), begin=1, end=20)
    assert owners(presence) == []


def test_one_that_speaks_again_counts_again(presence: Presence) -> None:
    """It was paused."""
    listen(presence, row(), begin=0, end=2 * TTL)
    assert presence.is_gone("w/1", lapsed=False)
    presence.note([row(score=2)], 2 * TTL + 1)
    assert owners(presence) == ["w/1"]
    assert not presence.is_gone("w/1", lapsed=True)


def test_after_an_outage_everybody_has_a_whole_time_to_speak(presence: Presence) -> None:
    """While this worker could not hear, others may not have been able to speak."""
    assert not presence.note([row()], 0)
    assert presence.note([row(fresh=False)], 1000)
    assert owners(presence) == ["w/1"]
    listen(presence, row(fresh=False), begin=1001, end=1000 + TTL)
    assert owners(presence) == ["w/1"]
    presence.note([row(fresh=False)], 1001 + TTL)
    assert owners(presence) == []


def test_listening_as_often_as_one_should_is_no_outage(presence: Presence) -> None:
    """A look may take its time."""
    assert not presence.note([], 0)
    assert not presence.note([], TTL / 2)


def test_only_silence_ends_a_lease_before_its_time(presence: Presence) -> None:
    """A worker that is not in the register has left what lapsed, and nothing else."""
    presence.note([row()], 0)
    assert not presence.is_gone("w/1", lapsed=True)
    assert not presence.is_gone("absent/2", lapsed=False)
    assert presence.is_gone("absent/2", lapsed=True)
    listen(presence, row(), begin=1, end=TTL + 1)
    assert presence.is_gone("w/1", lapsed=False)
    presence.note([], TTL + 2)
    assert presence.is_gone("w/1", lapsed=False), "also once its record is removed"


def test_records_are_removed_long_after_their_worker_fell_silent(presence: Presence) -> None:
    """Who comes back sooner is still known."""
    listen(presence, row(), begin=0, end=2 * TTL)
    assert list(presence.forgettable(2 * TTL)) == []
    assert list(presence.forgettable(2 * TTL + 1)) == [row()[0]]


def test_of_two_records_of_one_worker_the_first_counts(presence: Presence) -> None:
    """No worker writes two."""
    presence.note([row(score=1), row(score=2)], 0)
    assert owners(presence) == ["w/1"]
    assert not presence.live[0].heard_again


def test_a_worker_that_was_heard_twice_is_no_trace_of_an_old_one(presence: Presence) -> None:
    """Its score has moved."""
    presence.note([row()], 0)
    heard = [presence.live[0].heard_again]
    for now in (1, 2):
        presence.note([row(score=2)], now)
        heard.append(presence.live[0].heard_again)
    assert heard == [False, True, True]
