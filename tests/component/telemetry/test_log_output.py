"""A worker whose output nobody takes: it works, answers and stops as ever."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from asyncio.subprocess import Process

import pytest

from bridge.lab.redis_server import RedisServer
from tests.support.raw_worker import free_port, raw_worker, serves
from tests.support.worker import until

STREAMS_CLOSED = ("sh", "-c", 'exec "$@" >&- 2>&- <&-', "sh")


@pytest.fixture
def settings(redis_server: RedisServer) -> dict[str, object]:
    """A source that can't be reached gives it much to say."""
    return {
        "admin.port": free_port(),
        "log.level": "debug",
        "redis.url": redis_server.url,
        "sessions": "camera-1=lsn-1",
        "source.base_url": "http://127.0.0.1:1/v0.5",
    }


async def works_and_stops(process: Process, settings: dict[str, object]) -> None:
    """Both probes answer, and SIGTERM ends it."""
    port = int(str(settings["admin.port"]))
    await until(lambda: serves(port, "/livez"), "/livez answers")
    await until(lambda: serves(port, "/readyz"), "/readyz answers")
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(60):
        assert await process.wait() == 0


async def test_a_standard_error_that_nobody_reads_holds_nothing_up(settings: dict[str, object]) -> None:
    """The smallest pipe, full before the first line."""
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    os.write(write_end, b"x" * 4096)
    try:
        async with raw_worker(settings, stderr=write_end, stdout=write_end) as process:
            await works_and_stops(process, settings)
    finally:
        os.close(read_end)
        os.close(write_end)


async def test_streams_that_are_full_at_start_hold_nothing_up(settings: dict[str, object]) -> None:
    """As on a disk without room."""
    with open("/dev/full", "wb") as full:  # noqa: ASYNC230  a device
        async with raw_worker(settings, stderr=full, stdout=full) as process:
            await works_and_stops(process, settings)


async def test_streams_that_are_closed_at_start_hold_nothing_up(settings: dict[str, object]) -> None:
    """And no socket gets the number of standard error."""
    async with raw_worker(settings, *STREAMS_CLOSED) as process:
        await until(lambda: serves(int(str(settings["admin.port"])), "/livez"), "/livez answers")
        opened = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
        assert opened == ["/dev/null"] * 3
        await works_and_stops(process, settings)
