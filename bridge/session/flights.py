"""Commits under way: what was sent, and what is done while Redis does not take it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from bridge.backoff import Backoff
from bridge.delivery.batch import Counts
from bridge.delivery.window import Seal
from bridge.errors import SinkFault
from bridge.model.labels import CommitOutcome, Phase
from bridge.model.outcomes import CommitResult, Fenced, Lost, RolledBack
from bridge.model.place import Place
from bridge.model.records import Piece
from bridge.session.context import SessionContext
from bridge.telemetry.figures import SessionFigures
from bridge.telemetry.tracing.spans import CommitSpan

__all__ = ["Flight", "Outage", "Rejected", "replaying"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Redis refuses this batch and has written nothing of it. ``passing``: it refused an empty one too, for a while."""

    detail: str
    passing: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Flight:
    """A commit that has been sent, or is about to be. ``reply`` is that of its first try.

    ``replays``: it publishes dead letters that somebody asks for; how many there are is told by the answer. ``span`` is
    there where it is traced.
    """

    batch: Sequence[Piece]
    counts: Counts
    seal: Seal
    after: Place
    phase: Phase
    packed: bytes
    started: float  # monotonic seconds
    reply: asyncio.Future[object] | None = None
    replays: bool = False
    span: CommitSpan | None = None

    def end_span(self, outcome: CommitResult | Rejected | None) -> None:
        """It did not land: ``outcome`` is what became of it, or of one in front of it; None: nobody knows."""
        if self.span is None:
            return
        match outcome:
            case Fenced():
                self.span.failed("fenced")
            case RolledBack():
                self.span.failed("rolled_back")
            case Lost():
                self.span.failed("lost")
            case Rejected():
                self.span.failed("rejected")
            case _:
                self.span.failed("unknown")

    @property
    def events(self) -> int:
        """How many records it carries."""
        return self.counts.events

    @property
    def fault(self) -> SinkFault | None:
        """What its first try met, where that has ended in a fault."""
        if self.reply is None or not self.reply.done() or self.reply.cancelled():
            return None
        fault = self.reply.exception()
        return fault if isinstance(fault, SinkFault) else None


def replaying(context: SessionContext, place: Place) -> Flight:
    """The commit behind ``place`` that publishes the dead letters that are asked for. It has to go alone."""
    after = place._replace(commits=place.commits + 1, mark=f"{random.getrandbits(48):012x}")
    span = context.spans.begin() if context.spans else None
    traceparent = span.traceparent if span else ""
    packed = context.sink.pack_replay(context.lease.token, place, after.mark, Phase.ACTIVE, traceparent)
    return Flight(
        batch=(),
        counts=Counts(0, 0, 0),
        seal=Seal(),
        after=after,
        phase=Phase.ACTIVE,
        packed=packed,
        started=time.monotonic(),
        replays=True,
        span=span,
    )


class Outage:
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
