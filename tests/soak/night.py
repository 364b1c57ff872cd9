"""What stands on the stage: one Redis, one lens API, a proxy between it and the workers, and two deployments."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import FreshRule, Profile, SimulatedSession, Simulator
from tests.support.managed_redis import managed_redis
from tests.support.proxy import Proxy
from tests.support.steering import steer
from tests.support.worker import Worker, until
from tests.support.worker_rig import Rig

__all__ = ["Night", "opened"]

ONLY_A, BOTH, ONLY_B = ("a1", "a2", "a3", "a4"), ("both1", "both2"), ("b1", "b2", "b3")
REGISTERED = ("r1", "r2", "r3")  # added at run time, so all of them want them
WITHOUT_IDS = "a4"
LEASE_SECONDS = 3
HISTORY_EVENTS = 1500  # of the session without ids: less than the dedupe window


@dataclass
class Night:
    """All parts, started."""

    rig: Rig
    proxy: Proxy
    sessions: dict[str, SimulatedSession]
    workers: list[Worker]
    random: random.Random

    @property
    def settings(self) -> dict[str, Any]:
        """Of whoever gives orders: he knows what is configured."""
        return {"sessions": ",".join(self.sessions[name].session_id for name in (*ONLY_A, *BOTH, *ONLY_B))}

    @property
    def with_ids(self) -> list[SimulatedSession]:
        """Those that are judged by the server's record."""
        return [session for name, session in self.sessions.items() if name != WITHOUT_IDS]


async def _has_begun(rig: Rig, session: SimulatedSession) -> bool:
    return await rig.seq(session) > 0


@asynccontextmanager
async def opened(directory: Path, seed: int) -> AsyncIterator[Night]:
    """Two workers read a1 to a4 and what both want, one reads b1 to b3 and what both want."""
    chance = random.Random(seed)
    async with (
        Simulator(control_port=0, seed=seed) as simulator,
        RedisServer() as server,
        Redis.from_url(server.url) as client,
        managed_redis(server.port, max_arguments=1_000_000, max_request_bytes=1 << 30) as service,
        Proxy(service.port) as proxy,
    ):
        rig = Rig(server, client, simulator, directory)
        sessions = {name: simulator.create_session(name) for name in (*ONLY_A, *BOTH, *ONLY_B, *REGISTERED)}
        sessions[WITHOUT_IDS].change(ids=False, fresh=FreshRule.REPLAY, history_events=HISTORY_EVENTS)
        settings: dict[str, Any] = {
            "redis__url": f"redis://127.0.0.1:{proxy.port}",
            "lease__ttl_seconds": LEASE_SECONDS,
            "source__idle_timeout_seconds": 10,
            "source__slow_retry_seconds": 2,
        }
        wishes = ((*ONLY_A, *BOTH), (*ONLY_A, *BOTH), (*BOTH, *ONLY_B))
        workers = [rig.worker(*(sessions[name] for name in wanted), **settings) for wanted in wishes]
        try:
            await asyncio.gather(*(worker.start() for worker in workers))
            await steer(rig, "sessions", "add", *(sessions[name].session_id for name in REGISTERED))
            for name, session in sessions.items():
                session.play(Profile.SIZED, rate=chance.choice((5, 10) if name == WITHOUT_IDS else (5, 10, 20, 40)))
            for name, session in sessions.items():
                # A snapshot from before the first commit holds no state: what came after it is a declared gap then,
                # which says nothing of a night's faults.
                await until(partial(_has_begun, rig, session), f"{name} has begun")
            yield Night(rig=rig, proxy=proxy, sessions=sessions, workers=workers, random=chance)
        finally:
            for session in sessions.values():
                session.pause()
            await rig.close()
