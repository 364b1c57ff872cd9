"""The metrics are an interface: their names, types, labels and first values are asserted in full."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as _parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from bridge.delivery.batch import counts_in
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
from bridge.model.records import Accepted, DeadLetter, Record
from bridge.settings import MetricsDetail
from bridge.telemetry.figures import EVENT_TYPES, Histogram, SessionFigures
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.status import WorkerStatus

parse_openmetrics: Callable[[str], Iterable[Metric]] = _parse_openmetrics  # without annotations of its own

INTERFACE = {
    "build_info": ("gauge", {"version"}),
    "session_state": ("gauge", {"stream", "state"}),
    "lease_held": ("gauge", {"stream"}),
    "fenced_total": ("counter", {"stream"}),
    "source_connects_total": ("counter", {"stream", "outcome"}),
    "source_disconnects_total": ("counter", {"stream", "reason"}),
    "source_connect_wait_seconds_total": ("counter", {"stream"}),
    "source_bytes_total": ("counter", {"stream"}),
    "source_last_byte_timestamp_seconds": ("gauge", {"stream"}),
    "source_last_event_timestamp_seconds": ("gauge", {"stream"}),
    "heartbeats_total": ("counter", {"stream"}),
    "events_received_total": ("counter", {"stream", "type"}),
    "events_published_total": ("counter", {"stream"}),
    "events_skipped_total": ("counter", {"stream", "reason"}),
    "dead_letters_total": ("counter", {"stream", "reason"}),
    "secrets_masked_total": ("counter", {"stream"}),
    "commits_total": ("counter", {"stream", "result"}),
    "commit_events": ("histogram", set()),
    "commit_duration_seconds": ("histogram", set()),
    "delivery_latency_seconds": ("histogram", {"stream"}),
    "source_latency_seconds": ("histogram", {"stream"}),
    "cursor_committed_timestamp_seconds": ("gauge", {"stream"}),
    "gaps_total": ("counter", {"stream", "reason"}),
    "rollbacks_total": ("counter", {"stream"}),
    "replay_overruns_total": ("counter", {"stream"}),
    "id_conflicts_total": ("counter", {"stream"}),
    "buffer_events": ("gauge", {"stream"}),
    "buffer_bytes": ("gauge", {"stream"}),
    "backpressure_seconds_total": ("counter", {"stream"}),
    "stream_length": ("gauge", {"stream"}),
    "stream_max_length": ("gauge", {"stream"}),
    "stream_read_max_length": ("gauge", {"stream"}),
    "unread_trimmed_total": ("counter", {"stream"}),
    "group_lag": ("gauge", set()),  # its label sets come with the first look at the groups
    "group_pending": ("gauge", set()),
    "spans_total": ("counter", {"result"}),
    "durability_degraded": ("gauge", set()),
    "config_last_reload_success_timestamp_seconds": ("gauge", set()),
    "config_last_reload_successful": ("gauge", set()),
    "config_settings_awaiting_restart": ("gauge", set()),
    "discovery_enabled": ("gauge", set()),
    "discovery_sessions": ("gauge", set()),
    "discovery_refused_sessions": ("gauge", set()),
    "discovery_failures_total": ("counter", set()),
    "discovery_last_success_timestamp_seconds": ("gauge", set()),
    "log_lines_dropped_total": ("counter", set()),
    "ready": ("gauge", set()),
    "redis_reachable": ("gauge", set()),
    "workers_live": ("gauge", set()),
    "clock_difference_seconds": ("gauge", set()),
}
BOUNDED = {
    ("session_state", "state"): SessionState,
    ("source_connects_total", "outcome"): ConnectOutcome,
    ("source_disconnects_total", "reason"): DisconnectReason,
    ("events_received_total", "type"): EVENT_TYPES,
    ("events_skipped_total", "reason"): SkipReason,
    ("dead_letters_total", "reason"): DeadLetterReason,
    ("commits_total", "result"): CommitOutcome,
    ("gaps_total", "reason"): GapReason,
}


def worker_with(*names: str) -> WorkerStatus:
    """A worker with such sessions."""
    worker = WorkerStatus(worker_id="w", version="1.2.3")
    for name in names:
        worker.session(Session(name=name, session_id=f"lsn-{name}"), f"lens:{{{name}}}:events")
    return worker


def one_session() -> tuple[Metrics, SessionFigures]:
    """The figures of the only session, named a, and what a scrape sees of them."""
    worker = worker_with("a")
    return Metrics(worker), worker.sessions["a"]


def families(metrics: Metrics) -> dict[str, Metric]:
    """The bridge's own families as Prometheus reads them, by name without the prefix."""
    found = {}
    for family in parse_text(metrics.render()[0].decode()):
        if family.name.startswith("lens_bridge_"):
            name = family.name.removeprefix("lens_bridge_") + ("_total" if family.type == "counter" else "")
            found[name] = family
    return found


def value(metrics: Metrics | dict[str, Metric], sample_name: str, **labels: str) -> float:
    """One sample's value; of families that were read before, where several are asked for."""
    for family in (metrics if isinstance(metrics, dict) else families(metrics)).values():
        for sample in family.samples:
            if sample.name == f"lens_bridge_{sample_name}" and sample.labels == labels:
                return sample.value
    raise AssertionError(f"no sample {sample_name} {labels}")


def label_names(family: Metric) -> set[str]:
    return {name for sample in family.samples for name in sample.labels} - {"le"}


def test_the_families_are_exactly_the_published_interface() -> None:
    """No name, type or label may change without this test."""
    found = families(Metrics(worker_with("a")))
    assert {name: (family.type, label_names(family)) for name, family in found.items()} == INTERFACE


@pytest.mark.parametrize(("name", "label"), BOUNDED, ids=lambda part: str(part))
def test_every_label_set_exists_from_the_start(name: str, label: str) -> None:
    """A counter that appears with its first increment hides that increment from rate()."""
    samples = families(Metrics(worker_with("a", "b")))[name].samples
    expected = set(product(["a", "b"], map(str, BOUNDED[name, label])))
    assert {(sample.labels["stream"], sample.labels[label]) for sample in samples} == expected
    if name != "session_state":
        assert all(sample.value == 0 for sample in samples)


# With many sessions


def reduced(count: int = 2, detail: MetricsDetail = MetricsDetail.REDUCED) -> tuple[Metrics, list[SessionFigures]]:
    """A worker that tells little of each session, and the figures of them."""
    worker = worker_with(*(f"s{number}" for number in range(count)))
    return Metrics(worker, detail), list(worker.sessions.values())


def streams(metrics: Metrics, family: str) -> set[str]:
    """The sessions that it tells of."""
    return {sample.labels["stream"] for sample in families(metrics)[family].samples}


def test_a_reduced_page_has_the_same_families() -> None:
    """Alerts and dashboards ask for the same names and labels at each level."""
    metrics, _ = reduced()
    assert {name: (family.type, label_names(family)) for name, family in families(metrics).items()} == INTERFACE


def test_a_reduced_page_tells_of_each_session_what_it_does_now() -> None:
    """Who reads it, in which state it is, when something came last: what wakes a person names its session."""
    metrics, figures = reduced()
    figures[0].lease_held, figures[1].last_byte_at = True, 5.0
    figures[1].enter(SessionState.UNAUTHORIZED)
    each = {name for name, family in families(metrics).items() if "s1" in str(family.samples)}
    assert each == {
        "lease_held",
        "session_state",
        "source_last_byte_timestamp_seconds",
        "source_last_event_timestamp_seconds",
        "cursor_committed_timestamp_seconds",
    }
    assert all(streams(metrics, name) == {"s0", "s1"} for name in each)
    assert value(metrics, "lease_held", stream="s0") == 1
    assert value(metrics, "source_last_byte_timestamp_seconds", stream="s1") == 5
    assert value(metrics, "session_state", stream="s1", state="unauthorized") == 1
    told = {sample.labels["state"] for sample in families(metrics)["session_state"].samples}
    assert told == {"streaming", "backpressured", "paused", "unauthorized", "ended", "gone", "failed"}


def test_a_reduced_page_counts_all_sessions_together() -> None:
    """Under a name that no session can have, and from the start."""
    metrics, figures = reduced(250)
    for name, label in BOUNDED:
        if name != "session_state":
            samples = families(metrics)[name].samples
            assert {(one.labels["stream"], one.labels[label]) for one in samples} == {
                ("*", str(word)) for word in BOUNDED[name, label]
            }
    for number, one in enumerate(figures):
        one.rollbacks, one.gaps[GapReason.NO_CURSOR], one.buffer_events = 1, 2, 3
        one.stream_length, one.groups = number, {"g": (number, 249 - number)}
        one.delivery_latency.observe(0.2, 2)
    assert value(metrics, "rollbacks_total", stream="*") == 250
    assert value(metrics, "gaps_total", stream="*", reason="no_cursor") == 500
    assert value(metrics, "buffer_events", stream="*") == 750
    assert value(metrics, "delivery_latency_seconds_count", stream="*") == 500
    assert value(metrics, "delivery_latency_seconds_bucket", stream="*", le="0.25") == 500
    assert value(metrics, "delivery_latency_seconds_bucket", stream="*", le="0.1") == 0
    assert value(metrics, "delivery_latency_seconds_sum", stream="*") == pytest.approx(100)
    assert value(metrics, "stream_length", stream="*") == 249, "the longest"
    assert value(metrics, "group_lag", stream="*", group="g") == 249, "of the session that is furthest behind"
    assert value(metrics, "group_pending", stream="*", group="g") == 249


def test_groups_of_all_sessions_together_stay_bounded() -> None:
    """Each session may have groups of its own; those furthest behind are told."""
    metrics, figures = reduced(100)
    for number, one in enumerate(figures):
        one.groups = {f"g{number}": (number, 0)}
    told = {sample.labels["group"] for sample in families(metrics)["group_lag"].samples}
    assert told == {f"g{number}" for number in range(60, 100)}


@pytest.mark.parametrize(("count", "each"), [(250, True), (251, False)])
def test_by_itself_a_worker_tells_everything_of_250_sessions_and_less_of_more(count: int, each: bool) -> None:
    """`auto` looks at how many there are at each scrape."""
    metrics, _ = reduced(count, MetricsDetail.AUTO)
    assert (len(streams(metrics, "rollbacks_total")) == count) == each
    full, _ = reduced(count, MetricsDetail.FULL)
    assert len(streams(full, "rollbacks_total")) == count


def test_the_page_of_three_thousand_sessions_is_small() -> None:
    """Under 3 MB, also with names of 16 characters."""
    worker = worker_with(*(f"lsn-250313abc{number:04}" for number in range(3000)))
    for one in worker.sessions.values():
        one.last_byte_at = one.last_event_at = one.last_commit_at = 1741843200.123
    size = len(Metrics(worker).render()[0])
    print(f"{size:,} bytes")
    assert 2_000_000 < size < 3_000_000


def test_units_are_base_units() -> None:
    """Seconds and bytes; nothing in milliseconds, nothing in percent."""
    for name in INTERFACE:
        stem = name.removesuffix("_total")
        assert not stem.endswith(("_ms", "_milliseconds", "_kb", "_mb", "_percent", "_minutes")), name
        if any(word in stem for word in ("timestamp", "duration", "latency", "backpressure")):
            assert stem.endswith("_seconds"), name


def test_every_family_has_a_help_text() -> None:
    """The text is what a person sees while writing a query."""
    texts = [family.documentation for family in families(Metrics(worker_with("a"))).values()]
    assert all(text.endswith(".") for text in texts)
    assert not set("".join(texts)) & set('"\\\n'), "the two formats escape them differently"


def test_one_state_is_one_and_all_others_are_zero() -> None:
    """`session_state` is a one-hot gauge."""
    metrics, figures = one_session()
    figures.enter(SessionState.WAITING)
    samples = families(metrics)["session_state"].samples
    assert {sample.labels["state"] for sample in samples if sample.value} == {"waiting"}
    assert sum(sample.value for sample in samples) == 1


def test_each_figure_shows_under_its_own_name() -> None:
    """Every figure of a session, set once, and what a scrape shows then."""
    worker = worker_with("a")
    metrics, figures = Metrics(worker), worker.sessions["a"]
    dead = DeadLetter(DeadLetterReason.OVERSIZE, "too large", truncated=False)
    lens_event = Record("k1", "t", b'{"timestamp": 1741843200.5}', 1741843202.498, "message", b"", "e1", 0)
    figures.add(
        Accepted(
            types={"inference.result": 3, "never.seen": 4, "log.info": 1},
            heartbeats=2,
            duplicates=5,
            masked=7,
            conflicts=3,
            overrun=True,
        ),
        101.5,
    )
    batch = [lens_event._replace(dead=dead), *[lens_event] * 8]
    figures.add_commit(batch, counts_in(batch), Place(seq=8), seconds=0.003, now=1741843202.5)
    figures.lease_held = True
    figures.fenced = 1
    figures.source_connects[ConnectOutcome.RATE_LIMITED] = 1
    figures.source_disconnects[DisconnectReason.IDLE_TIMEOUT] = 1
    figures.source_bytes, figures.last_byte_at = 250, 100.5
    figures.commits[CommitOutcome.ALREADY] = 1
    figures.gaps[GapReason.NO_CURSOR] = 1
    figures.rollbacks = 1
    figures.buffer_events, figures.buffer_bytes = 11, 1100
    figures.backpressure_seconds = 0.25
    figures.stream_length, figures.stream_max_length, figures.stream_read_max_length = 12, 16, 17
    figures.unread_trimmed = 18
    figures.groups = {"g": (13, 14), "h": (None, 15)}
    worker.durability_degraded = True
    worker.config_read_at = 103.5
    changed = {
        (sample.name.removeprefix("lens_bridge_"), *sorted(sample.labels.items())): sample.value
        for family in families(metrics).values()
        for sample in family.samples
        if sample.value and family.type != "histogram" and not family.name.endswith("session_state")
    }
    stream = ("stream", "a")
    assert changed == {
        ("build_info", ("version", "1.2.3")): 1,
        ("lease_held", stream): 1,
        ("fenced_total", stream): 1,
        ("source_connects_total", ("outcome", "rate_limited"), stream): 1,
        ("source_disconnects_total", ("reason", "idle_timeout"), stream): 1,
        ("source_bytes_total", stream): 250,
        ("source_last_byte_timestamp_seconds", stream): 100.5,
        ("source_last_event_timestamp_seconds", stream): 101.5,
        ("heartbeats_total", stream): 2,
        ("events_received_total", stream, ("type", "inference.result")): 3,
        ("events_received_total", stream, ("type", "log.info")): 1,
        ("events_received_total", stream, ("type", "other")): 4,
        ("events_published_total", stream): 8,
        ("events_skipped_total", ("reason", "duplicate"), stream): 5,
        ("dead_letters_total", ("reason", "oversize"), stream): 1,
        ("secrets_masked_total", stream): 7,
        ("commits_total", ("result", "already"), stream): 1,
        ("cursor_committed_timestamp_seconds", stream): 1741843202.5,
        ("gaps_total", ("reason", "no_cursor"), stream): 1,
        ("rollbacks_total", stream): 1,
        ("replay_overruns_total", stream): 1,
        ("id_conflicts_total", stream): 3,
        ("buffer_events", stream): 11,
        ("buffer_bytes", stream): 1100,
        ("backpressure_seconds_total", stream): 0.25,
        ("stream_length", stream): 12,
        ("stream_max_length", stream): 16,
        ("stream_read_max_length", stream): 17,
        ("unread_trimmed_total", stream): 18,
        ("group_lag", ("group", "g"), stream): 13,
        ("group_pending", ("group", "g"), stream): 14,
        ("group_pending", ("group", "h"), stream): 15,
        ("durability_degraded",): 1,
        ("config_last_reload_success_timestamp_seconds",): 103.5,
        ("config_last_reload_successful",): 1,
    }
    assert value(metrics, "commit_events_bucket", le="10.0") == 1
    assert value(metrics, "commit_events_bucket", le="5.0") == 0
    assert value(metrics, "commit_duration_seconds_sum") == 0.003
    assert value(metrics, "delivery_latency_seconds_count", stream="a") == 9
    assert value(metrics, "delivery_latency_seconds_bucket", stream="a", le="0.0025") == 9
    assert value(metrics, "source_latency_seconds_sum", stream="a") == 2


@given(st.lists(st.tuples(st.floats(90, 100), st.integers(1, 4)), min_size=1, max_size=6))
def test_every_event_of_a_commit_has_its_latency_counted_once(chunks: list[tuple[float, int]]) -> None:
    """However the batch is made up of chunks, which share their time of reception."""
    metrics, figures = one_session()
    batch = [
        Record(str(n), "t", b"{}", received_at, "message", b"", None, 0)
        for received_at, count in chunks
        for n in range(count)
    ]
    figures.add_commit(batch, counts_in(batch), Place(seq=len(batch)), seconds=0.1, now=100.0)
    read = families(metrics)
    assert value(read, "delivery_latency_seconds_count", stream="a") == len(batch)
    total = sum((100 - received_at) * count for received_at, count in chunks)
    assert value(read, "delivery_latency_seconds_sum", stream="a") == pytest.approx(total)
    assert value(read, "source_latency_seconds_count", stream="a") == 0
    assert value(read, "events_published_total", stream="a") == len(batch)


def test_a_commit_that_carries_nothing_but_an_end_is_a_commit() -> None:
    """The phase of a session may be all that there is to commit."""
    metrics, figures = one_session()
    figures.add_commit([], counts_in([]), Place(seq=3, cursor="e3"), seconds=0.1, now=100.0)
    assert value(metrics, "cursor_committed_timestamp_seconds", stream="a") == 100
    assert (figures.seq, figures.cursor, figures.delivery_latency.total) == (3, "e3", 0)


def test_a_session_keeps_its_figures_until_it_is_forgotten() -> None:
    """Asking twice gives the same object; a removed session leaves no series behind."""
    worker, session = worker_with(), Session(name="removed", session_id="lsn-1")
    metrics = Metrics(worker)
    worker.session(session, "key").heartbeats += 1
    worker.session(session, "key").heartbeats += 1
    assert value(metrics, "heartbeats_total", stream="removed") == 2
    del worker.sessions["removed"]
    assert b"removed" not in metrics.render()[0]


def test_type_labels_stay_bounded_whatever_the_server_sends() -> None:
    """A label value per event type of a stranger would grow without end."""
    metrics, figures = one_session()
    figures.add(Accepted(types={f"type-{n}": 1 for n in range(1000)}), 1.0)
    assert len(families(metrics)["events_received_total"].samples) == len(EVENT_TYPES)
    assert value(metrics, "events_received_total", stream="a", type="other") == 1000


def test_a_failed_reading_of_the_configuration_shows_until_the_next_good_one() -> None:
    """The time of the last good one stays: the old configuration is still in force."""
    worker = worker_with()
    metrics = Metrics(worker)
    worker.config_read_at = 100.0
    worker.config_read("configuration", "log.level: must be one of four")
    worker.config_read("source.api_key_file")
    assert value(metrics, "config_last_reload_successful") == 0
    assert value(metrics, "config_last_reload_success_timestamp_seconds") == 100
    assert json.loads("".join(worker.json_slices()))["config"]["errors"] == ["log.level: must be one of four"]
    worker.config_read("configuration")
    assert value(metrics, "config_last_reload_successful") == 1
    assert value(metrics, "config_last_reload_success_timestamp_seconds") == pytest.approx(time.time(), abs=60)


def test_the_worker_is_asked_at_each_scrape() -> None:
    """Not copied: a copy could be old."""
    worker = worker_with()
    metrics = Metrics(worker)
    assert value(metrics, "ready") == 0
    worker.redis_reachable = worker.taking_part = True
    assert (value(metrics, "ready"), value(metrics, "redis_reachable")) == (1, 1)
    worker.redis_reachable = False
    worker.workers_live = 3
    assert (value(metrics, "ready"), value(metrics, "redis_reachable"), value(metrics, "workers_live")) == (0, 0, 3)


@given(
    observations=st.lists(
        st.tuples(st.floats(-1, 100) | st.sampled_from([0.001, 0.1, 10.0]), st.integers(1, 5)), max_size=30
    )
)
def test_a_histogram_counts_each_value_under_every_bound_that_is_not_smaller(
    observations: Iterable[tuple[float, int]],
) -> None:
    """The weighted histogram against its definition."""
    bounds = (0.001, 0.1, 10.0)
    histogram = Histogram(bounds)
    for observed, count in observations:
        histogram.observe(observed, count)
    clamped = [(max(observed, 0.0), count) for observed, count in observations]
    for index, bound in enumerate(bounds):
        expected = sum(count for observed, count in clamped if observed <= bound)
        assert sum(histogram.counts[: index + 1]) == expected
    assert sum(histogram.counts) == sum(count for _, count in clamped)
    assert histogram.total == pytest.approx(sum(observed * count for observed, count in clamped))


def test_openmetrics_is_given_only_when_asked_for() -> None:
    """Both texts are read back by a parser of their own format."""
    metrics = Metrics(worker_with("a"))
    body, content_type = metrics.render("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
    assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert "lens_bridge_heartbeats" in {family.name for family in parse_openmetrics(body.decode())}
    body, content_type = metrics.render("text/plain")
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert not body.endswith(b"# EOF\n")


@pytest.mark.parametrize("accept", ["", ";;,", "application/openmetrics-text; version=abc", "text/plain; version=9"])
def test_no_accept_header_breaks_a_scrape(accept: str) -> None:
    """A header is a stranger's text."""
    assert b"lens_bridge_build_info" in Metrics(worker_with("a")).render(accept)[0]


def test_the_process_is_measured_too() -> None:
    """Memory and CPU under the names that every exporter uses."""
    names = {family.name for family in parse_text(Metrics(worker_with()).render()[0].decode())}
    outside = {name for name in names if not name.startswith("lens_bridge_")}
    assert all(name.startswith("process_") for name in outside)
