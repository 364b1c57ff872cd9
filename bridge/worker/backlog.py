"""How far the consumers of our streams have come: asked of Redis now and then, for Prometheus alone.

Every worker asks for every session, owned or not, so that consumers are seen to catch up after a session has ended, and
no worker shows what was true when it last owned one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from bridge.errors import SinkFault
from bridge.store.link import RedisLink
from bridge.telemetry.figures import SessionFigures

__all__ = ["Backlog", "groups_of"]

INTERVAL_SECONDS = 10.0  # finer than most scrapes, and a few calls per second for a thousand sessions
PAUSE_SECONDS = 1.0  # after a fault: a Redis that is away needs no more callers
MAX_GROUPS = 20  # a label must stay bounded, and some programs make a group for each of their runs


class Backlog:
    """An async context manager: while it is open, ``stream_length``, ``group_lag`` and ``group_pending`` stay fresh."""

    def __init__(
        self, link: RedisLink, sessions: Collection[SessionFigures], interval_seconds: float = INTERVAL_SECONDS
    ) -> None:
        self._link = link
        self._sessions = sessions
        self._interval_seconds = interval_seconds
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="backlog")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            for one in list(self._sessions):  # one by one: commits share the connection and go first
                try:
                    await self._look(one)
                except SinkFault:  # the commits and the leases meet it too, and say so
                    one.groups = {}  # a hole in a graph rather than an old number
                    await asyncio.sleep(PAUSE_SECONDS)
            await asyncio.sleep(self._interval_seconds)

    async def _look(self, one: SessionFigures) -> None:
        groups: Mapping[str, tuple[int | None, int]] = {}
        route = self._link.to(one.stream_key)
        length = int(await route.call("XLEN", one.stream_key))
        if length:  # of a key that is not there XINFO says that it is an error
            groups = groups_of(await route.call("XINFO", "GROUPS", one.stream_key))
        one.stream_length, one.groups = length, groups


def groups_of(reply: list[list[Any]]) -> dict[str, tuple[int | None, int]]:
    """Lag and pending by group, the furthest behind first. The lag is None where Redis cannot tell it (or is older
    than 7.0)."""
    found = []
    for fields in reply:
        group = dict(zip(fields[::2], fields[1::2], strict=True))
        found.append((group[b"name"].decode(errors="replace"), (group.get(b"lag"), group[b"pending"])))
    found.sort(key=lambda one: -((one[1][0] or 0) + one[1][1]))
    return dict(found[:MAX_GROUPS])
