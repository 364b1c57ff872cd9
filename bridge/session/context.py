"""What one session needs while its lease is ours, made by whoever holds the lease."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bridge.delivery.filters import Selection
from bridge.delivery.numbers import Numbers
from bridge.delivery.window import Seal
from bridge.masking import Secrets
from bridge.model.labels import GapReason, Phase
from bridge.model.outcomes import CommitResult
from bridge.model.place import Lease, Place, Session
from bridge.model.records import Piece
from bridge.session.reader import Source
from bridge.settings import Settings
from bridge.telemetry.figures import SessionFigures
from bridge.telemetry.tracing.spans import SessionTracer

__all__ = ["SessionContext", "Sink"]


class Sink(Protocol):
    """Where commits go."""

    def pack(
        self,
        token: str,
        place: Place,
        after: Place,
        batch: Sequence[Piece],
        seal: Seal,
        phase: Phase,
        traceparent: str = "",
    ) -> bytes:
        """The commit that follows ``place``, to be sent as often as it takes. Its entries bear ``traceparent``."""

    def pack_replay(self, token: str, place: Place, mark: str, phase: Phase, traceparent: str = "") -> bytes:
        """The commit that follows ``place`` and publishes the dead letters that are asked for."""

    def post(self, packed: bytes, hear: Callable[[asyncio.Future[object]], None]) -> asyncio.Future[object]:
        """Send it behind all that was posted before; the reply is for `read`, or a SinkFault. ``hear`` is called then,
        but never within this call."""

    def read(self, reply: object) -> CommitResult:
        """What a reply means. Raises SinkFault for one that no commit has."""

    async def commit(self, packed: bytes) -> CommitResult:
        """Send it. Raises SinkFault where the outcome is not known or Redis refused it whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionContext:
    """One session under one lease. ``gap`` is to be marked first, ``numbers`` outlive the lease, ``spans`` trace it;
    ``selection`` is one for all sessions, and may change meanwhile."""

    session: Session
    lease: Lease
    source: Source
    sink: Sink
    figures: SessionFigures
    settings: Settings
    numbers: Numbers
    sent_keys: Secrets
    selection: Selection
    gap: GapReason | None = None
    spans: SessionTracer | None = None
