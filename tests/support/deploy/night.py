"""A bad night in half a minute: two workers read three lenses while everything goes wrong once."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bridge.lab.simulator import ChunkShape, CursorRule, Poison, Profile, SimulatedSession, UnknownCursorRule
from tests.support.deploy.processes import free_port
from tests.support.worker import Worker, until
from tests.support.worker_rig import Rig

__all__ = ["NAMES", "Night"]

NAMES = {"gate": Profile.ACTIVITY, "dock": Profile.MACHINE_STATE, "press": Profile.SIZED}
RATES = {"gate": 30.0, "dock": 20.0, "press": 60.0}
GROUP = "detector"
WINDOW = 50
REPLAYED = 2 * WINDOW  # more than the worker remembers, and little enough to come in one piece


class Night:
    """The rig's Redis is to be one of its own. `fall` makes everything go wrong, `pace_seconds` apart.

    ``detail`` is what the workers' `metrics.detail` says.
    """

    def __init__(self, rig: Rig, pace_seconds: float = 1.0, detail: str = "full") -> None:
        self.rig = rig
        self.detail = detail
        self.pace_seconds = pace_seconds
        self.lenses: dict[str, SimulatedSession] = {}
        self.ports = [free_port(), free_port()]
        self.workers: list[Worker] = []
        self.began = time.time()
        self._reading: asyncio.Task[None] | None = None

    @property
    def targets(self) -> list[str]:
        """What Prometheus scrapes."""
        return [f"127.0.0.1:{port}" for port in self.ports]

    async def begin(self) -> None:
        """Two workers that stream, and a consumer that is too slow for one of the lenses."""
        self.rig.simulator.change(heartbeat_interval_seconds=0.5)
        for name, profile in NAMES.items():
            self.lenses[name] = self.rig.simulator.create_session(f"lsn-{name}", profile=profile, rate=RATES[name])
        listed = [f"{name}={lens.session_id}" for name, lens in self.lenses.items()]
        for port in self.ports:
            worker = self.rig.worker(
                *listed, admin__port=port, stream__max_length=5000, source__slow_retry_seconds=1,
                dedupe__window_events=WINDOW, commit__max_events=50, commit__buffer_events=50,
                metrics__detail=self.detail,
            )  # fmt: skip
            await worker.start()
            self.workers.append(worker)
        for worker in self.workers:
            await worker.wait_ready()
        for lens in self.lenses.values():
            await lens.wait_connected()
        await self.rig.client.xgroup_create("lens:{gate}:events", GROUP, id="0", mkstream=True)
        self._reading = asyncio.create_task(_read_slowly(self.rig.server.url), name="slow consumer")
        self.began = time.time()

    async def fall(self) -> None:
        """Fault upon fault; each leaves its mark in some graph."""
        for step in (
            self._drop_connections,
            self._poison,
            self._replay,
            self._reuse_ids,
            self._lose_the_cursor,
            self._echo_the_key,
            self._revoke_the_key,
            self._hang_redis,
            self._pause_a_worker,
            self._empty_redis,
        ):
            await step()
            await asyncio.sleep(self.pace_seconds)

    async def end(self) -> None:
        """Stop the consumer; the rig ends the rest."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    async def _drop_connections(self) -> None:
        self.rig.simulator.drop_all()

    async def _poison(self) -> None:
        for _ in range(3):
            self.lenses["dock"].poison(Poison.INVALID_JSON)

    async def _replay(self) -> None:
        press = self.lenses["press"]
        history = press.history
        press.forget(max(0, history.end - history.oldest - REPLAYED))
        press.change(cursor=CursorRule.REPLAY, chunk_shape=ChunkShape.COALESCE)
        await _reconnected(press)
        press.reset_switches()

    async def _reuse_ids(self) -> None:
        gate = self.lenses["gate"]
        for text in ("one", "two"):
            gate.emit({"type": "inference.result", "event_data": {"response": [text]}}, id="used-twice")

    async def _lose_the_cursor(self) -> None:
        dock = self.lenses["dock"]
        dock.change(unknown_cursor=UnknownCursorRule.REFUSE)
        dock.forget()
        await _reconnected(dock)

    async def _echo_the_key(self) -> None:
        key = self.rig.simulator.api_keys[0]
        self.lenses["gate"].emit({"type": "log.info", "event_data": {"api_key": key}})

    async def _revoke_the_key(self) -> None:
        keys, self.rig.simulator.api_keys[:] = list(self.rig.simulator.api_keys), ["another-key"]
        self.lenses["gate"].drop()
        await asyncio.sleep(1 + self.pace_seconds)
        self.rig.simulator.api_keys[:] = keys
        await self.lenses["gate"].wait_connected()

    async def _hang_redis(self) -> None:
        self.rig.server.pause()
        await asyncio.sleep(2 + self.pace_seconds)
        self.rig.server.resume()

    async def _pause_a_worker(self) -> None:
        zombie = await self._owner_of("press")
        zombie.pause()
        await asyncio.sleep(4)  # longer than a lease
        zombie.resume()

    async def _empty_redis(self) -> None:
        await self.rig.client.flushall()

    async def _owner_of(self, name: str) -> Worker:
        owners: list[Any] = []

        async def owned() -> bool:
            with suppress(RedisError):
                owners[:] = filter(None, [await self.rig.client.get(f"lens:{{{name}}}:lease:lsn-{name}")])
            return bool(owners)

        await until(owned, f"{name} has an owner")
        return self.workers[int(owners[0].decode().split("/")[0].removeprefix("worker-")) - 1]


async def _reconnected(lens: SimulatedSession) -> None:
    """Drop the connection, and wait until a new one has been answered."""
    seen = len(lens.connections)
    lens.drop()
    await until(
        lambda: len(lens.connections) > seen and lens.connections[-1].status == 200,
        f"{lens.session_id} is connected again",
    )


async def _read_slowly(url: str) -> None:
    """A consumer that takes ten entries a second and acknowledges half of them."""
    async with Redis.from_url(url, socket_timeout=1) as redis:
        while True:
            with suppress(RedisError, OSError):
                await redis.xgroup_create("lens:{gate}:events", GROUP, id="0", mkstream=True)
            with suppress(RedisError, OSError):
                taken: Any = await redis.xreadgroup(GROUP, "one", {"lens:{gate}:events": ">"}, count=10)
                for _, entries in taken:
                    await redis.xack("lens:{gate}:events", GROUP, *(identity for identity, _ in entries[::2]))
            await asyncio.sleep(1)
