"""Sessions on their way from one worker to another: each is read by the one until the other can begin with it.

Nothing here decides how many sessions a worker should read: the supervisor, or a stop, sets a `Plan`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from bridge.errors import SinkFault
from bridge.store.fleet.handovers import Handovers
from bridge.store.fleet.registry import Peer
from bridge.worker.holder import SessionHolder

__all__ = ["STANDING_BY", "Handover", "Plan"]

log = structlog.get_logger()

_MOVING_SECONDS = 0.1  # between two looks while sessions move: as long as one is silent for want of a look
_STILL_MOVING_SECONDS = 1.0  # after the last one
_GIVEN_UP_SECONDS = 5.0  # what was booked and has not come by then will not
_MOVE_SECONDS = 15.0  # what a person wants elsewhere, and could not be given by then, stays
_MOST_AT_ONCE = 32  # sessions that are being stopped and passed on


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``to_share``: sessions of which this worker should read ``limit``, and which ``peers`` may want.

    ``to_take``: others that it should read too. ``reason``: why it gives any away, for the log.
    """

    to_share: Sequence[SessionHolder] = ()
    limit: float = 0
    to_take: Sequence[SessionHolder] = ()
    peers: Sequence[Peer] = ()
    reason: str = ""

    @property
    def missing(self) -> int:
        """How many more this worker should read."""
        absent = [one for one in self.to_share if not one.held and not one.over]
        room = self.limit - sum(one.held and not one.over for one in self.to_share)
        return max(0, int(min(room, len(absent)))) + sum(not one.held and not one.over for one in self.to_take)

    @property
    def staying(self) -> list[SessionHolder]:
        """Those that could be given away."""
        return [one for one in self.to_share if one.held and not one.leaving]

    @property
    def surplus(self) -> int:
        """How many of them are too many."""
        return int(max(0, len(self.staying) - self.limit))


STANDING_BY = Plan()
"""Nothing to give, nothing to take."""

Take = Callable[[Sequence[SessionHolder]], Coroutine[Any, Any, None]]
"""Takes sessions that can be had."""


class Handover:
    """Runs until cancelled. ``find`` knows this worker's sessions by their fingerprints, and ``capacity`` how many more
    of them it could begin to read now."""

    def __init__(
        self,
        find: Callable[[bytes], SessionHolder | None],
        handovers: Handovers,
        capacity: Callable[[], int],
        take: Take,
        poll_seconds: float,
    ) -> None:
        self.plan = STANDING_BY
        self.moved_at = time.monotonic()  # a session was booked or came last
        self._find = find
        self._handovers = handovers
        self._capacity = capacity
        self._take = take
        self._poll_seconds = poll_seconds
        self._under_way: set[asyncio.Task[None]] = set()
        self._arriving = 0  # sessions that are being taken, and do not connect yet
        self._sent: dict[SessionHolder, tuple[str, float]] = {}  # to whom a person wants it to go, and until when
        self._invited: dict[SessionHolder, float] = {}  # sessions that a person wants here, and until when

    @property
    def expecting(self) -> bool:
        """Something is offered, was booked here and has not come yet, or is just being taken."""
        return self._handovers.open or self._arriving > 0

    def send(self, holder: SessionHolder, successor: str) -> None:
        """Give this one to that worker, once it has room: a person wants it there."""
        self._sent[holder] = successor, time.monotonic() + _MOVE_SECONDS
        self._moved()

    def invite(self, holder: SessionHolder) -> None:
        """Have room for this one, whatever the plan says: a person wants it here."""
        self._invited[holder] = time.monotonic() + _MOVE_SECONDS
        self._moved()

    async def settled(self) -> None:
        """Wait for what has begun."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def run(self) -> None:
        """Give and take as the plan says, again and again."""
        try:
            while True:
                with suppress(SinkFault):  # the rounds of the supervisor meet it too, and say so
                    await self._send_away()
                    await self._give()
                    await self._ask()
                for task in [task for task in self._under_way if task.done()]:
                    self._under_way.discard(task)
                    task.result()  # a fault of ours is raised
                moving = time.monotonic() - self.moved_at < _STILL_MOVING_SECONDS
                moving = bool(moving or self._under_way or self._sent or self._invited)
                await asyncio.sleep(min(_MOVING_SECONDS, self._poll_seconds) if moving else self._poll_seconds)
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _ask(self) -> None:
        """Say how much room there is, and take what has come."""
        now = time.monotonic()
        self._invited = {one: until for one, until in self._invited.items() if until > now and not one.held}
        room = max(0, min(self._capacity() - self._arriving, max(self.plan.missing, len(self._invited))))
        if not (room or self._handovers.open):
            return
        heard = await self._handovers.offer(room)
        if heard.given:
            self._moved()
            given = [holder for one in heard.given if (holder := self._find(one))]
            self._arriving += len(given)
            self._start(self._arrive(given), "take what was given")
        elif heard.booked and time.monotonic() - self.moved_at > _GIVEN_UP_SECONDS:
            self._handovers.give_up()

    async def _arrive(self, given: Sequence[SessionHolder]) -> None:
        try:
            await self._take(given)
        finally:
            self._arriving -= len(given)

    async def _send_away(self) -> None:
        """What a person wants elsewhere, as soon as it is awaited there."""
        now = time.monotonic()
        self._sent = {one: to for one, to in self._sent.items() if to[1] > now and one.held and not one.leaving}
        for holder, (successor, _) in list(self._sent.items()):
            if await self._handovers.book(1, {successor: 1}):
                del self._sent[holder]
                self._pass(holder, successor, "a person wants it there")

    async def _give(self) -> None:
        """Book places for what is too much here, and pass it on."""
        plan = self.plan
        surplus = min(plan.surplus, _MOST_AT_ONCE - len(self._under_way))
        if surplus <= 0:
            return
        staying = plan.staying
        most = {peer.owner: sum(one.fingerprint in peer.wishes.sessions for one in staying) for peer in plan.peers}
        booked = await self._handovers.book(surplus, {owner: count for owner, count in most.items() if count})
        for peer in plan.peers:
            wanted = [one for one in plan.staying if one.fingerprint in peer.wishes.sessions]
            random.shuffle(wanted)
            wanted.sort(key=lambda holder: holder.sent_here)  # what a person wants here goes last
            for holder in wanted[: booked.get(peer.owner, 0)]:
                self._pass(holder, peer.owner, plan.reason)

    def _pass(self, holder: SessionHolder, successor: str, reason: str) -> None:
        self._moved()
        log.info("lease.handed_over", session=holder.session.name, to=successor, reason=reason)
        holder.hand_over(successor=successor)
        self._start(self._pass_on(holder, successor), f"pass on {holder.session.name}")

    async def _pass_on(self, holder: SessionHolder, successor: str) -> None:
        await holder.finished()
        with suppress(SinkFault):  # it is then free when the lease that was left ends
            await self._handovers.give(successor, holder.fingerprint)

    def _moved(self) -> None:
        self.moved_at = time.monotonic()

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._under_way.add(asyncio.create_task(work, name=name))
