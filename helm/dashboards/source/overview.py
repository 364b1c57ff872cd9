"""The one dashboard to open in a bad night: does every session flow, exactly once, and who reads it."""

from __future__ import annotations

from figures import PROMISES, SESSION_STATES, age, counted, in_range, quantile, rate, session, session_state, spread
from grafana import (
    GREEN,
    ORANGE,
    RED,
    ZERO_IS_GOOD,
    ZERO_IS_USUAL,
    Json,
    dashboard,
    heatmap,
    query,
    row,
    stat,
    state_timeline,
    table,
    time_series,
)

OWNERS = ((0, "nobody", RED), (1, "one", GREEN), (2, "two", ORANGE), (3, "three", ORANGE))
LOSSES = ("gaps_total", "replay_overruns_total", "id_conflicts_total", "dead_letters_total")


def _at_a_glance() -> list[Json]:
    streaming = session("session_state", 'state="streaming"')
    return [
        row("Is it all right?"),
        stat(
            "Alerts firing",
            "Good: 0. Each alert's runbook says what to do; red marks in all graphs show when it began.",
            query('count(ALERTS{alertname=~"LensBridge.+", alertstate="firing"}) or vector(0)'),
            thresholds=ZERO_IS_GOOD,
        ),
        stat(
            "Sessions that stream",
            "Good: all that should. The timeline below shows what the others do instead.",
            query(f"count(max by (stream) ({streaming}) == 1) or vector(0)", "streaming"),
            query(f"count(count by (stream) ({session('lease_held')}))", "configured"),
        ),
        stat(
            "Sessions without an owner",
            "Good: 0. Ended sessions have no owner either; any other one is read by nobody.",
            query(f"count(sum by (stream) ({session('lease_held')}) == 0) or vector(0)"),
            thresholds=ZERO_IS_USUAL,
        ),
        stat(
            "Published per second",
            "Good: what your lenses usually give, and as much as is received.",
            query(rate("events_published_total")),
            unit="cps",
            spark=True,
        ),
        stat(
            "Delivery, 99 of 100",
            "Good: a few milliseconds. How long events take from reception to the commit in Redis.",
            query(quantile("delivery_latency_seconds", 0.99)),
            unit="s",
            thresholds=((None, GREEN), (1, ORANGE), (5, RED)),
            spark=True,
        ),
        stat(
            "Exceptions to exactly once",
            "Good: 0. Gaps, replay overruns, reused ids and dead letters in the time shown. While it is 0, every event "
            "was published once and in order; `lens-bridge verify` proves it from Redis itself.",
            query(" + ".join(in_range(one) for one in LOSSES)),
            thresholds=ZERO_IS_GOOD,
        ),
    ]


def _flow() -> list[Json]:
    outgoing = " + ".join((rate("events_published_total"), rate("events_skipped_total"), rate("dead_letters_total")))
    return [
        row("Does it flow?"),
        state_timeline(
            "What each session does",
            "Good: green (streaming), with short blue and yellow bits where the source closed the connection. Yellow "
            "or blue for minutes: the source is away. Dark yellow: Redis is slow. Red: a person is needed.",
            query(session_state(), "{{stream}}"),
            states=SESSION_STATES,
        ),
        time_series(
            "Received and published",
            "Good: one line upon the other. Received above published for long: events are replayed (skipped) or Redis "
            "does not take them.",
            query(rate("events_received_total"), "received"),
            query(rate("events_published_total"), "published"),
            query(rate("events_skipped_total"), "skipped: replayed by the source"),
            unit="cps",
        ),
        time_series(
            "Received but not accounted for",
            "Good: 0, with a short bump up and down where a buffer filled and emptied. What stays above 0 waits in a "
            "buffer or was lost with a killed worker, and then comes again from the source.",
            query(f"{rate('events_received_total')} - ({outgoing})", "difference"),
            unit="cps",
            minimum=None,
        ),
        time_series(
            "Published by session",
            "Good: each session at its own usual rate. A line that falls to 0 while the others go on is worth a look.",
            query(rate("events_published_total", by="stream"), "{{stream}}"),
            unit="cps",
        ),
        heatmap(
            "Delivery latency",
            "Good: one bright band at the bottom. A second band high up, or one that climbs: Redis was slow or away.",
            spread("delivery_latency_seconds"),
            width=8,
        ),
        time_series(
            "Since the last byte",
            "Good: below 10 s, since heartbeats come about every 5 s. Above source.idle_timeout_seconds (45) the "
            "worker has reconnected in vain.",
            query(age("source_last_byte_timestamp_seconds"), "{{stream}}"),
            unit="s",
        ),
        time_series(
            "Since the last lens event",
            "Good: the usual pause of the lens. Bytes but no events for long: the lens has nothing to say, or writes "
            "elsewhere.",
            query(age("source_last_event_timestamp_seconds"), "{{stream}}"),
            unit="s",
        ),
    ]


def _owners() -> list[Json]:
    def now(expr: str) -> Json:
        return query(expr, instant=True, shape="table")

    return [
        row("Who owns what?"),
        table(
            "Sessions now",
            "Good: every session that has not ended has one owner and streams; the last commit is about as old as the "
            "last event.",
            {
                "worker": now(f"max by (stream, instance) ({session('lease_held')} == 1)"),
                "state": now(session_state()),
                "received/s": now(rate("events_received_total", by="stream")),
                "published/s": now(rate("events_published_total", by="stream")),
                "last event": now(age("source_last_event_timestamp_seconds")),
                "last commit": now(age("cursor_committed_timestamp_seconds")),
                "buffered": now(f"sum by (stream) ({session('buffer_events')})"),
                "entries": now(f"max by (stream) ({session('stream_length')})"),
            },
            key="stream",
            units={"received/s": "cps", "published/s": "cps", "last event": "s", "last commit": "s"},
            states={"state": SESSION_STATES},
            hidden=("worker",),
        ),
        state_timeline(
            "Owners of each session",
            "Good: one. Nobody: no worker reads it. Two for longer than a moment: two workers claim it; only one of "
            "them can write.",
            query(f"sum by (stream) ({session('lease_held')})", "{{stream}}"),
            states=OWNERS,
            width=12,
        ),
        time_series(
            "Sessions held by each worker",
            "Good: level, and evenly spread. A step down of one worker comes with steps up of others.",
            query(f"sum by (instance) ({session('lease_held')})", "{{instance}}"),
            width=12,
            stacked=True,
            steps=True,
        ),
    ]


_MEANINGS = {
    "gaps": "Good: none. Events may be missing before each: the server lost our place, or Redis its state.",
    "rollbacks": "Good: none. Redis came back with less than it had acknowledged. The worker reads it again.",
    "replay overruns": "Good: none. The source replayed more than dedupe.window_events, so some entries came twice.",
    "reused ids": "Good: none. The source gave an id a second time, to other contents. Published with a suffix.",
    "dead letters": "Good: none. Events that could not become entries; the runbook says how to see them.",
    "fences": "Good: none outside a rollout. A worker lost a session while it was reading it. No event is lost.",
}


def _promises() -> list[Json]:
    return [
        row("Once, all, in order?"),
        *(
            time_series(
                name.capitalize(),
                _MEANINGS[name],
                query(counted(metric, by="stream, " + label if label else "stream"), _legend(label)),
                bars=True,
            )
            for name, metric, label in PROMISES
        ),
    ]


def _legend(label: str) -> str:
    return "{{stream}} " + f"({{{{{label}}}}})" if label else "{{stream}}"


DASHBOARD = dashboard(
    "lens-bridge-overview",
    "Lens Bridge / Overview",
    "Does every session flow into Redis, exactly once, and who reads it?",
    [*_at_a_glance(), *_flow(), *_owners(), *_promises()],
)
