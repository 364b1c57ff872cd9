"""Two clocks that differ: said once, again when it changes much, and when it is over."""

from __future__ import annotations

import structlog

from bridge.telemetry.status import WorkerStatus
from bridge.worker.judging.clocks import ClockCheck


def told(*differences: float) -> list[tuple[str, float]]:
    """What is logged of these, one after another."""
    check = ClockCheck(WorkerStatus(worker_id="w", version="0"))
    with structlog.testing.capture_logs() as logs:
        for one in differences:
            check.note(one)
    return [(line["event"], line["difference_seconds"]) for line in logs]


def test_a_few_seconds_are_nothing() -> None:
    """Either way."""
    assert told(0.0, 5.0, -5.0) == []


def test_a_difference_is_told_once() -> None:
    """Also where Redis is behind."""
    assert told(7200.0, 7200.0, 7201.0, 7190.0) == [("clock.differs", 7200.0)]
    assert told(-6.0, -6.5) == [("clock.differs", -6.0)]


def test_one_that_changes_much_or_is_gone_is_told_again() -> None:
    """And once it is gone, it may come back."""
    assert told(10.0, 100.0, -100.0, 0.0, 0.0, 10.0) == [
        ("clock.differs", 10.0),
        ("clock.differs", 100.0),
        ("clock.differs", -100.0),
        ("clock.agrees", 0.0),
        ("clock.differs", 10.0),
    ]


def test_prometheus_is_told_each_time() -> None:
    """Small ones too."""
    status = WorkerStatus(worker_id="w", version="0")
    ClockCheck(status).note(1.5)
    assert status.clock_difference_seconds == 1.5
