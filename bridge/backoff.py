"""How long to wait before the next attempt. Values only: the clock and the randomness are passed in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

__all__ = ["Backoff", "TokenBucket"]

_MAX_DOUBLINGS = 1000  # 2.0 ** 1024 raises OverflowError; a thousand doublings pass every ceiling


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with full jitter: each wait is random below a ceiling that doubles up to ``max_seconds``.

    Full jitter spreads clients that failed together best ("Exponential Backoff And Jitter", AWS Architecture Blog).
    ``attempt`` counts the failures so far, from 0.
    """

    initial_seconds: float
    max_seconds: float
    attempt: int = 0

    @property
    def ceiling_seconds(self) -> float:
        """What the random part of the wait stays below."""
        return min(self.max_seconds, self.initial_seconds * 2.0 ** min(self.attempt, _MAX_DOUBLINGS))

    def delay(self, random: Callable[[], float], floor_seconds: float = 0.0) -> float:
        """Seconds to wait; ``random`` gives numbers in [0, 1).

        ``floor_seconds`` is what the server asked for (``retry:``, Retry-After). The random part comes on top of it,
        since clients that all wait exactly what they were told come back all at once.
        """
        return floor_seconds + random() * self.ceiling_seconds

    def next(self) -> Backoff:
        """After one more failure."""
        return replace(self, attempt=self.attempt + 1)

    def reset(self) -> Backoff:
        """After a success."""
        return replace(self, attempt=0)


@dataclass(slots=True, kw_only=True)
class TokenBucket:
    """Spreads calls to ``rate_per_second`` with up to ``burst`` of them at once; waits are in the order of the calls.

    Kept as one number, the time at which the bucket would be full again (the generic cell rate algorithm,
    ITU-T I.371), so nothing has to run between two calls.
    """

    rate_per_second: float
    burst: int = 1
    _due: float = field(default=-math.inf, init=False, repr=False)

    def reserve(self, now: float) -> float:
        """Take a token and tell after how many seconds it may be used. ``now`` is of a monotonic clock, in seconds."""
        due = max(self._due, now - (self.burst - 1) / self.rate_per_second)
        self._due = due + 1 / self.rate_per_second
        return max(0.0, due - now)
