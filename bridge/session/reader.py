"""The source side of a session: connect, read, resume, until the session is over."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from bridge.backoff import Backoff
from bridge.delivery.complaints import ERROR_TYPE, Complaint, ErrorFrames
from bridge.delivery.intake import HOLD_SECONDS, Intake
from bridge.model.labels import ConnectOutcome, DisconnectReason, GapReason, SessionState, SkipReason
from bridge.model.outcomes import Active, Closed, Lookup, Over, Refused, Unanswered
from bridge.model.place import Session
from bridge.model.records import Accepted, PlainEvents, Record, Run, ServerSentEvent
from bridge.session.buffer import Buffer
from bridge.session.remarks import Remarks
from bridge.settings import OnEnd, SourceSettings
from bridge.telemetry.figures import SessionFigures

__all__ = ["EventStream", "Reader", "Source"]

log = structlog.get_logger()

_CURSOR_REFUSALS = 3  # in a row; a gap is for ever, and a gateway in trouble answers 400 and 404 too
_LONGEST_RETRY_AFTER_SECONDS = 600.0  # a mistaken header must not silence a session for a day
_PASSING = frozenset(
    (
        ConnectOutcome.REFUSED,
        ConnectOutcome.TIMEOUT,
        ConnectOutcome.NOT_READY,
        ConnectOutcome.RATE_LIMITED,
        ConnectOutcome.SERVER_ERROR,
    )
)
"""Refusals that usually go away by themselves; of the others a person should hear."""
_UNREACHED = frozenset((ConnectOutcome.REFUSED, ConnectOutcome.TIMEOUT))
"""Refusals that were not the API's: another worker may have a way to it."""


class EventStream(Protocol):
    """An open source."""

    @property
    def resumed(self) -> bool: ...
    @property
    def retry_floor_seconds(self) -> float: ...
    @property
    def bytes_received(self) -> int: ...
    async def read(self) -> PlainEvents | list[ServerSentEvent] | Closed: ...
    async def flow(self, take: Callable[[PlainEvents | list[ServerSentEvent]], bool]) -> None: ...
    async def aclose(self) -> None: ...


class Source(Protocol):
    """Where events come from."""

    async def turn(self) -> None: ...
    async def open(self, session_id: str, cursor: str | None) -> EventStream | Refused: ...
    async def lookup(self, session_id: str) -> Lookup: ...
    async def wait_for_key(self, since: int, at_most_seconds: float) -> None: ...


class Reader:
    """Reads one session into the buffer. Never raises for a fault of the source; cancel it to stop."""

    def __init__(
        self,
        *,
        session: Session,
        source: Source,
        intake: Intake,
        buffer: Buffer,
        figures: SessionFigures,
        settings: SourceSettings,
    ) -> None:
        self._session = session
        self._source = source
        self._intake = intake
        self._buffer = buffer
        self._figures = figures
        self._settings = settings
        self.backoff = Backoff(
            initial_seconds=settings.backoff_initial_seconds, max_seconds=settings.backoff_max_seconds
        )
        """The waits between two attempts; another one may be put here before `run`."""
        self._retry_floor_seconds = 0.0
        self._lived_seconds = 0.0  # of the last connection, where that counts towards the wait after it
        self._progress = False  # this connection has brought something new
        self._errors = ErrorFrames()
        self._remarks = Remarks()
        self._refused_as: ConnectOutcome | None = None  # None since a connection stood
        self.unreachable_attempts = 0  # in a row, up to now
        self._without_cursor = False  # the server refuses our cursor: connect without it, once
        self._cursor_refusals = 0
        self._last_open = time.monotonic()
        self._held_check: asyncio.TimerHandle | None = None
        self._counted_bytes = 0  # of this connection
        self._end_seen = False

    async def run(self) -> str:
        """Read until the session is over; tells why."""
        while True:
            self._figures.enter(SessionState.CURSOR_LOST if self._without_cursor else SessionState.CONNECTING)
            await self._take_turn()
            cursor = None if self._without_cursor else self._intake.cursor
            opened = await self._source.open(self._session.session_id, cursor)
            if isinstance(opened, Refused):
                self._figures.source_connects[opened.outcome] += 1
                self.unreachable_attempts = self.unreachable_attempts + 1 if opened.outcome in _UNREACHED else 0
                over = await self._after_refusal(opened, cursor)
            else:
                over = await self._after_close(await self._stream(opened))
            if over:
                return over

    def release_held(self) -> None:
        """Put what was kept back as a possible replay into the buffer."""
        now = time.time()
        if frames := self._errors.release():
            self._take_in(self._intake.accept(frames, now), now)
        self._release_replay()

    def _release_replay(self) -> None:
        self._held_check = None
        if self._intake.holding:
            self._take_in(self._intake.release(), time.time())

    def mark_gap(self, reason: GapReason) -> None:
        """Say that events may be missing here: in the stream, in a counter and in the log."""
        now = time.time()
        outage_seconds = time.monotonic() - self._last_open
        markers = self._intake.gap(reason, outage_seconds=outage_seconds, at=now)
        if markers is None:
            return
        self._figures.gaps[reason] += 1
        log.error("gap.marked", reason=reason.value, outage_seconds=round(outage_seconds, 3))
        self._buffer.put(markers)

    async def _stream(self, connection: EventStream) -> Closed:
        figures = self._figures
        figures.source_connects[ConnectOutcome.OK] += 1
        opened = time.monotonic()
        self._refused_as, self._progress = None, False
        self.unreachable_attempts = 0
        self._errors.opened()
        self._intake.opened(resumed=connection.resumed)
        self._watch_held()  # what was held so far may be decided by what this connection replays
        log.info("source.opened", resumed=connection.resumed)
        if not connection.resumed:
            self.mark_gap(self._gap_reason())
        self._without_cursor, self._cursor_refusals = False, 0
        figures.enter(SessionState.STREAMING)
        closed = Closed(reason=DisconnectReason.LEFT)
        try:
            closed = await self._read(connection)
        finally:
            self._stop_watching()  # without a connection, the next one decides
            await connection.aclose()
            figures.source_disconnects[closed.reason] += 1
            now = time.monotonic()
            self._last_open = now
            self._retry_floor_seconds = connection.retry_floor_seconds
            if self._progress:
                self.backoff = self.backoff.reset()
            lived = now - opened
            self._lived_seconds = lived if lived >= self._settings.backoff_reset_seconds else 0.0
            log.info("source.closed", reason=closed.reason.value, error=closed.detail or None)
        return closed

    async def _read(self, connection: EventStream) -> Closed:
        self._counted_bytes, self._end_seen = 0, False

        def take(events: PlainEvents | Sequence[ServerSentEvent]) -> bool:
            return self._take_chunk(connection, events)

        while True:
            events = await connection.read()
            if isinstance(events, Closed):
                return events
            if take(events):
                await connection.flow(take)
            if self._end_seen:
                return Closed(reason=DisconnectReason.END)
            if self._buffer.full:
                await self._wait_for_room()

    def _take_chunk(self, connection: EventStream, events: PlainEvents | Sequence[ServerSentEvent]) -> bool:
        """Whether the next chunk may follow at once: there is room for it, and the stream has not come to its end."""
        figures, now = self._figures, time.time()
        total = connection.bytes_received
        figures.source_bytes += total - self._counted_bytes
        self._counted_bytes, figures.last_byte_at = total, now
        if self._errors.watching:
            one_by_one = events.events() if isinstance(events, PlainEvents) else events
            events = self._errors.sift(one_by_one, time.monotonic())
        if events:
            accepted = self._intake.accept(events, now)
            self._take_in(accepted, now)
            if accepted.types:
                self._watch_held()  # the clock runs while the connection is idle
            self._end_seen = accepted.ended
        return not (self._end_seen or self._buffer.full)

    def _watch_held(self) -> None:
        self._stop_watching()
        if self._intake.holding:
            self._held_check = asyncio.get_running_loop().call_later(HOLD_SECONDS, self._release_replay)

    def _stop_watching(self) -> None:
        if self._held_check is not None:
            self._held_check.cancel()
        self._held_check = None

    def _take_in(self, accepted: Accepted, now: float) -> None:
        figures = self._figures
        figures.add(accepted, now)
        if accepted.records:
            # An error frame is no progress: a server that refuses us in that shape each time must not be hammered.
            self._progress = self._progress or any(
                isinstance(record, Run) or _type_of(record) != ERROR_TYPE for record in accepted.records
            )
            self._buffer.put(accepted.records)
            figures.buffer_events, figures.buffer_bytes = len(self._buffer), self._buffer.size_bytes
        self._remarks.note("secret.masked", accepted.masked)
        self._remarks.note("id.reused", accepted.conflicts)
        if accepted.overrun:
            log.error("replay.overran", hint="the server replays more than dedupe.window_events; raise it")

    async def _wait_for_room(self) -> None:
        began = time.monotonic()
        self._figures.block(True)
        try:
            await self._buffer.wait_for_room()
        finally:
            self._figures.block(False)
            self._figures.backpressure_seconds += time.monotonic() - began

    def _gap_reason(self) -> GapReason:
        if self._without_cursor:
            return GapReason.CURSOR_UNKNOWN
        return GapReason.CURSOR_UNSENDABLE if self._intake.cursor else GapReason.NO_CURSOR

    async def _take_turn(self) -> None:
        began = time.monotonic()
        # What is longer than a connection may take to open should not go unseen.
        late = asyncio.get_running_loop().call_later(self._settings.connect_timeout_seconds, self._turn_is_late)
        try:
            await self._source.turn()
        finally:
            late.cancel()
            self._figures.source_connect_wait_seconds += time.monotonic() - began

    def _turn_is_late(self) -> None:
        seconds = self._settings.connect_timeout_seconds
        detail = f"has waited {seconds:g} s for its turn to connect - the server has asked for fewer connections, "
        detail += "or source.connects_per_second is too low"
        self._figures.fail(detail)
        log.warning("source.connect_delayed", error=detail)

    async def _after_close(self, closed: Closed) -> str | None:
        if closed.detail:
            self._figures.fail(closed.detail)
        complaint = self._errors.closed(time.monotonic())
        if complaint is not None:
            self._tell_complaint(complaint)
        refused = complaint is not None and bool(complaint.words)
        ended = closed.reason is DisconnectReason.END
        if ended and self._settings.on_end is OnEnd.STOP:
            return "end"
        if refused or (ended and self._settings.on_end is OnEnd.VERIFY):
            lookup = await self._lookup()
            if isinstance(lookup, Over):
                return "gone" if refused and lookup.status == "unknown" else lookup.status
        await self._wait(min(self._retry_floor_seconds, self._settings.slow_retry_seconds), self._lived_seconds)
        return None

    def _tell_complaint(self, complaint: Complaint) -> None:
        """The connection brought nothing but error frames: a refusal, where it was closed right after them."""
        if complaint.late:
            now = time.time()
            self._take_in(self._intake.accept(complaint.late, now), now)
        if complaint.dropped:
            self._figures.events_skipped[SkipReason.DUPLICATE] += complaint.dropped
        if complaint.words:
            detail = f"the stream was closed after an error: {complaint.words}"
            self._figures.fail(detail)
            tell = log.debug if complaint.repeated else log.error
            tell("source.refused", outcome=ConnectOutcome.BAD_RESPONSE.value, status=200, error=detail)

    async def _after_refusal(self, refused: Refused, cursor: str | None) -> str | None:
        self._figures.fail(refused.detail)
        outcome = refused.outcome
        # A source that is away for a night should not fill the log: what changes is told, what stays counted.
        tell = log.debug if outcome is self._refused_as else log.warning if outcome in _PASSING else log.error
        tell("source.refused", outcome=outcome.value, status=refused.status, error=refused.detail)
        self._refused_as = outcome
        match outcome:
            case ConnectOutcome.UNAUTHORIZED:
                await self._wait_for_key(refused)
                return None
            case ConnectOutcome.NO_CONTENT:
                return "no_content"
            case ConnectOutcome.CURSOR_REFUSED:
                self._cursor_refusals += 1
            case ConnectOutcome.NOT_FOUND | ConnectOutcome.REJECTED | ConnectOutcome.BAD_RESPONSE:
                lookup = await self._lookup()
                if isinstance(lookup, Over):
                    return "gone" if lookup.status == "unknown" else lookup.status
                # The session lives, and still its stream is not found: it may be our place that is not.
                self._cursor_refusals += isinstance(lookup, Active)
            case _:
                self._cursor_refusals = 0
        self._without_cursor = cursor is not None and self._cursor_refusals >= _CURSOR_REFUSALS
        await self._wait(min(refused.retry_after_seconds or 0.0, _LONGEST_RETRY_AFTER_SECONDS))
        return None

    async def _lookup(self) -> Lookup:
        lookup = await self._source.lookup(self._session.session_id)
        if isinstance(lookup, Unanswered):
            self._figures.fail(lookup.detail)
            log.warning("session.unknown_fate", error=lookup.detail)
        return lookup

    async def _wait_for_key(self, refused: Refused) -> None:
        self._figures.enter(SessionState.UNAUTHORIZED)
        at_most = self._settings.slow_retry_seconds * (0.5 + random.random() / 2)
        await self._source.wait_for_key(refused.key_version, at_most)

    async def _wait(self, floor_seconds: float, spent_seconds: float = 0.0) -> None:
        self._figures.enter(SessionState.CURSOR_LOST if self._without_cursor else SessionState.WAITING)
        delay = self.backoff.delay(random.random, floor_seconds, spent_seconds)
        self.backoff = self.backoff.next()
        await asyncio.sleep(delay)


def _type_of(record: Record) -> str:
    return record.type if record.skip is None else record.event  # of one that was filtered out
