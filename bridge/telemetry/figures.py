"""What there is to tell of one session: plain attributes, written by those who do the work, read by those who show it.

One object per session, from which both Prometheus and ``/status`` are made. Nothing in the worker decides by it. Not
prometheus_client's own counters: a session has about 90 series, and as objects with a lock each they would take about
150 KB per session and most of a microsecond per call. All writing is done in the event loop, so no lock is needed.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bridge.delivery.batch import Counts
from bridge.delivery.envelopes import timestamp_of
from bridge.model.labels import (
    CommitOutcome,
    ConnectOutcome,
    DeadLetterReason,
    DisconnectReason,
    GapReason,
    SessionState,
    SkipReason,
)
from bridge.model.place import Place, Session
from bridge.model.records import Accepted, Piece, Run

__all__ = ["EVENT_TYPES", "OTHER", "Histogram", "Kept", "SessionFigures", "SharedFigures"]

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


_NOT_THROUGH = frozenset(
    (SessionState.CONNECTING, SessionState.WAITING, SessionState.UNAUTHORIZED, SessionState.CURSOR_LOST)
)
"""A session that cannot be read goes round in these with each attempt: that is one trouble, with one beginning."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What Redis holds of a session, whoever reads it. ``owner`` has the lease; None where nobody has.

    ``seq`` is None where no worker has ever read it. ``updated_at``: the last commit, by the clock of who made it; 0
    for none.
    """

    owner: str | None
    seq: int | None
    cursor: str | None
    updated_at: float
    dead_letters: int


class SharedFigures:
    """What is measured over all sessions of a worker together."""

    __slots__ = ("commit_duration", "commit_events")

    def __init__(self) -> None:
        self.commit_events = Histogram(_COMMIT_EVENTS)
        self.commit_duration = Histogram(_COMMIT_SECONDS)


class SessionFigures:
    """One session as this worker sees it. ``…_at`` is Unix seconds, 0 where it has not happened yet.

    Attributes that are not written by a method here are written by whoever knows: ``figures.rollbacks += 1``.
    """

    def __init__(self, session: Session, stream_key: str, shared: SharedFigures | None = None) -> None:
        self.session = session
        self.stream_key = stream_key
        self.routed_keys: tuple[str, ...] = ()  # the other streams that some of its events go to
        self._shared = shared or SharedFigures()
        self.state = SessionState.STANDBY
        self.since = time.time()  # it is in this state, or on the way from one attempt to the next
        self._stage = SessionState.STANDBY
        self._blocks = 0
        self.lease_held = False
        self.owner: str | None = None
        self.fenced = 0  # times another worker took the session while this one still wrote
        self.cursor: str | None = None
        self.seq = 0
        self.last_error: str | None = None
        self.last_error_at = 0.0
        self.last_byte_at = 0.0
        self.last_event_at = 0.0
        self.last_commit_at = 0.0
        self.source_connects = dict.fromkeys(ConnectOutcome, 0)
        self.source_connect_wait_seconds = 0.0  # in which it was not yet this session's turn to connect
        self.source_disconnects = dict.fromkeys(DisconnectReason, 0)
        self.source_bytes = 0
        self.heartbeats = 0
        self.events_received = dict.fromkeys(EVENT_TYPES, 0)
        self.events_published = 0
        self.events_skipped = dict.fromkeys(SkipReason, 0)
        self.dead_letters = dict.fromkeys(DeadLetterReason, 0)
        self.secrets_masked = 0  # events that echoed the API key
        self.commits = dict.fromkeys(CommitOutcome, 0)  # answers to commits, or the lack of one
        self.delivery_latency = Histogram(_DELIVERY_SECONDS)
        self.source_latency = Histogram(_SOURCE_SECONDS)
        self.gaps = dict.fromkeys(GapReason, 0)
        self.rollbacks = 0
        self.replay_overruns = 0
        self.id_conflicts = 0
        self.buffer_events = 0  # what waits for a commit now
        self.buffer_bytes = 0
        self.backpressure_seconds = 0.0
        self.stream_length = 0  # entries in the Redis stream now; where events are routed, in all of its streams
        self.stream_max_length = 0  # beyond this many entries the oldest are trimmed, read or not; 0 where none are
        self.stream_read_max_length = 0  # the same for those that every group has read
        self.unread_trimmed = 0
        self.kept: Kept | None = None  # None where Redis has not told it, or no longer does
        self.groups: Mapping[str, tuple[int | None, int]] = {}  # lag and pending; a lag is None where Redis cannot tell

    @property
    def reader(self) -> str | None:
        """Who has the lease, as far as this worker knows; None for nobody."""
        return self.owner if self.lease_held or self.kept is None else self.kept.owner

    @property
    def held_unread(self) -> bool:
        """A consumer group keeps the stream at over twice its limit, and not only since whole nodes are trimmed."""
        return 0 < self.stream_read_max_length * 2 + 1000 < self.stream_length and self.stream_read_max_length > 0

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
        self.owner, self.lease_held = None, False
        self._blocks = 0
        self.buffer_events = self.buffer_bytes = 0
        self.enter(state)

    def fail(self, error: str) -> None:
        """Remember the last thing that went wrong, in words for a person."""
        self.last_error, self.last_error_at = error, time.time()

    def add(self, accepted: Accepted, now: float) -> None:
        """What a chunk of the source came to, at ``now``."""
        if accepted.types:
            received = self.events_received
            for name, count in accepted.types.items():
                received[name if name in received else OTHER] += count
            self.last_event_at = now
        self.heartbeats += accepted.heartbeats
        self.events_skipped[SkipReason.DUPLICATE] += accepted.duplicates
        self.events_skipped[SkipReason.FILTERED] += accepted.filtered
        self.secrets_masked += accepted.masked
        self.id_conflicts += accepted.conflicts
        self.replay_overruns += accepted.overrun

    def add_commit(self, batch: Sequence[Piece], counts: Counts, place: Place, *, seconds: float, now: float) -> None:
        """A commit that took ``seconds`` landed at ``now``, and ``place`` is where we stand."""
        self.cursor, self.seq, self.last_commit_at = place.cursor, place.seq, now
        events, _, published = counts
        self.events_published += published
        self._shared.commit_events.observe(events)
        self._shared.commit_duration.observe(seconds)
        if published < events:
            for piece in batch:
                if not isinstance(piece, Run) and piece.dead:
                    self.dead_letters[piece.dead.reason] += 1
        self._add_latencies(batch, now)

    def _add_latencies(self, batch: Sequence[Piece], now: float) -> None:
        received_at, count = 0.0, 0
        for piece in batch:  # all events of a chunk share their time: one observation for each chunk
            if piece.received_at != received_at:
                if count:
                    self.delivery_latency.observe(now - received_at, count)
                received_at, count = piece.received_at, 0
            count += len(piece) if isinstance(piece, Run) else 1
        if not count:
            return
        self.delivery_latency.observe(now - received_at, count)
        last = batch[-1]
        newest = last.datas[-1] if isinstance(last, Run) else last.data
        if (said := timestamp_of(newest)) is not None:  # one sample per commit: reading it costs a parse
            self.source_latency.observe(now - said)

    def _show(self) -> None:
        blocked = self._blocks > 0 and self._stage is SessionState.STREAMING
        state = SessionState.BACKPRESSURED if blocked else self._stage
        if state is self.state:
            return
        if not (state in _NOT_THROUGH and self.state in _NOT_THROUGH):
            self.since = time.time()
        self.state = state
