"""The figures of one session: plain numbers, added to once per chunk or commit and read when Prometheus asks.

Not prometheus_client's own counters: a session has about 90 series, and as objects with a lock each they would take
about 150 KB per session and most of a microsecond per call. All calls come from the event loop, so no lock is needed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from bridge.events import (
    CommitOutcome,
    ConnectOutcome,
    DeadLetterReason,
    DisconnectReason,
    GapReason,
    SessionState,
    SkipReason,
)

__all__ = ["EVENT_TYPES", "OTHER", "Histogram", "SessionMetrics", "SharedMetrics"]

OTHER = "other"
EVENT_TYPES = (
    "inference.result",
    "inference.error",
    "inference.start",
    "inference.reset",
    "frame.processed",
    "session.modify.result",
    "log.info",
    "error",
    "stream.start",
    "stream.end",
    "stream.null",
    OTHER,
)
"""Every value of the label ``type``. The set of lens types is open, so all that are not known share ``other``."""

_DELIVERY_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
_SOURCE_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
_COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_COMMIT_EVENTS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


class Histogram:
    """Counts of values by upper bound. One call may stand for many equal values: a batch shares one latency."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # the last one is for what is above every bound
        self.total = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """Add ``count`` observations of ``value``. Below zero (two clocks disagree) it counts as zero."""
        if value < 0.0:
            value = 0.0
        self.counts[bisect_left(self.bounds, value)] += count
        self.total += value * count


class SharedMetrics:
    """What is measured over all sessions of a worker together."""

    __slots__ = ("commit_duration", "commit_events")

    def __init__(self) -> None:
        self.commit_events = Histogram(_COMMIT_EVENTS)
        self.commit_duration = Histogram(_COMMIT_SECONDS)


class SessionMetrics:
    """One session's figures. ``at`` is Unix seconds; sizes are bytes, durations seconds."""

    def __init__(self, shared: SharedMetrics) -> None:
        self._shared = shared
        self.state = SessionState.STANDBY
        self.lease = False
        self.fences = 0
        self.connects = dict.fromkeys(ConnectOutcome, 0)
        self.disconnects = dict.fromkeys(DisconnectReason, 0)
        self.source_bytes = 0
        self.last_byte_at = 0.0
        self.last_event_at = 0.0
        self.heartbeat_count = 0
        self.events_received = dict.fromkeys(EVENT_TYPES, 0)
        self.events_published = 0
        self.events_skipped = dict.fromkeys(SkipReason, 0)
        self.dead_letters = dict.fromkeys(DeadLetterReason, 0)
        self.secrets_masked = 0
        self.commits = dict.fromkeys(CommitOutcome, 0)
        self.committed_at = 0.0
        self.delivery_latency = Histogram(_DELIVERY_SECONDS)
        self.event_latency = Histogram(_SOURCE_SECONDS)
        self.gaps = dict.fromkeys(GapReason, 0)
        self.rollbacks = 0
        self.replay_overruns = 0
        self.conflicts = 0
        self.buffer_events = 0
        self.buffer_bytes = 0
        self.backpressure_seconds = 0.0
        self.length = 0
        self.max_length = 0
        self.groups: Mapping[str, tuple[int | None, int]] = {}

    def set_state(self, state: SessionState) -> None:
        """``session_state``: 1 for this state, 0 for the others."""
        self.state = state

    def lease_held(self, held: bool) -> None:
        """``lease_held``: whether this worker owns the session."""
        self.lease = held

    def fenced(self) -> None:
        """``fenced_total``: another worker took the session while this one still wrote."""
        self.fences += 1

    def connected(self, outcome: ConnectOutcome) -> None:
        """``source_connects_total``: one attempt to open the source."""
        self.connects[outcome] += 1

    def disconnected(self, reason: DisconnectReason) -> None:
        """``source_disconnects_total``: one open source came to its end."""
        self.disconnects[reason] += 1

    def bytes_received(self, n: int, at: float) -> None:
        """``source_bytes_total`` and ``source_last_byte_timestamp_seconds``."""
        self.source_bytes += n
        self.last_byte_at = at

    def heartbeats(self, n: int) -> None:
        """``heartbeats_total``."""
        self.heartbeat_count += n

    def received(self, types: Mapping[str, int], at: float) -> None:
        """``events_received_total``: lens events by type, and ``source_last_event_timestamp_seconds``."""
        counts = self.events_received
        for name, n in types.items():
            counts[name if name in counts else OTHER] += n
        self.last_event_at = at

    def skipped(self, reason: SkipReason, n: int) -> None:
        """``events_skipped_total``."""
        self.events_skipped[reason] += n

    def dead_letter(self, reason: DeadLetterReason, n: int) -> None:
        """``dead_letters_total``."""
        self.dead_letters[reason] += n

    def secret_masked(self, n: int) -> None:
        """``secrets_masked_total``: events that echoed the API key, which was masked in them."""
        self.secrets_masked += n

    def committed(self, outcome: CommitOutcome) -> None:
        """``commits_total``: one answer to a commit, or the lack of one."""
        self.commits[outcome] += 1

    def commit_done(self, events: int, published: int, duration_seconds: float, at: float) -> None:
        """A commit landed: its size and duration, what it published, and when the cursor was stored."""
        self._shared.commit_events.observe(events)
        self._shared.commit_duration.observe(duration_seconds)
        self.events_published += published
        self.committed_at = at

    def delivered(self, latency_seconds: float, n: int) -> None:
        """``delivery_latency_seconds``: ``n`` events took this long from reception to commit."""
        self.delivery_latency.observe(latency_seconds, n)

    def source_latency(self, latency_seconds: float, n: int) -> None:
        """``source_latency_seconds``: ``n`` events took this long from the server's own timestamp to commit."""
        self.event_latency.observe(latency_seconds, n)

    def gap(self, reason: GapReason) -> None:
        """``gaps_total``: events may be missing here."""
        self.gaps[reason] += 1

    def rollback(self) -> None:
        """``rollbacks_total``: Redis lost commits that it had acknowledged."""
        self.rollbacks += 1

    def replay_overrun(self) -> None:
        """``replay_overruns_total``: a replay was longer than the dedupe window."""
        self.replay_overruns += 1

    def id_conflicts(self, n: int) -> None:
        """``id_conflicts_total``: the server used an id again for other bytes."""
        self.conflicts += n

    def buffer(self, events: int, size_bytes: int) -> None:
        """``buffer_events`` and ``buffer_bytes``: what waits for a commit now."""
        self.buffer_events = events
        self.buffer_bytes = size_bytes

    def backpressured(self, seconds: float) -> None:
        """``backpressure_seconds_total``: time in which reading stood still, since the buffer was full."""
        self.backpressure_seconds += seconds

    def stream_length(self, n: int) -> None:
        """``stream_length``: entries in the Redis stream now."""
        self.length = n

    def stream_max_length(self, n: int) -> None:
        """``stream_max_length``: beyond this many entries the oldest are trimmed, read or not; 0 where none are."""
        self.max_length = n

    def consumer_groups(self, groups: Mapping[str, tuple[int | None, int]]) -> None:
        """``group_lag`` and ``group_pending``: entries by group; a lag is None where Redis cannot tell."""
        self.groups = groups
