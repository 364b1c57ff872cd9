"""What the worker as a whole is doing, and ``/status``: the same figures as JSON."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from bridge.model.place import Session
from bridge.telemetry.figures import SessionFigures, SharedFigures

__all__ = ["WorkerStatus"]


@dataclass(slots=True, kw_only=True)
class WorkerStatus:
    """Written by the worker, read by whoever shows it. ``taking_part``: it has registered and looks for sessions.

    Times are Unix seconds.
    """

    worker_id: str
    version: str
    sessions: dict[str, SessionFigures] = field(default_factory=dict)
    shared: SharedFigures = field(default_factory=SharedFigures)
    started_at: float = field(default_factory=time.time)
    redis_reachable: bool = False
    redis_error: str | None = "not connected yet"
    taking_part: bool = False
    workers_live: int = 0
    clock_difference_seconds: float = 0.0  # by how much Redis's clock is certainly ahead of this machine's
    stopping: bool = False
    durability_degraded: bool = False  # Redis gives less than the level that was asked for
    config_read_at: float = field(default_factory=time.time)  # the last time without an error
    config_in_force: bool = True  # off from a reading that failed to the next good one

    @property
    def ready(self) -> bool:
        """Redis is reachable and this worker takes part; whether it holds a session does not matter."""
        return self.redis_reachable and self.taking_part and not self.stopping

    @property
    def not_ready(self) -> str | None:
        """Why it is not ready: the most telling reason; None where it is."""
        if self.ready:
            return None
        if self.stopping:
            return "the worker is stopping"
        if not self.redis_reachable:
            return f"Redis is not reachable: {self.redis_error or 'no reason known'}"
        return "the worker has not registered in Redis yet"

    def session(self, session: Session, stream_key: str) -> SessionFigures:
        """The figures of a session, shown from now on; made on first use."""
        if (figures := self.sessions.get(session.name)) is None:
            figures = self.sessions[session.name] = SessionFigures(session, stream_key, self.shared)
        return figures

    def config_read(self, read: bool) -> None:
        """The configuration, or a file with a secret, was read again, or could not be."""
        self.config_in_force = read
        if read:
            self.config_read_at = time.time()

    def as_json(self) -> dict[str, Any]:
        """``/status`` as a whole. Holds no secret."""
        return {
            "worker": self.worker_id,
            "version": self.version,
            "started_at": round(self.started_at, 3),
            "ready": self.ready,
            "stopping": self.stopping,
            "redis": {"reachable": self.redis_reachable, "error": self.redis_error},
            "sessions": [_session(one) for _, one in sorted(self.sessions.items())],
        }


def _session(one: SessionFigures) -> dict[str, Any]:
    return {
        "name": one.session.name,
        "session_id": one.session.session_id,
        "stream_key": one.stream_key,
        "state": one.state.value,
        "since": round(one.since, 3),
        "owner": one.owner,
        "cursor": one.cursor,
        "seq": one.seq,
        "last_error": one.last_error,
        "last_error_at": _moment(one.last_error_at),
        "last_byte_at": _moment(one.last_byte_at),
        "last_event_at": _moment(one.last_event_at),
        "last_commit_at": _moment(one.last_commit_at),
        "buffer_events": one.buffer_events,
        "buffer_bytes": one.buffer_bytes,
    }


def _moment(unix_seconds: float) -> float | None:
    return round(unix_seconds, 3) if unix_seconds else None
