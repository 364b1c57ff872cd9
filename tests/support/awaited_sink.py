"""A sink that a test stands in front of: each posted commit goes through its own `commit`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from bridge.model.outcomes import CommitResult


class _Commits(Protocol):
    async def commit(self, packed: bytes) -> CommitResult: ...


class AwaitedSink:
    """Put it in front of the real sink among the bases."""

    def post(self, packed: bytes, hear: Callable[[asyncio.Future[object]], None]) -> asyncio.Future[object]:
        """As a task."""
        task: asyncio.Future[object] = asyncio.ensure_future(cast("_Commits", self).commit(packed))
        task.add_done_callback(hear)
        return task

    def read(self, reply: object) -> CommitResult:
        """It is one already."""
        return cast("CommitResult", reply)
