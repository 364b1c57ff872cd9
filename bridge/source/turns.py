"""Whose turn it is to connect: one queue for all sessions of a key."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from bridge.backoff import Pace

__all__ = ["Turns"]

_IN_A_ROUND, _IN_A_SECOND = 16, 250
"""Connections that may begin in one round of the event loop; where that one is long, as many as in a second. Thousands
that set out together would make a round of seconds, in which nothing is committed, renewed or answered."""
_LOOK_AGAIN_SECONDS = 1.0  # a complaint of another connection may change the wait while it lasts


class Turns:
    """In the order of asking. Only the first in the queue waits for the pace, so that a complaint slows all of them."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._queue: deque[asyncio.Future[None]] = deque()
        self._calling: asyncio.Task[None] | None = None

    async def take(self) -> None:
        """Wait until one more connection may be made."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        if self._calling is None or self._calling.done():
            self._calling = asyncio.create_task(self._call(), name="call whose turn it is")
        await turn

    @property
    def waiting(self) -> int:
        """How many ask now."""
        return sum(not turn.done() for turn in self._queue)

    @property
    def free(self) -> int:
        """How many more could connect now without a wait."""
        return self._pace.at_once(time.monotonic()) - self.waiting

    def complained(self) -> None:
        """The server has said that it was too many."""
        self._pace.complained(time.monotonic())

    async def aclose(self) -> None:
        """Call nobody any more."""
        if self._calling is not None:
            self._calling.cancel()
            await asyncio.wait({self._calling})

    async def _call(self) -> None:
        room = _IN_A_ROUND
        while self._queue:
            if self._queue[0].done():  # who gave up
                self._queue.popleft()
            elif (seconds := self._pace.wait_seconds(time.monotonic())) > 0:
                await asyncio.sleep(min(seconds, _LOOK_AGAIN_SECONDS))
            else:
                self._pace.take(time.monotonic())
                self._queue.popleft().set_result(None)
                room -= 1
            if room <= 0:
                began = time.monotonic()
                await asyncio.sleep(0)
                room = max(_IN_A_ROUND, int((time.monotonic() - began) * _IN_A_SECOND))
