"""Spans on their way to a collector: bounded, counted, told once, and never in the way of an end."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from bridge.errors import ConfigurationError
from bridge.masking import Secrets
from bridge.model.place import Session
from bridge.settings import TracingSettings
from bridge.telemetry.tracing.export import CountingExporter, LastWords, Queue
from bridge.telemetry.tracing.opening import tracing
from bridge.telemetry.tracing.provider import Provider
from bridge.telemetry.tracing.spans import TracingFigures
from tests.support.fakes import until
from tests.support.otlp_receiver import OtlpReceiver

SESSION = Session(name="line-1", session_id="lsn-1")
VARIABLE = re.compile("OTEL_")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whoever runs the tests."""
    for name in [name for name in os.environ if VARIABLE.match(name)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Gate(SpanExporter):
    """Takes spans only while it is open, and then says what the test wants."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.says: list[SpanExportResult | Exception] = []
        self.seen: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Wait, then answer."""
        self.open.wait()
        said = self.says.pop(0) if self.says else SpanExportResult.SUCCESS
        if isinstance(said, Exception):
            raise said
        self.seen += [span.name for span in spans]
        return said


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Shut."""
    made = Gate()
    yield made
    made.open.set()


async def test_what_finds_no_room_is_counted_and_dropped(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever ends a span never waits: not for a collector, not for a lock that its thread holds."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    figures = TracingFigures()
    exporter = CountingExporter(gate, figures, LastWords())
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Queue(exporter, figures))
    tracer = provider.get_tracer("t")
    for number in range(4):
        tracer.start_span(f"s{number}").end()
    await until(lambda: exporter.taken == 4)  # they are on their way, and there is room for eight
    for number in range(4, 20):
        tracer.start_span(f"s{number}").end()
    assert figures == TracingFigures(exported=0, failed=0, dropped=8)
    gate.open.set()
    await asyncio.to_thread(provider.shutdown)
    assert figures == TracingFigures(exported=12, failed=0, dropped=8)
    assert gate.seen == [f"s{number}" for number in range(12)]


def test_failures_are_told_once_until_it_works_again(gate: Gate, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the exporter does: it may even raise."""
    gate.open.set()
    failed, success = SpanExportResult.FAILURE, SpanExportResult.SUCCESS
    gate.says = [failed, ValueError("odd"), failed, success, success, RuntimeError("what"), success]
    figures = TracingFigures()
    exporter = CountingExporter(gate, figures, LastWords())
    span = TracerProvider(shutdown_on_exit=False).get_tracer("t").start_span("s")
    assert isinstance(span, ReadableSpan)
    told = []
    for _ in range(7):
        exporter.export([span])
        told.append(re.findall(r"tracing\.\w+", capsys.readouterr().out))
    assert told == [["tracing.failed"], [], [], ["tracing.recovered"], [], ["tracing.failed"], ["tracing.recovered"]]
    assert figures == TracingFigures(exported=3, failed=4, dropped=0)


async def test_a_tracer_that_is_off_is_none_and_imports_nothing() -> None:
    """The way in costs a comparison."""
    async with tracing(TracingSettings(), "w", TracingFigures(), Secrets()) as tracer:
        assert tracer is None


async def test_the_last_spans_are_sent_at_the_end_and_secrets_of_the_way_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Within the block that they were made in; the collector's token is masked wherever it turns up."""
    secrets, figures = Secrets(), TracingFigures()
    async with OtlpReceiver() as collector:
        for name, value in collector.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-a=short,authorization=Bearer%20a-token-of-mine")
        async with tracing(TracingSettings(enabled=True), "w", figures, secrets) as tracer:
            assert tracer
            one, other = tracer.of(SESSION, "s").begin(3), tracer.of(SESSION, "s").begin()
            assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]", one.traceparent)
            assert one.traceparent[3:35] != other.traceparent[3:35], "a trace of its own"
            one.landed(7, 3)
            other.failed("fenced")
            assert collector.requests == 0
        assert [span.name for span in collector.spans] == ["send s", "send s"]
        assert figures.exported == 2
    assert secrets.mask("it said Bearer a-token-of-mine, short") == "it said **********, short"


async def test_an_end_waits_for_no_collector_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second at most, and the event loop turns meanwhile."""
    async with OtlpReceiver() as collector:
        collector.hang = True
        for name, value in {**collector.environment, "OTEL_EXPORTER_OTLP_TIMEOUT": "3600"}.items():
            monkeypatch.setenv(name, value)
        provider = Provider("w", TracingFigures(), Secrets())
        provider.of(SESSION, "s").begin(1).landed(1, 1)
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0.01)
                turns += 1

        turning = asyncio.create_task(turn())
        async with asyncio.timeout(50):
            await provider.aclose()
        turning.cancel()
        assert turns > 3
        assert "last spans" in [thread.name for thread in threading.enumerate()], "who still waits is a thread"


def test_what_the_extra_cannot_do_is_refused() -> None:
    """In the words of the variable."""
    for environment in ({"OTEL_TRACES_EXPORTER": "console"}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}):
        with pytest.raises(ConfigurationError, match=next(iter(environment))):
            Provider("w", TracingFigures(), Secrets(), environment)
    told = {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    Provider("w", TracingFigures(), Secrets(), {**told, "OTEL_TRACES_EXPORTER": "none"})  # the narrower one counts
