"""Real processes for measurements at a thousand sessions: Redis, a source, workers with the settings of production."""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.model.keys import SessionKeys, session_keys
from bridge.model.place import Session
from tests.support.worker import FAST, ROOT, Worker, python_environment

__all__ = ["Fleet", "Silence", "cpu_seconds", "fleet_of", "percentile"]

_PATIENCE_SECONDS = 300.0
_PAGE = 500


class Silence(NamedTuple):
    """What one session met in a stretch of time, in seconds.

    ``unread``: the longest time in which nobody read it, as the source saw it. ``between``: the longest time between
    two of its entries in Redis, of which one interval is the source's own. ``late``: the longest time from when an
    event was due to its entry.
    """

    unread: float
    between: float
    late: float


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which ``part`` (0 to 1) of them are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)))] if ordered else math.nan


class Fleet:
    """Made by `fleet_of`, which ends what was started. ``code`` is the directory whose `bridge` the workers run."""

    def __init__(
        self, redis: RedisServer, port: int, names: Sequence[str], interval_seconds: float, directory: Path, code: Path
    ) -> None:
        self.redis = redis
        self.interval_seconds = interval_seconds
        self.names = names
        self.workers: list[Worker] = []
        self._port = port
        self._directory = directory
        self._code = code
        self.client = Redis.from_url(redis.url)
        self._keys = {name: session_keys("lens:{<name>}:events", Session(name=name, session_id=name)) for name in names}

    def keys(self, name: str) -> SessionKeys:
        """Of a session."""
        return self._keys[name]

    async def worker(self, settings: Mapping[str, object] | None = None) -> Worker:
        """One more, with every default of production but for addresses; started."""
        number = len(self.workers) + 1
        own: dict[str, object] = dict.fromkeys(FAST) | {
            "source.api_key": "benchmark-key",
            "source.base_url": f"http://127.0.0.1:{self._port}/v0.5",
            "redis.url": self.redis.url,
            "sessions": ",".join(self.names),
            "worker.id": f"worker-{number}",
            "admin.host": "127.0.0.1",
            "admin.port": 0,
            "log.format": "json",
        }
        own |= settings or {}
        made = Worker(self._directory / f"worker-{number}.log", own, code=self._code)
        self.workers.append(made)
        return await made.start()

    async def settled(self, owners: int, quiet_seconds: float = 3.0) -> None:
        """Until ``owners`` workers hold even shares, and every session has had one reader for ``quiet_seconds``."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        since: float | None = None
        while since is None or time.monotonic() - since < quiet_seconds:
            even = await self._even(owners)
            since = (since or time.monotonic()) if even else None
            assert time.monotonic() < deadline, f"not settled on {owners} workers: {await self.owners()}"
            await asyncio.sleep(0.5)

    async def owners(self) -> Counter[str]:
        """How many sessions each worker has the lease of."""
        found: list[Any] = []
        for at in range(0, len(self.names), _PAGE):
            keys = [self._keys[name].lease for name in self.names[at : at + _PAGE]]
            found += await self.client.mget(keys)
        return Counter(one.decode().partition("/")[0] if one else "nobody" for one in found)

    async def readers(self, since: float) -> dict[str, tuple[float, int, int]]:
        """Longest time unread since then, readers now, connections so far, as the source saw them."""
        url = f"http://127.0.0.1:{self._port}/readers?since={since}"
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            rows: dict[str, tuple[float, int, int]] = json.loads(await response.text())
        return {name: rows.get(name, (math.inf, 0, 0)) for name in self.names}

    async def delays(self, since: float) -> list[float]:
        """How late each entry of all sessions came that was made since then, in seconds from when it was due."""
        begin_ms = int((since + time.time() - time.monotonic()) * 1000)
        found: list[float] = []
        for at in range(0, len(self.names), _PAGE):
            async with self.client.pipeline(transaction=False) as pipeline:
                for name in self.names[at : at + _PAGE]:
                    pipeline.xrange(self._keys[name].events, f"{begin_ms}-0")
                for entries in await pipeline.execute():
                    for entry_id, fields in entries:
                        due = json.loads(fields[b"data"])["due"]
                        found.append(int(entry_id.partition(b"-")[0]) / 1000 - due)
        return found

    async def silences(self, since: float) -> list[Silence]:
        """Of every session from ``since`` (monotonic seconds) to now; also checks that nothing is lost or twice."""
        readers = await self.readers(since)
        begin_ms = int((since + time.time() - time.monotonic()) * 1000)
        found = []
        for at in range(0, len(self.names), _PAGE):
            page = self.names[at : at + _PAGE]
            async with self.client.pipeline(transaction=False) as pipeline:
                for name in page:
                    pipeline.xrange(self._keys[name].events, f"{begin_ms - 2000}-0")
                answers = await pipeline.execute()
            now_ms = time.time() * 1000
            for name, entries in zip(page, answers, strict=True):
                between, late = _judged(name, entries, begin_ms, now_ms)
                found.append(Silence(unread=readers[name][0], between=between, late=late))
        return found

    async def _even(self, owners: int) -> bool:
        held = await self.owners()
        if "nobody" in held or len(held) != owners or max(held.values()) > math.ceil(len(self.names) / owners):
            return False
        return all(now == 1 for _, now, _ in (await self.readers(time.monotonic())).values())


def _judged(name: str, entries: Sequence[Any], begin_ms: int, now_ms: float) -> tuple[float, float]:
    between = late = 0.0
    before: tuple[float, int] | None = None
    for entry_id, fields in entries:
        at_ms = int(entry_id.partition(b"-")[0])
        event = json.loads(fields[b"data"])
        if before is not None:
            assert event["n"] == before[1] + 1, f"{name}: event {event['n']} behind {before[1]}"
            if at_ms >= begin_ms:
                between = max(between, at_ms - before[0])
        if at_ms >= begin_ms:
            late = max(late, at_ms / 1000 - event["due"])
        before = at_ms, event["n"]
    if before is None:
        return math.inf, math.inf
    return max(between, now_ms - before[0]) / 1000, late


@asynccontextmanager
async def fleet_of(sessions: int, interval_seconds: float, code: Path = ROOT) -> AsyncIterator[Fleet]:
    """A Redis and a source of so many sessions, with an event each ``interval_seconds``; no worker yet."""
    names = [f"lsn-{number:05d}" for number in range(sessions)]
    command = [sys.executable, "-m", "tests.benchmarks.fleet_source", str(interval_seconds)]
    with tempfile.TemporaryDirectory(prefix="lens-bridge-fleet-") as directory:
        source = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, env=python_environment(), cwd=ROOT
        )
        try:
            assert source.stdout is not None
            port = int(await source.stdout.readline())
            async with RedisServer(appendonly=True, arguments=("--appendfsync", "everysec")) as redis:
                fleet = Fleet(redis, port, names, interval_seconds, Path(directory), code)
                try:
                    yield fleet
                finally:
                    await asyncio.gather(*(worker.kill() for worker in fleet.workers))
                    await fleet.client.aclose()
        finally:
            source.kill()
            await source.wait()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
