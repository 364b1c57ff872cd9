"""A worker between the simulated lens API and a topology, a consumer that follows all the time, and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from bridge.lab.simulator import Profile, SimulatedSession, Simulator
from bridge.operations.redis_client import Client, open_client
from bridge.settings import RedisSettings
from bridge.verify.report import Report
from tests.soak.follower import Follower
from tests.support.topology.clustered import Clustered
from tests.support.topology.watched import Watched
from tests.support.worker import Worker, until
from tests.support.worker_rig import Rig, keys_of

__all__ = ["DEFAULTS", "Stage", "staged"]

EVENTS_AFTER = 30  # of each session, that must be committed once the worst is over

DEFAULTS: dict[str, Any] = {
    "redis__timeout_seconds": None,
    "redis__connect_timeout_seconds": None,
    "redis__backoff_max_seconds": None,
    "lease__ttl_seconds": 5,
}
"""What a worker waits for by default, where tests are hastier: silences are then those of production."""


class Stage:
    """Made by `staged`."""

    def __init__(self, rig: Rig, sessions: Sequence[SimulatedSession], follower: Follower, worker: Worker) -> None:
        self.rig = rig
        self.sessions = sessions
        self.follower = follower
        self.worker = worker
        self.own_seconds = 0.0  # until the servers took writes again

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

    async def judge(self, what: str) -> Report:
        """Stop the sources; `verify` says yes, and no number has ever gone to another event. Prints the figures."""
        for session in self.sessions:
            session.pause()
        report = await self.rig.assert_kept(*self.sessions)
        seen = self.follower.seen
        violations = [violation for one in seen.values() for violation in one.violations]
        assert violations == []
        published = await self.worker.metric("events_published_total")
        events = sum(one.events for one in report.sessions)
        silence = max(one.longest_silence_seconds for one in seen.values())
        print(
            f"{what}: {published:.0f} acknowledged, {published - events:.0f} of them rolled back in "
            f"{await self.worker.metric('rollbacks_total'):.0f} sessions, "
            f"{sum(one.again for one in seen.values())} read again with the same id and seq; longest silence "
            f"{silence:.1f} s where the servers took {self.own_seconds:.1f} s"
        )
        return report


@asynccontextmanager
async def staged(
    topology: Watched | Clustered,
    simulator: Simulator,
    directory: Path,
    names: Sequence[str],
    *,
    rate: float,
    settings: Mapping[str, Any] = DEFAULTS,
) -> AsyncIterator[Stage]:
    """A worker that reads these sessions, each of which plays at this rate."""
    async with AsyncExitStack() as stack:
        client, another = [await stack.enter_async_context(patient_client(topology.url)) for _ in range(2)]
        rig = Rig(topology.nodes[0], client, simulator, directory)  # type: ignore[arg-type]  # a cluster's does as much
        stack.push_async_callback(rig.close)
        sessions = [simulator.create_session(name) for name in names]
        follower = Follower(another, {one.session_id: keys_of(one).events for one in sessions})  # type: ignore[arg-type]
        following = asyncio.create_task(follower.run())
        stack.push_async_callback(_ended, following)
        stage = Stage(rig, sessions, follower, rig.worker(*sessions, **{"redis__url": topology.url, **settings}))
        await stage.worker.start()
        for session in sessions:
            session.play(Profile.SIZED, rate=rate)
            stack.callback(session.pause)
        await stage.flow()
        for seen in follower.seen.values():
            seen.longest_silence_seconds = 0.0
        yield stage


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def patient_client(url: str) -> AsyncIterator[Client]:
    """One that says at once what is so, and is asked again."""
    settings = RedisSettings(url=SecretStr(url), timeout_seconds=1, connect_timeout_seconds=1)
    async with open_client(settings) as client:
        client.set_retry(Retry(NoBackoff(), 0))
        yield client
