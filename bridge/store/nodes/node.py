"""One connection at a time to one server, or to whoever is the primary: shared by all who call, made when needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from bridge.errors import FaultKind, SinkFault
from bridge.store.connection import Connection, Hear, pack
from bridge.store.script import Script

__all__ = ["Node", "Told", "heard"]

Told = Callable[[str | None], None]
"""Hears None when a connection stands and the reason when it does not."""

_ASKING = pack("ASKING")


class Node:
    """Nothing is ever sent twice here but a script that the server did not know; who calls decides what to send again.

    ``connect`` makes a connection or raises SinkFault. Calls of all sessions go out together, so a thousand sessions
    cost one round trip.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], on_change: Told) -> None:
        self._connect = connect
        self._on_change = on_change
        self._connection: Connection | None = None
        self._attempt: asyncio.Task[Connection] | None = None

    @property
    def standing(self) -> Connection | None:
        """The open connection."""
        return self._connection if self._connection and not self._connection.broken else None

    async def send(self, packed: bytes, *, asking: bool = False, confirmation: bytes = b"") -> Any:
        """Send packed bytes and wait for the one reply. Raises SinkFault.

        ``asking``: into a slot that is still on its way to this server. With a ``confirmation`` behind it, what that is
        answered comes second: a reply, or the fault that it met.
        """
        connection = await self.connection()
        try:
            if asking:
                connection.post(_ASKING).add_done_callback(heard)
            reply = connection.post(packed)
            if not confirmation:
                return await reply
            told = connection.confirm(confirmation)
            told.add_done_callback(heard)
            await asyncio.wait([reply, told])
            return reply.result(), told.exception() or told.result()
        except SinkFault as fault:
            if connection.broken and self._connection is connection:
                self._connection = None
                self._on_change(fault.detail)
            raise

    async def run(self, script: Script, packed: bytes, *, asking: bool = False) -> Any:
        """Send a packed script call; loads the script where the server has forgotten it. Raises SinkFault."""
        try:
            return await self.send(packed, asking=asking, confirmation=script.confirmation)
        except SinkFault as fault:
            if fault.kind is not FaultKind.NO_SCRIPT:
                raise
        await self.send(pack("SCRIPT", "LOAD", script.source))
        return await self.send(packed, asking=asking, confirmation=script.confirmation)

    def post(self, script: Script, packed: bytes, hear: Hear) -> asyncio.Future[object]:
        """As `run` where no connection stands, or with a confirmation; else sent at once, faults and all."""
        standing = self.standing
        if standing is None or script.confirmation:
            task: asyncio.Future[object] = asyncio.ensure_future(self.run(script, packed))
            task.add_done_callback(hear)
            return task
        return standing.post(packed, hear)

    async def connection(self) -> Connection:
        """The open connection, or a new one. Raises SinkFault."""
        if standing := self.standing:
            return standing
        if self._attempt is None:
            self._attempt = asyncio.create_task(self._connect_and_tell(), name="connect to Redis")
            self._attempt.add_done_callback(heard)
        try:
            # One attempt and one answer for all who wait, a thousand sessions say; who gives up leaves it to the rest.
            return await asyncio.shield(self._attempt)
        except SinkFault as fault:
            raise SinkFault(fault.kind, fault.detail) from fault

    @property
    def idle(self) -> bool:
        """Nobody waits for it."""
        return self._attempt is None and (self._connection is None or not self._connection.waits_seconds)

    def close(self) -> None:
        """Close the connection, or give up making it; calls under way fail."""
        connection, self._connection = self._connection, None
        if connection:
            connection.close()
        if self._attempt:
            self._attempt.cancel()

    async def aclose(self) -> None:
        """The same, and wait for its end."""
        attempt = self._attempt
        self.close()
        if attempt:
            await asyncio.gather(attempt, return_exceptions=True)

    async def _connect_and_tell(self) -> Connection:
        try:
            self._connection = await self._connect()
        except SinkFault as fault:
            self._on_change(fault.detail)
            raise
        finally:
            self._attempt = None
        self._on_change(None)
        return self._connection


def heard(future: asyncio.Future[Any]) -> None:
    """Whoever waits for it learns what became of it; where nobody does, that is no news."""
    if not future.cancelled():
        future.exception()
