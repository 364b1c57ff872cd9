"""How long to wait before the next attempt. Values only: the clock and the randomness are passed in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

__all__ = ["Backoff", "Pace"]

_MAX_DOUBLINGS = 1000  # 2.0 ** 1024 raises OverflowError; a thousand doublings pass every ceiling
_FIRST = 100.0  # times the steady pace, until the first complaint: the sessions of a worker that died must not wait
_FAST, _SLOW = 10.0, 10.0  # how far the pace may be from the steady one after it, either way
_RECOVERY_SECONDS = 30.0
_ONE_COMPLAINT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with full jitter: each wait is random below a ceiling that doubles up to ``max_seconds``.

    Full jitter spreads clients that failed together best ("Exponential Backoff And Jitter", AWS Architecture Blog).
    ``attempt`` counts the attempts without progress so far, from 0.
    """

    initial_seconds: float
    max_seconds: float
    attempt: int = 0

    @property
    def ceiling_seconds(self) -> float:
        """What the random part of the wait stays below."""
        return min(self.max_seconds, self.initial_seconds * 2.0 ** min(self.attempt, _MAX_DOUBLINGS))

    @property
    def _first_ceiling_seconds(self) -> float:
        return min(self.max_seconds, self.initial_seconds)

    def delay(self, random: Callable[[], float], floor_seconds: float = 0.0, spent_seconds: float = 0.0) -> float:
        """Seconds to wait; ``random`` gives numbers in [0, 1).

        ``floor_seconds`` is what the server asked for (``retry:``, Retry-After). The random part comes on top of it,
        since clients that all wait exactly what they were told come back all at once. ``spent_seconds``: how long the
        attempt itself lasted. What is bounded is how often one is made, so that counts; but for a random part of the
        first wait, since connections that were closed together must not come back together.
        """
        part = random()
        return floor_seconds + max(part * self.ceiling_seconds - spent_seconds, part * self._first_ceiling_seconds)

    def next(self) -> Backoff:
        """After one more attempt without progress."""
        return replace(self, attempt=self.attempt + 1)

    def reset(self) -> Backoff:
        """After progress."""
        return replace(self, attempt=0)


@dataclass(slots=True, kw_only=True)
class Pace:
    """How fast connections may be made: fast until the server complains, then slow, then slowly faster again.

    No server publishes what it bears, so it is found out: a hundred times ``steady_per_second`` until it complains. A
    complaint halves that, to ``steady_per_second`` at most and a tenth of it at least; from there it grows by
    ``steady_per_second`` in 30 s (additive increase, multiplicative decrease: Chiu and Jain, 1989), up to ten times as
    much. One second's worth may go at once. ``now`` is of a monotonic clock, in seconds.

    The bucket is kept as one number, the time at which it would be full again (the generic cell rate algorithm, ITU-T
    I.371), so nothing has to run between two calls.
    """

    steady_per_second: float
    _due: float = field(default=-math.inf, init=False, repr=False)
    _slowed_to: float = field(default=math.inf, init=False, repr=False)
    _slowed_at: float = field(default=-math.inf, init=False, repr=False)

    def per_second(self, now: float) -> float:
        """The rate that counts now."""
        if self._slowed_to == math.inf:
            return self.steady_per_second * _FIRST
        fastest = self.steady_per_second * _FAST
        grown = self.steady_per_second * (now - self._slowed_at) / _RECOVERY_SECONDS
        return min(fastest, self._slowed_to + grown)

    def wait_seconds(self, now: float) -> float:
        """How long the next one has to wait from now on, if nothing changes."""
        rate = self.per_second(now)
        return max(0.0, self._due - (_burst(rate) - 1) / rate - now)

    def at_once(self, now: float) -> int:
        """How many could be made now without a wait."""
        rate = self.per_second(now)
        return max(0, int(_burst(rate) - max(0.0, self._due - now) * rate))

    def take(self, now: float) -> None:
        """One is being made now, whose wait was over."""
        self._due = max(self._due, now) + 1 / self.per_second(now)

    def complained(self, now: float) -> None:
        """The server said that it was too many. What it says of connections of the same second counts once."""
        if now - self._slowed_at < _ONE_COMPLAINT_SECONDS:
            return
        slowest = self.steady_per_second / _SLOW
        rate = max(slowest, min(self.per_second(now) / 2, self.steady_per_second))
        self._slowed_to, self._slowed_at = rate, now
        self._due = now + _burst(rate) / rate  # nothing is left to go at once


def _burst(rate_per_second: float) -> int:
    return max(1, int(rate_per_second))
