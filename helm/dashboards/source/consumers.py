"""What Redis takes and keeps, and whether the consumers keep up with it."""

from __future__ import annotations

from figures import counted, quantile, rate, session, spread
from grafana import (
    GREEN,
    ONE_IS_GOOD,
    ORANGE,
    RED,
    SELECTOR,
    ZERO_IS_GOOD,
    Json,
    dashboard,
    heatmap,
    query,
    row,
    stat,
    time_series,
)

WORKERS = 'job=~"$job"'  # commits of all sessions are measured together, without the label `stream`
BACKPRESSURED = session("session_state", 'state="backpressured"')
UNREAD = f"max by (stream, group) ({session('group_lag')} + {session('group_pending')} or {session('group_pending')})"


def _now() -> list[Json]:
    trimmed_at = f"max by (stream) ({session('stream_max_length')} > 0)"
    return [
        row("Now"),
        stat(
            "Redis is reachable",
            "Good: 1. The least of all workers: 0 as soon as one of them cannot reach Redis.",
            query(f"min(lens_bridge_redis_reachable{{{WORKERS}}})"),
            thresholds=ONE_IS_GOOD,
        ),
        stat(
            "Durability degraded",
            "Good: 0. 1: Redis confirms less than was asked for.",
            query(f"max(lens_bridge_durability_degraded{{{WORKERS}}})"),
            thresholds=ZERO_IS_GOOD,
        ),
        stat(
            "Commits per second",
            "Good: as many as there are events at a low rate, fewer and larger ones at a high rate.",
            query(rate("commits_total", 'result=~"ok|already"')),
            unit="cps",
            spark=True,
        ),
        stat(
            "Commit, 99 of 100",
            "Good: a few milliseconds.",
            query(quantile("commit_duration_seconds", 0.99, WORKERS)),
            unit="s",
            thresholds=((None, GREEN), (0.25, ORANGE), (2.5, RED)),
            spark=True,
        ),
        stat(
            "Largest lag",
            "Good: near 0, or falling. Entries that the slowest group has still to read or acknowledge.",
            query(f"max({UNREAD})"),
            spark=True,
        ),
        stat(
            "Unread share before trimming",
            "Good: far below 80 %. At 100 % entries are trimmed before the slowest group has read them. Empty where "
            "neither stream.max_length nor, with stream.keep_unread, stream.hard_max_length is set.",
            query(f"max({UNREAD} / on (stream) group_left () {trimmed_at})"),
            unit="percentunit",
            thresholds=((None, GREEN), (0.5, ORANGE), (0.8, RED)),
        ),
    ]


def _commits() -> list[Json]:
    return [
        row("What Redis takes"),
        heatmap(
            "Commit duration",
            "Good: one bright band at the bottom. A commit that is tried again counts from its first try, so an outage "
            "shows as a band at its length.",
            spread("commit_duration_seconds", WORKERS),
        ),
        time_series(
            "Commits by result",
            "Good: `ok`. `already`: a reply was lost. `fenced`: another worker took over. `rolled_back`: Redis lost "
            "data. `error`: Redis refuses or is away; the log event `commit.delayed` has its words.",
            query(rate("commits_total", by="result"), "{{result}}"),
            unit="cps",
            width=12,
        ),
        time_series(
            "Events in a commit",
            "Good: 1 at a low rate; it grows by itself under load, up to commit.max_events.",
            query(quantile("commit_events", 0.5, WORKERS), "half of all"),
            query(quantile("commit_events", 0.99, WORKERS), "99 of 100"),
        ),
        time_series(
            "Waiting for a commit",
            "Good: near 0. It grows while Redis is slow or away, up to commit.buffer_events and commit.buffer_bytes.",
            query(f"sum by (stream) ({session('buffer_events')})", "{{stream}}"),
        ),
        time_series(
            "Buffered bytes",
            "Good: near 0. This is what the workers' memory grows by while Redis is away.",
            query(f"sum by (stream) ({session('buffer_bytes')})", "{{stream}}"),
            unit="bytes",
        ),
        time_series(
            "Time without reading",
            "Good: 0. The share of time in which the source had to wait for Redis; counted when the wait is over.",
            query(rate("backpressure_seconds_total", by="stream"), "{{stream}}"),
            unit="percentunit",
        ),
        time_series(
            "Sessions that wait for Redis",
            "Good: 0. Sessions in the state `backpressured`, while it lasts.",
            query(f"sum({BACKPRESSURED})", "sessions"),
            steps=True,
        ),
        time_series(
            "Rollbacks",
            "Good: none. Redis came back with less than it had acknowledged: look at its persistence and failovers.",
            query(counted("rollbacks_total", by="stream"), "{{stream}}"),
            bars=True,
        ),
    ]


def _consumers() -> list[Json]:
    return [
        row("What the consumers do"),
        time_series(
            "Entries in the streams",
            "Good: level where stream.max_length is set, else growing with what is published. A fall to 0: Redis was "
            "emptied. Growth without end fills Redis's memory; with stream.keep_unread a group stands still.",
            query(f"max by (stream) ({session('stream_length')})", "{{stream}}"),
            query(f"max by (stream) ({session('stream_max_length')} > 0)", "{{stream}} is trimmed at"),
            query(f"max by (stream) ({session('stream_read_max_length')} > 0)", "{{stream}}, what is read, at"),
            width=12,
        ),
        time_series(
            "Unread entries trimmed",
            "Good: none. A group stood still until stream.hard_max_length was reached; it will never get these.",
            query(counted("unread_trimmed_total", by="stream"), "{{stream}}"),
            bars=True,
            width=12,
        ),
        time_series(
            "Lag of each group",
            "Good: near 0, or falling. Entries that the group has not been given yet. Redis cannot tell it after some "
            "deletions; then the line has a hole.",
            query(f"max by (stream, group) ({session('group_lag')})", "{{stream}} {{group}}"),
            width=12,
        ),
        time_series(
            "Pending of each group",
            "Good: small and changing. What stays is read but not acknowledged: a consumer died or hangs; XAUTOCLAIM "
            "gives its entries to another.",
            query(f"max by (stream, group) ({session('group_pending')})", "{{stream}} {{group}}"),
            width=12,
        ),
        time_series(
            "Time to catch up",
            "Good: seconds. The lag divided by the present rate of publishing: how far behind the group is, in time.",
            query(
                f"max by (stream, group) ({session('group_lag')}) / on (stream) group_left () "
                f"(sum by (stream) (rate(lens_bridge_events_published_total{{{SELECTOR}}}[$__rate_interval])) > 0)",
                "{{stream}} {{group}}",
            ),
            unit="s",
            width=12,
        ),
    ]


DASHBOARD = dashboard(
    "lens-bridge-redis",
    "Lens Bridge / Redis and consumers",
    "What Redis takes and keeps, and whether the consumers keep up with it.",
    [*_now(), *_commits(), *_consumers()],
)
