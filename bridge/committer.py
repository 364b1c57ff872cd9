"""The sink side of a session: take what is buffered, commit it, know the outcome before going on."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, assert_never

import structlog

from bridge.backoff import Backoff
from bridge.buffer import Buffer
from bridge.envelopes import timestamp_of
from bridge.errors import SinkFault
from bridge.events import CommitOutcome, DeadLetter, DeadLetterReason, Phase, Place, Record
from bridge.outcomes import AlreadyCommitted, CommitResult, Committed, Fenced, Lost, RolledBack
from bridge.settings import CommitSettings, RedisSettings
from bridge.status import SessionStatus
from bridge.window import Seal, Window

__all__ = ["Committer", "Sink"]

log = structlog.get_logger()


class Sink(Protocol):
    """Where commits go. One commit of a session is under way at a time."""

    def pack(self, token: str, place: Place, after: Place, batch: Sequence[Record], seal: Seal, phase: Phase) -> bytes:
        """The commit that follows ``place``, to be sent as often as it takes."""

    async def commit(self, packed: bytes) -> CommitResult:
        """Send it. Raises SinkFault where the outcome is not known or Redis refused it whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Under:
    """A commit under way."""

    batch: list[Record]
    seal: Seal
    after: Place
    phase: Phase
    packed: bytes
    started: float  # monotonic seconds


class Committer:
    """Owns the committed place of one session for as long as its token holds."""

    def __init__(
        self,
        *,
        token: str,
        place: Place,
        window: Window,
        buffer: Buffer,
        sink: Sink,
        status: SessionStatus,
        commit: CommitSettings,
        redis: RedisSettings,
        max_dead_letter_bytes: int,
    ) -> None:
        self.place = place
        self.final_phase = Phase.ACTIVE  # what to commit with the last batch, once the buffer is closed
        self.under_way = 0  # records sent, or to be sent again, whose outcome is not known
        self._token = token
        self._window = window
        self._buffer = buffer
        self._sink = sink
        self._status = status
        self._limits = commit
        self._backoff = Backoff(initial_seconds=redis.backoff_initial_seconds, max_seconds=redis.backoff_max_seconds)
        self._max_dead_letter_bytes = max_dead_letter_bytes
        self._told: set[DeadLetterReason] = set()
        self._one_by_one = 0  # this many records must go alone, since one of them is refused

    async def run(self) -> Fenced | RolledBack | Lost | None:
        """Commit until the buffer is closed and empty (None), or until the place is no longer ours."""
        while (under := await self._next()) is not None:
            self.under_way = len(under.batch)
            try:
                result = await self._settle(under)
            except _RejectedError as rejected:
                self._set_apart(under.batch, rejected.detail)
                continue
            if not isinstance(result, Committed | AlreadyCommitted):
                return result
        return None

    async def _next(self) -> _Under | None:
        await self._buffer.wait_filled()
        most = 1 if self._one_by_one else self._limits.max_events
        batch = self._buffer.take(most, self._limits.max_bytes)
        self._one_by_one = max(0, self._one_by_one - len(batch))
        last = self._buffer.closed and not len(self._buffer)
        phase = self.final_phase if last else Phase.ACTIVE
        if not batch and phase is Phase.ACTIVE:
            return None
        after = replace(self.place, commits=self.place.commits + 1)
        if batch:
            after = replace(after, cursor=batch[-1].cursor, ordinal=batch[-1].ordinal)
        seal = self._window.seal(batch)
        packed = self._sink.pack(self._token, self.place, after, batch, seal, phase)
        return _Under(batch=batch, seal=seal, after=after, phase=phase, packed=packed, started=time.monotonic())

    async def _settle(self, under: _Under) -> CommitResult:
        """Send one commit, the same bytes each time, until it is known what became of it."""
        backoff = self._backoff
        failing = False
        while True:
            try:
                result = await self._sink.commit(under.packed)
            except SinkFault as fault:
                if fault.kind == "too_large":
                    if failing:
                        self._status.block(False)
                    raise _RejectedError(fault.detail) from fault
                self._status.metrics.committed(CommitOutcome.ERROR)
                self._status.fail(fault.detail)
                if not failing:
                    failing = True
                    self._status.block(True)
                    log.warning("commit.delayed", kind=fault.kind, error=fault.detail, events=len(under.batch))
                await asyncio.sleep(backoff.delay(random.random))
                backoff = backoff.next()
                continue
            if failing:
                self._status.block(False)
                seconds = round(time.monotonic() - under.started, 3)
                log.info("commit.recovered", after_seconds=seconds, events=len(under.batch))
            self._note(result, under)
            return result

    def _note(self, result: CommitResult, under: _Under) -> None:
        metrics = self._status.metrics
        match result:
            case Committed(seq=seq, length=length):
                metrics.committed(CommitOutcome.OK)
                self._landed(under, seq, length)
            case AlreadyCommitted(seq=seq, length=length):
                metrics.committed(CommitOutcome.ALREADY)
                log.info("commit.found_landed", seq=seq, events=len(under.batch))
                self._landed(under, seq, length)
            case Fenced():
                metrics.committed(CommitOutcome.FENCED)
            case RolledBack() | Lost():
                metrics.committed(CommitOutcome.ROLLED_BACK)
            case _:
                assert_never(result)

    def _landed(self, under: _Under, seq: int, length: int) -> None:
        if under.phase is not Phase.ACTIVE:
            self.final_phase = Phase.ACTIVE  # it stands
        published = seq - self.place.seq
        self.place = replace(under.after, seq=seq)
        self._window.committed(under.batch, under.seal)
        now = time.time()
        status, metrics = self._status, self._status.metrics
        status.cursor, status.seq, status.last_commit_at = self.place.cursor, seq, now
        metrics.commit_done(len(under.batch), published, time.monotonic() - under.started, now)
        metrics.stream_length(length)
        status.buffer_events, status.buffer_bytes = len(self._buffer), self._buffer.size_bytes
        metrics.buffer(status.buffer_events, status.buffer_bytes)
        self._note_latencies(under.batch, now)
        for record in under.batch if published < len(under.batch) else ():
            if record.dead:
                metrics.dead_letter(record.dead.reason, 1)
                self._tell(record.key, record.dead)
        log.debug("batch.committed", events=len(under.batch), seq=seq)

    def _tell(self, key: str, dead: DeadLetter) -> None:
        # The first of each reason: a server that sends nothing else should not fill the log. The metric has them all.
        if dead.reason not in self._told:
            self._told.add(dead.reason)
            log.warning("event.dead_lettered", reason=dead.reason.value, id=key, detail=dead.detail)

    def _note_latencies(self, batch: list[Record], now: float) -> None:
        metrics = self._status.metrics
        received_at, count = 0.0, 0
        for record in batch:  # all events of a chunk share their time: one observation for each chunk
            if record.received_at != received_at:
                if count:
                    metrics.delivered(now - received_at, count)
                received_at, count = record.received_at, 0
            count += 1
        if not count:
            return
        metrics.delivered(now - received_at, count)
        if (said := timestamp_of(batch[-1].data)) is not None:  # one sample per commit: reading it costs a parse
            metrics.source_latency(now - said, 1)

    def _set_apart(self, batch: list[Record], detail: str) -> None:
        """Redis refuses this batch at any time: find the record that it is about, and dead-letter that one."""
        if len(batch) > 1:
            self._one_by_one += len(batch)
            self._buffer.put_back(batch)
            return
        record = batch[0]
        limit = len(record.data) // 2 if record.dead else self._max_dead_letter_bytes  # even the letter is too large
        kept = record.data[:limit]
        truncated = len(kept) < len(record.data) or bool(record.dead and record.dead.truncated)
        dead = DeadLetter(DeadLetterReason.REJECTED, detail, truncated=truncated)
        log.error("event.rejected", size_bytes=len(record.data), error=detail)
        self._one_by_one += 1
        self._buffer.put_back([record._replace(data=kept, dead=dead)])


class _RejectedError(Exception):
    """Redis will never take this batch."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
