"""The end of a worker: one deadline for all that is still to be done, however many sessions there are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from bridge.errors import SinkFault
from bridge.model.wishes import NO_WISHES
from bridge.store.leases import Leases
from bridge.store.registry import Registry
from bridge.worker.holder import SessionHolder

__all__ = ["leave"]

log = structlog.get_logger()

_RESERVE = 0.1  # of the grace period, for giving leases back once committing has had its time
_LONGEST_RESERVE_SECONDS = 2.0


async def leave(
    holders: Sequence[SessionHolder],
    leases: Leases,
    registry: Registry,
    settled: Callable[[], Awaitable[None]],
    grace_seconds: float,
) -> None:
    """Commit what was read, give all leases back and sign off; return after ``grace_seconds`` at the latest.

    ``settled`` waits for takes that had begun. What is left then is let go: the leases run out, and what was not
    committed is read again by the next worker.
    """
    until = time.monotonic() + grace_seconds - min(_LONGEST_RESERVE_SECONDS, grace_seconds * _RESERVE)
    for holder in holders:
        holder.hand_over(until)
    try:
        async with asyncio.timeout(grace_seconds):
            await settled()
            for holder in holders:  # what was taken just now
                holder.hand_over(until)
            await _release(holders, leases, registry)
            await registry.sign_off()
    except SinkFault as fault:
        log.warning("worker.not_signed_off", error=fault.detail)
    except TimeoutError:
        kept = [holder for holder in holders if holder.held]
        await asyncio.gather(*(holder.abandon() for holder in kept))
        log.warning(
            "worker.stop_cut_short",
            sessions=len(kept),
            grace_period_seconds=grace_seconds,
            hint="their leases were not given back: other workers take them over after lease.ttl_seconds",
        )


async def _release(holders: Sequence[SessionHolder], leases: Leases, registry: Registry) -> None:
    """Until no session is held. The others are told of each lease that is free, so that they ask for it."""
    told = -1
    left = {asyncio.create_task(holder.finished()) for holder in holders if holder.held}
    try:
        while left:
            if told != leases.releases:
                told = leases.releases
                with suppress(SinkFault):  # the commits meet it too, and say so
                    await registry.register(NO_WISHES, told)
            _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in left:
            task.cancel()
