"""The workers as processes: which version runs, what they hold, and what they cost."""

from __future__ import annotations

from figures import of_worker, rate, session
from grafana import (
    GREEN,
    ONE_IS_GOOD,
    ORANGE,
    RED,
    ZERO_IS_GOOD,
    Json,
    dashboard,
    query,
    row,
    stat,
    state_timeline,
    table,
    time_series,
)

JOB = 'job=~"$job"'
YES_NO = ((0, "no", RED), (1, "yes", GREEN))


def _now() -> list[Json]:
    scraped = f"count(lens_bridge_build_info{{{JOB}}})"
    return [
        row("Now"),
        stat(
            "Workers seen by Prometheus",
            "Good: the number of replicas.",
            query(scraped),
        ),
        stat(
            "Workers in the register",
            "Good: the same number. More: a worker is not scraped, or died within the last lease. Fewer: one does not "
            "reach Redis.",
            query(f"max(lens_bridge_workers_live{{{JOB}}})"),
        ),
        stat(
            "Versions",
            "Good: 1; 2 during a rollout.",
            query(f"count(count by (version) (lens_bridge_build_info{{{JOB}}}))"),
            thresholds=((None, GREEN), (2, ORANGE)),
        ),
        stat(
            "All are ready",
            "Good: 1. The least of all workers.",
            query(f"min(lens_bridge_ready{{{JOB}}})"),
            thresholds=ONE_IS_GOOD,
        ),
        stat(
            "Restarts",
            "Good: 0 outside a rollout. Restarts of containers in the time shown.",
            query(
                f"sum(changes(process_start_time_seconds{{{JOB}}}[$__range]) "
                "and on (job, instance) lens_bridge_build_info)"
            ),
            thresholds=((None, GREEN), (1, ORANGE)),
        ),
        stat(
            "Configuration errors",
            "Good: 0. Workers whose last reading of the configuration failed; they go on with the one before.",
            query(f"sum(1 - lens_bridge_config_last_reload_successful{{{JOB}}})"),
            thresholds=ZERO_IS_GOOD,
        ),
        stat(
            "Settings that await a restart",
            "Good: 0. The most of any worker; its /status names them.",
            query(f"max(lens_bridge_config_settings_awaiting_restart{{{JOB}}})"),
            thresholds=((None, GREEN), (1, ORANGE)),
        ),
    ]


def _workers() -> list[Json]:
    def now(expr: str) -> Json:
        return query(expr, instant=True, shape="table")

    return [
        row("Workers"),
        table(
            "Workers now",
            "Good: the same version everywhere, sessions evenly spread, and a start that you know the reason of.",
            {
                "info": now(f"max by (instance, version) (lens_bridge_build_info{{{JOB}}})"),
                "ready": now(f"max by (instance) (lens_bridge_ready{{{JOB}}})"),
                "reaches Redis": now(f"max by (instance) (lens_bridge_redis_reachable{{{JOB}}})"),
                "sessions": now(f"sum by (instance) ({session('lease_held')})"),
                "running for": now(f"time() - max by (instance) {of_worker('process_start_time_seconds')}"),
                "configuration read": now(
                    f"time() - max by (instance) (lens_bridge_config_last_reload_success_timestamp_seconds{{{JOB}}})"
                ),
                "memory": now(f"max by (instance) {of_worker('process_resident_memory_bytes')}"),
                "Redis's clock ahead by": now(f"max by (instance) (lens_bridge_clock_difference_seconds{{{JOB}}})"),
                "log lines lost": now(f"max by (instance) (lens_bridge_log_lines_dropped_total{{{JOB}}})"),
                "spans lost": now(f"sum by (instance) (lens_bridge_spans_total{{{JOB}, result!='exported'}})"),
            },
            key="instance",
            units={"running for": "s", "Redis's clock ahead by": "s", "configuration read": "s", "memory": "bytes"},
            states={"ready": YES_NO, "reaches Redis": YES_NO},
            hidden=("info",),
        ),
        state_timeline(
            "Ready",
            "Good: yes. No: the worker stops, starts, or does not reach Redis; another worker takes its sessions over.",
            query(f"max by (instance) (lens_bridge_ready{{{JOB}}})", "{{instance}}"),
            states=YES_NO,
            width=12,
        ),
        time_series(
            "Sessions held",
            "Good: level, and evenly spread.",
            query(f"sum by (instance) ({session('lease_held')})", "{{instance}}"),
            width=12,
            stacked=True,
            steps=True,
        ),
    ]


def _discovery() -> list[Json]:
    asked = f"lens_bridge_discovery_last_success_timestamp_seconds{{{JOB}}}"
    return [
        row("Discovery"),
        time_series(
            "Sessions found",
            "Good: as many as the API lists and nobody names. Refused: their name or id cannot be used, or is taken.",
            query(f"max(lens_bridge_discovery_sessions{{{JOB}}})", "read"),
            query(f"max(lens_bridge_discovery_refused_sessions{{{JOB}}})", "refused"),
            steps=True,
        ),
        time_series(
            "Questions without an answer",
            "Good: none. Sessions that were found are read on meanwhile; new ones are not seen.",
            query(
                f"sum by (instance) (rate(lens_bridge_discovery_failures_total{{{JOB}}}[$__rate_interval]))",
                "{{instance}}",
            ),
            unit="cps",
        ),
        time_series(
            "Since the last answer",
            "Good: near discovery.interval_seconds. 0 where discovery is off.",
            query(f"(time() - {asked}) * on (job, instance) lens_bridge_discovery_enabled", "{{instance}}"),
            unit="s",
        ),
    ]


def _cost() -> list[Json]:
    cpu = f"rate(process_cpu_seconds_total{{{JOB}}}[$__rate_interval]) and on (job, instance) lens_bridge_build_info"
    received = f"lens_bridge_events_received_total{{{JOB}}}"
    return [
        row("What they cost"),
        time_series(
            "CPU",
            "Good: well below 1. A worker is one event loop: at 1 core it is at its limit, and more replicas help.",
            query(f"sum by (instance) ({cpu})", "{{instance}}"),
            unit="short",
        ),
        time_series(
            "Memory",
            "Good: level after the first minutes. It grows by the buffers while Redis is away, and comes down again "
            "slowly or not at all; a rise without end is a fault.",
            query(f"max by (instance) {of_worker('process_resident_memory_bytes')}", "{{instance}}"),
            unit="bytes",
        ),
        time_series(
            "Open files",
            "Good: about one for each session held, and some. It must stay below the limit.",
            query(f"max by (instance) {of_worker('process_open_fds')}", "{{instance}}"),
            query(f"min {of_worker('process_max_fds')}", "limit"),
        ),
        time_series(
            "Events per worker",
            "Good: spread like the sessions.",
            query(rate("events_published_total", by="instance"), "{{instance}}"),
            unit="cps",
        ),
        time_series(
            "Connects per worker",
            "Good: few. Near source.connects_per_second for long: sessions queue up to connect.",
            query(rate("source_connects_total", by="instance"), "{{instance}}"),
            unit="cps",
        ),
        time_series(
            "CPU time per event",
            "Good: level. It falls under load, since events share commits.",
            query(f"sum({cpu}) / (sum(rate({received}[$__rate_interval])) > 0)", "seconds"),
            unit="s",
        ),
    ]


DASHBOARD = dashboard(
    "lens-bridge-fleet",
    "Lens Bridge / Fleet",
    "The workers as processes: which version runs, what they hold, and what they cost.",
    [*_now(), *_workers(), *_discovery(), *_cost()],
)
