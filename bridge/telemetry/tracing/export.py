"""What happens to spans that have ended: they wait, not without bound, for a thread that sends them to a collector.

A collector that is away, slow or refuses costs spans and nothing else. They are counted, and it is told once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from bridge.telemetry.tracing.spans import TracingFigures

__all__ = ["CountingExporter", "LastWords", "Queue"]

log = structlog.get_logger()

_ROOM_VARIABLE, _ROOM = "OTEL_BSP_MAX_QUEUE_SIZE", 2048  # spans; the default is OpenTelemetry's


class LastWords(logging.Handler):
    """What the SDK said last: it logs each try that fails, and its results have no words."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.text = record.getMessage()


class CountingExporter(SpanExporter):
    """Hands spans on to another exporter, and counts what became of them. Called by the queue's thread alone."""

    def __init__(self, exporter: SpanExporter, figures: TracingFigures, words: LastWords) -> None:
        self.taken = 0  # spans that have left the queue
        self.fails = False
        self._exporter = exporter
        self._figures = figures
        self._words = words

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them, which may take as long as OTEL_EXPORTER_OTLP_TIMEOUT says, retries included."""
        self.taken += len(spans)
        self._words.text = ""
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # whatever it is, it must not end the thread
            self._words.text = f"{type(error).__name__}: {error}"
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self._figures.exported += len(spans)
            if self.fails:
                log.info("tracing.recovered", lost_spans=self._figures.failed + self._figures.dropped)
        else:
            self._figures.failed += len(spans)
            if not self.fails:
                log.warning("tracing.failed", error=self._words.text or "no reason given", spans=len(spans))
        self.fails = result is not SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        """End what is under way."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing waits here."""
        return self._exporter.force_flush(timeout_millis)


class Queue(BatchSpanProcessor):
    """The SDK's own, with its OTEL_BSP_... variables; but what finds no room is counted, not told each time.

    Raises ValueError where those do not go together.
    """

    def __init__(self, exporter: CountingExporter, figures: TracingFigures) -> None:
        self._room = _room()
        super().__init__(exporter, max_queue_size=self._room)
        self._counting = exporter
        self._figures = figures
        self._ended = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Let it wait, where there is room."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self._ended - self._counting.taken >= self._room:
            self._figures.dropped += 1
            return
        self._ended += 1
        super().on_end(span)


def _room() -> int:
    text = os.environ.get(_ROOM_VARIABLE, "").strip()
    if not text:
        return _ROOM
    if not text.isdecimal() or not int(text):
        raise ValueError(f"{_ROOM_VARIABLE} must be a number of spans, not {text!r}")
    return int(text)
