"""Servers that misbehave as a test says, on real sockets of loopback: for what a real server can't be made to do."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

DEADLINE_SECONDS = 60.0
HOST = "127.0.0.1"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def until(condition: Callable[[], object]) -> None:
    """Wait for what gives no signal."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.002)


@asynccontextmanager
async def listening(
    handler: Handler, tls: ssl.SSLContext | None = None, ahead_bytes: int = 1 << 25
) -> AsyncIterator[int]:
    """Serve each connection with ``handler``; gives the port. All connections end with it.

    ``ahead_bytes``: how much is read before anybody asks for it.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await handler(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, asyncio.CancelledError):
            writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, HOST, 0, limit=ahead_bytes, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0)  # a connection that was just accepted begins, or nobody would close it
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks)
        await asyncio.sleep(0)  # an aborted transport closes its socket in the next round of the loop


@dataclass
class Connection:
    """One client of the fake Redis: what it asked, and the means to answer."""

    writer: asyncio.StreamWriter
    commands: list[list[bytes]] = field(default_factory=list)

    def reply(self, raw: bytes) -> None:
        """Send these bytes."""
        self.writer.write(raw)

    async def asked(self, count: int) -> None:
        """Wait until so many commands have come."""
        await until(lambda: len(self.commands) >= count)


class FakeRedis:
    """Speaks RESP, logs whoever connects in, and answers nothing else but what the test sends."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.port = 0

    @property
    def url(self) -> str:
        """Its address, with a database number, so that each connection begins with SELECT."""
        return f"redis://{HOST}:{self.port}/0"

    async def connected(self, count: int = 1) -> Connection:
        """The newest connection, once there were so many."""
        await until(lambda: len(self.connections) >= count)
        return self.connections[count - 1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        connection = Connection(writer)
        self.connections.append(connection)
        while True:
            command = await read_command(reader)
            if command[0] in (b"SELECT", b"AUTH"):
                writer.write(b"+OK\r\n")
            else:
                connection.commands.append(command)


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    """The next one that a client of Redis sends."""
    count = int((await reader.readuntil(b"\r\n"))[1:])
    words = []
    for _ in range(count):
        size = int((await reader.readuntil(b"\r\n"))[1:])
        words.append((await reader.readexactly(size + 2))[:-2])
    return words


@asynccontextmanager
async def fake_redis() -> AsyncIterator[FakeRedis]:
    """A running one."""
    server = FakeRedis()
    async with listening(server.serve) as server.port:
        yield server


def answer(status: int, body: bytes = b"", content_type: str = "application/json", **headers: str) -> bytes:
    """A whole HTTP response. An underscore in a header's name stands for a hyphen."""
    lines = [f"HTTP/1.1 {status} Told", f"Content-Length: {len(body)}", "Connection: close"]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def stream_head(content_type: str = "text/event-stream", **headers: str) -> bytes:
    """The head of an event stream that goes on until the connection is closed."""
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {content_type}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


class FakeApi:
    """Gives each request the next answer, the last one again and again, and keeps what was asked.

    A connection stays open after its answer while ``hold`` is set, and what is fed then goes out at once.
    """

    def __init__(self, answers: Sequence[bytes], *, hold: bool = False) -> None:
        self.answers = list(answers)
        self.hold = hold
        self.requests: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0

    @property
    def base_url(self) -> str:
        """With a path, as the real one has."""
        return f"http://{HOST}:{self.port}/v0.5"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        self.writers.append(writer)
        writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        await writer.drain()
        if self.hold:
            await reader.read()  # until the client has gone

    def header(self, name: str, request: int = -1) -> bytes | None:
        """A header of a request as its bytes; None where it was not sent."""
        for line in self.requests[request].split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == name.lower().encode():
                return value.removeprefix(b" ")
        return None


@asynccontextmanager
async def fake_api(*answers: bytes, hold: bool = False) -> AsyncIterator[FakeApi]:
    """A running one."""
    api = FakeApi(answers, hold=hold)
    async with listening(api.serve) as api.port:
        yield api
