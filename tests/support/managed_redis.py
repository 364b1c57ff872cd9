"""A managed Redis service's limits in front of a real Redis: it counts the arguments and bytes of each request.

And one more: an event with `UNLOVED` in its data is refused for good, but for what sets it aside.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import hiredis

from tests.support.fakes import listening

__all__ = ["UNLOVED", "ManagedRedis", "managed_redis"]

UNLOVED = b"nobody-wants-this"

HOST = "127.0.0.1"


class ManagedRedis:
    """Refuses what is over its limits, passes on the rest, one request of a connection after the other.

    With ``hangs_up`` it reads no more of a request than its limit, says so and closes the connection.
    """

    def __init__(self, port: int, max_arguments: int, max_request_bytes: int, *, hangs_up: bool) -> None:
        self.max_arguments = max_arguments
        self.max_request_bytes = max_request_bytes
        self.hangs_up = hangs_up
        self.refused = 0
        self.lost = 0  # replies
        self.most_arguments = 0  # of a request, refused or not
        self.most_bytes = 0
        self.port = 0
        self._target_port = port
        self._lose_reply_to: bytes | None = None
        self._lose_after = 0

    @property
    def losing(self) -> bool:
        """A reply is still to be lost."""
        return self._lose_reply_to is not None

    @property
    def url(self) -> str:
        """Where to connect instead of to the real one."""
        return f"redis://{HOST}:{self.port}"

    def lose_reply_to(self, request: bytes, *, after: int = 0) -> None:
        """Once: carry out a request that holds these bytes, and cut the connection in the place of its reply.

        It is the next one, or the next but so many.
        """
        self._lose_reply_to, self._lose_after = request, after

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        far_reader, far_writer = await asyncio.open_connection(HOST, self._target_port)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    count, request = await _request(reader, self.max_request_bytes if self.hangs_up else None)
                    answer = self._refusal(count, request)
                    hangs_up = answer is not None and self.hangs_up
                    if answer is None:
                        far_writer.write(request)
                        answer = await _reply(far_reader)
                    if self._loses(request):
                        return
                    writer.write(answer)
                    await writer.drain()
                    if hangs_up:
                        writer.close()  # with the rest of the request unread, so the client sees a reset behind it
                        await writer.wait_closed()
                        return
        finally:
            for end in (writer, far_writer):
                end.transport.abort()

    def _loses(self, request: bytes) -> bool:
        if self._lose_reply_to is None or self._lose_reply_to not in request:
            return False
        self._lose_after -= 1
        if self._lose_after >= 0:
            return False
        self._lose_reply_to = None
        self.lost += 1
        return True

    def _refusal(self, count: int, request: bytes) -> bytes | None:
        self.most_arguments = max(self.most_arguments, count)
        self.most_bytes = max(self.most_bytes, len(request))
        if count > self.max_arguments:
            self.refused += 1
            return b"-ERR max number of arguments exceeded\r\n"
        if UNLOVED in request and b"$8\r\nrejected\r\n" not in request:
            self.refused += 1
            return b"-ERR in words that nobody knows\r\n"
        if len(request) > self.max_request_bytes:
            self.refused += 1
            return b"-ERR max request size exceeded. Limit: %d bytes, Actual: %d bytes\r\n" % (
                self.max_request_bytes,
                len(request),
            )
        return None


async def _request(reader: asyncio.StreamReader, max_bytes: int | None) -> tuple[int, bytes]:
    """The next one, or as much of it as is over ``max_bytes``, and of how many arguments it is."""
    head = await reader.readuntil(b"\n")
    count, parts = int(head[1:]), [head]
    size = len(head)
    for _ in range(count):
        length = await reader.readuntil(b"\n")
        left = int(length[1:]) + 2
        if max_bytes is not None and size + len(length) + left > max_bytes:
            parts += (length, await reader.readexactly(max(1, min(left, max_bytes + 1 - size))))
            break
        parts += (length, await reader.readexactly(left))
        size += len(length) + left
    return count, b"".join(parts)


async def _reply(reader: asyncio.StreamReader) -> bytes:
    parser, raw = hiredis.Reader(), b""
    while True:
        chunk = await reader.read(65536)
        if not chunk:
            raise ConnectionError("Redis has gone")
        raw += chunk
        parser.feed(chunk)
        if parser.gets() is not False:
            return raw


@asynccontextmanager
async def managed_redis(
    port: int, *, max_arguments: int = 3_999, max_request_bytes: int = 1_048_576, hangs_up: bool = False
) -> AsyncIterator[ManagedRedis]:
    """In front of the Redis at ``port``. The defaults are two services' published limits."""
    made = ManagedRedis(port, max_arguments, max_request_bytes, hangs_up=hangs_up)
    async with listening(made.serve, ahead_bytes=65_536) as made.port:
        yield made
