"""What the worker is doing right now, kept for ``/status``, ``/readyz`` and the state metrics."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bridge.events import ConnectOutcome, Session, SessionState
from bridge.metrics import SessionMetrics

__all__ = ["SessionStatus", "WorkerStatus"]


@dataclass(slots=True, kw_only=True)
class SessionStatus:
    """One session as this worker sees it. Times are Unix seconds, 0 where it has not happened yet."""

    session: Session
    stream_key: str
    metrics: SessionMetrics
    state: SessionState = SessionState.STANDBY
    since: float = field(default_factory=time.time)
    owner: str | None = None
    cursor: str | None = None
    seq: int = 0
    last_error: str | None = None
    last_error_at: float = 0.0
    refusal: ConnectOutcome | None = None  # how the source refuses us; None since a connection stood
    last_byte_at: float = 0.0
    last_event_at: float = 0.0
    last_commit_at: float = 0.0
    buffer_events: int = 0
    buffer_bytes: int = 0
    _stage: SessionState = SessionState.STANDBY
    _blocks: int = 0

    def __post_init__(self) -> None:
        self.metrics.set_state(self.state)

    def enter(self, state: SessionState) -> None:
        """Change the state."""
        self._stage = state
        self._show()

    def block(self, blocked: bool) -> None:
        """Redis does not take what comes, or takes it again. Both ends may say so, each for itself."""
        self._blocks += 1 if blocked else -1
        self._show()

    def rest(self, state: SessionState) -> None:
        """This worker no longer reads the session."""
        self._blocks = 0
        self.buffer_events = self.buffer_bytes = 0
        self.metrics.buffer(0, 0)
        self.enter(state)

    def _show(self) -> None:
        blocked = self._blocks > 0 and self._stage is SessionState.STREAMING
        state = SessionState.BACKPRESSURED if blocked else self._stage
        if state is not self.state:
            self.state, self.since = state, time.time()
            self.metrics.set_state(state)

    def fail(self, error: str) -> None:
        """Remember the last thing that went wrong, in words for a person."""
        self.last_error, self.last_error_at = error, time.time()

    def as_json(self) -> dict[str, Any]:
        """The session's part of ``/status``."""
        return {
            "name": self.session.name,
            "session_id": self.session.session_id,
            "stream_key": self.stream_key,
            "state": self.state.value,
            "since": round(self.since, 3),
            "owner": self.owner,
            "cursor": self.cursor,
            "seq": self.seq,
            "last_error": self.last_error,
            "last_error_at": _moment(self.last_error_at),
            "last_byte_at": _moment(self.last_byte_at),
            "last_event_at": _moment(self.last_event_at),
            "last_commit_at": _moment(self.last_commit_at),
            "buffer_events": self.buffer_events,
            "buffer_bytes": self.buffer_bytes,
        }


@dataclass(slots=True, kw_only=True)
class WorkerStatus:
    """The worker as a whole. ``taking_part``: it has registered and looks for sessions."""

    worker_id: str
    version: str
    sessions: dict[str, SessionStatus] = field(default_factory=dict)
    started_at: float = field(default_factory=time.time)
    redis_reachable: bool = False
    redis_error: str | None = "not connected yet"
    taking_part: bool = False
    workers_live: int = 0
    stopping: bool = False

    @property
    def ready(self) -> bool:
        """Redis is reachable and this worker takes part; whether it holds a session does not matter."""
        return self.redis_reachable and self.taking_part and not self.stopping

    def all_over(self) -> bool:
        """Every session has ended or is gone."""
        over = (SessionState.ENDED, SessionState.GONE)
        return bool(self.sessions) and all(one.state in over for one in self.sessions.values())

    def never_seen(self) -> list[SessionStatus]:
        """Sessions that the API does not know and of which nothing was ever read."""
        return [one for one in _sorted(self.sessions.values()) if one.state is SessionState.GONE and not one.seq]

    def as_json(self) -> dict[str, Any]:
        """``/status`` as a whole. Holds no secret."""
        return {
            "worker": self.worker_id,
            "version": self.version,
            "started_at": round(self.started_at, 3),
            "ready": self.ready,
            "stopping": self.stopping,
            "redis": {"reachable": self.redis_reachable, "error": self.redis_error},
            "sessions": [one.as_json() for one in _sorted(self.sessions.values())],
        }


def _sorted(sessions: Iterable[SessionStatus]) -> list[SessionStatus]:
    return sorted(sessions, key=lambda one: one.session.name)


def _moment(unix_seconds: float) -> float | None:
    return round(unix_seconds, 3) if unix_seconds else None
