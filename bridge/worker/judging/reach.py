"""Whether this worker is cut off from the source, while others may not be: then it stands aside and lets them read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

__all__ = ["SourceReach"]

log = structlog.get_logger()

_ATTEMPTS = 5  # in a row; the waits between them have doubled to some 8 s by then
_PROBE_SECONDS = 15.0
_LONGEST_SECONDS = 600.0  # without a word from the source: then only reading can tell
_BETWEEN_SECONDS = 30.0  # from one time of standing aside to the next; doubles up to the longest


class SourceReach:
    """``aside``: this worker wants nothing but what nobody else wants. ``probe`` asks whether the source answers.

    Where the source is away for all, one worker stands aside and the other one goes on trying: nothing goes to and fro.
    """

    def __init__(self, probe: Callable[[], Awaitable[bool]], clock: Callable[[], float] = time.monotonic) -> None:
        self.aside = False
        self._probe = probe
        self._clock = clock
        self._probing: asyncio.Task[bool] | None = None
        self._probe_at = self._until = self._not_before = 0.0
        self._between_seconds = _BETWEEN_SECONDS

    def judge(self, attempts: Sequence[int], *, wanted_by_others: bool) -> None:
        """Look at the attempts in a row that did not reach the source, of all sessions that are read now."""
        now = self._clock()
        if self.aside:
            self._look_for_an_end(now)
        elif attempts and min(attempts) == 0 and now >= self._not_before:
            self._between_seconds = _BETWEEN_SECONDS
        elif wanted_by_others and now >= self._not_before and attempts and min(attempts) > 0:
            if max(attempts) < _ATTEMPTS:
                return
            self.aside = True
            self._probe_at, self._until = now + _PROBE_SECONDS, now + _LONGEST_SECONDS
            self._not_before = now + self._between_seconds
            self._between_seconds = min(2 * self._between_seconds, _LONGEST_SECONDS)
            log.warning("source.unreachable", attempts=max(attempts), hint="other workers may reach it: standing aside")

    def _look_for_an_end(self, now: float) -> None:
        answered = False
        if self._probing and self._probing.done():
            answered = not self._probing.cancelled() and self._probing.exception() is None and self._probing.result()
            self._probing = None
        if now >= self._not_before and (answered or now >= self._until):
            self.aside = False
            log.info("source.tried_again", answers=answered)
        elif self._probing is None and now >= self._probe_at:
            self._probe_at = now + _PROBE_SECONDS
            self._probing = asyncio.ensure_future(self._probe())

    async def aclose(self) -> None:
        """End what is under way."""
        if self._probing:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
