"""Keeps the leases of what is held, whatever comes and goes meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from bridge.worker.holder import SessionHolder
from bridge.worker.holders import Holders

__all__ = ["Renewals"]

_AT_ONCE = 250  # leases that are renewed in one go
_TRIES = 3  # within a lease's life, so that one lost reply costs nothing


class Renewals:
    """Runs until cancelled: in groups, spread over the time between two renewals of a lease.

    Thousands at once would hold up the events. A group that Redis keeps waiting holds up no other one.
    """

    def __init__(self, holders: Holders, ttl_seconds: float) -> None:
        self._holders = holders
        self._interval_seconds = ttl_seconds / _TRIES
        self._now = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], frozenset[SessionHolder]] = {}

    def at_once(self) -> None:
        """Renew all of them now."""
        self._now.set()

    async def run(self) -> None:
        """Renew them again and again."""
        try:
            while True:
                begun = time.monotonic()
                groups = self._groups()
                for number, group in enumerate(groups or [()], start=1):
                    until = begun + self._interval_seconds * number / max(1, len(groups))
                    with suppress(TimeoutError):
                        async with asyncio.timeout(max(0.0, until - time.monotonic())):
                            await self._now.wait()
                    if self._now.is_set():
                        break
                    self._start(group)
                if self._now.is_set():
                    self._now.clear()
                    for group in self._groups():
                        self._start(group)
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    def _groups(self) -> list[Sequence[SessionHolder]]:
        all_of_them = self._holders.everyone
        return [all_of_them[at : at + _AT_ONCE] for at in range(0, len(all_of_them), _AT_ONCE)]

    def _start(self, group: Sequence[SessionHolder]) -> None:
        for task in [task for task in self._under_way if task.done()]:
            del self._under_way[task]
            task.result()  # a fault of ours is raised
        waiting = frozenset[SessionHolder]().union(*self._under_way.values())
        if due := frozenset(group) - waiting:
            self._under_way[asyncio.create_task(_renew(due), name="renew")] = due


async def _renew(holders: frozenset[SessionHolder]) -> None:
    await asyncio.gather(*(holder.renew() for holder in holders))
