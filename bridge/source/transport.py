"""What the source's connections are made of: an HTTP client, TLS, sockets.

httpx's API over aiohttp's transport, chosen by measurement: where each event is an HTTP chunk of its own, h11 reads
a fifth of the chunks per second that aiohttp's C parser reads (`make bench ARGS="--only transport"`). HTTP/1.1 only:
one HTTP/2 GOAWAY would end every session's stream at once.

What an event stream does not need is left out: aiohttp keeps account of where each HTTP chunk ends, which costs more
per chunk than its parser, and httpx-aiohttp hands out 16 KiB at a time. With each event in a chunk of its own, that was
a quarter of all work on an event.
"""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import httpx
from aiohttp.streams import StreamReader
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream, map_aiohttp_exceptions

from bridge.errors import ConfigurationError
from bridge.settings import SourceSettings
from bridge.source.proxies import ProxyChoice

__all__ = ["open_client"]

_MAX_HEADER_BYTES = 64 * 1024
"""Of one line of an answer's header. Proxies add policies and cookies of more than the 8 KiB that aiohttp allows."""


def open_client(settings: SourceSettings, proxy: ProxyChoice | None = None) -> httpx.AsyncClient:
    """A client for as many streams as there are sessions; to be closed. Raises ConfigurationError for a bad CA file."""
    tls = _tls_context(settings, proxy)
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


def _tls_context(settings: SourceSettings, proxy: ProxyChoice | None) -> ssl.SSLContext:
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
        """As there."""
        response = await super().handle_async_request(request)
        if isinstance(response.stream, AiohttpResponseStream):
            response.stream = _Body(response.stream._aiohttp_response)
        return response


class _Body(AiohttpResponseStream):
    """All that has come, at once."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content, connection = self._aiohttp_response.content, self._aiohttp_response.connection
        if connection is not None and connection.protocol is not None:
            # It would make a timer for each piece that comes; those who read have deadlines of their own.
            connection.protocol.read_timeout = None
        if type(content) is StreamReader:
            content.__class__ = _Bytes  # neither has fields of its own; from here on chunk ends are no longer kept
        with map_aiohttp_exceptions():
            while piece := await content.readany():
                yield piece


class _Bytes(StreamReader):
    """aiohttp's reader without an account of chunks."""

    __slots__ = ()

    def begin_http_chunk_receiving(self) -> None:
        """Nothing is kept of it."""

    def end_http_chunk_receiving(self) -> None:
        """Nothing is kept of it."""

    def _read_nowait(self, n: int) -> bytes:
        if n != -1 or self._buffer_offset:
            return super()._read_nowait(n)
        piece = b"".join(self._buffer)
        self._buffer.clear()
        self._size = 0
        self._cursor += len(piece)
        self._protocol.resume_reading()
        return piece
