"""Waiting for another's lease: by the beat of its holder and this machine's clock."""

from __future__ import annotations

from bridge.model.outcomes import HeldBy
from bridge.worker.judging.watch import LeaseWatch


def held(beat: bytes, remaining_seconds: float = 10.0) -> HeldBy:
    """An answer of Redis."""
    return HeldBy(owner="w/1", remaining_seconds=remaining_seconds, beat=beat, lapsed=False)


def test_a_beat_that_stays_for_what_was_left_of_the_lease_is_overdue() -> None:
    """Neither before, nor counted anew at each look."""
    watch = LeaseWatch()
    watch.note(held(b"1"), 100.0)
    watch.note(held(b"1"), 105.0)
    assert (watch.waits(109.9), watch.overdue(109.9)) == (True, b"")
    assert (watch.waits(110.0), watch.overdue(110.0)) == (False, b"1")


def test_another_beat_begins_another_time() -> None:
    """The holder lives."""
    watch = LeaseWatch()
    watch.note(held(b"1"), 100.0)
    watch.note(held(b"2", 7.0), 110.0)
    assert (watch.overdue(110.0), watch.overdue(116.9), watch.overdue(117.0)) == (b"", b"", b"2")


def test_nothing_is_waited_for_where_nothing_is_known() -> None:
    """A session that was never asked for, or that is free."""
    watch = LeaseWatch()
    assert (watch.waits(0.0), watch.overdue(0.0)) == (False, b"")
    watch.note(held(b"1"), 100.0)
    watch.forget()
    assert (watch.waits(101.0), watch.overdue(200.0)) == (False, b"")


def test_it_can_be_asked_for_once_before_its_time() -> None:
    """Somebody may have given it back; the answer decides how to go on."""
    watch = LeaseWatch()
    watch.note(held(b"1"), 100.0)
    watch.ask()
    assert (watch.waits(101.0), watch.overdue(101.0)) == (False, b"")
    watch.note(held(b"1"), 101.0)
    assert watch.waits(102.0)
