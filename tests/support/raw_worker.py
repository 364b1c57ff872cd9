"""A worker as a process with streams and limits of the caller's choice; `tests.support.worker` is the usual one."""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.support.worker import FAST, ROOT, python_environment

__all__ = ["free_port", "raw_worker", "serves"]


def free_port() -> int:
    """One of this machine's."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@asynccontextmanager
async def raw_worker(settings: Mapping[str, object], *before: str, **streams: Any) -> AsyncIterator[Process]:
    """``before``: a program that starts it. Killed at the end, where it still runs."""
    merged = {**FAST, **settings}
    own = {f"BRIDGE_{path.replace('.', '__').upper()}": str(value) for path, value in merged.items()}
    process = await asyncio.create_subprocess_exec(
        *before, sys.executable, "-m", "bridge", "run", env={**python_environment(), **own}, cwd=ROOT, **streams
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def serves(port: int, path: str) -> bool:
    """Whether it answers 200."""
    timeout = aiohttp.ClientTimeout(total=10)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False
