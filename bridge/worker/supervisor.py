"""Who reads what: registers this worker, keeps its leases, takes its fair share, and says what others may have."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from bridge.errors import SinkFault
from bridge.model.registered import Order, Verb
from bridge.model.wishes import NO_WISHES, Wishes
from bridge.settings import OnLost, Settings
from bridge.store.fleet.handovers import Handovers
from bridge.store.fleet.registry import Peer, Register, Registry
from bridge.store.leases import Leases
from bridge.telemetry.status import WorkerStatus
from bridge.worker.handover import Handover, Plan
from bridge.worker.holder import SessionHolder
from bridge.worker.holders import Holders
from bridge.worker.judging.clocks import ClockCheck
from bridge.worker.judging.reach import SourceReach
from bridge.worker.judging.share import Rivals, fair_share
from bridge.worker.leaving import Departure
from bridge.worker.renewals import Renewals

__all__ = ["Coordination", "SourceAccess", "Supervisor"]

log = structlog.get_logger()

_AT_ONCE = 250  # sessions that are taken in one go
_NEWS_SECONDS = 2.0  # in which all workers have heard of a session that was added


class SourceAccess(Protocol):
    """What the supervisor asks of the way to the source."""

    @property
    def capacity(self) -> int:
        """How many more sessions this worker could begin to read now."""

    async def answers(self) -> bool:
        """Whether the source answers this worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordination:
    """How workers settle among themselves, through Redis, who reads what."""

    leases: Leases
    registry: Registry
    handovers: Handovers


class Supervisor:
    """Runs until stopped. Redis being away changes nothing but `/readyz`: what is held goes on waiting for it."""

    def __init__(
        self,
        *,
        holders: Holders,
        coordination: Coordination,
        settings: Settings,
        status: WorkerStatus,
        source: SourceAccess,
    ) -> None:
        self._holders = holders
        self._leases = coordination.leases
        self._registry = coordination.registry
        self._settings = settings
        self._status = status
        self._handover = Handover(
            holders.find, coordination.handovers, lambda: source.capacity, self._take_all, settings.lease.poll_seconds
        )
        self._reach = SourceReach(source.answers)
        self._clock = ClockCheck(status)
        self._renewals = Renewals(holders, settings.lease.ttl_seconds)
        self._rivals = Rivals()
        self._peers: tuple[Peer, ...] = ()
        self._changed_at = -math.inf  # monotonic seconds: when what anybody wants or gave back changed last
        self._twins_told: set[str] = set()
        self._taking: asyncio.Task[None] | None = None
        self._beside: set[asyncio.Task[None]] = set()  # what orders have begun
        self._registered = False
        self._drained = False  # a person wants others to read what is read here
        self._take_at = math.inf  # monotonic seconds: then sessions are taken, though nothing was heard of them
        self._wanted: frozenset[bytes] = frozenset()
        self._presumed: dict[bytes, float] = {}  # sessions that others will hear of too, and until when
        self._begin_after = 0.0  # monotonic seconds
        self._fault_kind: str | None = None

    async def run(self, stop: asyncio.Event, *beside: Coroutine[Any, Any, None]) -> None:
        """Supervise until ``stop`` is set; then pass everything on and sign off, within the grace period.

        What runs ``beside`` ends with it, and a fault in it ends all.
        """
        stopped: asyncio.Task[Any] = asyncio.create_task(stop.wait(), name="wait for the stop")
        rounds = asyncio.create_task(self._supervise(stop), name="supervise")
        # Each on its own, since leases must not run out while a round waits for Redis.
        others = (self._renewals.run(), self._handover.run(), *beside)
        working = {rounds, *map(asyncio.create_task, others)}
        try:
            await asyncio.wait({stopped, *working}, return_when=asyncio.FIRST_COMPLETED)
            self._holders.changed.set()  # wakes the rounds
            if not stop.is_set():
                for task in working:
                    if task.done():
                        task.result()  # a fault of ours is raised
            self._status.stopping = True
            departure = Departure(self._holders, self._leases, self._registry, self._handover, self._settings)
            await departure.run(lambda: self._settled(rounds))
        finally:
            tasks = [stopped, *working, *self._beside, *([self._taking] if self._taking else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._holders.aclose()
            await self._reach.aclose()

    def obey(self, order: Order) -> None:
        """Carry out what a person has ordered, as far as it concerns this worker."""
        match order.verb:
            case Verb.LOOK | Verb.MOVE:
                if holder := self._holders.named(order.name):
                    self._obey_for(holder, order)
            case Verb.DRAIN | Verb.REFILL:
                if order.to == self._leases.owner:
                    self._drained = order.verb is Verb.DRAIN
                    self._status.draining = self._drained
                    log.info("worker.drained" if self._drained else "worker.refilled")
                    self._holders.changed.set()

    def _obey_for(self, holder: SessionHolder, order: Order) -> None:
        if order.verb is Verb.LOOK:
            self._begin(holder.look_afresh())
            self._holders.changed.set()
            return
        here = order.to == self._leases.owner
        holder.sent_here = here
        if here and not holder.held:
            self._handover.invite(holder)
            self._begin(self._take_all([holder]))  # it may be anybody's
        elif not here and holder.held:
            self._handover.send(holder, order.to)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _settled(self, rounds: asyncio.Task[None]) -> None:
        await asyncio.wait({rounds})
        if self._taking:
            await asyncio.wait({self._taking})
        await self._handover.settled()

    async def _supervise(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._round(stop)
                self._note(None)
            except SinkFault as fault:
                # Leases that cannot be renewed now are settled by the token at the next commit.
                self._note(fault)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.lease.poll_seconds * random.uniform(0.8, 1.2)):
                    await self._holders.changed.wait()

    def _note(self, fault: SinkFault | None) -> None:
        kind = fault.kind if fault else None
        if kind != self._fault_kind:
            if fault:
                log.error("redis.unavailable", kind=kind, error=fault.detail)
            elif self._fault_kind is not None:
                log.info("redis.available")
        self._fault_kind = kind
        self._status.taking_part = fault is None
        self._status.redis_error = fault.detail if fault else None

    async def _round(self, stop: asyncio.Event) -> None:
        self._look_at_changes()
        holders = [holder for holder in self._holders if not holder.paused]
        wishes = NO_WISHES
        if not self._aside:
            wishes = Wishes.of(holder.fingerprint for holder in holders if not holder.over)
        register = await self._registry.register(wishes, self._leases.releases)
        if stop.is_set():
            return
        self._hear(register)
        await self._holders.look_back()
        shared = [one for one in holders if self._rivals_of(one) and not one.over]
        attempts = [tried for holder in holders if (tried := holder.unreachable_attempts) is not None]
        self._reach.judge(attempts, wanted_by_others=any(holder.held for holder in shared))
        limit: float = fair_share(map(self._rivals_of, shared))
        if self._aside:
            limit = 0
        elif not self._rivals.all_want(wishes) and self._unchanged_for_long():
            limit = math.inf  # rounding may leave a session to nobody: what nobody took by now is anybody's
        unshared = [one for one in holders if one.over or not self._rivals_of(one)]
        if self._taking is None and (self._holders.known or time.monotonic() >= self._take_at):
            # On its own, since looking for a lost place may take long, and others must hear from this worker meanwhile.
            alone = [one for one in unshared if one.wanted]
            self._taking = asyncio.create_task(self._take(alone, shared, limit, stop), name="take")
            await asyncio.wait({self._taking}, timeout=self._settings.lease.poll_seconds)
        if stop.is_set():
            return
        why = "another worker has fewer sessions"
        if self._aside:
            why = "this worker is drained" if self._drained else "this worker does not reach the source"
        # What could be had was taken by now; of the rest one asks those who hold it.
        self._handover.plan = Plan(to_share=shared, limit=limit, to_take=unshared, peers=register.peers, reason=why)

    def _look_at_changes(self) -> None:
        if self._taking and self._taking.done():
            taking, self._taking = self._taking, None
            taking.result()  # a fault of ours is raised
        self._holders.check()
        now = time.monotonic()
        self._presumed = {one: until for one, until in self._presumed.items() if until > now}
        if self._holders.changed.is_set():
            self._holders.changed.clear()
            self._count_rivals()

    def _hear(self, register: Register) -> None:
        """What the register says of this worker and the others."""
        now = time.monotonic()
        self._status.workers_live = len(register.peers) + 1
        self._status.peers = tuple(peer.owner for peer in register.peers)
        self._clock.note(register.clock_ahead_seconds)
        self._tell_twins(register.peers)
        if register.forgotten and self._registered:
            # Redis was emptied, or we were away for long. Whoever knows a session's place must come before those who do
            # not: to them an emptied Redis looks like a new one.
            self._renewals.at_once()
            patient = self._settings.redis.on_lost is not OnLost.STOP
            self._begin_after = now + (self._settings.lease.ttl_seconds if patient else math.inf)
        if not self._registered:
            self._take_at = now + self._settings.lease.ttl_seconds
        self._registered = True
        if register.away:
            for holder in self._holders:
                holder.watch_anew()
        if register.peers != self._peers:
            self._peers = register.peers
            self._count_rivals()
            for holder in self._holders:
                holder.look_again()

    @property
    def _aside(self) -> bool:
        return self._reach.aside or self._drained

    def _rivals_of(self, holder: SessionHolder) -> int:
        """How many others want it, or will once they have heard of it."""
        wanted_by = self._rivals.of(holder.fingerprint)
        return max(wanted_by, len(self._peers)) if holder.fingerprint in self._presumed else wanted_by

    def _count_rivals(self) -> None:
        """What somebody wants, or gave back, has changed."""
        now = self._changed_at = time.monotonic()
        mine = Wishes.of(holder.fingerprint for holder in self._holders)
        if self._registered:  # else who hears of one first takes all that are new, and the others ask for their shares
            until = now + _NEWS_SECONDS + self._settings.lease.poll_seconds
            self._presumed |= dict.fromkeys(mine.sessions - self._wanted, until)
        self._wanted = mine.sessions
        self._rivals.update([peer.wishes for peer in self._peers], mine)

    def _tell_twins(self, peers: Sequence[Peer]) -> None:
        name, _, _ = self._leases.owner.rpartition("/")
        for peer in peers:
            if peer.heard_again and peer.owner.rpartition("/")[0] == name and peer.owner not in self._twins_told:
                self._twins_told.add(peer.owner)
                log.warning("worker.id_used_twice", worker=peer.owner, hint="give each worker its own worker.id")

    def _unchanged_for_long(self) -> bool:
        return time.monotonic() - self._changed_at > self._settings.lease.ttl_seconds

    async def _take(
        self, alone: Sequence[SessionHolder], shared: Sequence[SessionHolder], limit: float, stop: asyncio.Event
    ) -> None:
        """All of ``alone``, and of those that others want too as many as make ``limit``."""
        for at in range(0, len(alone), _AT_ONCE):
            if not stop.is_set():
                await self._take_all(alone[at : at + _AT_ONCE])
        wanted = [holder for holder in shared if holder.wanted]
        random.shuffle(wanted)  # workers that start together should not all ask for the same ones first
        while wanted and not stop.is_set():
            # As many at once as there is room for: more would be taken than the share allows.
            room = limit - sum(holder.held and not holder.over for holder in shared)
            if room <= 0:
                break
            batch = wanted[: int(min(room, _AT_ONCE))]
            del wanted[: len(batch)]
            await self._take_all(batch)

    async def _take_all(self, holders: Sequence[SessionHolder]) -> None:
        begin = time.monotonic() >= self._begin_after
        await asyncio.gather(*(holder.take(self._registry.is_gone, begin=begin) for holder in holders))
