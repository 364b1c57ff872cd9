"""A plain HTTP/1.1 reader over a raw socket: it sees chunk borders and how a connection ends, which clients hide."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from bridge.lab.simulator import Simulator

DEADLINE_SECONDS = 10.0


class Block(NamedTuple):
    """What stood between two blank lines."""

    id: str | None
    event: str | None
    data: bytes
    comment: str | None

    @property
    def body(self) -> dict[str, Any]:
        """The data as JSON."""
        body: dict[str, Any] = msgspec.json.decode(self.data)
        return body

    @property
    def type(self) -> str | None:
        """The JSON's type, None for a comment."""
        return str(self.body["type"]) if self.data else None


@dataclass
class Reading:
    """One response. ``ended`` is None, `clean` (last chunk came), `cut` (it did not) or `reset`."""

    status: int
    headers: dict[str, str]
    stream: asyncio.StreamReader
    line_end: bytes = b"\n"
    chunks: list[bytes] = field(default_factory=list)
    ended: str | None = None
    _rest: bytes = b""

    async def chunk(self) -> bytes | None:
        """The next HTTP chunk, or None at the end."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                size = int(await self.stream.readuntil(b"\r\n"), 16)
                payload = (await self.stream.readexactly(size + 2))[:-2]
        except asyncio.IncompleteReadError:
            self.ended = "cut"
            return None
        except ConnectionResetError:
            self.ended = "reset"
            return None
        if size == 0:
            self.ended = "clean"
            return None
        self.chunks.append(payload)
        return payload

    async def blocks(self, count: int | None = None) -> list[Block]:
        """The next ``count`` blocks, or all up to the end of the body; an incomplete one at the end is left out."""
        found: list[Block] = []
        while count is None or len(found) < count:
            raw, separator, rest = self._rest.partition(self.line_end * 2)
            if separator:
                self._rest = rest
                found.append(_block(raw, self.line_end))
                continue
            chunk = await self.chunk()
            if chunk is None:
                assert count is None, f"{self.ended} after {found}"
                return found
            self._rest += chunk
        return found

    async def events(self, count: int | None = None) -> list[Block]:
        """The same without start, heartbeat and end frames and without comments."""
        found: list[Block] = []
        while count is None or len(found) < count:
            blocks = await self.blocks(None if count is None else 1)
            found += [
                one for one in blocks if one.comment is None and not one.data.startswith(b'{"type": "sse.stream.')
            ]
            if count is None:
                break
        return found

    async def body(self) -> bytes:
        """The rest of a body that has a length."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.stream.readexactly(int(self.headers.get("content-length", "0")))


@asynccontextmanager
async def reading(
    simulator: Simulator,
    session_id: str,
    *,
    last_event_id: bytes | None = None,
    key: str = "simulated-key",
    headers: bytes = b"",
    line_end: bytes = b"\n",
) -> AsyncIterator[Reading]:
    """Connect to the consumer endpoint and read the response's head. ``headers`` are whole lines."""
    url = urlsplit(simulator.base_url)
    async with asyncio.timeout(DEADLINE_SECONDS):
        stream, writer = await asyncio.open_connection(url.hostname, url.port, limit=1 << 25)
    try:
        writer.write(
            f"GET {url.path}/lens/sessions/consumer/{session_id} HTTP/1.1\r\nHost: {url.netloc}\r\n"
            f"Authorization: Bearer {key}\r\nAccept: text/event-stream\r\n".encode()
            + (b"" if last_event_id is None else b"Last-Event-ID: " + last_event_id + b"\r\n")
            + headers
            + b"\r\n"
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            head = (await stream.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        status = int(head[0].split()[1])
        yield Reading(status, {name.lower(): value for name, value in pairs}, stream, line_end)
    finally:
        writer.close()


def _block(raw: bytes, line_end: bytes) -> Block:
    fields: dict[str, list[bytes]] = {}
    for line in raw.removeprefix("\ufeff".encode()).split(line_end):
        name, _, value = line.partition(b": ")
        fields.setdefault(name.decode(), []).append(value)

    def last(name: str) -> str | None:
        return fields[name][-1].decode() if name in fields else None

    return Block(last("id"), last("event"), b"\n".join(fields.get("data", [])), last(""))
