"""What is known of the end of a session: whether it is sure, when to look again, and whether Redis still knows it."""

from __future__ import annotations

from bridge.errors import SinkFault
from bridge.model.keys import SessionKeys
from bridge.model.outcomes import Fenced
from bridge.store.leases import Leases

__all__ = ["SessionEnd"]

_LONGEST_RECHECK_SECONDS = 3600.0  # between two looks at a session that seems to be over


class SessionEnd:
    """Of one session. ``final``: the API itself has said that it is over. ``doubted``: Redis was connected to anew and
    may have gone back, while nobody holds the lease any more, so that no renewal would tell."""

    def __init__(self, leases: Leases, keys: SessionKeys, recheck_seconds: float) -> None:
        self.final = self.doubted = False
        self._leases = leases
        self._keys = keys
        self._recheck_seconds = recheck_seconds
        self._rechecks = 0
        self._token = ""
        self._commits = 0

    def note(self, token: str, commits: int, reason: str) -> float:
        """It seems to be over, with so much committed under this token; returns the seconds until the next look."""
        self._token, self._commits = token, commits
        self.final = reason not in ("gone", "unknown")
        wait_seconds = min(self._recheck_seconds * 2.0**self._rechecks, _LONGEST_RECHECK_SECONDS)
        self._rechecks = min(self._rechecks + 1, 10)
        return wait_seconds

    def forget(self) -> None:
        """It is not over, or is to be looked at as if it were not."""
        self.final, self._rechecks, self._token = False, 0, ""

    def doubt(self) -> None:
        """A connection to Redis was made."""
        self.doubted = bool(self._token)

    async def was_lost(self) -> bool:
        """Whether Redis knows fewer commits than it acknowledged. Where it does not tell, it stays doubted.

        Not in a Redis that was emptied: nothing is left there that its consumers could miss the rest of.
        """
        try:
            answer = await self._leases.renew(self._keys, self._token)  # which renews nothing that was given back
        except SinkFault:
            return False
        self.doubted = False
        match answer:
            case Fenced(commits=commits) | int(commits):
                return commits < self._commits
            case _:
                return False
