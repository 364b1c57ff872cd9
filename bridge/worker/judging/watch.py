"""How long to wait for a lease that another worker holds, by this machine's monotonic clock alone. Pure."""

from __future__ import annotations

from bridge.model.outcomes import HeldBy

__all__ = ["LeaseWatch"]


class LeaseWatch:
    """Remembers the holder's beat: while it changes, the holder lives, whatever Redis's clock says of its lease.

    Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._beat = b""
        self._until = 0.0
        self._asking = False

    def note(self, held: HeldBy, now: float) -> None:
        """It was asked for, and this was the answer."""
        self._asking = False
        if held.beat != self._beat:
            self._beat, self._until = held.beat, now + held.remaining_seconds

    def overdue(self, now: float) -> bytes:
        """The beat that has not changed for a time to live; empty where there is none."""
        return self._beat if now >= self._until else b""

    def waits(self, now: float) -> bool:
        """There is no need to ask yet."""
        return bool(self._beat) and now < self._until and not self._asking

    def ask(self) -> None:
        """There is, once."""
        self._asking = True

    def forget(self) -> None:
        """It is no longer held, or not as far as this worker can tell."""
        self._beat, self._until, self._asking = b"", 0.0, False
