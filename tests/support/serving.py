"""Readers of `lens-bridge serve`, and the process itself, to be killed, stopped and asked how it feels."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import aiohttp

from bridge.model.records import ServerSentEvent
from bridge.source.sse import Decoder
from tests.support.worker import ROOT, python_environment, until

__all__ = ["Served", "Subscriber", "narrow"]

_CHUNK_BYTES = 65536


class Subscriber:
    """A reader that resumes as an EventSource does: it sends the last id, whatever brought it.

    ``seen`` are the events of all its connections; ``holes`` what it was told of.
    """

    def __init__(
        self, url: str, parameters: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.url = url
        self.parameters = dict(parameters or {})
        self.headers = dict(headers or {})
        self.last_event_id = ""
        self.seen: list[ServerSentEvent] = []
        self.connects = 0
        self.status: int | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def entries(self) -> list[dict[str, str]]:
        """What came as entries, in order."""
        return [json.loads(event.data) for event in self.seen if event.event == "message"]

    @property
    def seqs(self) -> list[int]:
        """The numbers of the entries."""
        return [int(entry["seq"]) for entry in self.entries]

    @property
    def last_seq(self) -> int:
        """The number of the last entry; 0 before the first."""
        for event in reversed(self.seen):
            if event.event == "message":
                return int(json.loads(event.data)["seq"])
        return 0

    @property
    def holes(self) -> list[dict[str, str]]:
        """What may be missing, as it was told."""
        return [json.loads(event.data) for event in self.seen if event.event == "bridge.hole"]

    async def read(self, most_bytes: int | None = None, *, enough: Callable[[], bool] = lambda: False) -> None:
        """One connection: until the server ends it, so many bytes have come, or it is enough; then it is dropped."""
        decoder = Decoder(last_event_id=self.last_event_id)
        headers = {"Last-Event-ID": self.last_event_id} if self.last_event_id else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        left = most_bytes
        async with aiohttp.ClientSession(timeout=timeout) as http:
            answer = await http.get(self.url, params=self.parameters, headers={**self.headers, **headers})
            try:
                self.status = answer.status
                answer.raise_for_status()
                self.connects += 1
                while (left is None or left > 0) and not enough():
                    chunk = await answer.content.read(_CHUNK_BYTES if left is None else min(left, _CHUNK_BYTES))
                    if not chunk:
                        return
                    left = None if left is None else left - len(chunk)
                    self.seen += decoder.feed(chunk)
                    self.last_event_id = decoder.last_event_id
            finally:
                answer.close()

    async def follow(self, wait_seconds: float = 0.02) -> None:
        """Connect again and again, as a browser does."""
        while True:
            with suppress(aiohttp.ClientError, OSError):
                await self.read()
            await asyncio.sleep(wait_seconds)

    def start(self) -> Self:
        """Follow in the background."""
        self._task = asyncio.create_task(self.follow())
        return self

    async def connected(self) -> Self:
        """Until a place is known: what comes from now on cannot be missed."""
        await until(lambda: bool(self.last_event_id) or (self.status or 0) >= 400, "the reader is told its place")
        assert self.last_event_id, self.status
        return self

    async def close(self) -> None:
        """Leave."""
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})


async def narrow(port: int, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request over a connection that takes little at a time: what is not read soon holds up who sends it."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=made, limit=16 * 1024)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return reader, writer


class Served:
    """``python -m bridge serve``. ``settings`` has dotted paths."""

    def __init__(self, log: Path, settings: Mapping[str, object]) -> None:
        self.log = log
        fast = {
            "admin.host": "127.0.0.1",
            "serve.port": 0,
            "serve.admin_port": 0,
            "serve.heartbeat_seconds": 1,
            "serve.retry_seconds": 0.1,
            "redis.timeout_seconds": 2,
            "redis.connect_timeout_seconds": 1,
            "log.format": "json",
        }
        own = {f"BRIDGE_{path.replace('.', '__').upper()}": str(value) for path, value in {**fast, **settings}.items()}
        self.environment = {**python_environment(), **own}
        self._process: Process | None = None
        self._begin = 0
        self.port = self.admin_port = 0

    @property
    def url(self) -> str:
        """Of the streams."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None, "it was never started"
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.returncode if self._process else None

    async def start(self) -> Self:
        """Start, and listen on the same ports as before."""
        with self.log.open("ab") as log:
            self._begin = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bridge", "serve", stdout=log, stderr=log, env=self.environment, cwd=ROOT
            )
        process = self._process
        await until(lambda: bool(self.said("serve.opened")) or process.returncode is not None, "it listens")
        assert process.returncode is None, self.log.read_text()
        opened = self.said("serve.opened")[0]
        self.port, self.admin_port = opened["port"], opened["admin_port"]
        self.environment |= {"BRIDGE_SERVE__PORT": str(self.port), "BRIDGE_SERVE__ADMIN_PORT": str(self.admin_port)}
        return self

    async def kill(self) -> None:
        """SIGKILL."""
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def terminate(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None, "it was never started"
        self._process.terminate()
        async with asyncio.timeout(60):
            return await self._process.wait()

    def said(self, event: str) -> list[dict[str, Any]]:
        """The log lines about ``event`` since the last start."""
        with self.log.open("rb") as log:
            log.seek(self._begin)
            whole, _, _ = log.read().rpartition(b"\n")
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]
        return [line for line in lines if line.get("event") == event]

    async def get(self, path: str, port: int | None = None, **headers: str) -> tuple[int, str]:
        """Status and body of what ends by itself; of probes and metrics where no port is named."""
        url = f"http://127.0.0.1:{port or self.admin_port}{path}"
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url, headers=headers) as answer:
            return answer.status, await answer.text()

    async def ready(self) -> bool:
        """Whether /readyz says so."""
        return (await self.get("/readyz"))[0] == 200

    def resident_bytes(self) -> int:
        """How much memory it occupies (RSS)."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * 4096
