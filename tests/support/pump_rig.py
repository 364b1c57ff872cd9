"""One session's parts on real sockets: a simulated lens API, a real Redis, and the pump or the holder between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from bridge.delivery.filters import Selection
from bridge.delivery.numbers import Numbers
from bridge.masking import Secrets
from bridge.model.keys import SessionKeys, session_keys
from bridge.model.labels import GapReason
from bridge.model.place import Lease, Session
from bridge.session.context import SessionContext
from bridge.session.pump import Outcome, Pump
from bridge.settings import Settings
from bridge.source.client import LensClient
from bridge.store.commits import RedisSink
from bridge.store.leases import Leases
from bridge.store.link import RedisLink
from bridge.telemetry.figures import SessionFigures
from bridge.worker.holder import SessionHolder
from tests.support.fakes import until

SESSION = Session(name="line-1", session_id="lsn-1")
KEYS = session_keys("lens:{<name>}:events", SESSION)

_QUICK: dict[str, dict[str, Any]] = {
    "source": {
        "api_key": "simulated-key",
        "backoff_initial_seconds": 0.001,
        "backoff_max_seconds": 0.002,
        "backoff_reset_seconds": 0.0,
        "slow_retry_seconds": 0.02,
        "connects_per_second": 5000,
    },
    "redis": {"backoff_initial_seconds": 0.001, "backoff_max_seconds": 0.02, "timeout_seconds": 5.0},
    "worker": {"id": "w", "grace_period_seconds": 10.0},
}


def quick_settings(base_url: str, redis_url: str, **sections: dict[str, Any]) -> Settings:
    """Settings whose waits are short; ``sections`` change some of them."""
    merged = {name: dict(values) for name, values in _QUICK.items()}
    merged["source"]["base_url"] = base_url
    merged["redis"]["url"] = redis_url
    for name, values in sections.items():
        merged.setdefault(name, {}).update(values)
    return Settings.model_validate(merged)


class Running:
    """A pump under way."""

    def __init__(self, pump: Pump) -> None:
        self.pump = pump
        self.task = asyncio.create_task(pump.run())

    async def outcome(self) -> Outcome:
        """How it ended."""
        async with asyncio.timeout(20):
            return await self.task

    async def stopped(self) -> Outcome:
        """Ask it to stop, and wait."""
        self.pump.stop()
        return await self.outcome()

    async def committed(self, seq: int) -> None:
        """Wait until so much is committed."""
        await until(lambda: self.pump.place.seq >= seq or self.task.done())
        assert self.pump.place.seq >= seq, self.task


@dataclass
class Rig:
    """What a worker has for one session."""

    settings: Settings
    source: LensClient
    link: RedisLink
    leases: Leases
    redis: Redis
    session: Session = SESSION
    keys: SessionKeys = KEYS
    figures: SessionFigures = field(init=False)
    numbers: Numbers = field(default_factory=Numbers)
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    _holders: list[SessionHolder] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.figures = SessionFigures(self.session, self.keys.events)

    async def lease(self) -> Lease:
        """Take the lease."""
        lease = await self.leases.acquire(self.keys)
        assert isinstance(lease, Lease)
        return lease

    def pump(self, lease: Lease, gap: GapReason | None = None, sink: Any = None) -> Pump:
        """As the composition root makes it."""
        return Pump(
            SessionContext(
                session=self.session,
                lease=lease,
                source=self.source,
                sink=sink or RedisSink(self.link, self.keys, self.session, self.settings.stream),
                figures=self.figures,
                settings=self.settings,
                numbers=self.numbers,
                sent_keys=self.source.sent_keys,
                selection=Selection(),
                gap=gap,
            )
        )

    async def run(self, gap: GapReason | None = None, sink: Any = None) -> Running:
        """Take the lease and start a pump, which ends with the rig at the latest."""
        running = Running(self.pump(await self.lease(), gap, sink))
        self._tasks.append(running.task)
        return running

    async def end(self) -> None:
        """Cancel what runs, and close the link."""
        for holder in self._holders:
            await holder.abandon()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.link.aclose()

    def holder(self, **changes: Any) -> SessionHolder:
        """As the composition root makes it."""
        given: dict[str, Any] = {
            "session": self.session,
            "keys": self.keys,
            "leases": self.leases,
            "figures": self.figures,
            "make_pump": self.pump,
            "settings": self.settings,
        }
        self._holders.append(SessionHolder(**(given | changes)))
        return self._holders[-1]

    async def entries(self, key: str | None = None) -> list[dict[str, str]]:
        """The fields of what stands in the stream."""
        found: Any = await self.redis.xrange(key or self.keys.events)
        return [
            {name.decode(): value.decode(errors="replace") for name, value in fields.items()} for _, fields in found
        ]

    async def ids(self) -> list[str]:
        """The ids of the lens events in the stream."""
        return [entry["id"] for entry in await self.entries() if not entry["type"].startswith("bridge.")]

    async def markers(self) -> list[str]:
        """The types of the markers in the stream."""
        return [entry["type"] for entry in await self.entries() if entry["type"].startswith("bridge.")]

    async def phase(self) -> str:
        """The committed phase."""
        found: Any = await self.redis.hget(self.keys.state, "phase")
        return str(found.decode())


@asynccontextmanager
async def rig_of(base_url: str, redis_url: str, **sections: dict[str, Any]) -> AsyncIterator[Rig]:
    """All parts, closed again at the end."""
    settings = quick_settings(base_url, redis_url, **sections)
    secrets = Secrets()
    link = RedisLink(settings.redis, secrets)
    async with LensClient(settings.source, secrets) as source, Redis.from_url(redis_url) as redis:
        leases = Leases(link, settings.worker.id, settings.lease.ttl_seconds)
        made = Rig(settings=settings, source=source, link=link, leases=leases, redis=redis)
        try:
            yield made
        finally:
            await made.end()
