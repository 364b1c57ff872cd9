"""One session for as long as its lease is ours: a reader fills the buffer, a committer empties it.

The first of them to finish says why, and the other one follows: what was read is committed when the source is over or a
stop was asked for; it is dropped when the place is no longer ours, since the next owner reads it again.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass

import structlog

from bridge.buffer import Buffer
from bridge.committer import Committer, Sink
from bridge.events import Claim, GapReason, Phase, Place, Session
from bridge.intake import Intake
from bridge.outcomes import Fenced, Lost, Over, RolledBack
from bridge.reader import Reader, Source
from bridge.secrets import Secrets
from bridge.settings import Settings
from bridge.status import SessionStatus
from bridge.window import Window

__all__ = ["Ended", "Outcome", "Pump", "Stopped"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A stop was asked for. ``left`` records were read but not committed in time; the server still has them."""

    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The session is over. ``gone``: the API does not know it."""

    reason: str
    gone: bool


Outcome = Stopped | Ended | Fenced | RolledBack | Lost


class Pump:
    """Runs once. ``place`` and ``window`` are the committed ones, during and after the run."""

    def __init__(
        self,
        *,
        session: Session,
        claim: Claim,
        source: Source,
        sink: Sink,
        status: SessionStatus,
        settings: Settings,
        secrets: Secrets,
        gap: GapReason | None = None,
    ) -> None:
        self._session = session
        self._claim = claim
        self._source = source
        self._gap = gap
        self._grace_period_seconds = settings.worker.grace_period_seconds
        self._stop = asyncio.Event()
        self._outcome: Outcome | None = None
        self.window = Window(settings.dedupe.window_events, claim.window)
        self._buffer = Buffer(max_events=settings.commit.buffer_events, max_bytes=settings.commit.buffer_bytes)
        self._intake = Intake(
            place=claim.place,
            window=self.window,
            secrets=secrets,
            markers=settings.stream.markers,
            max_dead_letter_bytes=settings.stream.max_dead_letter_bytes,
        )
        self._reader = Reader(
            session=session,
            source=source,
            intake=self._intake,
            buffer=self._buffer,
            status=status,
            settings=settings.source,
        )
        self._committer = Committer(
            token=claim.token,
            place=claim.place,
            window=self.window,
            buffer=self._buffer,
            sink=sink,
            status=status,
            commit=settings.commit,
            redis=settings.redis,
            max_dead_letter_bytes=settings.stream.max_dead_letter_bytes,
        )

    @property
    def place(self) -> Place:
        """The committed place."""
        return self._committer.place

    def stop(self) -> None:
        """Stop reading, commit what was read, return within the grace period."""
        self._stop.set()

    def interrupt(self, outcome: Fenced | Lost | RolledBack) -> None:
        """The place is no longer ours, as a renewal of the lease has shown: drop all and return at once."""
        self._outcome = outcome
        self._stop.set()

    async def run(self) -> Outcome:
        """Read and commit until there is a reason to end."""
        if self._claim.phase is not Phase.ACTIVE:
            lookup = await self._source.lookup(self._session.session_id)
            if isinstance(lookup, Over):
                return Ended(reason=lookup.status, gone=self._claim.phase is Phase.GONE)
        if self._gap is not None:
            self._reader.mark_gap(self._gap)
        reader = asyncio.create_task(self._reader.run(), name=f"read {self._session.name}")
        committer = asyncio.create_task(self._committer.run(), name=f"commit {self._session.name}")
        stop = asyncio.create_task(self._stop.wait(), name=f"stop {self._session.name}")
        try:
            await asyncio.wait({reader, committer, stop}, return_when=asyncio.FIRST_COMPLETED)
            if committer.done():
                lost = committer.result()
                assert lost is not None, "the buffer is open, so there is always more to commit"
                return lost
            if self._outcome is not None:
                return self._outcome
            over = reader.result() if reader.done() else None
            await _cancel(reader)
            return await self._drain(committer, over)
        finally:
            for task in (reader, committer, stop):
                await _cancel(task)

    async def _drain(self, committer: asyncio.Task[Fenced | RolledBack | Lost | None], over: str | None) -> Outcome:
        """Commit what was read, and how the session ended, if it did."""
        self._reader.release_held()
        if over is not None:
            self._buffer.put(self._intake.ended(over, at=time.time()))
            self._committer.final_phase = Phase.GONE if over == "gone" else Phase.ENDED
        self._buffer.close()
        if over is not None:  # a session that is over can wait for Redis as long as it takes; a stop cannot
            asked = asyncio.create_task(self._stop.wait())
            await asyncio.wait({committer, asked}, return_when=asyncio.FIRST_COMPLETED)
            await _cancel(asked)
        if self._outcome is None:
            await asyncio.wait({committer}, timeout=self._grace_period_seconds)
        if self._outcome is not None:
            return self._outcome
        if not committer.done():
            left = len(self._buffer) + self._committer.under_way
            log.warning("drain.cut_short", left_events=left, grace_period_seconds=self._grace_period_seconds)
            return Stopped(left=left)
        if (lost := committer.result()) is not None:
            return lost
        return Stopped(left=0) if over is None else Ended(reason=over, gone=over == "gone")


async def _cancel(task: asyncio.Task[object]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
