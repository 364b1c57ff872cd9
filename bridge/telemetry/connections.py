"""The connections of an HTTP server: not too many, and none for ever without having asked for something.

Whoever can reach the port can open connections and say nothing, or half a request. A probe says all at once: so where
there are too many, the one that has let us wait longest makes room.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["ANSWER_SECONDS", "MAX_CONNECTIONS", "REQUEST_SECONDS", "Connections", "Limits"]

MAX_CONNECTIONS = 50
"""Of the admin server: a kubelet, some Prometheis and some browsers need a few at a time."""

REQUEST_SECONDS = 10.0
"""For the request line and all headers."""

ANSWER_SECONDS = 60.0
"""For the answer. Metrics of thousands of sessions take a while, and a peer on a bad line too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many connections there may be at once, and how long a request and its answer may take."""

    connections: int = MAX_CONNECTIONS
    per_address: int | None = None
    request_seconds: float = REQUEST_SECONDS
    answer_seconds: float = ANSWER_SECONDS


class Connections:
    """A protocol factory around another one, ``make``. Each connection carries one request; call `asked` when it is
    there, and `lasts` where the answer has no end. ``on_refused`` hears of each one that was closed for a limit, with
    True where the limit is that of one address.
    """

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol] = asyncio.Protocol,
        limits: Limits = Limits(),
        on_refused: Callable[[bool], None] = lambda of_address: None,
    ) -> None:
        self.make = make
        self._limits = limits
        self._on_refused = on_refused
        self._open: set[_Connection] = set()
        self._of_address: Counter[str] = Counter()
        self._silent: dict[asyncio.BaseTransport, _Connection] = {}  # the one that waits longest first
        self._asked: dict[asyncio.BaseTransport, _Connection] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __call__(self) -> asyncio.Protocol:
        return _Connection(self)

    def asked(self, transport: asyncio.BaseTransport | None) -> None:
        """A whole request came in on this connection; from now on it is we who take the time."""
        if transport and (connection := self._silent.pop(transport, None)):
            connection.limit(self._limits.answer_seconds)
            self._asked[transport] = connection

    def lasts(self, transport: asyncio.BaseTransport | None) -> None:
        """The answer on this connection has no end of its own, and what else the client says is not listened to."""
        if transport and (connection := self._asked.get(transport)):
            connection.last()

    def admit(self, connection: _Connection, transport: asyncio.Transport) -> asyncio.Protocol | None:
        """Who serves a new connection; None where there are too many that are being answered."""
        of_address = self._limits.per_address
        if of_address and self._of_address[connection.address] >= of_address:
            self._on_refused(True)
            return None
        if len(self._open) >= self._limits.connections:
            if not self._silent:
                self._on_refused(False)
                return None
            self._silent.pop(next(iter(self._silent))).end()
        self._open.add(connection)
        self._of_address[connection.address] += 1
        self._silent[transport] = connection
        connection.limit(self._limits.request_seconds)
        return self.make()

    def forget(self, connection: _Connection, transport: asyncio.Transport) -> None:
        """It is closed."""
        self._silent.pop(transport, None)
        self._asked.pop(transport, None)
        if connection in self._open:
            self._open.remove(connection)
            self._of_address[connection.address] -= 1
            if not self._of_address[connection.address]:
                del self._of_address[connection.address]


def _address_of(transport: asyncio.BaseTransport) -> str:
    """Whose connection it is: an address; of IPv6 its network of 64 bits, which one client has to itself."""
    peer = transport.get_extra_info("peername")
    try:
        found = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except (TypeError, IndexError, ValueError):
        return ""  # it has gone already
    if isinstance(found, ipaddress.IPv6Address) and not found.ipv4_mapped:
        return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
    return str(found)


class _Connection(asyncio.Protocol):
    """Passes everything on to the protocol that serves, and knows when it has to end."""

    def __init__(self, all_connections: Connections) -> None:
        self._all = all_connections
        self._served_by: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deaf = False
        self.address = ""

    def limit(self, seconds: float) -> None:
        """From now on it may last so long."""
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.end)

    def last(self) -> None:
        """From now on it may last, and no further request is taken from it: they would wait in memory for ever."""
        self._deaf = True
        if self._timer:
            self._timer.cancel()

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
        self.address = _address_of(transport)
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
        if self._served_by and not self._deaf:
            self._served_by.data_received(data)

    def eof_received(self) -> bool | None:
        return self._served_by.eof_received() if self._served_by else None

    def pause_writing(self) -> None:
        if self._served_by:
            self._served_by.pause_writing()

    def resume_writing(self) -> None:
        if self._served_by:
            self._served_by.resume_writing()
