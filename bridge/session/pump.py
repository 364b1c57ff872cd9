"""One session for as long as its lease is ours: a reader fills the buffer, a committer empties it.

The first of them to finish says why, and the other one follows: what was read is committed when the source is over or a
stop was asked for; it is dropped when the place is no longer ours, since the next owner reads it again.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from bridge.delivery.intake import Intake
from bridge.delivery.window import Window
from bridge.model.labels import Phase
from bridge.model.outcomes import Fenced, Lost, Over, RolledBack
from bridge.model.place import Place
from bridge.session.buffer import Buffer
from bridge.session.committer import Committer
from bridge.session.context import SessionContext
from bridge.session.reader import Reader

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

    def __init__(self, context: SessionContext) -> None:
        settings, lease = context.settings, context.lease
        self._context = context
        self._stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lost: asyncio.Future[Fenced | Lost | RolledBack] = asyncio.get_running_loop().create_future()
        self._drain_until: float | None = None  # monotonic seconds; None: a grace period from when it begins
        self.reading = False  # the session is not over, as far as the source has said
        self.window = Window(settings.dedupe.window_events, lease.window)
        self._buffer = Buffer(max_events=settings.commit.buffer_events, max_bytes=settings.commit.buffer_bytes)
        self._intake = Intake(
            place=lease.place,
            window=self.window,
            secrets=context.sent_keys,
            markers=settings.stream.markers,
            max_dead_letter_bytes=settings.stream.max_dead_letter_bytes,
            selection=context.selection,
        )
        self._reader = Reader(
            session=context.session,
            source=context.source,
            intake=self._intake,
            buffer=self._buffer,
            figures=context.figures,
            settings=settings.source,
        )
        self._committer = Committer(context, self.window, self._buffer)

    @property
    def place(self) -> Place:
        """The committed place."""
        return self._committer.place

    @property
    def unreachable_attempts(self) -> int:
        """Attempts to open the source that did not reach it, since it was reached last."""
        return self._reader.unreachable_attempts

    def stop(self, until: float | None = None) -> None:
        """Stop reading, commit what was read, return at ``until`` (monotonic seconds), or after the grace period."""
        self._drain_until = until
        if not self._stopping.done():
            self._stopping.set_result(None)

    def interrupt(self, outcome: Fenced | Lost | RolledBack) -> None:
        """The place is no longer ours, as a renewal of the lease has shown: drop all and return at once."""
        if not self._lost.done():
            self._lost.set_result(outcome)

    def replay_letters(self) -> None:
        """Publish the dead letters that somebody asks for, behind what was read."""
        self._committer.replay_letters()

    async def run(self) -> Outcome:
        """Read and commit until there is a reason to end."""
        context = self._context
        if context.lease.phase is not Phase.ACTIVE:
            lookup = await context.source.lookup(context.session.session_id)
            if isinstance(lookup, Over):
                return Ended(reason=lookup.status, gone=context.lease.phase is Phase.GONE)
        self.reading = True
        if context.gap is not None:
            self._reader.mark_gap(context.gap)
        reader = asyncio.create_task(self._reader.run(), name=f"read {context.session.name}")
        committer = asyncio.create_task(self._commit(), name=f"commit {context.session.name}")
        try:
            await _first_of(reader, committer, self._lost, self._stopping)
            over = reader.result() if reader.done() else None
            await _cancel(reader)
            if not self._lost.done():
                await self._drain(committer, over)
            return self._verdict(committer, over)
        finally:
            await _cancel(reader)
            await _cancel(committer)

    async def _commit(self) -> None:
        if (lost := await self._committer.run()) is not None:
            self.interrupt(lost)

    async def _drain(self, committer: asyncio.Task[None], over: str | None) -> None:
        """Commit what was read, and how the session ended, if it did."""
        self._reader.release_held()
        if over is not None:
            self._committer.final_phase = Phase.GONE if over == "gone" else Phase.ENDED
        self._buffer.close(() if over is None else self._intake.ended(over, at=time.time()))
        if over is not None:  # a session that is over can wait for Redis as long as it takes; a stop cannot
            await _first_of(committer, self._lost, self._stopping)
        left = self._context.settings.worker.grace_period_seconds
        if self._drain_until is not None:
            left = max(0.0, min(left, self._drain_until - time.monotonic()))
        await _first_of(committer, self._lost, timeout=left)

    def _verdict(self, committer: asyncio.Task[None], over: str | None) -> Outcome:
        if committer.done():
            committer.result()  # a fault of ours is raised
        if self._lost.done():
            return self._lost.result()
        if not committer.done():
            left = len(self._buffer) + self._committer.in_flight
            seconds = self._context.settings.worker.grace_period_seconds
            log.warning("drain.cut_short", left_events=left, grace_period_seconds=seconds)
            return Stopped(left=left)
        return Stopped(left=0) if over is None else Ended(reason=over, gone=over == "gone")


async def _first_of(*waited: asyncio.Future[Any], timeout: float | None = None) -> None:
    await asyncio.wait(waited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


async def _cancel(task: asyncio.Task[object]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
