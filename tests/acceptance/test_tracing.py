"""Spans of a real worker, as a collector gets them; and collectors that are away, slow or refuse."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from bridge.lab.simulator import SimulatedSession
from tests.support.otlp_receiver import OtlpReceiver, OtlpSpan, attributes_of, traceparent_of
from tests.support.worker import KEY, ROOT, Worker, python_environment, until
from tests.support.worker_rig import Rig, keys_of

ERROR = OtlpSpan().status.STATUS_CODE_ERROR
WITHOUT = (
    "tracing.enabled (BRIDGE_TRACING__ENABLED): OpenTelemetry is not installed; "
    "pip install 'lens-bridge[otel]', or set it to false"
)
PASSWORD = "not-to-be-seen-anywhere"


@pytest_asyncio.fixture
async def collector() -> AsyncIterator[OtlpReceiver]:
    """One that is well."""
    async with OtlpReceiver() as receiver:
        yield receiver


def traced(rig: Rig, collector: OtlpReceiver, session: SimulatedSession, format: str = "plain") -> Worker:
    """A worker that sends its spans there."""
    worker = rig.worker(session, tracing__enabled=True, stream__format=format)
    worker.give(collector.environment)
    return worker


def standing(entries: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    """Entries by the commit that they name."""
    found: dict[str, list[dict[str, str]]] = {}
    for entry in entries:
        found.setdefault(entry["traceparent"].rpartition("-")[0], []).append(entry)
    return found


async def test_each_commit_is_one_span_that_its_entries_name(rig: Rig, collector: OtlpReceiver) -> None:
    """As many spans as commits, each with the count of its entries; no secret in any of them."""
    session = rig.simulator.create_session("lsn-traced")
    worker = traced(rig, collector, session)
    worker.give({"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{PASSWORD}", "OTEL_SERVICE_NAME": "mine"})
    await worker.start()
    for number in range(1, 6):
        session.emit({"type": "inference.result", "n": number})
        await rig.reaches(session, number)
    session.generate(500)
    await rig.reaches(session, 505)
    await rig.assert_kept(session)
    committed = await worker.metric("commits_total", result="ok")
    await until(worker.counts("spans_total", committed, result="exported"), "all spans are sent")
    worker.terminate()
    assert await worker.exit_code() == 0
    spans = {traceparent_of(span): span for span in collector.spans}
    by_commit = standing(await rig.entries(session))
    assert len(collector.spans) == len(spans) == committed >= 6
    assert spans.keys() == by_commit.keys()
    for traceparent, entries in by_commit.items():
        span = spans[traceparent]
        assert span.name == f"send {keys_of(session).events}"
        assert span.kind == OtlpSpan.SPAN_KIND_PRODUCER
        assert not span.parent_span_id
        assert span.status.code != ERROR
        assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
        assert attributes_of(span) == {
            "messaging.system": "redis",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": keys_of(session).events,
            "messaging.client.id": "worker-1",
            "messaging.batch.message_count": len(entries),
            "lens_bridge.session.id": "lsn-traced",
            "lens_bridge.session.name": "lsn-traced",
            "lens_bridge.seq": int(entries[-1]["seq"]),
        }
    (resource,) = {tuple(sorted(one.items())) for one in collector.resources}
    assert {"service.name": "mine", "service.instance.id": "worker-1"}.items() <= dict(resource).items()
    assert {one["authorization"] for one in collector.headers} == {f"Bearer {PASSWORD}"}
    for body in collector.bodies:
        assert KEY.encode() not in body
        assert PASSWORD.encode() not in body


async def test_a_consumer_links_to_the_commit_of_each_entry(rig: Rig, collector: OtlpReceiver) -> None:
    """With OpenTelemetry's own propagator and SDK: a field of the entry is all it takes."""
    session = rig.simulator.create_session("lsn-linked")
    worker = await traced(rig, collector, session, "cloudevents").start()
    session.generate(3)
    await rig.reaches(session, 3)
    worker.terminate()
    assert await worker.exit_code() == 0  # and the last spans were sent
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("a service")
    entries = await rig.entries(session)
    for entry in entries:
        producer = trace.get_current_span(TraceContextTextMapPropagator().extract(entry)).get_span_context()
        with tracer.start_as_current_span("process", links=[trace.Link(producer)], kind=trace.SpanKind.CONSUMER):
            assert entry["ce_traceparent"] == entry["traceparent"]
    finished = memory.get_finished_spans()
    assert len(finished) == len(entries) == 3
    produced = {(span.trace_id, span.span_id) for span in collector.spans}
    for span in finished:
        (link,) = span.links
        assert link.context.is_remote
        assert (link.context.trace_id.to_bytes(16), link.context.span_id.to_bytes(8)) in produced


@pytest.mark.parametrize(
    ("variables", "kept"),
    [
        ({"OTEL_TRACES_SAMPLER": "always_off"}, {0}),
        ({"OTEL_TRACES_EXPORTER": "none"}, {1}),
        ({"OTEL_SDK_DISABLED": "true"}, set()),
    ],
)
async def test_variables_may_ask_for_contexts_alone_or_for_nothing(
    rig: Rig, collector: OtlpReceiver, variables: dict[str, str], kept: set[int]
) -> None:
    """Entries still name a context whose flag tells whether somebody kept it; a disabled SDK gives none."""
    session = rig.simulator.create_session("lsn-unsent")
    worker = traced(rig, collector, session)
    worker.give({**variables, "OTEL_BSP_SCHEDULE_DELAY": "soon"})
    await worker.start()
    session.generate(3)
    await rig.reaches(session, 3)
    worker.terminate()
    assert await worker.exit_code() == 0
    contexts = [entry["traceparent"] for entry in await rig.entries(session) if "traceparent" in entry]
    assert {int(context[-2:], 16) & 1 for context in contexts} == kept
    assert collector.requests == 0
    await rig.assert_kept(session)
    if "OTEL_TRACES_EXPORTER" not in variables:
        assert "OTEL_BSP_SCHEDULE_DELAY" in worker.said("tracing.warned")[0]["detail"]


async def test_a_worker_that_is_killed_loses_spans_and_nothing_else(rig: Rig, collector: OtlpReceiver) -> None:
    """Each entry names one span; those of commits that landed before the kill may never have been sent."""
    session = rig.simulator.create_session("lsn-killed")
    for number in range(1, 3):
        worker = await traced(rig, collector, session).start()
        session.generate(300)
        await rig.reaches(session, 300 * number - 200)
        await worker.kill()
    worker = await traced(rig, collector, session).start()
    session.generate(10)
    await rig.reaches(session, 610)
    await rig.assert_kept(session)
    worker.terminate()
    assert await worker.exit_code() == 0
    good = [span for span in collector.spans if span.status.code != ERROR]
    assert good
    by_commit = standing(await rig.entries(session))
    assert {traceparent_of(span) for span in good} <= by_commit.keys()
    for span in good:
        assert attributes_of(span)["messaging.batch.message_count"] == len(by_commit[traceparent_of(span)])


@pytest.mark.parametrize("trouble", ["away", "hangs", "refuses", "busy"])
async def test_a_collector_in_trouble_changes_nothing_but_the_spans(
    rig: Rig, collector: OtlpReceiver, trouble: str
) -> None:
    """All is delivered and committed as ever, the queue is bounded, it is told once, and a stop takes no longer."""
    session = rig.simulator.create_session("lsn-troubled")
    worker = traced(rig, collector, session)
    worker.give(
        {
            "OTEL_BSP_MAX_QUEUE_SIZE": "20",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "3600" if trouble == "hangs" else "0.2",
        }
    )
    match trouble:
        case "away":
            await collector.stop()
        case "hangs":
            collector.hang = True
        case "refuses":
            collector.status = 401
        case "busy":
            collector.status = 503
    await worker.start()
    for number in range(1, 51):  # one commit each
        session.emit({"type": "t", "n": number})
        await rig.reaches(session, number)
    await rig.assert_kept(session)
    if trouble == "hangs":
        await until(worker.counts("spans_total", 10, result="dropped"), "spans find no room")
    else:
        await until(lambda: bool(worker.said("tracing.failed")), "it is told")
        lost = await worker.metric("spans_total", result="failed") + await worker.metric(
            "spans_total", result="dropped"
        )
        assert lost > 0
    assert await worker.metric("spans_total", result="exported") == 0
    began = time.monotonic()
    worker.terminate()
    assert await worker.exit_code() == 0
    assert time.monotonic() - began < 30, "an hour is how long the collector may take"
    told = worker.said("tracing.failed")
    assert len(told) == (0 if trouble == "hangs" else 1)
    assert len(worker.said("tracing.cut_short")) <= 1
    assert not [line for line in worker.log.read_text().splitlines() if "opentelemetry" in line or "urllib3" in line]


async def test_a_collector_that_comes_back_gets_spans_again(rig: Rig, collector: OtlpReceiver) -> None:
    """What was lost meanwhile is told with it."""
    session = rig.simulator.create_session("lsn-recovered")
    worker = traced(rig, collector, session)
    worker.give({"OTEL_EXPORTER_OTLP_TIMEOUT": "0.2"})
    await collector.stop()
    await worker.start()
    session.emit({"type": "t"})
    await until(lambda: bool(worker.said("tracing.failed")), "it is told")
    await collector.start()
    session.emit({"type": "t"})
    await until(lambda: bool(worker.said("tracing.recovered")), "and that it is over")
    assert worker.said("tracing.recovered")[0]["lost_spans"] == 1
    assert len(worker.said("tracing.failed")) == 1
    assert len(collector.spans) == 1


async def test_a_worker_that_does_not_trace_has_nothing_of_it(rig: Rig) -> None:
    """No module, no thread, no field; the extra is installed here, so it could."""
    session = rig.simulator.create_session("lsn-untraced")
    worker = rig.worker(session, log__level="debug")
    modules = rig.directory / "modules"
    worker.give({"PYTHONPATH": f"{_spy(rig.directory, modules)}:{ROOT}"})
    await worker.start()
    session.generate(50)
    await rig.reaches(session, 50)
    threads = _threads_of(worker.pid)
    worker.terminate()
    assert await worker.exit_code() == 0
    loaded = modules.read_text().split()
    assert "bridge.session.committer" in loaded
    foreign = ("opentelemetry", "requests", "google.protobuf", "urllib3", "cloudevents")
    assert [name for name in loaded if name.startswith(foreign)] == []
    assert not [name for name in threads if "Otel" in name]
    assert {frozenset(entry) for entry in await rig.entries(session)} == {
        frozenset({"id", "session_id", "name", "seq", "type", "data", "received_at"})
    }
    assert await rig.client.xlen(keys_of(session).events) == 50


def _threads_of(pid: int) -> set[str]:
    return {path.read_text().strip() for path in Path(f"/proc/{pid}/task").glob("*/comm")}


def _spy(directory: Path, output: Path) -> Path:
    """A directory for PYTHONPATH: whoever starts with it writes at its end which modules it has loaded."""
    here = directory / "spy"
    here.mkdir()
    (here / "sitecustomize.py").write_text(
        f"import atexit, sys\natexit.register(lambda: open({str(output)!r}, 'w').write('\\n'.join(sys.modules)))\n"
    )
    return here


async def test_without_the_extra_it_is_one_line_and_exit_code_2(rig: Rig) -> None:
    """As it is where nobody installed it; a file of the same name stands in its place here."""
    (rig.directory / "without").mkdir()
    (rig.directory / "without" / "opentelemetry.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'opentelemetry'\", name='opentelemetry')\n"
    )
    worker = rig.worker("lsn-1", tracing__enabled=True)
    worker.give({"PYTHONPATH": f"{rig.directory / 'without'}:{ROOT}"})
    await worker.start()
    assert await worker.exit_code() == 2
    said = worker.log.read_text()
    assert said.strip().splitlines()[-1].endswith(WITHOUT)
    assert "Traceback" not in said
    given = {
        **python_environment(),
        "BRIDGE_TRACING__ENABLED": "true",
        "PYTHONPATH": f"{rig.directory / 'without'}:{ROOT}",
    }
    command = (sys.executable, "-m", "bridge", "doctor", "--no-api", "--no-redis")
    doctor = await asyncio.create_subprocess_exec(*command, env=given, cwd=ROOT, stdout=PIPE)
    output, _ = await doctor.communicate()
    assert doctor.returncode == 2, "a bad configuration"
    assert "OpenTelemetry is not installed" in " ".join(output.decode().split())


WRONG_VARIABLES = {
    "OTEL_EXPORTER_OTLP_PROTOCOL: grpc is not spoken here": {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: http/json is not": {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
    "OTEL_TRACES_EXPORTER: zipkin is not known here": {"OTEL_TRACES_EXPORTER": "zipkin"},
    "OTEL_BSP_MAX_QUEUE_SIZE must be a number of spans, not 'many'": {"OTEL_BSP_MAX_QUEUE_SIZE": "many"},
    "refuses its variables: max_export_batch_size must be": {"OTEL_BSP_MAX_QUEUE_SIZE": "5"},
}


async def test_variables_that_ask_for_what_is_not_there_are_one_line_and_exit_code_2(rig: Rig) -> None:
    """Rather than spans that never arrive."""
    workers = {words: rig.worker("lsn-1", tracing__enabled=True) for words in WRONG_VARIABLES}
    for words, worker in workers.items():
        worker.give(WRONG_VARIABLES[words])
        await worker.start()
    for words, worker in workers.items():
        assert await worker.exit_code() == 2
        assert words in worker.log.read_text().strip().splitlines()[-1]
        assert "Traceback" not in worker.log.read_text()


async def test_the_example_of_linked_spans_reaches_the_commits(rig: Rig, collector: OtlpReceiver) -> None:
    """As it stands in config/examples; entries from before the worker traced have no link."""
    session = rig.simulator.create_session("lsn-example")
    for number, worker in enumerate([rig.worker(session), traced(rig, collector, session)], start=1):
        await worker.start()
        session.generate(3)
        await rig.reaches(session, 3 * number)
        worker.terminate()
        assert await worker.exit_code() == 0
    produced = {(span.trace_id, span.span_id) for span in collector.spans}
    program = ROOT / "config" / "examples" / "standards" / "linked_spans.py"
    given = {**python_environment(), **collector.environment, "BRIDGE_REDIS__URL": rig.server.url}
    example = await asyncio.create_subprocess_exec(sys.executable, program, keys_of(session).events, env=given)
    assert await example.wait() == 0
    consumed = [span for span in collector.spans if span.kind == OtlpSpan.SPAN_KIND_CONSUMER]
    assert [len(span.links) for span in consumed] == [0, 0, 0, 1, 1, 1]
    assert {(link.trace_id, link.span_id) for span in consumed for link in span.links} <= produced
    assert {span.name for span in consumed} == {"process lens:{lsn-example}:events"}
