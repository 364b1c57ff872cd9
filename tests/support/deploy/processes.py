"""Servers of others that a test starts, waits for, and ends by their process id."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from asyncio.subprocess import Process
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.support.worker import until

__all__ = ["ServerProcess", "free_port", "get_json"]

_STOP_SECONDS = 10.0


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """An async context manager around one server that tells on ``ready_path`` when it is up."""

    def __init__(self, command: Sequence[str], port: int, ready_path: str, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self._command = command
        self._ready_path = ready_path
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        dying = [setpriv, "--pdeathsig", "KILL"] if (setpriv := shutil.which("setpriv")) else []
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(*dying, *self._command, stdout=log, stderr=log)
        try:
            await until(self._ready, f"{self._command[0]} is ready", timeout=20)
        except BaseException:
            await self._end()
            print(self.log.read_text(errors="replace")[-3000:])
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, f"{self._command[0]} has ended: {self.log.read_text(errors='replace')}"
        with contextlib.suppress(aiohttp.ClientError):
            async with aiohttp.ClientSession() as http, http.get(self.url + self._ready_path) as response:
                return response.status == 200
        return False

    async def _end(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def get_json(url: str, **parameters: str) -> Any:
    """The JSON of a page that must answer 200."""
    async with aiohttp.ClientSession() as http, http.get(url, params=parameters) as response:
        body = await response.text()
        assert response.status == 200, f"{url} {parameters}: {response.status} {body}"
        return await response.json()
