"""What this worker has to do with one session, across all the times it holds the lease."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import assert_never

import structlog

from bridge.errors import SinkFault
from bridge.events import Claim, GapReason, Phase, Place, Session, SessionState
from bridge.keys import SessionKeys
from bridge.lease import Leases
from bridge.outcomes import Fenced, HeldBy, Lost, RolledBack
from bridge.pump import Ended, Outcome, Pump, Stopped
from bridge.recovery import Seed
from bridge.settings import OnLost
from bridge.status import SessionStatus
from bridge.window import Window

__all__ = ["Tenure"]

log = structlog.get_logger()

_RETRY_AFTER_CRASH_SECONDS = 10.0
_RETRY_AFTER_REFUSAL_SECONDS = 2.0
_LONGEST_RECHECK = 3600.0  # seconds between two looks at a session that seems to be over


class Tenure:
    """Takes a session's lease, runs a pump under it, and draws the consequences of how that ended.

    It remembers the place it committed last, so that it notices when Redis later knows less than it acknowledged.
    """

    def __init__(
        self,
        *,
        session: Session,
        keys: SessionKeys,
        leases: Leases,
        status: SessionStatus,
        make_pump: Callable[[Claim, GapReason | None], Pump],
        on_lost: OnLost,
        recheck_seconds: float,
        window_events: int,
    ) -> None:
        self.session = session
        self.status = status
        self._keys = keys
        self._leases = leases
        self._make_pump = make_pump
        self._on_lost = on_lost
        self._recheck_seconds = recheck_seconds
        self._window_events = window_events
        self._claim: Claim | None = None
        self._pump: Pump | None = None
        self._task: asyncio.Task[None] | None = None
        self._remembered: tuple[Place, Window] | None = None
        self._emptied = False  # Redis was emptied under us; the next place is not to be trusted in silence
        self._not_before = 0.0  # monotonic seconds
        self._rechecks = 0  # of a session that seems to be over
        self._final = False  # the API itself has said that it is over
        self._leaving = False

    @property
    def held(self) -> bool:
        """This worker reads the session now."""
        return self._task is not None

    @property
    def leaving(self) -> bool:
        """It was asked to stop and has not finished yet."""
        return self.held and self._leaving

    @property
    def over(self) -> bool:
        """It has ended, or waits for a person: it counts for nobody's share."""
        return self.status.state in (SessionState.ENDED, SessionState.FAILED)

    @property
    def wanted(self) -> bool:
        """It may be taken now: also to look again whether a session that was no longer listed is over indeed."""
        closed = self.status.state is SessionState.FAILED or (self.over and self._final)
        return not self.held and not closed and time.monotonic() >= self._not_before

    async def take(self, *, begin: bool = True) -> None:
        """Try to take the lease and start. A refusal concerns this session alone: it is shown, and tried again.

        ``begin`` off: leave a session alone of which neither Redis nor this worker knows a place.
        """
        try:
            await self._take(begin)
        except SinkFault as fault:
            if fault.detail != self.status.last_error:
                log.error("lease.not_taken", **self._labels, kind=fault.kind, error=fault.detail)
            self.status.fail(fault.detail)
            self._not_before = time.monotonic() + _RETRY_AFTER_REFUSAL_SECONDS

    async def _take(self, begin: bool) -> None:
        begin = begin or self._emptied  # who held it when Redis was emptied knows the place best, and comes first
        claim = await self._leases.acquire(self._keys, begin=begin)
        if isinstance(claim, Claim):
            claim = await self._complete(claim)
        if not isinstance(claim, Claim):
            self.status.owner = claim.owner if claim else None
            return
        gap = self._compare(claim, self._remembered[0] if self._remembered else None)
        self._emptied = False
        self._remembered = None
        self._claim = claim
        self.status.owner = self._leases.owner
        self.status.cursor, self.status.seq = claim.place.cursor, claim.place.seq
        self.status.metrics.lease_held(True)
        # A session that is over is only looked at again: that is no change of state.
        tell = log.info if claim.phase is Phase.ACTIVE else log.debug
        tell("lease.taken", **self._labels, seq=claim.place.seq, cursor=claim.place.cursor)
        self._pump = self._make_pump(claim, gap)
        self._leaving = False
        self._task = asyncio.create_task(self._run(self._pump, claim), name=f"tenure {self.session.name}")

    async def _complete(self, claim: Claim) -> Claim | HeldBy | None:
        """Set up again what Redis no longer has of a place: all of it, or the window alone."""
        if claim.place.seq == 0:
            seed = await self._find_seed()
            return await self._leases.acquire(self._keys, seed) if seed else claim
        if claim.window or not self._window_events:
            return claim
        # From the entries only: after a rollback our memory knows events that Redis does not, and would skip them.
        seed = await self._leases.find_seed(self._keys, self.session.session_id)
        if not (seed and seed.window):
            return claim
        log.warning(
            "window.restored", **self._labels, reason="it was deleted or evicted; set maxmemory-policy noeviction"
        )
        return await self._leases.acquire(self._keys, seed, window_alone=True)

    async def _find_seed(self) -> Seed | None:
        """The place of a session of which Redis knows none: a new one, or its state was deleted, evicted or flushed.

        Our memory may be older than the entries, where another worker went on after us; the entries may be gone.
        """
        seeds: list[Seed] = []
        if self._remembered and not (self._emptied and self._on_lost is OnLost.RESTART):
            seeds.append(Seed(place=self._remembered[0], window=tuple(self._remembered[1].blobs())))
        if self._on_lost is OnLost.RESUME:
            found = await self._leases.find_seed(self._keys, self.session.session_id)
            seeds += [found] if found else []
        return max(seeds, key=lambda seed: seed.place.seq, default=None)

    async def renew(self) -> None:
        """Keep the lease, and learn from Redis whether the place is still the one we committed."""
        claim, pump = self._claim, self._pump
        if not (self.held and claim and pump):
            return
        acknowledged = pump.place.commits
        try:
            answer = await self._leases.renew(self._keys, claim.token)
        except SinkFault as fault:
            self.status.fail(fault.detail)
            return
        if not isinstance(answer, int):
            pump.interrupt(answer)
        elif answer < acknowledged:
            pump.interrupt(RolledBack(commits=answer))

    def hand_over(self) -> None:
        """Stop reading, commit the tail, release."""
        if self._pump and not self._leaving:
            self._leaving = True
            self._pump.stop()

    async def finished(self) -> None:
        """Wait until it is no longer held."""
        if self._task:
            await asyncio.wait({self._task})

    def _compare(self, claim: Claim, place: Place | None) -> GapReason | None:
        """Redis knows less than it once acknowledged to us: say so, unless that has been said."""
        lost = claim.seeded or self._emptied
        if place and not lost and claim.place.commits < place.commits:
            self._note_rollback(claim.place.commits, place)
        if claim.seeded and not self._emptied:
            self._note_rollback(0, claim.place)
        return GapReason.STATE_LOST if lost else None

    def _note_rollback(self, commits: int, place: Place) -> None:
        self.status.metrics.rollback()
        log.error("redis.rolled_back", **self._labels, commits=commits, acknowledged=place.commits)

    async def _run(self, pump: Pump, claim: Claim) -> None:
        try:
            with structlog.contextvars.bound_contextvars(**self._labels):
                outcome = await pump.run()
                await self._conclude(outcome, pump, claim)
        except Exception:
            # A fault of ours must not take the other sessions down, and must not look like idleness.
            log.exception("session.crashed", **self._labels)
            self.status.fail("internal error; see the log")
            self._not_before = time.monotonic() + _RETRY_AFTER_CRASH_SECONDS
            self._rest(SessionState.STANDBY)
            await self._release(claim)
        finally:
            self._task = self._pump = self._claim = None

    async def _conclude(self, outcome: Outcome, pump: Pump, claim: Claim) -> None:
        self._remembered = (pump.place, pump.window)
        match outcome:
            case Stopped():
                self._rechecks = 0
                self._rest(SessionState.STANDBY)
                await self._release(claim)
            case Ended(reason=reason, gone=gone):
                tell = log.warning if claim.phase is Phase.ACTIVE else log.debug
                tell("session.gone" if gone else "session.ended", reason=reason)
                self._final = reason not in ("gone", "unknown")
                self._not_before = time.monotonic() + min(self._recheck_seconds * 2**self._rechecks, _LONGEST_RECHECK)
                self._rechecks = min(self._rechecks + 1, 10)
                self._rest(SessionState.GONE if gone else SessionState.ENDED)
                await self._release(claim)
            case Fenced():
                self.status.metrics.fenced()
                log.warning("lease.lost", reason="another worker has taken the session")
                self._rest(SessionState.STANDBY)
            case RolledBack(commits=commits):
                self._note_rollback(commits, pump.place)
                self._remembered = None
                self._rest(SessionState.STANDBY)
            case Lost():
                self._emptied = True
                self._note_rollback(0, pump.place)
                failed = self._on_lost is OnLost.STOP
                self._rest(SessionState.FAILED if failed else SessionState.STANDBY)
            case _:
                assert_never(outcome)

    def _rest(self, state: SessionState) -> None:
        self.status.owner = None
        self.status.metrics.lease_held(False)
        self.status.rest(state)

    async def _release(self, claim: Claim) -> None:
        try:
            await self._leases.release(self._keys, claim.token)
        except SinkFault as fault:
            log.warning("lease.not_released", **self._labels, error=fault.detail)

    @property
    def _labels(self) -> dict[str, str]:
        return {"session": self.session.name, "session_id": self.session.session_id}
