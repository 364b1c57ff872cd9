"""A TCP proxy that stands between a worker and what it talks to, and does what networks do."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

__all__ = ["Proxy"]

CHUNK_BYTES = 65536


class Proxy:
    """Forwards bytes to ``host:port``, as an async context manager. Answers go the other way unless told otherwise."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.delay_seconds = 0.0  # of each piece of an answer
        self.connections = 0  # ever made
        self.swallowed = 0  # answers that were thrown away
        self.target_port = port  # of connections from now on
        self._host = host
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._swallow: bytes | None = None

    @property
    def port(self) -> int:
        """Where it listens on loopback."""
        assert self._server is not None, "use it as an async context manager"
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await asyncio.sleep(0)  # a connection that was just accepted begins, or nobody would close it
        self.cut()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> int:
        """Reset every open connection; returns how many there were."""
        links = list(self._links)
        for link in links:
            link.abort()
        return len(links)

    def swallow_answer_to(self, request: bytes) -> None:
        """Once: let the next request that holds these bytes through, throw its answer away, cut the connection."""
        self._swallow = request

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection(self._host, self.target_port)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
            return
        link = _Link(writer, far_writer)
        self._links.add(link)
        try:
            there = asyncio.create_task(self._requests(reader, far_writer, link))
            back = asyncio.create_task(self._answers(far_reader, writer, link))
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            for task in (there, back):
                task.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
        finally:
            self._links.discard(link)
            link.abort()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                if self._swallow is not None and self._swallow in chunk:
                    self._swallow, link.doomed = None, True
                writer.write(chunk)
                await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                if link.doomed:
                    self.swallowed += 1
                    return
                writer.write(chunk)
                await writer.drain()


class _Link:
    """One connection and the one behind it."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.doomed = False
        self._writers = (near, far)

    def abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
