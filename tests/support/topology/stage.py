"""A worker between the simulated lens API and a topology, a consumer that follows all the time, and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from pydantic import SecretStr
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Profile, SimulatedSession, Simulator
from bridge.operations.redis_client import Client, open_client
from bridge.settings import RedisSettings
from bridge.verify.report import Report
from tests.soak.follower import Follower
from tests.support.worker import Worker, until
from tests.support.worker_rig import Rig, keys_of

__all__ = ["DEFAULTS", "Stage", "staged"]

EVENTS_AFTER = 20  # of each session, that must be committed once the worst is over

DEFAULTS: dict[str, Any] = {
    "redis__timeout_seconds": None,
    "redis__connect_timeout_seconds": None,
    "redis__backoff_max_seconds": None,
    "lease__ttl_seconds": 5,
}
"""What a worker waits for by default, where tests are hastier: silences are then those of production."""


class Topology(Protocol):
    """One or several servers behind one address."""

    @property
    def url(self) -> str:
        """What a worker is told."""

    @property
    def nodes(self) -> Sequence[RedisServer]:
        """Servers of data."""


class Stage:
    """Made by `staged`."""

    def __init__(self, rig: Rig, sessions: Sequence[SimulatedSession], follower: Follower, worker: Worker) -> None:
        self.rig = rig
        self.sessions = sessions
        self.follower = follower
        self.worker = worker
        self.own_seconds = 0.0  # until the servers took writes again

    @property
    def sent(self) -> int:
        """Events that the sources have emitted."""
        return sum(len(session.record) for session in self.sessions)

    async def flow(self, events: int = EVENTS_AFTER) -> None:
        """Until so many more events of each session are committed, whatever is away meanwhile."""
        goals = {session: len(session.record) + events for session in self.sessions}

        async def flows() -> bool:
            with suppress(RedisError, OSError):
                if isinstance(self.rig.client, Redis):  # it would go on asking a primary that was replaced
                    await self.rig.client.connection_pool.disconnect()
                return all([await self.rig.seq(session) >= goal for session, goal in goals.items()])
            return False

        await until(flows, "every session flows", every=0.05)

    async def timed(self, again: Awaitable[object]) -> None:
        """Note how long it takes until the servers take writes again."""
        began = time.monotonic()
        await again
        self.own_seconds = time.monotonic() - began

    async def kept(self) -> Report:
        """Stop the sources; `verify` says yes, and no number has ever gone to another event."""
        for session in self.sessions:
            session.pause()
        report = await self.rig.assert_kept(*self.sessions)
        assert [violation for one in self.follower.seen.values() for violation in one.violations] == []
        return report

    async def judge(self, what: str) -> Report:
        """The same, with figures."""
        report = await self.kept()
        published = await self.worker.metric("events_published_total")
        events = sum(one.events for one in report.sessions)
        silence = max([await self._longest_silence_seconds(session) for session in self.sessions])
        print(
            f"{what}: {published:.0f} acknowledged, {published - events:.0f} of them rolled back in "
            f"{await self.worker.metric('rollbacks_total'):.0f} sessions, "
            f"{sum(one.again for one in self.follower.seen.values())} read again with the same id and seq; "
            f"longest silence {silence:.1f} s where the servers took {self.own_seconds:.1f} s"
        )
        return report

    async def _longest_silence_seconds(self, session: SimulatedSession) -> float:
        """Between two entries that stand there in the end, by the servers' clock, which is this machine's."""
        entries = await self.rig.raw_entries(keys_of(session).events)
        moments = [int(entry.partition(b"-")[0]) for entry, _ in entries]
        return max(later - earlier for earlier, later in pairwise(moments)) / 1000


@asynccontextmanager
async def staged(
    topology: Topology,
    simulator: Simulator,
    directory: Path,
    names: Sequence[str],
    *,
    rate: float,
    settings: Mapping[str, Any] = DEFAULTS,
    readers_url: str = "",
) -> AsyncIterator[Stage]:
    """A worker that reads these sessions, each of which plays at this rate. ``readers_url``: by another way."""
    async with AsyncExitStack() as stack:
        client, another = [
            await stack.enter_async_context(patient_client(readers_url or topology.url)) for _ in range(2)
        ]
        rig = Rig(topology.nodes[0], client, simulator, directory)  # type: ignore[arg-type]  # a cluster's does as much
        stack.push_async_callback(rig.close)
        sessions = [simulator.create_session(name) for name in names]
        follower = Follower(another, {one.session_id: one for one in sessions})  # type: ignore[arg-type]
        following = asyncio.create_task(follower.run())
        stack.push_async_callback(_ended, following)
        stage = Stage(rig, sessions, follower, rig.worker(*sessions, **{"redis__url": topology.url, **settings}))
        await stage.worker.start()
        for session in sessions:
            session.play(Profile.SIZED, rate=rate)
            stack.callback(session.pause)
        await stage.flow()
        yield stage


async def _ended(task: asyncio.Task[None]) -> None:
    """Asked for as often as it takes: redis-py may take a cancellation for a time-out of its own."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.5)


@asynccontextmanager
async def patient_client(url: str) -> AsyncIterator[Client]:
    """One that says at once what is so, and is asked again."""
    settings = RedisSettings(url=SecretStr(url), timeout_seconds=1, connect_timeout_seconds=1)
    async with open_client(settings) as client:
        client.set_retry(Retry(NoBackoff(), 0))
        yield client
