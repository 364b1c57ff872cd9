"""One open connection to Redis: calls go out together and are answered in order. The only module that speaks RESP.

The commit's connection is our own, on hiredis, for three reasons. A client library that repeats a command whose outcome
it does not know is how entries come twice. A reply that arrives here settles its commit at once, with no task in
between. And redis-py would take 6 MiB of a worker's 60 for a handful of commands.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis

from bridge.errors import FaultKind, Meaning, SinkFault
from bridge.model.redis_address import Endpoint
from bridge.store.replies import fault_of

__all__ = ["Argument", "Connection", "Hear", "pack"]

Argument = bytes | str | int

Hear = Callable[[asyncio.Future[object]], None]
"""What to call when a call has ended; it must not raise."""

_READ_BYTES = 64 * 1024  # at once: thousands of replies

_TLS_ALERT = b"\x15\x03"  # how a TLS server complains of a client that speaks none


def pack(*arguments: Argument) -> bytes:
    """One command in RESP (Redis serialization protocol, arrays of bulk strings)."""
    packed: bytes = hiredis.pack_command(arguments)  # type: ignore[arg-type]  # its stub knows one argument only
    return packed


class Connection(asyncio.Protocol):
    """Breaks as a whole: after any fault every call under way fails, and nothing more is sent.

    A call under way has no bound of its own but this: when the oldest one has waited for ``timeout_seconds``, the
    connection is given up. What was sent may still be carried out.
    """

    def __init__(self, where: str, timeout_seconds: float) -> None:
        self.broken = False
        self.where = where  # host and port, or the path of a socket
        self._timeout_seconds = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[asyncio.Future[Any], float, Hear | None]] = deque()
        self._settling = False  # what is posted meanwhile goes out when all that was answered is settled
        self._heard = self._encrypted = False
        self._outbox: list[bytes] = []
        self._confirming: asyncio.Future[Any] | None = None
        self._to_confirm: asyncio.Future[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(
        cls, endpoint: Endpoint, tls: ssl.SSLContext | None, timeout_seconds: float, handshake: Sequence[bytes] = ()
    ) -> Connection:
        """Connect and log in: ``handshake`` is sent first, and its error replies are faults.

        Raises OSError where no connection comes about, SinkFault where Redis refuses the handshake.
        """
        loop = asyncio.get_running_loop()

        def made() -> Connection:
            return cls(str(endpoint), timeout_seconds)

        host, port = endpoint.host, endpoint.port
        if endpoint.is_socket:
            _, connection = await loop.create_unix_connection(made, host)
        else:
            _, connection = await loop.create_connection(
                made, host, port, ssl=tls, server_hostname=host if tls else None
            )
        try:
            await asyncio.gather(*map(connection.post, handshake))
        except SinkFault as fault:
            connection.close()
            if fault.kind.meaning is Meaning.CALL:  # the call that waits for the connection is not to blame
                raise SinkFault(FaultKind.HANDSHAKE, fault.detail) from fault
            raise
        except BaseException:
            connection.close()
            raise
        return connection

    def post(self, packed: bytes, hear: Hear | None = None) -> asyncio.Future[Any]:
        """Send; the future gives the reply or raises SinkFault. Cancelling it drops the reply, never the call.

        ``hear`` is called with it in the very step in which a good reply comes; of a fault it hears in the next one.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.broken:
            future.set_exception(SinkFault(FaultKind.UNREACHABLE, f"the connection to Redis at {self.where} is closed"))
            if hear is not None:
                self._loop.call_soon(hear, future)
            return future
        if not self._waiting and not self._settling and self._transport is not None:
            self._transport.write(packed)  # nothing is under way: a lone event should not wait for another round
        else:
            if not self._outbox and not self._settling:
                self._loop.call_soon(self._flush)  # together with whatever else is posted in this round of the loop
            self._outbox.append(packed)
        self._waiting.append((future, self._loop.time() + self._timeout_seconds, hear))
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_seconds, self._check_oldest)
        return future

    def confirm(self, packed: bytes) -> asyncio.Future[Any]:
        """A call that tells something of all that was posted before it (WAIT). Its future is shared: do not cancel it.

        Redis serves nothing else on this connection meanwhile, so one is under way at a time, and those who ask
        meanwhile share the next.
        """
        if self._confirming is None:
            self._confirming = self.post(packed)
            self._confirming.add_done_callback(lambda _: self._confirmed(packed))
            return self._confirming
        if self._to_confirm is None:
            self._to_confirm = self._loop.create_future()
        return self._to_confirm

    def _confirmed(self, packed: bytes) -> None:
        self._confirming = None
        shared, self._to_confirm = self._to_confirm, None
        if shared is not None:
            self.confirm(packed).add_done_callback(lambda told: _copy(told, shared))

    @property
    def waits_seconds(self) -> float:
        """For how long the oldest call under way has waited; 0 where none does."""
        return self._loop.time() - self._waiting[0][1] + self._timeout_seconds if self._waiting else 0.0

    def give_up(self, why: str) -> None:
        """Close at once, since what is asked for is elsewhere by now; calls under way fail, their outcome unknown."""
        self._break(SinkFault(FaultKind.UNREACHABLE, f"Redis at {self.where} was left: {why}"))

    def close(self) -> None:
        """Close at once; calls under way fail."""
        self._break(SinkFault(FaultKind.UNREACHABLE, f"the connection to Redis at {self.where} was closed"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if hasattr(transport, "max_size"):
            transport.max_size = _READ_BYTES
        self._encrypted = transport.get_extra_info("sslcontext") is not None
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        self._heard = self._settling = True
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._settle(reply)
        except (hiredis.ProtocolError, IndexError) as error:
            tls = data.startswith(_TLS_ALERT)
            advice = "it speaks TLS: write rediss:// in redis.url" if tls else "check redis.url"
            detail = f"what answers at {self.where} is not Redis: {error} - {advice}"
            self._break(SinkFault(FaultKind.UNREACHABLE, detail))
        self._settling = False
        if self._outbox:
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        reason = str(exc) if exc and str(exc) else "the server closed the connection"
        if not (self._heard or self._encrypted):
            reason += " - if this port speaks TLS, write rediss:// in redis.url"
        self._break(SinkFault(FaultKind.UNREACHABLE, f"Redis at {self.where} cannot be reached: {reason}"))

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, []
        if outbox and self._transport is not None and not self.broken:
            # A few commits per session are under way at a time, so what the transport has to keep is bounded.
            self._transport.writelines(outbox)

    def _settle(self, reply: Any) -> None:
        future, _, hear = self._waiting.popleft()
        if future.done():
            return  # its caller was cancelled; the reply had to be taken all the same
        if isinstance(reply, hiredis.ReplyError):
            fault = fault_of(str(reply), self.where)
            self._fail(future, fault, hear)
            if str(reply).startswith("ERR Protocol error"):
                self.close()  # Redis reads no further and will hang up: let nobody post to it
            elif fault.kind in (FaultKind.READ_ONLY, FaultKind.PRIMARY_DOWN):
                self._break(fault)  # a primary that was demoted hangs up on nobody; look anew where the primary is
        else:
            future.set_result(reply)
            if hear is not None:
                hear(future)

    def _check_oldest(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        deadline = self._waiting[0][1]
        left = deadline - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._check_oldest)
            return
        detail = f"Redis at {self.where} has not answered for {self._timeout_seconds:g} s - is it busy or hung?"
        self._break(SinkFault(FaultKind.TIMEOUT, detail))

    def _break(self, fault: SinkFault) -> None:
        self.broken = True
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        for future, _, hear in waiting:
            if not future.done():
                self._fail(future, SinkFault(fault.kind, fault.detail), hear)

    def _fail(self, future: asyncio.Future[Any], fault: SinkFault, hear: Hear | None) -> None:
        future.set_exception(fault)
        if hear is not None:
            self._loop.call_soon(hear, future)


def _copy(told: asyncio.Future[Any], shared: asyncio.Future[Any]) -> None:
    if fault := told.exception():
        shared.set_exception(fault)
    else:
        shared.set_result(told.result())
