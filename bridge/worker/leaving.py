"""The end of a worker: each session is read until another worker asks for it, and one deadline holds for all of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from bridge.errors import SinkFault
from bridge.model.wishes import NO_WISHES
from bridge.settings import Settings
from bridge.store.fleet.registry import Peer, Registry
from bridge.store.leases import Leases
from bridge.worker.handover import STANDING_BY, Handover, Plan
from bridge.worker.holder import SessionHolder
from bridge.worker.holders import Holders

__all__ = ["Departure"]

log = structlog.get_logger()

_RESERVE = 0.1  # of the grace period, for giving leases back once committing has had its time
_LONGEST_RESERVE_SECONDS = 2.0
_PASSING_ON = 0.75  # of the grace period: the rest is for what nobody has asked for by then
_PATIENCE_SECONDS, _PATIENCE_POLLS = 5.0, 4.0  # for the next one to be asked for: a worker may connect to one a second


class Departure:
    """Runs once."""

    def __init__(
        self,
        holders: Holders,
        leases: Leases,
        registry: Registry,
        handover: Handover,
        settings: Settings,
    ) -> None:
        self._holders = holders
        self._leases = leases
        self._registry = registry
        self._handover = handover
        self._grace_seconds = settings.worker.grace_period_seconds
        self._poll_seconds = settings.lease.poll_seconds

    async def run(self, settled: Callable[[], Awaitable[None]]) -> None:
        """Pass all sessions on, commit what was read, give all leases back and sign off, within the grace period.

        ``settled`` waits for takes that had begun. What is left at the end is let go: the leases run out, and what was
        not committed is read again by the next worker.
        """
        grace_seconds = self._grace_seconds
        until = time.monotonic() + grace_seconds - min(_LONGEST_RESERVE_SECONDS, grace_seconds * _RESERVE)
        self._handover.plan = STANDING_BY
        self._holders.close()
        try:
            async with asyncio.timeout(grace_seconds):
                with suppress(SinkFault, TimeoutError):
                    async with asyncio.timeout(grace_seconds * _PASSING_ON):
                        await self._pass_on()
                self._handover.plan = STANDING_BY
                self._let_go(until)
                await settled()
                self._let_go(until)  # what was taken just now
                await self._release()
                await self._registry.sign_off()
        except SinkFault as fault:
            log.warning("worker.not_signed_off", error=fault.detail)
        except TimeoutError:
            kept = [holder for holder in self._holders.everyone if holder.held]
            await asyncio.gather(*(holder.abandon() for holder in kept))
            log.warning(
                "worker.stop_cut_short",
                sessions=len(kept),
                grace_period_seconds=grace_seconds,
                hint="their leases were not given back: other workers take them over after lease.ttl_seconds",
            )

    async def _pass_on(self) -> None:
        """While others ask for sessions: they hear that this worker wants none, and so their shares grow."""
        patience_seconds = max(_PATIENCE_SECONDS, _PATIENCE_POLLS * self._poll_seconds)
        asked_at = time.monotonic()
        while (held := [holder for holder in self._holders.everyone if holder.held]) or self._handover.expecting:
            register = await self._registry.register(NO_WISHES, self._leases.releases)
            heirs = [peer for peer in register.peers if _wants_any(peer, held)]
            asked_at = max(asked_at, self._handover.moved_at)
            if not (heirs or self._handover.expecting) or time.monotonic() - asked_at > patience_seconds:
                return
            self._handover.plan = Plan(to_share=held, peers=heirs, reason="this worker stops")
            await asyncio.sleep(self._poll_seconds)

    def _let_go(self, until: float) -> None:
        for holder in self._holders.everyone:
            holder.hand_over(until)

    async def _release(self) -> None:
        """Until no session is held. The others are told of each lease that is free, so that they ask for it."""
        told = -1
        left = {asyncio.create_task(holder.finished()) for holder in self._holders.everyone if holder.held}
        try:
            while left:
                if told != self._leases.releases:
                    told = self._leases.releases
                    with suppress(SinkFault):  # the commits meet it too, and say so
                        await self._registry.register(NO_WISHES, told)
                _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in left:
                task.cancel()


def _wants_any(peer: Peer, holders: Sequence[SessionHolder]) -> bool:
    return any(holder.fingerprint in peer.wishes.sessions for holder in holders)
