"""The connections of the admin server: not too many, and none for ever.

Whoever can reach the port can open connections and say nothing, or half a request. A probe says all at once: so where
there are too many, the one that has let us wait longest makes room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["ANSWER_SECONDS", "MAX_CONNECTIONS", "REQUEST_SECONDS", "Connections"]

MAX_CONNECTIONS = 50
"""A kubelet, some Prometheis and some browsers need a few at a time."""

REQUEST_SECONDS = 10.0
"""For the request line and all headers."""

ANSWER_SECONDS = 60.0
"""For the answer. Metrics of thousands of sessions take a while, and a peer on a bad line too."""


class Connections:
    """A protocol factory around another one. Each connection carries one request; call `asked` when it is there."""

    def __init__(self, make: Callable[[], asyncio.Protocol], request_seconds: float = REQUEST_SECONDS) -> None:
        self._make = make
        self._request_seconds = request_seconds
        self._open: set[_Connection] = set()
        self._silent: dict[asyncio.BaseTransport, _Connection] = {}  # the one that waits longest first

    def __call__(self) -> asyncio.Protocol:
        return _Connection(self)

    def asked(self, transport: asyncio.BaseTransport | None) -> None:
        """A whole request came in on this connection; from now on it is we who take the time."""
        if transport and (connection := self._silent.pop(transport, None)):
            connection.limit(ANSWER_SECONDS)

    def admit(self, connection: _Connection, transport: asyncio.Transport) -> asyncio.Protocol | None:
        """Who serves a new connection; None where there are too many that are being answered."""
        if len(self._open) >= MAX_CONNECTIONS:
            if not self._silent:
                return None
            self._silent.pop(next(iter(self._silent))).end()
        self._open.add(connection)
        self._silent[transport] = connection
        connection.limit(self._request_seconds)
        return self._make()

    def forget(self, connection: _Connection, transport: asyncio.Transport) -> None:
        """It is closed."""
        self._open.discard(connection)
        self._silent.pop(transport, None)


class _Connection(asyncio.Protocol):
    """Passes everything on to the protocol that serves, and knows when it has to end."""

    def __init__(self, all_connections: Connections) -> None:
        self._all = all_connections
        self._served_by: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def limit(self, seconds: float) -> None:
        """From now on it may last so long."""
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.end)

    def end(self) -> None:
        """Close it, whatever is under way. It no longer counts."""
        if self._timer:
            self._timer.cancel()
        if self._transport:
            self._all.forget(self, self._transport)
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._served_by = self._all.admit(self, transport)
        if self._served_by is None:
            transport.abort()
        else:
            self._served_by.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.end()
        self._transport = None
        if self._served_by:
            self._served_by.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._served_by:
            self._served_by.data_received(data)

    def eof_received(self) -> bool | None:
        return self._served_by.eof_received() if self._served_by else None

    def pause_writing(self) -> None:
        if self._served_by:
            self._served_by.pause_writing()

    def resume_writing(self) -> None:
        if self._served_by:
            self._served_by.resume_writing()
