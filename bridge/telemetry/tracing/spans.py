"""What a session needs for its spans, as protocols: nothing here needs OpenTelemetry to be installed.

Each commit that publishes something has one span, however often its bytes are sent, and all entries that it writes name
it as their `traceparent` (W3C Trace Context). So a consumer can link to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bridge.model.place import Session

__all__ = ["CommitSpan", "SessionTracer", "Tracer", "TracingFigures"]


@dataclass(slots=True)
class TracingFigures:
    """What became of the spans. ``dropped``: for want of room while the collector was slow or away."""

    exported: int = 0
    failed: int = 0
    dropped: int = 0


class CommitSpan(Protocol):
    """One commit, from when it is made until it is known what became of it."""

    traceparent: str
    """What its entries bear."""

    def landed(self, seq: int, messages: int) -> None:
        """It stands, with so many entries, the last of which has the number ``seq``."""

    def failed(self, error: str) -> None:
        """It does not stand, or nobody knows; ``error`` is one of a few words."""


class SessionTracer(Protocol):
    """Makes the spans of one session."""

    def begin(self, messages: int | None = None) -> CommitSpan:
        """The span of a commit that is about to be sent, with so many entries where that is known."""


class Tracer(Protocol):
    """Makes the spans of a worker."""

    def of(self, session: Session, stream_key: str) -> SessionTracer:
        """Those of one session."""
