"""The sink side of a session: send what is buffered, know what became of it, in order.

Each commit names the one that it follows, so the next may be sent before the answer to the last has come: where that
one did not land, neither does this. In health all of it is done in the very step that brings an event or an answer.
Whatever else an answer says, `run` settles those under way one after another, as the same bytes, before it sends more.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from typing import assert_never

import structlog

from bridge.backoff import Backoff
from bridge.delivery.batch import MAX_ARGUMENTS, MAX_REQUEST_BYTES, BatchSize, Counts, counts_in, records_in
from bridge.delivery.window import Window
from bridge.errors import FaultKind, Meaning, SinkFault
from bridge.model.labels import CommitOutcome, Phase
from bridge.model.outcomes import AlreadyCommitted, CommitResult, Committed, Fenced, Lost, RolledBack
from bridge.model.place import Place
from bridge.model.records import Piece
from bridge.session.buffer import Buffer
from bridge.session.context import SessionContext
from bridge.session.flights import Flight, Outage, Rejected, replaying
from bridge.session.refusals import Refusals, without_holes
from bridge.session.retention import RetentionNotes

__all__ = ["Committer"]

log = structlog.get_logger()

_WORTH_OVERLAPPING_EVENTS = 64
_WORTH_OVERLAPPING_BYTES = 64 * 1024
"""How much has to wait before it is sent beside a commit that is under way. With less, that one's answer is here before
much is gained, and two small scripts cost Redis more than one."""

_MENDED_BY_ASKING = (FaultKind.NO_SCRIPT, FaultKind.MOVED, FaultKind.ASK)
"""What the first try does not look after, since it waits for nothing: the next one loads the script, or follows."""


class Committer:
    """Owns the committed place of one session for as long as its token holds."""

    def __init__(self, context: SessionContext, window: Window, buffer: Buffer) -> None:
        settings = context.settings
        self.place = context.lease.place
        self.final_phase = Phase.ACTIVE  # what to commit with the last batch, once the buffer is closed
        self._context = context
        self._window = window
        self._buffer = buffer
        self._figures = context.figures
        self._size = BatchSize(settings.commit.max_events)
        self._refusals = Refusals(self._size, settings.stream.max_dead_letter_bytes)
        self._max_bytes = min(settings.commit.max_bytes, MAX_REQUEST_BYTES)
        self._backoff = Backoff(
            initial_seconds=settings.redis.backoff_initial_seconds, max_seconds=settings.redis.backoff_max_seconds
        )
        self._reissue = context.numbers.reissue(self.place.seq)
        self._retention = RetentionNotes(context.figures)
        self._log = log.bind()  # made once: this one is asked with each commit, and mostly has nothing to say
        self._flights: deque[Flight] = deque()
        self._sending = False  # what is buffered goes out by itself
        self._called = asyncio.Event()  # there is something for `run` to do
        self._crash: Exception | None = None
        self._replay = False  # dead letters are asked for: a commit of its own, and nothing beside it

    @property
    def in_flight(self) -> int:
        """Records sent, or to be sent again, whose outcome is not known."""
        return sum(flight.events for flight in self._flights)

    def replay_letters(self) -> None:
        """Publish the dead letters that are asked for in the state, once all that was sent is settled."""
        if not self._replay:
            self._replay = True
            self._send()

    async def run(self) -> Fenced | RolledBack | Lost | None:
        """Commit until the buffer is closed and empty (None), or until the place is no longer ours."""
        self._buffer.on_filled = self._send
        lost = None
        try:
            while not self._finished:
                self._sending = True
                self._send()
                await self._called.wait()
                self._called.clear()
                if self._crash is not None:
                    raise self._crash
                if not self._sending and (lost := await self._settle_all()) is not None:
                    return lost
            return None
        finally:
            self._sending = False
            for flight in self._flights:
                flight.end_span(lost)

    @property
    def _finished(self) -> bool:
        return self._buffer.closed and not self._buffer and not self._flights and self.final_phase is Phase.ACTIVE

    # In health: plain functions, called in the step in which an event or an answer comes.

    def _send(self) -> None:
        while self._sending and self._may_send():
            flight = self._next()
            self._flights.append(flight)
            flight.reply = self._context.sink.post(flight.packed, self._answered)
        if self._finished:
            self._called.set()

    def _may_send(self) -> bool:
        waiting, under_way = self._buffer.events, len(self._flights)
        if not under_way:
            return waiting > 0 or self._replays or (self._buffer.closed and self.final_phase is not Phase.ACTIVE)
        if not waiting:
            return False
        enough = waiting >= _WORTH_OVERLAPPING_EVENTS or self._buffer.size_bytes >= _WORTH_OVERLAPPING_BYTES
        # What follows a marker for lost numbers, or a size that is not yet known to pass, waits for the answer.
        certain = self._reissue is None and not self._size.cautious and not self._replay
        return enough and certain and under_way < self._context.settings.commit.in_flight

    @property
    def _replays(self) -> bool:
        """Letters take the next numbers now. Not while numbers are given out for the second time: they have owners."""
        return self._replay and self._reissue is None

    def _next(self) -> Flight:
        if self._replays:
            return replaying(self._context, self.place)
        # A marker may come in front of each event while numbers are given out for the second time.
        share = 3 if self._reissue else 1
        batch = self._buffer.take(-(-self._size.events // share), self._max_bytes, MAX_ARGUMENTS // share)
        last = self._buffer.closed and not self._buffer
        if self._reissue:
            markers = self._context.settings.stream.markers
            records = records_in(batch)
            batch = [*self._reissue.declared(records, self.place, at=time.time(), markers=markers)]
        return self._packed(batch, self._flights, self.final_phase if last else Phase.ACTIVE)

    def _packed(self, batch: Sequence[Piece], ahead: Sequence[Flight], phase: Phase = Phase.ACTIVE) -> Flight:
        """A commit of ``batch`` behind those that are ``ahead``, or behind the committed place."""
        place = ahead[-1].after if ahead else self.place
        cursor, ordinal = batch[-1].end if batch else (place.cursor, place.ordinal)
        mark = f"{random.getrandbits(48):012x}"
        counts = counts_in(batch)
        spans = self._context.spans
        span = spans.begin(counts.published) if spans and counts.published else None
        after = Place(cursor, ordinal, place.seq + counts.numbers, place.commits + 1, mark)
        seal = self._window.seal(batch, [flight.seal for flight in ahead] if ahead else ())
        traceparent = span.traceparent if span else ""
        packed = self._context.sink.pack(self._context.lease.token, place, after, batch, seal, phase, traceparent)
        return Flight(
            batch=batch,
            counts=counts,
            seal=seal,
            after=after,
            phase=phase,
            packed=packed,
            started=time.monotonic(),
            span=span,
        )

    def _answered(self, reply: asyncio.Future[object]) -> None:
        _ = reply.cancelled() or reply.exception()  # looked at, whether or not anybody still waits for it
        try:
            while self._sending and self._flights and self._has_landed(self._flights[0]):
                pass
            self._send()
        except Exception as error:  # nobody waits for a callback: `run` raises it
            self._sending, self._crash = False, error
            self._called.set()

    def _has_landed(self, flight: Flight) -> bool:
        """Take the answer to the oldest commit, where it has come; anything but success is for `run`."""
        if flight.reply is None or not flight.reply.done():
            return False
        try:
            result = self._context.sink.read(flight.reply.result())
        except (SinkFault, asyncio.CancelledError):
            result = None
        if isinstance(result, Committed):
            self._note(result, flight)
            return True
        self._sending = False
        self._called.set()
        return False

    # In trouble: one after another.

    async def _settle_all(self) -> Fenced | RolledBack | Lost | None:
        """Learn what became of each commit under way; what Redis refuses for good goes back to the buffer."""
        flights = self._flights
        # Their first tries have to end first: a packet that is still on its way could overtake what is sent now.
        await asyncio.wait([flight.reply for flight in flights if flight.reply is not None])
        fault = flights[0].fault
        while flights:
            flight = flights[0]
            match await self._settle(flight, fault):
                case Rejected() as rejected:
                    self._take_back(flight, rejected)
                case Committed() | AlreadyCommitted():
                    pass
                case lost:
                    return lost
            fault = None
        return None

    def _take_back(self, flight: Flight, rejected: Rejected) -> None:
        """Those behind it name it as the one that they follow, so they cannot land either."""
        for one in self._flights:
            one.end_span(rejected)
        while self._flights[-1] is not flight:
            self._buffer.put_back(self._flights.pop().batch)
        self._flights.clear()
        if flight.replays:
            self._replay = False
            log.error("letters.not_replayed", error=rejected.detail)
            return
        self._buffer.put_back(self._refusals.answer(without_holes(flight.batch), rejected))

    async def _settle(self, flight: Flight, fault: SinkFault | None) -> CommitResult | Rejected:
        """Send one commit, the same bytes each time, until it is known what became of it."""
        outage = Outage(self._figures, self._backoff)
        try:
            outcome = await self._outcome(flight, outage, fault)
            if outage.lasts:
                seconds = round(time.monotonic() - flight.started, 3)
                log.info("commit.recovered", after_seconds=seconds, events=flight.events)
            return outcome
        finally:
            outage.end()

    async def _outcome(self, flight: Flight, outage: Outage, fault: SinkFault | None) -> CommitResult | Rejected:
        unknown = False
        if fault is not None and fault.kind in _MENDED_BY_ASKING:
            fault = None
        while True:
            if fault is None:
                try:
                    result = self._standing(await self._context.sink.commit(flight.packed), flight)
                    self._note(result, flight)
                    return result
                except SinkFault as raised:
                    fault = raised
            events = without_holes(flight.batch)
            if fault.kind.meaning is Meaning.CALL and (flight.replays or not self._refusals.is_stuck(events)):
                if unknown:
                    log.warning("commit.unknown", events=flight.events)
                if unknown or len(events) <= 1:
                    return await self._learn(flight, fault, outage)
                return Rejected(detail=fault.detail)
            unknown |= fault.kind.meaning is Meaning.UNKNOWN
            await outage.wait(fault, flight.events)
            fault = None

    async def _learn(self, flight: Flight, refusal: SinkFault, outage: Outage) -> CommitResult | Rejected:
        """What became of a commit that was refused, where an earlier try may have landed, or where it is a lone event.

        A commit that carries nothing takes its place: either it finds that one there, or it lands, and then no late
        packet of that one can follow it any more. And where it is refused as well, it is not the event's fault.
        """
        probe = self._packed([], ())
        passing = False
        while True:
            try:
                result = await self._context.sink.commit(probe.packed)
            except SinkFault as fault:
                passing |= fault.kind.meaning is Meaning.CALL
                await outage.wait(fault, flight.events)
                continue
            if isinstance(result, AlreadyCommitted) and result.mark == probe.after.mark:
                result = Committed(seq=result.seq, length=result.length)  # at an earlier try of its own
            result = self._standing(result, flight)
            self._note(result, probe if isinstance(result, Committed) else flight)
            return Rejected(detail=refusal.detail, passing=passing) if isinstance(result, Committed) else result

    def _standing(self, result: CommitResult, flight: Flight) -> CommitResult:
        """What an answer means in the light of all that is under way: one of those may be the last that landed."""
        match result:
            case AlreadyCommitted(mark=mark) if mark != flight.after.mark:
                return RolledBack(commits=self.place.commits)  # another history, with as many commits
            case RolledBack(mark=mark) if any(mark == one.after.mark for one in self._flights):
                return AlreadyCommitted(seq=result.seq, length=result.length, mark=mark)
        return result

    def _note(self, result: CommitResult, flight: Flight) -> None:
        commits = self._figures.commits
        match result:
            case Committed(seq=seq, length=length):
                commits[CommitOutcome.OK] += 1
                self._landed(flight, seq, length)
                if result.unread_trimmed or result.not_trimmed:
                    self._retention.take(result)
            case AlreadyCommitted(seq=seq, length=length, mark=mark):
                while self._flights[0].after.mark != mark:  # it stands behind these, so they have landed as well
                    self._note_found(self._flights[0], self.place.seq + self._flights[0].counts.numbers, length)
                self._note_found(self._flights[0], seq, length)
            case Fenced():
                commits[CommitOutcome.FENCED] += 1
            case RolledBack() | Lost():
                commits[CommitOutcome.ROLLED_BACK] += 1
            case _:
                assert_never(result)

    def _note_found(self, flight: Flight, seq: int, length: int) -> None:
        self._figures.commits[CommitOutcome.ALREADY] += 1
        log.info("commit.found_landed", seq=seq, events=flight.events)
        self._landed(flight, seq, length)

    def _landed(self, flight: Flight, seq: int, length: int) -> None:
        if self._flights and self._flights[0] is flight:
            self._flights.popleft()
        if flight.phase is not Phase.ACTIVE:
            self.final_phase = Phase.ACTIVE  # it stands
        if flight.replays:
            self._replay = False
            published = seq - self.place.seq
            flight.counts = Counts(0, published, published)
            self._context.numbers.taken(self.place.seq + 1, seq)
            log.info("letters.replayed", events=published, seq=seq)
        events, _, published = flight.counts
        if flight.span:
            flight.span.landed(seq, published)
        self._context.numbers.landed(flight.batch, self.place.seq)
        self.place = flight.after if seq == flight.after.seq else flight.after._replace(seq=seq)
        self._size.passed(events)
        if self._reissue and seq >= self._context.numbers.highest:
            self._reissue = None
        if published:
            self._refusals.published()
        self._window.committed(flight.seal)
        seconds = time.monotonic() - flight.started
        figures = self._figures
        figures.add_commit(flight.batch, flight.counts, self.place, seconds=seconds, now=time.time())
        figures.stream_length = length
        figures.buffer_events, figures.buffer_bytes = len(self._buffer), self._buffer.size_bytes
        if published < events:
            self._refusals.tell_letters(flight.batch)
        self._log.debug("batch.committed", events=events, seq=seq)
