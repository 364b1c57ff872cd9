"""Says when Redis's clock and this machine's differ: nothing depends on it, but ages and latencies then mislead."""

from __future__ import annotations

import structlog

from bridge.telemetry.status import WorkerStatus

__all__ = ["ClockCheck"]

log = structlog.get_logger()

_TOLERATED_SECONDS = 5.0
_MUCH = 0.5  # of what was told last


class ClockCheck:
    """Tells a difference once, and again when it has changed much or is gone."""

    def __init__(self, status: WorkerStatus) -> None:
        self._status = status
        self._told_seconds = 0.0

    def note(self, ahead_seconds: float) -> None:
        """``ahead_seconds``: by how much Redis's clock is ahead."""
        self._status.clock_difference_seconds = ahead_seconds
        differs = abs(ahead_seconds) > _TOLERATED_SECONDS
        if not differs:
            if self._told_seconds:
                log.info("clock.agrees", difference_seconds=round(ahead_seconds, 1))
            self._told_seconds = 0.0
            return
        if abs(ahead_seconds - self._told_seconds) > max(_TOLERATED_SECONDS, _MUCH * abs(self._told_seconds)):
            log.warning(
                "clock.differs",
                difference_seconds=round(ahead_seconds, 1),
                hint="Redis's clock is ahead of this machine's by so much (behind where negative): synchronise both",
            )
            self._told_seconds = ahead_seconds
