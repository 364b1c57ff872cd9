"""What Prometheus may ask for. The names and labels are a contract: dashboards and alerts depend on them.

All in base units, with the prefix ``lens_bridge_``. The label ``stream`` is the configured name of a session, never an
id; every label set exists from the start, so that ``rate()`` sees the first increment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from operator import attrgetter
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.utils import floatToGoString

from bridge import __version__
from bridge.events import SessionState
from bridge.session_metrics import Histogram, SessionMetrics, SharedMetrics

__all__ = ["PREFIX", "Metrics", "SessionMetrics"]

PREFIX = "lens_bridge_"

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class _Family(NamedTuple):
    """One metric of every session. ``read`` gives a number, or numbers by the value of ``label``."""

    kind: type[CounterMetricFamily] | type[GaugeMetricFamily]
    name: str
    help: str
    read: Callable[[SessionMetrics], float | Mapping[str, float]]
    label: str | None = None


class _Latency(NamedTuple):
    """One histogram of every session."""

    name: str
    help: str
    read: Callable[[SessionMetrics], Histogram]


def _states(session: SessionMetrics) -> Mapping[str, float]:
    return {state: float(state is session.state) for state in SessionState}


def _lags(session: SessionMetrics) -> Mapping[str, float]:
    return {group: lag for group, (lag, _) in session.groups.items() if lag is not None}


def _pendings(session: SessionMetrics) -> Mapping[str, float]:
    return {group: pending for group, (_, pending) in session.groups.items()}


_COUNTER, _GAUGE = CounterMetricFamily, GaugeMetricFamily  # a counter's name gets its `_total` from prometheus_client
_FAMILIES = (
    _Family(_GAUGE, "session_state", "1 for the state that the session is in.", _states, "state"),
    _Family(_GAUGE, "lease_held", "Whether this worker owns the session.", attrgetter("lease")),
    _Family(_COUNTER, "fenced", "Times another worker took the session over.", attrgetter("fences")),
    _Family(_COUNTER, "source_connects", "Attempts to open the source.", attrgetter("connects"), "outcome"),
    _Family(_COUNTER, "source_disconnects", "Ends of an open source.", attrgetter("disconnects"), "reason"),
    _Family(_COUNTER, "source_bytes", "Bytes of SSE received.", attrgetter("source_bytes")),
    _Family(_GAUGE, "source_last_byte_timestamp_seconds", "When any byte came last.", attrgetter("last_byte_at")),
    _Family(_GAUGE, "source_last_event_timestamp_seconds", "When a lens event came.", attrgetter("last_event_at")),
    _Family(_COUNTER, "heartbeats", "Heartbeats of the server.", attrgetter("heartbeat_count")),
    _Family(_COUNTER, "events_received", "Lens events received.", attrgetter("events_received"), "type"),
    _Family(_COUNTER, "events_published", "Entries appended to the Redis stream.", attrgetter("events_published")),
    _Family(_COUNTER, "events_skipped", "Lens events not published.", attrgetter("events_skipped"), "reason"),
    _Family(_COUNTER, "dead_letters", "Events that could not become entries.", attrgetter("dead_letters"), "reason"),
    _Family(_COUNTER, "secrets_masked", "Events in which the API key was masked.", attrgetter("secrets_masked")),
    _Family(_COUNTER, "commits", "Commits by their result.", attrgetter("commits"), "result"),
    _Family(_GAUGE, "cursor_committed_timestamp_seconds", "When a commit landed last.", attrgetter("committed_at")),
    _Family(_COUNTER, "gaps", "Places where events may be missing.", attrgetter("gaps"), "reason"),
    _Family(_COUNTER, "rollbacks", "Times Redis lost acknowledged commits.", attrgetter("rollbacks")),
    _Family(_COUNTER, "replay_overruns", "Replays longer than the dedupe window.", attrgetter("replay_overruns")),
    _Family(_COUNTER, "id_conflicts", "Ids used again for other bytes.", attrgetter("conflicts")),
    _Family(_GAUGE, "buffer_events", "Events that wait for a commit.", attrgetter("buffer_events")),
    _Family(_GAUGE, "buffer_bytes", "Bytes that wait for a commit.", attrgetter("buffer_bytes")),
    _Family(_COUNTER, "backpressure_seconds", "Time without reading.", attrgetter("backpressure_seconds")),
    _Family(_GAUGE, "stream_length", "Entries in the Redis stream.", attrgetter("length")),
    _Family(_GAUGE, "stream_max_length", "Where it is trimmed, in entries; 0: nowhere.", attrgetter("max_length")),
    _Family(_GAUGE, "group_lag", "Entries that a consumer group has not read.", _lags, "group"),
    _Family(_GAUGE, "group_pending", "Entries read by a group but not acknowledged.", _pendings, "group"),
)
_LATENCIES = (
    _Latency("delivery_latency_seconds", "From reception to commit.", attrgetter("delivery_latency")),
    _Latency("source_latency_seconds", "From the server's own timestamp to commit.", attrgetter("event_latency")),
)


class Worker(Protocol):
    """What the worker as a whole tells about itself, read each time that Prometheus asks."""

    @property
    def ready(self) -> bool: ...
    @property
    def redis_reachable(self) -> bool: ...
    @property
    def workers_live(self) -> int: ...


class Metrics:
    """All figures of this worker, in a registry of its own, with the standard ``process_*`` beside them."""

    def __init__(self, stream_names: Iterable[str] = ()) -> None:
        self._shared = SharedMetrics()
        self._sessions: dict[str, SessionMetrics] = {}
        self._worker: Worker | None = None
        self._durability_degraded = False
        self._reloaded_at = time.time()
        self._reload_successful = True
        for name in stream_names:
            self.session(name)
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def session(self, name: str) -> SessionMetrics:
        """The figures of the session with this name; made on first use."""
        if (session := self._sessions.get(name)) is None:
            session = self._sessions[name] = SessionMetrics(self._shared)
        return session

    def forget(self, name: str) -> None:
        """Stop showing a session that was removed, so that series do not pile up."""
        self._sessions.pop(name, None)

    def durability_degraded(self, degraded: bool) -> None:
        """``durability_degraded``: Redis gives less than the level that was asked for."""
        self._durability_degraded = degraded

    def config_reloaded(self, at: float) -> None:
        """``config_last_reload_success_timestamp_seconds``, in Unix seconds."""
        self._reloaded_at = at
        self._reload_successful = True

    def config_read(self, read: bool) -> None:
        """A file with a secret was read again, or could not be."""
        if read:
            self.config_reloaded(time.time())
        else:
            self.config_reload_failed()

    def config_reload_failed(self) -> None:
        """``config_last_reload_successful`` is 0 from here to the next good one: the old configuration is in force."""
        self._reload_successful = False

    def follow(self, worker: Worker) -> None:
        """``ready``, ``redis_reachable`` and ``workers_live`` come from here; before that they are 0."""
        self._worker = worker

    def render(self, accept_header: str = "") -> tuple[bytes, str]:
        """The whole page and its content type: Prometheus text, or OpenMetrics where the header asks for it.

        May run in a thread beside the event loop: it only reads, and each number by itself is whole.
        """
        encode: Callable[[CollectorRegistry], bytes]
        if "application/openmetrics-text" in accept_header:
            encode, content_type = openmetrics.generate_latest, _OPENMETRICS
        else:
            encode, content_type = generate_latest, _TEXT
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """Called by the registry: every family with its value now."""
        sessions = list(self._sessions.items())
        yield InfoMetricFamily(f"{PREFIX}build", "What is running.", value={"version": __version__})
        for name, text, value in self._worker_gauges():
            yield _GAUGE(PREFIX + name, text, value=value)
        yield _histogram("commit_events", "Events in a commit.", [((), self._shared.commit_events)])
        yield _histogram(
            "commit_duration_seconds", "From sending a commit to its answer.", [((), self._shared.commit_duration)]
        )
        for family in _FAMILIES:
            yield _collected(family, sessions)
        for latency in _LATENCIES:
            series = [((name,), latency.read(session)) for name, session in sessions]
            yield _histogram(latency.name, latency.help, series, labels=("stream",))

    def _worker_gauges(self) -> Iterator[tuple[str, str, float]]:
        worker = self._worker
        yield "ready", "Whether /readyz answers 200.", float(worker is not None and worker.ready)
        reachable = worker is not None and worker.redis_reachable
        yield "redis_reachable", "Whether the connection to Redis stands.", float(reachable)
        yield "workers_live", "Workers in the register, this one included.", worker.workers_live if worker else 0
        yield "durability_degraded", "1 while Redis gives less durability than asked for.", self._durability_degraded
        at = "config_last_reload_success_timestamp_seconds"
        yield at, "When the configuration was read last without an error.", self._reloaded_at
        yield "config_last_reload_successful", "Whether the last reading had no error.", self._reload_successful


def _collected(family: _Family, sessions: Iterable[tuple[str, SessionMetrics]]) -> Metric:
    labels = ("stream",) if family.label is None else ("stream", family.label)
    metric = family.kind(PREFIX + family.name, family.help, labels=labels)
    for name, session in sessions:
        value = family.read(session)
        if isinstance(value, Mapping):
            for label_value, one in value.items():
                metric.add_metric((name, str(label_value)), one)
        else:
            metric.add_metric((name,), value)
    return metric


def _histogram(
    name: str, text: str, series: Iterable[tuple[tuple[str, ...], Histogram]], labels: tuple[str, ...] = ()
) -> Metric:
    metric = HistogramMetricFamily(PREFIX + name, text, labels=labels)
    for label_values, histogram in series:
        bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
        metric.add_metric(label_values, buckets, sum_value=histogram.total)
    return metric
