"""What Prometheus may ask for. The names and labels are a contract: dashboards and alerts depend on them.

All in base units, with the prefix ``lens_bridge_``. The label ``stream`` is the configured name of a session, never an
id; every label set exists from the start, so that ``rate()`` sees the first increment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.openmetrics import exposition as _openmetrics

from bridge.model.labels import SessionState
from bridge.telemetry import log
from bridge.telemetry.exposition import Exposition, Kind, labels_of
from bridge.telemetry.figures import Histogram, SessionFigures
from bridge.telemetry.status import WorkerStatus

__all__ = ["PREFIX", "Metrics"]

PREFIX = "lens_bridge_"

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_END = "# EOF\n"
_generate_openmetrics: Callable[[CollectorRegistry], bytes] = _openmetrics.generate_latest  # has no annotations


class _Plain(NamedTuple):
    """A number of every session: its attribute of the same name, or ``attribute``.

    The name of a counter gets its ``_total`` when it is written.
    """

    kind: Kind
    name: str
    help: str
    attribute: str | None = None


class _Labelled(NamedTuple):
    """Numbers of every session, by the value of ``label``: its attribute of the same name, or what ``read`` gives."""

    kind: Kind
    name: str
    help: str
    label: str
    read: Callable[[SessionFigures], Mapping[str, float]] | None = None


class _Latency(NamedTuple):
    """A histogram of every session."""

    name: str
    help: str
    read: Callable[[SessionFigures], Histogram]


def _states(session: SessionFigures) -> Mapping[str, float]:
    current = session.state
    return {state: int(state is current) for state in SessionState}


def _lags(session: SessionFigures) -> Mapping[str, float]:
    return {group: lag for group, (lag, _) in session.groups.items() if lag is not None}


def _pendings(session: SessionFigures) -> Mapping[str, float]:
    return {group: pending for group, (_, pending) in session.groups.items()}


_PLAIN = (
    _Plain(Kind.GAUGE, "lease_held", "Whether this worker owns the session."),
    _Plain(Kind.COUNTER, "fenced", "Times another worker took the session over."),
    _Plain(Kind.COUNTER, "source_connect_wait_seconds", "Time in which a connection waited for its turn."),
    _Plain(Kind.COUNTER, "source_bytes", "Bytes of SSE received."),
    _Plain(Kind.GAUGE, "source_last_byte_timestamp_seconds", "When any byte came last.", "last_byte_at"),
    _Plain(Kind.GAUGE, "source_last_event_timestamp_seconds", "When a lens event came.", "last_event_at"),
    _Plain(Kind.COUNTER, "heartbeats", "Heartbeats of the server."),
    _Plain(Kind.COUNTER, "events_published", "Entries appended to the Redis stream."),
    _Plain(Kind.COUNTER, "secrets_masked", "Events in which the API key was masked."),
    _Plain(Kind.GAUGE, "cursor_committed_timestamp_seconds", "When a commit landed last.", "last_commit_at"),
    _Plain(Kind.COUNTER, "rollbacks", "Times Redis lost acknowledged commits."),
    _Plain(Kind.COUNTER, "replay_overruns", "Replays longer than the dedupe window."),
    _Plain(Kind.COUNTER, "id_conflicts", "Ids used again for other bytes."),
    _Plain(Kind.GAUGE, "buffer_events", "Events that wait for a commit."),
    _Plain(Kind.GAUGE, "buffer_bytes", "Bytes that wait for a commit."),
    _Plain(Kind.COUNTER, "backpressure_seconds", "Time without reading."),
    _Plain(Kind.GAUGE, "stream_length", "Entries in the Redis stream."),
    _Plain(Kind.GAUGE, "stream_max_length", "Entries at which it is trimmed; 0: none."),
)
_LABELLED = (
    _Labelled(Kind.GAUGE, "session_state", "1 for the state that the session is in.", "state", _states),
    _Labelled(
        Kind.COUNTER, "source_connects", "Attempts to open the source.", "outcome", attrgetter("source_connects")
    ),
    _Labelled(
        Kind.COUNTER, "source_disconnects", "Ends of an open source.", "reason", attrgetter("source_disconnects")
    ),
    _Labelled(Kind.COUNTER, "events_received", "Lens events received.", "type"),
    _Labelled(Kind.COUNTER, "events_skipped", "Lens events not published.", "reason"),
    _Labelled(
        Kind.COUNTER, "dead_letters", "Events that could not become entries.", "reason", attrgetter("dead_letters")
    ),
    _Labelled(Kind.COUNTER, "commits", "Commits by their result.", "result"),
    _Labelled(Kind.COUNTER, "gaps", "Places where events may be missing.", "reason"),
    _Labelled(Kind.GAUGE, "group_lag", "Entries that a consumer group has not read.", "group", _lags),
    _Labelled(Kind.GAUGE, "group_pending", "Entries read by a group but not acknowledged.", "group", _pendings),
)
_LATENCIES = (
    _Latency("delivery_latency_seconds", "From reception to commit.", attrgetter("delivery_latency")),
    _Latency("source_latency_seconds", "From the server's own timestamp to commit.", attrgetter("source_latency")),
)


class Metrics:
    """All figures of this worker, with the standard ``process_*`` beside them."""

    def __init__(self, worker: WorkerStatus) -> None:
        self._worker = worker
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    def render(self, accept_header: str = "") -> tuple[bytes, str]:
        """The whole page and its content type: Prometheus text, or OpenMetrics where the header asks for it.

        May run in a thread beside the event loop: it only reads, and each number by itself is whole.
        """
        if "application/openmetrics-text" in accept_header:
            process = _generate_openmetrics(self._process).decode().removesuffix(_END)
            return (self._own(Exposition(openmetrics=True)) + process + _END).encode(), _OPENMETRICS
        return (self._own(Exposition(openmetrics=False)) + generate_latest(self._process).decode()).encode(), _TEXT

    def _own(self, page: Exposition) -> str:
        worker = self._worker
        page.add(Kind.INFO, f"{PREFIX}build", "What is running.", [(labels_of({"version": worker.version}), 1)])
        for kind, name, text, number in _of_worker(worker):
            page.add(kind, PREFIX + name, text, [("", number)])
        page.add_histogram(f"{PREFIX}commit_events", "Events in a commit.", [("", worker.shared.commit_events)])
        text = "From sending a commit to its answer."
        page.add_histogram(f"{PREFIX}commit_duration_seconds", text, [("", worker.shared.commit_duration)])
        sessions = [(labels_of({"stream": name}), session) for name, session in list(worker.sessions.items())]
        for plain in _PLAIN:
            read = attrgetter(plain.attribute or plain.name)
            numbers = ((labels, read(one) + 0) for labels, one in sessions)  # a flag becomes a number
            page.add(plain.kind, PREFIX + plain.name, plain.help, numbers)
        for family in _LABELLED:
            by_label = family.read or attrgetter(family.name)
            mappings = ((labels, by_label(one)) for labels, one in sessions)
            page.add_labelled(family.kind, PREFIX + family.name, family.help, family.label, mappings)
        for latency in _LATENCIES:
            histograms = ((labels, latency.read(one)) for labels, one in sessions)
            page.add_histogram(PREFIX + latency.name, latency.help, histograms)
        return page.text()


def _of_worker(worker: WorkerStatus) -> Iterator[tuple[Kind, str, str, float]]:
    yield Kind.GAUGE, "ready", "Whether /readyz answers 200.", int(worker.ready)
    yield Kind.GAUGE, "redis_reachable", "Whether the connection to Redis stands.", int(worker.redis_reachable)
    yield Kind.GAUGE, "workers_live", "Workers in the register, this one included.", worker.workers_live
    ahead = "By how much Redis's clock is ahead of this machine's."
    yield Kind.GAUGE, "clock_difference_seconds", ahead, worker.clock_difference_seconds
    degraded = "1 while Redis gives less durability than asked for."
    yield Kind.GAUGE, "durability_degraded", degraded, int(worker.durability_degraded)
    at = "config_last_reload_success_timestamp_seconds"
    yield Kind.GAUGE, at, "When the configuration was read last without an error.", worker.config_read_at
    in_force = "Whether the last reading had no error."
    yield Kind.GAUGE, "config_last_reload_successful", in_force, int(worker.config_in_force)
    yield Kind.COUNTER, "log_lines_dropped", "Log lines that nobody took.", log.lines_dropped()
