"""Silence and a drip: two clocks."""

from __future__ import annotations

from bridge.source.stream import Deadlines


def test_silence_counts_only_while_someone_reads() -> None:
    """Waiting for Redis is no silence of the server."""
    deadlines = Deadlines(idle_seconds=45.0, event_seconds=300.0)
    assert deadlines.idle_in(1e9) == 45.0
    deadlines.waiting_since = 1000.0
    assert [deadlines.idle_in(now) for now in (1000.0, 1044.0, 1045.0, 1050.0)] == [45.0, 1.0, 0.0, -5.0]


def test_an_event_is_late_from_its_first_part_on() -> None:
    """Not from the beginning of the connection; and its end starts the next one anew."""
    deadlines = Deadlines(idle_seconds=45.0, event_seconds=300.0)
    assert [deadlines.event_is_late(now) for now in (1000.0, 1300.0, 1300.1)] == [False, False, True]
    deadlines.incomplete_since = None
    assert not deadlines.event_is_late(2000.0)
