"""What the worker as a whole is doing, and ``/status``: the same figures as JSON."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.model.labels import SessionState
from bridge.model.place import Session
from bridge.telemetry.figures import SessionFigures, SharedFigures
from bridge.telemetry.tracing.spans import TracingFigures

__all__ = ["CONFIGURED", "DiscoveryFigures", "FleetWorker", "Survey", "WorkerStatus"]

CONFIGURED = "configured"
_SESSIONS_IN_A_SLICE, _SURVEYED_IN_A_SLICE = 20, 500  # half a millisecond


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetWorker:
    """A worker as this one knows it. ``sessions``: how many of those that this one knows it reads."""

    owner: str
    own: bool
    live: bool
    sessions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What there is to say of all sessions together. ``fleet``: this worker, the others that live, and those that still
    have a lease though they are not heard. ``unread``: sessions that nobody reads now, those that have ended included.
    """

    states: Mapping[SessionState, Sequence[SessionFigures]]
    fleet: Sequence[FleetWorker]
    unread: int
    dead_letters: int


@dataclass(slots=True, kw_only=True)
class DiscoveryFigures:
    """What came of asking the API for its sessions."""

    enabled: bool = False
    sessions: int = 0  # that were found and are to be read
    refused: int = 0  # that were found, are wanted, and cannot be read
    failures: int = 0  # questions without an answer
    answered_at: float = 0.0  # the last one; 0 where there was none
    last_error: str | None = None


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
    owner: str = ""  # as leases name this worker; with random text behind its id
    peers: tuple[str, ...] = ()  # the other live workers, as leases name them
    workers_live: int = 0
    clock_difference_seconds: float = 0.0  # by how much Redis's clock is certainly ahead of this machine's
    stopping: bool = False
    refused: Callable[[], Sequence[Mapping[str, str]]] = tuple  # sessions that are wanted and not read, and why
    draining: bool = False  # a person wants others to read what it reads
    origins: Callable[[], Mapping[str, str]] = dict  # by name: who wants a session, where it is not the configuration
    durability_degraded: bool = False  # Redis gives less than the level that was asked for
    config_read_at: float = field(default_factory=time.time)  # when something was read last, and nothing was wrong
    config_faults: dict[str, str] = field(default_factory=dict)  # what could not be read last, and why
    config_held: tuple[str, ...] = ()  # settings that differ from what is in force, and take a restart

    discovery: DiscoveryFigures = field(default_factory=DiscoveryFigures)
    tracing: TracingFigures = field(default_factory=TracingFigures)

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
        if self.redis_error:
            return f"the worker cannot register in Redis: {self.redis_error}"
        return "the worker has not registered in Redis yet"

    def session(self, session: Session, stream_key: str) -> SessionFigures:
        """The figures of a session, shown from now on; made on first use, and anew for another session of the name."""
        figures = self.sessions.get(session.name)
        if figures is None or figures.session != session:
            figures = self.sessions[session.name] = SessionFigures(session, stream_key, self.shared)
        return figures

    def forget(self, figures: SessionFigures) -> None:
        """Show them no more: the session is none of this worker's any longer."""
        if self.sessions.get(figures.session.name) is figures:
            del self.sessions[figures.session.name]

    @property
    def config_in_force(self) -> bool:
        """Nothing is wrong with what was read last: neither with the configuration nor with a file that it names."""
        return not self.config_faults

    def config_read(self, what: str, fault: str | None = None) -> None:
        """``what``, the configuration or a file with a secret, was read again, or could not be: ``fault`` says why."""
        if fault is not None:
            self.config_faults[what] = fault
            return
        self.config_faults.pop(what, None)
        if self.config_in_force:
            self.config_read_at = time.time()

    def survey(self) -> Generator[str, None, Survey]:
        """Look over all sessions; gives nothing but others their turn meanwhile."""
        states: dict[SessionState, list[SessionFigures]] = {}
        readers: Counter[str | None] = Counter()
        letters = 0
        for at, one in enumerate(list(self.sessions.values())):
            if at % _SURVEYED_IN_A_SLICE == _SURVEYED_IN_A_SLICE - 1:
                yield ""
            states.setdefault(one.state, []).append(one)
            readers[one.reader] += 1
            if one.kept:
                letters += one.kept.dead_letters
        own = self.owner or self.worker_id
        live = {own, *self.peers}
        fleet = tuple(
            FleetWorker(owner=one, own=one == own, live=one in live, sessions=readers[one])
            for one in sorted(live | {reader for reader in readers if reader})
        )
        return Survey(states=states, fleet=fleet, unread=readers[None], dead_letters=letters)

    def json_slices(self) -> Iterator[str]:
        """``/status`` in pieces of a few sessions, a line for each of them. Holds no secret."""
        survey = yield from self.survey()
        head = json.dumps(self._head() | {"workers": _workers(survey)}, indent=2).removesuffix("\n}")
        yield f'{head},\n  "sessions": ['
        names, origins = sorted(self.sessions), self.origins()
        for at in range(0, len(names), _SESSIONS_IN_A_SLICE):
            part = [one for name in names[at : at + _SESSIONS_IN_A_SLICE] if (one := self.sessions.get(name))]
            lines = ",".join(f"\n    {json.dumps(_session(one, origins))}" for one in part)
            yield f",{lines}" if at and part else lines
        yield "\n  ]\n}\n" if names else "]\n}\n"

    def _head(self) -> dict[str, Any]:
        return {
            "worker": self.worker_id,
            "version": self.version,
            "started_at": round(self.started_at, 3),
            "ready": self.ready,
            "stopping": self.stopping,
            "draining": self.draining,
            "redis": {"reachable": self.redis_reachable, "error": self.redis_error},
            "config": {
                "read_at": round(self.config_read_at, 3),
                "errors": list(self.config_faults.values()),
                "needs_restart": list(self.config_held),
            },
            "discovery": {
                "enabled": self.discovery.enabled,
                "sessions": self.discovery.sessions,
                "refused": self.discovery.refused,
                "answered_at": _moment(self.discovery.answered_at),
                "last_error": self.discovery.last_error,
            },
            "refused": list(self.refused()),
        }


def _workers(survey: Survey) -> list[dict[str, Any]]:
    return [{"worker": one.owner, "own": one.own, "live": one.live, "sessions": one.sessions} for one in survey.fleet]


def _session(one: SessionFigures, origins: Mapping[str, str]) -> dict[str, Any]:
    # Where another worker reads it, as it stands in Redis.
    place = one.kept if one.kept and one.state is SessionState.STANDBY else one
    return {
        "name": one.session.name,
        "session_id": one.session.session_id,
        "stream_key": one.stream_key,
        "routed_keys": list(one.routed_keys),
        "origin": origins.get(one.session.name, CONFIGURED),
        "state": one.state.value,
        "since": round(one.since, 3),
        "owner": one.reader,
        "cursor": place.cursor,
        "seq": place.seq or 0,
        "last_error": one.last_error,
        "last_error_at": _moment(one.last_error_at),
        "last_byte_at": _moment(one.last_byte_at),
        "last_event_at": _moment(one.last_event_at),
        "last_commit_at": _moment(one.last_commit_at),
        "buffer_events": one.buffer_events,
        "buffer_bytes": one.buffer_bytes,
        "stream_length": one.stream_length,
        "unread_trimmed": one.unread_trimmed,
        "dead_letters": one.kept.dead_letters if one.kept else None,
        "groups": {name: {"lag": lag, "pending": pending} for name, (lag, pending) in one.groups.items()},
    }


def _moment(unix_seconds: float) -> float | None:
    return round(unix_seconds, 3) if unix_seconds else None
