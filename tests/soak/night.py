"""What stands on the stage: one Redis, one lens API, a proxy between it and the workers, and two deployments.

All that can be read is read by somebody: a1 to b3 stand in files, r1 to r3 were added, f1 and later ones are found.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import FreshRule, Profile, SimulatedSession, Simulator
from tests.soak.deployment import FOUND_LENS, REDIS_USER, Deployment
from tests.support.managed_redis import managed_redis
from tests.support.proxy import Proxy
from tests.support.steering import steer
from tests.support.worker import KEY, Worker, until
from tests.support.worker_rig import Rig

__all__ = ["Night", "opened"]

ONLY_A, BOTH, ONLY_B = ("a1", "a2", "a3", "a4"), ("both1", "both2"), ("b1", "b2", "b3")
REGISTERED = ("r1", "r2", "r3")  # added at run time, so all of them want them
WITHOUT_IDS = "a4"
LEASE_SECONDS = 3
HISTORY_EVENTS = 1500  # of the session without ids: less than the dedupe window
FIRST_FOUND, MOST_FOUND = 2, 4  # at one time
BEGIN_SECONDS = 120.0  # also behind several answers that were refused, each of which makes discovery ask later


@dataclass
class Secrets:
    """What the workers have to show; each rotation makes one up."""

    key: str = "key-0-of-the-workers"
    password: str = "password-0-of-the-workers"
    given: list[str] = field(default_factory=list)  # all of them: none may stand in a log

    def __post_init__(self) -> None:
        self.given += [self.key, self.password]

    def new_key(self) -> str:
        """From now on."""
        self.given.append(f"key-{len(self.given)}-of-the-workers")
        self.key = self.given[-1]
        return self.key

    def new_password(self) -> str:
        """From now on."""
        self.given.append(f"password-{len(self.given)}-of-the-workers")
        self.password = self.given[-1]
        return self.password


@dataclass
class Night:
    """All parts, started. ``sessions`` gains those that appear; none ever leaves it."""

    rig: Rig
    proxy: Proxy
    sessions: dict[str, SimulatedSession]
    workers: list[Worker]
    deployments: list[Deployment]
    secrets: Secrets
    random: random.Random
    found: list[str] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, Any]:
        """Of whoever gives orders: he knows what is configured."""
        return {"sessions": ",".join(self.sessions[name].session_id for name in (*ONLY_A, *BOTH, *ONLY_B))}

    @property
    def living(self) -> list[SimulatedSession]:
        """Those that may still bring something."""
        return [session for session in self.sessions.values() if not session.destroyed]

    @property
    def living_with_ids(self) -> list[SimulatedSession]:
        """The same without the one whose events have no ids."""
        return [session for session in self.with_ids if not session.destroyed]

    @property
    def with_ids(self) -> list[SimulatedSession]:
        """Those that are judged by the server's record."""
        return [session for name, session in self.sessions.items() if name != WITHOUT_IDS]

    def find_one_more(self) -> SimulatedSession:
        """A session that nobody is told of. What is left when it ends is served for as long as anybody asks."""
        name = f"f{len(self.found) + 1}"
        session = self.rig.simulator.create_session(name, lens_id=FOUND_LENS, switches={"destroyed_session": "replay"})
        self.sessions[name] = session
        self.found.append(name)
        session.play(Profile.SIZED, rate=self.random.choice((5, 10, 20)))
        return session

    async def all_have_begun(self) -> None:
        """A snapshot from before the first commit holds no state: what came after it is a declared gap then, which says
        nothing of a night's faults."""
        for session in self.living:
            await until(
                partial(_has_begun, self.rig, session), f"{session.session_id} has begun", timeout=BEGIN_SECONDS
            )

    async def permit(self, password: str) -> None:
        """The workers may log in with it, also after Redis was restarted."""
        await self.rig.client.acl_setuser(
            REDIS_USER, enabled=True, passwords=[f"+{password}"], keys=["*"], categories=["+@all"]
        )
        await self.rig.client.acl_save()

    async def forbid(self, password: str) -> None:
        """No more; who is logged in stays so."""
        await self.rig.client.acl_setuser(REDIS_USER, enabled=True, passwords=[f"-{password}"])
        await self.rig.client.acl_save()


async def _has_begun(rig: Rig, session: SimulatedSession) -> bool:
    return await rig.seq(session) > 0


@asynccontextmanager
async def opened(directory: Path, seed: int) -> AsyncIterator[Night]:
    """Two workers read a1 to a4 and what both want, one reads b1 to b3 and what both want."""
    chance = random.Random(seed)
    (users := directory / "users.acl").touch()
    async with (
        Simulator(control_port=0, seed=seed) as simulator,
        RedisServer(arguments=("--aclfile", str(users))) as server,
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
        } | dict.fromkeys(("sessions", "source__api_key"))  # which stand in files
        a = Deployment(directory, "a", (*ONLY_A, *BOTH), mounted=True)
        b = Deployment(directory, "b", (*BOTH, *ONLY_B), mounted=False)
        workers = [rig.worker(arguments=("--config", str(one.file)), **settings) for one in (a, a, b)]
        night = Night(
            rig=rig,
            proxy=proxy,
            sessions=sessions,
            workers=workers,
            deployments=[a, b],
            secrets=Secrets(),
            random=chance,
        )
        simulator.api_keys[:] = [KEY, night.secrets.key]  # the first is for people
        await night.permit(night.secrets.password)
        for deployment in night.deployments:
            deployment.give_secrets(night.secrets.key, night.secrets.password)
        try:
            await asyncio.gather(*(worker.start() for worker in workers))
            await steer(rig, "sessions", "add", *(sessions[name].session_id for name in REGISTERED))
            for name, session in sessions.items():
                session.play(Profile.SIZED, rate=chance.choice((5, 10) if name == WITHOUT_IDS else (5, 10, 20, 40)))
            for _ in range(FIRST_FOUND):
                night.find_one_more()
            await night.all_have_begun()
            yield night
        finally:
            for session in sessions.values():
                session.pause()
            await rig.close()
