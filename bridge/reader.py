"""The source side of a session: connect, read, resume, until the session is over."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Protocol

import structlog

from bridge.backoff import Backoff
from bridge.buffer import Buffer
from bridge.events import ConnectOutcome, DisconnectReason, GapReason, Session, SessionState, SkipReason
from bridge.intake import HOLD_SECONDS, Intake, Taken
from bridge.outcomes import Active, Closed, Lookup, Over, Refused, Unanswered
from bridge.settings import OnEnd, SourceSettings
from bridge.sse import ServerSentEvent
from bridge.status import SessionStatus

__all__ = ["Connection", "Reader", "Source"]

log = structlog.get_logger()

_KEY_POLL_SECONDS = 1.0
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


class Connection(Protocol):
    """An open source."""

    @property
    def resumed(self) -> bool: ...
    @property
    def retry_floor_seconds(self) -> float: ...
    @property
    def bytes_received(self) -> int: ...
    async def read(self) -> list[ServerSentEvent] | Closed: ...
    async def aclose(self) -> None: ...


class Source(Protocol):
    """Where events come from."""

    async def open(self, session_id: str, cursor: str | None) -> Connection | Refused: ...
    async def lookup(self, session_id: str) -> Lookup: ...
    def key_changed(self) -> bool: ...


class Reader:
    """Reads one session into the buffer. Never raises for a fault of the source; cancel it to stop."""

    def __init__(
        self,
        *,
        session: Session,
        source: Source,
        intake: Intake,
        buffer: Buffer,
        status: SessionStatus,
        settings: SourceSettings,
    ) -> None:
        self._session = session
        self._source = source
        self._intake = intake
        self._buffer = buffer
        self._status = status
        self._settings = settings
        self._backoff = Backoff(
            initial_seconds=settings.backoff_initial_seconds, max_seconds=settings.backoff_max_seconds
        )
        self._retry_floor_seconds = 0.0
        self._without_cursor = False  # the server refuses our cursor: connect without it, once
        self._cursor_refusals = 0
        self._last_open = time.monotonic()
        self._held_check: asyncio.TimerHandle | None = None

    async def run(self) -> str:
        """Read until the session is over; tells why."""
        while True:
            self._status.enter(SessionState.CURSOR_LOST if self._without_cursor else SessionState.CONNECTING)
            cursor = None if self._without_cursor else self._intake.cursor
            opened = await self._source.open(self._session.session_id, cursor)
            if isinstance(opened, Refused):
                self._status.metrics.connected(opened.outcome)
                over = await self._after_refusal(opened, cursor)
            else:
                over = await self._after_close(await self._stream(opened))
            if over:
                return over

    def release_held(self) -> None:
        """Put what was kept back as a possible replay into the buffer."""
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
        self._status.metrics.gap(reason)
        log.error("gap.marked", reason=reason.value, outage_seconds=round(outage_seconds, 3))
        self._buffer.put(markers)

    async def _stream(self, connection: Connection) -> Closed:
        status = self._status
        status.metrics.connected(ConnectOutcome.OK)
        opened = time.monotonic()
        status.refusal = None
        self._intake.opened(resumed=connection.resumed)
        self._watch_held()  # what was held so far may be decided by what this connection replays
        log.info("source.opened", resumed=connection.resumed)
        if not connection.resumed:
            self.mark_gap(self._gap_reason())
        self._without_cursor, self._cursor_refusals = False, 0
        status.enter(SessionState.STREAMING)
        closed = Closed(reason=DisconnectReason.LEFT)
        try:
            closed = await self._read(connection)
        finally:
            await connection.aclose()
            status.metrics.disconnected(closed.reason)
            now = time.monotonic()
            self._last_open = now
            self._retry_floor_seconds = connection.retry_floor_seconds
            if connection.bytes_received and now - opened >= self._settings.backoff_reset_seconds:
                self._backoff = self._backoff.reset()
            log.info("source.closed", reason=closed.reason.value, error=closed.detail or None)
        return closed

    async def _read(self, connection: Connection) -> Closed:
        status, metrics = self._status, self._status.metrics
        counted = 0
        while True:
            events = await connection.read()
            if isinstance(events, Closed):
                return events
            now = time.time()
            total = connection.bytes_received
            metrics.bytes_received(total - counted, now)
            counted, status.last_byte_at = total, now
            if not events:
                continue
            taken = self._intake.accept(events, now)
            self._take_in(taken, now)
            if taken.ended:
                return Closed(reason=DisconnectReason.END)
            if self._intake.holding and self._held_check is None:
                self._watch_held()
            if self._buffer.full:
                await self._wait_for_room()

    def _watch_held(self) -> None:
        if self._held_check is not None:
            self._held_check.cancel()
        loop = asyncio.get_running_loop()
        self._held_check = loop.call_later(HOLD_SECONDS, self.release_held) if self._intake.holding else None

    def _take_in(self, taken: Taken, now: float) -> None:
        status, metrics = self._status, self._status.metrics
        if taken.records:
            self._buffer.put(taken.records)
            status.buffer_events, status.buffer_bytes = len(self._buffer), self._buffer.size_bytes
            metrics.buffer(len(self._buffer), self._buffer.size_bytes)
        if taken.types:
            status.last_event_at = now
            metrics.received(taken.types, now)
        if taken.heartbeats:
            metrics.heartbeats(taken.heartbeats)
        if taken.duplicates:
            metrics.skipped(SkipReason.DUPLICATE, taken.duplicates)
        if taken.masked:
            metrics.secret_masked(taken.masked)
            log.warning("secret.masked", events=taken.masked)
        if taken.conflicts:
            metrics.id_conflicts(taken.conflicts)
            log.warning("id.reused", events=taken.conflicts)
        if taken.overrun:
            metrics.replay_overrun()
            log.error("replay.overran", hint="the server replays more than dedupe.window_events; raise it")

    async def _wait_for_room(self) -> None:
        began = time.monotonic()
        self._status.block(True)
        try:
            await self._buffer.wait_for_room()
        finally:
            self._status.block(False)
            self._status.metrics.backpressured(time.monotonic() - began)

    def _gap_reason(self) -> GapReason:
        if self._without_cursor:
            return GapReason.CURSOR_UNKNOWN
        return GapReason.CURSOR_UNSENDABLE if self._intake.cursor else GapReason.NO_CURSOR

    async def _after_close(self, closed: Closed) -> str | None:
        if closed.detail:
            self._status.fail(closed.detail)
        if closed.reason is DisconnectReason.END:
            match self._settings.on_end:
                case OnEnd.STOP:
                    return "end"
                case OnEnd.VERIFY:
                    lookup = await self._lookup()
                    if isinstance(lookup, Over):
                        return lookup.status
        await self._wait(min(self._retry_floor_seconds, self._settings.slow_retry_seconds))
        return None

    async def _after_refusal(self, refused: Refused, cursor: str | None) -> str | None:
        self._status.fail(refused.detail)
        outcome = refused.outcome
        # A source that is away for a night should not fill the log: what changes is told, what stays counted.
        tell = log.debug if outcome is self._status.refusal else log.warning if outcome in _PASSING else log.error
        tell("source.refused", outcome=outcome.value, status=refused.status, error=refused.detail)
        self._status.refusal = outcome
        match outcome:
            case ConnectOutcome.UNAUTHORIZED:
                await self._wait_for_key()
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
            self._status.fail(lookup.detail)
            log.warning("session.unknown_fate", error=lookup.detail)
        return lookup

    async def _wait_for_key(self) -> None:
        self._status.enter(SessionState.UNAUTHORIZED)
        until = time.monotonic() + self._settings.slow_retry_seconds * (0.5 + random.random() / 2)
        while time.monotonic() < until and not self._source.key_changed():  # noqa: ASYNC110  a file tells no event
            await asyncio.sleep(min(_KEY_POLL_SECONDS, self._settings.slow_retry_seconds))

    async def _wait(self, floor_seconds: float) -> None:
        self._status.enter(SessionState.CURSOR_LOST if self._without_cursor else SessionState.WAITING)
        delay = self._backoff.delay(random.random, floor_seconds)
        self._backoff = self._backoff.next()
        await asyncio.sleep(delay)
