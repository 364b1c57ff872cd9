"""Writing to one reader: never more than it takes."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from aiohttp import web

from bridge.serve.figures import StreamFigures

__all__ = ["Sender", "SlowReaderError"]

_SLICE_BYTES = 16 * 1024  # aiohttp waits for the socket after each 64 KiB: so much and one slice may wait here
_KERNEL_BYTES = 256 * 1024  # of a connection; by itself the kernel would keep some MiB for a reader that does not read


class SlowReaderError(Exception):
    """It took nothing for too long, and its connection is closed."""


class Sender:
    """Writes slice by slice. About 80 KiB may wait in this process; then it waits for the reader."""

    def __init__(
        self, request: web.Request, response: web.StreamResponse, timeout_seconds: float, figures: StreamFigures
    ) -> None:
        self._response = response
        self._transport = request.transport
        self._timeout_seconds = timeout_seconds
        self._figures = figures
        self._limit_buffers()

    async def send(self, data: bytes) -> None:
        """Raises SlowReaderError, and ConnectionError where the reader has gone."""
        for start in range(0, len(data), _SLICE_BYTES):
            part = data[start : start + _SLICE_BYTES]
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    await self._response.write(part)
            except TimeoutError:
                if self._transport:
                    self._transport.abort()
                raise SlowReaderError from None
            self._figures.bytes += len(part)

    def _limit_buffers(self) -> None:
        if not isinstance(self._transport, asyncio.Transport):
            return  # it has gone already
        self._transport.set_write_buffer_limits(high=_SLICE_BYTES)
        opened: socket.socket = self._transport.get_extra_info("socket")
        with suppress(OSError):
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BYTES)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # a reader that vanished, and to which little is sent
                milliseconds = int(self._timeout_seconds * 2000)  # later than our own, which knows why
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
