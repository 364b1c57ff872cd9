"""Who reads what: registers this worker, keeps its leases, takes its fair share and gives the rest away."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Sequence

import structlog

from bridge.errors import SinkFault
from bridge.lease import Leases
from bridge.settings import LeaseSettings, OnLost
from bridge.status import WorkerStatus
from bridge.tenure import Tenure

__all__ = ["Supervisor", "fair_share"]

log = structlog.get_logger()


def fair_share(sessions: int, workers: int) -> int:
    """The most sessions that one worker should hold: ceil(sessions / workers)."""
    return -(-sessions // max(1, workers))


class Supervisor:
    """Runs until stopped. Redis being away changes nothing but `/readyz`: what is held goes on waiting for it."""

    def __init__(
        self,
        *,
        tenures: Sequence[Tenure],
        leases: Leases,
        settings: LeaseSettings,
        status: WorkerStatus,
        on_lost: OnLost = OnLost.RESUME,
    ) -> None:
        self._tenures = tenures
        self._leases = leases
        self._settings = settings
        self._status = status
        self._on_lost = on_lost
        self._renew_now = asyncio.Event()
        self._registered = False
        self._begin_after = 0.0  # monotonic seconds
        self._fault_kind: str | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Supervise until ``stop`` is set; then hand everything over and sign off."""
        # On its own, since looking for a lost place may take long, and leases must not run out meanwhile.
        renewal = asyncio.create_task(self._keep_renewing(), name="renew")
        try:
            await self._supervise(stop)
            await self._leave()
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)

    async def _supervise(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._tick()
                self._note(None)
            except SinkFault as fault:
                # Leases that cannot be renewed now are settled by the token at the next commit.
                self._note(fault)
            try:
                async with asyncio.timeout(self._settings.poll_seconds * random.uniform(0.8, 1.2)):
                    await stop.wait()
            except TimeoutError:
                continue

    async def _keep_renewing(self) -> None:
        # Three tries within a lease's life, so that one lost reply costs nothing.
        interval_seconds = self._settings.ttl_seconds / 3
        while True:
            try:
                async with asyncio.timeout(interval_seconds):
                    await self._renew_now.wait()
            except TimeoutError:
                pass
            self._renew_now.clear()
            await asyncio.gather(*(tenure.renew() for tenure in self._tenures))

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

    async def _tick(self) -> None:
        workers, forgotten = await self._leases.register()
        self._status.workers_live = workers
        if forgotten and self._registered:
            # Redis was emptied, or we were away for long. Whoever knows a session's place must come before those who do
            # not: to them an emptied Redis looks like a new one.
            self._renew_now.set()
            patience_seconds = math.inf if self._on_lost is OnLost.STOP else self._settings.ttl_seconds
            self._begin_after = time.monotonic() + patience_seconds
        self._registered = True
        held = [tenure for tenure in self._tenures if tenure.held and not tenure.over]
        share = fair_share(sum(not tenure.over for tenure in self._tenures), workers)
        if len(held) > share:
            self._hand_over(held, len(held) - share)
            return
        begin = time.monotonic() >= self._begin_after
        await asyncio.gather(*(tenure.take(begin=False) for tenure in self._tenures if tenure.wanted and tenure.over))
        wanted = [tenure for tenure in self._tenures if tenure.wanted and not tenure.over]
        random.shuffle(wanted)  # workers that start together should not all ask for the same ones first
        for batch in _batches(wanted, share - len(held)):
            await asyncio.gather(*(tenure.take(begin=begin) for tenure in batch))
            if sum(tenure.held and not tenure.over for tenure in self._tenures) >= share:
                break

    def _hand_over(self, held: list[Tenure], extra: int) -> None:
        staying = [tenure for tenure in held if not tenure.leaving]
        extra -= len(held) - len(staying)
        for tenure in random.sample(staying, max(0, extra)):
            log.info("lease.handed_over", session=tenure.session.name, reason="another worker has fewer sessions")
            tenure.hand_over()

    async def _leave(self) -> None:
        self._status.stopping = True
        for tenure in self._tenures:
            tenure.hand_over()
        await asyncio.gather(*(tenure.finished() for tenure in self._tenures))
        try:
            await self._leases.sign_off()
        except SinkFault as fault:
            log.warning("worker.not_signed_off", error=fault.detail)


def _batches(tenures: list[Tenure], room: int) -> list[list[Tenure]]:
    """As many at once as there is room for: more would be taken than the share allows."""
    return [tenures[at : at + room] for at in range(0, len(tenures), room)] if room > 0 else []
