"""A source that says what a test has written, connection by connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from bridge.masking import Secrets
from bridge.model.labels import DisconnectReason
from bridge.model.outcomes import Active, Closed, Lookup
from bridge.model.records import PlainEvents, ServerSentEvent

__all__ = ["ScriptedSource", "loose"]


def loose(*payloads: bytes) -> list[ServerSentEvent]:
    """Events without an id, as the decoder gives them."""
    return [ServerSentEvent("message", raw, None, "") for raw in payloads]


class _Connection:
    resumed = False
    retry_floor_seconds = 0.0
    bytes_received = 0

    def __init__(self, source: ScriptedSource, chunks: Sequence[list[ServerSentEvent]]) -> None:
        self._source = source
        self._chunks = [*chunks]

    async def read(self) -> list[ServerSentEvent] | Closed:
        if self._chunks:
            return self._chunks.pop(0)
        if self._source.connections:
            return Closed(reason=DisconnectReason.CLOSED)
        self._source.all_read.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def flow(self, take: Callable[[PlainEvents | list[ServerSentEvent]], bool]) -> None:
        """It is read chunk by chunk."""

    async def aclose(self) -> None:
        pass


class ScriptedSource:
    """Each connection brings its chunks and is closed; the last one stays. ``all_read``: nothing more will come."""

    def __init__(self, *connections: Sequence[list[ServerSentEvent]]) -> None:
        self.connections = [*connections]
        self.sent_keys = Secrets()
        self.all_read = asyncio.Event()

    async def turn(self) -> None:
        """At once."""

    async def open(self, session_id: str, cursor: str | None) -> _Connection:
        """The next one."""
        return _Connection(self, self.connections.pop(0))

    async def lookup(self, session_id: str) -> Lookup:
        """It lives."""
        return Active(status="RUNNING")

    async def wait_for_key(self, since: int, at_most_seconds: float) -> None:
        """Nobody refuses it."""
