"""What this worker has to do with one session, across all the times it holds the lease."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import assert_never

import structlog

from bridge.delivery.recovery import Seed
from bridge.delivery.window import Window
from bridge.errors import SinkFault
from bridge.model.keys import SessionKeys
from bridge.model.labels import GapReason, Phase, SessionState
from bridge.model.outcomes import Fenced, HeldBy, Lost, ReplayAsked, RolledBack
from bridge.model.place import Lease, Place, Session
from bridge.model.wishes import fingerprint_of
from bridge.session.pump import Ended, Outcome, Pump, Stopped
from bridge.settings import OnLost, Settings
from bridge.store.leases import Begin, Leases, Start, Wait, WindowOnly
from bridge.telemetry.figures import SessionFigures
from bridge.worker.judging.ends import SessionEnd
from bridge.worker.judging.watch import LeaseWatch

__all__ = ["SessionHolder"]

log = structlog.get_logger()

_RETRY_AFTER_CRASH_SECONDS = 10.0
_RETRY_AFTER_REFUSAL_SECONDS = 2.0


class SessionHolder:
    """Takes a session's lease, runs a pump under it, and draws the consequences of how that ended.

    It remembers the place it committed last, so that it notices when Redis later knows less than it acknowledged.
    """

    def __init__(
        self,
        *,
        session: Session,
        keys: SessionKeys,
        leases: Leases,
        figures: SessionFigures,
        make_pump: Callable[[Lease, GapReason | None], Pump],
        settings: Settings,
    ) -> None:
        self.session = session
        self.figures = figures
        self.fingerprint = fingerprint_of(keys.state)
        self._keys = keys
        self._leases = leases
        self._make_pump = make_pump
        self._on_lost = settings.redis.on_lost
        self._window_events = settings.dedupe.window_events
        self._lease: Lease | None = None
        self._pump: Pump | None = None
        self._task: asyncio.Task[None] | None = None
        self._remembered: tuple[Place, Window] | None = None
        self._emptied = False  # Redis was emptied under us; the next place is not to be trusted in silence
        self._watch = LeaseWatch()
        self._not_before = 0.0  # monotonic seconds
        self._refusal: str | None = None  # why the lease could not be taken; None since it was
        self._left = SessionState.STANDBY  # how the last run left the session
        self._taken = asyncio.Event()  # nobody is just taking it
        self._taken.set()
        self.end = SessionEnd(leases, keys, settings.source.slow_retry_seconds)
        self._barred = self._leaving = False
        self.paused = False  # a person wants it not to be read for now: it counts for nobody's share
        self.sent_here = False  # a person wants this worker to read it: it is given away last
        self._successor = ""  # whom the lease is left to

    @property
    def held(self) -> bool:
        """This worker reads the session now."""
        return self._task is not None

    @property
    def leaving(self) -> bool:
        """It was asked to stop and has not finished yet."""
        return self.held and self._leaving

    @property
    def unreachable_attempts(self) -> int | None:
        """Attempts in a row that did not reach the source; None where it is not read."""
        return self._pump.unreachable_attempts if self._pump and self._pump.reading else None

    @property
    def over(self) -> bool:
        """It has ended, or waits for a person: it counts for nobody's share."""
        return self._left in (SessionState.ENDED, SessionState.FAILED) and not self._reading

    @property
    def done(self) -> bool:
        """Nothing more is to be read, as far as is known."""
        return self._left in (SessionState.ENDED, SessionState.GONE) and not self._reading

    @property
    def never_seen(self) -> bool:
        """The API does not know it, and nothing of it was ever read."""
        read = self._remembered is not None and self._remembered[0].seq > 0
        return self.done and self._left is SessionState.GONE and not read

    @property
    def wanted(self) -> bool:
        """It may be taken now: also to look again whether a session that was no longer listed is over indeed."""
        closed = self._left is SessionState.FAILED or (self.over and self.end.final) or self._barred or self.paused
        now = time.monotonic()
        return not self.held and not closed and now >= self._not_before and not self._watch.waits(now)

    def look_again(self) -> None:
        """Others may have given leases back, or have gone: ask, however long the lease was to last."""
        self._watch.ask()

    def watch_anew(self) -> None:
        """Redis could not be asked for a while, so others could not renew either: their time begins now."""
        self._watch.forget()

    def bar(self) -> None:
        """Nobody wants it any more: stop reading, commit the tail, release, and never take it again."""
        self._barred = True
        self.hand_over()

    def pause(self, paused: bool) -> None:
        """Stop reading and keep the place, or go on from there."""
        self.paused = paused
        if self.held:
            self.hand_over()
        else:
            self._rest(self._left)

    async def look_afresh(self) -> None:
        """A person may have moved its place: learn at once whether it is still ours, and read it though it was over."""
        self._not_before = 0.0
        self.end.forget()
        self._watch.ask()
        if not self.held and self._left in (SessionState.ENDED, SessionState.GONE):
            self._rest(SessionState.STANDBY)
        await self.renew()

    async def look_back(self) -> None:
        """Read a session that is over again where Redis has gone back behind its end."""
        if await self.end.was_lost() and not self.held:
            self._not_before = 0.0
            self.end.forget()

    async def take(self, is_gone: Callable[[HeldBy], bool] = lambda held: False, *, begin: bool = True) -> None:
        """Try to take the lease and start. A refusal concerns this session alone: it is shown, and tried again.

        ``is_gone`` knows which holders are dead. ``begin`` off: leave a session alone of which neither Redis nor this
        worker knows a place. Does nothing while it is held, or being taken.
        """
        if not self._taken.is_set() or self.held or self._barred or self.paused:
            return
        self._taken.clear()
        try:
            await self._take(is_gone, begin)
        except SinkFault as fault:
            if fault.detail != self._refusal:
                log.error("lease.not_taken", **self._labels, kind=fault.kind, error=fault.detail)
            self._refusal = fault.detail
            self.figures.fail(fault.detail)
            self._not_before = time.monotonic() + _RETRY_AFTER_REFUSAL_SECONDS
        finally:
            self._taken.set()

    async def _take(self, is_gone: Callable[[HeldBy], bool], begin: bool) -> None:
        # Who held it when Redis was emptied knows the place best, and comes first.
        start: Start = Begin() if begin or self._emptied else Wait()
        lease = await self._leases.acquire(self._keys, start, overdue=self._watch.overdue(time.monotonic()))
        if isinstance(lease, HeldBy) and is_gone(lease):
            lease = await self._leases.acquire(self._keys, start, overdue=lease.beat)
        if isinstance(lease, Lease):
            lease = await self._complete(lease)
        if not isinstance(lease, Lease):
            self.figures.owner = lease.owner if lease else None
            if lease:
                self._watch.note(lease, time.monotonic())
            return
        self._watch.forget()
        gap = self._compare(lease, self._remembered[0] if self._remembered else None)
        self._emptied = False
        self._remembered = self._refusal = None
        self._lease = lease
        self.figures.owner = self._leases.owner
        self.figures.cursor, self.figures.seq = lease.place.cursor, lease.place.seq
        self.figures.lease_held = True
        # A session that is over is only looked at again: that is no change of state.
        tell = log.info if lease.phase is Phase.ACTIVE else log.debug
        tell("lease.taken", **self._labels, seq=lease.place.seq, cursor=lease.place.cursor)
        self._pump = self._make_pump(lease, gap)
        self._leaving, self._successor = False, ""
        self._task = asyncio.create_task(self._run(self._pump, lease), name=f"holder {self.session.name}")
        if self._barred or self.paused:  # since it was asked for
            self.hand_over()

    async def _complete(self, lease: Lease) -> Lease | HeldBy | None:
        """Set up again what Redis no longer has of a place: all of it, or the window alone."""
        place = lease.place
        if place.seq == 0 and place.cursor is None:
            seed = await self._find_seed()
            return await self._leases.acquire(self._keys, seed, under=lease.token) if seed else lease
        known = len(Window(self._window_events, lease.window))
        # A whole window knows every event and dead letter until it is full; behind a cursor stands one at least.
        if known >= min(self._window_events, max(place.seq + lease.letters, 1)):
            return lease
        # From the entries only: after a rollback our memory knows events that Redis does not, and would skip them.
        seed = await self._leases.find_seed(self._keys, self.session.session_id, self._window_events)
        if not (seed and len(Window(self._window_events, seed.window)) > known):
            return lease
        log.warning(
            "window.restored", **self._labels, reason="it was deleted or evicted; set maxmemory-policy noeviction"
        )
        return await self._leases.acquire(self._keys, WindowOnly(window=seed.window), under=lease.token)

    async def _find_seed(self) -> Seed | None:
        """The place of a session of which Redis knows none: a new one, or its state was deleted, evicted or flushed.
        Entries that are left tell what stands. Our memory may be older, where another worker went on after us; or ahead
        of a Redis that went back as well, and then what it holds for committed is to be read again.
        """
        memory = found = None
        if self._remembered and not (self._emptied and self._on_lost is OnLost.RESTART):
            memory = Seed(place=self._remembered[0], window=tuple(self._remembered[1].blobs()))
        if self._on_lost is OnLost.RESUME:
            found = await self._leases.find_seed(self._keys, self.session.session_id, self._window_events)
        if found and memory and found.place.seq == memory.place.seq and not found.is_beyond(memory.place):
            return memory  # it knows besides what has left no entry, and dead letters that were cut
        return found or memory

    async def renew(self) -> None:
        """Keep the lease, and learn from Redis whether the place is still the one we committed."""
        lease, pump = self._lease, self._pump
        if not (self.held and lease and pump):
            return
        acknowledged = pump.place.commits
        try:
            answer = await self._leases.renew(self._keys, lease.token)
        except SinkFault as fault:
            self.figures.fail(fault.detail)
            return
        if isinstance(answer, ReplayAsked):
            answer = answer.commits
            if answer >= acknowledged:
                pump.replay_letters()
        if not isinstance(answer, int):
            pump.interrupt(answer)
        elif answer < acknowledged:
            pump.interrupt(RolledBack(commits=answer))

    def hand_over(self, until: float | None = None, successor: str = "") -> None:
        """Stop reading, commit the tail, release, or leave the lease to ``successor``.

        ``until`` is when to stop committing, in monotonic seconds.
        """
        if self._pump and not self._leaving:
            self._leaving, self._successor = True, successor
            self._pump.stop(until)

    async def finished(self) -> None:
        """Wait until it is no longer held, nor just being taken."""
        await self._taken.wait()
        if self._task:
            await asyncio.wait({self._task})

    async def abandon(self) -> None:
        """Let go of it at once, without a word to Redis: the lease runs out, and the token keeps it safe."""
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _compare(self, lease: Lease, place: Place | None) -> GapReason | None:
        """Redis knows less than it once acknowledged to us: say so, unless that has been said."""
        lost = lease.seeded or self._emptied
        if place and not lost and lease.place.commits < place.commits:
            self._note_rollback(lease.place.commits, place)
        if lease.seeded and not self._emptied:
            self._note_rollback(0, lease.place)
        return GapReason.STATE_LOST if lost else None

    def _note_rollback(self, commits: int, place: Place) -> None:
        self.figures.rollbacks += 1
        log.error("redis.rolled_back", **self._labels, commits=commits, acknowledged=place.commits)

    async def _run(self, pump: Pump, lease: Lease) -> None:
        try:
            with structlog.contextvars.bound_contextvars(**self._labels):
                outcome = await pump.run()
                await self._conclude(outcome, pump, lease)
        except Exception:
            # A fault of ours must not take the other sessions down, and must not look like idleness.
            log.exception("session.crashed", **self._labels)
            self.figures.fail("internal error; see the log")
            self._not_before = time.monotonic() + _RETRY_AFTER_CRASH_SECONDS
            self._rest(SessionState.STANDBY)
            await self._release(lease)
        finally:
            self._task = self._pump = self._lease = None

    async def _conclude(self, outcome: Outcome, pump: Pump, lease: Lease) -> None:
        self._remembered = (pump.place, pump.window)
        match outcome:
            case Stopped():
                self.end.forget()
                self._rest(SessionState.STANDBY)
                await self._release(lease)
            case Ended(reason=reason, gone=gone):
                tell = log.warning if lease.phase is Phase.ACTIVE else log.debug
                tell("session.gone" if gone else "session.ended", reason=reason)
                self._not_before = time.monotonic() + self.end.note(lease.token, pump.place.commits, reason)
                self._rest(SessionState.GONE if gone else SessionState.ENDED)
                await self._release(lease)
            case Fenced(commits=commits):
                self.figures.fenced += 1
                if commits < pump.place.commits:  # what the other one took over lacked our last commits
                    self._note_rollback(commits, pump.place)
                    self._remembered = None
                log.warning("lease.lost", reason="another worker has taken the session")
                self._rest(SessionState.STANDBY)
            case RolledBack(commits=commits):
                self._note_rollback(commits, pump.place)
                self._remembered = None
                self._rest(SessionState.STANDBY)
            case Lost():
                self._emptied = True
                self._note_rollback(0, pump.place)
                self._rest(SessionState.FAILED if self._on_lost is OnLost.STOP else SessionState.STANDBY)
            case _:
                assert_never(outcome)

    @property
    def _reading(self) -> bool:
        """It runs, and not just to look again whether it is over."""
        return self._pump is not None and self._pump.reading

    def _rest(self, state: SessionState) -> None:
        self._left, self._pump = state, None
        self.figures.rest(SessionState.PAUSED if self.paused else state)

    async def _release(self, lease: Lease) -> None:
        try:
            await self._leases.release(self._keys, lease.token, self._successor)
        except SinkFault as fault:
            log.warning("lease.not_released", **self._labels, error=fault.detail)

    @property
    def _labels(self) -> dict[str, str]:
        return {"session": self.session.name, "session_id": self.session.session_id}
