"""The sink side of a session: take what is buffered, commit it, know the outcome before going on."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, replace
from typing import assert_never

import structlog

from bridge.backoff import Backoff
from bridge.delivery.batch import MAX_ARGUMENTS, MAX_REQUEST_BYTES, BatchSize
from bridge.delivery.window import Seal, Window
from bridge.errors import Meaning, SinkFault
from bridge.model.labels import CommitOutcome, DeadLetterReason, Phase
from bridge.model.outcomes import AlreadyCommitted, CommitResult, Committed, Fenced, Lost, RolledBack
from bridge.model.place import Place
from bridge.model.records import DeadLetter, Record
from bridge.session.buffer import Buffer
from bridge.session.context import SessionContext
from bridge.telemetry.figures import SessionFigures

__all__ = ["Committer"]

log = structlog.get_logger()

_MOST_REFUSED_IN_A_ROW = 10
"""Single events that may be refused one after another before the session is held to be refused, and not they."""

_SMALL_BYTES = 64 * 1024  # no server refuses such an event for its size

_LETTER_TYPE_LENGTH = 256
"""How much of a type stays in the letter of a refused event: it may be as long as the event itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _InFlight:
    """A commit that has been sent, or is about to be."""

    batch: list[Record]
    seal: Seal
    after: Place
    phase: Phase
    packed: bytes
    started: float  # monotonic seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rejected:
    """Redis refuses this batch and has written nothing of it. ``passing``: it refused an empty one too, for a while."""

    detail: str
    passing: bool = False


class _Outage:
    """Redis does not take a commit, for now: told once, with longer waits from one try to the next."""

    def __init__(self, figures: SessionFigures, backoff: Backoff) -> None:
        self.lasts = False
        self._figures = figures
        self._backoff = backoff

    async def wait(self, fault: SinkFault, events: int) -> None:
        """Until the next try."""
        self._figures.commits[CommitOutcome.ERROR] += 1
        self._figures.fail(fault.detail)
        if not self.lasts:
            self.lasts = True
            self._figures.block(True)
            log.warning("commit.delayed", kind=fault.kind.value, error=fault.detail, events=events)
        await asyncio.sleep(self._backoff.delay(random.random))
        self._backoff = self._backoff.next()

    def end(self) -> None:
        """It is over, or nobody waits for its end any more."""
        if self.lasts:
            self._figures.block(False)


class Committer:
    """Owns the committed place of one session for as long as its token holds."""

    def __init__(self, context: SessionContext, window: Window, buffer: Buffer) -> None:
        settings = context.settings
        self.place = context.lease.place
        self.final_phase = Phase.ACTIVE  # what to commit with the last batch, once the buffer is closed
        self.in_flight = 0  # records sent, or to be sent again, whose outcome is not known
        self._context = context
        self._window = window
        self._buffer = buffer
        self._figures = context.figures
        self._size = BatchSize(settings.commit.max_events)
        self._max_bytes = min(settings.commit.max_bytes, MAX_REQUEST_BYTES)
        self._backoff = Backoff(
            initial_seconds=settings.redis.backoff_initial_seconds, max_seconds=settings.redis.backoff_max_seconds
        )
        self._reissue = context.numbers.reissue(self.place.seq)
        self._told: set[DeadLetterReason] = set()
        self._refused_in_a_row = 0

    async def run(self) -> Fenced | RolledBack | Lost | None:
        """Commit until the buffer is closed and empty (None), or until the place is no longer ours."""
        while (flight := await self._next()) is not None:
            self.in_flight = len(flight.batch)
            match await self._settle(flight):
                case _Rejected() as rejected:
                    self._make_smaller(_without_holes(flight.batch), rejected)
                case Committed() | AlreadyCommitted():
                    pass
                case lost:
                    return lost
        return None

    async def _next(self) -> _InFlight | None:
        await self._buffer.wait_filled()
        # A marker may come in front of each event while numbers are given out for the second time.
        share = 3 if self._reissue else 1
        batch = self._buffer.take(-(-self._size.events // share), self._max_bytes, MAX_ARGUMENTS // share)
        last = self._buffer.closed and not len(self._buffer)
        phase = self.final_phase if last else Phase.ACTIVE
        if not batch and phase is Phase.ACTIVE:
            return None
        if self._reissue:
            markers = self._context.settings.stream.markers
            batch = self._reissue.declared(batch, self.place, at=time.time(), markers=markers)
        return self._packed(batch, phase)

    def _packed(self, batch: list[Record], phase: Phase = Phase.ACTIVE) -> _InFlight:
        after = replace(self.place, commits=self.place.commits + 1, mark=f"{random.getrandbits(48):012x}")
        if batch:
            after = replace(after, cursor=batch[-1].cursor, ordinal=batch[-1].ordinal)
        seal = self._window.seal(batch)
        packed = self._context.sink.pack(self._context.lease.token, self.place, after, batch, seal, phase)
        return _InFlight(batch=batch, seal=seal, after=after, phase=phase, packed=packed, started=time.monotonic())

    async def _settle(self, flight: _InFlight) -> CommitResult | _Rejected:
        """Send one commit, the same bytes each time, until it is known what became of it."""
        outage = _Outage(self._figures, self._backoff)
        try:
            outcome = await self._outcome(flight, outage)
            if outage.lasts:
                seconds = round(time.monotonic() - flight.started, 3)
                log.info("commit.recovered", after_seconds=seconds, events=len(flight.batch))
            return outcome
        finally:
            outage.end()

    async def _outcome(self, flight: _InFlight, outage: _Outage) -> CommitResult | _Rejected:
        unknown = False
        while True:
            try:
                result = await self._context.sink.commit(flight.packed)
            except SinkFault as fault:
                if fault.kind.meaning is Meaning.CALL and not self._is_stuck(flight):
                    if unknown:
                        log.warning("commit.unknown", events=len(flight.batch))
                    if unknown or len(_without_holes(flight.batch)) == 1:
                        return await self._learn(flight, fault, outage)
                    return _Rejected(detail=fault.detail)
                unknown |= fault.kind.meaning is Meaning.UNKNOWN
                await outage.wait(fault, len(flight.batch))
                continue
            if isinstance(result, AlreadyCommitted) and result.mark != flight.after.mark:
                result = RolledBack(commits=self.place.commits)  # another history, with as many commits
            self._note(result, flight)
            return result

    async def _learn(self, flight: _InFlight, refusal: SinkFault, outage: _Outage) -> CommitResult | _Rejected:
        """What became of a commit that was refused, where an earlier try may have landed, or where it is a lone event.

        A commit that carries nothing takes its place: either it finds that one there, or it lands, and then no late
        packet of that one can follow it any more. And where it is refused as well, it is not the event's fault.
        """
        probe = self._packed([])
        passing = False
        while True:
            try:
                result = await self._context.sink.commit(probe.packed)
            except SinkFault as fault:
                passing |= fault.kind.meaning is Meaning.CALL
                await outage.wait(fault, len(flight.batch))
                continue
            match result:
                case AlreadyCommitted(mark=mark) if mark == flight.after.mark:
                    self._note(result, flight)
                    return result
                case Committed() | AlreadyCommitted():
                    self._note(result, probe)
                    return _Rejected(detail=refusal.detail, passing=passing)
            self._note(result, probe)
            return result

    def _note(self, result: CommitResult, flight: _InFlight) -> None:
        commits = self._figures.commits
        match result:
            case Committed(seq=seq, length=length):
                commits[CommitOutcome.OK] += 1
                self._landed(flight, seq, length)
            case AlreadyCommitted(seq=seq, length=length):
                commits[CommitOutcome.ALREADY] += 1
                log.info("commit.found_landed", seq=seq, events=len(flight.batch))
                self._landed(flight, seq, length)
            case Fenced():
                commits[CommitOutcome.FENCED] += 1
            case RolledBack() | Lost():
                commits[CommitOutcome.ROLLED_BACK] += 1
            case _:
                assert_never(result)

    def _landed(self, flight: _InFlight, seq: int, length: int) -> None:
        if flight.phase is not Phase.ACTIVE:
            self.final_phase = Phase.ACTIVE  # it stands
        self._context.numbers.landed(flight.batch, self.place.seq)
        self.place = replace(flight.after, seq=seq)
        self._size.passed(len(flight.batch))
        if self._reissue and seq >= self._context.numbers.highest:
            self._reissue = None
        published = sum(record.numbered or record.type != "" for record in flight.batch if not record.dead)
        if published:
            self._refused_in_a_row = 0
        self._window.committed(flight.batch, flight.seal)
        seconds = time.monotonic() - flight.started
        figures = self._figures
        figures.add_commit(flight.batch, self.place, published=published, seconds=seconds, now=time.time())
        figures.stream_length = length
        figures.buffer_events, figures.buffer_bytes = len(self._buffer), self._buffer.size_bytes
        for record in flight.batch if published < len(flight.batch) else ():
            if record.dead:
                self._tell(record.key, record.dead)
        log.debug("batch.committed", events=len(flight.batch), seq=seq)

    def _tell(self, key: str, dead: DeadLetter) -> None:
        # The first of each reason: a server that sends nothing else should not fill the log. The metric has them all.
        if dead.reason not in self._told:
            self._told.add(dead.reason)
            log.warning("event.dead_lettered", reason=dead.reason.value, id=key, detail=dead.detail)

    def _is_stuck(self, flight: _InFlight) -> bool:
        """Not the events are refused but the session, or even what is left of a letter: that waits for a person."""
        events = _without_holes(flight.batch)
        if len(events) > 1:
            return False
        empty = not events or bool(events[0].dead and not events[0].data)
        return empty or self._refused_in_a_row >= _MOST_REFUSED_IN_A_ROW

    def _make_smaller(self, batch: list[Record], rejected: _Rejected) -> None:
        """Redis refuses this batch for good: try half of it; a single event becomes a dead letter."""
        if rejected.passing:
            self._size.explained()
            self._buffer.put_back(batch)
        elif len(batch) > 1:
            self._size.refused(len(batch))
            log.warning("batch.halved", events=len(batch), error=rejected.detail)
            self._buffer.put_back(batch)
        else:
            self._size.explained()
            self._buffer.put_back([self._set_apart(batch[0], rejected.detail)])

    def _set_apart(self, record: Record, detail: str) -> Record:
        if not record.dead:
            self._refused_in_a_row += len(record.data) <= _SMALL_BYTES
        limit = len(record.data) // 2 if record.dead else self._context.settings.stream.max_dead_letter_bytes
        data, type = record.data[:limit], record.type[:_LETTER_TYPE_LENGTH]  # less where even the letter is too large
        whole = (data, type) == (record.data, record.type) and not (record.dead and record.dead.truncated)
        dead = DeadLetter(DeadLetterReason.REJECTED, detail, truncated=not whole)
        log.error("event.rejected", size_bytes=len(record.data), error=detail)
        return record._replace(data=data, type=type, dead=dead)


def _without_holes(batch: list[Record]) -> list[Record]:
    return [record for record in batch if not record.skip]  # they are declared anew with each commit
