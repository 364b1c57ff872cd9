"""What the source's connections are made of: an HTTP client, TLS, sockets.

httpx's API over aiohttp's transport, chosen by measurement: where each event is an HTTP chunk of its own, h11 reads
a fifth of the chunks per second that aiohttp's C parser reads (`make bench ARGS="--only transport"`). HTTP/1.1 only:
one HTTP/2 GOAWAY would end every session's stream at once.

What an event stream does not need is left out: aiohttp keeps account of where each HTTP chunk ends, which costs more
per chunk than its parser, and httpx-aiohttp hands out 16 KiB at a time. With each event in a chunk of its own, that was
a quarter of all work on an event.
"""

from __future__ import annotations

import asyncio
import base64
import math
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, cast

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream, map_aiohttp_exceptions

from bridge.errors import ConfigurationError
from bridge.settings import SourceSettings
from bridge.source.proxies import ProxyChoice

__all__ = ["BODY", "Body", "open_client", "tls_context"]

BODY = "body"
"""The extension of a response that has its `Body`."""

_MAX_HEADER_BYTES = 64 * 1024
"""Of one line of an answer's header. Proxies add policies and cookies of more than the 8 KiB that aiohttp allows."""


_LEAST_AT_ONCE_BYTES, _MOST_AT_ONCE_BYTES = 64 * 1024, 1024 * 1024
"""How much is read from a socket at once: four times as much after a read that was filled, the least again after one
that brought little, since a read takes memory for as much first. With events of 64 KB the most saves the worker a tenth
of its time over asyncio's own 256 KiB."""


def open_client(settings: SourceSettings, proxy: ProxyChoice | None = None) -> httpx.AsyncClient:
    """A client for as many streams as there are sessions; to be closed. Raises ConfigurationError for a bad CA file."""
    tls = tls_context(settings, proxy)
    timeout = httpx.Timeout(
        connect=settings.connect_timeout_seconds,
        read=settings.idle_timeout_seconds,
        write=settings.connect_timeout_seconds,
        pool=settings.connect_timeout_seconds,  # aiohttp counts name resolution here
    )
    authorization = _authorization(proxy)
    through = httpx.Proxy(proxy.address, headers=authorization) if proxy else None
    # The variables of the environment are read by `bridge.source.proxies`: each library has rules of its own for them.
    transport = _Transport(verify=tls, trust_env=False, client=_session_factory(tls), proxy=through)
    tunnel = settings.base_url.startswith("https:")  # where there is none, a proxy finds them on the request itself
    headers = {} if tunnel else authorization
    return httpx.AsyncClient(
        transport=transport, timeout=timeout, trust_env=False, follow_redirects=False, headers=headers
    )


def _authorization(proxy: ProxyChoice | None) -> dict[str, str]:
    if proxy is None or proxy.credentials is None:
        return {}
    encoded = base64.b64encode(":".join(proxy.credentials).encode()).decode()  # in UTF-8 (RFC 7617)
    return {"Proxy-Authorization": f"Basic {encoded}"}


def tls_context(settings: SourceSettings, proxy: ProxyChoice | None) -> ssl.SSLContext:
    """What is trusted on the way to the API. Raises ConfigurationError for a bad CA file."""
    spoken = (settings.base_url, proxy.address if proxy else "")
    if not any(address.startswith("https:") for address in spoken):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used: without the 140 authorities that cost 1 MiB
    if settings.ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=str(settings.ca_file))
    except OSError as error:
        raise ConfigurationError(f"source.ca_file {settings.ca_file} (BRIDGE_SOURCE__CA_FILE): {error}") from error


def _session_factory(tls: ssl.SSLContext) -> Callable[[], aiohttp.ClientSession]:
    def make() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=tls,
            limit=0,  # the lease share says how many sessions there are, not the pool
            force_close=True,  # a stream ends with its connection
            socket_factory=_keepalive_socket,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
        )

    return make


def _keepalive_socket(address: Any) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


class _Transport(AiohttpTransport):
    """httpx-aiohttp's own but for how a body is read."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As there. The body is among the response's extensions: it can do more than httpx asks of one."""
        response = await super().handle_async_request(request)
        if isinstance(response.stream, AiohttpResponseStream):
            response.stream = response.extensions[BODY] = Body(response.stream._aiohttp_response)
        return response


class Body(AiohttpResponseStream):
    """A response's body: all that has come at once, or each piece in the very step of the loop in which it comes."""

    _tap: _Tap | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content, connection = self._aiohttp_response.content, self._aiohttp_response.connection
        if type(content) is StreamReader and connection is not None and connection.protocol is not None:
            self._tap = _Tap(content, connection.protocol)
        with map_aiohttp_exceptions():
            while piece := await content.readany():
                yield piece

    async def flow(self, sink: Callable[[bytes], bool]) -> None:
        """Give ``sink`` each piece as it comes, without a task's turn in between, until it returns False.

        Returns then, at once where pieces cannot be had so, and when the stream has come to an end, which to read is
        left to the iterator. Raises what ``sink`` raises.
        """
        if self._tap is not None:
            await self._tap.flow(sink)


class _Tap(asyncio.Protocol):
    """Stands between a connection and aiohttp's protocol: when that one has parsed what came, it is already all there.

    So whoever reads is woken once for what was read from the socket at once, and not for each chunk in it; or not woken
    at all, where a sink takes it.
    """

    def __init__(self, content: StreamReader, protocol: ResponseHandler) -> None:
        # It would make a timer for each piece that comes; those who read have deadlines of their own.
        protocol.read_timeout = None
        content.__class__ = _Bytes  # neither has fields of its own
        self._content = cast("_Bytes", content)
        self._protocol = protocol
        self._sink: Callable[[bytes], bool] | None = None
        self._crash: Exception | None = None
        self._at_once_bytes: float = math.inf  # where the transport lets us choose: asyncio's own, without TLS
        if (transport := protocol.transport) is not None:
            if hasattr(transport, "max_size"):
                self._read_at_once(_LEAST_AT_ONCE_BYTES)
            transport.set_protocol(self)

    async def flow(self, sink: Callable[[bytes], bool]) -> None:
        """See `Body.flow`."""
        self._sink = sink
        try:
            self._pour()
            if self._sink is not None and self._content.open and self._protocol.connected:
                # It is woken as a reader would be who finds nothing: at the end, by a fault, or by us.
                with suppress(Exception):  # what went wrong is told to whoever reads next
                    await self._content.wait()
        finally:
            self._sink = None
        if (crash := self._crash) is not None:
            self._crash = None
            raise crash

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)
        size = len(data)
        if size >= self._at_once_bytes:
            self._read_at_once(min(4 * size, _MOST_AT_ONCE_BYTES))
        elif size < _LEAST_AT_ONCE_BYTES < self._at_once_bytes < math.inf:
            self._read_at_once(_LEAST_AT_ONCE_BYTES)
        if self._sink is not None:
            self._pour()
        elif self._content.filled:
            self._content.wake()
        self._content.hold_back()

    def _read_at_once(self, size_bytes: int) -> None:
        if (transport := self._protocol.transport) is not None:
            self._at_once_bytes = transport.max_size = size_bytes  # type: ignore[attr-defined]  # it is there

    def _pour(self) -> None:
        while self._sink is not None and (piece := self._content.take()):
            try:
                goes_on = self._sink(piece)
            except Exception as error:  # here it would pass for a fault of the connection
                self._crash, goes_on = error, False
            if not goes_on:
                self._sink = None
                self._content.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
        if self._content.open:  # aiohttp says nothing to who reads where it could not parse what came
            self._content.set_exception(aiohttp.ClientPayloadError("what came is no HTTP body"))

    def eof_received(self) -> None:
        self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


class _Bytes(StreamReader):
    """aiohttp's reader without an account of chunks, which leaves it to others to wake who waits, and to pause."""

    __slots__ = ()

    @property
    def filled(self) -> bool:
        """There is something to take."""
        return bool(self._buffer)

    @property
    def open(self) -> bool:
        """More may come."""
        return not self._eof and self._exception is None

    def begin_http_chunk_receiving(self) -> None:
        """Nothing is kept of it."""

    def end_http_chunk_receiving(self) -> None:
        """Nothing is kept of it."""

    def feed_data(self, data: bytes, size: int = 0) -> bool:
        """Keep it."""
        if data:
            self._size += len(data)
            self._buffer.append(data)
        return False

    def hold_back(self) -> None:
        """Pause where there is too much that nobody takes."""
        if self._size > self._high_water and not self._protocol._reading_paused:
            self._protocol.pause_reading()

    def take(self) -> bytes:
        """All that is there."""
        buffer = self._buffer
        piece = buffer.popleft() if len(buffer) == 1 else b"".join(buffer)
        buffer.clear()
        self._size = 0
        if self._protocol._reading_paused:
            self._protocol.resume_reading()  # which may bring more
        return piece

    async def wait(self) -> None:
        """Until there is something to be read, an end or a fault among it, or somebody calls `wake`."""
        await self._wait("flow")

    def wake(self) -> None:
        """End the wait of whoever waits."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _read_nowait(self, n: int) -> bytes:
        return self.take() if n == -1 and not self._buffer_offset else super()._read_nowait(n)
