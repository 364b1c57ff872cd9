"""One session from the source to Redis, step by step."""

from __future__ import annotations

from figures import PROMISES, SESSION_STATES, age, counted, in_range, quantile, rate, session, session_state, spread
from grafana import (
    GREEN,
    ORANGE,
    RED,
    ZERO_IS_GOOD,
    Json,
    dashboard,
    heatmap,
    query,
    row,
    stat,
    state_timeline,
    time_series,
)


def _now() -> list[Json]:
    owners = f"sum({session('lease_held')})"
    return [
        row("Now"),
        stat(
            "State",
            "Good: streaming.",
            query(session_state()),
            states=SESSION_STATES,
        ),
        stat(
            "Owners",
            "Good: 1; 0 once the session has ended.",
            query(owners),
            thresholds=((None, RED), (1, GREEN), (2, ORANGE)),
        ),
        stat(
            "Since the last byte",
            "Good: below 10 s; heartbeats come about every 5 s.",
            query(age("source_last_byte_timestamp_seconds")),
            unit="s",
            thresholds=((None, GREEN), (45, ORANGE), (180, RED)),
        ),
        stat(
            "Since the last lens event",
            "Good: the usual pause of this lens.",
            query(age("source_last_event_timestamp_seconds")),
            unit="s",
        ),
        stat(
            "Since the last commit",
            "Good: about as long as since the last lens event.",
            query(age("cursor_committed_timestamp_seconds")),
            unit="s",
        ),
        stat(
            "Waiting for a commit",
            "Good: near 0. It fills while Redis is slow or away, up to commit.buffer_events.",
            query(f"sum({session('buffer_events')})"),
        ),
        state_timeline(
            "State, as each worker sees it",
            "Good: one worker streams, the others stand by. A change of worker shows as a change of band.",
            query(session_state("instance"), "{{instance}}"),
            states=SESSION_STATES,
        ),
    ]


def _source() -> list[Json]:
    return [
        row("From the source"),
        time_series(
            "Received by type",
            "Good: the usual mix. Types that are not well known are counted as `other`.",
            query(rate("events_received_total", by="type") + " > 0", "{{type}}"),
            unit="cps",
            stacked=True,
        ),
        time_series(
            "Bytes received",
            "Good: never 0 for long, since heartbeats count.",
            query(rate("source_bytes_total"), "bytes"),
            unit="Bps",
        ),
        time_series(
            "Heartbeats",
            "Good: none while events come, about one in 5 s while the lens is quiet.",
            query(rate("heartbeats_total"), "heartbeats"),
            unit="cps",
        ),
        time_series(
            "Attempts to connect, by outcome",
            "Good: `ok` only, a few. Many of another outcome: the log event `source.refused` has the server's words.",
            query(counted("source_connects_total", by="outcome") + " > 0", "{{outcome}}"),
            bars=True,
        ),
        time_series(
            "Waiting for its turn to connect",
            "Good: none. A share of the time: the server asks for fewer connections, or connects_per_second is low.",
            query(rate("source_connect_wait_seconds_total"), "waiting"),
            unit="percentunit",
        ),
        time_series(
            "Ends of a connection, by reason",
            "Good: seldom. `end` about once a minute: the server closes idle streams. `idle_timeout`: it went silent.",
            query(counted("source_disconnects_total", by="reason") + " > 0", "{{reason}}"),
            bars=True,
        ),
        time_series(
            "Skipped, by reason",
            "Good: `duplicate` after a reconnect only, where the source replays what was already published.",
            query(rate("events_skipped_total", by="reason"), "{{reason}}"),
            unit="cps",
        ),
    ]


def _to_redis() -> list[Json]:
    return [
        row("Into Redis"),
        time_series(
            "Received and published",
            "Good: one line upon the other.",
            query(rate("events_received_total"), "received"),
            query(rate("events_published_total"), "published"),
            unit="cps",
        ),
        time_series(
            "Commits by result",
            "Good: `ok`. `already`: a reply was lost, nothing else. `fenced`: another worker took over. `rolled_back`: "
            "Redis lost data. `error`: Redis refuses or is away, and the commit is tried again.",
            query(rate("commits_total", by="result"), "{{result}}"),
            unit="cps",
        ),
        time_series(
            "Waiting for a commit",
            "Good: near 0. A plateau at commit.buffer_events means that reading stands still until Redis is back.",
            query(f"sum({session('buffer_events')})", "events"),
        ),
        heatmap(
            "Delivery latency",
            "Good: one bright band at the bottom: milliseconds from reception to commit.",
            spread("delivery_latency_seconds"),
        ),
        time_series(
            "Latency",
            "Good: delivery in milliseconds. From the server's own timestamp it is longer by what the lens and the "
            "network take, and wrong by as much as the two clocks differ.",
            query(quantile("delivery_latency_seconds", 0.5), "delivery, half of all"),
            query(quantile("delivery_latency_seconds", 0.99), "delivery, 99 of 100"),
            query(quantile("source_latency_seconds", 0.5), "since the server's timestamp, half of all"),
            unit="s",
            width=12,
        ),
        time_series(
            "Time without reading",
            "Good: 0. The share of time in which the source had to wait for Redis; counted when the wait is over.",
            query(rate("backpressure_seconds_total"), "waiting"),
            unit="percentunit",
            width=12,
        ),
        time_series(
            "Entries in the stream",
            "Good: level where the stream is trimmed, else growing with what is published. A fall to 0: Redis was "
            "emptied.",
            query(f"max({session('stream_length')})", "entries"),
            query(f"max({session('stream_max_length')} > 0)", "trimmed at"),
            query(f"max({session('stream_read_max_length')} > 0)", "what is read trimmed at"),
            width=12,
        ),
    ]


def _promises() -> list[Json]:
    return [
        row("Once, all, in order?"),
        *(
            stat(
                name.capitalize(),
                f"Good: 0 in the time shown. The counter is lens_bridge_{metric}.",
                query(in_range(metric)),
                thresholds=ZERO_IS_GOOD,
            )
            for name, metric, _ in PROMISES
        ),
        time_series(
            "Gaps and dead letters, by reason",
            "Good: none. The reasons are explained in the runbook.",
            query(counted("gaps_total", by="reason") + " > 0", "gap: {{reason}}"),
            query(counted("dead_letters_total", by="reason") + " > 0", "dead letter: {{reason}}"),
            bars=True,
            width=12,
        ),
        time_series(
            "Events with the API key in them",
            "Good: none. The server echoed the key; it was masked before the event was stored.",
            query(counted("secrets_masked_total"), "masked"),
            bars=True,
            width=12,
        ),
    ]


DASHBOARD = dashboard(
    "lens-bridge-session",
    "Lens Bridge / One session",
    "One session from the source to Redis, step by step.",
    [*_now(), *_source(), *_to_redis(), *_promises()],
    one_stream=True,
)
