"""What the acceptance tests are made of: a real Redis, a simulated lens API, and workers between them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import SimulatedSession, Simulator
from bridge.model.keys import SessionKeys, session_keys
from bridge.model.place import Session
from bridge.verify import stream_targets, verify
from bridge.verify.report import Report, render_text
from tests.support.worker import DEADLINE_SECONDS, Worker, until

__all__ = ["Rig", "keys_of"]

TEMPLATE = "lens:{<name>}:events"


def keys_of(session: SimulatedSession) -> SessionKeys:
    """The keys of a session that has no other name than its id."""
    return session_keys(TEMPLATE, _named(session))


class Rig:
    """Made by the fixtures of this directory, which end what it started."""

    def __init__(self, server: RedisServer, client: Redis, simulator: Simulator, directory: Path) -> None:
        self.server = server
        self.client = client
        self.simulator = simulator
        self.directory = directory
        self.workers: list[Worker] = []

    def worker(self, *sessions: SimulatedSession | str, arguments: Iterable[str] = (), **settings: object) -> Worker:
        """A worker that is not started yet. ``settings``: dotted paths, with ``__`` for the dot."""
        number = len(self.workers) + 1
        listed = ",".join(one if isinstance(one, str) else one.session_id for one in sessions)
        own: dict[str, object] = {
            "source.base_url": self.simulator.base_url,
            "redis.url": self.server.url,
            "sessions": listed,
            "worker.id": f"worker-{number}",
        }
        own |= {path.replace("__", "."): value for path, value in settings.items()}
        worker = Worker(self.directory / f"worker-{number}.log", own, arguments)
        self.workers.append(worker)
        return worker

    async def seq(self, session: SimulatedSession) -> int:
        """The committed number of entries."""
        return int(await self._state(session, "seq") or 0)

    async def cursor(self, session: SimulatedSession) -> str:
        """The committed SSE id."""
        return (await self._state(session, "cursor") or b"").decode()

    async def owner(self, session: SimulatedSession) -> str | None:
        """The id of the worker that holds the lease now."""
        holder: Any = await self.client.get(keys_of(session).lease)
        return holder.decode().split("/")[0] if holder else None

    async def entries(self, session: SimulatedSession) -> list[dict[str, str]]:
        """All entries of the stream, without their Redis ids."""
        page = await self.raw_entries(keys_of(session).events)
        return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in page]

    async def raw_entries(self, key: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """All entries of a stream as Redis gives them."""
        page: Any = await self.client.xrange(key)
        return list(page)

    async def reaches(self, session: SimulatedSession, seq: int, timeout: float = DEADLINE_SECONDS) -> None:
        """Until so many entries are committed."""

        async def reached() -> bool:
            return await self.seq(session) >= seq

        await until(reached, f"seq {seq} of {session.session_id}", timeout=timeout)

    async def verify(
        self, *sessions: SimulatedSession, recorded: bool = True, settle: float = DEADLINE_SECONDS
    ) -> Report:
        """What `verify` says once all that was sent is committed. ``recorded``: compare with the simulator's record."""
        targets = stream_targets(TEMPLATE, [_named(one) for one in sessions])
        url = self.simulator.control_url.removesuffix("/control") if recorded else None
        return await verify(self.client, targets, simulator_url=url, settle_seconds=settle)

    async def assert_kept(self, *sessions: SimulatedSession) -> Report:
        """`verify` says yes, nothing is under way any more, and something was there to judge."""
        report = await self.verify(*sessions)
        print(render_text(report))
        assert report.ok, render_text(report)
        assert not report.pending, render_text(report)
        assert all(one.events for one in report.sessions), render_text(report)
        return report

    async def close(self) -> None:
        """End every worker, and leave the ends of their logs for the report of a test that failed."""
        for worker in self.workers:
            if worker.log.exists():
                print(f"--- {worker.log.name}\n{worker.log_tail()}")
        await asyncio.gather(*(worker.kill() for worker in self.workers))

    async def _state(self, session: SimulatedSession, field: str) -> bytes | None:
        value: Any = await self.client.hget(keys_of(session).state, field)
        return None if value is None else bytes(value)


def _named(session: SimulatedSession) -> Session:
    return Session(name=session.session_id, session_id=session.session_id)
