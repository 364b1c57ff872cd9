"""What Prometheus may ask for. The names and labels are a contract: dashboards and alerts depend on them.

All in base units, with the prefix ``lens_bridge_``. The label ``stream`` is the configured name of a session, never an
id; every label set exists from the start, so that ``rate()`` sees the first increment.

About a hundred series belong to a session: 8 KB of text. With many sessions only what each does now is told for each of
them, less than 1 KB, and what is counted is told for all of them together, as the stream ``*``, which no session can be
called.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.openmetrics import exposition as _openmetrics

from bridge.model.labels import SessionState
from bridge.settings import MetricsDetail
from bridge.telemetry import log
from bridge.telemetry.exposition import Exposition, Kind, labels_of
from bridge.telemetry.figures import Histogram, SessionFigures
from bridge.telemetry.status import WorkerStatus

__all__ = ["PREFIX", "Metrics"]

PREFIX = "lens_bridge_"

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_generate_openmetrics: Callable[[CollectorRegistry], bytes] = _openmetrics.generate_latest  # has no annotations


_MOST_IN_FULL = 250
"""Sessions of which ``auto`` tells everything: 2 MB of text, which a scrape may well be every 15 s."""
_ALL = labels_of({"stream": "*"})
_MOST_VALUES = 40  # of a label; the only open one is the name of a consumer group
_SUM_AT_ONCE = 100  # sessions that are added up in one slice
_TELLING = (
    SessionState.STREAMING,
    SessionState.BACKPRESSURED,
    SessionState.PAUSED,
    SessionState.UNAUTHORIZED,
    SessionState.ENDED,
    SessionState.GONE,
    SessionState.FAILED,
)
"""States that alerts ask for; one that is in none of them stands by, or is on its way."""

_Combine = Callable[[Iterable[float]], float]


def _most(numbers: Iterable[float]) -> float:
    return max(numbers, default=0)


class _Plain(NamedTuple):
    """A number of every session: its attribute of the same name, or ``attribute``.

    The name of a counter gets its ``_total`` when it is written. ``each``: told for each session at every level of
    detail; else ``combine`` makes one number of all of them.
    """

    kind: Kind
    name: str
    help: str
    attribute: str | None = None
    each: bool = False
    combine: _Combine = sum


class _Labelled(NamedTuple):
    """Numbers of every session, by the value of ``label``: its attribute of the same name, or what ``read`` gives.

    ``reduced``: what is told of each session where not everything is. Without it ``combine`` makes one number of all.
    """

    kind: Kind
    name: str
    help: str
    label: str
    read: Callable[[SessionFigures], Mapping[str, float]] | None = None
    reduced: Callable[[SessionFigures], Mapping[str, float]] | None = None
    combine: _Combine = sum


class _Latency(NamedTuple):
    """A histogram of every session."""

    name: str
    help: str
    read: Callable[[SessionFigures], Histogram]


def _states(session: SessionFigures) -> Mapping[str, float]:
    current = session.state
    return {state: int(state is current) for state in SessionState}


def _telling_states(session: SessionFigures) -> Mapping[str, float]:
    current = session.state
    return {state: int(state is current) for state in _TELLING}


def _lags(session: SessionFigures) -> Mapping[str, float]:
    return {group: lag for group, (lag, _) in session.groups.items() if lag is not None}


def _pendings(session: SessionFigures) -> Mapping[str, float]:
    return {group: pending for group, (_, pending) in session.groups.items()}


_PLAIN = (
    _Plain(Kind.GAUGE, "lease_held", "Whether this worker owns the session.", each=True),
    _Plain(Kind.COUNTER, "fenced", "Times another worker took the session over."),
    _Plain(Kind.COUNTER, "source_connect_wait_seconds", "Time in which a connection waited for its turn."),
    _Plain(Kind.COUNTER, "source_bytes", "Bytes of SSE received."),
    _Plain(Kind.GAUGE, "source_last_byte_timestamp_seconds", "When any byte came last.", "last_byte_at", True),
    _Plain(Kind.GAUGE, "source_last_event_timestamp_seconds", "When a lens event came.", "last_event_at", True),
    _Plain(Kind.COUNTER, "heartbeats", "Heartbeats of the server."),
    _Plain(Kind.COUNTER, "events_published", "Entries appended to the Redis stream."),
    _Plain(Kind.COUNTER, "secrets_masked", "Events in which the API key was masked."),
    _Plain(Kind.GAUGE, "cursor_committed_timestamp_seconds", "When a commit landed last.", "last_commit_at", True),
    _Plain(Kind.COUNTER, "rollbacks", "Times Redis lost acknowledged commits."),
    _Plain(Kind.COUNTER, "replay_overruns", "Replays longer than the dedupe window."),
    _Plain(Kind.COUNTER, "id_conflicts", "Ids used again for other bytes."),
    _Plain(Kind.GAUGE, "buffer_events", "Events that wait for a commit."),
    _Plain(Kind.GAUGE, "buffer_bytes", "Bytes that wait for a commit."),
    _Plain(Kind.COUNTER, "backpressure_seconds", "Time without reading."),
    _Plain(Kind.GAUGE, "stream_length", "Entries in the Redis stream; of several, in all.", combine=_most),
    _Plain(
        Kind.GAUGE,
        "stream_max_length",
        "Entries at which it is trimmed, read or not; of several, each; 0: none.",
        combine=_most,
    ),
    _Plain(
        Kind.GAUGE,
        "stream_read_max_length",
        "Entries at which read ones are trimmed; of several, all; 0: none.",
        combine=_most,
    ),
    _Plain(Kind.COUNTER, "unread_trimmed", "Entries trimmed though a consumer group had not read them."),
)
_LABELLED = (
    _Labelled(
        Kind.GAUGE, "session_state", "1 for the state that the session is in.", "state", _states, _telling_states
    ),
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
    _Labelled(Kind.GAUGE, "group_lag", "Entries that a consumer group has not read.", "group", _lags, combine=_most),
    _Labelled(
        Kind.GAUGE, "group_pending", "Entries read by a group but not acknowledged.", "group", _pendings, combine=_most
    ),
)
_LATENCIES = (
    _Latency("delivery_latency_seconds", "From reception to commit.", attrgetter("delivery_latency")),
    _Latency("source_latency_seconds", "From the server's own timestamp to commit.", attrgetter("source_latency")),
)


class Metrics:
    """All figures of this worker, with the standard ``process_*`` beside them."""

    def __init__(self, worker: WorkerStatus, detail: MetricsDetail = MetricsDetail.AUTO) -> None:
        self._worker = worker
        self.detail = detail
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    def render(self, accept_header: str = "") -> tuple[bytes, str]:
        """The whole page and its content type: Prometheus text, or OpenMetrics where the header asks for it."""
        slices, content_type = self.slices(accept_header)
        return b"".join(slices), content_type

    def slices(self, accept_header: str = "") -> tuple[Iterator[bytes], str]:
        """The same in pieces that take less than a millisecond each. To be read in the event loop, which is where the
        figures are written, with others' work in between."""
        openmetrics = "application/openmetrics-text" in accept_header
        return self._slices(openmetrics), _OPENMETRICS if openmetrics else _TEXT

    def _slices(self, openmetrics: bool) -> Iterator[bytes]:
        for part in self._own(Exposition(openmetrics=openmetrics)):
            yield part.encode()
        yield _generate_openmetrics(self._process) if openmetrics else generate_latest(self._process)

    def _own(self, page: Exposition) -> Iterator[str]:
        worker = self._worker
        yield from page.add(
            Kind.INFO, f"{PREFIX}build", "What is running.", [(labels_of({"version": worker.version}), 1)]
        )
        for kind, name, text, number in _of_worker(worker):
            yield from page.add(kind, PREFIX + name, text, [("", number)])
        spans = worker.tracing
        fates = {"exported": spans.exported, "failed": spans.failed, "dropped": spans.dropped}
        results = [(labels_of({"result": result}), number) for result, number in fates.items()]
        yield from page.add(Kind.COUNTER, f"{PREFIX}spans", "Spans of commits, by what became of them.", results)
        text = "Events in a commit."
        yield from page.add_histogram(f"{PREFIX}commit_events", text, [("", worker.shared.commit_events)])
        text = "From sending a commit to its answer."
        yield from page.add_histogram(f"{PREFIX}commit_duration_seconds", text, [("", worker.shared.commit_duration)])
        sessions = [(labels_of({"stream": name}), session) for name, session in list(worker.sessions.items())]
        in_full = self.detail is MetricsDetail.FULL
        if self.detail is MetricsDetail.AUTO:
            in_full = len(sessions) <= _MOST_IN_FULL
        yield from _in_full(page, sessions) if in_full else _reduced(page, sessions)


_Sessions = list[tuple[str, SessionFigures]]


def _in_full(page: Exposition, sessions: _Sessions) -> Iterator[str]:
    for plain in _PLAIN:
        yield from _each_plain(page, plain, sessions)
    for family in _LABELLED:
        yield from _each_labelled(page, family, family.read or attrgetter(family.name), sessions)
    for latency in _LATENCIES:
        histograms = ((labels, latency.read(one)) for labels, one in sessions)
        yield from page.add_histogram(PREFIX + latency.name, latency.help, histograms)


def _reduced(page: Exposition, sessions: _Sessions) -> Iterator[str]:
    for plain in _PLAIN:
        if plain.each:
            yield from _each_plain(page, plain, sessions)
        else:
            read = attrgetter(plain.attribute or plain.name)
            number = plain.combine(read(one) for _, one in sessions)
            yield from page.add(plain.kind, PREFIX + plain.name, plain.help, [(_ALL, number)])
    for family in _LABELLED:
        if family.reduced is not None:
            yield from _each_labelled(page, family, family.reduced, sessions)
        else:
            by_label = family.read or attrgetter(family.name)
            merged = yield from _merged((by_label(one) for _, one in sessions), family.combine)
            yield from page.add_labelled(family.kind, PREFIX + family.name, family.help, family.label, [(_ALL, merged)])
    for latency in _LATENCIES:
        whole = yield from _added_up(latency.read(one) for _, one in sessions)
        yield from page.add_histogram(PREFIX + latency.name, latency.help, [(_ALL, whole)] if whole else [])


def _each_plain(page: Exposition, plain: _Plain, sessions: _Sessions) -> Iterator[str]:
    read = attrgetter(plain.attribute or plain.name)
    numbers = ((labels, read(one) + 0) for labels, one in sessions)  # a flag becomes a number
    return page.add(plain.kind, PREFIX + plain.name, plain.help, numbers)


def _each_labelled(
    page: Exposition, family: _Labelled, read: Callable[[SessionFigures], Mapping[str, float]], sessions: _Sessions
) -> Iterator[str]:
    mappings = ((labels, read(one)) for labels, one in sessions)
    return page.add_labelled(family.kind, PREFIX + family.name, family.help, family.label, mappings)


def _merged(mappings: Iterable[Mapping[str, float]], combine: _Combine) -> Generator[str, None, Mapping[str, float]]:
    """All of them as one; gives nothing but others their turn meanwhile."""
    merged: dict[str, float] = {}
    for at, one in enumerate(mappings):
        if at % _SUM_AT_ONCE == _SUM_AT_ONCE - 1:
            yield ""
        for value, number in one.items():
            merged[value] = combine((merged[value], number)) if value in merged else number
    furthest = sorted(merged, key=lambda value: -merged[value])[:_MOST_VALUES]
    return {value: merged[value] for value in merged if value in furthest}


def _added_up(histograms: Iterable[Histogram]) -> Generator[str, None, Histogram | None]:
    whole: Histogram | None = None
    for at, one in enumerate(histograms):
        if at % _SUM_AT_ONCE == _SUM_AT_ONCE - 1:
            yield ""
        whole = whole or Histogram(one.bounds)
        whole.counts = [count + more for count, more in zip(whole.counts, one.counts, strict=True)]
        whole.total += one.total
    return whole


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
    held = "Settings that were changed and take a restart."
    yield Kind.GAUGE, "config_settings_awaiting_restart", held, len(worker.config_held)
    found = worker.discovery
    yield Kind.GAUGE, "discovery_enabled", "Whether the API is asked for its sessions.", int(found.enabled)
    yield Kind.GAUGE, "discovery_sessions", "Sessions that were found and are to be read.", found.sessions
    yield Kind.GAUGE, "discovery_refused_sessions", "Wanted sessions that cannot be read.", found.refused
    yield Kind.COUNTER, "discovery_failures", "Questions after sessions without an answer.", found.failures
    at = "discovery_last_success_timestamp_seconds"
    yield Kind.GAUGE, at, "When the API last told its sessions.", found.answered_at
    yield Kind.COUNTER, "log_lines_dropped", "Log lines that nobody took.", log.lines_dropped()
