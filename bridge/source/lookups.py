"""Questions after sessions, many of them answered at once: an outage makes all sessions of a worker ask together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from bridge.model.outcomes import Lookup, Over, Unanswered

__all__ = ["SHARED_SECONDS", "Answer", "Lookups"]

SHARED_SECONDS = 2.0
"""How old an answer may be that serves another session. An old one can only say that a session still lives, and then
it is asked after again."""

_AT_ONCE = 4

Answer = Mapping[str, Lookup] | Unanswered
"""What the endpoint says of each session that it lists."""


class _Known(NamedTuple):
    answer: Answer
    asked_at: float


class Lookups:
    """``ask(session_id)`` asks after one session, ``ask(None)`` after all of them; it never raises.

    Who asks alone asks after its own session. Those who ask at about the same time share one question after all. That
    a session is not listed is believed only where it was asked after by its id: a list may be shorter than the truth.
    """

    def __init__(
        self, ask: Callable[[str | None], Awaitable[Answer]], *, shared_seconds: float = SHARED_SECONDS
    ) -> None:
        self._ask = ask
        self._shared_seconds = shared_seconds
        self._last: tuple[str, float] | None = None
        self._all: _Known | None = None
        self._failed: _Known | None = None
        self._under_way: asyncio.Task[Answer] | None = None
        self._few = asyncio.Semaphore(_AT_ONCE)

    async def of(self, session_id: str) -> Lookup:
        """What is known of a session, at most ``shared_seconds`` old."""
        now = time.monotonic()
        last, self._last = self._last, (session_id, now)
        if last is None or last[0] == session_id or now - last[1] > self._shared_seconds:
            return await self._of_one(session_id)
        everyone = await self._of_all()
        if not isinstance(everyone, Unanswered) and session_id in everyone:
            return everyone[session_id]
        async with self._few:
            failed = self._fresh(self._failed)
            return failed if isinstance(failed, Unanswered) else await self._of_one(session_id)

    async def aclose(self) -> None:
        """Ask nothing more."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.wait({self._under_way})

    async def _of_one(self, session_id: str) -> Lookup:
        asked_at = time.monotonic()
        answer = await self._ask(session_id)
        if isinstance(answer, Unanswered):
            self._failed = _Known(answer, asked_at)
            return answer
        return answer.get(session_id, Over(status="unknown"))

    async def _of_all(self) -> Answer:
        if (known := self._fresh(self._all)) is not None:
            return known
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.create_task(self._ask_after_all(), name="ask after all sessions")
        return await asyncio.shield(self._under_way)  # who stops waiting leaves it to the others

    async def _ask_after_all(self) -> Answer:
        asked_at = time.monotonic()
        answer = await self._ask(None)
        self._all = _Known(answer, asked_at)
        return answer

    def _fresh(self, known: _Known | None) -> Answer | None:
        fresh = known is not None and time.monotonic() - known.asked_at <= self._shared_seconds
        return known.answer if known is not None and fresh else None
