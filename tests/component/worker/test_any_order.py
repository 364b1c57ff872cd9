"""Two workers, one session, a real Redis and a real server, and whatever can happen to them in any order.

Hundreds of steps in seconds, where `make soak` takes as many minutes: no processes, and Redis goes back by DUMP and
RESTORE. What it cannot show is what takes a process, a socket that hangs, or a clock.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from bridge.delivery.numbers import Numbers
from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Closing, CursorRule, IdStyle, Poison, Refusal, SimulatedSession, Simulator
from bridge.store.leases import Leases
from bridge.worker.holder import SessionHolder
from tests.support.pump_rig import KEYS, Rig, rig_of
from tests.support.worker import until

STEPS = 80
LEASE_SECONDS = 30
OF_THE_SESSION = (KEYS.events, KEYS.state, KEYS.seen, KEYS.dead_letter, KEYS.lease)
FIELDS = ("cursor", "ordinal", "seq", "commits", "mark", "token", "owner", "phase", "taken")


@dataclass
class Storm:
    """What can happen: each method is one step, chosen by ``chance``."""

    chance: random.Random
    session: SimulatedSession
    rigs: list[Rig]
    window_events: int
    holders: list[SessionHolder] = field(default_factory=list)
    snapshots: list[dict[str, bytes | None]] = field(default_factory=list)
    number_of: dict[str, int] = field(default_factory=dict)  # as a consumer has seen it
    moved: list[str] = field(default_factory=list)

    def _one(self) -> int:
        return self.chance.randrange(len(self.rigs))

    @property
    def _fits(self) -> bool:
        """The whole history may be sent again: the window knows it, also when a burst or two more have come."""
        return len(self.session.record) < self.window_events - 140

    async def some_events(self) -> None:
        self.session.generate(self.chance.choice((1, 2, 5, 60)))
        if not self._fits:
            self.session.change(cursor=CursorRule.HONOUR)

    async def a_poisoned_event(self) -> None:
        self.session.poison(Poison.INVALID_JSON)

    async def a_drop(self) -> None:
        self.session.drop(self.chance.choice(list(Closing)))

    async def a_refusal(self) -> None:
        Refusal(status=503).apply(self.session)

    async def another_rule(self) -> None:
        """All of the history is sent again while it fits the window, else the last events before the cursor."""
        cursor = self.chance.choice((CursorRule.HONOUR, CursorRule.REPLAY)) if self._fits else CursorRule.HONOUR
        self.session.change(cursor=cursor, overlap_events=self.chance.choice((0, 0, 1, 5, 40)))

    async def other_ids(self) -> None:
        self.session.change(id_style=self.chance.choice(list(IdStyle)))

    async def a_snapshot(self) -> None:
        pipeline = self.rigs[0].redis.pipeline(transaction=True)
        for key in OF_THE_SESSION:
            pipeline.dump(key)
        found = dict(zip(OF_THE_SESSION, await pipeline.execute(), strict=True))
        if found[KEYS.events]:  # one without is a Redis that was emptied, which nobody reads again
            self.snapshots = [*self.snapshots[-2:], found]

    async def a_rollback(self) -> None:
        if not self.snapshots:
            return
        await self.consume()
        at = self.chance.randrange(len(self.snapshots))
        del self.snapshots[at + 1 :]
        pipeline = self.rigs[0].redis.pipeline(transaction=True)
        for key, value in self.snapshots[at].items():
            pipeline.delete(key)
            if value is not None:
                pipeline.restore(key, LEASE_SECONDS * 1000 if key == KEYS.lease else 0, value)
        await pipeline.execute()

    async def a_takeover(self) -> None:
        """Whoever has it is held for dead."""
        if not (holder := self.holders[self._one()]).held:
            await holder.take(lambda _: True)

    async def a_handover(self) -> None:
        self.holders[self._one()].hand_over()

    async def a_renewal(self) -> None:
        await self.holders[self._one()].renew()

    async def a_crash(self) -> None:
        """All that the worker knew is gone, and somebody like it starts."""
        at = self._one()
        await self.holders[at].abandon()
        rig = self.rigs[at]
        rig.numbers, rig.leases = Numbers(), Leases(rig.link, f"w{at}", LEASE_SECONDS)
        self.holders[at] = rig.holder()

    async def a_lost_key(self) -> None:
        await self.rigs[0].redis.delete(self.chance.choice((KEYS.seen, KEYS.state, KEYS.lease)))

    async def a_lost_field(self) -> None:
        await self.rigs[0].redis.hdel(KEYS.state, self.chance.choice(FIELDS))

    async def lost_scripts(self) -> None:
        await self.rigs[0].redis.script_flush()

    async def a_moment(self) -> None:
        await asyncio.sleep(self.chance.choice((0.0, 0.001, 0.01, 0.03)))

    async def consume(self) -> None:
        """Read all that stands, as a consumer that remembers what it has read."""
        for entry in await self.rigs[0].entries():
            if not entry["type"].startswith("bridge."):
                seq = int(entry["seq"])
                if self.number_of.setdefault(entry["id"], seq) != seq:
                    self.moved.append(f"{entry['id']} from {self.number_of[entry['id']]} to {seq}")

    async def settle(self) -> None:
        """The worst is over: one worker reads on until all has arrived."""
        self.session.clear_faults()
        for holder in self.holders:
            holder.hand_over()
        for holder in self.holders:
            await holder.finished()
        self.session.generate(1)
        holder, last = self.holders[0], self.session.record[-1].id

        async def arrived() -> bool:
            if not holder.held:
                await holder.take(lambda _: True)
            await holder.renew()
            return last in await self.rigs[0].ids()

        await until(arrived, "the last event is there")
        holder.hand_over()
        await holder.finished()
        await self.consume()


@asynccontextmanager
async def storm(seed: int, simulator: Simulator, redis_url: str) -> AsyncIterator[Storm]:
    """Everything stands, and nobody reads yet."""
    chance = random.Random(seed)
    window_events = chance.choice((64, 300, 2048))
    sections: dict[str, Any] = {
        "dedupe": {"window_events": window_events},
        "commit": {"max_events": chance.choice((3, 1000))},
    }
    async with (
        rig_of(simulator.base_url, redis_url, **sections) as one,
        rig_of(simulator.base_url, redis_url, **sections) as other,
    ):
        made = Storm(chance, simulator.create_session("lsn-1"), [one, other], window_events)
        for at, rig in enumerate(made.rigs):
            rig.leases = Leases(rig.link, f"w{at}", LEASE_SECONDS)
            made.holders.append(rig.holder())
        try:
            yield made
        finally:
            for holder in made.holders:
                await holder.abandon()


@pytest.mark.parametrize("number", range(4))
async def test_whatever_happens_in_whatever_order_each_event_stands_once_under_one_number(
    redis_server: RedisServer, fault_seed: int, number: int
) -> None:
    """Events and dead letters, in the server's order; also what a consumer saw before a rollback has its number."""
    seed = fault_seed + number
    async with Simulator() as simulator, storm(seed, simulator, redis_server.url) as night:
        simulator.change(heartbeat_interval_seconds=0)
        often: list[Callable[[], Awaitable[None]]] = [night.some_events, night.some_events, night.a_takeover]
        steps = [*often, *often, night.a_renewal, night.a_moment, night.a_moment, night.a_drop, night.a_refusal]
        steps += [night.another_rule, night.other_ids, night.a_poisoned_event, night.a_handover, night.a_crash]
        steps += [night.a_snapshot, night.a_rollback, night.a_lost_key, night.a_lost_field, night.lost_scripts]
        taken = [night.chance.choice(steps) for _ in range(STEPS)]
        for step in taken:
            await step()
            await asyncio.sleep(0)
        await night.settle()
        told = f"seed {seed}: {' '.join(step.__name__ for step in taken)}"
        record, rig = night.session.record, night.rigs[0]
        assert await rig.ids() == [one.id for one in record if not one.poison], told
        assert [one["id"] for one in await rig.entries(KEYS.dead_letter)] == [one.id for one in record if one.poison]
        assert night.moved == [], told
