"""An HTTP proxy of ours on loopback: CONNECT tunnels, plain requests, names that only it can resolve, credentials."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support.fakes import HOST, listening

__all__ = ["HttpProxy", "http_proxy"]


@dataclass
class HttpProxy:
    """``hosts`` are the ports on loopback of the names that it knows; ``refuse_with`` answers in place of a tunnel."""

    hosts: Mapping[str, int]
    credentials: str | None = None  # "user:password"
    refuse_with: bytes | None = None
    heads: list[bytes] = field(default_factory=list)  # of all requests that came
    port: int = 0

    @property
    def url(self) -> str:
        """Its address, without credentials."""
        return f"http://{HOST}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        method, target, _ = head.split(b"\r\n", 1)[0].split(b" ", 2)
        if self.credentials is not None and not self._authorized(head):
            writer.write(_answer(407, 'Proxy-Authenticate: Basic realm="ours"\r\n'))
            return
        if self.refuse_with is not None:
            writer.write(self.refuse_with)
            return
        tunnel = method == b"CONNECT"
        where = urlsplit(f"//{target.decode()}" if tunnel else target.decode())
        port = self.hosts.get(where.hostname or "")
        if port is None:
            writer.write(_answer(502, "X-Error: unknown host\r\n"))
            return
        far_reader, far_writer = await asyncio.open_connection(HOST, port)
        try:
            if tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\nProxy-Agent: ours\r\n\r\n")
            else:
                far_writer.write(_in_origin_form(head))
            there = asyncio.create_task(_pass(reader, far_writer))
            back = asyncio.create_task(_pass(far_reader, writer))
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            for task in (there, back):
                task.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
        finally:
            far_writer.transport.abort()

    def _authorized(self, head: bytes) -> bool:
        assert self.credentials is not None
        wanted = b"Basic " + base64.b64encode(self.credentials.encode())
        fields = (line.partition(b": ") for line in head.split(b"\r\n")[1:])
        return any(name.lower() == b"proxy-authorization" and value == wanted for name, _, value in fields)


def _in_origin_form(head: bytes) -> bytes:
    first, rest = head.split(b"\r\n", 1)
    method, target, version = first.split(b" ", 2)
    parts = urlsplit(target.decode())
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    kept = [line for line in rest.split(b"\r\n") if not line.lower().startswith(b"proxy-")]
    return b" ".join((method, path.encode(), version)) + b"\r\n" + b"\r\n".join(kept)


def _answer(status: int, headers: str) -> bytes:
    return f"HTTP/1.1 {status} Told\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()


@asynccontextmanager
async def http_proxy(credentials: str | None = None, **hosts: int) -> AsyncIterator[HttpProxy]:
    """A running one. An underscore in a host's name stands for a dot."""
    proxy = HttpProxy({name.replace("_", "."): port for name, port in hosts.items()}, credentials)
    async with listening(proxy.serve) as proxy.port:
        yield proxy
