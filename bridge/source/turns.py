"""Whose turn it is to connect: one queue for all sessions of a key."""

from __future__ import annotations

import asyncio
import time

from bridge.backoff import Pace

__all__ = ["Turns"]


class Turns:
    """In the order of asking. Only the first in the queue waits for the pace, so that a complaint slows all of them."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._queue = asyncio.Lock()

    async def take(self) -> None:
        """Wait until one more connection may be made."""
        async with self._queue:
            # A complaint of another connection may change the wait while it lasts.
            while (seconds := self._pace.wait_seconds(time.monotonic())) > 0:  # noqa: ASYNC110
                await asyncio.sleep(min(seconds, 1.0))
            self._pace.take(time.monotonic())

    def complained(self) -> None:
        """The server has said that it was too many."""
        self._pace.complained(time.monotonic())
