"""Gives sessions from one worker to another: each is read by the one until the other can begin with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bridge.errors import BridgeError, ConfigurationError
from bridge.model.place import Session
from bridge.model.registered import Order, Verb
from bridge.operations.glances import live_workers, resolved
from bridge.operations.sessions import Desk

__all__ = ["Drained", "drain", "move", "refill"]

_LOOK_SECONDS = 0.2
_STEADY_SECONDS = 6.0  # a worker that nobody takes any more from after so long keeps what it has


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """``given``: how many sessions others read now. ``kept``: those that the worker still reads."""

    worker: str
    given: int
    kept: tuple[str, ...]


async def move(desk: Desk, session: Session, worker: str, seconds: float) -> str:
    """Give a session to a worker, and wait until that one reads it; gives its owner. Raises BridgeError."""
    await desk.read()
    owner = resolved(worker, await live_workers(desk.link))
    record = desk.records.get(session.name)
    if record and record.paused:
        raise ConfigurationError(f"{session.name} is paused, so nobody reads it: resume it first")
    (seen,) = await desk.see([session])
    if seen.owner == owner:
        return owner
    await desk.tell(Order(verb=Verb.MOVE, name=session.name, to=owner))
    if not await desk.until(lambda one: one.owner == owner, session, seconds):
        raise BridgeError(
            f"{owner} has not taken {session.name} within {seconds:g} s: it may not want it, or not reach the source"
        )
    return owner


async def drain(desk: Desk, worker: str, seconds: float) -> Drained:
    """Have others read what a worker reads, and wait for it. It takes none again until it is refilled or restarted.

    What nobody else wants it goes on reading. Of the sessions that are configured only for workers nothing is known
    here: they go too, but are not counted. Raises BridgeError.
    """
    owner = resolved(worker, await live_workers(desk.link))
    before = await _read_by(desk, owner)
    await desk.tell(Order(verb=Verb.DRAIN, to=owner))
    left, changed = before, time.monotonic()
    while left and (now := time.monotonic()) < changed + min(seconds, _STEADY_SECONDS):
        await asyncio.sleep(_LOOK_SECONDS)
        reads = await _read_by(desk, owner)
        left, changed = reads, now if len(reads) < len(left) else changed
    return Drained(worker=owner, given=len(before) - len(left), kept=tuple(left))


async def refill(desk: Desk, worker: str) -> str:
    """Let a drained worker take its share again; gives its owner. Raises BridgeError."""
    owner = resolved(worker, await live_workers(desk.link))
    await desk.tell(Order(verb=Verb.REFILL, to=owner))
    return owner


async def _read_by(desk: Desk, owner: str) -> Sequence[str]:
    return [one.session.name for one in await desk.listed() if one.seen.owner == owner]
